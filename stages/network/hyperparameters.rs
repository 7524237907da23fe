//! How a network is trained: the keys, their defaults and what they allow.

use serde::{Deserialize, Serialize};

use super::error::TrainingError;
use super::schedule::Schedule;
use super::slots::Space;

/// What each part of the loss counts beside the parameter error, which counts once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossWeights {
    /// Of the amplitudes in inactive slots.
    pub sparsity_weight: f64,
    /// Of the reconstruction of the spectrum.
    pub reconstruction_weight: f64,
    /// Of the cross-entropy of the count.
    pub count_weight: f64,
    /// Of the heat, by which the detector tells where components are.
    #[serde(default = "LossWeights::detection")]
    pub detection_weight: f64,
}

impl LossWeights {
    /// What a document of the time before the detector stands for.
    fn detection() -> f64 {
        Self::default().detection_weight
    }
}

impl Default for LossWeights {
    fn default() -> Self {
        Self {
            sparsity_weight: 0.01,
            reconstruction_weight: 0.01,
            count_weight: 0.5,
            detection_weight: 0.5,
        }
    }
}

/// How a network is trained.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hyperparameters {
    /// The most epochs.
    pub epochs: usize,
    /// The most spectra in a batch. An epoch's rows are dealt to batches evenly, so none is much smaller.
    pub batch_size: usize,
    /// Adam's step length at its highest.
    pub learning_rate: f64,
    /// The course of the learning rate.
    pub schedule: Schedule,
    /// Batches over which the learning rate rises to its highest.
    pub warmup_batches: usize,
    /// Epochs without improvement after which training stops; 0 for never.
    pub patience: usize,
    /// By how much the validation loss must fall to count as an improvement.
    pub tolerance: f64,
    /// The weights of the parts of the loss.
    pub loss: LossWeights,
    /// In which space amplitudes are learned.
    pub amplitude_space: Space,
    /// In which space sigmas are learned.
    pub sigma_space: Space,
    /// Of initial weights, order of rows and dropout.
    pub seed: u64,
}

impl Default for Hyperparameters {
    fn default() -> Self {
        Self {
            epochs: 3,
            batch_size: 64,
            learning_rate: 4e-3,
            schedule: Schedule::Cosine,
            warmup_batches: 100,
            patience: 5,
            tolerance: 0.0,
            loss: LossWeights::default(),
            amplitude_space: Space::Linear,
            sigma_space: Space::Linear,
            seed: 0,
        }
    }
}

impl Hyperparameters {
    pub(super) fn check(&self) -> Result<(), TrainingError> {
        let positive = |key, value: f64| refuse(value > 0.0, key, value, "positive");
        let no_less = |key, value: f64| refuse(value >= 0.0, key, value, "0 or more");
        refuse(self.batch_size >= 2, "batch_size", self.batch_size as f64, "2 or more")?;
        positive("learning_rate", self.learning_rate)?;
        no_less("tolerance", self.tolerance)?;
        no_less("sparsity_weight", self.loss.sparsity_weight)?;
        no_less("reconstruction_weight", self.loss.reconstruction_weight)?;
        no_less("count_weight", self.loss.count_weight)?;
        no_less("detection_weight", self.loss.detection_weight)
    }
}

fn refuse(
    good: bool,
    key: &'static str,
    value: f64,
    allowed: &'static str,
) -> Result<(), TrainingError> {
    if good && value.is_finite() {
        Ok(())
    } else {
        Err(TrainingError::Hyperparameter { key, value, allowed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_pass_and_faults_are_named() {
        assert!(Hyperparameters::default().check().is_ok());
        for (key, keys) in [
            ("batch_size", Hyperparameters { batch_size: 1, ..Hyperparameters::default() }),
            (
                "learning_rate",
                Hyperparameters { learning_rate: f64::NAN, ..Hyperparameters::default() },
            ),
            ("tolerance", Hyperparameters { tolerance: -1.0, ..Hyperparameters::default() }),
        ] {
            let error = keys.check();
            assert!(
                matches!(error, Err(TrainingError::Hyperparameter { key: found, .. }) if found == key)
            );
        }
    }
}
