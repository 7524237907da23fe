//! Where a writer keeps its unpublished files.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{self, File, Metadata},
    io::{self, Write},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use super::{
    cache::{Cache, create_folder, sync_folder},
    error::CacheError,
    hint::is_fatal,
    lease_file::{Line, Owned, first_line},
    own_folder::{Own, Spare, remove_all},
    signature::Signature,
    writer::Writer,
};
use crate::base::{
    descendants::end_all_in,
    digest::{Digest, Fingerprint},
    disk::{self, Lock, Pieces},
    hash::hash,
    host, regular,
};

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
/// The name that the lock of its owner has in a sandbox.
const LOCK_NAME: &str = "lock";
/// A sandbox without an owner's lock is being made, or is left behind if it is older.
const UNOWNED: Duration = Duration::from_hours(1);

/// Whether a writer's folder may be called so: `MACHINE-PID-STAMP`.
fn is_writer(name: Option<&OsStr>) -> bool {
    let Some(name) = name.and_then(OsStr::to_str) else { return false };
    let mut parts = name.rsplit('-');
    let number = |part: Option<&str>| {
        part.is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    };
    number(parts.next())
        && number(parts.next())
        && parts.next().is_some_and(|part| !part.is_empty())
}

/// What the names of the sandboxes of this user begin with.
fn sandbox_prefix() -> String {
    format!("s{}-", rustix::process::geteuid().as_raw())
}

/// Keeps others who may write to the folder `tmp` from moving or removing what is ours in it.
fn protect_names(tmp: &Path) -> io::Result<()> {
    const STICKY: u32 = 0o1000;
    let meta = fs::metadata(tmp)?;
    let ours = meta.uid() == rustix::process::geteuid().as_raw();
    if ours && meta.mode() & STICKY == 0 && meta.mode() & 0o022 != 0 {
        disk::step(tmp)?;
        fs::set_permissions(tmp, fs::Permissions::from_mode(meta.mode() & 0o7777 | STICKY))?;
    }
    Ok(())
}

/// Removes a sandbox of this user's whose owner is dead, after what is left of its command was ended; whether it is gone.
fn sweep_sandbox(cache: &Cache, path: &Path) -> bool {
    // One of another user's can't be entered, and is none of our business.
    if Own::at(path).is_err() {
        return path.symlink_metadata().is_err();
    }
    let lock_path = path.join(LOCK_NAME);
    let dead = match regular::open(&lock_path) {
        Ok((lock, _)) => {
            let line = first_line(&lock).ok().and_then(|seen| Line::parse(&seen));
            let ours = line.is_some_and(|line| line.is_of_this_machine());
            match disk::try_lock_shared(&lock, &lock_path) {
                Ok(Lock::Held) | Err(_) => false,
                // The owner's own name for its lock is gone as well, so it has ended or was swept.
                Ok(Lock::Taken) if ours || lock.metadata().is_ok_and(|meta| meta.nlink() == 1) => {
                    true
                }
                Ok(_) => lock.metadata().is_ok_and(|meta| cache.is_abandoned(&meta)),
            }
        }
        Err(_) => fs::symlink_metadata(path)
            .and_then(|meta| meta.modified())
            .is_ok_and(|made| made.elapsed().is_ok_and(|age| age > UNOWNED)),
    };
    let remove = || match cache.anchored(path) {
        Ok(Some(place)) => remove_all(&place.path(path)).is_ok(),
        Ok(None) => true,
        Err(_) => false,
    };
    dead && end_all_in(path) && remove()
}

impl Writer {
    fn new(cache: &Cache) -> Result<Self, CacheError> {
        let parent = cache.root.join("tmp");
        create_folder(&parent)?;
        protect_names(&parent).map_err(CacheError::io("protect", &parent))?;
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
            Own::create(&folder).map_err(CacheError::io("make the folder", &folder))?;
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
        for spare in
            self.spares.get_mut().unwrap_or_else(PoisonError::into_inner).values().flatten()
        {
            let _ = remove_all(&spare.folder);
        }
        let _ = remove_all(&self.folder);
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
        let prefix = sandbox_prefix();
        let mut sandboxes = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()) {
                sandboxes.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != &LOCK[1..]) {
                continue;
            }
            // It is held until all is removed, so that its maker sees whether it was swept.
            // Only what has a name like ours is anything of ours.
            if !is_writer(path.file_stem()) {
                continue;
            }
            let Ok((lock, _)) = regular::open(&path) else { continue };
            let ours = entry.file_name().to_string_lossy().starts_with(host::identity());
            let dead = match disk::try_lock_shared(&lock, &path) {
                Ok(Lock::Taken) => ours,
                Ok(Lock::Unsupported) => false,
                Ok(Lock::Held) | Err(_) => continue,
            };
            if dead || lock.metadata().is_ok_and(|meta| cache.is_abandoned(&meta)) {
                // Another process may be sweeping too: whoever comes second finds nothing.
                let folder = path.with_extension("");
                for sandbox in fs::read_dir(&folder).into_iter().flatten().flatten() {
                    if sandbox.path().join("work").is_dir() {
                        end_all_in(&sandbox.path());
                    }
                }
                if let Ok(Some(place)) = cache.anchored(&folder) {
                    let _ = remove_all(&place.path(&folder));
                }
                let _ = cache.remove(&path);
            }
        }
        // Their owners were swept before.
        for sandbox in sandboxes {
            sweep_sandbox(cache, &sandbox);
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

    /// A folder called `name` for a command, which nobody else may enter: it has the folders `work` and `outputs`, and in
    /// that those of `shape`. If one was kept, it is moved. Its path is the same every time, unless somebody is at it.
    pub(crate) fn sandbox(
        &self,
        name: &str,
        shape: &[String],
    ) -> Result<(PathBuf, Own), CacheError> {
        let tmp = self.writer.folder.parent().unwrap_or(&self.writer.folder);
        let mut path = tmp.join(format!("{}{name}", sandbox_prefix()));
        if path.symlink_metadata().is_ok() && !sweep_sandbox(&self.cache, &path) {
            path = self.writer.folder.join(self.writer.fresh().to_string());
        }
        while let Some(spare) = self.spares().get_mut(shape).and_then(Vec::pop) {
            let moved = Own::at(&spare.folder).is_ok_and(|own| own == spare.own)
                && disk::rename(&spare.folder, &path).is_ok();
            if moved && Own::at(&path).is_ok_and(|own| own == spare.own) {
                return Ok((path, spare.own));
            }
        }
        let make = |path: &Path| Own::create(path).map_err(CacheError::io("make the folder", path));
        let own = make(&path)?;
        // The lock of this process shows whose it is, and that its owner lives.
        let lock = path.join(LOCK_NAME);
        if let Err(error) = disk::link(&self.writer.lock_path, &lock)
            && is_fatal(&error)
        {
            return Err(CacheError::io("link", &lock)(error));
        }
        make(&path.join("work"))?;
        let outputs = path.join("outputs");
        make(&outputs)?;
        for name in shape {
            make(&outputs.join(name))?;
        }
        Ok((path, own))
    }

    fn spares(&self) -> MutexGuard<'_, HashMap<Vec<String>, Vec<Spare>>> {
        self.writer.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a sandbox that is as it was made for another command that wants one of this `shape`.
    pub(crate) fn keep_spare(&self, spare: Spare, shape: Vec<String>) {
        self.spares().entry(shape).or_default().push(spare);
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
        let published = self.cache.link_once(&file, target)?;
        sync_folder(folder)?;
        Ok(published)
    }

    /// Publishes a staged file as a blob by itself; gives its name and its size.
    pub(crate) fn publish_blob(&self, staged: &Staged) -> Result<(Digest, u64), CacheError> {
        // Nothing names it before the run is written down.
        self.cache.uses(Fingerprint::from_bytes(*staged.blob.as_bytes()));
        let target = self.cache.published_path(staged.blob);
        let folder = target.parent().unwrap_or(&self.cache.root);
        create_folder(folder)?;
        let file = File::open(&staged.file).map_err(CacheError::io("open", &staged.file))?;
        disk::protect(&file, &staged.file, self.cache.mode(0o444))
            .map_err(CacheError::io("protect", &staged.file))?;
        disk::sync(&file, &staged.file).map_err(CacheError::io("sync", &staged.file))?;
        self.cache.link_once(&staged.file, &target)?;
        sync_folder(folder)?;
        Ok((staged.blob, staged.size))
    }

    /// Publishes `bytes` at `target`, in place of what stands there.
    pub(crate) fn replace(&self, target: &Path, bytes: &[u8]) -> Result<(), CacheError> {
        let folder = target.parent().unwrap_or(&self.cache.root);
        // The cache's own folder may be named by a link.
        if folder != self.cache.root {
            create_folder(folder)?;
        }
        let file = self.write_synced(bytes)?;
        self.cache.put(&file, target)?;
        sync_folder(folder)
    }
}

impl Staged {
    /// Takes over a file that stands in a staging folder already.
    pub(crate) fn adopt(file: PathBuf) -> Result<Self, CacheError> {
        let adopted = Self::adopt_until(file, &|| false)?;
        Ok(adopted.unwrap_or_else(|| unreachable!("nobody asks to stop")))
    }

    /// The same, until it is to `stop`.
    pub(crate) fn adopt_until(
        file: PathBuf,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Self>, CacheError> {
        let opened = File::open(&file).map_err(CacheError::io("open", &file))?;
        let seen = inspect(&opened, &file)?;
        let hashed = hash_until(&opened, &file, stop)?;
        Ok(hashed.map(|(blob, size)| Self { file, blob, size, seen }))
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

impl Cache {
    /// Gives the staged `file` its place at `target` unless something stands there; says whether it did.
    pub(super) fn link_once(&self, file: &Path, target: &Path) -> Result<bool, CacheError> {
        match self.publish_at(target, |place| disk::move_to_free(file, place)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) if is_fatal(&error) => Err(CacheError::io("publish", target)(error)),
            Err(_) if target.exists() => Ok(false),
            Err(_) => self.put(file, target).map(|()| true),
        }
    }

    /// Gives the staged `file` its place at `target`, in place of what stands there.
    pub(super) fn put(&self, file: &Path, target: &Path) -> Result<(), CacheError> {
        self.publish_at(target, |place| disk::rename(file, place))
            .map_err(CacheError::io("publish", target))
    }
}

fn inspect(file: &File, path: &Path) -> Result<Signature, CacheError> {
    file.metadata().map(|meta| Signature::of(&meta)).map_err(CacheError::io("inspect", path))
}

fn create(file: &Path) -> Result<File, CacheError> {
    disk::create(file).map_err(CacheError::io("create", file))
}

/// The digest and size of the bytes of the file at `path`.
pub(crate) fn hash_file(path: &Path) -> Result<(Digest, u64), CacheError> {
    hash_open(&File::open(path).map_err(CacheError::io("open", path))?, path)
}

/// The digest and size of the bytes of a file that is open at its beginning.
pub(crate) fn hash_open(file: &File, path: &Path) -> Result<(Digest, u64), CacheError> {
    let hashed = hash_until(file, path, &|| false)?;
    Ok(hashed.unwrap_or_else(|| unreachable!("nobody asks to stop")))
}

/// The same, until it is to `stop`.
fn hash_until(
    file: &File,
    path: &Path,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Option<(Digest, u64)>, CacheError> {
    let size = file.metadata().map_err(CacheError::io("inspect", path))?.len();
    hash(file, size, stop).map_err(CacheError::io("read", path))
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
