//! Leases: one computation at a time per fingerprint, among all who share the cache.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
};

use super::{Cache, CacheError, create_folder};
use crate::digest::Fingerprint;

/// The right to compute a fingerprint, held until it is dropped.
///
/// It is a lock of the operating system on the lease's file, so it ends with its owner, however that ends.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    _lock: File,
}

/// Why a lease couldn't be had.
#[derive(Debug)]
pub enum LeaseError {
    /// Somebody else is computing; the text names who.
    Held(String),
    /// The lease's file can't be used.
    Cache(CacheError),
}

impl Cache {
    /// Takes the lease of `fingerprint`, or says who has it.
    ///
    /// # Errors
    /// When it is held by another, or its file can't be used.
    pub fn lease(&self, fingerprint: Fingerprint) -> Result<Lease, LeaseError> {
        let folder = self.root.join("leases");
        create_folder(&folder).map_err(LeaseError::Cache)?;
        let path = folder.join(fingerprint.hex());
        loop {
            let mut lock = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(CacheError::io("open", &path))
                .map_err(LeaseError::Cache)?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut owner = String::new();
                    // The owner may be writing its name just now: an empty one is as good.
                    let _ = (&lock).take(256).read_to_string(&mut owner);
                    return Err(LeaseError::Held(owner.trim().to_owned()));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(LeaseError::Cache(CacheError::io("lock", &path)(error)));
                }
            }
            // The former owner removes the file before it unlocks: then this lock is on a file that is gone.
            if same_file(&lock, &path) {
                let owner = format!("process {} on {}\n", std::process::id(), crate::host::name());
                let written = lock
                    .set_len(0)
                    .and_then(|()| lock.rewind())
                    .and_then(|()| lock.write_all(owner.as_bytes()));
                written.map_err(CacheError::io("write", &path)).map_err(LeaseError::Cache)?;
                return Ok(Lease { path, _lock: lock });
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn same_file(file: &File, path: &std::path::Path) -> bool {
    let identity = |meta: io::Result<fs::Metadata>| meta.map(|meta| (meta.dev(), meta.ino())).ok();
    identity(file.metadata()).is_some_and(|ours| identity(fs::metadata(path)) == Some(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_owner_at_a_time_and_none_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let (one, two) = (Fingerprint::from_bytes([1; 32]), Fingerprint::from_bytes([2; 32]));
        let lease = cache.lease(one).unwrap();
        let Err(LeaseError::Held(owner)) = cache.lease(one) else { panic!("the lease is held") };
        assert!(owner.contains(&std::process::id().to_string()), "{owner}");
        drop(cache.lease(two).unwrap());
        drop(lease);
        drop(cache.lease(one).unwrap());
    }
}
