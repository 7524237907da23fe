//! How a run begins and ends.

use std::{
    sync::{Condvar, Mutex, OnceLock, PoisonError},
    time::Instant,
};

use super::{run::Run, state::RunState};
use crate::{
    artifact::input_files::InputFiles,
    base::{chain::chain, interrupt::Interrupt, parallel, permits::Permits},
    cache::{Cache, CacheError, RunFailure, RunFile, Runs, StageRun, Staging},
    execute::events::{Event, Observer},
    graph::{Pipeline, is_run_name},
    plan::{
        error::RunError,
        history::History,
        needed::needed,
        run_report::{Failure, RunReport},
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
