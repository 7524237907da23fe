//! Runs one stage and publishes what it made.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use crate::{
    artifact::Tree,
    cache::{Bundle, Cache, CacheError, FORMAT, Lease, Provenance, Record, Staged, Staging},
    command::{self, CommandError},
    digest::Digest,
    pipeline::{Input, StageNode, Task},
    report::Failure,
    resolve::Resolved,
    stage::Exactness,
    work::{Artifact, Interrupt, Output, Progress, StageError, Work},
};

/// Everything that it takes to execute a stage whose result isn't known.
pub(crate) struct Attempt<'a> {
    pub(crate) node: &'a StageNode,
    pub(crate) resolved: &'a Resolved,
    pub(crate) cache: &'a Cache,
    pub(crate) staging: &'a Arc<Staging>,
    pub(crate) threads: &'a rayon::ThreadPool,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) exactness: Exactness,
    pub(crate) progress: &'a Progress<'a>,
}

/// A stage that came to nothing.
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) interrupted: bool,
}

impl Failed {
    fn stage(error: &StageError, log: Option<String>) -> Self {
        let system = error.is_of_the_system();
        let failure = Failure { message: error.to_string(), log, system };
        Self { failure, interrupted: error.is_interrupted() }
    }
}

impl From<CacheError> for Failed {
    fn from(error: CacheError) -> Self {
        Self::stage(&StageError::new(error), None)
    }
}

/// What a stage made, before it is published.
struct Made {
    outputs: BTreeMap<String, (Tree, Vec<Staged>)>,
    log: Option<Staged>,
    notes: BTreeMap<String, String>,
}

/// Executes the stage; gives what is to be published, and the outputs' content digests.
pub(crate) fn execute(
    attempt: &Attempt<'_>,
    lease: Lease,
) -> Result<(Bundle, BTreeMap<String, Digest>), Failed> {
    let Attempt { node, resolved, cache, staging, .. } = attempt;
    let began = Instant::now();
    let started = jiff::Timestamp::now();
    let inputs = open_inputs(attempt)?;
    let made = match &node.task {
        Task::Kind { kind, config } => {
            let outputs = kind
                .outputs()
                .iter()
                .map(|port| (port.name.to_owned(), Output::new(port.name, staging)))
                .collect();
            let work = Work {
                inputs,
                outputs,
                progress: attempt.progress,
                interrupt: attempt.interrupt,
                notes: Mutex::default(),
            };
            attempt
                .threads
                .install(|| kind.run(config, &work))
                .and_then(|()| finish(work))
                .map_err(|error| Failed::stage(&error, None))?
        }
        Task::Command(line) => {
            let ran =
                command::run(line, &inputs, &resolved.files, cache, staging, attempt.interrupt);
            let made = ran.map_err(|(error, log)| {
                let interrupted = matches!(error, CommandError::Interrupted(_));
                let mut failed = Failed::stage(&StageError::new(error), log);
                failed.interrupted = interrupted;
                failed
            })?;
            Made { outputs: made.outputs, log: Some(made.log), notes: BTreeMap::new() }
        }
    };
    // What the user's files were when they were hashed must be what the stage has read.
    for source in resolved.sources.values().chain(resolved.files.values()) {
        source.check_unchanged().map_err(|error| Failed::stage(&error.into(), None))?;
    }
    let provenance = Provenance {
        stage: node.name.clone(),
        host: crate::host::name().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: started.to_string(),
        seconds: began.elapsed().as_secs_f64(),
        notes: made.notes.clone(),
    };
    Ok(bundle(attempt, made, lease, provenance))
}

fn open_inputs(attempt: &Attempt<'_>) -> Result<BTreeMap<String, Artifact>, Failed> {
    let mut inputs = BTreeMap::new();
    for (name, input) in &attempt.node.inputs {
        let artifact = match input {
            Input::Output { output, .. } => {
                let tree = attempt.cache.tree(attempt.resolved.recipe.inputs[name])?.map_err(
                    |flaw| Failed {
                        failure: Failure {
                            message: format!(
                                "input `{name}` was lost while the run went on: {flaw}; run again"
                            ),
                            log: None,
                            system: true,
                        },
                        interrupted: false,
                    },
                )?;
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

fn finish(work: Work<'_>) -> Result<Made, StageError> {
    let mut outputs = BTreeMap::new();
    for (name, output) in &work.outputs {
        outputs.insert(name.clone(), output.finish()?);
    }
    let notes = work.notes.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Made { outputs, log: None, notes })
}

/// Everything that is to be published, and the content digests of the outputs.
fn bundle(
    attempt: &Attempt<'_>,
    made: Made,
    lease: Lease,
    provenance: Provenance,
) -> (Bundle, BTreeMap<String, Digest>) {
    let mut blobs = Vec::new();
    let mut trees = Vec::with_capacity(made.outputs.len());
    let mut outputs = BTreeMap::new();
    for (name, (tree, staged)) in made.outputs {
        blobs.extend(staged);
        outputs.insert(name, tree.digest());
        trees.push(tree);
    }
    let log = made.log.map(|log| {
        let named = (log.blob, log.size);
        blobs.push(log);
        named
    });
    let record = Record {
        format: FORMAT,
        recipe: attempt.resolved.recipe.clone(),
        outputs: outputs.clone(),
        parts: Vec::new(),
        log,
        provenance,
    };
    let staging = Arc::clone(attempt.staging);
    let exactness = attempt.exactness;
    (Bundle { staging, blobs, trees, record, exactness, lease: Some(lease) }, outputs)
}
