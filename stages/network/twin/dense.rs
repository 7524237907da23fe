//! A dense layer: rows times a matrix, plus a bias where there is one.

use dfdx::prelude::*;

use super::signal::{Matrix, row_copies};

/// `rows` (rows × inputs) times `weights` (a column of inputs · outputs values).
pub(super) fn multiply<D: Device<f32>, T: Tape<f32, D>>(
    weights: Matrix<D, T>,
    rows: Matrix<D, T>,
) -> Result<Matrix<D, T>, D::Err> {
    let inputs = rows.shape().1;
    let outputs = weights.shape().0 / inputs;
    rows.try_matmul(weights.try_reshape_like(&(inputs, outputs))?)
}

/// Adds `bias` (a column of values) to every row.
pub(super) fn add_bias<D: Device<f32>, T: Tape<f32, D>>(
    bias: Matrix<D, T>,
    rows: Matrix<D, T>,
) -> Result<Matrix<D, T>, D::Err> {
    let (count, columns) = *rows.shape();
    rows.try_add(row_copies(bias.try_reshape_like(&(1, columns))?, count)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::difference::noise;
    use crate::network::slots::dense::{self, Dense};
    use crate::network::twin::comparison::{assert_near, column, gradients, rows};

    #[test]
    fn values_and_gradients_equal_the_cores() {
        let (layer, count) = (Dense { inputs: 150, outputs: 7 }, 37);
        let (w, b, x) = (noise(150 * 7, 1), noise(7, 2), noise(count * 150, 3));
        let dy = noise(count * 7, 4);
        let (weights, bias, input) = (column(&w), column(&b), rows(&x, count));
        let result = multiply(weights.leaky_trace(), input.leaky_trace())
            .and_then(|result| add_bias(bias.leaky_trace(), result));
        let Ok(result) = result else { panic!("{result:?}") };
        let mut y = vec![0.0; count * 7];
        layer.forward(&w, &x, &mut y);
        dense::add_bias(&b, &mut y);
        assert_near(&result.as_vec(), &y, 150);
        let gradients = gradients(result, &dy);
        let (mut dw, mut db, mut dx) = (vec![0.0; w.len()], vec![0.0; 7], vec![0.0; x.len()]);
        layer.backward(&x, &dy, &mut dw);
        dense::backward_bias(&dy, &mut db);
        layer.backward_input(&w, &dy, &mut dx);
        assert_near(&gradients.get(&weights).as_vec(), &dw, count);
        assert_near(&gradients.get(&bias).as_vec(), &db, count);
        assert_near(&gradients.get(&input).as_vec(), &dx, 7);
    }
}
