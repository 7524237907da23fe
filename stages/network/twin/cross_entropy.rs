//! The cross-entropy of counts.

use dfdx::prelude::*;

use super::signal::{Matrix, column_copies, row_sums};

/// −log softmax(logits) at each row's class: rows × 1. `classes` are 1 at the class and 0 elsewhere (rows × classes).
pub(super) fn cross_entropy<D: Device<f32>, T: Tape<f32, D>>(
    classes: Matrix<D>,
    logits: Matrix<D, T>,
) -> Result<Matrix<D, T>, D::Err> {
    let (rows, count) = *logits.shape();
    // What is taken from all logits of a row alike changes neither value nor derivative.
    let greatest: Tensor<(usize,), f32, D> =
        logits.retaped::<NoneTape>().try_max::<_, Axis<1>>()?;
    let greatest = column_copies(greatest.try_reshape_like(&(rows, 1))?, count)?;
    let logits = logits.try_sub(greatest)?;
    let total = row_sums(logits.with_empty_tape().try_exp()?)?.try_ln()?;
    let chosen = row_sums(logits.try_mul(classes)?)?;
    total.try_sub(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::count;
    use crate::network::difference::noise;
    use crate::network::twin::comparison::{assert_near, gradients, rows};

    #[test]
    fn values_and_gradients_equal_the_cores() {
        let (count, classes) = (20, 4);
        let mut x: Vec<f32> = noise(count * classes, 1).iter().map(|v| 3.0 * v).collect();
        // What would overflow if it were raised at once.
        x[0] = 200.0;
        let mut chosen = vec![0.0; count * classes];
        let (mut y, mut dx) = (vec![0.0; count], vec![0.0; x.len()]);
        for row in 0..count {
            let class = row % classes;
            chosen[row * classes + class] = 1.0;
            let of = row * classes..(row + 1) * classes;
            y[row] = count::cross_entropy(&x[of.clone()], class, 1.0, &mut dx[of]) as f32;
        }
        let logits = rows(&x, count);
        let result = cross_entropy(rows(&chosen, count), logits.leaky_trace());
        let Ok(result) = result else { panic!("{result:?}") };
        assert_near(&result.as_vec(), &y, 4);
        let gradients = gradients(result, &vec![1.0; count]);
        assert_near(&gradients.get(&logits).as_vec(), &dx, 4);
    }
}
