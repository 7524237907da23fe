//! Runs one stage and publishes what it made.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use serde_json::Value;

use super::{
    attempt::{Attempt, Failed, Unpublished, finish},
    chunks, for_each,
    sandbox::Furniture,
    select,
    steps::Steps,
};
use crate::{
    artifact::{artifact::Artifact, input_file::InputFile},
    base::{
        digest::Digest,
        tree::{Listing, Tree},
    },
    cache::{Bundle, CacheError, Lease},
    graph::{Command, Input, Member, Task},
    plan::{resolve::member_name, run_report::PartCount},
    stage::{
        context::StepStore,
        error::StageError,
        kind::{Kind, Shape},
    },
};

/// Executes the stage; gives what is to be published, and the parts that it was put together from.
pub(crate) fn execute_stage(
    attempt: &Attempt<'_, '_>,
    lease: Lease,
) -> Result<(Bundle, Option<PartCount>), Failed> {
    let Attempt { node, resolved, cache, staging, .. } = attempt;
    let began = Instant::now();
    let started = jiff::Timestamp::now();
    let inputs = open_inputs(attempt)?;
    let made = match &node.task {
        Task::Kind { kind, config } => run_kind(attempt, &**kind, config, inputs, started)
            .map_err(|error| Failed::kind(&error))?,
        Task::Command(Command { for_each: Some(each), .. }) => {
            for_each::run_items(attempt, each, &inputs, started)?
        }
        Task::Command(line) => {
            let files = &resolved.files;
            let sources = resolved.sources.values().chain(files.values());
            let sources: Vec<&InputFile> = sources.map(Arc::as_ref).collect();
            let furniture = Furniture {
                command: line,
                item: None,
                inputs: &inputs,
                files,
                sources: &sources,
                cache,
            };
            let made = attempt.run_command(furniture, staging, resolved.fingerprint)?;
            Unpublished { outputs: made.outputs, log: Some(made.log), ..Unpublished::default() }
        }
        Task::Select(choice) => {
            let member = |name: &str, member: &Member| match node.inputs.get(name) {
                Some(Input::Gathered { output, .. }) => open_member(attempt, name, member, output),
                _ => unreachable!("a choice is made among combinations only"),
            };
            let outputs = select::choose(choice, &node.inputs, member, staging)?;
            Unpublished { outputs, ..Unpublished::default() }
        }
    };
    // What the user's files were when they were hashed must be what the stage has read. A command was given copies.
    if !matches!(node.task, Task::Command(_)) {
        for source in resolved.sources.values() {
            source.check_unchanged()?;
        }
    }
    let mut provenance = attempt.provenance(started, began.elapsed().as_secs_f64());
    provenance.notes.clone_from(&made.notes);
    let parts = made.parts.count;
    let recipe = attempt.resolved.recipe.clone();
    let mut bundle = attempt.bundle(staging, made, recipe, provenance, Some(lease));
    keep_sources(attempt, &mut bundle)?;
    Ok((bundle, parts))
}

/// Whether the stage has parts that another process may compute, too.
pub(crate) fn has_parts(task: &Task) -> bool {
    match task {
        Task::Kind { kind, config } => {
            kind.shape(config).is_ok_and(|shape| matches!(shape, Shape::Rows(_)))
        }
        Task::Command(command) => command.for_each.is_some(),
        Task::Select(_) => false,
    }
}

/// Computes those parts of the stage that nobody else computes, while another process puts it together.
pub(crate) fn help_stage(attempt: &Attempt<'_, '_>) -> Result<(), Failed> {
    let started = jiff::Timestamp::now();
    let inputs = open_inputs(attempt)?;
    match &attempt.node.task {
        Task::Kind { kind, config } => {
            let help = || match kind.shape(config)? {
                Shape::Rows(map) => {
                    chunks::help_chunks(attempt, &**kind, config, map, &inputs, started)
                }
                Shape::Whole | Shape::Steps { .. } => Ok(()),
            };
            help().map_err(|error| Failed::kind(&error))
        }
        Task::Command(Command { for_each: Some(each), .. }) => {
            for_each::help_items(attempt, each, &inputs, started)
        }
        Task::Command(_) | Task::Select(_) => Ok(()),
    }
}

/// Adds the manifests of the user's folders, so that it can be told later which of their files changed.
fn keep_sources(attempt: &Attempt<'_, '_>, bundle: &mut Bundle) -> Result<(), CacheError> {
    let Attempt { resolved, staging, .. } = attempt;
    let inputs = resolved.sources.iter().map(|(name, source)| (format!("inputs.{name}"), source));
    let files = resolved.files.iter().map(|(path, source)| (format!("files.{path}"), source));
    for (name, source) in inputs.chain(files).filter(|(_, source)| !source.tree.is_file()) {
        let manifest = staging.write(&source.tree.to_json())?;
        bundle.record.sources.insert(name, (manifest.blob, manifest.size));
        bundle.blobs.push(manifest);
    }
    Ok(())
}

/// Runs a built-in stage in the shape that its kind declares.
fn run_kind(
    attempt: &Attempt<'_, '_>,
    kind: &dyn Kind,
    config: &Value,
    inputs: BTreeMap<String, Artifact>,
    started: jiff::Timestamp,
) -> Result<Unpublished, StageError> {
    let shape = kind.shape(config)?;
    if let Shape::Rows(map) = shape
        && let Some(made) = chunks::run_chunks(attempt, kind, config, map, &inputs, started)?
    {
        return Ok(made);
    }
    let states = match shape {
        Shape::Steps { extent } => Some(Steps::new(attempt, extent, started)),
        _ => None,
    };
    let mut context = attempt.context(attempt.staging, kind, inputs, attempt.progress, None);
    context.states = states.as_ref().map(|states| states as &dyn StepStore);
    let ran = attempt
        .threads
        .install(|| kind.run(config, &context).and_then(|()| kind.finish(config, &context)));
    // What is superfluous goes also when it was stopped; why it was stopped matters more than whether that went well.
    let thinned = states.as_ref().map_or(Ok(()), Steps::thin);
    ran?;
    thinned?;
    let mut made = finish(context)?;
    made.parts = states.map(Steps::into_parts).unwrap_or_default();
    Ok(made)
}

fn open_inputs(attempt: &Attempt<'_, '_>) -> Result<BTreeMap<String, Artifact>, Failed> {
    let recipe = &attempt.resolved.recipe.inputs;
    let mut inputs = BTreeMap::new();
    for (name, input) in &attempt.node.inputs {
        let artifact = match input {
            Input::Output { output, .. } => open_output(attempt, name, recipe[name], output)?,
            // A choice looks at what it gathers one by one.
            Input::Gathered { .. } if matches!(attempt.node.task, Task::Select(_)) => continue,
            Input::Gathered { output, members, .. } => {
                let mut listing = Listing::default();
                for member in members {
                    let artifact = open_member(attempt, name, member, output)?;
                    let mut folder = member.combination.folder();
                    if artifact.tree().is_file() {
                        folder = format!("{folder}/{output}");
                    }
                    listing.append(artifact.tree().under(&folder)?);
                }
                let tree = Tree::of(listing)?;
                Artifact::cached(name, output, Arc::new(tree), attempt.cache)
            }
            Input::File { path, .. } => {
                let source = &attempt.resolved.sources[name];
                Artifact::outside(name, Arc::new(source.tree.clone()), path)
            }
        };
        inputs.insert(name.clone(), artifact);
    }
    Ok(inputs)
}

/// One of the outputs that the input `name` gathers.
fn open_member(
    attempt: &Attempt<'_, '_>,
    name: &str,
    member: &Member,
    output: &str,
) -> Result<Artifact, Failed> {
    let key = member_name(name, &member.combination, output);
    open_output(attempt, &key, attempt.resolved.recipe.inputs[&key], output)
}

/// The artifact that is the input `name`, which another stage's output `output` is.
fn open_output(
    attempt: &Attempt<'_, '_>,
    name: &str,
    digest: Digest,
    output: &str,
) -> Result<Artifact, Failed> {
    let tree = attempt.cache.tree(digest)?.map_err(CacheError::Damaged)?;
    Ok(Artifact::cached(name, output, Arc::new(tree), attempt.cache))
}
