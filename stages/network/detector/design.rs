//! A detector but for the values that it learns.

use serde::{Deserialize, Serialize};

use super::{architecture::Architecture, model::Model};
use crate::network::{error::CheckpointError, examples::Examples, layout::Layout};

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
    pub(in crate::network) fn fit(
        architecture: Architecture,
        examples: &Examples,
        rows: &[usize],
    ) -> Self {
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

    pub(in crate::network) fn check(&self) -> Result<(), CheckpointError> {
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
    pub(super) fn class(&self, sigma: f64) -> usize {
        self.edges.iter().filter(|edge| sigma > **edge).count()
    }

    pub(in crate::network) fn layout(&self) -> Layout {
        // Nothing that is learned depends on the number of channels.
        Model::new(&self.architecture, 1).layout
    }

    pub(in crate::network) fn initial_weights(&self, seed: u64) -> Vec<f32> {
        Model::new(&self.architecture, 1).initial_weights(seed)
    }
}
