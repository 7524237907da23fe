//! The outputs of a stage that are in the cache, for the commands that look at them.

use pipe_engine::{
    ArtifactType, Digest, Outcome, Registry, Tree, cache::Cache, pipeline::Pipeline,
};

use crate::cli::{arguments::PipelineArguments, error::CommandError, project};

/// Outputs of one stage.
pub(crate) struct Outputs {
    pub(crate) pipeline: Pipeline,
    pub(crate) cache: Cache,
    pub(crate) stage: String,
    /// Those that were asked for.
    pub(crate) found: Vec<FoundOutput>,
}

/// An output in the cache.
pub(crate) struct FoundOutput {
    pub(crate) name: String,
    pub(crate) artifact: ArtifactType,
    pub(crate) digest: Digest,
    pub(crate) tree: Tree,
}

/// Looks up `wanted`, which is `STAGE` or `STAGE.OUTPUT`.
pub(crate) fn find(
    wanted: &str,
    arguments: &PipelineArguments,
    registry: &Registry,
) -> Result<Outputs, CommandError> {
    let pipeline = project::load(arguments, registry)?;
    let (stage, output) = match wanted.split_once('.') {
        Some((stage, output)) => (stage, Some(output)),
        None => (wanted, None),
    };
    let Some(node) = pipeline.stages.iter().find(|node| node.name == stage) else {
        let known: Vec<&str> = pipeline.stages.iter().map(|node| node.name.as_str()).collect();
        return Err(CommandError::no_such("stage", stage, known));
    };
    let declared = node.outputs();
    if let Some(output) = output
        && !declared.iter().any(|(name, _)| name == output)
    {
        let known: Vec<&str> = declared.iter().map(|(name, _)| name.as_str()).collect();
        return Err(CommandError::no_such(&format!("output of `{stage}` called"), output, known));
    }
    let advice = || {
        CommandError::wrong(
            format!(
                "the stage `{stage}` has no result yet for its config and inputs as they are now"
            ),
            format!("make it: `pipe run {stage}`"),
        )
    };
    let cache = Cache::open_existing(&pipeline.cache)?.ok_or_else(advice)?;
    let report = pipe_engine::plan(&pipeline, Some(&cache), &[stage.to_owned()])?;
    let known = report.stage(stage).filter(|report| report.outcome == Outcome::WouldReuse);
    let known = known.ok_or_else(advice)?;
    let mut found = Vec::new();
    for (name, artifact) in declared {
        if output.is_some_and(|output| output != name) {
            continue;
        }
        let Some(&digest) = known.outputs.get(&name) else { continue };
        let tree = cache.complete_tree(digest)?.map_err(|flaw| {
            CommandError::system(format!(
                "the cache is damaged: {flaw}; `pipe run {stage}` repairs it"
            ))
        })?;
        found.push(FoundOutput { name, artifact, digest, tree });
    }
    let stage = stage.to_owned();
    Ok(Outputs { pipeline, cache, stage, found })
}
