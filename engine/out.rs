//! The `out` folder: the newest outputs as files, for people and their programs.
//!
//! What stands there is a copy (a clone where the file system has them). Nothing reads it back: an edited or deleted
//! file there enters no result and harms no cache. The next run puts things right, and keeps an edited output aside.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use walkdir::WalkDir;

use crate::{
    cache::{Cache, CacheError, Flaw, hash_file},
    digest::Digest,
    disk::{self, Lock},
    parallel,
    pipeline::{Pipeline, StageNode, is_output_name, is_stage_name, stage_folder},
    place::{Method, PlaceError, place},
    report::{Outcome, RunReport},
    stage::Format,
    tree::Tree,
};

/// What goes wrong with the `out` folder.
#[derive(Debug, Error)]
pub enum OutError {
    /// The operating system refused.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file can't be placed.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The cache can't be read.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// What is to stand in the folder has a name that no stage or output can have.
    #[error("`{0}` is no name of a stage's output")]
    Name(String),
    /// An output is not in the cache any more, or damaged there: its stage has to be run again.
    #[error("`{stage}.{output}` is no longer in the cache: {flaw}")]
    Gone {
        /// The stage.
        stage: String,
        /// The output.
        output: String,
        /// What is wrong.
        flaw: Flaw,
    },
}

impl OutError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// An output that is to stand in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The stage.
    pub stage: String,
    /// The output.
    pub output: String,
    /// Its content digest.
    pub digest: Digest,
}

/// An output that someone had edited, and where it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Where it stood.
    pub path: PathBuf,
    /// Where it is kept.
    pub kept: PathBuf,
}

/// The folder in which the newest outputs stand.
#[derive(Debug)]
pub struct OutFolder {
    root: PathBuf,
}

/// What was placed, so that it is known again without reading it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Placed(BTreeMap<String, PlacedOutput>);

/// Path, size, inode, and times of modification and change of a file, in nanoseconds.
type PlacedFile = (String, u64, u64, i64, i64);

#[derive(Debug, Serialize, Deserialize)]
struct PlacedOutput {
    digest: Digest,
    files: Vec<PlacedFile>,
}

const STATE: &str = ".placed.json";
/// What the names of folders begin with in which outputs are put together.
const FRESH: &str = ".new-";

impl OutFolder {
    /// The folder `out` beside the pipeline's file.
    pub fn of(pipeline: &Pipeline) -> Self {
        Self { root: pipeline.root.join("out") }
    }

    /// The folder, within this one, of the stage called `stage`.
    pub fn within(stage: &str) -> String {
        stage_folder(stage)
    }

    /// Where an output stands: `out/STAGE/OUTPUT`, and for a stage of a matrix `out/STAGE/COMBINATION/OUTPUT`.
    pub fn path(&self, stage: &str, output: &str) -> PathBuf {
        self.root.join(stage_folder(stage)).join(output)
    }

    /// Makes the folder show the outputs of the stages that ended well in `report`, except arrays, which are placed on
    /// request only. Gives what had been edited, and was kept aside.
    ///
    /// # Errors
    /// When a file can't be placed.
    pub fn refresh(
        &self,
        cache: &Cache,
        pipeline: &Pipeline,
        report: &RunReport,
    ) -> Result<Vec<Kept>, OutError> {
        let nodes: HashMap<&str, &StageNode> =
            pipeline.stages.iter().map(|node| (node.name.as_str(), node)).collect();
        let mut wanted = Vec::new();
        for stage in &report.stages {
            if !matches!(stage.outcome, Outcome::Executed | Outcome::Reused) {
                continue;
            }
            let Some(node) = nodes.get(stage.name.as_str()) else {
                continue;
            };
            for (output, artifact) in node.outputs() {
                if artifact.format != Format::Zarr
                    && let Some(digest) = stage.outputs.get(&output)
                {
                    wanted.push(Wanted { stage: stage.name.clone(), output, digest: *digest });
                }
            }
        }
        self.show(cache, &wanted)
    }

    /// Makes the folder show `wanted`, all of it or nothing. Gives what had been edited, and was kept aside.
    ///
    /// # Errors
    /// When an output isn't in the cache, or can't be placed; then the folder is as it was. Also when a name would lead
    /// out of it: what was read from a cache may hold anything.
    pub fn restore(&self, cache: &Cache, wanted: &[Wanted]) -> Result<Vec<Kept>, OutError> {
        for Wanted { stage, output, .. } in wanted {
            if !is_stage_name(stage) || !is_output_name(output) {
                return Err(OutError::Name(format!("{stage}.{output}")));
            }
        }
        self.show(cache, wanted)
    }

    /// Puts the outputs that don't stand there yet in a fresh folder first, and then each in its place. If one isn't in
    /// the cache, nothing is changed; then all that are broken there have been quarantined.
    fn show(&self, cache: &Cache, wanted: &[Wanted]) -> Result<Vec<Kept>, OutError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        fs::create_dir_all(&self.root).map_err(OutError::io("make the folder", &self.root))?;
        let lock_path = self.root.join(".lock");
        let lock = File::create(&lock_path).map_err(OutError::io("create", &lock_path))?;
        let locked = disk::lock(&lock, &lock_path).map_err(OutError::io("lock", &lock_path))?;
        let state_path = self.root.join(STATE);
        let read = fs::read(&state_path).ok().and_then(|json| serde_json::from_slice(&json).ok());
        let mut placed: Placed = read.unwrap_or_default();
        let stale = self.stale(wanted, &placed)?;
        if stale.is_empty() {
            return Ok(Vec::new());
        }
        // Without locks somebody else may be placing something now.
        if locked == Lock::Taken {
            self.sweep();
        }
        let fresh = tempfile::Builder::new().prefix(FRESH).tempdir_in(&self.root);
        let fresh = fresh.map_err(OutError::io("make a folder in", &self.root))?;
        let ready = parallel::map(&stale, parallel::processors(), |stale| {
            let target = fresh.path().join(stale.number.to_string());
            stale.prepare(cache, target)
        });
        let mut moves = Vec::with_capacity(stale.len());
        let mut gone = None;
        for (stale, ready) in stale.into_iter().zip(ready) {
            match ready? {
                Ready::At { fresh, edited } => moves.push((stale, Some((fresh, edited)))),
                Ready::ThereAlready => moves.push((stale, None)),
                Ready::Gone(flaw) => {
                    let (stage, output) = (stale.wanted.stage.clone(), stale.wanted.output.clone());
                    gone.get_or_insert(OutError::Gone { stage, output, flaw });
                }
            }
        }
        if let Some(error) = gone {
            return Err(error);
        }
        let moved = parallel::map(&moves, parallel::processors(), |(stale, ready)| {
            let kept: Option<Kept> = match ready {
                Some((ready, edited)) => stale.replace(ready, *edited)?,
                None => None,
            };
            look(&stale.path).map(|files| (kept, files))
        });
        let mut kept = Vec::new();
        for ((stale, _), moved) in moves.into_iter().zip(moved) {
            let (aside, files) = moved?;
            kept.extend(aside);
            placed.0.insert(stale.key, PlacedOutput { digest: stale.wanted.digest, files });
        }
        let json = serde_json::to_vec(&placed)
            .unwrap_or_else(|_| unreachable!("the state has text keys only"));
        let fresh = self.root.join(".placed.json.new");
        fs::write(&fresh, json).map_err(OutError::io("write", &fresh))?;
        disk::rename(&fresh, &state_path).map_err(OutError::io("publish", &state_path))?;
        Ok(kept)
    }

    /// What of `wanted` doesn't stand there as it was `placed`.
    fn stale<'w>(&self, wanted: &'w [Wanted], placed: &Placed) -> Result<Vec<Stale<'w>>, OutError> {
        let looked = parallel::map(wanted, parallel::processors(), |wanted| {
            let key = format!("{}/{}", wanted.stage, wanted.output);
            let path = self.path(&wanted.stage, &wanted.output);
            let found = look(&path)?;
            let before = placed.0.get(&key);
            let is =
                |before: &PlacedOutput| before.digest == wanted.digest && before.files == found;
            if before.is_some_and(is) {
                return Ok(None);
            }
            let known = |file: &_| before.is_some_and(|before| before.files.contains(file));
            let untouched = found.iter().all(known);
            let before = before.map(|before| before.digest);
            Ok(Some(Stale { number: 0, wanted, key, path, before, untouched, found }))
        });
        let mut stale: Vec<Stale<'_>> =
            looked.into_iter().filter_map(Result::transpose).collect::<Result<_, OutError>>()?;
        for (number, stale) in stale.iter_mut().enumerate() {
            stale.number = number;
        }
        Ok(stale)
    }

    /// Removes what a killed run was placing.
    fn sweep(&self) {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(FRESH) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// An output that doesn't stand as it should.
struct Stale<'w> {
    /// Unlike that of any other.
    number: usize,
    wanted: &'w Wanted,
    key: String,
    path: PathBuf,
    /// What was placed there last.
    before: Option<Digest>,
    /// Whether nothing stands there but the very files that were placed.
    untouched: bool,
    /// What stands there.
    found: Vec<PlacedFile>,
}

/// What there is to put in an output's place.
enum Ready {
    /// It is put together at `fresh`, and what stands in its place was `edited` or not.
    At { fresh: PathBuf, edited: bool },
    /// It stands there already.
    ThereAlready,
    /// It isn't in the cache.
    Gone(Flaw),
}

impl Stale<'_> {
    /// Puts the output together at `target`.
    fn prepare(&self, cache: &Cache, target: PathBuf) -> Result<Ready, OutError> {
        let tree = match cache.complete_tree(self.wanted.digest)? {
            Ok(tree) => tree,
            Err(flaw) => return Ok(Ready::Gone(flaw)),
        };
        // A run that was killed may have placed it and not have noted that.
        if !self.untouched && holds(&self.path, &tree, &self.found) {
            return Ok(Ready::ThereAlready);
        }
        // In a workspace that was copied stand other files, and yet what was placed.
        let is_copy = |before| {
            let tree = cache.tree(before);
            matches!(tree, Ok(Ok(tree)) if holds(&self.path, &tree, &self.found))
        };
        let edited = !self.untouched && !self.before.is_some_and(is_copy);
        match place(cache, &tree, &target, Method::Copy) {
            Err(PlaceError::Cache(CacheError::Damaged(flaw))) => Ok(Ready::Gone(flaw)),
            placed => {
                placed?;
                Ok(Ready::At { fresh: target, edited })
            }
        }
    }

    /// Puts what is `ready` in its place. Gives what had been `edited`, and was kept aside.
    fn replace(&self, ready: &Path, edited: bool) -> Result<Option<Kept>, OutError> {
        let mut kept = None;
        if edited {
            kept = Some(set_aside(&self.path)?);
        } else {
            remove(&self.path)?;
        }
        let rename = || disk::rename(ready, &self.path);
        let renamed = match rename() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = self.path.parent().unwrap_or(&self.path);
                fs::create_dir_all(folder).map_err(OutError::io("make the folder", folder))?;
                rename()
            }
            other => other,
        };
        renamed.map_err(OutError::io("publish", &self.path))?;
        Ok(kept)
    }
}

/// The files under `path`, or the file at `path`, as they are now.
fn look(path: &Path) -> Result<Vec<PlacedFile>, OutError> {
    match fs::symlink_metadata(path) {
        Err(_) => return Ok(Vec::new()),
        Ok(meta) if !meta.is_dir() => return Ok(vec![placed(String::new(), &meta)]),
        Ok(_) => {}
    }
    let mut files = Vec::new();
    for entry in WalkDir::new(path).sort_by_file_name() {
        let failed = |error: walkdir::Error| OutError::io("list", path)(error.into());
        let entry = entry.map_err(failed)?;
        if entry.file_type().is_dir() {
            continue;
        }
        let meta = entry.metadata().map_err(failed)?;
        let name =
            entry.path().strip_prefix(path).unwrap_or(entry.path()).to_string_lossy().into_owned();
        files.push(placed(name, &meta));
    }
    Ok(files)
}

/// Whether the files `found` at `path` are those of `tree`, byte for byte.
fn holds(path: &Path, tree: &Tree, found: &[PlacedFile]) -> bool {
    found.len() == tree.files().len()
        && tree.files().iter().all(|entry| {
            let file = entry.path.under(path);
            fs::symlink_metadata(&file)
                .is_ok_and(|meta| meta.is_file() && meta.size() == entry.size)
                && hash_file(&file).is_ok_and(|(blob, _)| blob == entry.blob)
        })
}

fn placed(name: String, meta: &fs::Metadata) -> PlacedFile {
    let time =
        |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
    let (modified, changed) =
        (time(meta.mtime(), meta.mtime_nsec()), time(meta.ctime(), meta.ctime_nsec()));
    (name, meta.size(), meta.ino(), modified, changed)
}

fn remove(path: &Path) -> Result<(), OutError> {
    let removed = match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.map_err(OutError::io("remove", path))
}

/// Renames what stands at `path` to the first free of `PATH.edited-1`, `PATH.edited-2`, …
fn set_aside(path: &Path) -> Result<Kept, OutError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut number = 1;
    let kept = loop {
        let kept = path.with_file_name(format!("{name}.edited-{number}"));
        if fs::symlink_metadata(&kept).is_err() {
            break kept;
        }
        number += 1;
    };
    fs::rename(path, &kept).map_err(OutError::io("set aside", path))?;
    Ok(Kept { path: path.to_owned(), kept })
}
