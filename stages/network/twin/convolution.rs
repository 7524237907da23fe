//! "Same" convolutions as sums over taps: the signal times every tap's matrix, each product shifted by its tap.

use dfdx::prelude::*;

use super::signal::{Matrix, Reused, Signal};
use crate::network::detector::convolution::Convolution as Single;
use crate::network::slots::convolution::Convolution;

/// Spectra × positions × features.
type Cube<D, T> = Tensor<(usize, usize, usize), f32, D, T>;

/// A convolution of the detector's: one of several kernels of which there are no others.
pub(super) fn alone(convolution: &Single) -> Convolution {
    let Single { inputs, filters, kernel, length } = *convolution;
    Convolution { inputs, filters, kernels: vec![kernel], length }
}

/// Convolves `signal` with every kernel of `layer`, their outputs side by side.
///
/// `weights` are the layer's learned values as a column: for each kernel (tap, input, filter).
pub(super) fn convolve<D: Device<f32>, T: Tape<f32, D>>(
    layer: &Convolution,
    weights: Matrix<D, T>,
    signal: Signal<D, T>,
) -> Result<Signal<D, T>, D::Err> {
    let (spectra, length, filters) = (signal.spectra(), signal.length, layer.filters);
    let margin = layer.margin();
    let padded = pad(signal, margin)?;
    let rows = padded.length;
    let product = padded.positions()?.try_matmul(tap_columns(layer, weights)?)?;
    let columns = product.shape().1;
    // No two slices of the product overlap.
    let mut product = Reused::new(product.try_reshape_like(&(spectra, rows, columns))?);
    let mut column = 0;
    let mut result: Option<Matrix<D, T>> = None;
    for kernel in &layer.kernels {
        let mut sum: Option<Cube<D, T>> = None;
        for shift in margin - kernel / 2..=margin + kernel / 2 {
            let tap = (.., shift..shift + length, column..column + filters);
            let shifted = product.again().try_slice(tap)?;
            column += filters;
            sum = Some(match sum {
                Some(sum) => sum.try_add(shifted)?,
                None => shifted,
            });
        }
        let Some(sum) = sum else { unreachable!("a kernel has taps") };
        let branch = sum.try_reshape_like(&(spectra * length, filters))?;
        result = Some(match result {
            Some(result) => (result, branch).try_concat_along(Axis::<1>)?,
            None => branch,
        });
    }
    let Some(result) = result else { unreachable!("a convolution has kernels") };
    Signal::of_positions(result, spectra)
}

/// The signal between margins of zeros.
fn pad<D: Device<f32>, T: Tape<f32, D>>(
    signal: Signal<D, T>,
    margin: usize,
) -> Result<Signal<D, T>, D::Err> {
    // dfdx knows no empty tensors.
    if margin == 0 {
        return Ok(signal);
    }
    let (spectra, features) = (signal.spectra(), signal.features);
    let device = signal.values.device().clone();
    let zeros: Matrix<D> = device.try_zeros_like(&(spectra, margin * features))?;
    let before = (zeros.retaped::<T>(), signal.values).try_concat_along(Axis::<1>)?;
    let values = (before, zeros).try_concat_along(Axis::<1>)?;
    Ok(Signal { values, length: signal.length + 2 * margin, features })
}

/// The matrices (input × filter) of all taps of all kernels, side by side.
fn tap_columns<D: Device<f32>, T: Tape<f32, D>>(
    layer: &Convolution,
    weights: Matrix<D, T>,
) -> Result<Matrix<D, T>, D::Err> {
    let mut weights = Reused::new(weights);
    let mut first = 0;
    let mut result: Option<Matrix<D, T>> = None;
    for &kernel in &layer.kernels {
        let end = first + kernel * layer.inputs * layer.filters;
        let columns = weights
            .again()
            .try_slice((first..end, ..))?
            .try_reshape_like(&(kernel, layer.inputs, layer.filters))?
            .try_permute::<(usize, usize, usize), Axes3<1, 0, 2>>()?
            .try_reshape_like(&(layer.inputs, kernel * layer.filters))?;
        first = end;
        result = Some(match result {
            Some(result) => (result, columns).try_concat_along(Axis::<1>)?,
            None => columns,
        });
    }
    let Some(result) = result else { unreachable!("a convolution has kernels") };
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::detector::convolution::Finish;
    use crate::network::detector::lanes::{Instructions, LANES};
    use crate::network::difference::noise;
    use crate::network::twin::comparison::{assert_near, column, gradients, signal, traced};
    use crate::network::twin::lanes::{from_lanes, to_lanes};

    const SPECTRA: usize = 3;

    /// The core's output, gradient of the weights and gradient of the input.
    fn core(layer: &Convolution, w: &[f32], x: &[f32], dy: &[f32]) -> [Vec<f32>; 3] {
        let interior = layer.interior();
        let mut y = vec![0.0; SPECTRA * layer.output_size()];
        let mut dw = vec![0.0; layer.weight_size()];
        let mut dx = vec![0.0; x.len()];
        let mut mirrored = vec![0.0; w.len()];
        layer.mirror(w, &mut mirrored);
        for spectrum in 0..SPECTRA {
            let one = spectrum * interior.len()..(spectrum + 1) * interior.len();
            let out = spectrum * layer.output_size()..(spectrum + 1) * layer.output_size();
            let mut padded = vec![0.0; layer.input_size()];
            padded[interior.clone()].copy_from_slice(&x[one.clone()]);
            layer.forward(w, &padded, &mut y[out.clone()]);
            let mut branched = vec![0.0; layer.gradient_size()];
            for (branch, start) in layer.gradient_starts().into_iter().enumerate() {
                for (position, row) in dy[out.clone()].chunks_exact(layer.outputs()).enumerate() {
                    branched[start + position * layer.filters..][..layer.filters]
                        .copy_from_slice(&row[branch * layer.filters..][..layer.filters]);
                }
            }
            layer.backward(&padded, &branched, &mut dw);
            layer.backward_input(&mirrored, &branched, &mut dx[one]);
        }
        [y, dw, dx]
    }

    #[test]
    fn values_and_gradients_equal_the_cores() {
        for kernels in [vec![3, 7, 15], vec![1], vec![5]] {
            let layer = Convolution { inputs: 4, filters: 3, kernels, length: 11 };
            let (w, x) = (noise(layer.weight_size(), 1), noise(SPECTRA * 44, 2));
            let dy = noise(SPECTRA * layer.output_size(), 3);
            let (weights, input) = (column(&w), signal(&x, 11, 4));
            let result = convolve(&layer, weights.leaky_trace(), traced(&input));
            let Ok(result) = result else { panic!("{result:?}") };
            assert_eq!((result.length, result.features), (11, layer.outputs()));
            let [y, dw, dx] = core(&layer, &w, &x, &dy);
            assert_near(&result.values.as_vec(), &y, 15 * 4);
            let gradients = gradients(result.values, &dy);
            assert_near(&gradients.get(&weights).as_vec(), &dw, SPECTRA * 11);
            assert_near(&gradients.get(&input.values).as_vec(), &dx, 25 * 3);
        }
    }

    /// The same for the core of the detector.
    fn core_of_single(layer: &Single, w: &[f32], x: &[f32], dy: &[f32]) -> [Vec<f32>; 3] {
        let with = Instructions::best();
        let padded = |layer: &Single, values: &[f32]| {
            let mut padded = vec![0.0; layer.input_size()];
            padded[layer.interior()].copy_from_slice(&to_lanes(values, SPECTRA));
            padded
        };
        let (x, back) = (padded(layer, x), layer.transposed());
        let mut y = vec![0.0; layer.output_size()];
        layer.forward(with, w, &x, Finish::NONE, &mut y, layer.filters * LANES);
        let mut dw = vec![0.0; layer.weight_size()];
        layer.backward(with, &x, &to_lanes(dy, SPECTRA), SPECTRA, &mut dw);
        let mut mirrored = vec![0.0; w.len()];
        layer.mirror(w, &mut mirrored);
        let mut dx = vec![0.0; back.output_size()];
        let dy = padded(&back, dy);
        back.forward(with, &mirrored, &dy, Finish::NONE, &mut dx, layer.inputs * LANES);
        [from_lanes(&y, SPECTRA), dw, from_lanes(&dx, SPECTRA)]
    }

    #[test]
    fn values_and_gradients_equal_those_of_the_detector_s_core() {
        for (kernel, length) in [(7, 12), (5, 12), (5, 2), (1, 12), (1, 1)] {
            let layer = Single { inputs: 4, filters: 3, kernel, length };
            let (w, x) = (noise(layer.weight_size(), 1), noise(SPECTRA * length * 4, 2));
            let dy = noise(SPECTRA * length * 3, 3);
            let (weights, input) = (column(&w), signal(&x, length, 4));
            let result = convolve(&alone(&layer), weights.leaky_trace(), traced(&input));
            let Ok(result) = result else { panic!("{result:?}") };
            let [y, dw, dx] = core_of_single(&layer, &w, &x, &dy);
            assert_near(&result.values.as_vec(), &y, 7 * 4);
            let gradients = gradients(result.values, &dy);
            assert_near(&gradients.get(&weights).as_vec(), &dw, SPECTRA * length);
            assert_near(&gradients.get(&input.values).as_vec(), &dx, 7 * 3);
        }
    }
}
