//! Scaling of spectra before a network sees them, and back.

use serde::{Deserialize, Serialize};

/// How spectra are scaled, with all that is needed to undo it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "method")]
pub enum Scaler {
    /// Each spectrum is divided by its own noise rms. A line that moves by a channel stays the
    /// same line, one channel further: shift-equivariant.
    Rms,
    /// In each channel, the mean of the training spectra is taken away and what is left is
    /// divided by their standard deviation.
    Standard {
        /// The mean of each channel, in the spectra's unit.
        mean: Vec<f64>,
        /// The standard deviation of each channel (of the population), in the spectra's unit;
        /// positive.
        deviation: Vec<f64>,
    },
}

/// Why spectra can't be scaled.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScalingError {
    /// The spectra have another number of channels than those the scaler was fitted on.
    #[error("the spectra have {found} channels, and the scaler was fitted on {expected}")]
    Channels {
        /// The channels the scaler knows.
        expected: usize,
        /// The channels of the spectra.
        found: usize,
    },
    /// The values don't make up whole spectra.
    #[error("{values} values are not a whole number of spectra of {channels} channels")]
    Ragged {
        /// The number of values.
        values: usize,
        /// The channels of a spectrum.
        channels: usize,
    },
    /// There isn't one noise rms for each spectrum.
    #[error("there are {spectra} spectra but {levels} values of noise rms")]
    Levels {
        /// The number of spectra.
        spectra: usize,
        /// The number of noise levels.
        levels: usize,
    },
}

impl Scaler {
    /// Scales `spectra` (rows × `channels`) in place; `rms` is the noise rms of each row.
    ///
    /// A missing channel (NaN) becomes 0, which is where the scaled spectra have their baseline
    /// or mean. So does a whole row whose rms isn't finite and positive, under [`Scaler::Rms`]:
    /// nothing is known of how far its values stand out.
    ///
    /// # Errors
    ///
    /// Where the numbers of values, channels and rms don't fit each other or the scaler.
    pub fn apply(
        &self,
        spectra: &mut [f32],
        channels: usize,
        rms: &[f64],
    ) -> Result<(), ScalingError> {
        self.check(spectra, channels, rms)?;
        for (row, &rms) in spectra.chunks_exact_mut(channels).zip(rms) {
            match self {
                Self::Rms if is_usable(rms) => {
                    for value in row {
                        *value = present((f64::from(*value) / rms) as f32);
                    }
                }
                Self::Rms => row.fill(0.0),
                Self::Standard { mean, deviation } => {
                    for ((value, &mean), &deviation) in row.iter_mut().zip(mean).zip(deviation) {
                        *value = present(((f64::from(*value) - mean) / deviation) as f32);
                    }
                }
            }
        }
        Ok(())
    }

    /// Turns scaled `spectra` back into the original unit, in place.
    ///
    /// What was missing comes back as the baseline (0) or the mean, not as NaN; a row without a
    /// usable rms stays 0.
    ///
    /// # Errors
    ///
    /// As [`Scaler::apply`].
    pub fn undo(
        &self,
        spectra: &mut [f32],
        channels: usize,
        rms: &[f64],
    ) -> Result<(), ScalingError> {
        self.check(spectra, channels, rms)?;
        for (row, &rms) in spectra.chunks_exact_mut(channels).zip(rms) {
            match self {
                Self::Rms if is_usable(rms) => {
                    for value in row {
                        *value = (f64::from(*value) * rms) as f32;
                    }
                }
                Self::Rms => row.fill(0.0),
                Self::Standard { mean, deviation } => {
                    for ((value, &mean), &deviation) in row.iter_mut().zip(mean).zip(deviation) {
                        *value = (f64::from(*value) * deviation + mean) as f32;
                    }
                }
            }
        }
        Ok(())
    }

    fn check(&self, spectra: &[f32], channels: usize, rms: &[f64]) -> Result<(), ScalingError> {
        let rows = rows(spectra, channels)?;
        if rows != rms.len() {
            return Err(ScalingError::Levels { spectra: rows, levels: rms.len() });
        }
        match self {
            Self::Standard { mean, deviation } => {
                let expected = mean.len().min(deviation.len());
                if expected == channels {
                    Ok(())
                } else {
                    Err(ScalingError::Channels { expected, found: channels })
                }
            }
            Self::Rms => Ok(()),
        }
    }
}

/// Fits [`Scaler::Standard`] on spectra that come in chunks, in memory of one row.
///
/// The running mean and sum of squares are those of Welford (1962), taken row by row, so that the
/// result doesn't depend on how the rows are cut into chunks.
#[derive(Debug, Clone, PartialEq)]
pub struct StandardFit {
    count: Vec<u64>,
    mean: Vec<f64>,
    /// The sum of squared deviations from the mean.
    squares: Vec<f64>,
}

impl StandardFit {
    /// A fit to spectra of this many channels, with no rows yet.
    pub fn new(channels: usize) -> Self {
        Self { count: vec![0; channels], mean: vec![0.0; channels], squares: vec![0.0; channels] }
    }

    /// Takes in training spectra (rows × channels). NaNs are left out, channel by channel.
    ///
    /// # Errors
    ///
    /// Where the values don't make up whole spectra.
    pub fn push(&mut self, spectra: &[f32]) -> Result<(), ScalingError> {
        let channels = self.mean.len();
        rows(spectra, channels)?;
        for row in spectra.chunks_exact(channels.max(1)) {
            for (channel, &value) in row.iter().enumerate() {
                if value.is_finite() {
                    self.count[channel] += 1;
                    let delta = f64::from(value) - self.mean[channel];
                    self.mean[channel] += delta / self.count[channel] as f64;
                    self.squares[channel] += delta * (f64::from(value) - self.mean[channel]);
                }
            }
        }
        Ok(())
    }

    /// The scaler. A channel without any variation (or any value) is only shifted: its
    /// deviation counts as 1.
    pub fn finish(self) -> Scaler {
        let deviation = self
            .squares
            .iter()
            .zip(&self.count)
            .map(|(&squares, &count)| {
                let deviation = (squares / count.max(1) as f64).sqrt();
                if is_usable(deviation) { deviation } else { 1.0 }
            })
            .collect();
        Scaler::Standard { mean: self.mean, deviation }
    }
}

fn rows(spectra: &[f32], channels: usize) -> Result<usize, ScalingError> {
    if channels > 0 && spectra.len().is_multiple_of(channels) {
        Ok(spectra.len() / channels)
    } else {
        Err(ScalingError::Ragged { values: spectra.len(), channels })
    }
}

fn is_usable(scale: f64) -> bool {
    scale.is_finite() && scale > 0.0
}

fn present(value: f32) -> f32 {
    if value.is_finite() { value } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECTRA: [f32; 8] = [1.0, 2.0, f32::NAN, 4.0, 3.0, 6.0, 5.0, 4.0];

    fn standard() -> Scaler {
        let mut fit = StandardFit::new(4);
        fit.push(&SPECTRA).unwrap();
        fit.finish()
    }

    #[test]
    fn standard_scaling_is_fitted_without_missing_channels() {
        assert_eq!(
            standard(),
            Scaler::Standard {
                mean: vec![2.0, 4.0, 5.0, 4.0],
                deviation: vec![1.0, 2.0, 1.0, 1.0],
            }
        );
    }

    #[test]
    fn missing_channels_become_zero() {
        for scaler in [Scaler::Rms, standard()] {
            let mut scaled = SPECTRA;
            scaler.apply(&mut scaled, 4, &[0.5, 2.0]).unwrap();
            assert_eq!(scaled[2].to_bits(), 0.0_f32.to_bits());
            assert!(scaled.iter().all(|v| v.is_finite()));
        }
        let mut scaled = SPECTRA;
        Scaler::Rms.apply(&mut scaled, 4, &[0.5, f64::NAN]).unwrap();
        assert_eq!(scaled[..], [2.0, 4.0, 0.0, 8.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn undoing_gives_the_spectra_back() {
        for scaler in [Scaler::Rms, standard()] {
            let rms = [0.3, 0.7];
            let mut spectra = SPECTRA;
            scaler.apply(&mut spectra, 4, &rms).unwrap();
            assert_ne!(spectra[1].to_bits(), SPECTRA[1].to_bits());
            scaler.undo(&mut spectra, 4, &rms).unwrap();
            for (channel, (&was, &is)) in SPECTRA.iter().zip(&spectra).enumerate() {
                assert!(was.is_nan() || (was - is).abs() < 1e-6 * was.abs(), "channel {channel}");
            }
        }
    }

    #[test]
    fn rms_scaling_follows_a_shift() {
        let mut line = [0.0, 1.0, 3.0, 1.0, 0.0, 0.0];
        let mut shifted = [0.0, 0.0, 1.0, 3.0, 1.0, 0.0];
        Scaler::Rms.apply(&mut line, 6, &[0.4]).unwrap();
        Scaler::Rms.apply(&mut shifted, 6, &[0.4]).unwrap();
        assert_eq!(line[..5], shifted[1..]);
    }

    #[test]
    fn chunks_do_not_matter() {
        let spectra: Vec<f32> = (0..4 * 101).map(|i| (i as f32 * 0.37).sin() * 100.0).collect();
        let mut whole = StandardFit::new(4);
        whole.push(&spectra).unwrap();
        let mut parts = StandardFit::new(4);
        for part in spectra.chunks(4 * 7) {
            parts.push(part).unwrap();
        }
        assert_eq!(whole, parts);
    }

    #[test]
    fn a_scaler_survives_serialization() {
        let json = serde_json::to_string(&standard()).unwrap();
        assert!(json.starts_with(r#"{"method":"standard","mean":[2.0,"#), "{json}");
        assert_eq!(serde_json::from_str::<Scaler>(&json).unwrap(), standard());
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let mut spectra = SPECTRA;
        assert!(matches!(
            standard().apply(&mut spectra, 2, &[1.0; 4]),
            Err(ScalingError::Channels { expected: 4, found: 2 })
        ));
        assert!(matches!(
            Scaler::Rms.apply(&mut spectra, 3, &[1.0]),
            Err(ScalingError::Ragged { .. })
        ));
        assert!(matches!(
            Scaler::Rms.apply(&mut spectra, 4, &[1.0]),
            Err(ScalingError::Levels { spectra: 2, levels: 1 })
        ));
        assert!(StandardFit::new(0).push(&spectra).is_err());
    }
}
