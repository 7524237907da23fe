//! A dense layer: rows times a matrix of weights (input × output), plus a bias where there is one.

use rayon::prelude::*;

use super::matrix::{Matrix, MatrixMut, Store, multiply};

/// Rows that one task multiplies. Prediction always multiplies this many, so that a row's bits cannot depend on its company.
pub(in crate::network) const ROWS: usize = 32;
/// Input features whose weights' gradient one task computes.
const TILE: usize = 128;

/// The sizes of one dense layer.
#[derive(Debug, Clone, Copy)]
pub(in crate::network) struct Dense {
    /// Values of an input row.
    pub(in crate::network) inputs: usize,
    /// Values of an output row.
    pub(in crate::network) outputs: usize,
}

impl Dense {
    /// Writes `outputs` (rows × outputs) for `inputs` (rows × inputs), without bias.
    pub(in crate::network) fn forward(self, weights: &[f32], inputs: &[f32], outputs: &mut [f32]) {
        let rows = inputs.len() / self.inputs;
        multiply(
            Matrix::new(inputs, rows, self.inputs),
            Matrix::new(weights, self.inputs, self.outputs),
            Store::Replace,
            MatrixMut::new(outputs, rows, self.outputs),
        );
    }

    /// [`forward`](Self::forward) over fixed parts of the rows in parallel.
    pub(in crate::network) fn forward_parallel(
        self,
        weights: &[f32],
        inputs: &[f32],
        outputs: &mut [f32],
    ) {
        outputs
            .par_chunks_mut(ROWS * self.outputs)
            .zip(inputs.par_chunks(ROWS * self.inputs))
            .for_each(|(outputs, inputs)| self.forward(weights, inputs, outputs));
    }

    /// Writes the gradient of the weights.
    pub(in crate::network) fn backward(
        self,
        inputs: &[f32],
        gradient: &[f32],
        weight_gradient: &mut [f32],
    ) {
        let rows = gradient.len() / self.outputs;
        weight_gradient.par_chunks_mut(TILE * self.outputs).enumerate().for_each(
            |(tile, result)| {
                let features = result.len() / self.outputs;
                multiply(
                    Matrix::strided(&inputs[tile * TILE..], rows, features, self.inputs)
                        .transposed(),
                    Matrix::new(gradient, rows, self.outputs),
                    Store::Replace,
                    MatrixMut::new(result, features, self.outputs),
                );
            },
        );
    }

    /// Writes the gradient of the inputs.
    pub(in crate::network) fn backward_input(
        self,
        weights: &[f32],
        gradient: &[f32],
        input_gradient: &mut [f32],
    ) {
        input_gradient
            .par_chunks_mut(ROWS * self.inputs)
            .zip(gradient.par_chunks(ROWS * self.outputs))
            .for_each(|(result, gradient)| {
                let rows = gradient.len() / self.outputs;
                multiply(
                    Matrix::new(gradient, rows, self.outputs),
                    Matrix::new(weights, self.inputs, self.outputs).transposed(),
                    Store::Replace,
                    MatrixMut::new(result, rows, self.inputs),
                );
            });
    }
}

/// Adds `bias` to every row.
pub(in crate::network) fn add_bias(bias: &[f32], rows: &mut [f32]) {
    for row in rows.chunks_exact_mut(bias.len()) {
        for (value, bias) in row.iter_mut().zip(bias) {
            *value += bias;
        }
    }
}

/// Writes the gradient of the bias: the sum over rows, in their order.
pub(in crate::network) fn backward_bias(gradient: &[f32], bias_gradient: &mut [f32]) {
    bias_gradient.fill(0.0);
    for row in gradient.chunks_exact(bias_gradient.len()) {
        for (total, value) in bias_gradient.iter_mut().zip(row) {
            *total += value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::difference::{check_gradient, dot, noise};

    #[test]
    fn gradients_equal_differences() {
        // More rows than a task takes and more inputs than a tile, neither a multiple.
        let dense = Dense { inputs: 150, outputs: 5 };
        let rows = 37;
        let (x, w, b) = (noise(rows * 150, 1), noise(750, 2), noise(5, 3));
        let upstream = noise(rows * 5, 4);
        let value = |x: &[f32], w: &[f32], b: &[f32]| {
            let mut y = vec![0.0; rows * 5];
            dense.forward_parallel(w, x, &mut y);
            add_bias(b, &mut y);
            dot(&y, &upstream)
        };
        let (mut dx, mut dw, mut db) = (vec![0.0; rows * 150], vec![0.0; 750], vec![0.0; 5]);
        dense.backward(&x, &upstream, &mut dw);
        dense.backward_input(&w, &upstream, &mut dx);
        backward_bias(&upstream, &mut db);
        check_gradient(&x, &dx, |x| value(x, &w, &b));
        check_gradient(&w, &dw, |w| value(&x, w, &b));
        check_gradient(&b, &db, |b| value(&x, &w, b));
    }
}
