//! Normalise and rectify (`ReLU`) the rows of a dense layer.

use crate::network::normalization::{Normalization, Sums};

/// Writes the normalised, rectified `values` (rows × features) to `result`.
pub(in crate::network) fn forward(by: &Normalization, values: &[f32], result: &mut [f32]) {
    let n = by.scale.len();
    for (values, result) in values.chunks_exact(n).zip(result.chunks_exact_mut(n)) {
        for f in 0..n {
            let a = values[f] * by.scale[f] + by.shift[f];
            result[f] = if a > 0.0 { a } else { 0.0 };
        }
    }
}

/// Turns `gradient` from that of the result into that of the values, and returns the sums that are the gradients of the
/// normalisation's bias and weight.
pub(in crate::network) fn backward(
    by: &Normalization,
    values: &[f32],
    gradient: &mut [f32],
) -> Sums {
    let n = by.scale.len();
    let rows = values.len() / n;
    let mut sums = Sums::new(n);
    sums.add_rows(rows, |row, first, second| {
        let values = &values[row * n..(row + 1) * n];
        let gradient = &mut gradient[row * n..(row + 1) * n];
        for f in 0..n {
            if values[f] * by.scale[f] + by.shift[f] <= 0.0 {
                gradient[f] = 0.0;
            }
        }
        by.add_gradient(values, gradient, first, second);
    });
    let through = by.backward(&sums, rows);
    for (values, gradient) in values.chunks_exact(n).zip(gradient.chunks_exact_mut(n)) {
        for f in 0..n {
            gradient[f] =
                through.scale[f] * gradient[f] + through.slope[f] * values[f] + through.offset[f];
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::difference::{check_gradient, dot, noise};

    #[test]
    fn gradients_equal_differences() {
        let (rows, n) = (50, 3);
        let values: Vec<f32> =
            noise(rows * n, 21).iter().map(|v| v.signum() * (0.2 + v.abs())).collect();
        let (weight, bias) = ([1.0, -0.5, 2.0], [0.01, 0.02, -0.01]);
        let upstream = noise(rows * n, 22);
        let normalization = |v: &[f32], w: &[f32], b: &[f32]| {
            Normalization::of_batch(&Sums::moments(v, n), rows, w, b)
        };
        let value = |v: &[f32], w: &[f32], b: &[f32]| {
            let mut result = vec![0.0; rows * n];
            forward(&normalization(v, w, b), v, &mut result);
            dot(&result, &upstream)
        };
        let mut gradient = upstream.clone();
        let sums = backward(&normalization(&values, &weight, &bias), &values, &mut gradient);
        let single = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<f32>>();
        check_gradient(&values, &gradient, |v| value(v, &weight, &bias));
        check_gradient(&weight, &single(&sums.second), |w| value(&values, w, &bias));
        check_gradient(&bias, &single(&sums.first), |b| value(&values, &weight, b));
    }
}
