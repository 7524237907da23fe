//! How far a run is: which stages wait, can be taken, and have ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use super::sought::Sought;
use crate::{
    base::{digest::Digest, outcome::Outcome},
    cache::wait::LOOK,
    execute::events::{Event, Observer},
    graph::{Input, Pipeline},
    plan::run_report::{RunReport, StageReport},
};

/// A stage that a worker has taken.
pub(super) struct Task {
    /// Its place in the order.
    pub(super) place: usize,
    pub(super) stage: usize,
    /// What is known of it from an earlier turn.
    pub(super) sought: Option<Box<Sought>>,
    /// Whether it is to be said that somebody else computes it.
    pub(super) tells: bool,
}

/// A stage that somebody else computes.
struct Aside {
    sought: Box<Sought>,
    /// When to look at it again.
    due: Instant,
}

/// What the workers share.
pub(super) struct RunState {
    /// The stages that can be taken, by their place in the order.
    pub(super) ready: BTreeSet<usize>,
    /// Those that somebody else computes, likewise.
    aside: BTreeMap<usize, Aside>,
    /// For each place in the order, how many stages its stage still waits for.
    waits: Vec<usize>,
    /// For each stage, the places of those that read its outputs.
    readers: Vec<Vec<usize>>,
    /// The stage at each place in the order.
    pub(super) order: Vec<usize>,
    /// The outputs of each stage that ended well.
    pub(super) outputs: Vec<Option<Arc<BTreeMap<String, Digest>>>>,
    /// For each stage, how it ended.
    pub(super) reports: Vec<Option<StageReport>>,
    /// What was skipped, and because of which stage.
    skipped: BTreeMap<usize, usize>,
    pub(super) running: usize,
    pub(super) stopped: bool,
}

impl RunState {
    pub(super) fn new(pipeline: &Pipeline, wanted: &[usize]) -> Self {
        let mut state = Self {
            ready: BTreeSet::new(),
            aside: BTreeMap::new(),
            waits: Vec::with_capacity(wanted.len()),
            readers: vec![Vec::new(); pipeline.stages.len()],
            order: wanted.to_vec(),
            outputs: vec![None; pipeline.stages.len()],
            reports: vec![None; pipeline.stages.len()],
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
            state.waits.push(before.len());
            for stage in before {
                state.readers[stage].push(place);
            }
        }
        state
    }

    /// Takes a stage to work on: one that somebody else had when it was looked at last, if it is time to look again, else the
    /// first that is ready.
    pub(super) fn take(&mut self, now: Instant) -> Option<Task> {
        let due = self.aside.iter().find(|(_, aside)| aside.due <= now).map(|(place, _)| *place);
        // Of many that are waited for it is enough to name the first, when nothing else is done.
        let tells = self.ready.is_empty() && due == self.aside.keys().next().copied();
        let place = due.or_else(|| self.ready.pop_first())?;
        let sought = self.aside.remove(&place).map(|aside| aside.sought);
        self.running += 1;
        Some(Task { place, stage: self.order[place], tells, sought })
    }

    /// Puts aside a stage that somebody else computes.
    pub(super) fn set_aside(&mut self, place: usize, sought: Box<Sought>) {
        self.running -= 1;
        // What it reads may have failed since.
        if !self.skipped.contains_key(&self.order[place]) {
            self.aside.insert(place, Aside { sought, due: Instant::now() + LOOK });
        }
    }

    /// When to look again at what somebody else computes.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.aside.values().map(|aside| aside.due).min()
    }

    /// The outputs of a stage that another one waited for.
    pub(super) fn outputs(&self, stage: usize) -> Arc<BTreeMap<String, Digest>> {
        let outputs = self.outputs[stage].clone();
        outputs.unwrap_or_else(|| unreachable!("those that it waits for ended well"))
    }

    /// Lets the readers of a stage begin.
    pub(super) fn release(&mut self, stage: usize, outputs: &BTreeMap<String, Digest>) {
        self.running -= 1;
        self.outputs[stage] = Some(Arc::new(outputs.clone()));
        for &place in &self.readers[stage] {
            self.waits[place] -= 1;
            if self.waits[place] == 0 {
                self.ready.insert(place);
            }
        }
    }

    /// Notes how a stage ended, and what follows from it.
    pub(super) fn end(&mut self, stage: usize, report: StageReport, keep_going: bool) {
        let well = matches!(report.outcome, Outcome::Executed | Outcome::Reused);
        let released = self.outputs[stage].is_some();
        if well && !released {
            self.release(stage, &report.outputs);
        } else if !well {
            if !released {
                self.running -= 1;
            }
            self.skip_readers(stage);
            self.stopped |= !keep_going;
        }
        self.reports[stage] = Some(report);
    }

    fn skip_readers(&mut self, cause: usize) {
        let mut open = vec![cause];
        while let Some(stage) = open.pop() {
            for place in &self.readers[stage] {
                let reader = self.order[*place];
                self.ready.remove(place);
                self.aside.remove(place);
                if self.skipped.insert(reader, cause).is_none() {
                    open.push(reader);
                }
            }
        }
    }

    pub(super) fn report(
        mut self,
        pipeline: &Pipeline,
        wanted: &[usize],
        observer: &dyn Observer,
        began: Instant,
        interrupted: bool,
    ) -> RunReport {
        let mut stages = Vec::with_capacity(wanted.len());
        for stage in wanted {
            let report = self.reports[*stage].take().unwrap_or_else(|| {
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
