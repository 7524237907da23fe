//! Small symmetric positive definite matrices, of which the lower triangle is stored row after row.

/// The place of the entry (`row`, `column`), `column` ≤ `row`.
#[inline]
pub(super) fn place(row: usize, column: usize) -> usize {
    row * (row + 1) / 2 + column
}

/// The number of entries of a matrix of `n` rows.
pub(super) fn entries(n: usize) -> usize {
    n * (n + 1) / 2
}

/// Replaces a matrix of `n` rows by its Cholesky factor, with the *inverses* of the factor's diagonal in its
/// diagonal. `false`, and the matrix is spoiled, where it isn't positive definite.
pub(super) fn factorize(matrix: &mut [f64], n: usize) -> bool {
    for row in 0..n {
        let (above, this) = matrix.split_at_mut(place(row, 0));
        let this = &mut this[..=row];
        for column in 0..row {
            let other = &above[place(column, 0)..=place(column, column)];
            let mut sum = this[column];
            for k in 0..column {
                sum -= this[k] * other[k];
            }
            this[column] = sum * other[column];
        }
        let mut pivot = this[row];
        for value in &this[..row] {
            pivot -= value * value;
        }
        // Written so that NaN fails.
        let positive = pivot > 0.0;
        if !positive {
            return false;
        }
        this[row] = 1.0 / pivot.sqrt();
    }
    true
}

/// Solves for `x`, which holds the right side, with a factor of [`factorize`].
pub(super) fn solve(factor: &[f64], x: &mut [f64]) {
    let n = x.len();
    for row in 0..n {
        let line = &factor[place(row, 0)..=place(row, row)];
        let mut sum = x[row];
        for (value, x) in line[..row].iter().zip(&x[..row]) {
            sum -= value * x;
        }
        x[row] = sum * line[row];
    }
    for row in (0..n).rev() {
        let line = &factor[place(row, 0)..=place(row, row)];
        let value = x[row] * line[row];
        x[row] = value;
        for (x, entry) in x[..row].iter_mut().zip(line) {
            *x -= entry * value;
        }
    }
}

/// The logarithm of the determinant of the matrix that a factor of [`factorize`] is of.
pub(super) fn log_determinant(factor: &[f64], n: usize) -> f64 {
    (0..n).map(|row| -2.0 * libm::log(factor[place(row, row)])).sum()
}

/// Writes the diagonal of the inverse of the matrix that a factor is of; `column` is room for the work.
pub(super) fn inverse_diagonal(factor: &[f64], column: &mut Vec<f64>, diagonal: &mut [f64]) {
    let n = diagonal.len();
    for (row, entry) in diagonal.iter_mut().enumerate() {
        // The sum of squares of a column of L⁻¹: forward substitution from the row on.
        column.clear();
        column.resize(row, 0.0);
        let mut sum = 0.0;
        for below in row..n {
            let line = &factor[place(below, 0)..=place(below, below)];
            let mut value = if below == row { 1.0 } else { 0.0 };
            for k in row..below {
                value -= line[k] * column[k];
            }
            value *= line[below];
            column.push(value);
            sum += value * value;
        }
        *entry = sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [4 2 1; 2 5 3; 1 3 6], whose determinant is 67.
    const MATRIX: [f64; 6] = [4.0, 2.0, 5.0, 1.0, 3.0, 6.0];

    #[test]
    fn a_system_is_solved() {
        let mut factor = MATRIX;
        assert!(factorize(&mut factor, 3));
        let mut x = [7.0, 10.0, 10.0];
        solve(&factor, &mut x);
        for x in x {
            assert!((x - 1.0).abs() < 1e-14, "{x}");
        }
        assert!((log_determinant(&factor, 3) - 67.0_f64.ln()).abs() < 1e-14);
        let (mut diagonal, mut column) = ([0.0; 3], Vec::new());
        inverse_diagonal(&factor, &mut column, &mut diagonal);
        for (found, expected) in diagonal.iter().zip([21.0 / 67.0, 23.0 / 67.0, 16.0 / 67.0]) {
            assert!((found - expected).abs() < 1e-15);
        }
    }

    #[test]
    fn an_indefinite_matrix_is_told() {
        assert!(!factorize(&mut [1.0, 2.0, 1.0], 2));
        assert!(!factorize(&mut [0.0], 1));
        assert!(!factorize(&mut [f64::NAN], 1));
    }
}
