//! Leases: one computation at a time per fingerprint, among all who share the cache.
//!
//! A lease is a file under `leases/` whose first line, of a fixed length, says who owns it, and counts its beats: one file
//! for all leases of a process, which has a name for each. On
//! one machine the operating system's lock on the file decides, so that a lease ends with its owner, however that ends.
//! Another machine may not see that lock. It watches the first line instead, by its own monotonic clock: an owner
//! whose line stays the same for ten beats is taken for dead. No wall clock is ever compared. Where the file system has no
//! locks, an owner names no machine, and everybody watches its line.
//!
//! A lease saves work and guards nothing: an owner that was taken for dead and wakes up publishes write-once records
//! like anyone.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, MutexGuard, PoisonError},
    time::Instant,
};

use super::{
    cache::{Cache, create_folder},
    error::CacheError,
    heartbeat,
    hint::is_fatal,
    lease_file::{Line, MISSED, NOW, Owned, first_line, unique},
    watch::Watch,
};
use crate::base::{
    digest::Fingerprint,
    disk::{self, Lock},
    regular,
};

/// What leases that aren't taken yet are called: `FINGERPRINT.new-…`.
const NEW: &str = ".new-";
/// Who has a lease that doesn't say it.
const UNKNOWN: &str = "another process";
/// How often a lease that ends just when it is looked at is tried for without a pause.
const AT_ONCE: usize = 8;

/// The right to compute a fingerprint, held until it is dropped.
#[derive(Debug)]
pub struct Lease {
    cache: Cache,
    path: PathBuf,
    owned: Arc<Owned>,
}

/// Why a lease couldn't be had.
#[derive(Debug)]
pub enum LeaseError {
    /// Somebody else is computing; the text names who.
    Held(String),
    /// The lease's file can't be used.
    Cache(CacheError),
}

impl From<CacheError> for LeaseError {
    fn from(error: CacheError) -> Self {
        Self::Cache(error)
    }
}

impl Cache {
    /// Takes the lease of `fingerprint`, or says who has it. To be called again until it is had: an owner on another
    /// machine is judged by what changes between the calls.
    ///
    /// # Errors
    /// When it is held by another, or its file can't be used.
    pub fn lease(&self, fingerprint: Fingerprint) -> Result<Lease, LeaseError> {
        let path = self.lease_path(fingerprint);
        create_folder(&self.root.join("leases"))?;
        for _ in 0..AT_ONCE {
            if let Some(lease) = self.take(&path)? {
                self.watches().remove(&path);
                self.look_anew(fingerprint);
                return Ok(lease);
            }
            if let Some(owner) = self.clear(&path)? {
                if self.ignores_leases && !self.writer()?.lock().stands_at(&path) {
                    // It isn't ours, and so we won't remove it.
                    let owned = Arc::clone(self.writer()?.lock());
                    return Ok(Lease { cache: self.clone(), path, owned });
                }
                return Err(LeaseError::Held(owner));
            }
        }
        // It can neither be made nor be seen: a file system shows it late.
        Err(LeaseError::Held(UNKNOWN.to_owned()))
    }

    /// The file that tells who computes `fingerprint`.
    pub(crate) fn lease_path(&self, fingerprint: Fingerprint) -> PathBuf {
        self.root.join("leases").join(fingerprint.hex())
    }

    /// Puts a lease of our own at `path`, complete, locked, and all at once. `None` if something stands there.
    fn take(&self, path: &Path) -> Result<Option<Lease>, CacheError> {
        let writer = self.writer()?;
        let lease = |owned| Some(Lease { cache: self.clone(), path: path.to_owned(), owned });
        match self.publish_at(path, |place| disk::link(writer.lock_path(), place)) {
            Ok(()) => Ok(lease(Arc::clone(writer.lock()))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) if is_fatal(&error) => Err(CacheError::io("publish", path)(error)),
            Err(_) if path.exists() => Ok(None),
            Err(_) => Ok(self.take_apart(path)?.and_then(lease)),
        }
    }

    /// The same with a file of the lease's own, where a file can't have many names.
    fn take_apart(&self, path: &Path) -> Result<Option<Arc<Owned>>, CacheError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let fresh = path.with_file_name(format!("{name}{NEW}{}", unique()));
        let file = self
            .publish_at(&fresh, |place| disk::create(place))
            .map_err(CacheError::io("create", &fresh))?;
        let begin = || {
            let lock = disk::try_lock(&file, &fresh)?;
            if lock == Lock::Held {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Owned::begin(file, lock, &fresh, self.mode(0o664))
        };
        let taken = begin().map_err(CacheError::io("write", &fresh)).and_then(|owned| {
            match self.publish_at(path, |place| disk::link(&fresh, place)) {
                Ok(()) => Ok(Some(owned)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
                Err(_) if path.exists() || !fresh.exists() => Ok(None),
                // Where there are no hard links, a rename has to do: at worst two compute the same.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    let put = self.publish_at(path, |place| disk::rename(&fresh, place));
                    put.map(|()| Some(owned))
                }
                Err(error) => Err(error),
            }
            .map_err(CacheError::io("publish", path))
        });
        let _ = self.remove(&fresh);
        taken
    }

    /// Removes the lease at `path` if its owner is dead. Gives the owner if it lives.
    fn clear(&self, path: &Path) -> Result<Option<String>, CacheError> {
        let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let file = match regular::open(path) {
            Ok((file, _)) => file,
            // What isn't a file is nobody's lease.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.quarantine(path)?;
                return Ok(None);
            }
            Err(error) if missing(&error) => return Ok(None),
            Err(error) => return Err(CacheError::io("open", path)(error)),
        };
        let lock = disk::try_lock_shared(&file, path).map_err(CacheError::io("lock", path))?;
        let seen = first_line(&file).map_err(CacheError::io("read", path))?;
        let line = Line::parse(&seen);
        let owner = line.as_ref().map_or_else(|| UNKNOWN.to_owned(), |line| line.owner.clone());
        if lock != Lock::Unsupported && line.as_ref().is_some_and(Line::is_of_this_machine) {
            if lock == Lock::Held {
                return Ok(Some(owner));
            }
        } else {
            let patience = line.as_ref().map_or(heartbeat::interval() * MISSED, Line::patience);
            let mut watches = self.watches();
            match watches.get(path) {
                Some(watch) if watch.seen == seen && watch.since.elapsed() >= patience => {}
                Some(watch) if watch.seen == seen => return Ok(Some(owner)),
                _ => {
                    let since = Instant::now();
                    watches.insert(path.to_owned(), Watch { seen, since });
                    return Ok(Some(owner));
                }
            }
        }
        if !same_file(&file, path) {
            // It ended, or was taken over, while we looked.
            return Ok(None);
        }
        // The file is moved before it is removed, so that of two who judge only one takes it.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = path.with_file_name(format!("{name}{NEW}{}", unique()));
        match self.publish_at(&aside, |place| disk::rename(path, place)) {
            Ok(()) => {}
            Err(error) if missing(&error) => return Ok(None),
            Err(error) => return Err(CacheError::io("take over", path)(error)),
        }
        if !same_file(&file, &aside) {
            // Another was faster, and this is its lease: it goes back, unless a third one is there already.
            let _ = self.publish_at(path, |place| disk::link(&aside, place));
        }
        let _ = self.remove(&aside);
        Ok(None)
    }

    /// Removes what dead processes left under `leases/`: of this machine at once, of others after a day of silence.
    pub(super) fn sweep_leases(&self) {
        let Ok(entries) = fs::read_dir(self.root.join("leases")) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(id) = name.strip_prefix(NOW) {
                // What a run does is of no use without the run.
                let id = id.split('.').next().unwrap_or(id);
                if !self.is_live(id) {
                    let _ = self.remove(&path);
                }
                continue;
            }
            let Ok((file, _)) = regular::open(&path) else { continue };
            let locked = match disk::try_lock_shared(&file, &path) {
                Ok(Lock::Held) | Err(_) => continue,
                Ok(lock) => lock == Lock::Taken,
            };
            let line = first_line(&file).ok().and_then(|seen| Line::parse(&seen));
            let unpublished = path.to_string_lossy().contains(NEW);
            let dead = locked && line.map_or(unpublished, |line| line.is_of_this_machine())
                || file.metadata().is_ok_and(|meta| self.is_abandoned(&meta));
            if dead && same_file(&file, &path) {
                let _ = self.remove(&path);
            }
        }
    }

    fn watches(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Watch>> {
        self.shared.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Only our own file: another machine may have taken us for dead.
        if self.owned.stands_at(&self.path) {
            let _ = self.cache.remove(&self.path);
        }
    }
}

fn same_file(file: &File, path: &Path) -> bool {
    let identity = |meta: io::Result<fs::Metadata>| meta.map(|meta| (meta.dev(), meta.ino())).ok();
    identity(file.metadata()).is_some_and(|ours| identity(fs::metadata(path)) == Some(ours))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ONE: Fingerprint = Fingerprint::from_bytes([1; 32]);

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        (folder, cache)
    }

    /// A lease as another machine writes it, beating every `interval_ms`.
    fn foreign(cache: &Cache, interval_ms: u64, beat: u64) {
        let line = Line {
            owner: "process 7 on elsewhere".into(),
            machine: "elsewhere".into(),
            interval_ms,
            beat,
            ..Line::new(Lock::Taken)
        };
        fs::write(cache.root.join("leases").join(ONE.hex()), line.bytes()).unwrap();
    }

    #[test]
    fn one_owner_at_a_time_and_none_after_it() {
        let (_folder, cache) = cache();
        let two = Fingerprint::from_bytes([2; 32]);
        let lease = cache.lease(ONE).unwrap();
        let Err(LeaseError::Held(owner)) = cache.lease(ONE) else { panic!("the lease is held") };
        assert!(owner.contains(&std::process::id().to_string()), "{owner}");
        drop(cache.lease(two).unwrap());
        drop(lease);
        drop(cache.lease(ONE).unwrap());
        assert_eq!(fs::read_dir(cache.root.join("leases")).unwrap().count(), 0);
    }

    #[test]
    fn a_dead_owner_of_this_machine_is_known_at_once() {
        let (_folder, cache) = cache();
        let path = cache.root.join("leases").join(ONE.hex());
        // What a killed process leaves: its line, and no lock.
        fs::write(&path, Line::new(Lock::Taken).bytes()).unwrap();
        fs::write(path.with_extension("new-1"), "").unwrap();
        drop(cache.lease(ONE).unwrap());
        fs::write(&path, Line::new(Lock::Taken).bytes()).unwrap();
        cache.sweep_leases();
        assert_eq!(fs::read_dir(cache.root.join("leases")).unwrap().count(), 0);
    }

    /// Lets the lease of `ONE`, as it was last seen, be that old.
    fn age(cache: &Cache, by: Duration) {
        let path = cache.root.join("leases").join(ONE.hex());
        let mut watches = cache.watches();
        let watch = watches.get_mut(&path).unwrap();
        watch.since = watch.since.checked_sub(by).unwrap();
    }

    fn is_held(cache: &Cache) -> bool {
        matches!(cache.lease(ONE), Err(LeaseError::Held(_)))
    }

    #[test]
    fn an_owner_without_locks_is_judged_by_its_beats() {
        let (_folder, cache) = cache();
        let path = cache.root.join("leases").join(ONE.hex());
        // A minute between two beats: nothing here takes as long as it may be silent.
        let minute = Duration::from_mins(1);
        let mut line = Line::new(Lock::Unsupported);
        line.interval_ms = 60_000;
        let mut beat = || {
            line.beat += 1;
            fs::write(&path, line.bytes()).unwrap();
        };
        beat();
        cache.sweep_leases();
        assert!(is_held(&cache), "it may live, though its file isn't locked");
        age(&cache, 9 * minute);
        assert!(is_held(&cache), "nine beats missed are too few");
        beat();
        assert!(is_held(&cache));
        age(&cache, 9 * minute);
        assert!(is_held(&cache), "it did beat");
        age(&cache, minute);
        drop(cache.lease(ONE).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_silent_owner_elsewhere_is_taken_over_and_a_beating_one_is_not() {
        let (_folder, cache) = cache();
        // Ten missed beats of a minute each: it isn't judged within this test.
        foreign(&cache, 60_000, 1);
        for _ in 0..3 {
            assert!(
                matches!(cache.lease(ONE), Err(LeaseError::Held(owner)) if owner.ends_with("elsewhere"))
            );
        }
        // It beats: whatever time went by at the sight of the last beat counts no more.
        for beat in 0..5 {
            foreign(&cache, 10, beat);
            assert!(matches!(cache.lease(ONE), Err(LeaseError::Held(_))));
            std::thread::sleep(Duration::from_millis(110));
        }
        // It was last seen to beat longer ago than it may be silent.
        let lease = cache.lease(ONE).unwrap();
        assert!(matches!(cache.lease(ONE), Err(LeaseError::Held(_))));
        drop(lease);
    }

    #[test]
    fn no_wall_clock_is_compared() {
        let (_folder, cache) = cache();
        let path = cache.root.join("leases").join(ONE.hex());
        for hours in [-48_i64, 48] {
            foreign(&cache, 60_000, 1);
            let now = std::time::SystemTime::now();
            let shift = Duration::from_hours(hours.unsigned_abs());
            let time = if hours < 0 { now - shift } else { now + shift };
            File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
            assert!(matches!(cache.lease(ONE), Err(LeaseError::Held(_))), "a live lease stands");
            foreign(&cache, 10, 2);
            File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
            assert!(matches!(cache.lease(ONE), Err(LeaseError::Held(_))));
            std::thread::sleep(Duration::from_millis(110));
            drop(cache.lease(ONE).unwrap());
        }
    }

    #[test]
    fn an_owner_that_was_taken_for_dead_leaves_the_next_one_alone() {
        let (folder, cache) = cache();
        let next = Cache::open(folder.path()).unwrap();
        let first = cache.lease(ONE).unwrap();
        let path = cache.root.join("leases").join(ONE.hex());
        // As another machine does it.
        fs::remove_file(&path).unwrap();
        let second = next.lease(ONE).unwrap();
        drop(first);
        assert!(path.exists());
        assert!(matches!(cache.lease(ONE), Err(LeaseError::Held(_))));
        drop(second);
    }

    #[test]
    fn no_bytes_in_a_lease_hold_it_for_ever_or_panic() {
        let (_folder, cache) = cache();
        let path = cache.root.join("leases").join(ONE.hex());
        for bytes in ["", "{}\n", "process 1 on here\n", "\0\0\0"] {
            fs::write(&path, bytes).unwrap();
            assert!(matches!(cache.lease(ONE), Err(LeaseError::Held(_))), "{bytes:?}");
            let long_ago = Instant::now().checked_sub(Duration::from_hours(1)).unwrap();
            cache.watches().get_mut(&path).unwrap().since = long_ago;
            drop(cache.lease(ONE).unwrap());
        }
    }
}
