//! Which stages are stale, and in which order they run.
//!
//! A fixed number of workers take ready stages, the earliest in the pipeline's order first. A stage is ready when the
//! outputs that it reads are known; then it has a recipe, and the cache may know its result already. Stages are never
//! run on the thread pool that they share for their own parallel work, where a stage that waits could hold up another.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;

use crate::{
    cache::{
        Bundle, Cache, CacheError, FEW, Flaw, Lease, LeaseError, LiveRun, Memo, Publication,
        Publisher, RunFailure, RunFile, Runs, StageRun, Staging,
    },
    digest::{Digest, Fingerprint},
    events::{Event, Observer},
    execute::{Attempt, execute},
    explain::{Why, chain, why_executed, why_reused},
    history::History,
    pipeline::{Input, NotFound, Pipeline, RUN_RULE, StageNode, Task, is_run_name},
    report::{Failure, Outcome, PartCount, RunReport, StageReport},
    resolve::{Known, ResolveError, Resolved, exactness, look_up_outputs, resolve},
    source::Reading,
    work::Interrupt,
};

/// What to run, and how.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The stages wanted, by name, or by their name as declared for all combinations; those that they need run too. All
    /// of them when empty.
    pub targets: Vec<String>,
    /// How many stages, and how many threads within stages, run at the same time.
    pub jobs: usize,
    /// Whether to go on, after a failure, with what doesn't depend on it.
    pub keep_going: bool,
    /// The name under which the run is remembered.
    pub name: Option<String>,
}

/// What keeps a run from being tried at all.
#[derive(Debug, Error)]
pub enum RunError {
    /// A target names no stage.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// No run can have such a name.
    #[error("`{name}` is no name for a run: {RUN_RULE}")]
    Name {
        /// The name.
        name: String,
    },
    /// An earlier run has the name.
    #[error("the run {id}, which ended {ended}, is called `{name}` already")]
    NameTaken {
        /// The name.
        name: String,
        /// The run's id.
        id: String,
        /// When it ended, UTC.
        ended: String,
    },
    /// The cache can't be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The threads can't be started.
    #[error("failed to start {jobs} threads")]
    Threads {
        /// How many.
        jobs: usize,
        /// Why not.
        source: rayon::ThreadPoolBuildError,
    },
}

/// Runs the stages wanted, and those that they need.
///
/// # Errors
/// When nothing could be tried. A stage that fails is told in the report.
pub fn run(
    pipeline: &Pipeline,
    cache: &Cache,
    options: &RunOptions,
    observer: &dyn Observer,
    interrupt: &Interrupt,
) -> Result<RunReport, RunError> {
    let began = Instant::now();
    let started = jiff::Timestamp::now();
    let wanted = needed(pipeline, &options.targets)?;
    Staging::sweep(cache);
    let runs = cache.runs(&pipeline.file);
    if let Some(name) = &options.name {
        check_name(&runs, name)?;
    }
    let history = History::open(Some(cache), pipeline, &wanted)?;
    let names: Vec<&str> =
        wanted.iter().map(|stage| pipeline.stages[*stage].name.as_str()).collect();
    observer.event(&Event::Planned { stages: &names });
    let run = Run {
        pipeline,
        cache,
        observer,
        interrupt,
        history,
        began,
        memo: cache.memo(&pipeline.file),
        threads: OnceLock::new(),
        keep_going: options.keep_going,
        live: cache.live_run(),
        state: Mutex::new(State::new(pipeline, &wanted)),
        changed: Condvar::new(),
        computing: Mutex::default(),
        flaws: Mutex::default(),
    };
    if run.survey() {
        run.execute(options.jobs.max(1), wanted.len())?;
    }
    let Run { state, memo, .. } = run;
    let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let report = state.report(pipeline, &wanted, observer, began, interrupt.is_requested());
    // A cache that takes no memo is as good, only slower; that it takes no writes is told below.
    let _ = memo.save(cache);
    if let Err(error) = remember(&runs, pipeline, options, &report, started) {
        // The results are there, or are told in the report: a cache that takes no writes can still be read.
        let message = format!("the run can't be remembered: {}", chain(&error));
        observer.event(&Event::Notice { message: &message });
    }
    Ok(report)
}

/// The stages wanted and all that they need, in the pipeline's topological order.
pub(crate) fn needed(pipeline: &Pipeline, targets: &[String]) -> Result<Vec<usize>, RunError> {
    if targets.is_empty() {
        return Ok(pipeline.order.clone());
    }
    let mut wanted = BTreeSet::new();
    let mut open = Vec::new();
    for name in targets {
        open.extend(pipeline.stages_named(name)?);
    }
    while let Some(index) = open.pop() {
        if wanted.insert(index) {
            open.extend(pipeline.stages[index].inputs.values().flat_map(Input::stages));
        }
    }
    Ok(pipeline.order.iter().copied().filter(|index| wanted.contains(index)).collect())
}

/// Checks that a run can be called `name`. One that didn't end well gives its name up to the next try.
fn check_name(runs: &Runs, name: &str) -> Result<(), RunError> {
    if !is_run_name(name) {
        return Err(RunError::Name { name: name.to_owned() });
    }
    let entries = runs.entries()?;
    let bearer = entries.iter().find(|entry| entry.name.as_deref() == Some(name));
    match bearer {
        // What can't be read is no reason to give the name away.
        Some(entry) if runs.read(entry).map_or(true, |run| run.ok) => Err(RunError::NameTaken {
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
    let mut logs = BTreeMap::new();
    let mut stages = Vec::with_capacity(report.stages.len());
    for stage in &report.stages {
        if let Some(log) = stage.error.as_ref().and_then(|error| error.log.as_deref()) {
            logs.insert(stage.name.as_str(), log);
        }
        let failure = |error: &Failure| RunFailure {
            message: error.message.clone(),
            system: error.system,
            log: None,
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
    let mut file = RunFile {
        format: crate::cache::FORMAT,
        name: options.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: started.to_string(),
        host: crate::host::name().to_owned(),
        pipeline: pipeline.file.clone(),
        targets: options.targets.clone(),
        ok: report.ok,
        interrupted: report.interrupted,
        seconds: report.seconds,
        stages,
    };
    runs.add(&mut file, &logs)?;
    Ok(())
}

/// What the workers share.
struct State {
    /// The stages that can be taken, by their place in the order.
    ready: BTreeSet<usize>,
    /// For each stage in the order, how many stages it still waits for.
    waits: BTreeMap<usize, usize>,
    /// The places of the stages that read a stage's outputs.
    readers: BTreeMap<usize, Vec<usize>>,
    /// The stage at each place in the order.
    order: Vec<usize>,
    /// The outputs of each stage that ended well.
    outputs: BTreeMap<usize, Arc<BTreeMap<String, Digest>>>,
    reports: BTreeMap<usize, StageReport>,
    /// What was skipped, and because of which stage.
    skipped: BTreeMap<usize, usize>,
    running: usize,
    stopped: bool,
}

impl State {
    fn new(pipeline: &Pipeline, wanted: &[usize]) -> Self {
        let mut state = Self {
            ready: BTreeSet::new(),
            waits: BTreeMap::new(),
            readers: BTreeMap::new(),
            order: wanted.to_vec(),
            outputs: BTreeMap::new(),
            reports: BTreeMap::new(),
            skipped: BTreeMap::new(),
            running: 0,
            stopped: false,
        };
        for (place, stage) in wanted.iter().enumerate() {
            let before: BTreeSet<usize> =
                pipeline.stages[*stage].inputs.values().flat_map(Input::stages).collect();
            if before.is_empty() {
                state.ready.insert(place);
            }
            state.waits.insert(place, before.len());
            for stage in before {
                state.readers.entry(stage).or_default().push(place);
            }
        }
        state
    }

    /// Lets the readers of a stage begin.
    fn release(&mut self, stage: usize, outputs: &BTreeMap<String, Digest>) {
        self.running -= 1;
        self.outputs.insert(stage, Arc::new(outputs.clone()));
        for place in self.readers.get(&stage).cloned().unwrap_or_default() {
            if let Some(waits) = self.waits.get_mut(&place) {
                *waits -= 1;
                if *waits == 0 {
                    self.ready.insert(place);
                }
            }
        }
    }

    /// Notes how a stage ended, and what follows from it.
    fn end(&mut self, stage: usize, report: StageReport, keep_going: bool) {
        let well = matches!(report.outcome, Outcome::Executed | Outcome::Reused);
        let released = self.outputs.contains_key(&stage);
        if well && !released {
            self.release(stage, &report.outputs);
        } else if !well {
            if !released {
                self.running -= 1;
            }
            self.skip_readers(stage);
            self.stopped |= !keep_going;
        }
        self.reports.insert(stage, report);
    }

    fn skip_readers(&mut self, cause: usize) {
        let mut open = vec![cause];
        while let Some(stage) = open.pop() {
            for place in self.readers.get(&stage).cloned().unwrap_or_default() {
                let reader = self.order[place];
                self.ready.remove(&place);
                if self.skipped.insert(reader, cause).is_none() {
                    open.push(reader);
                }
            }
        }
    }

    fn report(
        mut self,
        pipeline: &Pipeline,
        wanted: &[usize],
        observer: &dyn Observer,
        began: Instant,
        interrupted: bool,
    ) -> RunReport {
        let mut stages = Vec::with_capacity(wanted.len());
        for stage in wanted {
            let report = self.reports.remove(stage).unwrap_or_else(|| {
                let mut report = StageReport::new(&pipeline.stages[*stage].name, Outcome::Skipped);
                report.reason = match self.skipped.get(stage) {
                    Some(cause) => format!("`{}` did not succeed", pipeline.stages[*cause].name),
                    None => "the run was stopped".to_owned(),
                };
                observer.event(&Event::Ended(&report));
                report
            });
            stages.push(report);
        }
        let ok =
            stages.iter().all(|stage| matches!(stage.outcome, Outcome::Executed | Outcome::Reused));
        RunReport {
            ok,
            seconds: began.elapsed().as_secs_f64(),
            stages,
            interrupted: interrupted && !ok,
        }
    }
}

struct Run<'a> {
    pipeline: &'a Pipeline,
    cache: &'a Cache,
    observer: &'a dyn Observer,
    interrupt: &'a Interrupt,
    history: History,
    began: Instant,
    memo: Memo,
    /// Started when something has to be computed.
    threads: OnceLock<rayon::ThreadPool>,
    keep_going: bool,
    /// Keeps what the run uses from being collected.
    live: LiveRun,
    state: Mutex<State>,
    changed: Condvar,
    /// What stages of this run have begun to compute.
    computing: Mutex<BTreeSet<Fingerprint>>,
    /// What was found broken before any worker took its stage. What is corrupt at the first look is missing at the next.
    flaws: Mutex<BTreeMap<Fingerprint, Flaw>>,
}

/// What became of a stage, before it is put in a report.
enum End {
    Known {
        outputs: BTreeMap<String, Digest>,
        reason: String,
    },
    Made {
        bundle: Box<Bundle>,
        parts: Option<PartCount>,
        reason: String,
    },
    Failed {
        reason: String,
        failure: Failure,
    },
    /// It failed, and something that it read was found damaged.
    Damaged {
        reason: String,
        failure: Failure,
    },
    Interrupted,
}

/// How often a stage is tried again after something that it reads was found damaged and repaired.
const REPAIRS: usize = 3;

impl From<CacheError> for End {
    fn from(error: CacheError) -> Self {
        Self::Failed { reason: String::new(), failure: Failure::of_the_system(&error) }
    }
}

impl Run<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flaws(&self) -> MutexGuard<'_, BTreeMap<Fingerprint, Flaw>> {
        self.flaws.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn threads(&self) -> &rayon::ThreadPool {
        self.threads.get().unwrap_or_else(|| unreachable!("they are started before any stage is"))
    }

    /// Ends the stages whose results are known without reading any file of the user's. Whether some are left.
    fn survey(&self) -> bool {
        let mut left = Vec::new();
        while !self.interrupt.is_requested() {
            let Some(place) = self.lock().ready.pop_first() else { break };
            let index = self.lock().order[place];
            let (began, node) = (self.began.elapsed(), &self.pipeline.stages[index]);
            let before = self.before(index);
            let resolved =
                resolve(node, &self.memo, Reading::No, |stage, output| before[&stage][output]);
            let known = resolved.ok().and_then(|resolved| {
                let fingerprint = resolved.fingerprint;
                self.live.uses(fingerprint);
                match look_up_outputs(self.cache, &self.memo, fingerprint) {
                    Ok(Known::Complete(outputs)) => Some((fingerprint, outputs)),
                    Ok(Known::Broken(flaw)) => {
                        self.flaws().insert(fingerprint, flaw);
                        None
                    }
                    // What goes wrong does so again for the worker that takes the stage, which tells it.
                    Ok(Known::Nothing) | Err(_) => None,
                }
            });
            let Some((fingerprint, outputs)) = known else {
                left.push(place);
                continue;
            };
            let mut report = StageReport::new(&node.name, Outcome::Reused);
            report.fingerprint = Some(fingerprint);
            report.reason = why_reused(&self.history, &node.name, fingerprint).to_string();
            report.outputs = outputs;
            report.began = began.as_secs_f64();
            report.seconds = self.began.elapsed().saturating_sub(began).as_secs_f64();
            report.worker = Some(0);
            self.observer.event(&Event::Ended(&report));
            let mut state = self.lock();
            state.running += 1;
            state.end(index, report, self.keep_going);
        }
        let mut state = self.lock();
        state.ready.extend(left);
        !state.ready.is_empty()
    }

    /// Works on what is left, with `jobs` workers, until all is published.
    fn execute(&self, jobs: usize, stages: usize) -> Result<(), RunError> {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(jobs).stack_size(8 << 20).build();
        let threads = threads.map_err(|source| RunError::Threads { jobs, source })?;
        self.threads.get_or_init(|| threads);
        // It keeps what was read while it was published.
        let publisher = Publisher::new(self.cache);
        thread::scope(|scope| {
            scope.spawn(|| publisher.serve());
            thread::scope(|scope| {
                for worker in 0..jobs.min(stages) {
                    let publisher = &publisher;
                    scope.spawn(move || self.work(worker, publisher));
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
        stages.map(|stage| (stage, Arc::clone(&state.outputs[&stage]))).collect()
    }

    /// Takes ready stages until there are none and none will come.
    fn work<'r>(&'r self, worker: usize, publisher: &Publisher<'r>) {
        loop {
            let mut state = self.lock();
            let stage = loop {
                if state.stopped || self.interrupt.is_requested() {
                    return;
                }
                if let Some(place) = state.ready.pop_first() {
                    break state.order[place];
                }
                if state.running == 0 {
                    return;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            state.running += 1;
            drop(state);
            // A stage that panics must end like one that fails: the others wait for its end.
            let began = self.began.elapsed();
            let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                self.stage(stage, publisher)
            }));
            let (mut report, bundle) = tried.unwrap_or_else(|panic| {
                let mut report =
                    StageReport::new(&self.pipeline.stages[stage].name, Outcome::Failed);
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text =
                    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("unknown cause");
                let message = format!("the stage panicked, which is a fault of the stage: {text}");
                report.error = Some(Failure { message, log: None, system: false });
                (report, None)
            });
            report.began = began.as_secs_f64();
            report.seconds = self.began.elapsed().saturating_sub(began).as_secs_f64();
            report.worker = Some(worker);
            match bundle {
                Some(bundle) => self.publish(publisher, stage, report, *bundle),
                None => self.end(stage, report),
            }
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

    /// What became of a stage; what is to be published before it has ended comes with it.
    fn stage(&self, index: usize, publisher: &Publisher<'_>) -> (StageReport, Option<Box<Bundle>>) {
        let node = &self.pipeline.stages[index];
        let mut report = StageReport::new(&node.name, Outcome::Failed);
        let mut made = None;
        let mut end = self.try_stage(index, &mut report, publisher);
        for _ in 0..REPAIRS {
            if !matches!(end, End::Damaged { .. }) {
                break;
            }
            end = match self.repair_inputs(index, publisher) {
                Ok(()) => self.try_stage(index, &mut report, publisher),
                Err(end) => end,
            };
        }
        match end {
            End::Known { outputs, reason } => {
                report.outcome = Outcome::Reused;
                report.reason = reason;
                report.outputs = outputs;
            }
            End::Made { bundle, parts, reason } => {
                report.outcome = Outcome::Executed;
                report.reason = reason;
                report.outputs.clone_from(&bundle.record.outputs);
                report.parts = parts;
                made = Some(bundle);
            }
            End::Failed { reason, failure } | End::Damaged { reason, failure } => {
                report.reason = reason;
                report.error = Some(failure);
            }
            End::Interrupted => {
                report.outcome = Outcome::Skipped;
                "the run was stopped".clone_into(&mut report.reason);
            }
        }
        (report, made)
    }

    fn try_stage(&self, index: usize, report: &mut StageReport, publisher: &Publisher<'_>) -> End {
        let node = &self.pipeline.stages[index];
        let before = self.before(index);
        match self.resolve(node, |stage, output| before[&stage][output]) {
            Ok(resolved) => {
                report.fingerprint = Some(resolved.fingerprint);
                self.live.uses(resolved.fingerprint);
                self.settle(index, &resolved, publisher).unwrap_or_else(|end| end)
            }
            Err(ResolveError::Cache(error)) => error.into(),
            Err(error) => End::Failed {
                reason: String::new(),
                failure: Failure { message: chain(&error), log: None, system: false },
            },
        }
    }

    /// Has the stages before this one run again whose outputs were found damaged.
    fn repair_inputs(&self, index: usize, publisher: &Publisher<'_>) -> Result<(), End> {
        let inputs = self.pipeline.stages[index].inputs.values();
        for stage in inputs.flat_map(Input::stages) {
            let outputs = Arc::clone(&self.lock().outputs[&stage]);
            if !outputs.values().any(|digest| self.cache.is_damaged(*digest)) {
                continue;
            }
            let (mut report, bundle) = self.stage(stage, publisher);
            if let Some(bundle) = bundle
                && let Publication::Stands(there) = publisher.publish(*bundle)?
            {
                report.outputs = there.outputs;
            }
            match report.outcome {
                Outcome::Executed | Outcome::Reused => {}
                Outcome::Skipped => return Err(End::Interrupted),
                _ => {
                    let message = format!("what `{}` had made is damaged", report.name);
                    let failure =
                        report.error.unwrap_or(Failure { message, log: None, system: true });
                    return Err(End::Failed { reason: report.reason, failure });
                }
            }
            for digest in outputs.values() {
                self.cache.forget_damage(*digest);
            }
            let mut state = self.lock();
            state.outputs.insert(stage, Arc::new(report.outputs.clone()));
            if report.outcome == Outcome::Executed {
                state.reports.insert(stage, report);
            }
        }
        Ok(())
    }

    fn resolve(
        &self,
        node: &StageNode,
        output: impl Fn(usize, &str) -> Digest + Send,
    ) -> Result<Resolved, ResolveError> {
        let resolve = || resolve(node, &self.memo, Reading::Yes, output);
        let reads = match &node.task {
            Task::Command(command) => !command.files.is_empty(),
            Task::Kind { .. } | Task::Select(_) => false,
        };
        if reads || node.inputs.values().any(|input| matches!(input, Input::File { .. })) {
            self.threads().install(resolve)
        } else {
            resolve()
        }
    }

    /// Finds the result of a stage, or makes it. The error is an end, too.
    fn settle(
        &self,
        index: usize,
        resolved: &Resolved,
        publisher: &Publisher<'_>,
    ) -> Result<End, End> {
        let node = &self.pipeline.stages[index];
        let warn =
            |message: &str| self.observer.event(&Event::Warning { stage: &node.name, message });
        let mut damage = None;
        match look_up_outputs(self.cache, &self.memo, resolved.fingerprint)? {
            Known::Complete(outputs) => {
                let why = why_reused(&self.history, &node.name, resolved.fingerprint);
                return Ok(End::Known { outputs, reason: why.to_string() });
            }
            Known::Nothing => {}
            Known::Broken(flaw) => {
                damage = self.flaws().remove(&resolved.fingerprint).or(Some(flaw));
            }
        }
        let twin = {
            let mut computing = self.computing.lock().unwrap_or_else(PoisonError::into_inner);
            !computing.insert(resolved.fingerprint)
        };
        let lease = self.lease(node.name.as_str(), resolved.fingerprint, twin)?;
        // Someone else may have computed it while this process waited for the lease.
        match look_up_outputs(self.cache, &self.memo, resolved.fingerprint)? {
            Known::Complete(outputs) => {
                let who = if twin { "for another stage" } else { "by another process" };
                return Ok(End::Known { outputs, reason: format!("computed {who}") });
            }
            Known::Nothing => {}
            Known::Broken(flaw) => {
                // What was corrupt at the first look is missing at the second.
                let flaw = damage.take().unwrap_or(flaw);
                self.cache.quarantine_record(resolved.fingerprint)?;
                warn(&format!("{flaw}; the stage is executed again"));
                damage = Some(flaw);
            }
        }
        let why = match &damage {
            Some(flaw) => Why::Damaged { flaw: flaw.to_string() },
            None => why_executed(Some(self.cache), &self.history, &node.name, resolved),
        };
        let reason = why.to_string();
        self.observer.event(&Event::Started { stage: &node.name, reason: &reason });
        let damaged_before = self.cache.times_damaged();
        let staging = Arc::new(Staging::new(self.cache)?);
        let attempt = Attempt {
            node,
            resolved,
            cache: self.cache,
            staging: &staging,
            publisher,
            threads: self.threads(),
            interrupt: self.interrupt,
            exactness: exactness(node),
            keep_going: self.keep_going,
            progress: &|done, total, unit| {
                self.observer.event(&Event::Progress { stage: &node.name, done, total, unit });
            },
        };
        match execute(&attempt, lease) {
            Ok((bundle, parts)) => Ok(End::Made { bundle: Box::new(bundle), parts, reason }),
            Err(failed) if failed.interrupted => Err(End::Interrupted),
            Err(failed) if self.cache.times_damaged() > damaged_before => {
                let failure = Failure { system: true, ..failed.failure };
                Err(End::Damaged { reason, failure })
            }
            Err(failed) => Err(End::Failed { reason, failure: failed.failure }),
        }
    }

    /// Waits for the lease, telling for whom unless it is a `twin`, a stage of this run that comes to the same.
    fn lease(&self, stage: &str, fingerprint: Fingerprint, twin: bool) -> Result<Lease, End> {
        let (mut seen, mut told) = (String::new(), String::new());
        loop {
            match self.cache.lease(fingerprint) {
                Ok(lease) => return Ok(lease),
                Err(LeaseError::Cache(error)) => return Err(error.into()),
                Err(LeaseError::Held(owner)) => {
                    // Who is seen twice is the owner; at first sight it may be a former one, not yet written over.
                    if owner == seen && owner != told && !owner.is_empty() && !twin {
                        self.observer.event(&Event::Waiting { stage, owner: &owner });
                        told.clone_from(&owner);
                    }
                    seen = owner;
                    if self.interrupt.is_requested() {
                        return Err(End::Interrupted);
                    }
                    thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }
}
