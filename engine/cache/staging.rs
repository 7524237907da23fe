//! Where a writer keeps its unpublished files.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read as _, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use rayon::prelude::*;

use super::{Cache, CacheError, create_folder, sync_folder, write_synced};
use crate::digest::Digest;

/// A folder under `tmp` that one writer owns, and locks for as long as it lives.
///
/// What a dead writer left behind is removed by the next one.
#[derive(Debug)]
pub(crate) struct Staging {
    cache: Cache,
    folder: PathBuf,
    next: AtomicU64,
    _lock: File,
}

/// A file that is written and hashed, and not yet published.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) file: PathBuf,
    pub(crate) blob: Digest,
    pub(crate) size: u64,
}

const LOCK: &str = "lock";

impl Staging {
    pub(crate) fn new(cache: &Cache) -> Result<Self, CacheError> {
        let parent = cache.root.join("tmp");
        create_folder(&parent)?;
        let folder = tempfile::Builder::new()
            .prefix(&format!("{}-", std::process::id()))
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&parent)
            .map_err(CacheError::io("make a folder in", &parent))?
            .keep();
        let path = folder.join(LOCK);
        let lock = File::create(&path).map_err(CacheError::io("create", &path))?;
        lock.lock().map_err(CacheError::io("lock", &path))?;
        Ok(Self { cache: cache.clone(), folder, next: AtomicU64::new(0), _lock: lock })
    }

    /// Removes the folders of writers that are no more.
    pub(crate) fn sweep(cache: &Cache) {
        let Ok(folders) = fs::read_dir(cache.root.join("tmp")) else { return };
        for folder in folders.flatten() {
            let path = folder.path();
            // A folder without a lock is being made or removed right now; leave it unless it is old.
            let dead = match File::open(path.join(LOCK)) {
                Ok(lock) => lock.try_lock().is_ok(),
                Err(_) => folder
                    .metadata()
                    .and_then(|meta| meta.modified())
                    .is_ok_and(|time| time.elapsed().is_ok_and(|age| age.as_secs() > 3600)),
            };
            if dead {
                // Another process may be sweeping too: whoever comes second finds nothing.
                let _ = fs::remove_dir_all(&path);
            }
        }
    }

    /// A path for a new file or folder of the writer's own.
    pub(crate) fn fresh(&self) -> PathBuf {
        self.folder.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Stages `bytes`.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<Staged, CacheError> {
        let file = self.fresh();
        let mut out = create(&file)?;
        out.write_all(bytes).map_err(CacheError::io("write", &file))?;
        Ok(Staged { file, blob: Digest::of(bytes), size: bytes.len() as u64 })
    }

    /// Starts a staged file that is hashed while it is written.
    pub(crate) fn writer(&self) -> Result<StagedWriter, CacheError> {
        let file = self.fresh();
        let out = io::BufWriter::with_capacity(1 << 16, create(&file)?);
        Ok(StagedWriter { file, out, hasher: blake3::Hasher::new(), size: 0 })
    }

    /// Publishes staged files as blobs: durable and complete when this returns.
    pub(crate) fn publish(&self, staged: &[Staged]) -> Result<(), CacheError> {
        let folders: Vec<PathBuf> = staged
            .par_iter()
            .map(|staged| {
                let target = self.cache.blob_path(staged.blob);
                let folder = target.parent().unwrap_or(&self.cache.root).to_owned();
                create_folder(&folder)?;
                if fs::metadata(&target).is_ok_and(|meta| meta.len() == staged.size) {
                    fs::remove_file(&staged.file)
                        .map_err(CacheError::io("remove", &staged.file))?;
                    return Ok(folder);
                }
                let file =
                    File::open(&staged.file).map_err(CacheError::io("open", &staged.file))?;
                let mode = file
                    .metadata()
                    .map_err(CacheError::io("inspect", &staged.file))?
                    .permissions()
                    .mode();
                file.set_permissions(Permissions::from_mode(mode & 0o444))
                    .map_err(CacheError::io("protect", &staged.file))?;
                file.sync_all().map_err(CacheError::io("sync", &staged.file))?;
                fs::rename(&staged.file, &target).map_err(CacheError::io("publish", &target))?;
                Ok(folder)
            })
            .collect::<Result<_, CacheError>>()?;
        let folders: BTreeSet<_> = folders.into_iter().collect();
        folders.par_iter().try_for_each(|folder| sync_folder(folder))
    }

    /// Publishes `bytes` at `target` unless something stands there; says whether it did.
    pub(crate) fn publish_once(&self, target: &Path, bytes: &[u8]) -> Result<bool, CacheError> {
        let folder = target.parent().unwrap_or(&self.cache.root);
        create_folder(folder)?;
        let file = self.fresh();
        write_synced(&file, bytes)?;
        // A hard link fails when the target is there, on every file system that has hard links.
        let published = match fs::hard_link(&file, target) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(_) if target.exists() => false,
            Err(_) => {
                fs::rename(&file, target).map_err(CacheError::io("publish", target))?;
                sync_folder(folder)?;
                return Ok(true);
            }
        };
        fs::remove_file(&file).map_err(CacheError::io("remove", &file))?;
        sync_folder(folder)?;
        Ok(published)
    }

    /// Publishes `bytes` at `target`, in place of what stands there.
    pub(crate) fn replace(&self, target: &Path, bytes: &[u8]) -> Result<(), CacheError> {
        let folder = target.parent().unwrap_or(&self.cache.root);
        create_folder(folder)?;
        let file = self.fresh();
        write_synced(&file, bytes)?;
        fs::rename(&file, target).map_err(CacheError::io("publish", target))?;
        sync_folder(folder)
    }
}

impl Staged {
    /// Takes over a file that stands in a staging folder already.
    pub(crate) fn adopt(file: PathBuf) -> Result<Self, CacheError> {
        let (blob, size) = hash_file(&file)?;
        Ok(Self { file, blob, size })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Nothing here was published; what can't be removed now is swept later.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A staged file being written.
pub(crate) struct StagedWriter {
    file: PathBuf,
    out: io::BufWriter<File>,
    hasher: blake3::Hasher,
    size: u64,
}

impl StagedWriter {
    pub(crate) fn finish(mut self) -> Result<Staged, CacheError> {
        self.out.flush().map_err(CacheError::io("write", &self.file))?;
        let blob = Digest::from_bytes(*self.hasher.finalize().as_bytes());
        Ok(Staged { file: self.file, blob, size: self.size })
    }
}

impl Write for StagedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn create(file: &Path) -> Result<File, CacheError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file)
        .map_err(CacheError::io("create", file))
}

/// The digest and size of a file's bytes. Large files are mapped and hashed by all threads.
pub(crate) fn hash_file(path: &Path) -> Result<(Digest, u64), CacheError> {
    const LARGE: u64 = 1 << 18;
    let mut file = File::open(path).map_err(CacheError::io("open", path))?;
    let size = file.metadata().map_err(CacheError::io("inspect", path))?.len();
    let mut hasher = blake3::Hasher::new();
    if size >= LARGE {
        hasher.update_mmap_rayon(path).map_err(CacheError::io("read", path))?;
    } else {
        let mut bytes = Vec::with_capacity(size as usize + 1);
        file.read_to_end(&mut bytes).map_err(CacheError::io("read", path))?;
        hasher.update(&bytes);
    }
    Ok((Digest::from_bytes(*hasher.finalize().as_bytes()), hasher.count()))
}
