//! A "same" convolution of one width over the signals of a group, without bias.
//!
//! In the layout of [`lanes`](super::lanes) the window of a kernel is one run of `kernel · inputs` registers, so a
//! convolution is a product of windows with weights: nothing is unfolded or packed. Inputs carry a margin of zeros of half
//! the kernel, odd in width, at either end.

mod convolve;
mod correlate;

use std::ops::Range;

use self::{convolve::convolve, correlate::correlate};
use super::lanes::{Instructions, LANES};

/// The sizes of a convolution. With a kernel of 1 and a length of 1 it is a dense layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) struct Convolution {
    /// Input features.
    pub(in crate::network) inputs: usize,
    /// Output features.
    pub(in crate::network) filters: usize,
    /// Odd width in positions.
    pub(in crate::network) kernel: usize,
    /// Positions.
    pub(in crate::network) length: usize,
}

/// What is done to sums before they are written.
#[derive(Debug, Clone, Copy)]
pub(in crate::network) struct Finish<'a> {
    /// A summand for each filter.
    pub(in crate::network) bias: Option<&'a [f32]>,
    /// Whether negative values become zero.
    pub(in crate::network) rectify: bool,
}

impl Finish<'_> {
    /// Sums as they are.
    pub(in crate::network) const NONE: Self = Self { bias: None, rectify: false };
}

impl Convolution {
    /// Positions of zeros before and after an input.
    pub(in crate::network) fn margin(&self) -> usize {
        self.kernel / 2
    }

    /// Numbers of an input, margins included.
    pub(in crate::network) fn input_size(&self) -> usize {
        (self.length + 2 * self.margin()) * self.inputs * LANES
    }

    /// Where the input lies between its margins.
    pub(in crate::network) fn interior(&self) -> Range<usize> {
        let start = self.margin() * self.inputs * LANES;
        start..start + self.length * self.inputs * LANES
    }

    /// Numbers of an output.
    pub(in crate::network) fn output_size(&self) -> usize {
        self.length * self.filters * LANES
    }

    /// Weights: (tap, input, filter).
    pub(in crate::network) fn weight_size(&self) -> usize {
        self.kernel * self.inputs * self.filters
    }

    /// Multiplications and additions of one spectrum forward.
    pub(in crate::network) fn operations(&self) -> usize {
        2 * self.length * self.weight_size()
    }

    /// The convolution by which the gradient of the output becomes that of the input, with [mirrored](Self::mirror)
    /// weights.
    pub(in crate::network) fn transposed(&self) -> Self {
        Self { inputs: self.filters, filters: self.inputs, ..*self }
    }

    /// Convolves `input`, which has margins. Position p of the output goes to `output[p · step..]`, its filters adjacent.
    ///
    /// # Panics
    ///
    /// If a slice is too short.
    pub(in crate::network) fn forward(
        &self,
        instructions: Instructions,
        weights: &[f32],
        input: &[f32],
        finish: Finish,
        output: &mut [f32],
        step: usize,
    ) {
        assert!(self.length > 0 && input.len() >= self.input_size());
        assert!(weights.len() >= self.weight_size());
        assert!(step >= self.filters * LANES);
        assert!(output.len() >= (self.length - 1) * step + self.filters * LANES);
        assert!(finish.bias.is_none_or(|bias| bias.len() >= self.filters));
        // SAFETY: the slices hold what the sizes say, and outputs do not overlap.
        unsafe {
            convolve(
                instructions,
                *self,
                weights.as_ptr(),
                input.as_ptr(),
                finish,
                output.as_mut_ptr(),
                step,
            );
        }
    }

    /// Adds the share of the first `lanes` spectra to the gradient of the weights. `input` has margins, and position p of
    /// the gradient of the output lies at `gradient[p · step..]`.
    ///
    /// # Panics
    ///
    /// If a slice is too short.
    pub(in crate::network) fn backward(
        &self,
        instructions: Instructions,
        input: &[f32],
        gradient: &[f32],
        lanes: usize,
        weight_gradient: &mut [f32],
    ) {
        assert!(self.length > 0 && input.len() >= self.input_size());
        assert!(gradient.len() >= self.output_size());
        assert!(weight_gradient.len() >= self.weight_size());
        // SAFETY: the slices hold what the sizes say.
        unsafe {
            correlate(
                instructions,
                *self,
                input.as_ptr(),
                gradient.as_ptr(),
                lanes,
                weight_gradient.as_mut_ptr(),
            );
        }
    }

    /// Reverses the taps and exchanges input and filter.
    pub(in crate::network) fn mirror(&self, weights: &[f32], mirrored: &mut [f32]) {
        let tap = self.inputs * self.filters;
        let taps = weights[..self.weight_size()].chunks_exact(tap).rev();
        for (from, to) in taps.zip(mirrored.chunks_exact_mut(tap)) {
            for (input, row) in from.chunks_exact(self.filters).enumerate() {
                for (filter, value) in row.iter().enumerate() {
                    to[filter * self.inputs + input] = *value;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::difference::{check_gradient, dot, noise};

    /// Sizes that no block divides.
    const LAYERS: [Convolution; 4] = [
        Convolution { inputs: 3, filters: 14, kernel: 5, length: 7 },
        Convolution { inputs: 2, filters: 9, kernel: 7, length: 4 },
        Convolution { inputs: 11, filters: 3, kernel: 1, length: 5 },
        Convolution { inputs: 6, filters: 5, kernel: 3, length: 1 },
    ];

    fn padded(layer: &Convolution, interior: &[f32]) -> Vec<f32> {
        let mut input = vec![0.0; layer.input_size()];
        input[layer.interior()].copy_from_slice(interior);
        input
    }

    fn forward(layer: &Convolution, with: Instructions, w: &[f32], x: &[f32]) -> Vec<f32> {
        let mut y = vec![0.0; layer.output_size()];
        let step = layer.filters * LANES;
        layer.forward(with, w, &padded(layer, x), Finish::NONE, &mut y, step);
        y
    }

    #[test]
    fn forward_equals_the_definition() {
        for layer in LAYERS {
            let x = noise(layer.length * layer.inputs * LANES, 1);
            let w = noise(layer.weight_size(), 2);
            let bias = noise(layer.filters, 3);
            for instructions in Instructions::available() {
                let step = (layer.filters + 2) * LANES;
                let mut y = vec![7.0; layer.length * step];
                let finish = Finish { bias: Some(&bias), rectify: true };
                layer.forward(instructions, &w, &padded(&layer, &x), finish, &mut y, step);
                for (index, value) in y.iter().enumerate() {
                    let (position, filter, lane) =
                        (index / step, index % step / LANES, index % LANES);
                    if filter >= layer.filters {
                        assert!(value.to_bits() == 7f32.to_bits(), "gap written");
                        continue;
                    }
                    let mut sum = bias[filter];
                    for tap in 0..layer.kernel {
                        let Some(source) = (position + tap).checked_sub(layer.kernel / 2) else {
                            continue;
                        };
                        for input in 0..layer.inputs {
                            if source < layer.length {
                                sum += x[(source * layer.inputs + input) * LANES + lane]
                                    * w[(tap * layer.inputs + input) * layer.filters + filter];
                            }
                        }
                    }
                    assert!((sum.max(0.0) - value).abs() < 1e-5, "{layer:?}");
                }
            }
        }
    }

    #[test]
    fn gradients_equal_differences_and_lanes_beyond_the_last_count_nothing() {
        let best = Instructions::best();
        for layer in LAYERS {
            let x = noise(layer.length * layer.inputs * LANES, 3);
            let w = noise(layer.weight_size(), 4);
            let upstream = noise(layer.output_size(), 5);
            for lanes in [LANES, 5] {
                let counted: Vec<f32> = upstream
                    .iter()
                    .enumerate()
                    .map(|(index, value)| if index % LANES < lanes { *value } else { 0.0 })
                    .collect();
                let mut dw = vec![0.0; layer.weight_size()];
                layer.backward(best, &padded(&layer, &x), &upstream, lanes, &mut dw);
                check_gradient(&w, &dw, |w| dot(&forward(&layer, best, w, &x), &counted));
            }
            let back = layer.transposed();
            let mut mirrored = vec![0.0; layer.weight_size()];
            layer.mirror(&w, &mut mirrored);
            let dx = forward(&back, best, &mirrored, &upstream);
            check_gradient(&x, &dx, |x| dot(&forward(&layer, best, &w, x), &upstream));
        }
    }

    #[test]
    fn wide_registers_give_the_bits_of_narrower_ones() {
        let fused: Vec<Instructions> =
            Instructions::available().into_iter().filter(|i| *i != Instructions::Plain).collect();
        for layer in LAYERS {
            let x = noise(layer.length * layer.inputs * LANES, 6);
            let w = noise(layer.weight_size(), 7);
            let upstream = noise(layer.output_size(), 8);
            let results: Vec<Vec<f32>> = fused
                .iter()
                .map(|with| {
                    let mut result = forward(&layer, *with, &w, &x);
                    let mut dw = vec![0.0; layer.weight_size()];
                    layer.backward(*with, &padded(&layer, &x), &upstream, 13, &mut dw);
                    result.append(&mut dw);
                    result
                })
                .collect();
            for result in &results {
                assert_eq!(result, &results[0]);
            }
        }
    }
}
