//! What is removed from a cache, moved in it, or published there is reached from the cache's folder, which is opened once, step by step and
//! following no link. So whoever puts a link in the place of a folder, at whatever instant, leads nobody outside.

use std::{
    ffi::{OsStr, OsString},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fd::{AsFd as _, AsRawFd as _, OwnedFd},
    fs::{AtFlags, CWD, Mode, OFlags, openat, renameat, unlinkat},
    io::{self, Errno},
};

use super::{cache::Cache, error::CacheError};
use crate::base::disk::Target;

/// A place in a folder that is open.
pub(super) struct Anchored {
    folder: OwnedFd,
    name: OsString,
}

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Cache {
    /// The place `path`, which is below the cache's folder; none if the folder that it is in is gone.
    pub(super) fn anchored(&self, path: &Path) -> Result<Option<Anchored>, CacheError> {
        let failed = |error: Errno| CacheError::io("look for", path)(error.into());
        // What this process stages is known by its path without links.
        let below = path.strip_prefix(&self.root).map(Path::to_owned).or_else(|_| {
            let root = self.root.canonicalize().unwrap_or_default();
            path.strip_prefix(root).map(Path::to_owned)
        });
        let (Ok(below), Some(name)) = (below, path.file_name()) else {
            return Err(failed(Errno::INVAL));
        };
        if below.components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(failed(Errno::INVAL));
        }
        let Some(mut folder) = self.opened_root().map_err(failed)? else { return Ok(None) };
        for part in below.parent().into_iter().flat_map(Path::iter) {
            folder = match openat(&folder, part, FOLDER, Mode::empty()) {
                Ok(next) => next,
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::LOOP | Errno::NOTDIR | Errno::MLINK) => {
                    let at = path.parent().unwrap_or(path);
                    return Err(CacheError::NotAFolder(at.to_owned()));
                }
                Err(error) => return Err(failed(error)),
            };
        }
        Ok(Some(Anchored { folder, name: name.to_owned() }))
    }

    /// Does `act`, which gives something its place at `path`.
    ///
    /// # Errors
    /// When it fails, or there is no folder for it.
    pub(super) fn publish_at<T>(
        &self,
        path: &Path,
        act: impl FnOnce(Target<'_>) -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        use std::io::ErrorKind::{NotADirectory, NotFound};
        match self.anchored(path) {
            Ok(Some(Anchored { folder, name })) => {
                act(Target::within(&folder, Path::new(&name), path))
            }
            Ok(None) => Err(NotFound.into()),
            Err(CacheError::Io { source, .. }) => Err(source),
            Err(_) => Err(NotADirectory.into()),
        }
    }

    /// The cache's folder as it was when it was first used.
    fn opened_root(&self) -> io::Result<Option<OwnedFd>> {
        let first = match self.shared.root.get() {
            Some(root) => root,
            // The cache itself may be named by a link.
            None => match openat(CWD, &self.root, FOLDER - OFlags::NOFOLLOW, Mode::empty()) {
                Ok(root) => self.shared.root.get_or_init(|| root),
                Err(Errno::NOENT) => return Ok(None),
                Err(error) => return Err(error),
            },
        };
        io::fcntl_dupfd_cloexec(first, 0).map(Some)
    }
}

impl Anchored {
    /// Removes the file there, which may be gone already.
    pub(super) fn remove(&self) -> io::Result<()> {
        match unlinkat(self.folder.as_fd(), &self.name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            other => other,
        }
    }

    /// Moves what is there to `name` in the folder of `other`; it may be gone already.
    pub(super) fn move_to(&self, other: &Self, name: &OsStr) -> io::Result<()> {
        match renameat(self.folder.as_fd(), &self.name, other.folder.as_fd(), name) {
            Err(Errno::NOENT) => Ok(()),
            other => other,
        }
    }

    /// A path that leads there whatever becomes of the names of the folders, while this is kept; `path` itself where the system
    /// has no such paths.
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        let folder = PathBuf::from(format!("/proc/self/fd/{}", self.folder.as_raw_fd()));
        if folder.exists() { folder.join(&self.name) } else { path.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    /// A cache, a file in a bucket of it, and a victim's folder with a file of that name.
    fn cache() -> (tempfile::TempDir, Cache, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("cache")).unwrap();
        let bucket = cache.root.join("blobs/aa");
        let victim = folder.path().join("victim");
        for folder in [&bucket, &victim] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("file"), "bytes").unwrap();
        }
        (folder, cache, bucket, victim)
    }

    #[test]
    fn a_folder_that_became_a_link_leads_nowhere() {
        for swapped in ["blobs/aa", "blobs"] {
            let (folder, cache, bucket, victim) = cache();
            let file = bucket.join("file");
            let place = cache.anchored(&file).unwrap().unwrap();
            let moved = folder.path().join("moved");
            fs::rename(cache.root.join(swapped), &moved).unwrap();
            fs::create_dir(victim.join("aa")).unwrap();
            fs::write(victim.join("aa/file"), "bytes").unwrap();
            symlink(&victim, cache.root.join(swapped)).unwrap();
            // Who had looked before it became one still acts on what he looked at.
            fs::write(place.path(&file), "other").unwrap();
            place.remove().unwrap();
            // Who looks now goes no further.
            assert!(matches!(cache.remove(&file), Err(CacheError::NotAFolder(_))), "{swapped}");
            assert!(matches!(cache.quarantine(&file), Err(CacheError::NotAFolder(_))));
            let (fresh, target) = (folder.path().join("fresh"), bucket.join("new"));
            fs::write(&fresh, "").unwrap();
            assert!(cache.link_once(&fresh, &target).is_err(), "{swapped}");
            assert!(cache.put(&fresh, &target).is_err(), "{swapped}");
            assert!(!victim.join("new").exists() && !victim.join("aa/new").exists());
            for kept in [victim.join("file"), victim.join("aa/file")] {
                assert_eq!(fs::read(kept).unwrap(), b"bytes");
            }
            assert!(!moved.join("file").exists() && !moved.join("aa/file").exists());
        }
    }

    #[test]
    fn what_is_gone_is_no_error_and_what_is_elsewhere_is_refused() {
        let (folder, cache, bucket, victim) = cache();
        cache.remove(&bucket.join("nothing")).unwrap();
        cache.remove(&cache.root.join("blobs/zz/nothing")).unwrap();
        cache.quarantine(&bucket.join("nothing")).unwrap();
        assert!(cache.remove(&victim.join("file")).is_err());
        assert!(cache.remove(&cache.root.join("../victim/file")).is_err());
        cache.quarantine(&bucket.join("file")).unwrap();
        assert!(!bucket.join("file").exists());
        assert_eq!(fs::read_dir(cache.root.join("quarantine")).unwrap().count(), 1);
        // By the cache's path without links.
        let link = folder.path().join("link");
        symlink(&cache.root, &link).unwrap();
        let by_link = Cache::open(&link).unwrap();
        fs::write(bucket.join("file"), "").unwrap();
        by_link.remove(&bucket.canonicalize().unwrap().join("file")).unwrap();
        assert!(!bucket.join("file").exists());
    }
}
