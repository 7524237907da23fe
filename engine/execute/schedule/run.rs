//! What the workers of a run share.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use super::state::RunState;
use crate::{
    artifact::input_files::InputFiles,
    base::{
        digest::{Digest, Fingerprint},
        interrupt::Interrupt,
        permits::Permits,
    },
    cache::{ActiveRun, Cache, Flaw},
    execute::events::Observer,
    graph::{Input, Pipeline},
    plan::history::History,
    stage::device::DeviceSelection,
};

/// A run that is under way.
pub(super) struct Run<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) cache: &'a Cache,
    pub(super) observer: &'a dyn Observer,
    pub(super) interrupt: &'a Interrupt,
    pub(super) placement: DeviceSelection,
    pub(super) history: History,
    pub(super) began: Instant,
    pub(super) files: InputFiles,
    /// Started when something has to be computed.
    pub(super) threads: OnceLock<rayon::ThreadPool>,
    pub(super) keep_going: bool,
    pub(super) follow: bool,
    /// Keeps what the run uses from being collected.
    pub(super) live: ActiveRun,
    pub(super) state: Mutex<RunState>,
    pub(super) changed: Condvar,
    /// What stages of this run have begun to compute.
    pub(super) computing: Mutex<BTreeSet<Fingerprint>>,
    /// What was found broken before any worker took its stage. What is corrupt at the first look is missing at the next.
    pub(super) flaws: Mutex<BTreeMap<Fingerprint, Flaw>>,
    pub(super) jobs: usize,
    /// For commands, of whichever stages.
    pub(super) permits: Permits,
}

impl Run<'_> {
    pub(super) fn lock(&self) -> MutexGuard<'_, RunState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn flaws(&self) -> MutexGuard<'_, BTreeMap<Fingerprint, Flaw>> {
        self.flaws.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn threads(&self) -> &rayon::ThreadPool {
        self.threads.get().unwrap_or_else(|| unreachable!("they are started before any stage is"))
    }

    /// The outputs of the stages that a stage reads.
    pub(super) fn before(&self, index: usize) -> BTreeMap<usize, Arc<BTreeMap<String, Digest>>> {
        let state = self.lock();
        let stages = self.pipeline.stages[index].inputs.values().flat_map(Input::stages);
        stages.map(|stage| (stage, state.outputs(stage))).collect()
    }
}
