//! The runs of all workspaces: what a collection starts from.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    Cache, CacheError,
    reach::{is_folder, list, names},
};
use crate::regular;

/// A run in the cache.
#[derive(Debug)]
pub(super) struct Root {
    /// The number of its workspace.
    pub(super) workspace: usize,
    /// What it names.
    pub(super) names: Vec<[u8; 32]>,
    pub(super) pinned: bool,
    /// Whether it bears a name that no newer run of its workspace bears.
    pub(super) named: bool,
    /// By the clock of the file system.
    pub(super) ended: SystemTime,
    /// Whether it is the newest of its workspace.
    pub(super) newest: bool,
    /// The file that tells what it did. A pin may be left without one.
    pub(super) file: Option<PathBuf>,
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
    /// Reads the runs of all workspaces. Each bears on what is kept, so one that can't be read is an error; one that
    /// went while we looked, or holds no text, isn't.
    pub(super) fn roots(&self) -> Result<Roots, CacheError> {
        let mut roots = Roots::default();
        for folder in list(&self.root.join("runs"))? {
            if is_folder(&folder) {
                let pipeline = roots.read(&folder)?;
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                roots.workspaces.push((name, pipeline));
            }
        }
        roots.runs.sort_by_key(|run| run.ended);
        let mut seen = HashSet::new();
        for run in roots.runs.iter_mut().rev() {
            run.newest = seen.insert(run.workspace);
        }
        Ok(roots)
    }
}

impl Roots {
    /// Adds the runs of the next workspace, and gives the pipeline's file.
    fn read(&mut self, folder: &Path) -> Result<Option<PathBuf>, CacheError> {
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
            let (mut seen, mut ended) = (Vec::new(), None);
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
                if pipeline.is_none() {
                    let value: Option<serde_json::Value> = serde_json::from_str(&text).ok();
                    pipeline =
                        value.and_then(|value| value["pipeline"].as_str().map(PathBuf::from));
                }
                // A run doesn't end when it is pinned: the pin's time counts only where nothing else is left.
                ended = ended.or_else(|| fs::metadata(path).and_then(|meta| meta.modified()).ok());
            }
            let Some(ended) = ended else { continue };
            let name = stem.splitn(3, '-').nth(2);
            self.runs.push(Root {
                workspace: self.workspaces.len(),
                names: seen,
                pinned: pin.is_some(),
                named: name.is_some_and(|name| borne.insert(name.to_owned())),
                ended,
                newest: false,
                file,
            });
        }
        Ok(pipeline)
    }
}
