//! What the network learns from: scaled spectra with their truth, as borrowed flat arrays.

use super::error::ExamplesError;
use super::grid::Grid;

/// How to get from a scaled channel value back to the observed one, in units of the spectrum's noise rms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unscaling<'a> {
    /// The spectra were divided by their noise rms: nothing is left to do.
    NoiseRms,
    /// The spectra were standardised by channel: `observed = offset + scale · scaled`, each of C values.
    Channels {
        /// The mean that was subtracted from each channel.
        offset: &'a [f32],
        /// The standard deviation by which each channel was divided.
        scale: &'a [f32],
    },
}

/// Labelled spectra: N rows of C channels with at most K components.
#[derive(Debug, Clone, Copy)]
pub struct Examples<'a> {
    /// Scaled spectra (N × C). A channel that is exactly 0 or not finite counts as missing: the network sees 0, and the
    /// reconstruction is not asked to explain it.
    pub spectra: &'a [f32],
    /// Noise rms of each spectrum, in the unit of amplitudes (N); positive.
    pub noise: &'a [f32],
    /// Amplitude, mean and sigma in axis units (N × K × 3), sorted by mean, NaN where absent.
    pub parameters: &'a [f64],
    /// Components of each spectrum (N).
    pub counts: &'a [u8],
    /// Slots, K.
    pub slots: usize,
    /// Where the channels lie.
    pub grid: Grid,
    /// How the spectra were scaled.
    pub unscaling: Unscaling<'a>,
}

impl<'a> Examples<'a> {
    /// The number of rows, N.
    pub fn rows(&self) -> usize {
        self.counts.len()
    }

    /// Checks that the arrays fit together and that the given rows hold usable truth.
    ///
    /// # Errors
    ///
    /// [`ExamplesError`] names the array and the row.
    pub fn check(&self, rows: &[usize]) -> Result<(), ExamplesError> {
        self.grid.check()?;
        let (n, c, k) = (self.rows(), self.grid.channels, self.slots);
        length("spectra", self.spectra.len(), n.saturating_mul(c))?;
        length("noise", self.noise.len(), n)?;
        length("parameters", self.parameters.len(), n.saturating_mul(3 * k))?;
        if let Unscaling::Channels { offset, scale } = self.unscaling {
            length("offset", offset.len(), c)?;
            length("scale", scale.len(), c)?;
            for array in [("offset", offset), ("scale", scale)] {
                if let Some(row) = array.1.iter().position(|value| !value.is_finite()) {
                    return Err(ExamplesError::Value {
                        array: array.0,
                        row,
                        value: f64::from(array.1[row]),
                    });
                }
            }
        }
        for &row in rows {
            self.check_row(row)?;
        }
        Ok(())
    }

    fn check_row(&self, row: usize) -> Result<(), ExamplesError> {
        if row >= self.rows() {
            return Err(ExamplesError::Row { row, rows: self.rows() });
        }
        let count = usize::from(self.counts[row]);
        if count > self.slots {
            return Err(ExamplesError::Count { row, count, slots: self.slots });
        }
        let noise = f64::from(self.noise[row]);
        if !(noise.is_finite() && noise > 0.0) {
            return Err(ExamplesError::Value { array: "noise", row, value: noise });
        }
        for component in self.components(row) {
            let bad = component.iter().find(|value| !value.is_finite());
            let negative = [component[0], component[2]].into_iter().find(|value| *value <= 0.0);
            if let Some(value) = bad.copied().or(negative) {
                return Err(ExamplesError::Value { array: "parameters", row, value });
            }
        }
        Ok(())
    }

    /// The scaled spectrum of a row.
    pub(super) fn spectrum(&self, row: usize) -> &'a [f32] {
        let channels = self.grid.channels;
        &self.spectra[row * channels..(row + 1) * channels]
    }

    /// The true components of a row in physical units.
    pub(super) fn components(&self, row: usize) -> impl Iterator<Item = [f64; 3]> + Clone + 'a {
        let start = row * self.slots * 3;
        self.parameters[start..start + 3 * usize::from(self.counts[row])]
            .chunks_exact(3)
            .map(|c| [c[0], c[1], c[2]])
    }

    /// The true components of a row in natural units: amplitude over noise rms, mean and sigma as fractions of the axis.
    pub(super) fn natural(&self, row: usize) -> impl Iterator<Item = [f64; 3]> + Clone + 'a {
        let (grid, noise) = (self.grid, f64::from(self.noise[row]));
        self.components(row).map(move |[amplitude, mean, sigma]| {
            [amplitude / noise, grid.fraction(mean), sigma / grid.extent().abs()]
        })
    }

    /// Writes the observed spectrum of a row in units of its noise rms; NaN where a channel is missing.
    pub(super) fn observed(&self, row: usize, observed: &mut [f32]) {
        let factor = 1.0 / self.noise[row];
        for (channel, (observed, &x)) in observed.iter_mut().zip(self.spectrum(row)).enumerate() {
            *observed = if x == 0.0 || !x.is_finite() {
                f32::NAN
            } else {
                match self.unscaling {
                    Unscaling::NoiseRms => x,
                    Unscaling::Channels { offset, scale } => {
                        (offset[channel] + scale[channel] * x) * factor
                    }
                }
            };
        }
    }
}

/// Checks the length of an array.
pub(super) fn length(
    array: &'static str,
    found: usize,
    expected: usize,
) -> Result<(), ExamplesError> {
    if found == expected { Ok(()) } else { Err(ExamplesError::Length { array, found, expected }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples<'a>(spectra: &'a [f32], parameters: &'a [f64]) -> Examples<'a> {
        Examples {
            spectra,
            noise: &[0.5, 2.0],
            parameters,
            counts: &[1, 0],
            slots: 1,
            grid: Grid { start: 10.0, step: -2.0, channels: 3 },
            unscaling: Unscaling::Channels { offset: &[1.0, 1.0, 1.0], scale: &[2.0, 2.0, 2.0] },
        }
    }

    const SPECTRA: [f32; 6] = [1.0, 0.0, 3.0, 1.0, 1.0, 1.0];
    const PARAMETERS: [f64; 6] = [3.0, 8.0, 1.0, f64::NAN, f64::NAN, f64::NAN];

    #[test]
    fn natural_units_and_observed_values() {
        let examples = examples(&SPECTRA, &PARAMETERS);
        assert_eq!(examples.check(&[0, 1]), Ok(()));
        assert_eq!(examples.natural(0).next(), Some([6.0, 0.5, 0.25]));
        assert_eq!(examples.natural(1).next(), None);
        let mut observed = [0.0; 3];
        examples.observed(0, &mut observed);
        assert_eq!(observed[0].to_bits(), 6f32.to_bits());
        assert!(observed[1].is_nan());
        assert_eq!(observed[2].to_bits(), 14f32.to_bits());
    }

    #[test]
    fn faults_are_named() {
        let short = examples(&SPECTRA[..5], &PARAMETERS);
        assert!(matches!(
            short.check(&[]),
            Err(ExamplesError::Length { array: "spectra", found: 5, expected: 6 })
        ));
        let good = examples(&SPECTRA, &PARAMETERS);
        assert_eq!(good.check(&[2]), Err(ExamplesError::Row { row: 2, rows: 2 }));
        let negative = [-3.0, 8.0, 1.0, 0.0, 0.0, 0.0];
        let negative = examples(&SPECTRA, &negative);
        assert!(matches!(
            negative.check(&[0]),
            Err(ExamplesError::Value { array: "parameters", row: 0, .. })
        ));
        assert_eq!(negative.check(&[1]), Ok(()));
    }
}
