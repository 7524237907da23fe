//! Batch normalisation: by the moments of the batch in training, by running ones in prediction.

use dfdx::prelude::*;

use super::signal::{Matrix, Signal};
use crate::network::normalization::EPSILON;

/// A normalised signal, and the moments by which it was normalised.
pub(super) struct Normalized<D: Device<f32>, T> {
    /// Of mean 0 and variance 1, then scaled and shifted.
    pub(super) signal: Signal<D, T>,
    /// The mean of each feature: 1 × features.
    pub(super) mean: Matrix<D>,
    /// The variance of each feature (divided by the number of values): 1 × features.
    pub(super) variance: Matrix<D>,
}

/// Normalises by the moments of the batch. `weight` and `bias` are columns of a value for each feature.
pub(super) fn normalize_batch<D: Device<f32>, T: Tape<f32, D>>(
    weight: Matrix<D, T>,
    bias: Matrix<D, T>,
    signal: Signal<D, T>,
) -> Result<Normalized<D, T>, D::Err> {
    let (spectra, length, features) = (signal.spectra(), signal.length, signal.features);
    let share = 1.0 / (spectra * length) as f32;
    let untaped = Signal { values: signal.values.with_empty_tape(), length, features };
    let mean = signal.feature_sums()?.try_mul(share)?;
    let plain_mean = mean.retaped::<NoneTape>();
    let means = Signal::repeated(mean, spectra, length)?;
    let centred = untaped.values.try_sub(means.values)?;
    let squares = centred.with_empty_tape().try_square()?;
    let variance = Signal { values: squares, length, features }.feature_sums()?.try_mul(share)?;
    let plain_variance = variance.retaped::<NoneTape>();
    let inverse = variance.try_add(EPSILON as f32)?.try_sqrt()?.try_recip()?;
    let values = affine(weight, bias, inverse, centred, length)?;
    Ok(Normalized {
        signal: Signal { values, length, features },
        mean: plain_mean,
        variance: plain_variance,
    })
}

/// Normalises by known moments, each 1 × features.
pub(super) fn normalize_by<D: Device<f32>, T: Tape<f32, D>>(
    mean: Matrix<D>,
    variance: Matrix<D>,
    weight: Matrix<D, T>,
    bias: Matrix<D, T>,
    signal: Signal<D, T>,
) -> Result<Signal<D, T>, D::Err> {
    let (spectra, length, features) = (signal.spectra(), signal.length, signal.features);
    let inverse = variance.try_add(EPSILON as f32)?.try_sqrt()?.try_recip()?;
    let means = Signal::repeated(mean, spectra, length)?;
    let centred = signal.values.try_sub(means.values)?;
    let values = affine(weight, bias, inverse.retaped::<T>(), centred, length)?;
    Ok(Signal { values, length, features })
}

/// `centred · (weight · inverse) + bias`, feature by feature.
fn affine<D: Device<f32>, T: Tape<f32, D>>(
    weight: Matrix<D, T>,
    bias: Matrix<D, T>,
    inverse: Matrix<D, T>,
    centred: Matrix<D, T>,
    length: usize,
) -> Result<Matrix<D, T>, D::Err> {
    let row = (1, inverse.shape().1);
    let spectra = centred.shape().0;
    let scale = weight.try_reshape_like(&row)?.try_mul(inverse)?;
    let scales = Signal::repeated(scale, spectra, length)?;
    let shifts = Signal::repeated(bias.try_reshape_like(&row)?, spectra, length)?;
    centred.try_mul(scales.values)?.try_add(shifts.values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::difference::noise;
    use crate::network::normalization::{Normalization, Sums};
    use crate::network::slots::rectification;
    use crate::network::twin::comparison::{assert_near, column, gradients, rows, signal, traced};

    const FEATURES: usize = 5;
    const LENGTH: usize = 6;
    const ROWS: usize = 7 * LENGTH;

    fn values() -> Vec<f32> {
        noise(ROWS * FEATURES, 1).iter().map(|v| 2.0 * v + 1.0).collect()
    }

    /// With the rectification that follows it everywhere, as the core has them in one.
    #[test]
    fn values_moments_and_gradients_equal_the_cores() {
        let (x, w, b) = (values(), noise(FEATURES, 2), noise(FEATURES, 3));
        let dy = noise(ROWS * FEATURES, 4);
        let (weight, bias, input) = (column(&w), column(&b), signal(&x, LENGTH, FEATURES));
        let result = normalize_batch(weight.leaky_trace(), bias.leaky_trace(), traced(&input));
        let Ok(result) = result else { panic!("no result") };
        let rectified = result.signal.values.relu();

        let by = Normalization::of_batch(&Sums::moments(&x, FEATURES), ROWS, &w, &b);
        let mut y = vec![0.0; x.len()];
        rectification::forward(&by, &x, &mut y);
        assert_near(&result.mean.as_vec(), &by.mean, ROWS);
        assert_near(&result.variance.as_vec(), &by.variance, ROWS);
        assert_near(&rectified.as_vec(), &y, ROWS);
        let gradients = gradients(rectified, &dy);
        let mut dx = dy;
        let sums = rectification::backward(&by, &x, &mut dx);
        let single = |values: &[f64]| values.iter().map(|v| *v as f32).collect::<Vec<f32>>();
        assert_near(&gradients.get(&weight).as_vec(), &single(&sums.second), ROWS);
        assert_near(&gradients.get(&bias).as_vec(), &single(&sums.first), ROWS);
        assert_near(&gradients.get(&input.values).as_vec(), &dx, ROWS);
    }

    #[test]
    fn known_moments_normalise_as_the_cores_do() {
        let (x, w, b) = (values(), noise(FEATURES, 2), noise(FEATURES, 3));
        let mean = noise(FEATURES, 5);
        let variance: Vec<f32> = noise(FEATURES, 6).iter().map(|v| 0.5 + v * v).collect();
        let result = normalize_by(
            rows(&mean, 1),
            rows(&variance, 1),
            column(&w),
            column(&b),
            signal(&x, LENGTH, FEATURES),
        );
        let Ok(result) = result else { panic!("{result:?}") };
        let by = Normalization::new(mean, variance, &w, &b);
        let mut y = vec![0.0; x.len()];
        rectification::forward(&by, &x, &mut y);
        assert_near(&result.values.relu().as_vec(), &y, 4);
    }
}
