//! Whether a component has the shape of a Gaussian, or hides more than one.

use super::channels::Channels;
use super::kernels::{Instructions, derivatives, dot};
use super::least_squares::{Parameters, window};

/// By how much the residual tells that a line isn't one Gaussian: the part of χ² that lies in the three shapes by which
/// two Gaussians, taken for one, differ from it most.
///
/// About a component, in u = (i − m)/s, the functions Hₙ(u) e^(−u²/2) with the Hermite polynomials Hₙ are orthogonal
/// (Abramowitz & Stegun 1972, §22.2). Those of n = 0, 1, 2 are what a change of amplitude, mean and sigma does, and the fit
/// has taken them from the residual r. What two components that are close to each other add begins with n = 3
/// (asymmetry) and n = 4 (flatter or more pointed than a Gaussian), then n = 5. Of noise alone, (gᵀ C⁻¹ r)² / gᵀ C⁻¹ g
/// for each of these shapes g has the mean 1.
///
/// `residual` is whitened; `columns` are room for three whole columns.
pub(super) fn misfit(
    instructions: Instructions,
    component: &Parameters,
    channels: &Channels,
    residual: &[f64],
    columns: [&mut [f64]; 3],
) -> f64 {
    let range = window(component, channels);
    let [a, b, c] = columns.map(|column| &mut column[range.clone()]);
    let (positions, weights) =
        (&channels.positions[range.clone()], &channels.weights[range.clone()]);
    derivatives(instructions, component, positions, weights, a, b, c);
    let [_, mean, sigma] = *component;
    let inverse = 1.0 / sigma;
    for i in 0..a.len() {
        let (u, shape) = ((positions[i] - mean) * inverse, a[i]);
        let v = u * u;
        // H₃/4, H₄/4 and H₅/8.
        a[i] = u * (2.0 * v - 3.0) * shape;
        b[i] = (v * (4.0 * v - 12.0) + 3.0) * shape;
        c[i] = u * (v * (4.0 * v - 20.0) + 15.0) * shape;
    }
    if channels.whitening.tail > 0 {
        channels.whitening.apply(range.start, [&mut *a, &mut *b, &mut *c]);
    }
    let residual = &residual[range];
    let part = |shape: &[f64]| {
        let product = dot(instructions, shape, residual);
        product * product / dot(instructions, shape, shape).max(f64::MIN_POSITIVE)
    };
    part(a) + part(b) + part(c)
}

#[cfg(test)]
mod tests {
    use super::super::channels::NoiseModel;
    use super::*;
    use crate::spectra::{Draws, Purpose};

    const TEST: Purpose = Purpose::new("shape test");

    /// What `residual` (not whitened) tells of a component at channel 100 with a sigma of 5.
    fn told(residual: &[f32], correlation: f64) -> f64 {
        let instructions = Instructions::best();
        let mut channels = Channels::default();
        assert!(channels.set(residual, NoiseModel { rms: 1.0, correlation }, instructions));
        let [mut a, mut b, mut c] = [(); 3].map(|()| vec![0.0; channels.padded]);
        let residual = channels.whitened.clone();
        let columns = [&mut a[..], &mut b[..], &mut c[..]];
        misfit(instructions, &[20.0, 100.0, 5.0], &channels, &residual, columns)
    }

    #[test]
    fn noise_says_three_in_the_mean() {
        for correlation in [0.0, 0.4] {
            // A moving average of two, with this correlation of neighbours.
            let b = if correlation > 0.0 { 0.5 } else { 0.0 };
            let norm = (1.0_f64 + b * b).sqrt();
            let mean = (0..2_000)
                .map(|row| {
                    let mut draws = Draws::new(1, TEST, row);
                    let white: Vec<f64> = (0..=200).map(|_| draws.normal()).collect();
                    let noise: Vec<f32> =
                        white.windows(2).map(|w| ((w[1] + b * w[0]) / norm) as f32).collect();
                    told(&noise, correlation)
                })
                .sum::<f64>()
                / 2_000.0;
            assert!((mean - 3.0).abs() < 0.25, "{mean} at {correlation}");
        }
    }

    #[test]
    fn what_a_fit_of_one_leaves_of_two_is_told_and_what_a_fit_adjusts_is_not() {
        let line = |amplitude: f64, mean: f64, sigma: f64, i: usize| {
            let z = (i as f64 - mean) / sigma;
            amplitude * libm::exp(-0.5 * z * z)
        };
        // A little more amplitude, or a small shift.
        for (amplitude, mean) in [(21.0, 100.0), (20.0, 100.2)] {
            let left: Vec<f32> = (0..200)
                .map(|i| (line(amplitude, mean, 5.0, i) - line(20.0, 100.0, 5.0, i)) as f32)
                .collect();
            assert!(told(&left, 0.0) < 1e-2);
        }
        // Two of the same height, 8 channels apart, less the one that has their three first moments.
        let wide = (4.0_f64.powi(2) - 9.0).sqrt();
        let left: Vec<f32> = (0..200)
            .map(|i| {
                let two = line(15.0, 96.0, wide, i) + line(15.0, 104.0, wide, i);
                let sigma = (wide * wide + 16.0).sqrt();
                (two - line(30.0 * wide / sigma, 100.0, sigma, i)) as f32
            })
            .collect();
        assert!(told(&left, 0.0) > 100.0, "{}", told(&left, 0.0));
    }
}
