//! The files that the `out` folder needs for itself. None of them is reached through a link, and what can't have been
//! made here is neither used, written over nor removed.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, open, openat, renameat, unlinkat},
    io::Errno,
};

use super::{
    error::OutError,
    fresh::Fresh,
    kept::{Kept, set_aside},
    state::State,
};
use crate::base::disk::{self, Lock};

const LOCK: &str = ".lock";
const STATE: &str = ".placed.json";
/// Where the version before noted the arrays that were asked for.
const REQUESTED: &str = ".requested.json";
/// No state is larger.
const LARGEST: u64 = 1 << 28;

/// The `out` folder, opened once.
#[derive(Debug)]
pub(super) struct Own {
    folder: OwnedFd,
    path: PathBuf,
}

/// What there is of a state.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) state: State,
    /// Whether something else stands in its place.
    foreign: bool,
    /// Whether a document of the version before was taken in, too.
    requested: bool,
}

impl Own {
    /// Opens the folder at `path`, or where a link there leads; none if there is nothing.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, OutError> {
        match open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(folder) => Ok(Some(Self { folder, path: path.to_owned() })),
            Err(Errno::NOENT) if fs::symlink_metadata(path).is_ok() => {
                Err(OutError::Dangling(path.to_owned()))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR) => Err(OutError::NotAFolder(path.to_owned())),
            Err(error) => Err(OutError::io("open", path)(error.into())),
        }
    }

    /// Opens the folder at `path`, and makes it first if there is nothing.
    pub(super) fn make(path: &Path) -> Result<Self, OutError> {
        loop {
            if let Some(own) = Self::open(path)? {
                return Ok(own);
            }
            let made = disk::step(path).and_then(|()| fs::create_dir(path));
            match made {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(OutError::io("make the folder", path)(error));
                }
                _ => {}
            }
        }
    }

    /// Locks the folder against others who place something; for as long as the file is open. Where nothing can be written
    /// there may be nothing to lock, and nobody to lock out.
    pub(super) fn lock(&self) -> Result<(Option<File>, Lock), OutError> {
        let path = self.path.join(LOCK);
        let mode = Mode::from_raw_mode(0o666);
        let file = match self.plain(LOCK, OFlags::RDWR | OFlags::CREATE, mode) {
            Err(error) if is_read_only(&error) => match self.plain(LOCK, OFlags::RDONLY, mode) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok((None, Lock::Unsupported));
                }
                other => other,
            },
            other => other,
        };
        let file = file.map_err(OutError::io("open", &path))?;
        let file = file.ok_or_else(|| OutError::NotAFile(path.clone()))?;
        let locked = disk::lock(&file, &path).map_err(OutError::io("lock", &path))?;
        Ok((Some(file), locked))
    }

    /// What was placed here, as far as that can be told.
    pub(super) fn read(&self) -> Read {
        let mut read = Read::default();
        match self.text(STATE) {
            Ok(Some(json)) if !json.is_empty() => match State::parse(&json) {
                Some(state) => read.state = state,
                None => read.foreign = true,
            },
            // A power cut may leave an empty one.
            Ok(Some(_)) => {}
            Ok(None) => read.foreign = true,
            Err(error) => read.foreign = error.kind() != io::ErrorKind::NotFound,
        }
        if let Ok(Some(json)) = self.text(REQUESTED) {
            read.state.add_requested(&json);
            read.requested = true;
        }
        read
    }

    /// Writes the state, put together in `fresh`. What stands in its place and is none is set aside.
    pub(super) fn write(&self, read: &Read, fresh: &Fresh) -> Result<Option<Kept>, OutError> {
        let (new, target) = (fresh.path.join("state"), self.path.join(STATE));
        let file = disk::create(&new).map_err(OutError::io("create", &new))?;
        let json = read.state.to_json();
        disk::write_all(&file, &new, &json).map_err(OutError::io("write", &new))?;
        let kept = if read.foreign { set_aside(&target)? } else { None };
        disk::step(&target)
            .and_then(|()| Ok(renameat(CWD, &new, &self.folder, STATE)?))
            .map_err(OutError::io("publish", &target))?;
        if read.requested {
            let _ = unlinkat(&self.folder, REQUESTED, AtFlags::empty());
        }
        Ok(kept)
    }

    /// Opens a file of the folder's own. None if something stands there that is no plain file.
    fn plain(&self, name: &str, flags: OFlags, mode: Mode) -> io::Result<Option<File>> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match openat(&self.folder, name, flags, mode) {
            Ok(file) => {
                let file = File::from(file);
                Ok(file.metadata()?.is_file().then_some(file))
            }
            Err(Errno::LOOP | Errno::MLINK | Errno::ISDIR | Errno::NXIO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What a file of the folder's own holds. None if it is no plain file of a sane size.
    fn text(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = self.plain(name, OFlags::RDONLY, Mode::empty())? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = file.take(LARGEST + 1).read_to_end(&mut bytes)? as u64;
        Ok((read <= LARGEST).then_some(bytes))
    }
}

fn is_read_only(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
}
