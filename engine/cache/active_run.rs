//! Runs that are under way: what they have used is kept from being collected.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use super::{
    cache::Cache,
    contents::{is_young, list},
    error::CacheError,
    gate::Hold,
    heartbeat,
    lease_file::{LINE, Line, NOW, RUN},
    registered::{Registered, Section},
    under_way::{StageUnderWay, UnderWay},
};
use crate::base::{
    digest::Fingerprint,
    disk::{self, Lock},
    regular,
};

/// More than this, in bytes, isn't read of a lease.
const LARGEST: u64 = 256 << 20;

/// A run that is under way, and the results that it has used: they are kept from being collected.
///
/// It holds the gate. Nothing is written before the first beat: a shorter run is protected by that alone. When a collector
/// comes, what was used is written down first, and the gate is taken again before anything else is relied on.
#[derive(Debug)]
pub(crate) struct ActiveRun {
    inner: Arc<ActiveRunInner>,
}

#[derive(Debug)]
pub(super) struct ActiveRunInner {
    cache: Cache,
    path: PathBuf,
    /// Where it tells what it does.
    now_path: PathBuf,
    mode: u32,
    state: Mutex<ActiveRunState>,
    /// Told when a collector has been let pass.
    passed: Condvar,
}

/// How a run stands to the gate.
#[derive(Debug)]
enum Gate {
    /// It holds it.
    Held(#[expect(dead_code, reason = "it is held until it is dropped")] Hold),
    /// It let a collector pass, and relies only on what is written down.
    Released,
    /// There is no lock to be had.
    None,
}

#[derive(Debug)]
struct ActiveRunState {
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
    gate: Gate,
    /// How much is being published.
    sections: usize,
    /// Whether a collector waits.
    awaited: bool,
    ended: bool,
}

impl Cache {
    /// Begins a run.
    pub(crate) fn live_run(&self, pipeline: &Path) -> ActiveRun {
        let line = Line::new(Lock::Taken);
        let leases = self.root.join("leases");
        let path = leases.join(format!("{RUN}{}", line.id));
        let now_path = leases.join(format!("{NOW}{}", line.id));
        let state = ActiveRunState {
            now: UnderWay::new(&line.owner, pipeline),
            told: false,
            line,
            file: None,
            written: HashSet::new(),
            used: HashSet::new(),
            end: LINE as u64,
            gate: self.hold().map_or(Gate::None, Gate::Held),
            sections: 0,
            awaited: false,
            ended: false,
        };
        let inner = Arc::new(ActiveRunInner {
            cache: self.clone(),
            path,
            now_path,
            mode: self.mode(0o664),
            state: Mutex::new(state),
            passed: Condvar::new(),
        });
        let registered: Weak<ActiveRunInner> = Arc::downgrade(&inner);
        *self.shared.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(registered);
        heartbeat::join(&inner);
        ActiveRun { inner }
    }

    fn live(&self) -> Option<Arc<dyn Registered>> {
        self.shared.live.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.upgrade()
    }

    /// Notes that the run under way, if there is one, relies on a result from here on.
    pub(crate) fn uses(&self, fingerprint: Fingerprint) {
        if let Some(live) = self.live() {
            live.uses(fingerprint);
        }
    }

    /// Begins to publish something that nothing names yet, in the run under way, if there is one.
    pub(super) fn section(&self) -> Option<Section> {
        self.live().map(Section::begin)
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
            let Ok((file, meta)) = regular::open(&path) else { continue };
            let mut bytes = Vec::new();
            (&file).take(LARGEST).read_to_end(&mut bytes).map_err(CacheError::io("read", &path))?;
            let line = Line::parse(&bytes);
            let ours = line.as_ref().is_some_and(Line::is_of_this_machine);
            let patience = line.map_or(Duration::ZERO, |line| line.patience());
            let lives = match disk::try_lock_shared(&file, &path) {
                Ok(Lock::Held) => true,
                Ok(Lock::Taken) if ours => false,
                Err(_) if ours => true,
                // Its beats alone tell that it lives, and it may miss some.
                _ => is_young(&meta, now, grace.max(patience)),
            };
            if lives {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                live.push(format!("{name}\n{}", String::from_utf8_lossy(&bytes)));
            }
        }
        Ok(live)
    }
}

impl ActiveRun {
    /// Notes that the run uses a result. It is relied on only after that.
    pub(crate) fn uses(&self, fingerprint: Fingerprint) {
        self.inner.uses(fingerprint);
    }
}

impl ActiveRunState {
    /// Takes the gate again, should a collector have been let pass.
    fn hold(&mut self, cache: &Cache) {
        if matches!(self.gate, Gate::Released) {
            self.gate = cache.hold().map_or(Gate::None, Gate::Held);
        }
    }
}

impl ActiveRunInner {
    fn lock(&self) -> MutexGuard<'_, ActiveRunState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a collector pass, if one waits and nothing is being published.
    fn let_pass(&self, state: &mut ActiveRunState) {
        if state.awaited && state.sections == 0 {
            state.awaited = false;
            // What can't be written down is relied on as long as the gate is held.
            if matches!(state.gate, Gate::Held(_)) && self.write(state).is_ok() {
                state.gate = Gate::Released;
            }
            self.passed.notify_all();
        }
    }
}

impl Registered for ActiveRunInner {
    fn uses(&self, fingerprint: Fingerprint) {
        let mut state = self.lock();
        state.hold(&self.cache);
        if !state.written.contains(&fingerprint) {
            state.used.insert(fingerprint);
        }
    }

    fn begin_section(&self) {
        // Else one could follow the other for ever, and no collector would pass.
        let wait = |state: &mut ActiveRunState| state.awaited;
        let state = self.passed.wait_while(self.lock(), wait);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.hold(&self.cache);
        state.sections += 1;
    }

    fn end_section(&self) {
        let mut state = self.lock();
        state.sections -= 1;
        self.let_pass(&mut state);
    }
}

impl ActiveRun {
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

impl ActiveRunInner {
    fn write(&self, state: &mut ActiveRunState) -> io::Result<()> {
        if state.file.is_none() {
            let file = self.cache.publish_at(&self.path, |place| disk::create(place))?;
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
    fn tell_now(&self, state: &mut ActiveRunState) -> io::Result<()> {
        let json = serde_json::to_vec(&state.now)?;
        let fresh = self.now_path.with_extension(format!("new-{}", state.line.id));
        // Left by a beat that failed half-way.
        let _ = self.cache.remove(&fresh);
        let file = self.cache.publish_at(&fresh, |place| disk::create(place))?;
        disk::protect(&file, &fresh, self.mode)?;
        disk::write_all(&file, &fresh, &json)?;
        self.cache.publish_at(&self.now_path, |place| disk::rename(&fresh, place))?;
        state.told = true;
        Ok(())
    }
}

impl heartbeat::Beat for ActiveRunInner {
    fn beat(&self) {
        // Who takes the gate may wait for a collector: the other beats don't.
        let Ok(mut state) = self.state.try_lock() else { return };
        // A cache that takes no writes isn't collected either.
        if state.ended {
            return;
        }
        let _ = self.write(&mut state);
        if matches!(state.gate, Gate::Held(_)) && self.cache.is_awaited() {
            state.awaited = true;
            self.let_pass(&mut state);
        }
    }
}

impl Drop for ActiveRun {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        state.gate = Gate::None;
        if state.told {
            let _ = self.inner.cache.remove(&self.inner.now_path);
        }
        if state.file.take().is_some() {
            let _ = self.inner.cache.remove(&self.inner.path);
        }
        // It isn't written any more, by a beat that comes late.
        state.ended = true;
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const ONE: Fingerprint = Fingerprint::from_bytes([1; 32]);

    #[test]
    fn a_live_run_names_what_it_used() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let run = cache.live_run(Path::new("/p.yaml"));
        run.uses(ONE);
        heartbeat::Beat::beat(&*run.inner);
        run.uses(Fingerprint::from_bytes([2; 32]));
        run.uses(ONE);
        heartbeat::Beat::beat(&*run.inner);
        let now = SystemTime::now();
        let live = cache.live_leases(now, Duration::ZERO).unwrap();
        assert_eq!(live.len(), 1);
        assert_eq!(live[0].matches(&ONE.hex()).count(), 1);
        assert!(live[0].contains(&Fingerprint::from_bytes([2; 32]).hex()));
        drop(run);
        assert!(cache.live_leases(now, Duration::ZERO).unwrap().is_empty());
    }

    #[test]
    fn a_collector_that_waits_passes_at_a_beat_and_what_was_used_is_written_down_by_then() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let run = cache.live_run(Path::new("/p.yaml"));
        cache.uses(ONE);
        let section = cache.section().unwrap();
        thread::scope(|scope| {
            let collector = scope.spawn(|| cache.shut().unwrap());
            while !cache.is_awaited() {
                thread::yield_now();
            }
            heartbeat::Beat::beat(&*run.inner);
            assert!(run.inner.lock().awaited, "something is being published");
            let next = scope.spawn(|| cache.section().unwrap());
            assert!(!collector.is_finished() && !next.is_finished());
            drop(section);
            let shut = collector.join().unwrap();
            let live = cache.live_leases(SystemTime::now(), Duration::ZERO).unwrap();
            assert!(live[0].contains(&ONE.hex()));
            assert!(!next.is_finished(), "the gate is shut");
            drop(shut);
            drop(next.join().unwrap());
        });
        assert!(matches!(run.inner.lock().gate, Gate::Held(_)));
        drop(run);
        assert!(cache.section().is_none() && cache.shut().is_some());
    }
}
