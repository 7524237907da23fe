//! Artifacts as files: for commands that read them, and for people under `out`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rayon::prelude::*;
use thiserror::Error;

use crate::{
    cache::{Cache, CacheError, FEW},
    disk,
    tree::{Entry, Tree},
};

/// How an artifact's files come to stand somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// By a clone where the file system has them (writing to one leaves the other as it is), else by a copy.
    Copy,
    /// By a clone, else by a read-only hard link, else by a copy. Whoever breaks through the write protection of a
    /// hard link writes to the cache, so this is for readers that are checked afterwards.
    Link,
}

/// A file that couldn't be put in its place.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// The operating system refused.
    #[error("failed to place `{}`", path.display())]
    Io {
        /// The place.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is missing from the cache, or broken there.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl PlaceError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// Puts the files of `tree` under `base`, or at `base` when the artifact is one file. Nothing may stand there.
///
/// # Errors
/// When a file can't be placed, or is not what it should be: nothing broken is placed.
pub fn place(cache: &Cache, tree: &Tree, base: &Path, method: Method) -> Result<(), PlaceError> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for entry in tree.files() {
        if let Some(folder) = entry.path.under(base).parent()
            && folders.last().is_none_or(|last| last != folder)
        {
            folders.push(folder.to_owned());
        }
    }
    for folder in &folders {
        fs::create_dir_all(folder).map_err(PlaceError::at(folder))?;
    }
    let place = |entry: &Entry| {
        let target = entry.path.under(base);
        cache.check_blob(entry.blob, entry.size)?;
        place_file(cache, entry, &target, method).map_err(PlaceError::at(&target))
    };
    if tree.files().len() > FEW {
        tree.files().par_iter().try_for_each(place)
    } else {
        tree.files().iter().try_for_each(place)
    }
}

fn place_file(cache: &Cache, entry: &Entry, target: &Path, method: Method) -> io::Result<()> {
    let blob = &cache.blob_path(entry.blob);
    disk::step(target)?;
    if reflink_copy::reflink(blob, target).is_ok() {
        return make_writable(target);
    }
    if method == Method::Link && fs::hard_link(blob, target).is_ok() {
        // The link is a change of the blob's file that we made ourselves.
        cache.note_verified(entry.blob);
        return Ok(());
    }
    if target.exists() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::copy(blob, target)?;
    make_writable(target)
}

/// A copy is its reader's own: it takes the owner's permission to write that the blob doesn't have.
fn make_writable(target: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(target)?.permissions().mode();
    fs::set_permissions(target, fs::Permissions::from_mode(mode | 0o200))
}
