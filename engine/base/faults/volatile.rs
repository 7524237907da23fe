//! What a power cut takes: bytes and names that weren't made durable. Noted and lost where a test asks for it only.
//!
//! A disk may write what it was given in any order, so the worst is taken: bytes that weren't synced are gone from every
//! file, however long ago they were written; of the names whose folder wasn't synced since, those of blobs, trees and leases
//! are gone, and those of records, which name them, are there.

use std::{
    collections::HashSet,
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io,
    mem::ManuallyDrop,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use walkdir::WalkDir;

#[derive(Debug, Default)]
struct Volatile {
    /// The device and inode of each file whose bytes are durable.
    durable: HashSet<(u64, u64)>,
    /// The names that files and folders were given.
    named: Vec<PathBuf>,
    /// Those of them whose folders weren't synced since.
    loose: HashSet<PathBuf>,
}

fn volatile() -> MutexGuard<'static, Volatile> {
    static VOLATILE: LazyLock<Mutex<Volatile>> = LazyLock::new(Mutex::default);
    VOLATILE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn identity(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

/// Notes that `file` is written to.
pub(crate) fn wrote(file: &File) {
    if let Ok(meta) = file.metadata() {
        volatile().durable.remove(&identity(&meta));
    }
}

/// Does what gives a file or folder the name `to`, and notes that it did; a loss comes before both or after both. Of one that
/// `replaces` another either is there in any case.
pub(crate) fn naming<T>(
    to: &Path,
    replaces: bool,
    act: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let mut volatile = volatile();
    let done = act()?;
    volatile.named.push(to.to_owned());
    if !replaces {
        volatile.loose.insert(to.to_owned());
    }
    Ok(done)
}

/// Notes that a file, or the entries of a folder, are durable.
pub(crate) fn synced(path: &Path) {
    let Ok(meta) = fs::metadata(path) else { return };
    let mut volatile = volatile();
    if meta.is_dir() {
        volatile.loose.retain(|name| name.parent() != Some(path));
    } else {
        volatile.durable.insert(identity(&meta));
    }
}

/// Notes that everything is durable: what has its name, and what is in the folder `staging`.
pub(crate) fn synced_all(staging: &Path) {
    let mut volatile = volatile();
    let staged = WalkDir::new(staging).into_iter().flatten();
    let staged = staged.filter_map(|entry| entry.metadata().ok());
    let named = volatile.named.iter().filter_map(|name| fs::metadata(name).ok());
    let files: Vec<Metadata> = staged.chain(named).collect();
    volatile.durable.extend(files.iter().map(identity));
    volatile.loose.clear();
}

/// Takes what isn't durable from the files whose names hold `part`. The process must end after this.
pub(crate) fn lose(part: &str) {
    // Never given back: another thread that learned after the loss that something is durable would go on and name it.
    let volatile = ManuallyDrop::new(volatile());
    for name in volatile.named.iter().filter(|name| name.to_string_lossy().contains(part)) {
        let Ok(meta) = fs::metadata(name) else { continue };
        let kept = !["blobs", "trees", "leases"]
            .iter()
            .any(|kind| name.to_string_lossy().contains(&format!("/{kind}/")));
        if volatile.loose.contains(name) && !kept {
            let _ = if meta.is_dir() { fs::remove_dir_all(name) } else { fs::remove_file(name) };
        } else if meta.is_file() && !volatile.durable.contains(&identity(&meta)) {
            let _ = fs::set_permissions(name, Permissions::from_mode(0o600));
            let emptied = OpenOptions::new().write(true).open(name).map(|file| file.set_len(0));
            let _ = emptied.and(fs::set_permissions(name, meta.permissions()));
        }
    }
}
