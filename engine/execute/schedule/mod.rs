//! Which stages are stale, and in which order they run.
//!
//! A fixed number of workers take ready stages, the earliest in the pipeline's order first. A stage is ready when the
//! outputs that it reads are known; then it has a recipe, and the cache may know its result already. Stages are never
//! run on the thread pool that they share for their own parallel work, where a stage that waits could hold up another.

mod state;
mod task;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Instant,
};

use self::{
    state::{RunState, Task},
    task::Turn,
};
use super::events::{Event, Observer};
use crate::{
    artifact::{input_file::Reading, input_files::InputFiles},
    base::{
        chain::chain,
        digest::{Digest, Fingerprint},
        interrupt::Interrupt,
        outcome::Outcome,
        parallel,
        permits::Permits,
    },
    cache::{
        ActiveRun, Bundle, Cache, CacheError, FEW, Flaw, Publication, Publisher, RunFailure,
        RunFile, Runs, StageRun, Staging,
    },
    graph::{Input, Pipeline, is_run_name},
    plan::{
        error::RunError,
        explain::why_reused,
        history::History,
        needed::needed,
        resolve::{Known, fingerprint, look_up_outputs},
        run_report::{Failure, RunReport, StageReport},
    },
    stage::device::DeviceSelection,
};

/// What to run, and how.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The stages wanted, by name, or by their name as declared for all combinations; those that they need run too. All
    /// of them when empty.
    pub targets: Vec<String>,
    /// How many stages, and how many commands and chunks of rows within them, run at the same time.
    pub jobs: usize,
    /// How many threads all stages share for what they compute: as many as there are processors, or fewer.
    pub threads: usize,
    /// Whether to go on, after a failure, with what doesn't depend on it.
    pub keep_going: bool,
    /// The name under which the run is remembered.
    pub name: Option<String>,
    /// Whether what commands print is told while they run.
    pub follow: bool,
}

/// Runs the stages wanted, and those that they need.
///
/// # Errors
/// When nothing could be tried. A stage that fails is in the report.
pub fn run(
    pipeline: &Pipeline,
    cache: &Cache,
    options: &RunOptions,
    observer: &dyn Observer,
    interrupt: &Interrupt,
) -> Result<RunReport, RunError> {
    run_then(pipeline, cache, options, observer, interrupt, |_| ()).map(|(report, ())| report)
}

/// Does what [`run`] does, and also returns `then(&report)`, which is called while the run is written down.
///
/// # Errors
/// Those of [`run`].
pub fn run_then<T: Send>(
    pipeline: &Pipeline,
    cache: &Cache,
    options: &RunOptions,
    observer: &dyn Observer,
    interrupt: &Interrupt,
    then: impl FnOnce(&RunReport) -> T + Send,
) -> Result<(RunReport, T), RunError> {
    let began = Instant::now();
    let started = jiff::Timestamp::now();
    let wanted = needed(pipeline, &options.targets)?;
    Staging::sweep(cache);
    let runs = cache.runs(&pipeline.file);
    if let Some(name) = &options.name {
        check_name(&runs, name)?;
    }
    let (history, memo) = parallel::both(
        wanted.len(),
        || History::open(Some(cache), pipeline, &wanted),
        || cache.memo(&pipeline.file),
    );
    let history = history?;
    let names: Vec<&str> =
        wanted.iter().map(|stage| pipeline.stages[*stage].name.as_str()).collect();
    observer.event(&Event::Planned { stages: &names });
    let run = Run {
        pipeline,
        cache,
        observer,
        interrupt,
        placement: DeviceSelection::new(pipeline.device.choice, pipeline.cuda),
        history,
        began,
        files: InputFiles::new(memo),
        threads: OnceLock::new(),
        keep_going: options.keep_going,
        follow: options.follow,
        live: cache.live_run(&pipeline.file),
        state: Mutex::new(RunState::new(pipeline, &wanted)),
        changed: Condvar::new(),
        computing: Mutex::default(),
        flaws: Mutex::default(),
        jobs: options.jobs.max(1),
        permits: Permits::new(options.jobs.max(1)),
    };
    let jobs = run.jobs;
    if run.survey(jobs) {
        run.placement.check()?;
        run.start_workers(jobs, options.threads.max(1), wanted.len())?;
    }
    let Run { state, files, .. } = run;
    let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let report = state.report(pipeline, &wanted, observer, began, interrupt.is_requested());
    // A cache that takes no memo is as good, only slower; that it takes no writes is told below.
    let _ = files.into_memo().save(cache);
    let (remembered, made) = parallel::both(
        wanted.len(),
        || remember(&runs, pipeline, options, &report, started),
        || then(&report),
    );
    if let Err(error) = remembered {
        // The results are there, or are told in the report: a cache that takes no writes can still be read.
        let message = format!("the run can't be remembered: {}", chain(&error));
        observer.event(&Event::Notice { message: &message });
    }
    Ok((report, made))
}

/// Checks that a run can be called `name`. One that didn't end well gives its name up to the next try.
fn check_name(runs: &Runs, name: &str) -> Result<(), RunError> {
    if !is_run_name(name) {
        return Err(RunError::Name { name: name.to_owned() });
    }
    let entries = runs.entries()?;
    let bearer = entries.iter().find(|entry| entry.name.as_deref() == Some(name));
    match bearer {
        Some(entry) if runs.read(entry).is_ok_and(|run| run.ok) => Err(RunError::NameTaken {
            name: name.to_owned(),
            id: entry.id.clone(),
            ended: entry.ended.clone(),
        }),
        _ => Ok(()),
    }
}

fn remember(
    runs: &Runs,
    pipeline: &Pipeline,
    options: &RunOptions,
    report: &RunReport,
    started: jiff::Timestamp,
) -> Result<(), CacheError> {
    let micros = |seconds: f64| (seconds * 1e6) as u64;
    let mut stages = Vec::with_capacity(report.stages.len());
    for stage in &report.stages {
        let failure = |error: &Failure| RunFailure {
            message: error.message.clone(),
            system: error.system,
            log: error.whole_log,
        };
        stages.push(StageRun {
            name: stage.name.clone(),
            outcome: stage.outcome,
            reason: stage.reason.clone(),
            fingerprint: stage.fingerprint,
            outputs: stage.outputs.clone(),
            began: micros(stage.began),
            took: micros(stage.seconds),
            worker: stage.worker,
            error: stage.error.as_ref().map(failure),
        });
    }
    let file = RunFile {
        format: crate::cache::FORMAT,
        name: options.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: started.to_string(),
        host: crate::base::host::name().to_owned(),
        pipeline: pipeline.file.clone(),
        targets: options.targets.clone(),
        ok: report.ok,
        interrupted: report.interrupted,
        seconds: report.seconds,
        stages,
    };
    runs.add(&file)?;
    Ok(())
}

struct Run<'a> {
    pipeline: &'a Pipeline,
    cache: &'a Cache,
    observer: &'a dyn Observer,
    interrupt: &'a Interrupt,
    placement: DeviceSelection,
    history: History,
    began: Instant,
    files: InputFiles,
    /// Started when something has to be computed.
    threads: OnceLock<rayon::ThreadPool>,
    keep_going: bool,
    follow: bool,
    /// Keeps what the run uses from being collected.
    live: ActiveRun,
    state: Mutex<RunState>,
    changed: Condvar,
    /// What stages of this run have begun to compute.
    computing: Mutex<BTreeSet<Fingerprint>>,
    /// What was found broken before any worker took its stage. What is corrupt at the first look is missing at the next.
    flaws: Mutex<BTreeMap<Fingerprint, Flaw>>,
    jobs: usize,
    /// For commands, of whichever stages.
    permits: Permits,
}

impl Run<'_> {
    fn lock(&self) -> MutexGuard<'_, RunState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flaws(&self) -> MutexGuard<'_, BTreeMap<Fingerprint, Flaw>> {
        self.flaws.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn threads(&self) -> &rayon::ThreadPool {
        self.threads.get().unwrap_or_else(|| unreachable!("they are started before any stage is"))
    }

    /// Ends the stages whose results are known without reading any file of the user's; looks at up to `jobs` at a time.
    /// Whether some are left.
    fn survey(&self, jobs: usize) -> bool {
        let mut left = Vec::new();
        while !self.interrupt.is_requested() {
            let mut state = self.lock();
            let places: Vec<usize> = std::mem::take(&mut state.ready).into_iter().collect();
            let stages: Vec<usize> = places.iter().map(|place| state.order[*place]).collect();
            drop(state);
            if places.is_empty() {
                break;
            }
            let found = parallel::map(&stages, jobs, |stage| self.known(*stage));
            for ((place, stage), report) in places.into_iter().zip(stages).zip(found) {
                let Some(report) = report else {
                    left.push(place);
                    continue;
                };
                self.observer.event(&Event::Ended(&report));
                let mut state = self.lock();
                state.running += 1;
                state.end(stage, report, self.keep_going);
            }
        }
        let mut state = self.lock();
        state.ready.extend(left);
        !state.ready.is_empty()
    }

    /// The report of a stage whose result is known without reading any file of the user's.
    fn known(&self, index: usize) -> Option<StageReport> {
        let (began, node) = (self.began.elapsed(), &self.pipeline.stages[index]);
        let before = self.before(index);
        let output = |stage, output: &str| before[&stage][output];
        let fingerprint = fingerprint(node, &self.files, Reading::No, output).ok()?;
        self.live.uses(fingerprint);
        let outputs = match look_up_outputs(self.cache, self.files.memo(), node, fingerprint) {
            Ok(Known::Complete(outputs)) => outputs,
            Ok(Known::Broken(flaw)) => {
                self.flaws().insert(fingerprint, flaw);
                return None;
            }
            // What goes wrong does so again for the worker that takes the stage, which tells it.
            Ok(Known::Nothing) | Err(_) => return None,
        };
        let mut report = StageReport::new(&node.name, Outcome::Reused);
        report.fingerprint = Some(fingerprint);
        report.reason = why_reused(&self.history, &node.name, fingerprint).to_string();
        report.outputs = outputs;
        report.began = began.as_secs_f64();
        report.seconds = self.began.elapsed().saturating_sub(began).as_secs_f64();
        report.worker = Some(0);
        Some(report)
    }

    /// Works on what is left, with `jobs` workers that share `threads` to compute with, until all is published.
    fn start_workers(&self, jobs: usize, threads: usize, stages: usize) -> Result<(), RunError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).stack_size(8 << 20);
        let threads = pool.build().map_err(|source| RunError::Threads { jobs: threads, source })?;
        self.threads.get_or_init(|| threads);
        // It keeps what was read while it was published.
        let publisher = Publisher::new(self.cache);
        thread::scope(|scope| {
            scope.spawn(|| publisher.serve());
            thread::scope(|scope| {
                for worker in 0..jobs.min(stages) {
                    let publisher = &publisher;
                    scope.spawn(move || self.take_tasks(worker, publisher));
                }
            });
            publisher.close();
        });
        Ok(())
    }

    /// The outputs of the stages that a stage reads.
    fn before(&self, index: usize) -> BTreeMap<usize, Arc<BTreeMap<String, Digest>>> {
        let state = self.lock();
        let stages = self.pipeline.stages[index].inputs.values().flat_map(Input::stages);
        stages.map(|stage| (stage, state.outputs(stage))).collect()
    }

    /// Takes ready stages until there are none and none will come. One that somebody else computes is put aside, and looked at
    /// again while there is nothing else to do, or between two others.
    fn take_tasks<'r>(&'r self, worker: usize, publisher: &Publisher<'r>) {
        while let Some(task) = self.next_task() {
            let Task { place, stage, sought, tells } = task;
            // A stage that panics must end like one that fails: the others wait for its end.
            let began = self.began.elapsed();
            let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                self.turn(stage, sought, tells, publisher)
            }));
            let (mut report, bundle) = match tried {
                Ok(Turn::Ended(report, bundle)) => (report, bundle),
                Ok(Turn::Busy(sought)) => {
                    self.lock().set_aside(place, sought);
                    self.changed.notify_all();
                    continue;
                }
                Err(panic) => {
                    let mut report =
                        StageReport::new(&self.pipeline.stages[stage].name, Outcome::Failed);
                    let text = panic.downcast_ref::<String>().map(String::as_str);
                    let text =
                        text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("unknown cause");
                    let message =
                        format!("the stage panicked, which is a fault of the stage: {text}");
                    report.error = Some(Failure::new(message, false));
                    (report, None)
                }
            };
            report.began = began.as_secs_f64();
            report.seconds = self.began.elapsed().saturating_sub(began).as_secs_f64();
            report.worker = Some(worker);
            match bundle {
                Some(bundle) => self.publish(publisher, stage, report, *bundle),
                None => self.end(stage, report),
            }
        }
    }

    /// The next stage to take, waited for; none when there will be none.
    fn next_task(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if state.stopped || self.interrupt.is_requested() {
                return None;
            }
            if let Some(task) = state.take(Instant::now()) {
                return Some(task);
            }
            let due = state.next_look();
            if state.running == 0 && due.is_none() {
                return None;
            }
            state = match due {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(due) => {
                    let left = due.saturating_duration_since(Instant::now());
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn end(&self, stage: usize, report: StageReport) {
        self.observer.event(&Event::Ended(&report));
        self.lock().end(stage, report, self.keep_going);
        self.changed.notify_all();
    }

    /// Lets the readers of an executed stage begin while what it made becomes durable. The stage ends thereafter.
    fn publish<'r>(
        &'r self,
        publisher: &Publisher<'r>,
        stage: usize,
        report: StageReport,
        bundle: Bundle,
    ) {
        let outputs = report.outputs.clone();
        let failed = report.clone();
        let fail = |mut report: StageReport, error: CacheError| {
            report.outcome = Outcome::Failed;
            report.outputs.clear();
            report.error = Some(Failure::of_the_system(&error));
            report
        };
        let done = move |published: Result<Publication, CacheError>| {
            let report = match published {
                Ok(Publication::First) => report,
                Ok(Publication::Stands(there)) => StageReport { outputs: there.outputs, ..report },
                Err(error) => fail(report, error),
            };
            self.end(stage, report);
        };
        let readable = || {
            self.lock().release(stage, &outputs);
            self.changed.notify_all();
        };
        let submitted = if bundle.blobs.len() > FEW {
            self.threads().install(|| publisher.submit(bundle, readable, done))
        } else {
            publisher.submit(bundle, readable, done)
        };
        if let Err(error) = submitted {
            self.end(stage, fail(failed, error));
        }
    }
}
