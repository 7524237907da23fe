//! Central differences, against which the tests check every gradient.

use super::random::{Purpose, generator, symmetric};

/// Repeatable values, uniform on [-1, 1).
pub(super) fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut generator = generator(seed, Purpose::Weights, [99, 0], 0);
    (0..count).map(|_| symmetric(&mut generator)).collect()
}

/// The inner product, in `f64`.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// Asserts that `gradient` is that of `value` at `point`.
///
/// Along a unit direction the central difference D(h) = (f(+h) - f(-h)) / 2h is off by c·h² (truncation), by a term of order
/// h where a `ReLU` or a maximum switches within the step, and by up to about ε·|f| / h (rounding of an `f32` computation). Both of
/// the first show as a spread of D over successive halvings of h. So of several steps the three successive ones with the least
/// spread are taken, the tolerance is twice that spread plus the rounding term, and the test demands that it be below 2 % of the
/// gradient's length, so that it cannot pass by being blind.
pub(super) fn check_gradient(point: &[f32], gradient: &[f32], value: impl Fn(&[f32]) -> f64) {
    assert_eq!(point.len(), gradient.len());
    let length = dot(gradient, gradient).sqrt();
    assert!(length > 0.0, "the gradient is zero");
    let rms = (dot(point, point) / point.len() as f64).sqrt().max(0.1);
    let h = 2e-3 * rms * (point.len() as f64).sqrt().min(8.0);
    let directions: Vec<Vec<f32>> = [gradient.to_vec()]
        .into_iter()
        .chain((0..4).map(|seed| noise(point.len(), 1000 + seed)))
        .chain((0..4).map(|i| {
            let mut unit = vec![0.0; point.len()];
            unit[(i * point.len()) / 4] = 1.0;
            unit
        }))
        .collect();
    for (index, direction) in directions.iter().enumerate() {
        let norm = dot(direction, direction).sqrt();
        let along = |step: f64| {
            let moved: Vec<f32> = point
                .iter()
                .zip(direction)
                .map(|(&p, &d)| p + (f64::from(d) * step / norm) as f32)
                .collect();
            // The step as it was really taken, after rounding.
            let taken = moved
                .iter()
                .zip(point)
                .zip(direction)
                .map(|((&m, &p), &d)| (f64::from(m) - f64::from(p)) * f64::from(d) / norm)
                .sum::<f64>();
            (value(&moved), taken)
        };
        let quotient = |step: f64| {
            let ((above, up), (below, down)) = (along(step), along(-step));
            ((above - below) / (up - down), above.abs().max(below.abs()))
        };
        let quotients = [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125].map(|factor| {
            let (value, size) = quotient(factor * h);
            let rounding = f64::from(f32::EPSILON) * size.max(1.0) / (factor * h);
            (value, rounding)
        });
        let (mut near, mut tolerance) = (0.0, f64::MAX);
        for three in quotients.windows(3) {
            let values = three.iter().map(|(value, _)| *value);
            let spread = values.clone().fold(f64::MIN, f64::max) - values.fold(f64::MAX, f64::min);
            if 2.0 * spread + three[2].1 < tolerance {
                (near, tolerance) = (three[2].0, 2.0 * spread + three[2].1);
            }
        }
        let expected = dot(gradient, direction) / norm;
        assert!(
            tolerance < 0.02 * length,
            "direction {index}: tolerance {tolerance:e} is blind to a gradient of length {length:e}"
        );
        assert!(
            (near - expected).abs() <= tolerance,
            "direction {index}: difference {near:e}, gradient {expected:e}, tolerance {tolerance:e}"
        );
    }
}
