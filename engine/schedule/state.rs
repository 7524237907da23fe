//! How far a run is: which stages wait, can be taken, and have ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use crate::{
    digest::Digest,
    events::{Event, Observer},
    pipeline::{Input, Pipeline},
    report::{Outcome, RunReport, StageReport},
};

/// What the workers share.
pub(super) struct State {
    /// The stages that can be taken, by their place in the order.
    pub(super) ready: BTreeSet<usize>,
    /// For each stage in the order, how many stages it still waits for.
    waits: BTreeMap<usize, usize>,
    /// The places of the stages that read a stage's outputs.
    readers: BTreeMap<usize, Vec<usize>>,
    /// The stage at each place in the order.
    pub(super) order: Vec<usize>,
    /// The outputs of each stage that ended well.
    pub(super) outputs: BTreeMap<usize, Arc<BTreeMap<String, Digest>>>,
    pub(super) reports: BTreeMap<usize, StageReport>,
    /// What was skipped, and because of which stage.
    skipped: BTreeMap<usize, usize>,
    pub(super) running: usize,
    pub(super) stopped: bool,
}

impl State {
    pub(super) fn new(pipeline: &Pipeline, wanted: &[usize]) -> Self {
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
    pub(super) fn release(&mut self, stage: usize, outputs: &BTreeMap<String, Digest>) {
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
    pub(super) fn end(&mut self, stage: usize, report: StageReport, keep_going: bool) {
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
