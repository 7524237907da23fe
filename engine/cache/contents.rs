//! What lies in a cache, and what of it is reached from what: for verifying, measuring and collecting.
//!
//! Everything is read tolerantly. In a run, a pin or a lease every text of 64 hexadecimal digits counts as the name of a
//! record, a tree or a blob, so that what a later version adds to these files keeps what it names.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rayon::prelude::*;
use serde::Deserialize;

use super::{cache::Cache, error::CacheError};
use crate::base::{
    digest::{Digest, Fingerprint},
    regular,
    tree::Tree,
};

/// A file of the cache under the name that its path gives it.
#[derive(Debug, Clone)]
pub(super) struct Found<T> {
    pub(super) name: T,
    pub(super) path: PathBuf,
}

/// All blobs, trees and records, and files that are none of them where those should be.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) blobs: Vec<Found<Digest>>,
    pub(super) trees: Vec<Found<Digest>>,
    pub(super) records: Vec<Found<Fingerprint>>,
    pub(super) strays: Vec<PathBuf>,
}

/// What of a record says what it names.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) outputs: BTreeMap<String, Digest>,
    pub(super) log: Option<(Digest, u64)>,
    #[serde(default)]
    pub(super) sources: BTreeMap<String, (Digest, u64)>,
    #[serde(default)]
    pub(super) parts: Vec<Fingerprint>,
    pub(super) provenance: Made,
}

/// What of a record's provenance says for whom it was made.
#[derive(Debug, Deserialize)]
pub(super) struct Made {
    pub(super) stage: String,
}

/// Names of things that are to be kept.
#[derive(Debug, Default)]
pub(super) struct Reached {
    pub(super) records: HashSet<Fingerprint>,
    pub(super) trees: HashSet<Digest>,
    pub(super) blobs: HashSet<Digest>,
}

/// More than this, in bytes, isn't read of a record or a tree.
const LARGEST: u64 = 2 << 30;

/// Whether there is a folder at `path`, and not a link to one.
pub(super) fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// The files and folders in `folder`, sorted; none if there is no such folder.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>, CacheError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(CacheError::io("list", folder)(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(CacheError::io("list", folder))?.path());
    }
    paths.sort_unstable();
    Ok(paths)
}

/// When a file was last changed by the clock of its file system: nobody sets that.
pub(super) fn changed(meta: &Metadata) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(meta.ctime().max(0) as u64)
}

/// When a file was written, by the clock of its file system, at which it is `now`. A time from the future was set by somebody.
pub(super) fn written(meta: &Metadata, now: SystemTime) -> SystemTime {
    meta.modified().ok().filter(|modified| *modified <= now).unwrap_or_else(|| changed(meta))
}

/// Whether a file is younger than `grace`, by the later of its times; one that was changed in the future is.
pub(super) fn is_young(meta: &Metadata, now: SystemTime, grace: Duration) -> bool {
    let newest = written(meta, now).max(changed(meta));
    now.duration_since(newest).map_or(true, |age| age < grace)
}

/// The texts of 64 lower-case hexadecimal digits within `text`.
pub(super) fn names(text: &str) -> impl Iterator<Item = [u8; 32]> + '_ {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.len() == 64)
        .filter_map(|word| word.parse::<Digest>().ok())
        .map(|digest| *digest.as_bytes())
}

/// What the texts of these files name. One that went meanwhile names nothing.
pub(super) fn named_by<T: Sync>(files: &[Found<T>]) -> HashSet<[u8; 32]> {
    let read = |found: &Found<T>| {
        let bytes = regular::read(&found.path, LARGEST).ok()?;
        Some(names(&String::from_utf8_lossy(&bytes)).collect::<Vec<_>>())
    };
    files.par_iter().filter_map(read).flatten_iter().collect()
}

impl Cache {
    /// Lists everything that is published: records first and blobs last, so that whatever a listed record names, and
    /// nobody removed meanwhile, is listed too.
    pub(super) fn listing(&self) -> Result<Listing, CacheError> {
        self.list_kinds(&["records", "trees", "blobs"])
    }

    /// Lists what is published in these folders.
    pub(super) fn list_kinds(&self, kinds: &[&str]) -> Result<Listing, CacheError> {
        let mut listing = Listing::default();
        for &kind in kinds {
            let suffix = if kind == "blobs" { "" } else { ".json" };
            for bucket in list(&self.root.join(kind))? {
                // A link to a folder is none, and whatever is in there is none of the cache's.
                let files = if is_folder(&bucket) { list(&bucket)? } else { vec![bucket.clone()] };
                let start = bucket.file_name().unwrap_or_default().to_string_lossy().into_owned();
                for path in files {
                    let rest = path.file_name().unwrap_or_default().to_string_lossy();
                    let hex = rest.strip_suffix(suffix).map(|rest| format!("{start}{rest}"));
                    match hex.and_then(|hex| hex.parse::<Digest>().ok()) {
                        None => listing.strays.push(path),
                        Some(name) if kind == "blobs" => listing.blobs.push(Found { name, path }),
                        Some(name) if kind == "trees" => listing.trees.push(Found { name, path }),
                        Some(name) => {
                            let name = Fingerprint::from_bytes(*name.as_bytes());
                            listing.records.push(Found { name, path });
                        }
                    }
                }
            }
        }
        Ok(listing)
    }

    /// All trees. One that can't be read isn't there.
    pub(super) fn all_trees(&self, listing: &Listing) -> HashMap<Digest, Tree> {
        let read = |found: &Found<Digest>| {
            let tree = self.look_at_tree(found.name).ok()?.ok()?;
            Some((found.name, tree))
        };
        listing.trees.par_iter().filter_map(read).collect()
    }
}

impl Listing {
    /// What all records name. One that can't be read names nothing.
    pub(super) fn named(&self) -> HashMap<Fingerprint, Named> {
        let read = |found: &Found<Fingerprint>| {
            let json = regular::read(&found.path, LARGEST).ok()?;
            Some((found.name, serde_json::from_slice(&json).ok()?))
        };
        self.records.par_iter().filter_map(read).collect()
    }
}

impl Reached {
    /// Adds what is reached from `roots`, which may be names of anything.
    pub(super) fn add(
        &mut self,
        roots: impl IntoIterator<Item = [u8; 32]>,
        records: &HashMap<Fingerprint, Named>,
        trees: &HashMap<Digest, Tree>,
    ) {
        for root in roots {
            self.add_record(Fingerprint::from_bytes(root), records, trees);
            self.add_tree(Digest::from_bytes(root), trees);
            self.blobs.insert(Digest::from_bytes(root));
        }
    }

    fn add_record(
        &mut self,
        record: Fingerprint,
        records: &HashMap<Fingerprint, Named>,
        trees: &HashMap<Digest, Tree>,
    ) {
        let mut open = vec![record];
        while let Some(record) = open.pop() {
            let Some(named) = records.get(&record) else { continue };
            if !self.records.insert(record) {
                continue;
            }
            for tree in named.outputs.values() {
                self.add_tree(*tree, trees);
            }
            self.blobs.extend(named.log.iter().map(|(blob, _)| *blob));
            self.blobs.extend(named.sources.values().map(|(blob, _)| *blob));
            open.extend(&named.parts);
        }
    }

    fn add_tree(&mut self, digest: Digest, trees: &HashMap<Digest, Tree>) {
        if let Some(tree) = trees.get(&digest)
            && self.trees.insert(digest)
        {
            self.blobs.extend(tree.files().iter().map(|entry| entry.blob));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_in_a_text_is_found() {
        let name = Digest::of(b"x").hex();
        let text =
            format!("{{\"a\":[\"{name}\"],\"b\":\"{}\",\"c\":\"{name}0\"}}\n{name}\n", &name[1..]);
        assert_eq!(names(&text).count(), 2);
    }

    #[test]
    fn what_comes_from_the_future_is_young() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let meta = file.as_file().metadata().unwrap();
        let hour = Duration::from_hours(1);
        let now = SystemTime::now();
        assert!(is_young(&meta, now, hour));
        assert!(is_young(&meta, now - 5 * hour, hour), "our clock is behind");
        assert!(!is_young(&meta, now + 2 * hour, hour));
        file.as_file().set_modified(now + 1000 * hour).unwrap();
        let meta = file.as_file().metadata().unwrap();
        assert!(!is_young(&meta, now + 2 * hour, hour), "a time that somebody set");
    }
}
