//! A spectrum as the fit sees it: in units of its noise, whitened, its channels numbered from 0.

use super::kernels::{Instructions, LANES, dot};
use super::whitening::{MOST_CORRELATION, Whitening};

/// The noise of a spectrum, as far as a fit needs it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseModel {
    /// The rms, in the spectrum's unit.
    pub rms: f64,
    /// The correlation of neighbouring channels; channels further apart don't correlate. What lies beyond ±0.49, where
    /// no such noise exists on a long spectrum, counts as that.
    pub correlation: f64,
}

/// A spectrum in units of its noise.
#[derive(Debug, Clone, Default)]
pub(super) struct Channels {
    /// The number of channels, rounded up to whole lanes; those beyond the spectrum are missing.
    pub(super) padded: usize,
    /// The number of channels of the spectrum, missing ones and all.
    pub(super) count: usize,
    /// The number of channels that aren't missing.
    pub(super) present: usize,
    /// The number of each channel.
    pub(super) positions: Vec<f64>,
    /// By what a column is to be multiplied before it is whitened.
    pub(super) weights: Vec<f64>,
    /// The intensity over the noise rms; 0 where missing.
    pub(super) values: Vec<f64>,
    /// The same, whitened.
    pub(super) whitened: Vec<f64>,
    /// The sum of squares of `whitened`: the χ² of noise alone.
    pub(super) chi_squared: f64,
    /// The correlation of neighbouring channels that was taken.
    pub(super) correlation: f64,
    pub(super) whitening: Whitening,
}

impl Channels {
    /// Takes in another spectrum. `false` where there is nothing to fit: the noise isn't a positive number, or all
    /// channels are missing.
    pub(super) fn set(
        &mut self,
        spectrum: &[f32],
        noise: NoiseModel,
        instructions: Instructions,
    ) -> bool {
        let NoiseModel { rms, correlation } = noise;
        if !(rms > 0.0 && rms.is_finite()) {
            return false;
        }
        let correlation = if correlation.is_nan() {
            0.0
        } else {
            correlation.clamp(-MOST_CORRELATION, MOST_CORRELATION)
        };
        let n = spectrum.len();
        if self.count != n || self.padded == 0 {
            self.count = n;
            self.padded = n.next_multiple_of(LANES);
            self.positions.clear();
            self.positions.extend((0..self.padded).map(|channel| channel as f64));
        }
        self.correlation = correlation;
        let inverse = 1.0 / rms;
        let padding = std::iter::repeat_n(f32::NAN, self.padded - n);
        let values = spectrum.iter().copied().chain(padding);
        self.values.clear();
        self.values.extend(
            values.clone().map(
                |value| {
                    if value.is_finite() { f64::from(value) * inverse } else { 0.0 }
                },
            ),
        );
        self.present = spectrum.iter().filter(|value| value.is_finite()).count();
        self.whitening.set(values.map(f32::is_finite), correlation);
        self.weights.clear();
        self.whitened.clear();
        if correlation == 0.0 {
            self.weights.extend_from_slice(&self.whitening.own);
            self.whitened.extend_from_slice(&self.values);
        } else {
            self.weights.resize(self.padded, 1.0);
            let mut last = 0.0;
            let Whitening { own, before, .. } = &self.whitening;
            self.whitened.extend(self.values.iter().zip(own.iter().zip(before)).map(
                |(value, (own, before))| {
                    last = own * value - before * last;
                    last
                },
            ));
        }
        self.chi_squared = dot(instructions, &self.whitened, &self.whitened);
        self.present > 0
    }
}
