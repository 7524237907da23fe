//! How much room a cache takes, and what for.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt as _,
};

use rayon::prelude::*;
use serde::Serialize;
use walkdir::WalkDir;

use super::{cache::Cache, error::CacheError, format::FOLDERS};
use crate::base::digest::Digest;

/// How much room a cache takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// All files of the cache, in bytes.
    pub bytes: u64,
    /// By folder: blobs, trees, records, and the rest.
    pub kinds: Vec<KindSize>,
    /// By stage, the largest first.
    pub stages: Vec<StageSize>,
    /// The blobs that no record names, in bytes.
    pub unnamed: u64,
}

/// How much room one kind of thing takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KindSize {
    /// The folder.
    pub kind: &'static str,
    /// How many files.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

/// How much room the results of the stages of one name take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageSize {
    /// The stage.
    pub stage: String,
    /// How many results of it are known, parts among them.
    pub records: u64,
    /// The blobs that they name, in bytes.
    pub bytes: u64,
    /// Those of them that no other stage's results name.
    pub unique: u64,
}

impl Cache {
    /// Measures the cache.
    ///
    /// # Errors
    /// When it can't be listed.
    pub fn sizes(&self) -> Result<Sizes, CacheError> {
        let listing = self.listing()?;
        let size = |path: &std::path::Path| fs::metadata(path).map_or(0, |meta| meta.size());
        let blobs: HashMap<Digest, u64> =
            listing.blobs.par_iter().map(|blob| (blob.name, size(&blob.path))).collect();
        let (named, trees) = (listing.named(), self.all_trees(&listing));
        let mut stages: BTreeMap<&str, (u64, HashSet<Digest>)> = BTreeMap::new();
        for record in named.values() {
            let (records, reached) = stages.entry(&record.provenance.stage).or_default();
            *records += 1;
            let outputs = record.outputs.values().filter_map(|digest| trees.get(digest));
            reached.extend(outputs.flat_map(|tree| tree.files().iter().map(|entry| entry.blob)));
            reached.extend(record.log.iter().map(|(blob, _)| *blob));
            reached.extend(record.sources.values().map(|(blob, _)| *blob));
        }
        let mut owners: HashMap<Digest, u64> = HashMap::new();
        for blob in stages.values().flat_map(|(_, reached)| reached) {
            *owners.entry(*blob).or_default() += 1;
        }
        let bytes = |digest: &Digest| blobs.get(digest).copied().unwrap_or(0);
        let mut stages: Vec<StageSize> = stages
            .into_iter()
            .map(|(stage, (records, reached))| StageSize {
                stage: stage.to_owned(),
                records,
                bytes: reached.iter().map(bytes).sum(),
                unique: reached.iter().filter(|blob| owners[*blob] == 1).map(bytes).sum(),
            })
            .collect();
        stages.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.stage.cmp(&b.stage)));
        let unnamed = blobs.keys().filter(|blob| !owners.contains_key(blob)).map(bytes).sum();
        let kinds: Vec<KindSize> = FOLDERS.into_par_iter().map(|kind| self.kind(kind)).collect();
        Ok(Sizes { bytes: kinds.iter().map(|kind| kind.bytes).sum(), kinds, stages, unnamed })
    }

    fn kind(&self, kind: &'static str) -> KindSize {
        let mut size = KindSize { kind, files: 0, bytes: 0 };
        // What ends while we look isn't counted.
        for entry in WalkDir::new(self.root.join(kind)).into_iter().flatten() {
            if let Ok(meta) = entry.metadata()
                && meta.is_file()
            {
                size.files += 1;
                size.bytes += meta.size();
            }
        }
        size
    }
}
