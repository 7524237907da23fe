//! The document that tells how good a catalogue is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spectra::{MatchCriteria, Metrics};

/// Which rows are evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Subset {
    /// The test rows.
    #[default]
    Test,
    /// The validation rows.
    Validation,
    /// The training rows.
    Training,
    /// All rows.
    All,
}

/// The document that the output `metrics` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The rows that were evaluated.
    pub subset: Subset,
    /// When components matched.
    pub criteria: MatchCriteria,
    /// The unit of amplitudes, or empty.
    pub intensity_unit: String,
    /// The unit of means and sigmas, or empty.
    pub axis_unit: String,
    /// How good the catalogue is.
    pub metrics: Metrics,
    /// How good the fit from the truth is, with the true number of components; `None` where it wasn't asked for.
    pub oracle: Option<Metrics>,
    /// How good it is to say the same of every spectrum.
    pub baselines: Baselines,
}

/// What says the same of every spectrum, learnt from the training rows and evaluated as the catalogue is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baselines {
    /// The most frequent number of components, each with the mean parameters of its slot.
    pub majority_count: Metrics,
    /// As many components as there are slots, each with the mean parameters of its slot.
    pub constant_guess: Metrics,
}
