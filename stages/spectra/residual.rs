//! What a fit leaves of a spectrum, beside what another leaves of its own.

use super::model::add_components;
use super::noise::FEWEST;
use super::residual_noise::{FAINT, SPIKE};
use super::{Axis, Component};

/// What a fit leaves of a spectrum, in units of the rms of its noise.
#[derive(Debug, Clone)]
pub struct Residual {
    /// NaN where a channel is missing or holds a spike.
    values: Vec<f32>,
    /// Whether the fit says that a channel is free of lines.
    free: Vec<bool>,
}

impl Residual {
    /// What these components leave of a spectrum whose noise has this rms.
    pub fn new(spectrum: &[f32], components: &[Component], axis: &Axis, noise_rms: f64) -> Self {
        let mut model = vec![0.0; spectrum.len()];
        add_components(axis, components, &mut model);
        let left = |(value, model): (&f32, &f64)| {
            let left = (f64::from(*value) - model) / noise_rms;
            if left.abs() <= SPIKE { left as f32 } else { f32::NAN }
        };
        Self {
            values: spectrum.iter().zip(&model).map(left).collect(),
            free: model.iter().map(|model| model.abs() <= FAINT * noise_rms).collect(),
        }
    }

    /// The correlation of the noise of two spectra, channel by channel: Σ uv / √(Σ u² Σ v²) over the channels that are free of
    /// lines in both, or over all where these are fewer than a tenth. `None` where both have too few channels in common.
    pub fn correlation(&self, other: &Self) -> Option<f64> {
        let of = |channels: &dyn Fn(usize) -> bool| {
            let (mut own, mut others, mut products, mut count) = (0.0, 0.0, 0.0, 0_usize);
            for (channel, (u, v)) in self.values.iter().zip(&other.values).enumerate() {
                let (u, v) = (f64::from(*u), f64::from(*v));
                if u.is_nan() || v.is_nan() || !channels(channel) {
                    continue;
                }
                own += u * u;
                others += v * v;
                products += u * v;
                count += 1;
            }
            (products / (own * others).sqrt(), count)
        };
        let (all, usable) = of(&|_| true);
        let (free, channels) = of(&|channel| self.free[channel] && other.free[channel]);
        let found = if channels < FEWEST.max(usable / 10) { all } else { free };
        (usable >= FEWEST && found.is_finite()).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::{Draws, Purpose};
    use super::*;

    const TEST: Purpose = Purpose::new("residual test");

    fn axis(channels: usize) -> Axis {
        Axis { start: 0.0, step: 1.0, channels, unit: String::new() }
    }

    /// Noise of two spectra, of rms 1 and 3, that correlates by `correlation`, neighbouring channels by 0.4.
    fn noise(row: u64, channels: usize, correlation: f64) -> [Vec<f32>; 2] {
        let mut draws = Draws::new(3, TEST, row);
        let mut smooth = || -> Vec<f64> {
            let white: Vec<f64> = (0..=channels).map(|_| draws.normal()).collect();
            white.windows(2).map(|w| (w[1] + 0.5 * w[0]) / 1.25_f64.sqrt()).collect()
        };
        let (u, v) = (smooth(), smooth());
        let rest = (1.0 - correlation * correlation).sqrt();
        let of = |(u, v): (&f64, &f64)| (3.0 * (correlation * u + rest * v)) as f32;
        let mixed = u.iter().zip(&v).map(of).collect();
        [u.iter().map(|u| *u as f32).collect(), mixed]
    }

    #[test]
    fn the_noise_that_both_share_is_told_whatever_lines_the_fits_have_or_miss_at() {
        let axis = axis(400);
        let line = Component { amplitude: 40.0, mean: 200.0, sigma: 8.0 };
        // A fit that is off, in both alike.
        let found = Component { amplitude: 42.0, mean: 200.5, ..line };
        for expected in [0.0, 0.3, 0.7] {
            let mut sum = 0.0;
            for row in 0..200 {
                let spectra = noise(row, 400, expected).map(|noise| {
                    let mut values: Vec<f64> = noise.iter().map(|v| f64::from(*v)).collect();
                    add_components(&axis, &[line], &mut values);
                    let mut values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
                    values[..30].fill(f32::NAN);
                    values[50] = 900.0;
                    values
                });
                let [a, b] = [(&spectra[0], 1.0), (&spectra[1], 3.0)]
                    .map(|(spectrum, rms)| Residual::new(spectrum, &[found], &axis, rms));
                sum += a.correlation(&b).unwrap() / 200.0;
            }
            // The standard deviation of the mean is 0.005 at most.
            assert!((sum - expected).abs() < 0.015, "{sum} is not {expected}");
        }
    }

    #[test]
    fn where_lines_are_everywhere_all_channels_count_and_few_tell_nothing() {
        let axis = axis(400);
        let everywhere = Component { amplitude: 40.0, mean: 200.0, sigma: 1000.0 };
        let residuals = |channels: usize| {
            let mut rms = 0.0;
            noise(0, channels, 0.7).map(|noise| {
                rms = 2.0 * rms + 1.0;
                let mut values: Vec<f64> = noise.iter().map(|v| f64::from(*v)).collect();
                add_components(&axis, &[everywhere], &mut values);
                let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
                Residual::new(&values, &[everywhere], &axis, rms)
            })
        };
        let [a, b] = residuals(400);
        let found = a.correlation(&b).unwrap();
        assert!((found - 0.7).abs() < 0.15, "{found}");
        let [a, b] = residuals(7);
        assert_eq!(a.correlation(&b), None);
    }
}
