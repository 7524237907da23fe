//! Trees for one quantity, a few at a time.

use smartcore::{
    ensemble::random_forest_regressor::{RandomForestRegressor, RandomForestRegressorParameters},
    linalg::basic::matrix::DenseMatrix,
};

use super::settings::ForestSettings;

/// The most trees of a batch: few enough that a run can be interrupted while a forest grows.
pub(super) const MOST: usize = 10;

/// What keeps a forest from being grown or asked.
#[derive(Debug, thiserror::Error)]
pub enum ForestError {
    /// The library refuses the data.
    #[error("the trees can't be grown or asked: {0}")]
    Trees(#[from] smartcore::error::Failed),
    /// There is nothing to learn from.
    #[error("there are no spectra to learn from")]
    NoExamples,
    /// There is nothing to choose by.
    #[error(
        "the depth and the number of trees are chosen on validation rows, and there are none: give some to `split`, or \
         one depth and one number"
    )]
    NoValidation,
    /// The run is to stop.
    #[error(transparent)]
    Interrupted(#[from] pipe_engine::Interrupted),
}

/// Spectra as the library takes them.
pub(super) struct Table {
    rows: usize,
    matrix: DenseMatrix<f32>,
}

impl Table {
    /// The spectra `rows` of `spectra` (rows × channels), stored channel by channel, as they are searched for splits.
    pub(super) fn to_learn(
        spectra: &[f32],
        channels: usize,
        rows: &[usize],
    ) -> Result<Self, ForestError> {
        let of_channel = |c: usize| rows.iter().map(move |row| spectra[row * channels + c]);
        let values: Vec<f32> = (0..channels).flat_map(of_channel).collect();
        let matrix = DenseMatrix::new(rows.len(), channels, values, true)?;
        Ok(Self { rows: rows.len(), matrix })
    }

    /// All of `spectra` (rows × channels).
    pub(super) fn to_ask(spectra: &[f32], channels: usize) -> Result<Self, ForestError> {
        let rows = spectra.len() / channels;
        Ok(Self { rows, matrix: DenseMatrix::new(rows, channels, spectra.to_vec(), false)? })
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }
}

/// Some trees of a forest for one quantity.
pub(super) struct Batch {
    trees: usize,
    forest: RandomForestRegressor<f32, f64, DenseMatrix<f32>, Vec<f64>>,
}

impl Batch {
    /// Grows `trees` trees that tell `values` from the spectra of `table`.
    pub(super) fn grow(
        table: &Table,
        values: &Vec<f64>,
        trees: usize,
        depth: u16,
        settings: &ForestSettings,
        seed: u64,
    ) -> Result<Self, ForestError> {
        let parameters = RandomForestRegressorParameters {
            max_depth: Some(depth),
            min_samples_leaf: settings.min_leaf,
            min_samples_split: 2 * settings.min_leaf,
            n_trees: trees,
            m: Some(settings.channels_a_split),
            keep_samples: false,
            seed,
        };
        let forest = RandomForestRegressor::fit(&table.matrix, values, parameters)?;
        Ok(Self { trees, forest })
    }

    /// The number of trees.
    pub(super) fn trees(&self) -> usize {
        self.trees
    }

    /// Adds what each tree says of each spectrum to `sums`.
    pub(super) fn add_to(&self, sums: &mut [f64], table: &Table) -> Result<(), ForestError> {
        let means = self.forest.predict(&table.matrix)?;
        for (sum, mean) in sums.iter_mut().zip(means) {
            *sum += mean * self.trees as f64;
        }
        Ok(())
    }
}
