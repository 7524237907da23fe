//! A staged file, and how it gets to its place in the cache.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    cache::{Cache, create_folder},
    error::CacheError,
    hint::is_fatal,
    signature::Signature,
    staging::Staging,
};
use crate::base::{digest::Digest, disk};

/// A staged file, and where it is to be.
#[derive(Debug)]
pub(super) struct StagedFile {
    pub(super) file: PathBuf,
    pub(super) target: PathBuf,
    pub(super) blob: Digest,
    pub(super) size: u64,
    /// What the staged file was when its bytes were hashed.
    pub(super) seen: Signature,
}

impl StagedFile {
    /// Gives the staged file its place too; the old one stays, since readers may know it. Gives the folder above the
    /// target's, if the target's had to be made.
    pub(super) fn link(
        &self,
        cache: &Cache,
        staging: &Staging,
    ) -> Result<Option<PathBuf>, CacheError> {
        let made = self.put(cache, staging)?;
        // Whoever still has the staged file open may have written to it since it was hashed.
        if !staging.note_published(self.blob, &self.seen) {
            cache.verify_published(self.blob)?;
        }
        Ok(made)
    }

    fn put(&self, cache: &Cache, staging: &Staging) -> Result<Option<PathBuf>, CacheError> {
        check_bucket(&self.target)?;
        let link = || cache.publish_at(&self.target, |place| disk::link(&self.file, place));
        let mut made = None;
        let mut linked = link();
        if is_missing(&linked) {
            made = self.target.parent().map(make_folder).transpose()?.flatten();
            linked = link();
        }
        match linked {
            Ok(()) => return Ok(made),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if cache.holds_blob(self.blob, self.size) {
                    return Ok(made);
                }
            }
            Err(error) if is_fatal(&error) => {
                return Err(CacheError::io("publish", &self.target)(error));
            }
            Err(_) => {}
        }
        // Something broken stands there, or the file system has no hard links.
        clear(cache, &self.target)?;
        let copy = staging.fresh();
        if fs::hard_link(&self.file, &copy).is_err() {
            disk::step(&copy).map_err(CacheError::io("copy", &self.file))?;
            fs::copy(&self.file, &copy).map_err(CacheError::io("copy", &self.file))?;
            sync_path(&copy)?;
        }
        cache.put(&copy, &self.target)?;
        Ok(made)
    }
}

/// A staged manifest, and where it is to be.
#[derive(Debug)]
pub(super) struct StagedTree {
    pub(super) file: PathBuf,
    pub(super) target: PathBuf,
    pub(super) digest: Digest,
}

impl StagedTree {
    /// Moves the staged file to its place. Gives the folder above the target's, if the target's had to be made.
    pub(super) fn rename(&self, cache: &Cache) -> Result<Option<PathBuf>, CacheError> {
        check_bucket(&self.target)?;
        clear(cache, &self.target)?;
        let rename = || cache.publish_at(&self.target, |place| disk::rename(&self.file, place));
        let mut made = None;
        let mut renamed = rename();
        if is_missing(&renamed) {
            made = self.target.parent().map(make_folder).transpose()?.flatten();
            renamed = rename();
        }
        renamed.map(|()| made).map_err(CacheError::io("publish", &self.target))
    }
}

/// Takes what isn't a file out of the way of one.
fn clear(cache: &Cache, target: &Path) -> Result<(), CacheError> {
    match fs::symlink_metadata(target) {
        Ok(meta) if !meta.is_file() => cache.quarantine(target),
        _ => Ok(()),
    }
}

/// Checks that the folder in which `path` stands, if there is one, is a folder and not a link to one.
///
/// # Errors
/// When it isn't.
pub(super) fn check_bucket(path: &Path) -> Result<(), CacheError> {
    let bucket = path.parent().unwrap_or(path);
    match fs::symlink_metadata(bucket) {
        Ok(meta) if !meta.is_dir() => Err(CacheError::NotAFolder(bucket.to_owned())),
        _ => Ok(()),
    }
}

fn is_missing(done: &io::Result<()>) -> bool {
    done.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Makes `folder`; gives the folder above it if it wasn't there.
pub(super) fn make_folder(folder: &Path) -> Result<Option<PathBuf>, CacheError> {
    match fs::symlink_metadata(folder) {
        Ok(meta) if meta.is_dir() => return Ok(None),
        Ok(_) => return Err(CacheError::NotAFolder(folder.to_owned())),
        Err(_) => {}
    }
    create_folder(folder)?;
    Ok(folder.parent().map(Path::to_owned))
}

/// Makes a file or the entries of a folder durable.
pub(super) fn sync_path(path: &Path) -> Result<(), CacheError> {
    disk::sync_path(path).map_err(CacheError::io("sync", path))
}
