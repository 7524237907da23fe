//! Runs that are under way: what they have used is kept from being collected.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use super::{
    Cache, CacheError, heart,
    owner::{LINE, Line},
    reach::{is_young, list},
    under_way::{NOW, StageUnderWay, UnderWay},
};
use crate::{
    digest::Fingerprint,
    disk::{self, Lock},
};

/// What the files of live runs are called: `run-…`.
pub(super) const RUN: &str = "run-";

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
    /// Where it tells what it does.
    now_path: PathBuf,
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
    /// What it does now.
    now: UnderWay,
    /// Whether that was ever told.
    told: bool,
}

impl Cache {
    /// Begins a run.
    pub(crate) fn live_run(&self, pipeline: &Path) -> LiveRun {
        let line = Line::new(Lock::Taken);
        let leases = self.root.join("leases");
        let path = leases.join(format!("{RUN}{}", line.id));
        let now_path = leases.join(format!("{NOW}{}", line.id));
        let state = LiveRunState {
            now: UnderWay::new(&line.owner, pipeline),
            told: false,
            line,
            file: None,
            written: HashSet::new(),
            used: HashSet::new(),
            end: LINE as u64,
        };
        let inner =
            LiveRunInner { path, now_path, mode: self.mode(0o664), state: Mutex::new(state) };
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

impl LiveRun {
    fn tell(&self, change: impl FnOnce(&mut Vec<StageUnderWay>)) {
        let mut state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state.now.stages);
    }

    fn tell_of(&self, stage: &str, change: impl FnOnce(&mut StageUnderWay)) {
        self.tell(|stages| {
            if let Some(stage) = stages.iter_mut().find(|one| one.name == stage) {
                change(stage);
            }
        });
    }

    /// Notes that a stage begins to execute.
    pub(crate) fn begins(&self, stage: &str, fingerprint: Fingerprint) {
        let (name, started) = (stage.to_owned(), jiff::Timestamp::now().to_string());
        let (progress, sandboxes) = (None, Vec::new());
        let stage = StageUnderWay { name, fingerprint, started, progress, sandboxes };
        self.tell(|stages| stages.push(stage));
    }

    /// Notes how far a stage is.
    pub(crate) fn progress(&self, stage: &str, done: u64, total: u64, unit: &str) {
        self.tell_of(stage, |stage| stage.progress = Some((done, total, unit.to_owned())));
    }

    /// Notes in which folder a command of a stage works.
    pub(crate) fn works_in(&self, stage: &str, sandbox: &Path) {
        const MOST: usize = 16;
        self.tell_of(stage, |stage| {
            // Of a command for each entry, the last ones.
            if stage.sandboxes.len() == MOST {
                stage.sandboxes.remove(0);
            }
            stage.sandboxes.push(sandbox.to_owned());
        });
    }

    /// Notes that a stage isn't executed any more.
    pub(crate) fn ends(&self, stage: &str) {
        self.tell(|stages| stages.retain(|one| one.name != stage));
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
        file.sync_data()?;
        self.tell_now(state)
    }

    /// Writes what the run does now, for others to see.
    fn tell_now(&self, state: &mut LiveRunState) -> io::Result<()> {
        let json = serde_json::to_vec(&state.now)?;
        let fresh = self.now_path.with_extension(format!("new-{}", state.line.id));
        // Left by a beat that failed half-way.
        let _ = fs::remove_file(&fresh);
        let file = disk::create(&fresh)?;
        disk::protect(&file, &fresh, self.mode)?;
        disk::write_all(&file, &fresh, &json)?;
        disk::rename(&fresh, &self.now_path)?;
        state.told = true;
        Ok(())
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
        if state.told {
            let _ = fs::remove_file(&self.inner.now_path);
        }
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
        let run = cache.live_run(Path::new("/p.yaml"));
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
