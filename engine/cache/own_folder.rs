//! Folders that are this user's own, and that nobody else may enter.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use crate::base::disk;

/// A folder that is ours, as it was when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Own {
    device: u64,
    inode: u64,
}

impl Own {
    /// The folder at `path`, if it is one, belongs to us, and nobody else may enter it.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let meta = fs::symlink_metadata(path)?;
        let ours = meta.is_dir()
            && meta.uid() == rustix::process::geteuid().as_raw()
            && meta.mode() & 0o777 == 0o700;
        if ours {
            Ok(Self { device: meta.dev(), inode: meta.ino() })
        } else {
            Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the folder is not this user's own",
            ))
        }
    }

    /// Makes the folder `path`, which must not be there.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        disk::step(path)?;
        fs::DirBuilder::new().mode(0o700).create(path)?;
        if let Ok(own) = Self::at(path) {
            return Ok(own);
        }
        // The umask took from the owner, too.
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
        Self::at(path)
    }
}

/// A folder that may be used again, and which it is.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) folder: PathBuf,
    pub(crate) own: Own,
}

/// Removes the folder `path` and all that is in it, also what was protected from being removed by its owner.
pub(crate) fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        other => return other,
    }
    for entry in walkdir::WalkDir::new(path).follow_root_links(false) {
        // Entering a folder comes after it was seen, so it can be opened up before.
        let Ok(entry) = entry else { continue };
        if entry.file_type().is_dir() {
            let _ = fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700));
        }
    }
    fs::remove_dir_all(path)
}
