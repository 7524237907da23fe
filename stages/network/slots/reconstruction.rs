//! The reconstruction error: how well the sum of the predicted Gaussians explains the observed spectrum.

/// Beyond this many sigmas a Gaussian is below half a unit in the last place of 1 and counts as 0.
const REACH: f64 = 6.0;

/// Room for one spectrum's Gaussians, reused from row to row.
#[derive(Debug)]
pub(in crate::network) struct Reconstruction {
    channels: usize,
    /// The sum of the components.
    model: Vec<f32>,
    /// Each component's profile of height 1 (slots × channels).
    profiles: Vec<f32>,
}

impl Reconstruction {
    /// Room for spectra of `channels` channels with up to `slots` components.
    pub(in crate::network) fn new(channels: usize, slots: usize) -> Self {
        Self { channels, model: vec![0.0; channels], profiles: vec![0.0; slots * channels] }
    }

    /// The error of `components` against `observed` in noise units (NaN where missing), and its gradient.
    ///
    /// A component is amplitude over noise rms, mean and sigma as fractions of the axis. With r the residual in noise units
    /// the error is the mean over the observed channels of √(1 + r²) − 1: half r² near the noise, |r| far above it, so that
    /// a strong component still out of place does not drown all others.
    pub(in crate::network) fn evaluate(
        &mut self,
        components: &[[f64; 3]],
        observed: &[f32],
        gradient: &mut [[f64; 3]],
    ) -> f64 {
        let step = 1.0 / (self.channels.max(2) - 1) as f64;
        self.model.fill(0.0);
        for (component, profile) in
            components.iter().zip(self.profiles.chunks_exact_mut(self.channels))
        {
            let [amplitude, mean, sigma] = *component;
            let inverse = (1.0 / sigma) as f32;
            for channel in reach(mean, sigma, step, self.channels) {
                let d = (channel as f64 * step - mean) as f32 * inverse;
                let height = libm::expf(-0.5 * d * d);
                profile[channel] = height;
                self.model[channel] += amplitude as f32 * height;
            }
        }
        let seen = observed.iter().filter(|y| y.is_finite()).count().max(1);
        let mut error = 0.0;
        // From here on `model` holds the derivative of the error by the model, without the factor 1 / seen.
        for (model, y) in self.model.iter_mut().zip(observed) {
            if y.is_finite() {
                let r = f64::from(*model - y);
                let root = (1.0 + r * r).sqrt();
                error += root - 1.0;
                *model = (r / root) as f32;
            } else {
                *model = 0.0;
            }
        }
        for ((component, profile), gradient) in
            components.iter().zip(self.profiles.chunks_exact(self.channels)).zip(gradient)
        {
            let [amplitude, mean, sigma] = *component;
            let inverse = (1.0 / sigma) as f32;
            let (mut by_height, mut by_mean, mut by_sigma) = (0f64, 0f64, 0f64);
            for channel in reach(mean, sigma, step, self.channels) {
                let d = (channel as f64 * step - mean) as f32 * inverse;
                let weight = f64::from(self.model[channel] * profile[channel]);
                let d = f64::from(d);
                by_height += weight;
                by_mean += weight * d;
                by_sigma += weight * d * d;
            }
            let slope = amplitude / sigma / seen as f64;
            *gradient = [by_height / seen as f64, by_mean * slope, by_sigma * slope];
        }
        error / seen as f64
    }
}

/// The channels in which a component is not negligible.
fn reach(mean: f64, sigma: f64, step: f64, channels: usize) -> std::ops::Range<usize> {
    // A float-to-integer cast saturates, so components off the axis get an empty range.
    let first = ((mean - REACH * sigma) / step).ceil().max(0.0) as usize;
    let last = ((mean + REACH * sigma) / step).floor();
    let end = if last < 0.0 { 0 } else { (last as usize).saturating_add(1).min(channels) };
    first.min(end)..end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::difference::{check_gradient, noise};

    const CHANNELS: usize = 90;

    #[test]
    fn truth_leaves_only_noise_and_missing_channels_do_not_count() {
        let components = [[20.0, 0.4, 0.03], [5.0, 0.45, 0.05]];
        let mut observed: Vec<f32> = (0..CHANNELS)
            .map(|channel| {
                let u = channel as f64 / 89.0;
                let sum: f64 = components
                    .iter()
                    .map(|[a, m, s]| a * (-0.5 * ((u - m) / s).powi(2)).exp())
                    .sum();
                sum as f32
            })
            .collect();
        let mut reconstruction = Reconstruction::new(CHANNELS, 2);
        let mut gradient = [[0.0; 3]; 2];
        assert!(reconstruction.evaluate(&components, &observed, &mut gradient) < 1e-6);
        observed[40] = f32::NAN;
        assert!(reconstruction.evaluate(&components, &observed, &mut gradient) < 1e-6);
        observed[40] = 1000.0;
        assert!(reconstruction.evaluate(&components, &observed, &mut gradient) > 5.0);
        // Components off the axis, on either side, explain nothing and harm nothing.
        let off = [[20.0, -90.0, 0.03], [20.0, 90.0, 0.03]];
        let error = reconstruction.evaluate(&off, &[0.0; CHANNELS], &mut gradient);
        assert!(error.abs() < 1e-12);
    }

    #[test]
    fn gradients_of_amplitude_mean_and_sigma_equal_differences() {
        let observed: Vec<f32> = noise(CHANNELS, 5).iter().map(|v| 2.0 * v).collect();
        // In units in which each parameter is of order 1.
        let point = [4.0f32, 0.8, 0.9, 2.0, 1.1, 1.2];
        let natural = |p: &[f32]| {
            [0, 3].map(|i| {
                let [a, m, s] = [p[i], p[i + 1], p[i + 2]].map(f64::from);
                [a, 0.5 * m, 0.05 * s]
            })
        };
        let value = |p: &[f32]| {
            let mut unused = [[0.0; 3]; 2];
            Reconstruction::new(CHANNELS, 2).evaluate(&natural(p), &observed, &mut unused)
        };
        let mut gradient = [[0.0; 3]; 2];
        Reconstruction::new(CHANNELS, 2).evaluate(&natural(&point), &observed, &mut gradient);
        let gradient: Vec<f32> = gradient
            .iter()
            .flat_map(|[a, m, s]| [*a as f32, (0.5 * m) as f32, (0.05 * s) as f32])
            .collect();
        assert!(gradient.iter().all(|g| g.abs() > 1e-3), "{gradient:?}");
        check_gradient(&point, &gradient, value);
    }
}
