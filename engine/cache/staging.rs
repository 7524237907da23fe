//! Where a writer keeps its unpublished files.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read as _, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{Cache, CacheError, create_folder, sync_folder, write_synced};
use crate::digest::Digest;

/// The folder under `tmp` that a process owns for one cache, and locks for as long as it uses it.
///
/// What a dead writer left behind is removed by the next one.
#[derive(Debug)]
pub(crate) struct Writer {
    folder: PathBuf,
    next: AtomicU64,
    /// Opened before anything is written, so that it is told of every failed write-back.
    lock: File,
}

/// Where one computation keeps its unpublished files; they are gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Staging {
    cache: Cache,
    writer: Arc<Writer>,
    number: u64,
    next: AtomicU64,
}

/// A file that is written and hashed, and not yet published.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) file: PathBuf,
    pub(crate) blob: Digest,
    pub(crate) size: u64,
}

const LOCK: &str = "lock";

impl Writer {
    fn new(root: &Path) -> Result<Self, CacheError> {
        let parent = root.join("tmp");
        create_folder(&parent)?;
        let folder = tempfile::Builder::new()
            .prefix(&format!("{}-", std::process::id()))
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&parent)
            .map_err(CacheError::io("make a folder in", &parent))?
            .keep();
        // A command may change its folder, so every path that it is told is absolute.
        let folder = fs::canonicalize(&folder).map_err(CacheError::io("find", &folder))?;
        let path = folder.join(LOCK);
        let lock = File::create(&path).map_err(CacheError::io("create", &path))?;
        lock.lock().map_err(CacheError::io("lock", &path))?;
        Ok(Self { folder, next: AtomicU64::new(0), lock })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Nothing here was published; what can't be removed now is swept later.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Staging {
    pub(crate) fn new(cache: &Cache) -> Result<Self, CacheError> {
        let mut shared = cache.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = match &*shared {
            Some(writer) => Arc::clone(writer),
            None => Arc::clone(shared.insert(Arc::new(Writer::new(&cache.root)?))),
        };
        drop(shared);
        let number = writer.next.fetch_add(1, Ordering::Relaxed);
        Ok(Self { cache: cache.clone(), writer, number, next: AtomicU64::new(0) })
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
        self.path(self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn path(&self, number: u64) -> PathBuf {
        self.writer.folder.join(format!("{}-{number}", self.number))
    }

    /// Makes everything durable that was written to the file system of the cache.
    pub(crate) fn sync_file_system(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        return Ok(rustix::fs::syncfs(&self.writer.lock)?);
        #[cfg(not(target_os = "linux"))]
        Err(io::ErrorKind::Unsupported.into())
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

    /// Publishes `bytes` at `target` unless something stands there; says whether it did.
    pub(crate) fn publish_once(&self, target: &Path, bytes: &[u8]) -> Result<bool, CacheError> {
        let folder = target.parent().unwrap_or(&self.cache.root);
        create_folder(folder)?;
        let file = self.fresh();
        write_synced(&file, bytes)?;
        let published = link_once(&file, target)?;
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
        for number in 0..self.next.load(Ordering::Relaxed) {
            let path = self.path(number);
            // Most are gone already. What can't be removed now goes with the writer's folder.
            if fs::remove_file(&path).is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
                let _ = fs::remove_dir_all(&path);
            }
        }
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

/// Gives the staged `file` its place at `target` unless something stands there; says whether it did.
pub(super) fn link_once(file: &Path, target: &Path) -> Result<bool, CacheError> {
    // A hard link fails when the target is there, on every file system that has hard links.
    match fs::hard_link(file, target) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(_) if target.exists() => Ok(false),
        Err(_) => {
            fs::rename(file, target).map_err(CacheError::io("publish", target))?;
            Ok(true)
        }
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
