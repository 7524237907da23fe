//! The greatest and the mean value of each feature over all positions of a spectrum.

use dfdx::prelude::*;

use super::signal::{Matrix, Reused, Signal};

/// Spectra × positions × features.
type Cube<D, T = NoneTape> = Tensor<(usize, usize, usize), f32, D, T>;

/// The greatest values of a signal's features and, behind them, the means: spectra × (2 · features). The gradient of a greatest
/// value goes to the first of equals alone.
pub(super) fn pool<D: Device<f32>, T: Tape<f32, D>>(
    signal: Signal<D, T>,
) -> Result<Matrix<D, T>, D::Err> {
    let (spectra, length, features) = (signal.spectra(), signal.length, signal.features);
    let cube = signal.values.try_reshape_like(&(spectra, length, features))?;
    let device = cube.device().clone();
    let ranks = device.try_tensor_from_vec(
        (0..length).map(|position| (length - position) as f32).collect(),
        (length,),
    )?;
    let ranks = ranks.try_broadcast_like::<_, Axes2<0, 2>>(cube.shape())?;
    let nothing: Cube<D> = device.try_zeros_like(cube.shape())?;

    let plain = cube.retaped::<NoneTape>();
    let among_greatest = plain.try_ge(&greatest(plain.clone())?)?;
    let candidates = among_greatest.try_choose(ranks, nothing.clone())?;
    let first = candidates.try_eq(&greatest(candidates.clone())?)?;

    let mut cube = Reused::new(cube);
    let chosen = first.try_choose(cube.again(), nothing)?;
    let means = position_sums(cube.again())?.try_mul(1.0 / length as f32)?;
    (position_sums(chosen)?, means).try_concat_along(Axis::<1>)
}

/// The greatest value over all positions, at each of them.
fn greatest<D: Device<f32>>(values: Cube<D>) -> Result<Cube<D>, D::Err> {
    let shape = *values.shape();
    values.try_max::<(usize, usize), Axis<1>>()?.try_broadcast_like::<_, Axis<1>>(&shape)
}

/// The sum over positions: spectra × features.
fn position_sums<D: Device<f32>, T: Tape<f32, D>>(
    values: Cube<D, T>,
) -> Result<Matrix<D, T>, D::Err> {
    let (spectra, length, features) = *values.shape();
    let ones: Cube<D> = values.device().try_ones_like(&(spectra, 1, length))?;
    ones.retaped::<T>().try_matmul(values)?.try_reshape_like(&(spectra, features))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::detector::pools::Pools;
    use crate::network::difference::noise;
    use crate::network::twin::comparison::{assert_near, gradients, signal, traced};
    use crate::network::twin::lanes::{from_lanes, to_lanes};

    /// Half of the values are equal, as after `ReLU`, and each greatest one is there twice.
    #[test]
    fn values_and_gradients_equal_the_cores() {
        let (spectra, length, features) = (5, 12, 3);
        let mut x: Vec<f32> =
            noise(spectra * length * features, 1).iter().map(|v| v.max(0.0)).collect();
        for spectrum in x.chunks_exact_mut(length * features) {
            spectrum.copy_within(..length * features / 2, length * features / 2);
        }
        let dy = noise(spectra * 2 * features, 2);
        let input = signal(&x, length, features);
        let Ok(result) = pool(traced(&input)) else { panic!("no result") };

        let mut pools = Pools::new(features, length);
        let x = to_lanes(&x, spectra);
        pools.forward(&x, x.len() / length);
        assert_near(&result.as_vec(), &from_lanes(&pools.values, spectra), length);
        let mut dx = vec![0.0; x.len()];
        pools.backward(&to_lanes(&dy, spectra), &mut dx);
        let gradients = gradients(result, &dy);
        assert_near(&gradients.get(&input.values).as_vec(), &from_lanes(&dx, spectra), length);
    }
}
