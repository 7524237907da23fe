//! A cache in a folder: what all that is done with it shares.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, Weak},
};

use rustix::fd::OwnedFd;

use super::{
    error::CacheError, memory::Memory, overlay::Overlay, registered::Registered,
    verified::Verified, watch::Watch, writer::Writer,
};
use crate::base::disk;

/// A cache in a folder.
#[derive(Debug, Clone)]
pub struct Cache {
    pub(super) root: PathBuf,
    /// Whether what others compute is computed here, too.
    pub(super) ignores_leases: bool,
    /// Where this process stages what it writes, once it writes.
    pub(super) writer: Arc<Mutex<Option<Arc<Writer>>>>,
    /// What this process has made and not yet published.
    pub(super) overlay: Arc<Overlay>,
    pub(super) shared: Arc<Shared>,
}

/// What all handles of one opened cache share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) memory: Arc<Memory>,
    pub(super) verified: Verified,
    /// The leases of other machines that are waited for.
    pub(super) watches: Mutex<BTreeMap<PathBuf, Watch>>,
    /// Who may do what with the folder of blobs.
    pub(super) mode: OnceLock<u32>,
    /// The cache's folder, opened when it is first needed.
    pub(super) root: OnceLock<OwnedFd>,
    /// Whether the file system shows at once what other machines make.
    pub(super) shows_at_once: OnceLock<bool>,
    /// The run under way.
    pub(super) live: Mutex<Option<Weak<dyn Registered>>>,
}

impl Cache {
    /// The same cache for whoever doesn't wait for what other processes compute, but computes it, too. That does no harm: the
    /// first result stands.
    #[must_use]
    pub fn ignoring_leases(self) -> Self {
        Self { ignores_leases: true, ..self }
    }

    /// The cache's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path, seen from the cache's folder, at which `kind` keeps what has the name `bytes`.
    pub(super) fn bucket(kind: &str, bytes: &[u8; 32], suffix: &str) -> String {
        let hex = blake3::Hash::from_bytes(*bytes).to_hex();
        let (folder, file) = hex.split_at(2);
        let mut path = String::with_capacity(kind.len() + hex.len() + suffix.len() + 2);
        for part in [kind, "/", folder, "/", file, suffix] {
            path.push_str(part);
        }
        path
    }

    /// Removes a file that may be gone already.
    pub(super) fn remove(&self, path: &Path) -> Result<(), CacheError> {
        let Some(place) = self.anchored(path)? else { return Ok(()) };
        place.remove().map_err(|error| CacheError::io("remove", path)(error.into()))
    }

    /// What of the permissions `mode` a published file has: who may enter the folder of blobs may read what is
    /// published, and who may write there may touch it, whatever the umask of who publishes.
    pub(super) fn mode(&self, mode: u32) -> u32 {
        let folder = || fs::metadata(self.root.join("blobs")).map_or(0o755, |meta| meta.mode());
        mode & *self.shared.mode.get_or_init(folder) | mode & 0o400
    }

    /// Moves what was found broken out of the way, so that it is looked at but never used.
    pub(super) fn quarantine(&self, path: &Path) -> Result<(), CacheError> {
        let Some(place) = self.anchored(path)? else { return Ok(()) };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let folder = self.root.join("quarantine");
        create_folder(&folder)?;
        let stamp = jiff::Timestamp::now().as_nanosecond();
        let target = folder.join(format!("{name}.{stamp}"));
        let Some(aside) = self.anchored(&target)? else { return Ok(()) };
        let name = target.file_name().unwrap_or_default();
        disk::step(&target)
            .and_then(|()| place.move_to(&aside, name).map_err(io::Error::from))
            .map_err(CacheError::io("quarantine", path))
    }
}

/// Makes a folder of the cache.
pub(super) fn create_folder(path: &Path) -> Result<(), CacheError> {
    disk::create_folder(path).map_err(CacheError::io("make the folder", path))
}

/// Makes the entries of a folder durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), CacheError> {
    disk::sync_path(path).map_err(CacheError::io("sync", path))
}
