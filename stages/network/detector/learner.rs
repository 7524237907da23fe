//! How a detector learns, and is judged, in the native core.

use super::{design::DetectorDesign, lanes::Instructions, model::Model, pass::Pass, validation};
use crate::network::{
    error::TrainingError, examples::Examples, history::LossParts, hyperparameters::Hyperparameters,
    learner::Lesson, values::Values,
};

impl DetectorDesign {
    pub(in crate::network) fn with_learner(
        &self,
        keys: &Hyperparameters,
        examples: &Examples,
        rows: usize,
        lesson: &mut Lesson,
    ) -> Result<(LossParts, f64), TrainingError> {
        let model = Model::new(&self.architecture, examples.grid.channels);
        lesson(&mut Pass::new(self, &model, keys.loss, examples, rows, Instructions::best()))
    }

    pub(in crate::network) fn judge(
        &self,
        keys: &Hyperparameters,
        values: Values,
        examples: &Examples,
        rows: &[usize],
    ) -> (LossParts, usize) {
        validation::validate(self, keys, values, examples, rows)
    }
}
