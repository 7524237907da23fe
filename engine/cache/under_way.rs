//! What runs that are under way do: written by each beside its heartbeat, read by whoever asks.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{cache::Cache, contents::list, error::CacheError, format::FORMAT, lease_file::NOW};
use crate::base::{
    digest::Fingerprint,
    disk::{self, Lock},
    regular,
};

/// More than this is no such file.
const LARGEST: u64 = 16 << 20;

/// A run that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderWay {
    pub(super) format: u32,
    /// Who, for people.
    pub owner: String,
    /// The pipeline's file.
    pub pipeline: PathBuf,
    /// When it began, UTC.
    pub started: String,
    /// The stages that it executes now.
    pub stages: Vec<StageUnderWay>,
}

/// A stage that is being executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageUnderWay {
    /// The stage's name.
    pub name: String,
    /// The name of its result.
    pub fingerprint: Fingerprint,
    /// When it began, UTC.
    pub started: String,
    /// How far it is: done, of how many, of what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<(u64, u64, String)>,
    /// The folders in which its commands work, each with a file `log` of what it prints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sandboxes: Vec<PathBuf>,
}

impl UnderWay {
    pub(super) fn new(owner: &str, pipeline: &Path) -> Self {
        Self {
            format: FORMAT,
            owner: owner.to_owned(),
            pipeline: pipeline.to_owned(),
            started: jiff::Timestamp::now().to_string(),
            stages: Vec::new(),
        }
    }
}

impl StageUnderWay {
    /// What its commands have printed so far, as far as it may be read: a file each.
    pub fn logs(&self) -> Vec<PathBuf> {
        self.sandboxes
            .iter()
            .map(|sandbox| sandbox.join("log"))
            .filter(|log| log.is_file())
            .collect()
    }
}

impl Cache {
    /// The runs of the pipeline in `file` that are under way, as of their last heartbeat.
    ///
    /// # Errors
    /// When the cache can't be listed.
    pub fn under_way(&self, file: &Path) -> Result<Vec<UnderWay>, CacheError> {
        let mut found = Vec::new();
        for path in list(&self.root().join("leases"))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let Some(id) = name.strip_prefix(NOW) else { continue };
            if self.is_live(id)
                && let Some(run) = read(&path)
                && run.pipeline == file
            {
                found.push(run);
            }
        }
        Ok(found)
    }

    /// Whether the run `id` is not known to be dead.
    pub(super) fn is_live(&self, id: &str) -> bool {
        let path = self.root().join("leases").join(format!("{}{id}", super::lease_file::RUN));
        let Ok((file, _)) = regular::open(&path) else { return false };
        let line = super::lease_file::first_line(&file)
            .ok()
            .and_then(|seen| super::lease_file::Line::parse(&seen));
        let ours = line.is_some_and(|line| line.is_of_this_machine());
        match disk::try_lock_shared(&file, &path) {
            Ok(Lock::Taken) => !ours && file.metadata().is_ok_and(|meta| !self.is_abandoned(&meta)),
            _ => true,
        }
    }
}

fn read(path: &Path) -> Option<UnderWay> {
    let json = regular::read(path, LARGEST).ok()?;
    serde_json::from_slice(&json).ok().filter(|run: &UnderWay| run.format == FORMAT)
}
