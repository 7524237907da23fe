//! The detector: a convolutional network that tells at each channel whether a component's mean lies there, and of which
//! amplitude and sigma it is.
//!
//! It knows no axis: it thinks in channels and in units of the noise rms, so it reads spectra of any number of channels. A
//! spectrum y / rms enters as two planes, y / rms / 20 and asinh(y / rms) / 2. With c features (`width`), each layer being a
//! "same" convolution, batch normalisation and `ReLU`:
//!
//! | layer | resolution | features in → out | kernel | reads |
//! | --- | --- | --- | --- | --- |
//! | `full0` | 1 | 2 → c | 7 | the planes |
//! | `full1` | 1 | c → c | 5 | `full0` |
//! | `half0` | ½ | c → 2c | 5 | `full1`, the greater of each two |
//! | `half1` | ½ | 2c → 2c | 5 | `half0` |
//! | `quarter0` | ¼ | 2c → 2c | 5 | `half1`, the greater of each two |
//! | `quarter1` | ¼ | 2c → 2c | 5 | `quarter0` |
//! | `half2` | ½ | 4c → 2c | 5 | `quarter1`, each twice, beside `half1` |
//! | `full2` | 1 | 3c → 2c | 5 | `half2`, each twice, beside `full1` |
//!
//! From `full2`, a matrix at each channel tells for each of three classes of sigma: the logit of the heat, ln amplitude, the
//! mean's offset from the channel, and ln sigma. The count is decided by two dense layers (64, `ReLU`) on the greatest and the
//! mean values of `quarter1` and `full2`. It is a U-Net (Ronneberger, Fischer and Brox 2015) with the heads of `CenterNet`
//! (Zhou, Wang and Krähenbühl 2019).

mod architecture;
pub(super) mod convolution;
mod decoding;
mod elementary;
pub(super) mod inference;
pub(super) mod lanes;
pub(super) mod loss;
pub(super) mod model;
pub(super) mod normalization;
pub(super) mod pass;
pub(super) mod pools;
mod predictor;
pub(super) mod room;
pub(super) mod target;
mod throughput;
pub(super) mod validation;

#[cfg(test)]
mod reference;

use serde::{Deserialize, Serialize};

pub use self::architecture::Architecture;
pub(super) use self::predictor::DetectorPredictor;

use self::{lanes::Instructions, model::Model, pass::Pass};
use super::{
    backend::Lesson,
    design::Values,
    error::{CheckpointError, TrainingError},
    examples::Examples,
    history::LossParts,
    hyperparameters::Hyperparameters,
    layout::Layout,
};

/// A detector but for the values that it learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorDesign {
    /// Its shape.
    pub architecture: Architecture,
    /// The sigmas, in channels, that divide the three classes.
    pub edges: [f64; 2],
    /// The mean number of components of a training spectrum; 1 if it has none.
    pub typical_count: f64,
}

impl DetectorDesign {
    /// The classes divide the range of the sigmas, but for the twentieths at both ends, in three equal parts of its logarithm.
    pub(super) fn fit(architecture: Architecture, examples: &Examples, rows: &[usize]) -> Self {
        let channels = examples.grid.channels.max(2) as f64 - 1.0;
        let mut sigmas: Vec<f64> = rows
            .iter()
            .flat_map(|&row| examples.natural(row))
            .map(|[_, _, sigma]| libm::log(sigma * channels))
            .collect();
        sigmas.sort_by(f64::total_cmp);
        let edges = if sigmas.is_empty() {
            [2.0, 4.0]
        } else {
            let low = sigmas[sigmas.len() / 20];
            let high = sigmas[sigmas.len() - 1 - sigmas.len() / 20];
            [1.0, 2.0].map(|third| libm::exp(low + (high - low) * third / 3.0))
        };
        let typical = sigmas.len() as f64 / rows.len().max(1) as f64;
        let typical_count = if typical > 0.0 { typical } else { 1.0 };
        Self { architecture, edges, typical_count }
    }

    pub(super) fn check(&self) -> Result<(), CheckpointError> {
        self.architecture.check()?;
        let usable = |value: f64| value.is_finite() && value > 0.0;
        if !(self.edges.into_iter().all(usable) && self.edges[0] <= self.edges[1]) {
            return Err(CheckpointError::Value { name: "edges".to_owned() });
        }
        if !usable(self.typical_count) {
            return Err(CheckpointError::Value { name: "typical_count".to_owned() });
        }
        Ok(())
    }

    /// Multiplications and additions of one spectrum of `channels` channels forward, by layer.
    pub fn operations(&self, channels: usize) -> Vec<(&'static str, usize)> {
        let model = Model::new(&self.architecture, channels);
        model.convolutions().map(|(name, convolution)| (name, convolution.operations())).collect()
    }

    /// The class of a sigma in channels.
    fn class(&self, sigma: f64) -> usize {
        self.edges.iter().filter(|edge| sigma > **edge).count()
    }

    pub(super) fn layout(&self) -> Layout {
        // Nothing that is learned depends on the number of channels.
        Model::new(&self.architecture, 1).layout
    }

    pub(super) fn initial_weights(&self, seed: u64) -> Vec<f32> {
        Model::new(&self.architecture, 1).initial_weights(seed)
    }

    pub(super) fn with_learner(
        &self,
        keys: &Hyperparameters,
        examples: &Examples,
        rows: usize,
        lesson: &mut Lesson,
    ) -> Result<(LossParts, f64), TrainingError> {
        let model = Model::new(&self.architecture, examples.grid.channels);
        lesson(&mut Pass::new(self, &model, keys.loss, examples, rows, Instructions::best()))
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
