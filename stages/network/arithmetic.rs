//! What an implementation of the networks does.

use std::{fmt, sync::Arc};

use super::{
    design::Design,
    error::{DeviceFault, TrainingError},
    examples::Examples,
    history::LossParts,
    hyperparameters::Hyperparameters,
    learner::Lesson,
    predictions::Reader,
    values::Values,
};

/// An implementation of all networks.
pub(super) trait Arithmetic: fmt::Debug + Sync {
    /// The kind of device that it runs on.
    fn device(&self) -> &'static str;

    /// Calls `lesson` with a learner for batches of up to `rows` of `examples`.
    fn train(
        &self,
        design: &Design,
        keys: &Hyperparameters,
        examples: &Examples,
        rows: usize,
        lesson: &mut Lesson,
    ) -> Result<(LossParts, f64), TrainingError>;

    /// The sum of the losses of `rows` as in prediction, and how many counts are right.
    fn judge(
        &self,
        design: &Design,
        keys: &Hyperparameters,
        values: Values,
        examples: &Examples,
        rows: &[usize],
    ) -> Result<(LossParts, usize), DeviceFault>;

    /// A trained network, ready to predict.
    fn reader(&self, design: &Design, values: Values) -> Result<Arc<dyn Reader>, DeviceFault>;
}
