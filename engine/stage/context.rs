//! What a stage sees while it runs: its inputs, its outputs, and how to report and stop.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use super::device::{Device, DeviceError, DeviceSelection};
use crate::{
    artifact::{
        artifact::{Artifact, ArtifactError},
        output::Output,
    },
    base::interrupt::{Interrupt, Interrupted},
    cache::CacheError,
};

/// How a stage reports how far it is: done, of how many, of what (`spectra`, `epochs`).
pub(crate) type Progress<'a> = dyn Fn(u64, u64, &str) + Sync + 'a;

/// What an iterated stage may do with its states.
pub(crate) trait StepStore: Sync {
    /// The newest state at or before `most` that is there unharmed.
    fn last(&self, most: u64) -> Result<Option<Vec<u8>>, CacheError>;
    /// Keeps the state after `step` steps, and now and then removes those that have become superfluous.
    fn keep(&self, step: u64, state: &[u8]) -> Result<(), CacheError>;
}

/// Everything that a stage sees while it runs.
pub struct StageContext<'a> {
    pub(crate) inputs: BTreeMap<String, Artifact>,
    pub(crate) outputs: BTreeMap<String, Arc<Output>>,
    pub(crate) progress: &'a Progress<'a>,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) placement: &'a DeviceSelection,
    pub(crate) notes: Mutex<BTreeMap<String, String>>,
    pub(crate) rows: Option<Range<u64>>,
    pub(crate) states: Option<&'a dyn StepStore>,
}

impl StageContext<'_> {
    /// The input called `name`.
    ///
    /// # Errors
    /// When the pipeline didn't give it.
    pub fn input(&self, name: &str) -> Result<&Artifact, ArtifactError> {
        self.inputs.get(name).ok_or_else(|| ArtifactError::NoInput(name.to_owned()))
    }

    /// The input called `name`, if the pipeline gave it.
    pub fn optional(&self, name: &str) -> Option<&Artifact> {
        self.inputs.get(name)
    }

    /// All inputs, in order of their names.
    pub fn inputs(&self) -> impl Iterator<Item = &Artifact> {
        self.inputs.values()
    }

    /// The output called `name`.
    ///
    /// # Errors
    /// When the kind doesn't declare it.
    pub fn output(&self, name: &str) -> Result<&Arc<Output>, ArtifactError> {
        self.outputs.get(name).ok_or_else(|| ArtifactError::NoOutput(name.to_owned()))
    }

    /// The rows, of the whole, that a row-mapped stage makes here. `None` when it makes the whole.
    pub fn rows(&self) -> Option<Range<u64>> {
        self.rows.clone()
    }

    /// The number, within the whole, of the first row that a row-mapped stage makes here.
    pub fn first_row(&self) -> u64 {
        self.rows.as_ref().map_or(0, |rows| rows.start)
    }

    /// The last state that an iterated stage left of this very computation at or before step `most`, if there is one.
    ///
    /// # Errors
    /// When the cache can't be read.
    pub fn last_state(&self, most: u64) -> Result<Option<Vec<u8>>, ArtifactError> {
        Ok(self.states.map(|states| states.last(most)).transpose()?.flatten())
    }

    /// Keeps the state of an iterated stage after `step` steps, to go on from when it is interrupted or extended.
    ///
    /// # Errors
    /// When the cache doesn't take it.
    pub fn keep_state(&self, step: u64, state: &[u8]) -> Result<(), ArtifactError> {
        Ok(self.states.map_or(Ok(()), |states| states.keep(step, state))?)
    }

    /// Reports how far the stage is: `done` of `total`, counted in `unit` (a plural: `spectra`, `epochs`).
    pub fn progress(&self, done: u64, total: u64, unit: &str) {
        (self.progress)(done, total, unit);
    }

    /// To be called at every point where stopping is safe, several times a second.
    ///
    /// # Errors
    /// When the run was told to stop.
    pub fn check_interrupt(&self) -> Result<(), Interrupted> {
        self.interrupt.check()
    }

    /// Where to compute, for a stage that can do so in more than one place; the record will say where that was. A result
    /// is known by the same name wherever it was computed.
    ///
    /// # Errors
    /// When the device that was asked for isn't there.
    pub fn device(&self) -> Result<Device, DeviceError> {
        let device = self.placement.device()?;
        self.note("device", device);
        Ok(device)
    }

    /// Puts a fact about this execution into the record, where it enters no fingerprint.
    pub fn note(&self, key: &str, value: impl fmt::Display) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.insert(key.to_owned(), value.to_string());
    }
}
