//! What the tests have in common: tensors from slices, and how near two implementations must be.

use dfdx::prelude::*;

use super::signal::{Matrix, Signal};

/// A column of values.
pub(super) fn column(values: &[f32]) -> Matrix<Cpu> {
    Cpu::default().tensor_from_vec(values.to_vec(), (values.len(), 1))
}

/// A matrix of rows.
pub(super) fn rows(values: &[f32], rows: usize) -> Matrix<Cpu> {
    Cpu::default().tensor_from_vec(values.to_vec(), (rows, values.len() / rows))
}

/// A signal of spectra, each `length` positions of `features`.
pub(super) fn signal(values: &[f32], length: usize, features: usize) -> Signal<Cpu> {
    let spectra = values.len() / (length * features);
    Signal { values: rows(values, spectra), length, features }
}

/// A signal that keeps a tape.
pub(super) fn traced(signal: &Signal<Cpu>) -> Signal<Cpu, OwnedTape<f32, Cpu>> {
    Signal { values: signal.values.leaky_trace(), length: signal.length, features: signal.features }
}

/// The derivatives of the sum of `result` times `upstream`.
pub(super) fn gradients(
    result: Matrix<Cpu, OwnedTape<f32, Cpu>>,
    upstream: &[f32],
) -> Gradients<f32, Cpu> {
    let upstream = rows(upstream, result.shape().0);
    (result * upstream).sum().backward()
}

/// Asserts that two results in `f32` of the same sums of at most `terms` are the same but for rounding: their difference is
/// below ε · √terms of the root mean square, some ten times over for the steps in between.
#[track_caller]
pub(super) fn assert_near(found: &[f32], expected: &[f32], terms: usize) {
    assert_eq!(found.len(), expected.len());
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let size = square(&mut expected.iter().map(|v| f64::from(*v))).sqrt();
    let off = found.iter().zip(expected).map(|(a, b)| f64::from(*a) - f64::from(*b));
    let distance = square(&mut off.clone()).sqrt();
    let bound = 10.0 * f64::from(f32::EPSILON) * (terms as f64).sqrt() * size;
    assert!(size > 0.0, "nothing was expected");
    assert!(distance <= bound, "off by {distance:e} of {size:e}, which is above {bound:e}");
}
