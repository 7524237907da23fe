//! The greater of each two neighbouring positions.

use dfdx::prelude::*;

use super::signal::Signal;

/// Halves a signal, rounding down: of each two positions the greater value survives, the left one of equals, and its
/// gradient goes to that one alone.
pub(super) fn halve<D: Device<f32>, T: Tape<f32, D>>(
    signal: Signal<D, T>,
) -> Result<Signal<D, T>, D::Err> {
    let (spectra, length, features) = (signal.spectra(), signal.length / 2, signal.features);
    let even = if signal.length.is_multiple_of(2) {
        signal.values
    } else {
        signal.values.try_slice((.., ..2 * length * features))?
    };
    let pairs = even.try_reshape_like(&(spectra * length, 2 * features))?;
    let left = pairs.with_empty_tape().try_slice((.., ..features))?;
    let right = pairs.try_slice((.., features..))?;
    let greater = right.try_gt(&left)?;
    Signal::of_positions(greater.try_choose(right, left)?, spectra)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::difference::noise;
    use crate::network::normalization::{Normalization, Sums};
    use crate::network::slots::pooling::Pooling;
    use crate::network::twin::comparison::{assert_near, column, gradients, rows, signal, traced};
    use crate::network::twin::normalization::normalize_batch;

    /// With the normalisation and the rectification that go before it, as the core has them in one sweep. Half of the pairs
    /// are ties.
    #[test]
    fn values_and_gradients_equal_the_cores() {
        for length in [10, 11] {
            let (spectra, n) = (4, 6);
            let pooling = Pooling { length, features: n };
            let mut x = noise(spectra * length * n, 1);
            for pair in x.chunks_exact_mut(2 * n).step_by(2) {
                pair.copy_within(..n, n);
            }
            let (w, b) = (noise(n, 2), noise(n, 3));
            let dy = noise(spectra * pooling.output_size(), 4);
            let (weight, bias, input) = (column(&w), column(&b), signal(&x, length, n));
            let result = normalize_batch(weight.leaky_trace(), bias.leaky_trace(), traced(&input))
                .and_then(|normalized| halve(normalized.signal));
            let Ok(result) = result else { panic!("{result:?}") };
            assert_eq!((result.length, result.features), (5, n));
            let result = result.values.relu();

            let by = Normalization::of_batch(&Sums::moments(&x, n), spectra * length, &w, &b);
            let mut y = vec![0.0; dy.len()];
            let mut sums = Sums::new(n);
            for ((x, y), dy) in x
                .chunks_exact(length * n)
                .zip(y.chunks_exact_mut(5 * n))
                .zip(dy.chunks_exact(5 * n))
            {
                pooling.forward(&by, x, y);
                pooling.add_gradient(&by, x, dy, &mut sums);
            }
            let through = by.backward(&sums, spectra * length);
            let mut dx = vec![0.0; x.len()];
            for ((x, dy), dx) in x
                .chunks_exact(length * n)
                .zip(dy.chunks_exact(5 * n))
                .zip(dx.chunks_exact_mut(length * n))
            {
                pooling.backward(&by, &through, x, dy, &[0], dx);
            }
            assert_near(&result.as_vec(), &y, spectra * length);
            let gradients = gradients(result, &dy);
            assert_near(&gradients.get(&input.values).as_vec(), &dx, spectra * length);
        }
    }

    #[test]
    fn the_left_one_of_equals_survives_alone() {
        let input = rows(&[1.0, 1.0, 2.0, 3.0], 1);
        let traced = Signal { values: input.leaky_trace(), length: 4, features: 1 };
        let Ok(result) = halve(traced) else { panic!("no result") };
        let gradients = gradients(result.values, &[5.0, 7.0]).get(&input).as_vec();
        assert_eq!(gradients, [5.0, 0.0, 0.0, 7.0]);
    }
}
