//! What becomes of one stage: its result is found, or made, and what it reads is made again if it is damaged.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    thread,
};

use super::{run::Run, sought::Sought, state::RunState};
use crate::{
    artifact::{input_error::InputFileError, input_file::Reading},
    base::{chain::chain, digest::Digest, outcome::Outcome},
    cache::{
        Bundle, CacheError, Lease, Publication, Publisher, Staging,
        wait::{LOOK, Wait, Waiting},
    },
    execute::{
        attempt::Attempt,
        events::Event,
        execute::{execute_stage, has_parts, help_stage},
    },
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
    /// What it reads failed while it ran.
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

/// What came of a turn at a stage.
pub(super) enum Turn {
    /// It ended. What is to be published before it has truly ended comes with the report.
    Ended(Box<StageReport>, Option<Box<Bundle>>),
    /// Somebody else computes it now.
    Busy(Box<Sought>),
}

impl Run<'_> {
    /// Takes a stage's turn, which is its first unless it was `sought` before. Where somebody else computes it, this doesn't
    /// wait; if it `tells`, it is said who does.
    pub(super) fn turn(
        &self,
        index: usize,
        sought: Option<Box<Sought>>,
        tells: bool,
        publisher: &Publisher<'_>,
    ) -> Turn {
        let mut report = StageReport::new(&self.pipeline.stages[index].name, Outcome::Failed);
        let tried = sought.map_or_else(|| self.seek(index, &mut report).map(Box::new), Ok);
        let tried = tried.and_then(|mut sought| {
            report.fingerprint = Some(sought.resolved.fingerprint);
            Ok((self.claim(index, &mut sought, tells)?, sought))
        });
        let end = match tried {
            Ok((None, mut sought)) => match self.may_help(index, &mut sought, publisher) {
                Ok(()) => return Turn::Busy(sought),
                Err(end) => end,
            },
            Ok((Some(lease), sought)) => {
                self.compute(index, *sought, lease, publisher).unwrap_or_else(|end| end)
            }
            Err(end) => end,
        };
        let (report, bundle) = self.finish(index, end, report, publisher);
        Turn::Ended(Box::new(report), bundle)
    }

    /// What becomes of a stage, however long somebody else computes it.
    fn stage(&self, index: usize, publisher: &Publisher<'_>) -> (StageReport, Option<Box<Bundle>>) {
        let mut report = StageReport::new(&self.pipeline.stages[index].name, Outcome::Failed);
        let end = self.try_stage(index, &mut report, publisher);
        self.finish(index, end, report, publisher)
    }

    /// Puts in a report how a stage ended, after what it read and was damaged was repaired.
    fn finish(
        &self,
        index: usize,
        mut end: End,
        mut report: StageReport,
        publisher: &Publisher<'_>,
    ) -> (StageReport, Option<Box<Bundle>>) {
        let mut made = None;
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
        let tried = self.seek(index, report).and_then(|mut sought| {
            loop {
                if let Some(lease) = self.claim(index, &mut sought, true)? {
                    return self.compute(index, sought, lease, publisher);
                }
                self.interrupt.check().map_err(|_| End::Interrupted(None))?;
                thread::sleep(LOOK);
            }
        });
        tried.unwrap_or_else(|end| end)
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

    /// Looks for the result of a stage. The error is an end, too: it is known.
    fn seek(&self, index: usize, report: &mut StageReport) -> Result<Sought, End> {
        let node = &self.pipeline.stages[index];
        let before = self.before(index);
        let resolved = match self.resolve(node, |stage, output| before[&stage][output]) {
            Ok(resolved) => resolved,
            Err(ResolveError::Cache(error)) => return Err(error.into()),
            Err(ResolveError::Input { source: InputFileError::Interrupted(_), .. }) => {
                return Err(End::Interrupted(None));
            }
            Err(error) => {
                let failure = Box::new(Failure::new(chain(&error), false));
                return Err(End::Failed { reason: String::new(), failure });
            }
        };
        let fingerprint = resolved.fingerprint;
        report.fingerprint = Some(fingerprint);
        self.live.uses(fingerprint);
        let damage = match look_up_outputs(self.cache, self.files.memo(), node, fingerprint)? {
            Known::Complete(outputs) => {
                let why = why_reused(&self.history, &node.name, fingerprint);
                return Err(End::Known { outputs, reason: why.to_string() });
            }
            Known::Nothing => None,
            Known::Broken(flaw) => self.flaws().remove(&fingerprint).or(Some(flaw)),
        };
        let mut computing = self.computing.lock().unwrap_or_else(PoisonError::into_inner);
        let twin = !computing.insert(fingerprint);
        Ok(Sought { resolved, damage, twin, helped: false, waiting: Waiting::new() })
    }

    /// Takes the right to compute a stage, unless somebody has it; if it `tells`, it is said which other process that is.
    fn claim(&self, index: usize, sought: &mut Sought, tells: bool) -> Result<Option<Lease>, End> {
        let stage = &self.pipeline.stages[index].name;
        let Sought { resolved, twin, waiting, .. } = sought;
        let tell = |wait: Wait<'_>| {
            if tells {
                self.observer.event(&Event::Waiting { stage, wait });
            }
        };
        let lease = waiting.look(self.cache, resolved.fingerprint, tell)?;
        *twin |= waiting.is_ours();
        Ok(lease)
    }

    /// Makes the result of a stage, unless somebody else has made it meanwhile. The error is an end, too.
    fn compute(
        &self,
        index: usize,
        sought: Sought,
        lease: Lease,
        publisher: &Publisher<'_>,
    ) -> Result<End, End> {
        let Sought { resolved, mut damage, twin, .. } = sought;
        let (node, resolved) = (&self.pipeline.stages[index], &resolved);
        let warn =
            |message: &str| self.observer.event(&Event::Warning { stage: &node.name, message });
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
        let executed =
            self.attempt(node, resolved, publisher, |attempt| execute_stage(attempt, lease))?;
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

    /// Helps another process with a stage that has parts, once, as soon as it was seen twice that it computes it.
    fn may_help(
        &self,
        index: usize,
        sought: &mut Sought,
        publisher: &Publisher<'_>,
    ) -> Result<(), End> {
        let Sought { resolved, twin, helped, waiting, .. } = sought;
        let may = !*twin && !*helped && waiting.is_confirmed();
        if may && has_parts(&self.pipeline.stages[index].task) {
            *helped = true;
            self.help(index, resolved, publisher)?;
        }
        Ok(())
    }

    /// Computes parts of a stage that another process computes, too. The error is an end.
    fn help(
        &self,
        index: usize,
        resolved: &Resolved,
        publisher: &Publisher<'_>,
    ) -> Result<(), End> {
        let node = &self.pipeline.stages[index];
        let reason = "another process computes it, and may be helped";
        self.observer.event(&Event::Started { stage: &node.name, reason });
        match self.attempt(node, resolved, publisher, help_stage)? {
            Ok(()) => Ok(()),
            Err(failed) if failed.interrupted => {
                Err(End::Interrupted(Some(Box::new(failed.failure))))
            }
            Err(failed) => {
                Err(End::Failed { reason: reason.to_owned(), failure: Box::new(failed.failure) })
            }
        }
    }

    /// Does `act` with all that it takes to execute a stage, which is told of meanwhile.
    fn attempt<T>(
        &self,
        node: &StageNode,
        resolved: &Resolved,
        publisher: &Publisher<'_>,
        act: impl FnOnce(&Attempt<'_, '_>) -> T,
    ) -> Result<T, CacheError> {
        let warn =
            |message: &str| self.observer.event(&Event::Warning { stage: &node.name, message });
        let tell = |text: &str| self.observer.event(&Event::Printed { stage: &node.name, text });
        let staging = Arc::new(Staging::new(self.cache)?);
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
        let acted = act(&attempt);
        self.live.ends(&node.name);
        Ok(acted)
    }
}
