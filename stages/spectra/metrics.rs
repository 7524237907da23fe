//! How good a set of predicted components is: everything that an evaluation reports.

use serde::{Deserialize, Serialize};

use super::agreement::ByParameter;
use super::calibration::Calibration;
use super::score::{Bin, CountBin, Score};

/// What an [`Evaluation`](super::Evaluation) found.
///
/// Parameters have the units of the spectra and the axis. A figure that isn't defined, such as
/// the precision of nothing, is `None` (JSON `null`), never NaN.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// The number of spectra.
    pub spectra: u64,
    /// The number of slots, each for one component, that a spectrum has: at least as many as
    /// were announced, more if a spectrum held more components.
    pub slots: usize,
    /// How often the number of components was right.
    pub count: CountMetrics,
    /// R² and errors of the active slots: those with a true component. Slots are compared in
    /// order of mean; a predicted component that isn't there counts as 0, 0, 0.
    pub active: ActiveMetrics,
    /// R² of all slots of all spectra, missing components as 0, 0, 0 on both sides.
    pub slot_r2: ByParameter<Option<f64>>,
    /// Precision, recall and F1 of components matched by the criteria.
    pub matched: Score,
    /// Mean absolute errors of the matched pairs.
    pub matched_error: ByParameter<Option<f64>>,
    /// The score by distance to the nearest neighbour, in units of the rms of the two sigmas;
    /// the last bin holds components that are alone in their spectrum.
    pub by_separation: Vec<Bin>,
    /// The score by amplitude over noise rms. Spectra without a usable rms are left out.
    pub by_signal_to_noise: Vec<Bin>,
    /// How the errors of matched components compare with the Cramér–Rao bound of the true ones; `None` where it isn't
    /// known.
    pub cramer_rao: Option<Calibration>,
    /// How they compare with the uncertainties that the prediction states; `None` where it states none.
    pub stated: Option<Calibration>,
}

/// How often the number of components was right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CountMetrics {
    /// The share of spectra with the right number.
    pub accuracy: Option<f64>,
    /// The mean of predicted minus true number.
    pub bias: Option<f64>,
    /// The number of spectra by true (outer) and predicted (inner) number of components, from 0.
    pub confusion: Vec<Vec<u64>>,
    /// By the least separation of two true components of the spectrum, in units of the rms of their sigmas; the last two
    /// bins hold spectra with one component and with none.
    pub by_separation: Vec<CountBin>,
    /// By amplitude over noise rms of the faintest true component. Spectra without components or without a usable rms
    /// are left out.
    pub by_signal_to_noise: Vec<CountBin>,
}

/// Agreement of the active slots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActiveMetrics {
    /// R² of all parameters in one pool, as the seed project reported it. It mixes units, so
    /// that a constant guess scores well; compare it with the baseline only.
    pub pooled_r2: Option<f64>,
    /// R² by parameter.
    pub r2: ByParameter<Option<f64>>,
    /// Mean absolute error by parameter.
    pub error: ByParameter<Option<f64>>,
}
