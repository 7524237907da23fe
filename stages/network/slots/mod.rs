//! The slot network: a multi-scale convolutional network with dense layers that tells the parameters of K slots.
//!
//! Its layers work on spectra that lie position by position, features adjacent, as products of matrices by the crate
//! `gemm`.

mod architecture;
pub(super) mod convolution;
pub(super) mod dense;
pub(super) mod dropout;
mod initialization;
mod layout;
pub(super) mod loss;
mod matrix;
pub(super) mod model;
pub(super) mod pass;
pub(super) mod pooling;
mod predictor;
mod reconstruction;
pub(super) mod rectification;
pub(super) mod target;
pub(super) mod validation;

#[cfg(test)]
mod reference;

use serde::{Deserialize, Serialize};

pub(super) use self::predictor::SlotsPredictor;
pub use self::{
    architecture::Architecture,
    target::{Link, Space, TargetTransform},
};

use self::{layout::layout, model::Model, pass::Pass};
use super::{
    backend::Lesson,
    design::Values,
    encoding,
    error::{CheckpointError, DeviceFault, TrainingError},
    examples::Examples,
    grid::Grid,
    history::LossParts,
    hyperparameters::Hyperparameters,
    layout::Layout,
    learner::{Batch, Learner},
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
    pub(super) fn fit(
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

    pub(super) fn check(&self) -> Result<(), CheckpointError> {
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

    pub(super) fn layout(&self) -> Layout {
        layout(&self.architecture)
    }

    pub(super) fn initial_weights(&self, seed: u64) -> Vec<f32> {
        initialization::initial_weights(&Model::new(&self.architecture), seed)
    }

    pub(super) fn with_learner(
        &self,
        keys: &Hyperparameters,
        examples: &Examples,
        rows: usize,
        lesson: &mut Lesson,
    ) -> Result<(LossParts, f64), TrainingError> {
        let model = Model::new(&self.architecture);
        let pass = Pass::new(&model, rows);
        lesson(&mut SlotsLearner { design: self, model: &model, keys: *keys, examples, pass })
    }

    pub(super) fn judge(
        &self,
        keys: &Hyperparameters,
        values: Values,
        examples: &Examples,
        rows: &[usize],
    ) -> (LossParts, usize) {
        validation::validate(self, keys, values, examples, rows)
    }
}

/// The native passes of a slot network.
struct SlotsLearner<'a> {
    design: &'a SlotsDesign,
    model: &'a Model,
    keys: Hyperparameters,
    examples: &'a Examples<'a>,
    pass: Pass<'a>,
}

impl Learner for SlotsLearner<'_> {
    fn learn(
        &mut self,
        weights: &[f32],
        batch: Batch,
        gradient: &mut [f32],
        moments: &mut [f32],
    ) -> Result<LossParts, DeviceFault> {
        let dropout = dropout::Dropout {
            share: self.design.architecture.dropout,
            seed: self.keys.seed,
            epoch: batch.epoch,
            rows: batch.rows,
        };
        self.pass.forward(weights, self.examples, self.design.input_scale, &dropout);
        let parts =
            self.pass.loss(self.keys.loss, self.design.transform, self.examples, batch.rows);
        self.pass.backward(weights, gradient, &dropout);
        for (place, found) in self.model.normalizations().zip(&self.pass.normalizations) {
            moments[place.mean.clone()].copy_from_slice(&found.mean);
            moments[place.variance.clone()].copy_from_slice(&found.variance);
        }
        Ok(parts)
    }
}
