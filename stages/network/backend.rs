//! Where a network's arithmetic runs: the native core, or its twin on a device.

use std::sync::Arc;

use super::{
    arithmetic::Arithmetic,
    design::Design,
    detector::DetectorPredictor,
    error::{DeviceFault, TrainingError},
    examples::Examples,
    history::LossParts,
    hyperparameters::Hyperparameters,
    learner::Lesson,
    predictions::Reader,
    slots::SlotsPredictor,
    values::Values,
};

/// Where a network's arithmetic runs.
///
/// A training may go on elsewhere after any epoch, and a checkpoint predicts anywhere: results differ by rounding only.
#[derive(Debug, Clone, Copy)]
pub struct Backend(&'static dyn Arithmetic);

impl Backend {
    /// The native core, on the processor.
    pub fn native() -> Self {
        Self(&Native)
    }

    /// The twin on the first NVIDIA GPU.
    #[cfg(feature = "cuda")]
    pub fn cuda() -> Self {
        Self(&super::twin::CUDA)
    }

    /// Tries whether the first NVIDIA GPU can be used; what the driver says, if not.
    ///
    /// # Errors
    ///
    /// [`DeviceFault`] has the driver's words.
    #[cfg(feature = "cuda")]
    pub fn try_cuda() -> Result<(), DeviceFault> {
        super::twin::CUDA.open().map(|_| ())
    }

    /// The twin on dfdx's CPU device: the code that runs on a GPU, where there is none.
    #[cfg(test)]
    pub(super) fn twin() -> Self {
        Self(&super::twin::PROCESSOR)
    }

    /// The kind of device: `cpu` or `cuda`.
    pub fn device(self) -> &'static str {
        self.0.device()
    }

    pub(super) fn arithmetic(self) -> &'static dyn Arithmetic {
        self.0
    }
}

/// This crate's own layers.
#[derive(Debug)]
struct Native;

impl Arithmetic for Native {
    fn device(&self) -> &'static str {
        "cpu"
    }

    fn train(
        &self,
        design: &Design,
        keys: &Hyperparameters,
        examples: &Examples,
        rows: usize,
        lesson: &mut Lesson,
    ) -> Result<(LossParts, f64), TrainingError> {
        match design {
            Design::Slots(design) => design.with_learner(keys, examples, rows, lesson),
            Design::Detector(design) => design.with_learner(keys, examples, rows, lesson),
        }
    }

    fn judge(
        &self,
        design: &Design,
        keys: &Hyperparameters,
        values: Values,
        examples: &Examples,
        rows: &[usize],
    ) -> Result<(LossParts, usize), DeviceFault> {
        Ok(match design {
            Design::Slots(design) => design.judge(keys, values, examples, rows),
            Design::Detector(design) => design.judge(keys, values, examples, rows),
        })
    }

    fn reader(&self, design: &Design, values: Values) -> Result<Arc<dyn Reader>, DeviceFault> {
        Ok(native(design, values))
    }
}

/// A trained network in the native core.
pub(super) fn native(design: &Design, values: Values) -> Arc<dyn Reader> {
    match design {
        Design::Slots(design) => Arc::new(SlotsPredictor::new(design, values)),
        Design::Detector(design) => Arc::new(DetectorPredictor::new(design, values)),
    }
}
