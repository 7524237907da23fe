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
