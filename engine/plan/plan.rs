//! What a run would do, and why, doing nothing.

use std::{collections::BTreeMap, time::Instant};

use super::{
    error::RunError,
    explain::{Why, why_executed, why_reused},
    history::History,
    needed::needed,
    resolve::{Known, ResolveError, look_up_outputs, resolve},
    run_report::{Failure, RunReport, StageReport},
};
use crate::{
    artifact::{input_file::Reading, input_files::InputFiles},
    base::{chain::chain, digest::Digest, interrupt::Interrupt, outcome::Outcome},
    cache::{Cache, Recipe, StatCache},
    graph::{Input, Pipeline},
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
    plan_with(pipeline, cache, targets, |_, _| ())
}

/// Plans, and gives `see` the recipe of each stage, by its number, that is known so far.
pub(crate) fn plan_with(
    pipeline: &Pipeline,
    cache: Option<&Cache>,
    targets: &[String],
    mut see: impl FnMut(usize, Recipe),
) -> Result<RunReport, RunError> {
    let began = Instant::now();
    let wanted = needed(pipeline, targets)?;
    let history = History::open(cache, pipeline, &wanted)?;
    let interrupt = Interrupt::new();
    let known = cache.map_or_else(StatCache::none, |cache| cache.memo(&pipeline.file));
    let files = InputFiles::new(known);
    let mut outputs: BTreeMap<usize, BTreeMap<String, Digest>> = BTreeMap::new();
    let mut stages = Vec::new();
    for &index in &wanted {
        let node = &pipeline.stages[index];
        let mut report = StageReport::new(&node.name, Outcome::Unknown);
        let mut needed = node.inputs.values().flat_map(Input::stages);
        let waits = needed.find(|stage| !outputs.contains_key(stage));
        if let Some(stage) = waits {
            report.explain(Why::Waits { stage: pipeline.stages[stage].name.clone() });
            stages.push(report);
            continue;
        }
        match resolve(node, &files, Reading::Once(&interrupt), |stage, output| {
            outputs[&stage][output]
        }) {
            Err(ResolveError::Cache(error)) => return Err(error.into()),
            Err(error) => {
                report.outcome = Outcome::Failed;
                let message = chain(&error);
                report.error = Some(Failure::new(message, false));
            }
            Ok(resolved) => {
                let known = match cache {
                    Some(cache) => {
                        look_up_outputs(cache, files.memo(), node, resolved.fingerprint)?
                    }
                    None => Known::Nothing,
                };
                report.fingerprint = Some(resolved.fingerprint);
                match known {
                    Known::Complete(found) => {
                        report.outcome = Outcome::WouldReuse;
                        report.explain(why_reused(&history, &node.name, resolved.fingerprint));
                        report.outputs.clone_from(&found);
                        outputs.insert(index, found);
                    }
                    Known::Nothing => {
                        report.outcome = Outcome::WouldExecute;
                        report.explain(why_executed(cache, &history, &node.name, &resolved));
                    }
                    Known::Broken(flaw) => {
                        report.outcome = Outcome::WouldExecute;
                        report.explain(Why::Damaged { flaw: flaw.to_string() });
                    }
                }
                see(index, resolved.recipe);
            }
        }
        stages.push(report);
    }
    let ok = stages.iter().all(|stage| stage.outcome != Outcome::Failed);
    Ok(RunReport { ok, seconds: began.elapsed().as_secs_f64(), stages, interrupted: false })
}
