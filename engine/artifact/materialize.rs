//! Artifacts as files: for commands that read them, and for people under `out`.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use rayon::prelude::*;
use thiserror::Error;

use crate::{
    base::{
        disk,
        tree::{Entry, Tree},
    },
    cache::{Cache, CacheError, FEW},
};

/// Files of the cache that are larger are handed out by a hard link, where they can't be cloned.
pub(crate) const SMALL: u64 = 1 << 20;

/// How an artifact's files come to stand somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// By a clone where the file system has them (writing to one leaves the other as it is), else by a copy.
    Copy,
    /// By a clone, or by a copy of a small file, else by a read-only hard link. Whoever breaks through the write protection
    /// of a hard link writes to the cache, so this is for readers that are checked afterwards.
    Lend,
}

/// A file that couldn't be put in its place.
#[derive(Debug, Error)]
pub enum MaterializeError {
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

impl MaterializeError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// Puts what `tree` holds under `base`, or at `base` when the artifact is one file. Nothing may stand there.
///
/// # Errors
/// When a file can't be placed, or is not what it should be: nothing broken is placed.
pub fn materialize(
    cache: &Cache,
    tree: &Tree,
    base: &Path,
    method: Method,
) -> Result<(), MaterializeError> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for entry in tree.files() {
        if let Some(folder) = entry.path.under(base).parent()
            && folders.last().is_none_or(|last| last != folder)
        {
            folders.push(folder.to_owned());
        }
    }
    folders.extend(tree.folders().iter().map(|folder| folder.under(base)));
    folders.extend(
        tree.links().iter().filter_map(|link| Some(link.path.under(base).parent()?.to_owned())),
    );
    if tree.is_empty() {
        folders.push(base.to_owned());
    }
    for folder in &folders {
        fs::create_dir_all(folder).map_err(MaterializeError::at(folder))?;
    }
    let place = |entry: &Entry| {
        let target = entry.path.under(base);
        if method == Method::Lend && entry.size > SMALL {
            // What happens to the link must not happen to what is being published.
            cache.await_published(entry.blob);
        }
        let (from, sound) = cache.open_blob(entry.blob, entry.size)?;
        place_file(cache, entry, &from, &sound, &target, method)
            .map_err(MaterializeError::at(&target))
    };
    if tree.files().len() > FEW {
        tree.files().par_iter().try_for_each(place)?;
    } else {
        tree.files().iter().try_for_each(place)?;
    }
    // They come last, so that nothing is written through one; and nothing of a tree stands in one.
    for link in tree.links() {
        let path = link.path.under(base);
        let made = disk::step(&path).and_then(|()| symlink(&link.target, &path));
        made.map_err(MaterializeError::at(&path))?;
    }
    Ok(())
}

/// Puts the file `from`, which is open and was found to be `sound`, at `target`.
fn place_file(
    cache: &Cache,
    entry: &Entry,
    mut from: &File,
    sound: &Metadata,
    target: &Path,
    method: Method,
) -> io::Result<()> {
    let blob = &cache.blob_path(entry.blob);
    // A copy is its reader's own: it takes the owner's permission to write that the blob doesn't have.
    let readable = sound.mode() & 0o444;
    // Who may read a program may run it.
    let mode = readable | 0o200 | if entry.executable { readable >> 2 } else { 0 };
    disk::step(target)?;
    if method == Method::Lend {
        // Where a clone can't be had, an empty file is left behind and removed, which takes longer than a link.
        static CLONES: AtomicBool = AtomicBool::new(true);
        if CLONES.load(Ordering::Relaxed) {
            if cloned(from, target, mode)? {
                return Ok(());
            }
            CLONES.store(false, Ordering::Relaxed);
        }
        // What a blob's file may be is not what each of its names may be.
        if entry.size > SMALL && !entry.executable && fs::hard_link(blob, target).is_ok() {
            let linked = fs::symlink_metadata(target)?;
            if (linked.dev(), linked.ino()) == (sound.dev(), sound.ino()) {
                // The link is a change of the blob's file that we made ourselves.
                cache.note_verified(entry.blob, sound);
                return Ok(());
            }
            // Another file took the place of the one that was looked at.
            fs::remove_file(target)?;
        }
    }
    let mut to = create(target, mode)?;
    // This clones where the file system can.
    io::copy(&mut from, &mut to)?;
    Ok(())
}

fn create(target: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(target)
}

/// Makes `target` a clone of the file `from`, if the file system can.
#[cfg(target_os = "linux")]
fn cloned(from: &File, target: &Path, mode: u32) -> io::Result<bool> {
    let to = create(target, mode)?;
    if rustix::fs::ioctl_ficlone(&to, from).is_ok() {
        return Ok(true);
    }
    fs::remove_file(target)?;
    Ok(false)
}

#[cfg(not(target_os = "linux"))]
fn cloned(_: &File, _: &Path, _: u32) -> io::Result<bool> {
    Ok(false)
}
