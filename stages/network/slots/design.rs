//! A slot network but for the values that it learns.

use serde::{Deserialize, Serialize};

use super::{
    architecture::Architecture, initialization, layout::layout, model::Model,
    target::TargetTransform,
};
use crate::network::{
    encoding, error::CheckpointError, examples::Examples, grid::Grid,
    hyperparameters::Hyperparameters, layout::Layout,
};

/// A slot network but for the values that it learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotsDesign {
    /// Its shape.
    pub architecture: Architecture,
    /// Where the channels lie.
    pub grid: Grid,
    /// How to leave the space of the parameter head.
    pub transform: TargetTransform,
    /// By what the linear plane of the input is divided.
    pub input_scale: f32,
}

impl SlotsDesign {
    pub(in crate::network) fn fit(
        architecture: Architecture,
        keys: &Hyperparameters,
        examples: &Examples,
        rows: &[usize],
    ) -> Self {
        Self {
            architecture,
            grid: examples.grid,
            transform: TargetTransform::fit(keys.amplitude_space, keys.sigma_space, examples, rows),
            input_scale: encoding::scale(examples.spectra, examples.grid.channels, rows),
        }
    }

    pub(in crate::network) fn check(&self) -> Result<(), CheckpointError> {
        self.architecture.check()?;
        let unusable = |name: &str| Err(CheckpointError::Value { name: name.to_owned() });
        if !self.transform.is_usable() {
            return unusable("transform");
        }
        if !(self.input_scale.is_finite() && self.input_scale > 0.0) {
            return unusable("input_scale");
        }
        if self.grid.check().is_err() || self.grid.channels != self.architecture.channels {
            return unusable("grid");
        }
        Ok(())
    }

    pub(in crate::network) fn layout(&self) -> Layout {
        layout(&self.architecture)
    }

    pub(in crate::network) fn initial_weights(&self, seed: u64) -> Vec<f32> {
        initialization::initial_weights(&Model::new(&self.architecture), seed)
    }
}
