//! How a slot network learns, and is judged, in the native core.

use super::{design::SlotsDesign, dropout, model::Model, pass::Pass, validation};
use crate::network::{
    error::{DeviceFault, TrainingError},
    examples::Examples,
    history::LossParts,
    hyperparameters::Hyperparameters,
    learner::{Batch, Learner, Lesson},
    values::Values,
};

impl SlotsDesign {
    pub(in crate::network) fn with_learner(
        &self,
        keys: &Hyperparameters,
        examples: &Examples,
        rows: usize,
        lesson: &mut Lesson,
    ) -> Result<(LossParts, f64), TrainingError> {
        let model = Model::new(&self.architecture);
        let pass = Pass::new(&model, rows);
        lesson(&mut SlotsLearner { design: self, model: &model, keys: *keys, examples, pass })
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

/// The native passes of a slot network.
struct SlotsLearner<'a> {
    design: &'a SlotsDesign,
    model: &'a Model,
    keys: Hyperparameters,
    examples: &'a Examples<'a>,
    pass: Pass<'a>,
}

impl Learner for SlotsLearner<'_> {
    fn learn(
        &mut self,
        weights: &[f32],
        batch: Batch,
        gradient: &mut [f32],
        moments: &mut [f32],
    ) -> Result<LossParts, DeviceFault> {
        let dropout = dropout::Dropout {
            share: self.design.architecture.dropout,
            seed: self.keys.seed,
            epoch: batch.epoch,
            rows: batch.rows,
        };
        self.pass.forward(weights, self.examples, self.design.input_scale, &dropout);
        let parts =
            self.pass.loss(self.keys.loss, self.design.transform, self.examples, batch.rows);
        self.pass.backward(weights, gradient, &dropout);
        for (place, found) in self.model.normalizations().zip(&self.pass.normalizations) {
            moments[place.mean.clone()].copy_from_slice(&found.mean);
            moments[place.variance.clone()].copy_from_slice(&found.variance);
        }
        Ok(parts)
    }
}
