//! A training's state as bytes, so that it can be stored after an epoch and gone on with later.

use std::collections::HashMap;

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use super::adam::Adam;
use super::checkpoint::{FORMAT_VERSION, bytes_of, read, read_statistics, views};
use super::design::Design;
use super::error::{CheckpointError, TrainingError};
use super::history::EpochRecord;
use super::hyperparameters::Hyperparameters;
use super::training::{Best, Training};

/// Where the state that is not tensors stands in the file's metadata.
const KEY: &str = "training";

/// The part of a state that is not tensors.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    format_version: u32,
    network: Design,
    hyperparameters: Hyperparameters,
    training_rows: usize,
    steps: u64,
    best_epoch: usize,
    best_loss: f64,
    reference: Option<f64>,
    idle: usize,
    history: Vec<EpochRecord>,
}

impl Training {
    /// The state as one safetensors file.
    ///
    /// # Errors
    ///
    /// [`TrainingError::Saved`] if a value cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TrainingError> {
        let state = State {
            format_version: FORMAT_VERSION,
            network: self.design.clone(),
            hyperparameters: self.hyperparameters,
            training_rows: self.learned_rows,
            steps: self.adam.steps,
            best_epoch: self.best.epoch,
            best_loss: self.best.loss,
            reference: self.reference,
            idle: self.idle,
            history: self.history.clone(),
        };
        let state = serde_json::to_string(&state).map_err(CheckpointError::Document)?;
        let layout = self.design.layout();
        let arrays = [
            ("now.", &layout.weights, &self.weights),
            ("now.", &layout.statistics, &self.statistics),
            ("best.", &layout.weights, &self.best.weights),
            ("best.", &layout.statistics, &self.best.statistics),
            ("first.", &layout.weights, &self.adam.first),
            ("second.", &layout.weights, &self.adam.second),
        ]
        .map(|(prefix, places, values)| (prefix, places, bytes_of(values)));
        let mut tensors = Vec::new();
        for (prefix, places, bytes) in &arrays {
            tensors.extend(views(places, prefix, bytes)?);
        }
        let metadata = HashMap::from([(KEY.to_owned(), state)]);
        let bytes = safetensors::serialize(tensors, Some(metadata));
        Ok(bytes.map_err(CheckpointError::Tensors)?)
    }

    /// Reads a state back; the bytes may come from anyone.
    ///
    /// # Errors
    ///
    /// [`TrainingError::Saved`] says what is wrong with them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TrainingError> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(CheckpointError::Tensors)?;
        let missing = || CheckpointError::Missing { name: KEY.to_owned() };
        let state = metadata
            .metadata()
            .as_ref()
            .and_then(|metadata| metadata.get(KEY))
            .ok_or_else(missing)?;
        let state: State = serde_json::from_str(state).map_err(CheckpointError::Document)?;
        if state.format_version != FORMAT_VERSION {
            return Err(CheckpointError::Version {
                found: state.format_version,
                known: FORMAT_VERSION,
            }
            .into());
        }
        state.network.check()?;
        state.hyperparameters.check()?;
        let tensors = SafeTensors::deserialize(bytes).map_err(CheckpointError::Tensors)?;
        let layout = state.network.layout();
        let weights = |prefix| read(&tensors, &layout.weights, prefix);
        let statistics = |prefix| read_statistics(&tensors, &layout.statistics, prefix);
        Ok(Self {
            weights: weights("now.")?,
            statistics: statistics("now.")?,
            adam: Adam {
                first: weights("first.")?,
                second: weights("second.")?,
                steps: state.steps,
            },
            best: Best {
                weights: weights("best.")?,
                statistics: statistics("best.")?,
                epoch: state.best_epoch,
                loss: state.best_loss,
            },
            design: state.network,
            hyperparameters: state.hyperparameters,
            learned_rows: state.training_rows,
            reference: state.reference,
            idle: state.idle,
            history: state.history,
        })
    }
}
