//! Parallel "same" convolutions of several widths over one signal, their outputs side by side.
//!
//! Signals lie position by position, channels adjacent, so the window of a kernel is one contiguous run and a convolution
//! is a matrix product over a view with overlapping rows. Inputs carry a margin of zeros of half the widest kernel.

use super::matrix::{Matrix, MatrixMut, Store, multiply};

/// The sizes of one multi-scale convolution.
#[derive(Debug, Clone)]
pub(in crate::network) struct Convolution {
    /// Input channels.
    pub(in crate::network) inputs: usize,
    /// Output channels of each kernel.
    pub(in crate::network) filters: usize,
    /// Odd, ascending widths.
    pub(in crate::network) kernels: Vec<usize>,
    /// Positions.
    pub(in crate::network) length: usize,
}

impl Convolution {
    /// Output channels of all kernels.
    pub(in crate::network) fn outputs(&self) -> usize {
        self.filters * self.kernels.len()
    }

    /// Positions of zeros before and after an input.
    pub(in crate::network) fn margin(&self) -> usize {
        self.kernels.last().map_or(0, |widest| widest / 2)
    }

    /// Values of one input, margins included.
    pub(in crate::network) fn input_size(&self) -> usize {
        (self.length + 2 * self.margin()) * self.inputs
    }

    /// The values of one input without its margins.
    pub(in crate::network) fn interior(&self) -> std::ops::Range<usize> {
        let start = self.margin() * self.inputs;
        start..start + self.length * self.inputs
    }

    /// Values of one output (length × outputs).
    pub(in crate::network) fn output_size(&self) -> usize {
        self.length * self.outputs()
    }

    /// Learned values: for each kernel (tap, input, filter).
    pub(in crate::network) fn weight_size(&self) -> usize {
        self.kernels.iter().map(|kernel| kernel * self.inputs * self.filters).sum()
    }

    /// Values of one output gradient as [`backward`](Self::backward) reads it: for each kernel its own
    /// (length + kernel - 1) × filters, with margins of zeros of half that kernel.
    pub(in crate::network) fn gradient_size(&self) -> usize {
        self.kernels.iter().map(|kernel| (self.length + kernel - 1) * self.filters).sum()
    }

    /// For each kernel, where its first position's gradient lies among the [`gradient_size`](Self::gradient_size) values.
    pub(in crate::network) fn gradient_starts(&self) -> Vec<usize> {
        let mut start = 0;
        self.kernels
            .iter()
            .map(|kernel| {
                let first = start + kernel / 2 * self.filters;
                start += (self.length + kernel - 1) * self.filters;
                first
            })
            .collect()
    }

    /// Convolves each spectrum in `inputs` and writes `outputs`.
    pub(in crate::network) fn forward(&self, weights: &[f32], inputs: &[f32], outputs: &mut [f32]) {
        let spectra = inputs.chunks_exact(self.input_size());
        for (input, output) in spectra.zip(outputs.chunks_exact_mut(self.output_size())) {
            let mut weights = weights;
            for (branch, kernel) in self.kernels.iter().enumerate() {
                let window = kernel * self.inputs;
                let (weight, rest) = weights.split_at(window * self.filters);
                weights = rest;
                multiply(
                    self.windows(input, *kernel),
                    Matrix::new(weight, window, self.filters),
                    Store::Replace,
                    MatrixMut::strided(
                        &mut output[branch * self.filters..],
                        self.length,
                        self.filters,
                        self.outputs(),
                    ),
                );
            }
        }
    }

    /// Adds one spectrum's share to the gradient of the weights.
    pub(in crate::network) fn backward(
        &self,
        input: &[f32],
        gradient: &[f32],
        weight_gradient: &mut [f32],
    ) {
        let mut weight_gradient = weight_gradient;
        for (start, kernel) in self.gradient_starts().into_iter().zip(&self.kernels) {
            let window = kernel * self.inputs;
            let (weight, rest) = weight_gradient.split_at_mut(window * self.filters);
            weight_gradient = rest;
            multiply(
                self.windows(input, *kernel).transposed(),
                Matrix::new(&gradient[start..], self.length, self.filters),
                Store::Add,
                MatrixMut::new(weight, window, self.filters),
            );
        }
    }

    /// Writes the gradient of one input without margins (length × inputs).
    ///
    /// `mirrored` is what [`mirror`](Self::mirror) made of the weights.
    pub(in crate::network) fn backward_input(
        &self,
        mirrored: &[f32],
        gradient: &[f32],
        input_gradient: &mut [f32],
    ) {
        let (mut mirrored, mut gradient) = (mirrored, gradient);
        for (branch, kernel) in self.kernels.iter().enumerate() {
            let window = kernel * self.filters;
            let (weight, rest) = mirrored.split_at(window * self.inputs);
            let (padded, further) = gradient.split_at((self.length + kernel - 1) * self.filters);
            (mirrored, gradient) = (rest, further);
            multiply(
                Matrix::strided(padded, self.length, window, self.filters),
                Matrix::new(weight, window, self.inputs),
                if branch == 0 { Store::Replace } else { Store::Add },
                MatrixMut::new(input_gradient, self.length, self.inputs),
            );
        }
    }

    /// Reverses the taps and exchanges input and filter: (tap, input, filter) to (tap from the end, filter, input), with
    /// which the gradient of the input is itself a "same" convolution of the gradient of the output.
    pub(in crate::network) fn mirror(&self, weights: &[f32], mirrored: &mut [f32]) {
        let (mut weights, mut mirrored) = (weights, mirrored);
        let tap = self.inputs * self.filters;
        for kernel in &self.kernels {
            let (from, rest) = weights.split_at(kernel * tap);
            let (to, further) = mirrored.split_at_mut(kernel * tap);
            (weights, mirrored) = (rest, further);
            for (from, to) in from.chunks_exact(tap).rev().zip(to.chunks_exact_mut(tap)) {
                for (input, row) in from.chunks_exact(self.filters).enumerate() {
                    for (filter, value) in row.iter().enumerate() {
                        to[filter * self.inputs + input] = *value;
                    }
                }
            }
        }
    }

    /// The windows of `kernel` at all positions, as the rows of a matrix (length × kernel · inputs).
    fn windows<'a>(&self, input: &'a [f32], kernel: usize) -> Matrix<'a> {
        let skipped = (self.margin() - kernel / 2) * self.inputs;
        Matrix::strided(&input[skipped..], self.length, kernel * self.inputs, self.inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::difference::{check_gradient, dot, noise};

    fn layer() -> Convolution {
        Convolution { inputs: 3, filters: 2, kernels: vec![1, 3, 7], length: 9 }
    }

    /// Signals with margins of zeros around them.
    fn padded(layer: &Convolution, interior: &[f32]) -> Vec<f32> {
        let mut input = vec![0.0; layer.input_size()];
        input[layer.interior()].copy_from_slice(interior);
        input
    }

    /// An output gradient in the padded form that the backward passes read.
    fn branched(layer: &Convolution, gradient: &[f32]) -> Vec<f32> {
        let mut padded = vec![0.0; layer.gradient_size()];
        for (branch, start) in layer.gradient_starts().into_iter().enumerate() {
            for position in 0..layer.length {
                for filter in 0..layer.filters {
                    padded[start + position * layer.filters + filter] =
                        gradient[position * layer.outputs() + branch * layer.filters + filter];
                }
            }
        }
        padded
    }

    #[test]
    fn forward_equals_the_definition() {
        let layer = layer();
        let (x, w) = (noise(27, 1), noise(layer.weight_size(), 2));
        let mut y = vec![0.0; layer.output_size()];
        layer.forward(&w, &padded(&layer, &x), &mut y);
        let mut first = 0;
        for (branch, &kernel) in layer.kernels.iter().enumerate() {
            for position in 0..9 {
                for filter in 0..2 {
                    let mut sum = 0.0;
                    for tap in 0..kernel {
                        let Some(source) = (position + tap).checked_sub(kernel / 2) else {
                            continue;
                        };
                        for input in 0..3 {
                            if source < 9 {
                                sum += x[source * 3 + input]
                                    * w[first + (tap * 3 + input) * 2 + filter];
                            }
                        }
                    }
                    assert!((sum - y[position * 6 + branch * 2 + filter]).abs() < 1e-5);
                }
            }
            first += kernel * 3 * 2;
        }
    }

    #[test]
    fn gradients_equal_differences() {
        let layer = layer();
        let (x, w) = (noise(27, 3), noise(layer.weight_size(), 4));
        let upstream = noise(layer.output_size(), 5);
        let value = |x: &[f32], w: &[f32]| {
            let mut y = vec![0.0; layer.output_size()];
            layer.forward(w, &padded(&layer, x), &mut y);
            dot(&y, &upstream)
        };
        let gradient = branched(&layer, &upstream);
        let mut dw = vec![0.0; layer.weight_size()];
        layer.backward(&padded(&layer, &x), &gradient, &mut dw);
        check_gradient(&w, &dw, |w| value(&x, w));
        let mut mirrored = vec![0.0; layer.weight_size()];
        layer.mirror(&w, &mut mirrored);
        let mut dx = vec![0.0; 27];
        layer.backward_input(&mirrored, &gradient, &mut dx);
        check_gradient(&x, &dx, |x| value(x, &w));
    }
}
