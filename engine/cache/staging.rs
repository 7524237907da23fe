//! Where a writer keeps its unpublished files.

use std::{
    collections::HashMap,
    fs::{self, File, Metadata},
    io::{self, Read as _, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use super::{Cache, CacheError, create_folder, memo::Signature, owner::Owned, sync_folder};
use crate::{
    digest::Digest,
    disk::{self, Lock, Pieces},
    host,
};

/// The folder under `tmp` that a process owns for one cache, and the locked file `FOLDER.lock` beside it, for as long as
/// it uses them. The leases that it holds are further names of that file.
///
/// What a dead writer left behind is removed by the next one: what a process of this machine left, as soon as its lock
/// is free; what another machine left, when its lock wasn't touched for a day.
#[derive(Debug)]
pub(crate) struct Writer {
    folder: PathBuf,
    next: AtomicU64,
    lock: Arc<Owned>,
    lock_path: PathBuf,
    /// Folders that may be used again, by what stands in them.
    spares: Mutex<HashMap<Vec<String>, Vec<PathBuf>>>,
}

/// Where one computation keeps its unpublished files; they are gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Staging {
    cache: Cache,
    writer: Arc<Writer>,
    number: u64,
    next: AtomicU64,
    /// Blobs whose files, which are staged here too, were just given their places, and what those files were.
    published: Mutex<Vec<(Digest, Signature)>>,
}

/// A file that is written and hashed, and not yet published.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) file: PathBuf,
    pub(crate) blob: Digest,
    pub(crate) size: u64,
    /// What the file was when it was written by us, or hashed.
    pub(crate) seen: Signature,
}

const LOCK: &str = ".lock";

impl Writer {
    fn new(cache: &Cache) -> Result<Self, CacheError> {
        let parent = cache.root.join("tmp");
        create_folder(&parent)?;
        // A command may change its folder, so every path that it is told is absolute.
        let parent = fs::canonicalize(&parent).map_err(CacheError::io("find", &parent))?;
        loop {
            let stamp = jiff::Timestamp::now().as_nanosecond();
            let name = format!("{}-{}-{stamp}", host::identity(), std::process::id());
            let path = parent.join(format!("{name}{LOCK}"));
            let file = match disk::create(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(CacheError::io("create", &path)(error)),
            };
            let lock = disk::try_lock(&file, &path).map_err(CacheError::io("lock", &path))?;
            if lock == Lock::Held || !path.exists() {
                // Another process sweeps it, or did before it was locked.
                continue;
            }
            let lock = Owned::begin(file, lock, &path, cache.mode(0o664))
                .map_err(CacheError::io("write", &path))?;
            let folder = parent.join(&name);
            disk::create_new_folder(&folder).map_err(CacheError::io("make the folder", &folder))?;
            return Ok(Self {
                folder,
                next: AtomicU64::new(0),
                lock,
                lock_path: path,
                spares: Mutex::default(),
            });
        }
    }

    fn fresh(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The locked file, which shows that this process lives.
    pub(super) fn lock(&self) -> &Arc<Owned> {
        &self.lock
    }

    /// Where the locked file stands.
    pub(super) fn lock_path(&self) -> &Path {
        &self.lock_path
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Nothing here was published; what can't be removed now is swept later.
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::remove_file(&self.lock_path);
    }
}

impl Cache {
    /// What this process owns in the cache; made when it is first asked for.
    pub(super) fn writer(&self) -> Result<Arc<Writer>, CacheError> {
        let mut shared = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match &*shared {
            Some(writer) => Arc::clone(writer),
            None => Arc::clone(shared.insert(Arc::new(Writer::new(self)?))),
        })
    }

    /// Whether a file that its owner touches every few seconds wasn't touched for a day. Our own clock may be ahead by
    /// more than that: the file system's has to say so too.
    pub(super) fn is_abandoned(&self, meta: &Metadata) -> bool {
        const DAY: Duration = Duration::from_hours(24);
        let is_old = |now: SystemTime| {
            let age = meta.modified().ok().and_then(|time| now.duration_since(time).ok());
            age.is_some_and(|age| age > DAY)
        };
        let clock = || Staging::new(self).and_then(|staging| staging.clock());
        is_old(SystemTime::now()) && clock().is_ok_and(is_old)
    }
}

impl Staging {
    pub(crate) fn new(cache: &Cache) -> Result<Self, CacheError> {
        let writer = cache.writer()?;
        let number = writer.fresh();
        Ok(Self {
            cache: cache.clone(),
            writer,
            number,
            next: AtomicU64::new(0),
            published: Mutex::default(),
        })
    }

    /// Removes the folders of writers that are no more, and the leases of owners that are no more.
    pub(crate) fn sweep(cache: &Cache) {
        cache.sweep_leases();
        let Ok(entries) = fs::read_dir(cache.root.join("tmp")) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != &LOCK[1..]) {
                continue;
            }
            // It is held until all is removed, so that its maker sees whether it was swept.
            let Ok(lock) = File::open(&path) else { continue };
            let ours = entry.file_name().to_string_lossy().starts_with(host::identity());
            let dead = match disk::try_lock_shared(&lock, &path) {
                Ok(Lock::Taken) => ours,
                Ok(Lock::Unsupported) => false,
                Ok(Lock::Held) | Err(_) => continue,
            };
            if dead || lock.metadata().is_ok_and(|meta| cache.is_abandoned(&meta)) {
                // Another process may be sweeping too: whoever comes second finds nothing.
                let _ = fs::remove_dir_all(path.with_extension(""));
                let _ = fs::remove_file(&path);
            }
        }
    }

    /// The time by the clock of the file system, which may be another machine's. Files of the cache are compared with
    /// this, never with our own clock.
    pub(super) fn clock(&self) -> Result<SystemTime, CacheError> {
        let path = self.fresh();
        let file = create(&path)?;
        let time = file.metadata().and_then(|meta| meta.modified());
        let _ = fs::remove_file(&path);
        time.map_err(CacheError::io("inspect", &path))
    }

    /// A path for a new file or folder of the writer's own.
    pub(crate) fn fresh(&self) -> PathBuf {
        self.path(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// A folder that [`keep_spare`](Self::keep_spare) was given with the same `shape`, at a path that none had before.
    pub(crate) fn take_spare(&self, shape: &[String]) -> Option<PathBuf> {
        let mut spares = self.writer.spares.lock().unwrap_or_else(PoisonError::into_inner);
        let spare = spares.get_mut(shape)?.pop()?;
        drop(spares);
        let path = self.lasting();
        fs::rename(spare, &path).ok().map(|()| path)
    }

    /// A path for a new folder that may outlast this computation: who makes it removes it, or keeps it as a spare.
    pub(crate) fn lasting(&self) -> PathBuf {
        self.writer.folder.join(self.writer.fresh().to_string())
    }

    /// Keeps a folder, made at a [`lasting`](Self::lasting) path, for another computation that wants one of this `shape`.
    pub(crate) fn keep_spare(&self, folder: PathBuf, shape: Vec<String>) {
        let mut spares = self.writer.spares.lock().unwrap_or_else(PoisonError::into_inner);
        spares.entry(shape).or_default().push(folder);
    }

    fn path(&self, number: u64) -> PathBuf {
        self.writer.folder.join(format!("{}-{number}", self.number))
    }

    /// Makes everything durable that was written to the file system of the cache.
    pub(crate) fn sync_file_system(&self) -> io::Result<()> {
        disk::sync_file_system(self.writer.lock.file(), &self.writer.folder)
    }

    /// Stages `bytes`.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<Staged, CacheError> {
        let file = self.fresh();
        let out = create(&file)?;
        disk::write_all(&out, &file, bytes).map_err(CacheError::io("write", &file))?;
        let seen = inspect(&out, &file)?;
        Ok(Staged { file, blob: Digest::of(bytes), size: bytes.len() as u64, seen })
    }

    /// Starts a staged file that is hashed while it is written.
    pub(crate) fn writer(&self) -> Result<StagedWriter, CacheError> {
        let file = self.fresh();
        let pieces = Pieces { file: create(&file)?, path: file.clone() };
        let out = io::BufWriter::with_capacity(1 << 16, pieces);
        Ok(StagedWriter { file, out, hasher: blake3::Hasher::new(), size: 0 })
    }

    /// Starts a staged file of `size` bytes that is written in any order. What isn't written is zeros.
    pub(crate) fn places(&self, size: u64) -> Result<StagedPlaces, CacheError> {
        let file = self.fresh();
        let out = create(&file)?;
        out.set_len(size).map_err(CacheError::io("write", &file))?;
        Ok(StagedPlaces { file, out, size })
    }

    /// Writes `bytes` to a new file with the permissions of what is published.
    pub(super) fn write_document(&self, bytes: &[u8]) -> Result<PathBuf, CacheError> {
        let path = self.fresh();
        let file = create(&path)?;
        disk::protect(&file, &path, self.cache.mode(0o664))
            .map_err(CacheError::io("protect", &path))?;
        disk::write_all(&file, &path, bytes).map_err(CacheError::io("write", &path))?;
        Ok(path)
    }

    /// Writes `bytes` to a new file, and syncs it.
    fn write_synced(&self, bytes: &[u8]) -> Result<PathBuf, CacheError> {
        let path = self.write_document(bytes)?;
        let file = File::open(&path).map_err(CacheError::io("open", &path))?;
        disk::sync(&file, &path).map_err(CacheError::io("sync", &path))?;
        Ok(path)
    }

    /// Notes that the file of `blob`, which is staged here and was `hashed`, has its place now; whether it is that file.
    pub(super) fn note_published(&self, blob: Digest, hashed: &Signature) -> bool {
        let noted = self.cache.note_published(blob, hashed);
        if noted {
            let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
            published.push((blob, *hashed));
        }
        noted
    }

    /// Publishes `bytes` at `target` unless something stands there; says whether it did.
    pub(crate) fn publish_once(&self, target: &Path, bytes: &[u8]) -> Result<bool, CacheError> {
        let folder = target.parent().unwrap_or(&self.cache.root);
        create_folder(folder)?;
        let file = self.write_synced(bytes)?;
        let published = link_once(&file, target)?;
        sync_folder(folder)?;
        Ok(published)
    }

    /// Puts `bytes` at `target`, in place of what stands there. A power cut may leave neither.
    pub(crate) fn replace_unsynced(&self, target: &Path, bytes: &[u8]) -> Result<(), CacheError> {
        create_folder(target.parent().unwrap_or(&self.cache.root))?;
        let file = self.write_document(bytes)?;
        disk::rename(&file, target).map_err(CacheError::io("publish", target))
    }

    /// Publishes `bytes` at `target`, in place of what stands there.
    pub(crate) fn replace(&self, target: &Path, bytes: &[u8]) -> Result<(), CacheError> {
        let folder = target.parent().unwrap_or(&self.cache.root);
        create_folder(folder)?;
        let file = self.write_synced(bytes)?;
        disk::rename(&file, target).map_err(CacheError::io("publish", target))?;
        sync_folder(folder)
    }
}

impl Staged {
    /// Takes over a file that stands in a staging folder already.
    pub(crate) fn adopt(file: PathBuf) -> Result<Self, CacheError> {
        let opened = File::open(&file).map_err(CacheError::io("open", &file))?;
        let seen = inspect(&opened, &file)?;
        let (blob, size) = hash_open(&opened, &file)?;
        Ok(Self { file, blob, size, seen })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // That a published blob's file loses its second name, here, is a change to it that we make ourselves.
        let mut published =
            std::mem::take(&mut *self.published.lock().unwrap_or_else(PoisonError::into_inner));
        published.retain(|(blob, _)| self.cache.published_as_verified(*blob).is_some());
        for number in 0..self.next.load(Ordering::Relaxed) {
            let path = self.path(number);
            // Most are gone already. What can't be removed now goes with the writer's folder.
            if fs::remove_file(&path).is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
                let _ = fs::remove_dir_all(&path);
            }
        }
        for (blob, hashed) in published {
            self.cache.note_published(blob, &hashed);
        }
    }
}

/// A staged file being written.
pub(crate) struct StagedWriter {
    file: PathBuf,
    out: io::BufWriter<Pieces>,
    hasher: blake3::Hasher,
    size: u64,
}

impl StagedWriter {
    pub(crate) fn finish(mut self) -> Result<Staged, CacheError> {
        self.out.flush().map_err(CacheError::io("write", &self.file))?;
        let blob = Digest::from_bytes(*self.hasher.finalize().as_bytes());
        let seen = inspect(&self.out.get_ref().file, &self.file)?;
        Ok(Staged { file: self.file, blob, size: self.size, seen })
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

/// A staged file being written in any order, by any number of threads.
pub(crate) struct StagedPlaces {
    file: PathBuf,
    out: File,
    size: u64,
}

impl StagedPlaces {
    /// Writes `bytes` from `offset` on. Beyond the end of the file is an error.
    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            let message = format!("{} bytes at {offset} of a file of {}", bytes.len(), self.size);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        disk::write_all_at(&self.out, &self.file, bytes, offset)
    }

    /// Hashes what was written.
    pub(crate) fn finish(self) -> Result<Staged, CacheError> {
        Staged::adopt(self.file)
    }
}

/// Gives the staged `file` its place at `target` unless something stands there; says whether it did.
pub(super) fn link_once(file: &Path, target: &Path) -> Result<bool, CacheError> {
    match disk::move_to_free(file, target) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) if is_fatal(&error) => Err(CacheError::io("publish", target)(error)),
        Err(_) if target.exists() => Ok(false),
        Err(_) => {
            disk::rename(file, target).map_err(CacheError::io("publish", target))?;
            Ok(true)
        }
    }
}

fn inspect(file: &File, path: &Path) -> Result<Signature, CacheError> {
    file.metadata().map(|meta| Signature::of(&meta)).map_err(CacheError::io("inspect", path))
}

fn create(file: &Path) -> Result<File, CacheError> {
    disk::create(file).map_err(CacheError::io("create", file))
}

/// Whether a hard link failed for a reason that a rename would fail for too.
pub(super) fn is_fatal(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), QuotaExceeded | ReadOnlyFilesystem | StorageFull)
        || super::advice::is_broken_disk(error)
}

/// The digest and size of the bytes of the file at `path`.
pub(crate) fn hash_file(path: &Path) -> Result<(Digest, u64), CacheError> {
    hash_open(&File::open(path).map_err(CacheError::io("open", path))?, path)
}

/// The digest and size of the bytes of a file that is open at its beginning. Those of large files are hashed by all threads, block by block, the next being read
/// meanwhile: a file that is mapped costs no less time, and counts as memory of the process.
pub(crate) fn hash_open(file: &File, path: &Path) -> Result<(Digest, u64), CacheError> {
    const LARGE: u64 = 1 << 18;
    const BLOCK: u64 = 1 << 22;
    let size = file.metadata().map_err(CacheError::io("inspect", path))?.len();
    let read = |block: &mut Vec<u8>| {
        block.clear();
        file.take(BLOCK).read_to_end(block).map_err(CacheError::io("read", path))
    };
    let room = || Vec::with_capacity(size.min(BLOCK) as usize + 1);
    let (mut block, mut next) = (room(), Vec::new());
    if size > BLOCK {
        next = room();
    }
    let mut hasher = blake3::Hasher::new();
    let mut length = read(&mut block)?;
    while length > 0 {
        let mut hash = || {
            if size < LARGE {
                hasher.update(&block);
            } else {
                hasher.update_rayon(&block);
            }
        };
        let mut ahead = || read(&mut next);
        let ((), read) = if size > BLOCK { rayon::join(hash, ahead) } else { (hash(), ahead()) };
        length = read?;
        std::mem::swap(&mut block, &mut next);
    }
    Ok((Digest::from_bytes(*hasher.finalize().as_bytes()), hasher.count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_any_size_are_hashed_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let block = 1 << 22;
        for size in [0, 1, 1 << 18, block - 1, block, block + 1, 2 * block, 3 * block + 5] {
            let bytes: Vec<u8> = (0..size).map(|i: u32| (i % 251) as u8).collect();
            fs::write(&path, &bytes).unwrap();
            let (digest, found) = hash_file(&path).unwrap();
            assert_eq!((digest, found), (Digest::of(&bytes), u64::from(size)));
        }
    }
}
