//! The workers: they take ready stages until there are none.

use std::{sync::PoisonError, thread, time::Instant};

use super::{run::Run, state::Task, task::Turn};
use crate::{
    artifact::input_file::Reading,
    base::{outcome::Outcome, parallel},
    cache::{Bundle, CacheError, FEW, Publication, Publisher},
    execute::events::Event,
    plan::{
        error::RunError,
        explain::why_reused,
        resolve::{Known, fingerprint, look_up_outputs},
        run_report::{Failure, StageReport},
    },
};

impl Run<'_> {
    /// Ends the stages whose results are known without reading any file of the user's; looks at up to `jobs` at a time.
    /// Whether some are left.
    pub(super) fn survey(&self, jobs: usize) -> bool {
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
    pub(super) fn start_workers(
        &self,
        jobs: usize,
        threads: usize,
        stages: usize,
    ) -> Result<(), RunError> {
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
                Ok(Turn::Ended(report, bundle)) => (*report, bundle),
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
