//! How an output comes to stand in its place under `out`, and what is in the way there.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use walkdir::WalkDir;

use super::{
    error::OutError,
    fresh::Fresh,
    kept::{Kept, set_aside},
    state::{PlacedFile, PlacedOutput},
    wanted::Wanted,
};
use crate::{
    artifact::materialize::{MaterializeError, Method, materialize},
    base::{digest::Digest, disk, tree::Tree},
    cache::{Cache, CacheError, Flaw, hash_file},
};

/// An output that doesn't stand as it should.
pub(super) struct Stale<'w> {
    /// Unlike that of any other.
    pub(super) number: usize,
    pub(super) wanted: &'w Wanted,
    pub(super) key: String,
    pub(super) path: PathBuf,
    /// Where it is put together: a folder on the disk that it is to stand on.
    pub(super) home: PathBuf,
    /// What was placed there last.
    before: Option<Digest>,
    /// Whether nothing stands there but the very files that were placed.
    untouched: bool,
    /// What stands there.
    found: Vec<PlacedFile>,
}

/// What there is to put in an output's place.
pub(super) enum Ready {
    /// It is put together at `fresh`, and what stands in its place was `edited` or not.
    At { fresh: PathBuf, edited: bool },
    /// It stands there already.
    ThereAlready,
    /// It isn't in the cache.
    Gone(Flaw),
}

impl<'w> Stale<'w> {
    /// Looks whether `wanted` stands at `path`, in the folder `root`, as it was placed `before`; what it takes if not.
    pub(super) fn look(
        root: &Path,
        wanted: &'w Wanted,
        key: String,
        path: PathBuf,
        before: Option<&PlacedOutput>,
    ) -> Result<Option<Self>, OutError> {
        let found = look(&path)?;
        let stands = |before: &PlacedOutput| {
            before.digest == wanted.digest
                && before.files == found
                && (!found.is_empty() || path.is_dir())
        };
        if before.is_some_and(stands) {
            return Ok(None);
        }
        let untouched = are_placed(&found, before);
        let before = before.map(|before| before.digest);
        let home = home(root, &path)?;
        Ok(Some(Self { number: 0, wanted, key, path, home, before, untouched, found }))
    }

    /// Puts the output together at `target`.
    pub(super) fn prepare(
        &self,
        cache: &Cache,
        root: &Path,
        target: PathBuf,
    ) -> Result<Ready, OutError> {
        let tree = match cache.complete_tree(self.wanted.digest)? {
            Ok(tree) => tree,
            Err(flaw) => return Ok(Ready::Gone(flaw)),
        };
        // A run that was killed may have placed it and not have noted that.
        if !self.untouched && holds(&self.path, &tree, &self.found) {
            return Ok(Ready::ThereAlready);
        }
        let edited = !self.untouched && !is_copy(cache, self.before, &self.path, &self.found);
        // Somebody's home isn't ours to tidy up.
        if edited && self.before.is_none() && is_through_link(root, &self.path) {
            return Err(OutError::Foreign(self.path.clone()));
        }
        match materialize(cache, &tree, &target, Method::Copy) {
            Err(MaterializeError::Cache(CacheError::Damaged(flaw))) => Ok(Ready::Gone(flaw)),
            placed => {
                placed?;
                Ok(Ready::At { fresh: target, edited })
            }
        }
    }

    /// Puts what is `ready` in its place. Gives what had been `edited`, and was kept aside.
    pub(super) fn replace(
        &self,
        cache: &Cache,
        ready: &Path,
        edited: bool,
    ) -> Result<Option<Kept>, OutError> {
        // Copying may have taken long enough for somebody to write there.
        let kept = if edited || look(&self.path)? != self.found {
            set_aside(&self.path)?
        } else {
            remove(&self.path)?;
            None
        };
        match disk::rename(ready, &self.path) {
            // The same disk, but mounted twice.
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                let fresh = Fresh::within(self.path.parent().unwrap_or(&self.path))?;
                let again = fresh.path.join("0");
                let tree = cache.complete_tree(self.wanted.digest)?.map_err(CacheError::Damaged)?;
                materialize(cache, &tree, &again, Method::Copy)?;
                disk::rename(&again, &self.path)
            }
            other => other,
        }
        .map_err(OutError::io("publish", &self.path))?;
        Ok(kept)
    }
}

/// Puts an artifact at `path`, a place of the user's own choice. Nothing may stand there but the same, or an empty folder.
///
/// # Errors
/// When something else stands there, or it can't be placed: then the place is as it was.
pub fn put(cache: &Cache, tree: &Tree, path: &Path) -> Result<(), OutError> {
    let found = look(path)?;
    if holds(path, tree, &found) {
        return Ok(());
    }
    // Who names a folder ends it with a slash or not.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if !found.is_empty() || (path.is_dir() && fs::remove_dir(path).is_err()) {
        return Err(OutError::Taken(path.to_owned()));
    }
    fs::create_dir_all(folder).map_err(OutError::io("make the folder", folder))?;
    let fresh = Fresh::within(folder)?;
    let ready = fresh.path.join("0");
    materialize(cache, tree, &ready, Method::Copy)?;
    disk::rename(&ready, path).map_err(OutError::io("publish", path))
}

/// The folder in which what is to stand at `path` is put together, so that it can be renamed: `root`, or the folder above
/// `path` that is on another disk.
fn home(root: &Path, path: &Path) -> Result<PathBuf, OutError> {
    let failed = |path| OutError::io("look at", path);
    let device = fs::metadata(root).map_err(failed(root))?.dev();
    for folder in path.ancestors().skip(1).take_while(|folder| *folder != root) {
        match fs::metadata(folder) {
            Ok(meta) if meta.is_dir() && meta.dev() == device => break,
            Ok(meta) if meta.is_dir() => return Ok(folder.to_owned()),
            // Something is in the way, which is set aside.
            Ok(_) => {}
            Err(error) if is_absent(&error) => {
                if fs::symlink_metadata(folder).is_ok() {
                    return Err(OutError::Dangling(folder.to_owned()));
                }
            }
            Err(error) => return Err(failed(folder)(error)),
        }
    }
    Ok(root.to_owned())
}

/// Makes the folders in `root` in which `path` is to stand. Gives what was in the way, and was kept aside.
pub(super) fn make_room(root: &Path, path: &Path) -> Result<Vec<Kept>, OutError> {
    let mut kept = Vec::new();
    let mut folders: Vec<&Path> =
        path.ancestors().skip(1).take_while(|folder| *folder != root).collect();
    if folders.first().is_some_and(|folder| folder.is_dir()) {
        return Ok(kept);
    }
    while let Some(folder) = folders.pop() {
        if folder.is_dir() {
            continue;
        }
        kept.extend(set_aside(folder)?);
        fs::create_dir(folder).map_err(OutError::io("make the folder", folder))?;
    }
    Ok(kept)
}

/// Removes what stands at `path`, in the folder `root`, if nothing does but what was `placed` there, and the folders that it
/// leaves empty. Whether nothing stands there any more.
pub(super) fn withdraw(
    cache: &Cache,
    root: &Path,
    path: &Path,
    placed: &PlacedOutput,
) -> Result<bool, OutError> {
    let found = look(path)?;
    if !are_placed(&found, Some(placed)) && !is_copy(cache, Some(placed.digest), path, &found) {
        return Ok(false);
    }
    disk::step(path).map_err(OutError::io("remove", path))?;
    remove(path)?;
    for folder in path.ancestors().skip(1).take_while(|folder| *folder != root) {
        // It holds something else, or is a link.
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(true)
}

/// Whether the files `found` are among those that were `placed`.
fn are_placed(found: &[PlacedFile], placed: Option<&PlacedOutput>) -> bool {
    found.iter().all(|file| placed.is_some_and(|placed| placed.files.contains(file)))
}

/// Whether what stands at `path` has the content that was placed there: in a workspace that was copied stand other files,
/// and yet nobody edited them.
fn is_copy(cache: &Cache, placed: Option<Digest>, path: &Path, found: &[PlacedFile]) -> bool {
    let tree = placed.map(|placed| cache.tree(placed));
    matches!(tree, Some(Ok(Ok(tree))) if holds(path, &tree, found))
}

fn is_through_link(root: &Path, path: &Path) -> bool {
    let mut folders = path.ancestors().skip(1).take_while(|folder| folder.starts_with(root));
    folders.any(|folder| fs::symlink_metadata(folder).is_ok_and(|meta| meta.is_symlink()))
}

/// The files under `path`, or the file at `path`, as they are now.
pub(super) fn look(path: &Path) -> Result<Vec<PlacedFile>, OutError> {
    match fs::symlink_metadata(path) {
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(OutError::io("look at", path)(error)),
        Ok(meta) if !meta.is_dir() => return Ok(vec![PlacedFile::new(String::new(), &meta)]),
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
        files.push(PlacedFile::new(name, &meta));
    }
    Ok(files)
}

/// Whether the files `found` at `path` are those of `tree`, byte for byte, and its links and empty folders are there.
fn holds(path: &Path, tree: &Tree, found: &[PlacedFile]) -> bool {
    const MAY_RUN: u32 = 0o100;
    let is_folder = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    found.len() == tree.files().len() + tree.links().len()
        && (tree.is_file() || is_folder(path))
        && tree.folders().iter().all(|folder| is_folder(&folder.under(path)))
        && tree.links().iter().all(|link| {
            fs::read_link(link.path.under(path))
                .is_ok_and(|target| target == Path::new(&link.target))
        })
        && tree.files().iter().all(|entry| {
            let file = entry.path.under(path);
            // Some file systems take every file for a program.
            let is_it = |meta: &fs::Metadata| {
                let runs = !entry.executable || meta.mode() & MAY_RUN != 0;
                meta.is_file() && meta.size() == entry.size && runs
            };
            fs::symlink_metadata(&file).is_ok_and(|meta| is_it(&meta))
                && hash_file(&file).is_ok_and(|(blob, _)| blob == entry.blob)
        })
}

fn remove(path: &Path) -> Result<(), OutError> {
    let removed = match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.map_err(OutError::io("remove", path))
}

/// Whether there is nothing, nor a folder in which there could be.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
