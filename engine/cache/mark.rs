//! The runs of all workspaces: what a collection starts from.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, de::IgnoredAny};

use super::{
    cache::Cache,
    contents::{is_folder, list, names, written},
    error::CacheError,
};
use crate::base::regular;

/// A run in the cache.
#[derive(Debug)]
pub(super) struct Root {
    /// The number of its workspace.
    pub(super) workspace: usize,
    /// The number of the user whose file it is.
    pub(super) owner: u32,
    /// What it names.
    pub(super) names: Vec<[u8; 32]>,
    pub(super) pinned: bool,
    /// Whether it bears a name that no newer run of its workspace bears.
    pub(super) named: bool,
    /// By the clock of the file system.
    pub(super) ended: SystemTime,
    /// The file that tells what it did. A pin may be left without one.
    pub(super) file: Option<PathBuf>,
    pub(super) standing: Standing,
}

/// What counts as a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// No file tells what it did: it is none.
    Unreadable,
    /// It is one.
    Readable,
    /// It is the newest of its workspace and its owner.
    Newest,
}

impl Root {
    pub(super) fn is_readable(&self) -> bool {
        self.standing != Standing::Unreadable
    }
}

/// What every version tells of a run.
#[derive(Deserialize)]
struct Told {
    #[serde(rename = "format")]
    _format: u32,
    #[serde(rename = "stages")]
    _stages: Vec<IgnoredAny>,
    pipeline: Option<PathBuf>,
}

/// The runs of all workspaces.
#[derive(Debug, Default)]
pub(super) struct Roots {
    /// The name of each workspace in the cache, and the pipeline's file where a run tells.
    pub(super) workspaces: Vec<(String, Option<PathBuf>)>,
    /// The runs, the oldest first.
    pub(super) runs: Vec<Root>,
}

impl Cache {
    /// Reads the runs of all workspaces, as of `now` by the clock of the file system. Each bears on what is kept, so one that
    /// the system doesn't let us read is an error; one that went while we looked, or tells nothing, isn't.
    pub(super) fn roots(&self, now: SystemTime) -> Result<Roots, CacheError> {
        let mut roots = Roots::default();
        for folder in list(&self.root.join("runs"))? {
            if is_folder(&folder) {
                let pipeline = roots.read(&folder, now)?;
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                roots.workspaces.push((name, pipeline));
            }
        }
        roots.runs.sort_by_key(|run| run.ended);
        let mut seen = HashSet::new();
        for run in roots.runs.iter_mut().rev() {
            if run.is_readable() && seen.insert((run.workspace, run.owner)) {
                run.standing = Standing::Newest;
            }
        }
        Ok(roots)
    }
}

impl Roots {
    /// Adds the runs of the next workspace, and gives the pipeline's file.
    fn read(&mut self, folder: &Path, now: SystemTime) -> Result<Option<PathBuf>, CacheError> {
        // The file and the pin of each, by what their names share, which begins with the time.
        let mut runs: BTreeMap<String, [Option<PathBuf>; 2]> = BTreeMap::new();
        for path in list(folder)? {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("json") => runs.entry(stem).or_default()[0] = Some(path),
                Some("pin") => runs.entry(stem).or_default()[1] = Some(path),
                _ => {}
            }
        }
        let (mut pipeline, mut borne) = (None, HashSet::new());
        for (stem, [file, pin]) in runs.into_iter().rev() {
            let (mut seen, mut ended, mut is_readable) = (Vec::new(), None, false);
            for path in file.iter().chain(&pin) {
                let text = match regular::read(path, super::run::LARGEST) {
                    Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                    // What isn't the file of a run tells of none.
                    Err(error)
                        if matches!(
                            error.kind(),
                            io::ErrorKind::NotFound | io::ErrorKind::InvalidData
                        ) =>
                    {
                        continue;
                    }
                    Err(error) => return Err(CacheError::io("read", path)(error)),
                };
                seen.extend(names(&text));
                if let Ok(told) = serde_json::from_str::<Told>(&text) {
                    is_readable = true;
                    pipeline = pipeline.or(told.pipeline);
                }
                // A run doesn't end when it is pinned: the pin's time counts only where nothing else is left.
                ended = ended.or_else(|| {
                    let meta = fs::metadata(path).ok()?;
                    Some((written(&meta, now), meta.uid()))
                });
            }
            let Some((ended, owner)) = ended else { continue };
            let name = stem.splitn(3, '-').nth(2);
            self.runs.push(Root {
                workspace: self.workspaces.len(),
                owner,
                names: seen,
                pinned: pin.is_some(),
                named: is_readable && name.is_some_and(|name| borne.insert(name.to_owned())),
                ended,
                file,
                standing: if is_readable { Standing::Readable } else { Standing::Unreadable },
            });
        }
        Ok(pipeline)
    }
}
