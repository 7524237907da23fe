//! Where a user remembers what was found in a cache, so that it isn't read or hashed again.
//!
//! What is remembered is believed, so it doesn't lie in the cache, where others may write, but in a folder of the user's own:
//! `HOME/CACHE/…`, with `HOME` mostly `~/.cache/pipe`, and `CACHE` a name for the cache's folder on this machine. Nothing is
//! read there but files that belong to the user, and into which nobody else may write. Whoever has no such folder reads
//! and hashes again.

use std::{
    fs::{self, DirBuilder, Metadata, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use rustix::fs::OFlags;

use crate::base::{host, regular};

/// What wasn't written to for so long is forgotten.
const OLD: Duration = Duration::from_hours(30 * 24);

/// What a user remembers of one cache.
#[derive(Debug)]
pub(super) struct Memory {
    home: Option<PathBuf>,
    /// The cache's folder.
    root: PathBuf,
    folder: OnceLock<Option<PathBuf>>,
}

impl Memory {
    /// What is remembered under `home` of the cache in `root`; nothing without a `home`.
    pub(super) fn new(home: Option<&Path>, root: &Path) -> Self {
        let home = home.map(Path::to_owned);
        Self { home, root: root.to_owned(), folder: OnceLock::new() }
    }

    /// The folder for this cache, which need not be there.
    fn folder(&self) -> Option<&Path> {
        let name = || {
            let root = fs::metadata(&self.root).ok()?;
            let mut hasher = blake3::Hasher::new_derive_key("pipe 2026-11 memory v1");
            // Numbers of devices and files mean something on one machine only.
            for number in [root.dev(), root.ino()] {
                hasher.update(&number.to_le_bytes());
            }
            hasher.update(host::name().as_bytes());
            Some(self.home.as_ref()?.join(&hasher.finalize().to_hex()[..16]))
        };
        self.folder.get_or_init(name).as_deref()
    }

    /// The bytes of the file `name`, which should be `most` at most. None if there is none that can be believed.
    pub(super) fn read(&self, name: &str, most: u64) -> Option<Vec<u8>> {
        let folder = self.folder()?;
        if !is_own_folder(self.home.as_ref()?) || !is_own_folder(folder) {
            return None;
        }
        let path = folder.join(name);
        is_own(&fs::symlink_metadata(&path).ok()?).then_some(())?;
        regular::read(&path, most).ok()
    }

    /// Adds `bytes` to the end of the file `name`.
    ///
    /// # Errors
    /// When it can't be written, or isn't the user's own.
    pub(super) fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.prepare()?.join(name);
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
        let mut options = OpenOptions::new();
        let mut file =
            options.append(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
        let meta = file.metadata()?;
        if meta.is_file() && is_own(&meta) { file.write_all(bytes) } else { Err(not_own()) }
    }

    /// Writes the file `name` anew.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let folder = self.prepare()?;
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.persist(folder.join(name))?;
        Ok(())
    }

    /// Makes the folder for this cache, and forgets what is old when it is new.
    fn prepare(&self) -> io::Result<&Path> {
        let none = || io::Error::from(io::ErrorKind::NotFound);
        let (home, folder) = self.home.as_deref().zip(self.folder()).ok_or_else(none)?;
        let mut private = DirBuilder::new();
        private.mode(0o700);
        private.recursive(true).create(home)?;
        if !is_own_folder(home) {
            return Err(not_own());
        }
        match private.recursive(false).create(folder) {
            Ok(()) => forget_old(home),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        if is_own_folder(folder) { Ok(folder) } else { Err(not_own()) }
    }
}

/// Whether a file or folder belongs to this user, and nobody else may write to it.
fn is_own(meta: &Metadata) -> bool {
    meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o022 == 0
}

fn is_own_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir() && is_own(&meta))
}

fn not_own() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "others may write to it")
}

/// Forgets what wasn't written to for long, of whichever cache. What can't be removed stays.
fn forget_old(home: &Path) {
    let paths = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    for folder in paths(home).into_iter().filter(|folder| is_own_folder(folder)) {
        for path in paths(&folder) {
            if is_old(&path) {
                let _ = fs::remove_file(path);
            }
        }
        if is_old(&folder) {
            // One that isn't empty stays.
            let _ = fs::remove_dir(&folder);
        }
    }
}

fn is_old(path: &Path) -> bool {
    let modified = fs::symlink_metadata(path).and_then(|meta| meta.modified());
    let age = modified.ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
    age.is_some_and(|age| age > OLD)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// A memory that remembers `word`, and its file.
    fn memory() -> (tempfile::TempDir, Memory, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::new(Some(&folder.path().join("home/pipe")), folder.path());
        memory.append("a", b"wo").unwrap();
        memory.append("a", b"rd").unwrap();
        assert_eq!(memory.read("a", 100).unwrap(), b"word");
        let file = memory.folder().unwrap().join("a");
        (folder, memory, file)
    }

    #[test]
    fn what_others_may_write_is_not_believed() {
        let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        for mode in [0o020, 0o002] {
            let (_folder, memory, file) = memory();
            let (cache, home) = (file.parent().unwrap(), memory.home.clone().unwrap());
            for (path, own) in [(&*file, 0o600), (cache, 0o700), (&*home, 0o700)] {
                chmod(path, own | mode).unwrap();
                assert_eq!(memory.read("a", 100), None, "{}", path.display());
                memory.append("a", b"more").unwrap_err();
                chmod(path, own).unwrap();
                assert_eq!(memory.read("a", 100).unwrap(), b"word");
            }
        }
    }

    #[test]
    fn links_are_not_followed() {
        let (folder, memory, file) = memory();
        let elsewhere = folder.path().join("elsewhere");
        fs::rename(&file, &elsewhere).unwrap();
        symlink(&elsewhere, &file).unwrap();
        assert_eq!(memory.read("a", 100), None);
        memory.append("a", b"more").unwrap_err();
        let cache = file.parent().unwrap().to_owned();
        fs::rename(&cache, folder.path().join("moved")).unwrap();
        symlink(folder.path().join("moved"), &cache).unwrap();
        assert_eq!(memory.read("a", 100), None);
        memory.replace("b", b"more").unwrap_err();
        assert_eq!(fs::read(elsewhere).unwrap(), b"word");
        assert!(!folder.path().join("moved/b").exists());
    }

    #[test]
    fn what_is_old_is_forgotten_when_there_is_a_new_cache() {
        let (folder, memory, file) = memory();
        memory.replace("b", b"young").unwrap();
        let long_ago = SystemTime::now() - 2 * OLD;
        fs::File::options().write(true).open(&file).unwrap().set_modified(long_ago).unwrap();
        let home = memory.home.clone().unwrap();
        let other = folder.path().join("other");
        fs::create_dir(&other).unwrap();
        Memory::new(Some(&home), &other).replace("a", b"x").unwrap();
        assert_eq!(memory.read("a", 100), None);
        assert_eq!(memory.read("b", 100).unwrap(), b"young");
    }

    #[test]
    fn without_a_home_nothing_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::new(None, folder.path());
        memory.append("a", b"x").unwrap_err();
        assert_eq!(memory.read("a", 100), None);
    }
}
