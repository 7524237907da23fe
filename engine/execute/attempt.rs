//! An attempt at a stage whose result isn't known, and what comes of it.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    command::{self, Execution, FailedLog, Log},
    command_error::CommandError,
    sandbox::Furniture,
};
use crate::{
    artifact::{artifact::Artifact, materialize::MaterializeError, output::Output},
    base::{
        digest::Fingerprint, exactness::Exactness, interrupt::Interrupt, permits::Permits,
        tree::Tree,
    },
    cache::{
        Bundle, Cache, FORMAT, Lease, Provenance, Publisher, Recipe, Record, Staged, Staging,
        wait::Wait,
    },
    graph::StageNode,
    plan::{
        resolve::Resolved,
        run_report::{Failure, PartCount},
    },
    stage::{
        context::{Progress, StageContext},
        device::DeviceSelection,
        error::StageError,
        kind::{Kind, OutputPort},
    },
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
    pub(crate) placement: &'a DeviceSelection,
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

/// A stage that failed.
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) interrupted: bool,
}

impl Failed {
    pub(crate) fn command(error: CommandError, log: FailedLog) -> Self {
        let interrupted = matches!(error, CommandError::Interrupted(_));
        let mut failed: Self = match error {
            // The cache's own errors say so only where they are not wrapped.
            CommandError::Cache(error) | CommandError::Place(MaterializeError::Cache(error)) => {
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
        let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
        let failure = Failure::new(format!("{error}{hint}"), system);
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
pub(crate) struct Unpublished {
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
            host: crate::base::host::name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: started.to_string(),
            seconds,
            notes: BTreeMap::new(),
        }
    }

    /// The work of a built-in stage on these inputs, with all its outputs still to be written, in chunks of `chunk_rows` rows where
    /// it is run on such or puts them together.
    pub(crate) fn context<'a>(
        &'a self,
        staging: &Arc<Staging>,
        kind: &dyn Kind,
        inputs: BTreeMap<String, Artifact>,
        progress: &'a Progress<'a>,
        chunk_rows: Option<u64>,
    ) -> StageContext<'a> {
        let output = |port: &OutputPort| {
            (port.name.to_owned(), Output::of_rows(port.name, staging, chunk_rows))
        };
        StageContext {
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
    ) -> Result<command::CommandResult, Failed> {
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
        command::run_command(&execution).map_err(|failed| {
            let (error, log) = *failed;
            Failed::command(error, log)
        })
    }

    /// What was made, ready to be published under `recipe`.
    pub(crate) fn bundle(
        &self,
        staging: &Arc<Staging>,
        made: Unpublished,
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

/// What was written, complete.
pub(crate) fn finish(context: StageContext<'_>) -> Result<Unpublished, StageError> {
    let mut outputs = BTreeMap::new();
    for (name, output) in &context.outputs {
        outputs.insert(name.clone(), output.finish()?);
    }
    let notes = context.notes.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Unpublished { outputs, notes, ..Unpublished::default() })
}
