//! What is told about each epoch.

use serde::{Deserialize, Serialize};

/// The loss and its parts, each a mean over spectra and before its weight; `total` is the weighted sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossParts {
    /// The weighted sum of the parts: what training lowers.
    pub total: f64,
    /// Error of the parameters: squared, of the standardised ones of active slots; or absolute beyond 1, of the detector's
    /// offset, ln amplitude and ln sigma at the true components.
    pub parameter: f64,
    /// Amplitude in inactive slots, in units of a typical one; 0 for a detector.
    pub sparsity: f64,
    /// Error of the sum of the predicted Gaussians, in units of noise; 0 for a detector.
    pub reconstruction: f64,
    /// Cross-entropy of the count, in nats.
    pub count: f64,
    /// Focal loss of the detector's heat; 0 for a slot network.
    #[serde(default)]
    pub detection: f64,
}

impl LossParts {
    pub(super) fn add(&mut self, other: &Self) {
        self.total += other.total;
        self.parameter += other.parameter;
        self.sparsity += other.sparsity;
        self.reconstruction += other.reconstruction;
        self.count += other.count;
        self.detection += other.detection;
    }

    pub(super) fn divided(&self, by: f64) -> Self {
        Self {
            total: self.total / by,
            parameter: self.parameter / by,
            sparsity: self.sparsity / by,
            reconstruction: self.reconstruction / by,
            count: self.count / by,
            detection: self.detection / by,
        }
    }
}

/// One epoch of training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochRecord {
    /// From 1.
    pub epoch: usize,
    /// The learning rate of its last batch.
    pub learning_rate: f64,
    /// Loss on the training rows as they were visited, with batch statistics and dropout.
    pub training: LossParts,
    /// Loss on the validation rows afterwards, as in prediction.
    pub validation: LossParts,
    /// The share of validation rows whose count is right.
    pub validation_count_accuracy: f64,
}
