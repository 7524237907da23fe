//! What becomes of one stage: its result is found, or made, and what it reads is made again if it is damaged.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
};

use super::{Run, RunState};
use crate::{
    artifact::{input_error::InputFileError, input_file::Reading},
    base::{
        chain::chain,
        digest::{Digest, Fingerprint},
        outcome::Outcome,
    },
    cache::{
        Bundle, CacheError, Lease, Publication, Publisher, Staging,
        wait::{Vain, Wait, wait_for_lease},
    },
    execute::{attempt::Attempt, events::Event, execute::execute_stage},
    graph::{Input, StageNode, Task},
    plan::{
        explain::{Why, why_executed, why_reused},
        resolve::{Known, ResolveError, Resolved, exactness, look_up_outputs, resolve},
        run_report::{Failure, PartCount, StageReport},
    },
};

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
        failure: Box<Failure>,
    },
    /// It failed, and something that it read was found damaged.
    Damaged {
        reason: String,
        failure: Box<Failure>,
    },
    /// What it reads came to nothing while it ran.
    Bereft {
        reason: String,
    },
    /// It was stopped; with what its command had printed.
    Interrupted(Option<Box<Failure>>),
}

/// How often a stage is tried again after something that it reads was found damaged and repaired.
const REPAIRS: usize = 3;

impl From<CacheError> for End {
    fn from(error: CacheError) -> Self {
        let failure = Box::new(Failure::of_the_system(&error));
        Self::Failed { reason: String::new(), failure }
    }
}

impl Run<'_> {
    /// What became of a stage; what is to be published before it has ended comes with it.
    pub(super) fn stage(
        &self,
        index: usize,
        publisher: &Publisher<'_>,
    ) -> (StageReport, Option<Box<Bundle>>) {
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
                report.error = Some(*failure);
            }
            End::Bereft { reason } => {
                report.outcome = Outcome::Skipped;
                report.reason = reason;
            }
            End::Interrupted(failure) => {
                report.outcome = Outcome::Skipped;
                "the run was stopped".clone_into(&mut report.reason);
                report.error =
                    failure.filter(|failure| failure.whole_log.is_some()).map(|failure| *failure);
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
            Err(ResolveError::Input { source: InputFileError::Interrupted(_), .. }) => {
                End::Interrupted(None)
            }
            Err(error) => End::Failed {
                reason: String::new(),
                failure: Box::new(Failure::new(chain(&error), false)),
            },
        }
    }

    /// Waits for the end of a stage whose readers could begin before it, and says whether it ended well.
    fn ended_well(&self, stage: usize) -> bool {
        let open = |state: &mut RunState| state.reports[stage].is_none();
        let state = self.changed.wait_while(self.lock(), open);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let report = state.reports[stage].as_ref();
        report.is_some_and(|end| matches!(end.outcome, Outcome::Executed | Outcome::Reused))
    }

    /// Has the stages before this one run again whose outputs were found damaged.
    fn repair_inputs(&self, index: usize, publisher: &Publisher<'_>) -> Result<(), End> {
        let inputs = self.pipeline.stages[index].inputs.values();
        for stage in inputs.flat_map(Input::stages) {
            let outputs = self.lock().outputs(stage);
            if !outputs.values().any(|digest| self.cache.is_damaged(*digest)) {
                continue;
            }
            if !self.ended_well(stage) {
                let name = &self.pipeline.stages[stage].name;
                return Err(End::Bereft { reason: format!("`{name}` did not succeed") });
            }
            let (mut report, bundle) = self.stage(stage, publisher);
            if let Some(bundle) = bundle
                && let Publication::Stands(there) = publisher.publish(*bundle)?
            {
                report.outputs = there.outputs;
            }
            match report.outcome {
                Outcome::Executed | Outcome::Reused => {}
                Outcome::Skipped => return Err(End::Interrupted(None)),
                _ => {
                    let message = format!("what `{}` had made is damaged", report.name);
                    let failure = report.error.unwrap_or_else(|| Failure::new(message, true));
                    let failure = Box::new(failure);
                    return Err(End::Failed { reason: report.reason, failure });
                }
            }
            for digest in outputs.values() {
                self.cache.forget_damage(*digest);
            }
            let mut state = self.lock();
            state.outputs[stage] = Some(Arc::new(report.outputs.clone()));
            if report.outcome == Outcome::Executed {
                state.reports[stage] = Some(report);
            }
        }
        Ok(())
    }

    fn resolve(
        &self,
        node: &StageNode,
        output: impl Fn(usize, &str) -> Digest + Send,
    ) -> Result<Resolved, ResolveError> {
        let resolve = || resolve(node, &self.files, Reading::Yes(self.interrupt), output);
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
        match look_up_outputs(self.cache, self.files.memo(), node, resolved.fingerprint)? {
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
        match look_up_outputs(self.cache, self.files.memo(), node, resolved.fingerprint)? {
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
        let tell = |text: &str| self.observer.event(&Event::Printed { stage: &node.name, text });
        let attempt = Attempt {
            node,
            resolved,
            cache: self.cache,
            staging: &staging,
            publisher,
            threads: self.threads(),
            jobs: self.jobs,
            permits: &self.permits,
            interrupt: self.interrupt,
            placement: &self.placement,
            exactness: exactness(node),
            keep_going: self.keep_going,
            progress: &|done, total, unit| {
                self.live.progress(&node.name, done, total, unit);
                self.observer.event(&Event::Progress { stage: &node.name, done, total, unit });
            },
            warn: &warn,
            waits: &|wait| self.observer.event(&Event::Waiting { stage: &node.name, wait }),
            tell: self.follow.then_some(&tell),
            began: &|sandbox| self.live.works_in(&node.name, sandbox),
        };
        self.live.begins(&node.name, resolved.fingerprint);
        let executed = execute_stage(&attempt, lease);
        self.live.ends(&node.name);
        match executed {
            Ok((bundle, parts)) => Ok(End::Made { bundle: Box::new(bundle), parts, reason }),
            Err(failed) if failed.interrupted => {
                Err(End::Interrupted(Some(Box::new(failed.failure))))
            }
            Err(failed) if self.cache.times_damaged() > damaged_before => {
                let failure = Box::new(Failure { system: true, ..failed.failure });
                Err(End::Damaged { reason, failure })
            }
            Err(failed) => Err(End::Failed { reason, failure: Box::new(failed.failure) }),
        }
    }

    /// Waits for the lease, telling for whom unless it is a `twin`, a stage of this run that comes to the same.
    fn lease(&self, stage: &str, fingerprint: Fingerprint, twin: bool) -> Result<Lease, End> {
        let tell = |wait: Wait<'_>| {
            if !twin {
                self.observer.event(&Event::Waiting { stage, wait });
            }
        };
        wait_for_lease(self.cache, fingerprint, self.interrupt, tell).map_err(|vain| match vain {
            Vain::Cache(error) => error.into(),
            Vain::Interrupted(_) => End::Interrupted(None),
        })
    }
}
