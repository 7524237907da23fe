//! Matrix products on borrowed `f32` slices: the one place that calls the crate `gemm`.

use gemm::Parallelism;

/// A read-only matrix: a view of a slice with strides, whose rows may overlap.
///
/// Overlapping rows are what makes a convolution a plain product: with a row stride of one position and rows as long as
/// the kernel, the view *is* the unfolded signal, and nothing is copied.
#[derive(Clone, Copy)]
pub(in crate::network) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A dense row-major matrix.
    pub(in crate::network) fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(values, rows, columns, columns)
    }

    /// A matrix whose rows of adjacent elements begin `row_stride` elements apart.
    ///
    /// # Panics
    ///
    /// If the slice is too short.
    pub(in crate::network) fn strided(
        values: &'a [f32],
        rows: usize,
        columns: usize,
        row_stride: usize,
    ) -> Self {
        assert!(span(rows, columns, row_stride) <= values.len());
        Self { values, rows, columns, row_stride, column_stride: 1 }
    }

    /// The same elements with rows and columns exchanged.
    pub(in crate::network) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// A writable row-major matrix, whose rows do not overlap.
pub(in crate::network) struct MatrixMut<'a> {
    values: &'a mut [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
}

impl<'a> MatrixMut<'a> {
    /// A dense row-major matrix.
    pub(in crate::network) fn new(values: &'a mut [f32], rows: usize, columns: usize) -> Self {
        Self::strided(values, rows, columns, columns)
    }

    /// A matrix whose rows of adjacent elements begin `row_stride` elements apart.
    ///
    /// # Panics
    ///
    /// If the slice is too short or the rows would overlap.
    pub(in crate::network) fn strided(
        values: &'a mut [f32],
        rows: usize,
        columns: usize,
        row_stride: usize,
    ) -> Self {
        assert!(columns <= row_stride);
        assert!(span(rows, columns, row_stride) <= values.len());
        Self { values, rows, columns, row_stride }
    }
}

/// What becomes of the values that the result already holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::network) enum Store {
    /// They are overwritten.
    Replace,
    /// The product is added to them.
    Add,
}

/// Writes the product `a · b` to `result`, on the calling thread.
///
/// # Panics
///
/// If the shapes do not fit together.
#[expect(clippy::needless_pass_by_value, reason = "a view is made for one product")]
pub(in crate::network) fn multiply(a: Matrix, b: Matrix, store: Store, result: MatrixMut) {
    assert_eq!(a.columns, b.rows);
    assert_eq!(a.rows, result.rows);
    assert_eq!(b.columns, result.columns);
    // SAFETY: the constructors checked that every element of the three views lies in its slice, `result` is borrowed
    // exclusively, and its rows do not overlap.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            result.values.as_mut_ptr(),
            1,
            result.row_stride as isize,
            store == Store::Add,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// The number of elements from the first to the last of a view; saturates rather than wrap.
fn span(rows: usize, columns: usize, row_stride: usize) -> usize {
    if rows == 0 || columns == 0 {
        0
    } else {
        (rows - 1).saturating_mul(row_stride).saturating_add(columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(n: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7) % 11) as f32 - 5.0).collect()
    }

    #[test]
    fn product_with_strides_equals_the_sum_by_hand() {
        let (rows, inner, columns) = (5, 6, 3);
        let (a, b) = (ramp(4 * 2 + 6), ramp(30));
        let mut c = vec![1.0; 5 * 4];
        // Rows of `a` overlap (stride 2), `b` is transposed, `c` has a gap of one element after each row.
        multiply(
            Matrix::strided(&a, rows, inner, 2),
            Matrix::strided(&b, columns, inner, 7).transposed(),
            Store::Add,
            MatrixMut::strided(&mut c, rows, columns, 4),
        );
        for i in 0..rows {
            for j in 0..columns {
                let sum: f32 = (0..inner).map(|k| a[2 * i + k] * b[7 * j + k]).sum();
                assert!((c[4 * i + j] - 1.0 - sum).abs() < 1e-4);
            }
            assert!(c[4 * i + 3].to_bits() == 1f32.to_bits(), "gap written");
        }
    }

    #[test]
    #[should_panic(expected = "span")]
    fn view_beyond_its_slice_is_refused() {
        let _ = Matrix::strided(&[0.0; 9], 2, 5, 5);
    }
}
