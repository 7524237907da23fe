//! How the learning rate changes while training goes on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The course of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// It stays. An epoch does not depend on how many are to follow, so training can always be extended.
    Constant,
    /// It falls along half a cosine to zero at the last epoch. Better for a given number of epochs, but each epoch depends
    /// on that number: training for more is another training.
    #[default]
    Cosine,
}

impl Schedule {
    /// The factor of the learning rate for the batch with the given index, out of `batches` in all epochs together.
    ///
    /// Over the first `warmup` batches the factor also rises in equal steps from near 0 to 1.
    pub(super) fn factor(self, batch: u64, batches: u64, warmup: u64) -> f64 {
        let rise = ((batch + 1) as f64 / warmup.max(1) as f64).min(1.0);
        let fall = match self {
            Self::Constant => 1.0,
            Self::Cosine => {
                let done = (batch as f64 / batches.max(1) as f64).min(1.0);
                0.5 * (1.0 + libm::cos(std::f64::consts::PI * done))
            }
        };
        rise * fall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_stays_or_falls() {
        let constant = |batch| Schedule::Constant.factor(batch, 100, 10);
        assert!((constant(0) - 0.1).abs() < 1e-12);
        assert!((constant(9) - 1.0).abs() < 1e-12 && (constant(99) - 1.0).abs() < 1e-12);
        let cosine = |batch| Schedule::Cosine.factor(batch, 100, 0);
        assert!((cosine(0) - 1.0).abs() < 1e-12 && (cosine(50) - 0.5).abs() < 1e-12);
        assert!(cosine(99) < 1e-3 && cosine(1000).abs() < 1e-12);
    }
}
