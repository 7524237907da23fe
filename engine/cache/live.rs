//! Runs that are under way: what they have used is kept from being collected.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use super::{
    Cache, CacheError, heart,
    owner::{LINE, Line},
    reach::{is_young, list},
};
use crate::{
    digest::Fingerprint,
    disk::{self, Lock},
};

/// What the files of live runs are called: `run-…`.
const RUN: &str = "run-";

/// A run that is under way, and the results that it has used: they are kept from being collected.
///
/// Nothing is written before the first beat: a run that is shorter needs no protection.
#[derive(Debug)]
pub(crate) struct LiveRun {
    inner: Arc<LiveRunInner>,
}

#[derive(Debug)]
struct LiveRunInner {
    path: PathBuf,
    mode: u32,
    state: Mutex<LiveRunState>,
}

#[derive(Debug)]
struct LiveRunState {
    line: Line,
    file: Option<File>,
    /// What was written.
    written: HashSet<Fingerprint>,
    /// What is yet to be written.
    used: HashSet<Fingerprint>,
    /// Where the next fingerprint goes.
    end: u64,
}

impl Cache {
    /// Begins a run.
    pub(crate) fn live_run(&self) -> LiveRun {
        let line = Line::new(Lock::Taken);
        let path = self.root.join("leases").join(format!("{RUN}{}", line.id));
        let state = LiveRunState {
            line,
            file: None,
            written: HashSet::new(),
            used: HashSet::new(),
            end: LINE as u64,
        };
        let inner = LiveRunInner { path, mode: self.mode(0o664), state: Mutex::new(state) };
        let inner = Arc::new(inner);
        heart::join(&inner);
        LiveRun { inner }
    }

    /// The texts of the leases and live runs whose owners are not known to be dead. One of another machine counts as
    /// live until it is older than `grace` by the clock of the file system, `now`.
    pub(super) fn live_leases(
        &self,
        now: SystemTime,
        grace: Duration,
    ) -> Result<Vec<String>, CacheError> {
        let folder = self.root.join("leases");
        let mut live = Vec::new();
        for path in list(&folder)? {
            // It may end while we look.
            let Ok(mut file) = File::open(&path) else { continue };
            let Ok(meta) = file.metadata() else { continue };
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(CacheError::io("read", &path))?;
            let ours = Line::parse(&bytes).is_some_and(|line| line.is_of_this_machine());
            let lives = match disk::try_lock_shared(&file, &path) {
                Ok(Lock::Taken) if ours => false,
                Ok(Lock::Held) | Err(_) if ours => true,
                _ => is_young(&meta, now, grace),
            };
            if lives {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                live.push(format!("{name}\n{}", String::from_utf8_lossy(&bytes)));
            }
        }
        Ok(live)
    }
}

impl LiveRun {
    /// Notes that the run uses a result.
    pub(crate) fn uses(&self, fingerprint: Fingerprint) {
        let mut state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.written.contains(&fingerprint) {
            state.used.insert(fingerprint);
        }
    }
}

impl LiveRunInner {
    fn write(&self, state: &mut LiveRunState) -> io::Result<()> {
        if state.file.is_none() {
            let file = fs::OpenOptions::new().write(true).create_new(true).open(&self.path)?;
            disk::protect(&file, &self.path, self.mode)?;
            match disk::try_lock(&file, &self.path)? {
                Lock::Taken => {}
                Lock::Held => return Err(io::ErrorKind::WouldBlock.into()),
                Lock::Unsupported => state.line.machine.clear(),
            }
            state.file = Some(file);
        }
        let Some(file) = &state.file else { return Ok(()) };
        state.line.beat += 1;
        file.write_all_at(&state.line.bytes(), 0)?;
        let mut more = String::new();
        for fingerprint in &state.used {
            more.push_str(&fingerprint.hex());
            more.push('\n');
        }
        file.write_all_at(more.as_bytes(), state.end)?;
        state.end += more.len() as u64;
        let used = std::mem::take(&mut state.used);
        state.written.extend(used);
        file.sync_data()
    }
}

impl heart::Beat for LiveRunInner {
    fn beat(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A cache that takes no writes isn't collected either.
        let _ = self.write(&mut state);
    }
}

impl Drop for LiveRun {
    fn drop(&mut self) {
        let state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.file.is_some() {
            let _ = fs::remove_file(&self.inner.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Fingerprint = Fingerprint::from_bytes([1; 32]);

    #[test]
    fn a_live_run_names_what_it_used() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let run = cache.live_run();
        run.uses(ONE);
        heart::Beat::beat(&*run.inner);
        run.uses(Fingerprint::from_bytes([2; 32]));
        run.uses(ONE);
        heart::Beat::beat(&*run.inner);
        let now = SystemTime::now();
        let live = cache.live_leases(now, Duration::ZERO).unwrap();
        assert_eq!(live.len(), 1);
        assert_eq!(live[0].matches(&ONE.hex()).count(), 1);
        assert!(live[0].contains(&Fingerprint::from_bytes([2; 32]).hex()));
        drop(run);
        assert!(cache.live_leases(now, Duration::ZERO).unwrap().is_empty());
    }
}
