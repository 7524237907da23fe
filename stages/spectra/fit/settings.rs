//! What a fit may look for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the number of components is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// By the Bayesian evidence, in Laplace's approximation.
    #[default]
    Evidence,
    /// By the Bayesian information criterion, χ² + 3K ln n.
    Bic,
}

/// What a fit may look for. Sigmas are in channels, amplitudes in units of the noise rms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitSettings {
    /// The smallest number of components.
    pub min_components: usize,
    /// The largest number of components.
    pub max_components: usize,
    /// The smallest and the largest sigma; the largest may be infinite, for what the axis allows: an eighth of it.
    pub sigma: [f64; 2],
    /// The least amplitude.
    pub min_snr: f64,
    /// Whether amplitudes may be negative, too.
    pub absorption: bool,
    /// How the number of components is chosen.
    pub selection: Selection,
}

impl Default for FitSettings {
    fn default() -> Self {
        Self {
            min_components: 0,
            max_components: 6,
            sigma: [0.7, f64::INFINITY],
            min_snr: 2.0,
            absorption: false,
            selection: Selection::Evidence,
        }
    }
}
