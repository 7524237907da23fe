//! Runs one stage and publishes what it made.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use serde_json::Value;

use crate::{
    artifact::Artifact,
    cache::{
        Bundle, Cache, CacheError, FORMAT, Lease, Provenance, Publisher, Recipe, Record, Staged,
        Staging,
    },
    command::{self, CommandError, Execution, FailedLog, Log},
    device::Placement,
    digest::{Digest, Fingerprint},
    entries,
    interrupt::Interrupt,
    mapped,
    output::Output,
    permits::Permits,
    pipeline::{Command, Input, Member, StageNode, Task},
    place::PlaceError,
    report::{Failure, PartCount},
    resolve::{Resolved, member_name},
    sandbox::Furniture,
    select,
    source::Source,
    stage::{Exactness, Kind, OutputPort, Shape},
    stage_error::StageError,
    states::{StateStore, States},
    tree::{Listing, Tree},
    wait::Wait,
    work::{Progress, Work},
};

/// Everything that it takes to execute a stage whose result isn't known.
pub(crate) struct Attempt<'a, 'p> {
    pub(crate) node: &'a StageNode,
    pub(crate) resolved: &'a Resolved,
    pub(crate) cache: &'a Cache,
    pub(crate) staging: &'a Arc<Staging>,
    pub(crate) publisher: &'a Publisher<'p>,
    pub(crate) threads: &'a rayon::ThreadPool,
    /// How many commands, or chunks of rows, of this stage run at the same time.
    pub(crate) jobs: usize,
    pub(crate) permits: &'a Permits,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) placement: &'a Placement,
    pub(crate) exactness: Exactness,
    /// Whether to go on with other entries of an input after one has failed.
    pub(crate) keep_going: bool,
    pub(crate) progress: &'a Progress<'a>,
    /// Told what is not as it should be, and was dealt with.
    pub(crate) warn: &'a (dyn Fn(&str) + Sync),
    /// Told whom a part of the stage waits for.
    pub(crate) waits: &'a (dyn Fn(Wait<'_>) + Sync),
    /// Told what commands print while they run, if somebody wants to know.
    pub(crate) tell: Option<&'a (dyn Fn(&str) + Sync)>,
    /// Told where a command works when it begins.
    pub(crate) began: &'a (dyn Fn(&Path) + Sync),
}

/// A stage that came to nothing.
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) interrupted: bool,
}

impl Failed {
    pub(crate) fn command(error: CommandError, log: FailedLog) -> Self {
        let interrupted = matches!(error, CommandError::Interrupted(_));
        let mut failed: Self = match error {
            // The cache's own errors say so only where they are not wrapped.
            CommandError::Cache(error) | CommandError::Place(PlaceError::Cache(error)) => {
                error.into()
            }
            error => Self::stage(&StageError::new(error)),
        };
        failed.failure.log = Some(log.tail).filter(|tail| !tail.is_empty());
        failed.failure.whole_log = log.blob;
        Self { interrupted, ..failed }
    }

    /// Why a built-in stage failed.
    pub(crate) fn kind(error: &StageError) -> Self {
        let mut failed = Self::stage(error);
        failed.failure.system |= error.is_refused();
        failed
    }

    pub(crate) fn stage(error: &StageError) -> Self {
        let system = error.is_of_the_system();
        let advice = error.advice().map(|advice| format!("; {advice}")).unwrap_or_default();
        let failure = Failure::new(format!("{error}{advice}"), system);
        Self { failure, interrupted: error.is_interrupted() }
    }
}

impl<E: Into<StageError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::stage(&error.into())
    }
}

/// What a stage made, before it is published.
#[derive(Default)]
pub(crate) struct Made {
    pub(crate) outputs: BTreeMap<String, (Tree, Vec<Staged>)>,
    pub(crate) log: Option<Log>,
    pub(crate) notes: BTreeMap<String, String>,
    pub(crate) parts: Parts,
}

/// The parts that a result was put together from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parts {
    pub(crate) fingerprints: Vec<Fingerprint>,
    pub(crate) count: Option<PartCount>,
}

impl Attempt<'_, '_> {
    /// How what is made now comes to be.
    pub(crate) fn provenance(&self, started: jiff::Timestamp, seconds: f64) -> Provenance {
        Provenance {
            stage: self.node.name.clone(),
            host: crate::host::name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: started.to_string(),
            seconds,
            notes: BTreeMap::new(),
        }
    }

    /// The work of a built-in stage on these inputs, with all its outputs still to be written, in chunks of `chunk_rows` rows where
    /// it is run on such or puts them together.
    pub(crate) fn work<'a>(
        &'a self,
        staging: &Arc<Staging>,
        kind: &dyn Kind,
        inputs: BTreeMap<String, Artifact>,
        progress: &'a Progress<'a>,
        chunk_rows: Option<u64>,
    ) -> Work<'a> {
        let output = |port: &OutputPort| {
            (port.name.to_owned(), Output::of_rows(port.name, staging, chunk_rows))
        };
        Work {
            inputs,
            outputs: kind.outputs().iter().map(output).collect(),
            progress,
            interrupt: self.interrupt,
            placement: self.placement,
            notes: Mutex::default(),
            rows: None,
            states: None,
        }
    }

    /// Runs a command in a sandbox that is called after the fingerprint of what it makes.
    pub(crate) fn run_command(
        &self,
        furniture: Furniture<'_>,
        staging: &Arc<Staging>,
        fingerprint: Fingerprint,
    ) -> Result<command::Made, Failed> {
        let _permit = self.permits.take();
        let execution = Execution {
            name: &fingerprint.short(),
            furniture,
            staging,
            interrupt: self.interrupt,
            warn: self.warn,
            tell: self.tell,
            began: self.began,
        };
        command::run(&execution).map_err(|failed| {
            let (error, log) = *failed;
            Failed::command(error, log)
        })
    }

    /// What was made, ready to be published under `recipe`.
    pub(crate) fn bundle(
        &self,
        staging: &Arc<Staging>,
        made: Made,
        recipe: Recipe,
        provenance: Provenance,
        lease: Option<Lease>,
    ) -> Bundle {
        let (mut blobs, mut trees, mut outputs) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (name, (tree, staged)) in made.outputs {
            blobs.extend(staged);
            outputs.insert(name, tree.digest());
            trees.push(tree);
        }
        let log = made.log.map(|log| match log {
            Log::Held(blob, size) => (blob, size),
            Log::Staged(log) => {
                let named = (log.blob, log.size);
                blobs.push(log);
                named
            }
        });
        let parts = made.parts.fingerprints;
        let sources = BTreeMap::new();
        let record = Record { format: FORMAT, recipe, outputs, parts, log, sources, provenance };
        let (staging, exactness) = (Arc::clone(staging), self.exactness);
        Bundle { staging, blobs, trees, record, exactness, lease }
    }
}

/// Executes the stage; gives what is to be published, and the parts that it was put together from.
pub(crate) fn execute(
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
            entries::run(attempt, each, &inputs, started)?
        }
        Task::Command(line) => {
            let files = &resolved.files;
            let sources = resolved.sources.values().chain(files.values());
            let sources: Vec<&Source> = sources.map(Arc::as_ref).collect();
            let furniture = Furniture {
                command: line,
                item: None,
                inputs: &inputs,
                files,
                sources: &sources,
                cache,
            };
            let made = attempt.run_command(furniture, staging, resolved.fingerprint)?;
            Made { outputs: made.outputs, log: Some(made.log), ..Made::default() }
        }
        Task::Select(choice) => {
            let member = |name: &str, member: &Member| match node.inputs.get(name) {
                Some(Input::Gathered { output, .. }) => open_member(attempt, name, member, output),
                _ => unreachable!("a choice is made among combinations only"),
            };
            let outputs = select::run(choice, &node.inputs, member, staging)?;
            Made { outputs, ..Made::default() }
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
) -> Result<Made, StageError> {
    let shape = kind.shape(config)?;
    if let Shape::Rows(map) = shape
        && let Some(made) = mapped::run(attempt, kind, config, map, &inputs, started)?
    {
        return Ok(made);
    }
    let states = match shape {
        Shape::Steps { extent } => Some(States::new(attempt, extent, started)),
        _ => None,
    };
    let mut work = attempt.work(attempt.staging, kind, inputs, attempt.progress, None);
    work.states = states.as_ref().map(|states| states as &dyn StateStore);
    let ran = attempt
        .threads
        .install(|| kind.run(config, &work).and_then(|()| kind.finish(config, &work)));
    // What is superfluous goes also when it was stopped; why it was stopped matters more than whether that went well.
    let thinned = states.as_ref().map_or(Ok(()), States::thin);
    ran?;
    thinned?;
    let mut made = finish(work)?;
    made.parts = states.map(States::into_parts).unwrap_or_default();
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

/// What was written, complete.
pub(crate) fn finish(work: Work<'_>) -> Result<Made, StageError> {
    let mut outputs = BTreeMap::new();
    for (name, output) in &work.outputs {
        outputs.insert(name.clone(), output.finish()?);
    }
    let notes = work.notes.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Made { outputs, notes, ..Made::default() })
}
