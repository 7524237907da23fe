//! A result that is staged, from when this process can read it until its record is published.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rayon::prelude::*;

use super::{
    cache::Cache,
    error::CacheError,
    lease::Lease,
    publish_errors::PublishErrors,
    record::Record,
    records::Publication,
    registered::Section,
    staged_file::{StagedFile, StagedTree, make_folder, sync_path},
    staging::{Staged, Staging},
};
use crate::base::{digest::Digest, disk, exactness::Exactness, parallel, regular, tree::Tree};

/// Up to how many files waking other threads takes longer than the work.
pub(crate) const FEW: usize = 32;

/// A result that is staged: everything that a record needs to be published.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Where the blobs are staged. It is kept as long as the publisher is, since readers may hold paths into it.
    pub(crate) staging: Arc<Staging>,
    /// The files of the trees, and the log.
    pub(crate) blobs: Vec<Staged>,
    /// The outputs. Blobs of theirs that aren't among `blobs` must be in the cache, or queued before.
    pub(crate) trees: Vec<Tree>,
    /// Published last.
    pub(crate) record: Record,
    pub(crate) exactness: Exactness,
    /// Held until the record is published.
    pub(crate) lease: Option<Lease>,
}

/// A result that this process can read already.
#[derive(Debug)]
pub(super) struct StagedResult {
    pub(super) staging: Arc<Staging>,
    pub(super) blobs: Vec<StagedFile>,
    pub(super) trees: Vec<StagedTree>,
    pub(super) record: Arc<Record>,
    pub(super) record_file: PathBuf,
    pub(super) exactness: Exactness,
    pub(super) lease: Option<Lease>,
    /// Files of our own that are published already. Should they be collected meanwhile, ours take their places.
    pub(super) spares: Vec<StagedFile>,
    /// Blobs that are published or queued already, and that must be there before the record is.
    pub(super) relies_on: Vec<(Digest, u64)>,
    /// Whether another's record is there already.
    pub(super) contested: bool,
    /// The folders in which something was put.
    pub(super) folders: BTreeSet<PathBuf>,
    pub(super) failure: Option<CacheError>,
    /// Nothing names it before its record is there.
    _section: Option<Section>,
}

impl StagedResult {
    /// Makes what `bundle` names readable in this process: its trees and blobs are found from here on.
    ///
    /// # Errors
    /// When the cache can't be written.
    pub(super) fn new(bundle: Bundle, cache: &Cache) -> Result<Self, CacheError> {
        let section = cache.section();
        let Bundle { staging, blobs, trees, record, exactness, lease } = bundle;
        let record_file = staging.write_document(&record.to_bytes())?;
        let fingerprint = record.recipe.fingerprint();
        let mut result = Self {
            contested: cache.record_path(fingerprint).exists(),
            staging,
            blobs: Vec::new(),
            trees: Vec::new(),
            record: Arc::new(record),
            record_file,
            exactness,
            lease,
            spares: Vec::new(),
            relies_on: Vec::new(),
            folders: BTreeSet::new(),
            failure: None,
            _section: section,
        };
        let own: BTreeSet<Digest> = blobs.iter().map(|staged| staged.blob).collect();
        for entry in trees.iter().flat_map(Tree::files) {
            if !own.contains(&entry.blob) {
                result.relies_on.push((entry.blob, entry.size));
            }
        }
        if let Some((log, size)) = result.record.log.filter(|(log, _)| !own.contains(log)) {
            result.relies_on.push((log, size));
        }
        // Whether each is in the cache already; those that aren't are protected.
        let protect = |staged: &Staged| {
            if cache.holds_blob(staged.blob, staged.size) {
                return Ok(true);
            }
            let file = File::open(&staged.file).map_err(CacheError::io("open", &staged.file))?;
            disk::protect(&file, &staged.file, cache.mode(0o444))
                .map_err(CacheError::io("protect", &staged.file))?;
            Ok(false)
        };
        let there: Vec<bool> = if blobs.len() > FEW {
            blobs.par_iter().map(protect).collect::<Result<_, CacheError>>()?
        } else {
            blobs.iter().map(protect).collect::<Result<_, CacheError>>()?
        };
        cache.overlay.begin();
        for (staged, there) in blobs.into_iter().zip(there) {
            let Staged { file, blob, size, seen } = staged;
            if there {
                let target = cache.published_path(blob);
                result.folders.extend(target.parent().map(Path::to_owned));
                result.spares.push(StagedFile { file, target, blob, size, seen });
            } else {
                cache.overlay.hold_blob(blob, file.clone());
                result.blobs.push(StagedFile {
                    file,
                    target: cache.published_path(blob),
                    blob,
                    size,
                    seen,
                });
            }
        }
        for tree in trees {
            let (digest, json) = (tree.digest(), tree.to_json());
            let target = cache.tree_path(digest);
            let sound = regular::read(&target, json.len() as u64).is_ok_and(|there| there == json);
            if sound && disk::touch(&target) {
                cache.note_tree(digest);
                result.folders.extend(target.parent().map(Path::to_owned));
                continue;
            }
            let file = match result.staging.write_document(&json) {
                Ok(file) => file,
                Err(error) => {
                    result.forget(cache);
                    return Err(error);
                }
            };
            cache.overlay.hold_tree(digest, Arc::new(tree));
            result.trees.push(StagedTree { file, target, digest });
        }
        Ok(result)
    }

    /// Puts blobs and trees in their places.
    ///
    /// # Errors
    /// When one can't be put there, or a blob isn't there that was relied on.
    pub(super) fn place(
        &mut self,
        cache: &Cache,
        errors: &PublishErrors,
    ) -> Result<(), CacheError> {
        let Self { staging, blobs, trees, spares, relies_on, folders, .. } = self;
        for spare in spares {
            if !fs::metadata(&spare.target).is_ok_and(|meta| meta.len() == spare.size) {
                sync_path(&spare.file)?;
                folders.extend(spare.link(cache, staging)?);
            }
        }
        for made in in_parallel(blobs, |staged| staged.link(cache, staging))? {
            folders.extend(made);
        }
        for tree in &*trees {
            folders.extend(tree.rename(cache)?);
            cache.note_tree(tree.digest);
        }
        let blobs = blobs.iter().map(|staged| &staged.target);
        for target in blobs.chain(trees.iter().map(|tree| &tree.target)) {
            folders.extend(target.parent().map(Path::to_owned));
        }
        let nothing = Digest::of(b"");
        let made_again = in_parallel(relies_on, |(blob, size)| {
            let path = cache.published_path(*blob);
            // An empty file that a collection has taken meanwhile is made again; a command's log that says nothing is
            // relied on rather than staged.
            if *blob == nothing && !path.exists() {
                let Staged { file, blob, size, seen } = staging.write(b"")?;
                let made = File::open(&file).map_err(CacheError::io("open", &file))?;
                disk::protect(&made, &file, cache.mode(0o444))
                    .map_err(CacheError::io("protect", &file))?;
                sync_path(&file)?;
                let folder = path.parent().map(Path::to_owned);
                let above =
                    StagedFile { file, target: path, blob, size, seen }.link(cache, staging)?;
                return Ok([folder, above]);
            }
            let found = fs::metadata(&path).and_then(|meta| {
                if meta.len() == *size { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
            });
            found.map_err(|error| {
                let lost = errors.told_again(blob.as_bytes());
                lost.unwrap_or_else(|| CacheError::io("find the blob", &path)(error))
            })?;
            Ok([None, None])
        })?;
        folders.extend(made_again.into_iter().flatten().flatten());
        Ok(())
    }

    /// Publishes the record, now that all that it names is there.
    ///
    /// # Errors
    /// When it can't be written, or the record that is there differs though the stage is exact.
    pub(super) fn place_record(&mut self, cache: &Cache) -> Result<Publication, CacheError> {
        let target = cache.record_path(self.record.recipe.fingerprint());
        if let Some(folder) = target.parent() {
            if let Some(above) = make_folder(folder)? {
                self.folders.insert(above);
            }
            self.folders.insert(folder.to_owned());
        }
        cache.place_record(&self.record_file, &self.record, self.exactness)
    }

    /// From here on, what isn't published isn't found.
    pub(super) fn forget(&self, cache: &Cache) {
        let blobs = self.blobs.iter().map(|staged| staged.blob);
        let trees = self.trees.iter().map(|tree| tree.digest);
        cache.overlay.end(blobs, trees, self.record.recipe.fingerprint());
    }
}

/// Does `act` to all items, not on the stages' threads: a commit must not wait for what runs there.
fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    act: impl Fn(&T) -> Result<R, CacheError> + Sync,
) -> Result<Vec<R>, CacheError> {
    parallel::map(items, parallel::processors(), act).into_iter().collect()
}
