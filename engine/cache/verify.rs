//! Checks all that a cache holds: blobs are hashed, trees and records read, and what they name looked for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use rayon::prelude::*;
use serde::Serialize;

use super::{
    cache::Cache,
    contents::{Found, Named},
    error::CacheError,
    flaw::Flaw,
    staging::Staging,
};
use crate::base::{
    digest::{Digest, Fingerprint},
    tree::Tree,
};

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// How many blobs were hashed.
    pub blobs: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// How many trees were read.
    pub trees: u64,
    /// How many records were read.
    pub records: u64,
    /// What is wrong, sorted by kind and name.
    pub problems: Vec<Problem>,
    /// The stages that made what is damaged. After a repair they are executed again when their results are wanted.
    pub stages: BTreeSet<String>,
    /// Whether what is broken was quarantined.
    pub repaired: bool,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// What it is.
    pub kind: Kind,
    /// Its digest or fingerprint; of a file that is none of the cache's, its name.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
}

/// A kind of thing in a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A file's bytes.
    Blob,
    /// An artifact's manifest.
    Tree,
    /// What is known under a fingerprint.
    Record,
    /// A file that doesn't belong there.
    Stray,
}

impl Kind {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Tree => "tree",
            Self::Record => "record",
            Self::Stray => "stray file",
        }
    }
}

impl Cache {
    /// Verifies everything. `progress` is told the bytes hashed so far. With `repair`, what is broken is quarantined,
    /// and with it the records of all results that are no more complete.
    ///
    /// # Errors
    /// When the cache can't be read, or what is broken can't be moved.
    pub fn verify(
        &self,
        repair: bool,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Verification, CacheError> {
        if repair {
            Staging::sweep(self);
        }
        let listing = self.listing()?;
        let named = listing.named();
        let mut found = Verification {
            blobs: listing.blobs.len() as u64,
            trees: listing.trees.len() as u64,
            records: listing.records.len() as u64,
            repaired: repair,
            ..Verification::default()
        };
        for path in &listing.strays {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.tell(Kind::Stray, name, path, "not a file of the cache".to_owned());
        }
        let (trees, bad_trees) = self.read_all(&listing.trees)?;
        let in_trees = trees.values().flat_map(Tree::files).map(|entry| (entry.blob, entry.size));
        let in_records =
            named.values().flat_map(|named| named.log.iter().chain(named.sources.values()));
        let sizes: HashMap<Digest, u64> = in_trees.chain(in_records.copied()).collect();
        let (blobs, bytes) = self.hash_all(&listing.blobs, &sizes, progress)?;
        found.bytes = bytes;
        for (found_blob, flaw) in listing.blobs.iter().zip(&blobs) {
            if let Some(flaw) = flaw {
                found.tell(Kind::Blob, found_blob.name.hex(), &found_blob.path, flaw.to_string());
            }
        }
        for (tree, flaw) in &bad_trees {
            found.tell(Kind::Tree, tree.name.hex(), &tree.path, flaw.to_string());
        }
        let sound: HashSet<Digest> = listing
            .blobs
            .iter()
            .zip(&blobs)
            .filter(|(_, flaw)| flaw.is_none())
            .map(|(blob, _)| blob.name)
            .collect();
        let harmed = self.harmed(&listing.records, &named, &trees, &sound, &mut found)?;
        found.problems.sort();
        if repair {
            for record in &harmed {
                self.quarantine_record(*record)?;
            }
            for problem in &found.problems {
                if problem.kind != Kind::Record && problem.path.exists() {
                    self.quarantine(&problem.path)?;
                }
            }
        }
        Ok(found)
    }

    /// What is wrong with each blob, and the number of bytes. `sizes` says how large those are that something names.
    fn hash_all(
        &self,
        blobs: &[Found<Digest>],
        sizes: &HashMap<Digest, u64>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(Vec<Option<Flaw>>, u64), CacheError> {
        let done = std::sync::atomic::AtomicU64::new(0);
        let flaws = blobs
            .par_iter()
            .map(|blob| {
                let size = fs::symlink_metadata(&blob.path).map_or(0, |meta| meta.len());
                // One of another size than those who name it say needn't be read, however large it is.
                if size > 0 && sizes.get(&blob.name).is_some_and(|wanted| *wanted != size) {
                    return Ok(Some(Flaw::BlobCorrupt(blob.name)));
                }
                let flaw = match self.hash_blob(blob.name)? {
                    // Collected since it was listed; who still names it is told below.
                    Ok(()) | Err(Flaw::BlobMissing(_)) => None,
                    Err(flaw) => Some(flaw),
                };
                let done = done.fetch_add(size, std::sync::atomic::Ordering::Relaxed) + size;
                progress(done);
                Ok(flaw)
            })
            .collect::<Result<Vec<_>, CacheError>>()?;
        Ok((flaws, done.into_inner()))
    }

    /// The trees that can be read, and those that can't.
    #[expect(clippy::type_complexity, reason = "two lists, used once")]
    fn read_all<'a>(
        &self,
        trees: &'a [Found<Digest>],
    ) -> Result<(HashMap<Digest, Tree>, Vec<(&'a Found<Digest>, Flaw)>), CacheError> {
        let read = |tree: &'a Found<Digest>| Ok((tree, self.look_at_tree(tree.name)?));
        let all: Vec<_> = trees.par_iter().map(read).collect::<Result<_, CacheError>>()?;
        let (mut good, mut bad) = (HashMap::new(), Vec::new());
        for (tree, read) in all {
            match read {
                Ok(manifest) => _ = good.insert(tree.name, manifest),
                Err(Flaw::TreeMissing(_)) => {}
                Err(flaw) => bad.push((tree, flaw)),
            }
        }
        Ok((good, bad))
    }

    /// The records that can't be used, or whose results are not complete; tells what is wrong and what is missing.
    fn harmed(
        &self,
        records: &[Found<Fingerprint>],
        named: &HashMap<Fingerprint, Named>,
        trees: &HashMap<Digest, Tree>,
        sound: &HashSet<Digest>,
        found: &mut Verification,
    ) -> Result<Vec<Fingerprint>, CacheError> {
        let mut harmed = Vec::new();
        let mut missing: BTreeMap<Digest, Flaw> = BTreeMap::new();
        for record in records {
            let stage = named.get(&record.name).map(|named| named.provenance.stage.clone());
            let flaw = match self.record(record.name)? {
                // Collected since it was listed.
                None => continue,
                Some(Err(flaw)) => Some(flaw.to_string()),
                Some(Ok(whole)) => {
                    let mut lost: Vec<(Digest, Flaw)> = Vec::new();
                    for digest in whole.outputs.values() {
                        match trees.get(digest) {
                            None => lost.push((*digest, Flaw::TreeMissing(*digest))),
                            Some(tree) => lost.extend(
                                tree.files()
                                    .iter()
                                    .filter(|entry| {
                                        !sound.contains(&entry.blob)
                                            || self.has_blob(entry.blob, entry.size).is_err()
                                    })
                                    .map(|entry| (entry.blob, Flaw::BlobMissing(entry.blob))),
                            ),
                        }
                    }
                    for &(blob, size) in whole.log.iter().chain(whole.sources.values()) {
                        if !sound.contains(&blob) || self.has_blob(blob, size).is_err() {
                            lost.push((blob, Flaw::BlobMissing(blob)));
                        }
                    }
                    if lost.is_empty() {
                        continue;
                    }
                    missing.extend(lost);
                    None
                }
            };
            found.stages.extend(stage);
            harmed.push(record.name);
            if let Some(what) = flaw {
                found.tell(Kind::Record, record.name.hex(), &record.path, what);
            }
        }
        for (digest, flaw) in missing {
            let (kind, path) = match flaw {
                Flaw::TreeMissing(_) => (Kind::Tree, self.tree_path(digest)),
                _ => (Kind::Blob, self.blob_path(digest)),
            };
            // What is there is broken, and told already.
            if !found.problems.iter().any(|problem| problem.path == path) {
                found.tell(kind, digest.hex(), &path, flaw.to_string());
            }
        }
        Ok(harmed)
    }
}

impl Verification {
    fn tell(&mut self, kind: Kind, name: String, path: &Path, what: String) {
        self.problems.push(Problem { kind, name, path: path.to_owned(), what });
    }
}
