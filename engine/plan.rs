//! What a run would do, and why, doing nothing.

use std::{collections::BTreeMap, time::Instant};

use crate::{
    cache::Cache,
    digest::Digest,
    explain::{chain, why_executed, why_reused},
    pipeline::{Input, Pipeline},
    report::{Failure, Outcome, RunReport, StageReport},
    resolve::{Known, ResolveError, look_up, resolve},
    schedule::{RUNS_BACK, RunError, needed},
};

/// Says what [`run`](crate::run) would do, doing nothing. Without a cache, nothing is known.
///
/// # Errors
/// When the cache can't be read.
pub fn plan(
    pipeline: &Pipeline,
    cache: Option<&Cache>,
    targets: &[String],
) -> Result<RunReport, RunError> {
    let began = Instant::now();
    let wanted = needed(pipeline, targets)?;
    let last = match cache {
        Some(cache) => cache.runs(&pipeline.file).last_fingerprints(RUNS_BACK)?,
        None => BTreeMap::new(),
    };
    let mut outputs: BTreeMap<usize, BTreeMap<String, Digest>> = BTreeMap::new();
    let mut stages = Vec::new();
    for &index in &wanted {
        let node = &pipeline.stages[index];
        let mut report = StageReport::new(&node.name, Outcome::Unknown);
        let waits = node.inputs.values().find_map(|input| match input {
            Input::Output { stage, .. } if !outputs.contains_key(stage) => Some(*stage),
            _ => None,
        });
        if let Some(stage) = waits {
            report.reason =
                format!("depends on `{}`, which has no result yet", pipeline.stages[stage].name);
            stages.push(report);
            continue;
        }
        match resolve(node, |stage, output| outputs[&stage][output]) {
            Err(ResolveError::Cache(error)) => return Err(error.into()),
            Err(error) => {
                report.outcome = Outcome::Failed;
                let message = chain(&error);
                report.error = Some(Failure { message, log: None, system: false });
            }
            Ok(resolved) => {
                let known = match cache {
                    Some(cache) => look_up(cache, resolved.fingerprint)?,
                    None => Known::Nothing,
                };
                report.fingerprint = Some(resolved.fingerprint);
                match known {
                    Known::Complete(record) => {
                        report.outcome = Outcome::WouldReuse;
                        report.reason = why_reused(&last, &node.name, resolved.fingerprint);
                        report.outputs = record.outputs.clone();
                        outputs.insert(index, record.outputs);
                    }
                    Known::Nothing => {
                        report.outcome = Outcome::WouldExecute;
                        report.reason = why_executed(cache, &last, &node.name, &resolved);
                    }
                    Known::Broken(flaw) => {
                        report.outcome = Outcome::WouldExecute;
                        report.reason = format!("its result was damaged: {flaw}");
                    }
                }
            }
        }
        stages.push(report);
    }
    let ok = stages.iter().all(|stage| stage.outcome != Outcome::Failed);
    Ok(RunReport { ok, seconds: began.elapsed().as_secs_f64(), stages, interrupted: false })
}
