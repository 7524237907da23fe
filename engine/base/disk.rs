//! The steps by which files come to stand in the cache and under `out`.
//!
//! Whatever publishes goes through here, so that tests can try what happens when the process dies or the disk fails at
//! each single step: see [`faults`].

use std::{
    fs::{self, File, Permissions, TryLockError},
    io::{self, Write},
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::{
    fd::{AsFd, BorrowedFd},
    fs::{
        AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, linkat, openat, renameat,
        utimensat,
    },
    io::Errno,
};

use super::faults;
pub(crate) use crate::base::faults::step;

/// What came of trying to lock a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    /// It is ours now.
    Taken,
    /// Another holds it.
    Held,
    /// The file system has no locks: nothing is known, and nothing is held.
    Unsupported,
}

/// Locks a file, without waiting, until it is closed.
///
/// # Errors
/// When it can't be locked for another reason than that it is held, or that there are no locks.
pub(crate) fn try_lock(file: &File, path: &Path) -> io::Result<Lock> {
    came_of(path, || file.try_lock())
}

/// Locks a file until it is closed, and waits for who has locked it.
///
/// # Errors
/// When it can't be locked for another reason than that there are no locks.
pub(crate) fn lock(file: &File, path: &Path) -> io::Result<Lock> {
    came_of(path, || file.lock().map_err(TryLockError::Error))
}

/// Locks a file against who would have it alone, without waiting, to see whether somebody has. On NFS a file that is only
/// read can be locked in no other way.
///
/// # Errors
/// As for [`try_lock`].
pub(crate) fn try_lock_shared(file: &File, path: &Path) -> io::Result<Lock> {
    came_of(path, || file.try_lock_shared())
}

fn came_of(path: &Path, lock: impl Fn() -> Result<(), TryLockError>) -> io::Result<Lock> {
    if faults::has_no_locks(path) {
        return Ok(Lock::Unsupported);
    }
    match lock() {
        Ok(()) => Ok(Lock::Taken),
        Err(TryLockError::WouldBlock) => Ok(Lock::Held),
        Err(TryLockError::Error(error)) if has_no_locks(&error) => Ok(Lock::Unsupported),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether this is how a file system, or the server behind it, says that it has no locks.
fn has_no_locks(error: &io::Error) -> bool {
    let number = error.raw_os_error().map(Errno::from_raw_os_error);
    error.kind() == io::ErrorKind::Unsupported
        || number
            .is_some_and(|number| [Errno::NOLCK, Errno::NOSYS, Errno::OPNOTSUPP].contains(&number))
}

/// Where a file is to stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    path: &'a Path,
    folder: BorrowedFd<'a>,
    name: &'a Path,
}

impl<'a> Target<'a> {
    /// `path`, by its `name` in the open `folder`.
    pub(crate) fn within(folder: &'a impl AsFd, name: &'a Path, path: &'a Path) -> Self {
        Self { path, folder: folder.as_fd(), name }
    }
}

impl<'a, P: AsRef<Path> + ?Sized> From<&'a P> for Target<'a> {
    /// The path from where the process is.
    fn from(path: &'a P) -> Self {
        let path = path.as_ref();
        Self { path, folder: CWD, name: path }
    }
}

/// Creates a file that must not be there.
pub(crate) fn create<'a>(target: impl Into<Target<'a>>) -> io::Result<File> {
    let Target { path, folder, name } = target.into();
    step(path)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    Ok(openat(folder, name, flags, Mode::from(0o664))?.into())
}

/// Writes all of `bytes`. A fault leaves half of them written.
pub(crate) fn write_all(mut file: &File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    faults::torn(path, || file.write_all(&bytes[..bytes.len() / 2]))?;
    faults::wrote(file);
    file.write_all(bytes)
}

/// Writes all of `bytes` at `offset`. A fault leaves half of them written.
pub(crate) fn write_all_at(file: &File, path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
    faults::torn(path, || file.write_all_at(&bytes[..bytes.len() / 2], offset))?;
    faults::wrote(file);
    file.write_all_at(bytes, offset)
}

/// A file that is written in pieces.
#[derive(Debug)]
pub(crate) struct Pieces {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_all(&self.file, &self.path, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes a file's bytes durable.
pub(crate) fn sync(file: &File, path: &Path) -> io::Result<()> {
    step(path)?;
    file.sync_all()?;
    faults::synced(path);
    Ok(())
}

/// Gives a file of our own the permissions `mode`, unless it has them.
pub(crate) fn protect(file: &File, path: &Path, mode: u32) -> io::Result<()> {
    if file.metadata()?.mode() & 0o7777 == mode {
        return Ok(());
    }
    step(path)?;
    file.set_permissions(Permissions::from_mode(mode))
}

/// Renames `from` to `to`, in place of what stands there.
pub(crate) fn rename<'a>(from: &Path, to: impl Into<Target<'a>>) -> io::Result<()> {
    let Target { path, folder, name } = to.into();
    step(path)?;
    faults::replacing(path, || Ok(renameat(CWD, from, folder, name)?))
}

/// Moves `from` to `to`, which must be free.
pub(crate) fn move_to_free<'a>(from: &Path, to: impl Into<Target<'a>>) -> io::Result<()> {
    let to = to.into();
    step(to.path)?;
    let act = || if renamed_to_free(from, to)? { Ok(()) } else { linked(from, to) };
    faults::naming(to.path, act)
}

/// Renames `from` to `to`, which must be free; whether the file system can.
#[cfg(target_os = "linux")]
fn renamed_to_free(from: &Path, to: Target<'_>) -> io::Result<bool> {
    use rustix::fs::{RenameFlags, renameat_with};
    match renameat_with(CWD, from, to.folder, to.name, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}

#[cfg(not(target_os = "linux"))]
fn renamed_to_free(_: &Path, _: Target<'_>) -> io::Result<bool> {
    Ok(false)
}

/// Gives the file `from` a second name, which must be free.
pub(crate) fn link<'a>(from: &Path, to: impl Into<Target<'a>>) -> io::Result<()> {
    let to = to.into();
    step(to.path)?;
    faults::naming(to.path, || linked(from, to))
}

fn linked(from: &Path, to: Target<'_>) -> io::Result<()> {
    Ok(linkat(CWD, from, to.folder, to.name, AtFlags::empty())?)
}

/// Whether a file is too new to be collected, and for some time to come.
pub(crate) fn is_new(modified: SystemTime) -> bool {
    const NEW: Duration = Duration::from_mins(30);
    // A time in the future tells that some clock is off: then it isn't relied on.
    modified.elapsed().is_ok_and(|age| age < NEW)
}

/// Has a file count as new, so that it isn't collected; whether that could be done. What is new enough stays as it is.
pub(crate) fn touch(path: &Path) -> bool {
    if fs::metadata(path).and_then(|meta| meta.modified()).is_ok_and(is_new) {
        return true;
    }
    // Both times at once, since whoever may write may set both to now, and only an owner may set one.
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    step(path).is_ok() && utimensat(CWD, path, &times, AtFlags::empty()).is_ok()
}

/// Makes the folder `path` of a cache, unless it is there, and the one above it if that is missing. Each takes over from
/// the one above it who may write: who may write to a cache may write to every folder in it, whatever the umask of
/// who made it. A link to a folder is none, and nothing is made where there is no cache any more.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => return Ok(()),
        Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
        Err(_) => {}
    }
    let is_cache = |folder: &Path| folder.join("format").exists();
    if !path.ancestors().skip(1).take(2).any(is_cache) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the cache is gone"));
    }
    match create_new_folder(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), create_folder)?;
            create_folder(path)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }
}

/// Makes the folder `path` of a cache, which must not be there.
pub(crate) fn create_new_folder(path: &Path) -> io::Result<()> {
    let above = path.parent().unwrap_or(path);
    let wanted = fs::metadata(above)?.mode() & 0o2777;
    step(path)?;
    faults::naming(path, || fs::create_dir(path))?;
    if fs::metadata(path)?.mode() & 0o2777 != wanted {
        step(path)?;
        fs::set_permissions(path, Permissions::from_mode(wanted))?;
    }
    Ok(())
}

/// Makes the bytes of a file, or the entries of a folder, durable.
pub(crate) fn sync_path(path: &Path) -> io::Result<()> {
    step(path)?;
    match File::open(path)?.sync_all() {
        // Some network file systems can't sync a folder, and do without.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
        other => other?,
    }
    faults::synced(path);
    Ok(())
}

/// Makes everything durable that was written to the file system of `file`; `staging` is where this process writes there.
///
/// # Errors
/// When it fails, also for another's file, and where there is no such call.
pub(crate) fn sync_file_system(file: &File, staging: &Path) -> io::Result<()> {
    step(staging)?;
    synced_whole(file)?;
    faults::synced_all(staging);
    Ok(())
}

#[cfg(target_os = "linux")]
fn synced_whole(file: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(file)?)
}

#[cfg(not(target_os = "linux"))]
fn synced_whole(_: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_folder_takes_over_who_may_write() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o2775)).unwrap();
        fs::write(root.path().join("format"), "1").unwrap();
        let folder = root.path().join("a");
        create_folder(&folder).unwrap();
        create_folder(&folder.join("b")).unwrap();
        assert_eq!(fs::metadata(folder.join("b")).unwrap().mode() & 0o7777, 0o2775);
    }
}
