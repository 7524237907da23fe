//! What each run did, kept by workspace.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Cache, CacheError, Staging};
use crate::digest::Fingerprint;

/// What one run did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunFile {
    /// The version of this format.
    pub format: u32,
    /// When it began, UTC.
    pub started: String,
    /// The machine.
    pub host: String,
    /// The pipeline's file.
    pub pipeline: PathBuf,
    /// Whether every stage ended well.
    pub ok: bool,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How each stage ended and under which fingerprint, by name.
    pub stages: BTreeMap<String, (String, Option<Fingerprint>)>,
}

/// The runs of one workspace: a pipeline's file at its place.
#[derive(Debug, Clone)]
pub struct Runs {
    cache: Cache,
    folder: PathBuf,
}

impl Cache {
    /// The runs of the pipeline in `file`.
    pub fn runs(&self, file: &Path) -> Runs {
        let mut hasher = blake3::Hasher::new_derive_key("pipe 2026-11 workspace v1");
        hasher.update(file.as_os_str().as_encoded_bytes());
        let name = hasher.finalize().to_hex()[..16].to_owned();
        Runs { cache: self.clone(), folder: self.root.join("runs").join(name) }
    }
}

impl Runs {
    /// Adds a run.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn add(&self, run: &RunFile) -> Result<(), CacheError> {
        let json = serde_json::to_vec_pretty(run)
            .unwrap_or_else(|_| unreachable!("a run has text keys only"));
        let staging = Staging::new(&self.cache)?;
        let mut stamp = jiff::Timestamp::now().as_nanosecond();
        // Two runs that end in the same nanosecond must not share a name.
        while !staging.publish_once(&self.folder.join(format!("{stamp:020}.json")), &json)? {
            stamp += 1;
        }
        Ok(())
    }

    /// The runs' files, newest first.
    fn files(&self) -> Result<Vec<PathBuf>, CacheError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(CacheError::io("list", &self.folder)(error)),
        };
        let mut files: Vec<_> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .collect();
        files.sort_unstable_by(|a, b| b.cmp(a));
        Ok(files)
    }

    /// The newest fingerprint of each stage, from the newest `depth` runs.
    ///
    /// # Errors
    /// When the runs can't be listed. A run that can't be read is passed over.
    pub fn last_fingerprints(
        &self,
        depth: usize,
    ) -> Result<BTreeMap<String, Fingerprint>, CacheError> {
        let mut last = BTreeMap::new();
        for file in self.files()?.into_iter().take(depth) {
            let Some(run) =
                fs::read(file).ok().and_then(|json| serde_json::from_slice::<RunFile>(&json).ok())
            else {
                continue;
            };
            for (name, (_, fingerprint)) in run.stages {
                if let Some(fingerprint) = fingerprint {
                    last.entry(name).or_insert(fingerprint);
                }
            }
        }
        Ok(last)
    }
}
