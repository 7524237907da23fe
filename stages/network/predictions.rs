//! What a trained network says of spectra, on whichever device.

use std::fmt;

use super::{error::PredictionError, grid::Grid};

/// What the network says of N spectra.
///
/// The count is the most likely one, and for a count of n the first n of a spectrum's candidates are the answer. Those of a
/// slot network are its slots: in training the first n held the n components sorted by mean, so the others mean nothing.
/// Those of a detector are what it saw, surest first; the next ones are what it would have told of if the count were greater.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// The greatest count, K.
    pub slots: usize,
    /// Candidates of each spectrum, M: at least K.
    pub candidates: usize,
    /// The most likely count of each spectrum (N); the smaller of two that are equally likely.
    pub counts: Vec<u8>,
    /// The probability of each count 0 to K (N × (K + 1)).
    pub probabilities: Vec<f64>,
    /// Amplitude in the unit of the noise, mean and sigma in axis units of every candidate, kept or not (N × M × 3); NaN where
    /// there is none.
    pub parameters: Vec<f64>,
    /// How sure the detector is of each candidate, 0 to 1, falling (N × M); NaN where there is none.
    pub heat: Option<Vec<f64>>,
}

impl Predictions {
    /// The kept components in the layout of a truth (N × K × 3): the first `count` candidates, sorted by mean, then NaN.
    pub fn components(&self) -> Vec<f64> {
        let mut result = vec![f64::NAN; self.counts.len() * self.slots * 3];
        let rows = self.parameters.chunks_exact(3 * self.candidates);
        for ((candidates, count), result) in
            rows.zip(&self.counts).zip(result.chunks_exact_mut(3 * self.slots))
        {
            let mut kept: Vec<&[f64]> =
                candidates.chunks_exact(3).take(usize::from(*count)).collect();
            kept.sort_by(|a, b| a[1].total_cmp(&b[1]));
            for (result, component) in result.chunks_exact_mut(3).zip(kept) {
                result.copy_from_slice(component);
            }
        }
        result
    }
}

/// A trained network on some device.
pub(super) trait Reader: fmt::Debug + Send + Sync {
    /// As [`Predictor::candidates`](super::Predictor::candidates).
    fn candidates(&self) -> Option<usize>;

    /// As [`Predictor::predict`](super::Predictor::predict).
    fn predict(
        &self,
        spectra: &[f32],
        noise: &[f32],
        grid: &Grid,
    ) -> Result<Predictions, PredictionError>;
}

/// Whether nothing can be said of a spectrum.
pub(super) fn is_blank(spectrum: &[f32], noise: f32) -> bool {
    spectrum.iter().all(|x| *x == 0.0 || !x.is_finite()) || !(noise.is_finite() && noise > 0.0)
}
