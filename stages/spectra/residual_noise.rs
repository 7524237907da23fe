//! The noise of a spectrum, measured on what a model leaves of it.

use super::noise::{FEWEST, robust_rms};

/// A channel is free of lines where the model is below this, in units of the noise rms.
pub(super) const FAINT: f64 = 0.1;

/// What is left beyond this many rms, of either sign, is a spike or a line that the model lacks. Of a normal distribution
/// that is a part in 10⁶, and takes less than a part in 10⁴ of its variance.
pub(super) const SPIKE: f64 = 5.0;

/// The rms about zero of the noise of `spectrum`, of which a `model` that was fitted to it, with so many `parameters`,
/// tells every channel.
///
/// On the channels that the *model* says are free of lines, whatever they hold: a channel that is left out because of its
/// value takes more from the rms the higher it is, and in correlated noise its neighbours, which are left out with it, do
/// the same. Only spikes are left out, of both signs alike.
///
/// Where lines leave fewer than a tenth of the channels free (eight at least), all channels count, and the sum of squares is
/// divided by their number less that of the parameters: the mean of what a least-squares fit leaves of as many
/// channels of unit variance. Missing channels are passed over. `None` where there is no noise to measure.
pub(super) fn residual_rms(spectrum: &[f32], model: &[f64], parameters: usize) -> Option<f64> {
    let left = || {
        spectrum
            .iter()
            .zip(model)
            .filter(|(value, _)| value.is_finite())
            .map(|(value, model)| (f64::from(*value) - model, model.abs()))
    };
    let moduli: Vec<f64> = left().map(|(residual, _)| residual.abs()).collect();
    let usable = moduli.len();
    let scale = robust_rms(moduli)?;
    let (mut squares, mut channels) = (0.0, 0_usize);
    let (mut all_squares, mut all_channels) = (0.0, 0_usize);
    for (residual, model) in left().filter(|(residual, _)| residual.abs() <= SPIKE * scale) {
        all_squares += residual * residual;
        all_channels += 1;
        if model <= FAINT * scale {
            squares += residual * residual;
            channels += 1;
        }
    }
    if channels < FEWEST.max(usable / 10) {
        (squares, channels) = (all_squares, all_channels.saturating_sub(parameters));
    }
    let rms = (squares / channels as f64).sqrt();
    (rms.is_finite() && rms > 0.0).then_some(rms)
}

#[cfg(test)]
mod tests {
    use super::super::random::{Draws, Purpose};
    use super::*;

    const TEST: Purpose = Purpose::new("residual noise test");

    /// Noise of unit rms whose neighbours are correlated by b/(1 + b²).
    fn noise(row: u64, channels: usize, b: f64) -> Vec<f64> {
        let mut draws = Draws::new(2, TEST, row);
        let white: Vec<f64> = (0..=channels).map(|_| draws.normal()).collect();
        let norm = (1.0 + b * b).sqrt();
        white.windows(2).map(|w| (w[1] + b * w[0]) / norm).collect()
    }

    fn spectrum(noise: &[f64], model: &[f64]) -> Vec<f32> {
        noise.iter().zip(model).map(|(noise, model)| (noise + model) as f32).collect()
    }

    #[test]
    fn it_is_the_noise_however_correlated() {
        let model: Vec<f64> = (0..424)
            .map(|i| 20.0 * libm::exp(-0.5 * ((f64::from(i) - 150.0) / 20.0).powi(2)))
            .collect();
        for b in [0.0, 0.5, 0.9] {
            let mut square = 0.0;
            for row in 0..600 {
                let rms = residual_rms(&spectrum(&noise(row, 424, b), &model), &model, 3).unwrap();
                square += rms * rms / 600.0;
            }
            // The standard deviation of the mean is 0.004 at most.
            assert!((square - 1.0).abs() < 0.012, "{b}: {square}");
        }
    }

    #[test]
    fn spikes_and_gaps_are_passed_over() {
        let model = vec![0.0; 424];
        let mut values = noise(1, 424, 0.0);
        let before = residual_rms(&spectrum(&values, &model), &model, 0).unwrap();
        (values[40], values[41], values[300], values[301]) =
            (900.0, -700.0, f64::NAN, f64::INFINITY);
        let after = residual_rms(&spectrum(&values, &model), &model, 0).unwrap();
        assert!((after / before - 1.0).abs() < 0.01, "{before} and {after}");
    }

    #[test]
    fn where_there_are_lines_everywhere_the_parameters_are_counted() {
        // A straight line fitted to noise, with a model that is nowhere faint.
        let (mut square, count) = (0.0, 30);
        for row in 0..1500 {
            let values = noise(row, count, 0.0);
            let x = |i: usize| i as f64 - 14.5;
            let mean = values.iter().sum::<f64>() / count as f64;
            let slope = values.iter().enumerate().map(|(i, v)| x(i) * v).sum::<f64>()
                / (0..count).map(|i| x(i) * x(i)).sum::<f64>();
            let fitted: Vec<f64> = (0..count).map(|i| 50.0 + mean + slope * x(i)).collect();
            let values: Vec<f32> = values.iter().map(|v| (50.0 + v) as f32).collect();
            let rms = residual_rms(&values, &fitted, 2).unwrap();
            square += rms * rms / 1500.0;
        }
        // The standard deviation of the mean is 0.007; without the two parameters it would be 0.933.
        assert!((square - 1.0).abs() < 0.025, "{square}");
        assert_eq!(residual_rms(&[1.0; 5], &[9.0; 5], 3), None);
        assert_eq!(residual_rms(&[0.0; 50], &[0.0; 50], 0), None);
    }
}
