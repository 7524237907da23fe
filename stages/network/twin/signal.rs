//! Signals on a device: what flows between the layers.

use dfdx::prelude::*;

/// A matrix on a device.
pub(super) type Matrix<D, T = NoneTape> = Tensor<(usize, usize), f32, D, T>;

/// A matrix of so many rows, brought to a device.
pub(super) fn upload<D: Device<f32>>(
    device: &D,
    values: Vec<f32>,
    rows: usize,
) -> Result<Matrix<D>, D::Err> {
    let columns = values.len() / rows;
    device.try_tensor_from_vec(values, (rows, columns))
}

/// Spectra on their way through a network: positions with features, position by position.
///
/// `T` is [`OwnedTape`] in training and [`NoneTape`] in prediction.
#[derive(Debug, Clone)]
pub(super) struct Signal<D: Device<f32>, T = NoneTape> {
    /// Spectra × (length · features).
    pub(super) values: Matrix<D, T>,
    /// Positions of a spectrum.
    pub(super) length: usize,
    /// Values at a position.
    pub(super) features: usize,
}

impl<D: Device<f32>, T: Tape<f32, D>> Signal<D, T> {
    /// How many spectra there are.
    pub(super) fn spectra(&self) -> usize {
        self.values.shape().0
    }

    /// As a matrix with a row for each position of each spectrum.
    pub(super) fn positions(self) -> Result<Matrix<D, T>, D::Err> {
        let rows = self.spectra() * self.length;
        self.values.try_reshape_like(&(rows, self.features))
    }

    /// From a matrix with a row for each position of each of `spectra`.
    pub(super) fn of_positions(positions: Matrix<D, T>, spectra: usize) -> Result<Self, D::Err> {
        let (rows, features) = *positions.shape();
        let length = rows / spectra;
        let values = positions.try_reshape_like(&(spectra, length * features))?;
        Ok(Self { values, length, features })
    }

    /// The sum over spectra and positions of each feature: 1 × features.
    ///
    /// First over spectra, then over positions, so that no sum has many terms.
    pub(super) fn feature_sums(self) -> Result<Matrix<D, T>, D::Err> {
        let (length, features) = (self.length, self.features);
        let sums = column_sums(self.values)?.try_reshape_like(&(length, features))?;
        if length == 1 { Ok(sums) } else { column_sums(sums) }
    }

    /// The same `row` of features (1 × features) at each of `length` positions of `spectra`: what
    /// [`feature_sums`](Self::feature_sums) adds up, seen from the other side.
    pub(super) fn repeated(
        row: Matrix<D, T>,
        spectra: usize,
        length: usize,
    ) -> Result<Self, D::Err> {
        let features = row.shape().1;
        let one = if length == 1 { row } else { row_copies(row, length)? };
        let one = one.try_reshape_like(&(1, length * features))?;
        Ok(Self { values: row_copies(one, spectra)?, length, features })
    }
}

/// A tensor that enters several operations. Its tape goes with the first of them, which is enough: dfdx orders what a
/// tape holds by time, wherever it is merged.
///
/// Slices of one tensor must not overlap, and where a tensor is sliced nothing else may be made of it: on its CPU device
/// dfdx *writes* the derivative of a slice where it should add it.
pub(super) struct Reused<S: Shape, D: Device<f32>, T> {
    plain: Tensor<S, f32, D, T>,
    taped: Option<Tensor<S, f32, D, T>>,
}

impl<S: Shape, D: Device<f32>, T: Tape<f32, D>> Reused<S, D, T> {
    pub(super) fn new(tensor: Tensor<S, f32, D, T>) -> Self {
        Self { plain: tensor.with_empty_tape(), taped: Some(tensor) }
    }

    /// The tensor, for one more operation.
    pub(super) fn again(&mut self) -> Tensor<S, f32, D, T> {
        self.taped.take().unwrap_or_else(|| self.plain.with_empty_tape())
    }
}

/// The sum over rows: 1 × columns.
pub(super) fn column_sums<D: Device<f32>, T: Tape<f32, D>>(
    values: Matrix<D, T>,
) -> Result<Matrix<D, T>, D::Err> {
    let ones: Matrix<D> = values.device().try_ones_like(&(1, values.shape().0))?;
    ones.retaped::<T>().try_matmul(values)
}

/// The sum over columns: rows × 1.
pub(super) fn row_sums<D: Device<f32>, T: Tape<f32, D>>(
    values: Matrix<D, T>,
) -> Result<Matrix<D, T>, D::Err> {
    let ones: Matrix<D> = values.device().try_ones_like(&(values.shape().1, 1))?;
    values.try_matmul(ones)
}

/// `rows` copies of a row.
pub(super) fn row_copies<D: Device<f32>, T: Tape<f32, D>>(
    row: Matrix<D, T>,
    rows: usize,
) -> Result<Matrix<D, T>, D::Err> {
    let ones: Matrix<D> = row.device().try_ones_like(&(rows, 1))?;
    ones.retaped::<T>().try_matmul(row)
}

/// `columns` copies of a column.
pub(super) fn column_copies<D: Device<f32>, T: Tape<f32, D>>(
    column: Matrix<D, T>,
    columns: usize,
) -> Result<Matrix<D, T>, D::Err> {
    let ones: Matrix<D> = column.device().try_ones_like(&(1, columns))?;
    column.try_matmul(ones)
}
