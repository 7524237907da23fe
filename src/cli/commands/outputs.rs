//! The outputs of stages that are in the cache, for the commands that look at them.

use pipe_engine::{
    ArtifactType, Digest, Outcome, Registry, Tree,
    cache::{Cache, Hold},
    graph::Pipeline,
};

use crate::cli::{arguments::PipelineArguments, error::CommandError, project};

/// Outputs of a stage, or of the combinations of one.
pub(crate) struct Outputs {
    pub(crate) pipeline: Pipeline,
    pub(crate) cache: Cache,
    /// Those that were asked for.
    pub(crate) found: Vec<FoundOutput>,
    /// So long nothing of it is collected.
    _hold: Option<Hold>,
}

/// An output in the cache.
pub(crate) struct FoundOutput {
    /// The stage that it is an output of.
    pub(crate) stage: String,
    pub(crate) name: String,
    pub(crate) artifact: ArtifactType,
    pub(crate) digest: Digest,
    pub(crate) tree: Tree,
}

/// Looks up `wanted`, which is `STAGE` or `STAGE.OUTPUT`, of all combinations or with some of them in brackets.
pub(crate) fn find(
    wanted: &str,
    arguments: &PipelineArguments,
    registry: &Registry,
) -> Result<Outputs, CommandError> {
    let pipeline = project::load(arguments, registry)?;
    let (stages, output) = pipeline.outputs_named(wanted)?;
    let nodes: Vec<_> = stages.iter().map(|&stage| &pipeline.stages[stage]).collect();
    if let (Some(output), Some(node)) = (output, nodes.first())
        && !node.outputs().iter().any(|(name, _)| name == output)
    {
        let known = node.outputs();
        let known: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
        let what = format!("output of `{}` called", node.declared);
        return Err(CommandError::no_such(&what, output, known));
    }
    let hint = |stage: &str| {
        CommandError::wrong(
            format!(
                "the stage `{stage}` has no result yet for its config and inputs as they are now"
            ),
            if stage.contains('[') {
                format!("make it: `pipe run '{stage}'`")
            } else {
                format!("make it: `pipe run {stage}`")
            },
        )
    };
    let first = nodes.first().map_or(wanted, |node| node.name.as_str());
    let cache = project::existing_cache(&pipeline.cache)?.ok_or_else(|| hint(first))?;
    let hold = cache.hold();
    let targets: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
    let report = pipe_engine::plan(&pipeline, Some(&cache), &targets)?;
    let mut found = Vec::new();
    for node in nodes {
        let stage = &node.name;
        let known = report.stage(stage).filter(|report| report.outcome == Outcome::WouldReuse);
        let known = known.ok_or_else(|| hint(stage))?;
        for (name, artifact) in node.outputs() {
            if output.is_some_and(|output| output != name) {
                continue;
            }
            let Some(&digest) = known.outputs.get(&name) else { continue };
            let tree = cache.complete_tree(digest)?.map_err(|flaw| {
                CommandError::system(format!(
                    "the cache is damaged: {flaw}; `pipe run '{stage}'` repairs it"
                ))
            })?;
            found.push(FoundOutput { stage: stage.clone(), name, artifact, digest, tree });
        }
    }
    Ok(Outputs { pipeline, cache, found, _hold: hold })
}
