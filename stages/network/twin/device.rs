//! The networks on one of dfdx's devices, as a training and a predictor ask for them.

use std::{fmt, sync::Arc};

use dfdx::prelude::*;

use super::detector::{Detector, DetectorReader};
use super::slots::{Slots, SlotsReader};
use crate::network::twin::on::On;
use crate::network::{
    arithmetic::Arithmetic,
    design::Design,
    error::{DeviceFault, TrainingError},
    examples::Examples,
    history::LossParts,
    hyperparameters::Hyperparameters,
    learner::Lesson,
    predictions::Reader,
    values::Values,
};

impl<D: Device<f32> + fmt::Debug> Arithmetic for On<D> {
    fn device(&self) -> &'static str {
        self.kind
    }

    fn train(
        &self,
        design: &Design,
        keys: &Hyperparameters,
        examples: &Examples,
        _: usize,
        lesson: &mut Lesson,
    ) -> Result<(LossParts, f64), TrainingError> {
        match design {
            Design::Slots(design) => {
                let network = Slots::new(self.open()?, design);
                lesson(&mut network.learner(self, keys, examples))
            }
            Design::Detector(design) => {
                let network = Detector::new(self.open()?, design, examples.grid.channels);
                lesson(&mut network.learner(self, keys, examples))
            }
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
        match design {
            Design::Slots(design) => {
                let network = Slots::new(self.open()?, design);
                network.judge(keys, values, examples, rows).map_err(|error| self.fault(&error))
            }
            Design::Detector(design) => {
                let network = Detector::new(self.open()?, design, examples.grid.channels);
                network.judge(keys, values, examples, rows).map_err(|error| self.fault(&error))
            }
        }
    }

    fn reader(&self, design: &Design, values: Values) -> Result<Arc<dyn Reader>, DeviceFault> {
        self.open()?;
        match design {
            Design::Slots(design) => Ok(Arc::new(SlotsReader::new(self.again(), design, values))),
            Design::Detector(design) => {
                Ok(Arc::new(DetectorReader::new(self.again(), design, values)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::network::{
        Backend, Checkpoint, Examples, Grid, Hyperparameters, Predictor, Training,
        fixture::{Spectra, brief, started, started_detector, train, train_on},
        history::EpochRecord,
        random::{Purpose, generator, symmetric},
        twin::comparison::assert_near,
    };

    const ROWS: usize = 120;
    const CHANNELS: usize = 45;
    /// Each of five batches.
    const EPOCHS: usize = 6;
    /// What a loss adds up; the step-by-step comparisons of the layers have as many.
    const TERMS: usize = 200;

    const STARTS: [fn(&Examples, Hyperparameters) -> Training; 2] = [started, started_detector];

    fn distance(a: &[f32], b: &[f32]) -> f64 {
        assert_eq!(a.len(), b.len());
        let off = a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b));
        off.map(|off| off * off).sum::<f64>().sqrt()
    }

    fn losses(history: &[EpochRecord]) -> Vec<f32> {
        let of = |epoch: &EpochRecord| [epoch.training, epoch.validation];
        history.iter().flat_map(of).map(|parts| parts.total as f32).collect()
    }

    /// The training, stored and read back.
    fn stored(training: &Training) -> Training {
        let read = training.to_bytes().and_then(|bytes| Training::from_bytes(&bytes));
        let Ok(read) = read else { panic!("{read:?}") };
        read
    }

    /// Whole trainings by the core, by the twin, and by each after the other. A step rounds every weight, so after n steps
    /// two that round differently are as far apart as if the weights had been off by √n roundings at the start: how far that
    /// leads, the core itself tells.
    #[test]
    fn whole_trainings_equal_the_core_s_wherever_they_go_on() {
        let spectra = Spectra::new(ROWS, CHANNELS, 3);
        let examples = spectra.examples();
        for start in STARTS {
            let mut core = start(&examples, brief());
            let (mut twin, mut nudged) = (core.clone(), core.clone());
            let steps = (EPOCHS * 5) as f32;
            let mut generator = generator(1, Purpose::Order, [0, 0], 0);
            for weight in &mut nudged.weights {
                *weight *= 1.0 + steps.sqrt() * f32::EPSILON * symmetric(&mut generator);
            }
            train(&mut nudged, &examples, EPOCHS);
            train(&mut core, &examples, EPOCHS / 2);
            train_on(Backend::twin(), &mut twin, &examples, EPOCHS / 2);
            let (mut core_first, mut twin_first) = (stored(&core), stored(&twin));
            train(&mut core, &examples, EPOCHS / 2);
            train_on(Backend::twin(), &mut twin, &examples, EPOCHS / 2);
            train_on(Backend::twin(), &mut core_first, &examples, EPOCHS / 2);
            train(&mut twin_first, &examples, EPOCHS / 2);
            for other in [&twin, &core_first, &twin_first] {
                for (other, core, nudged) in [
                    (&other.weights, &core.weights, &nudged.weights),
                    (&other.statistics, &core.statistics, &nudged.statistics),
                    (&other.best.weights, &core.best.weights, &nudged.best.weights),
                ] {
                    let (off, bound) = (distance(other, core), distance(nudged, core));
                    assert!(off <= bound, "off by {off:e}, above {bound:e}");
                }
                assert_eq!(other.best.epoch, core.best.epoch);
                assert_near(&losses(other.history()), &losses(core.history()), TERMS);
            }
            // They don't come from the same arithmetic.
            assert_ne!(twin.weights, core.weights);
        }
    }

    #[test]
    fn checkpoints_of_either_predict_alike_in_either() {
        let spectra = Spectra::new(ROWS, CHANNELS, 3);
        let examples = spectra.examples();
        let grid = Grid { start: 100.0, step: 2.0, channels: CHANNELS };
        for start in STARTS {
            for trained_on in [Backend::native(), Backend::twin()] {
                let mut training = start(&examples, brief());
                train_on(trained_on, &mut training, &examples, 2);
                let checkpoint = training.checkpoint(serde_json::Value::Null, trained_on.device());
                let read = checkpoint
                    .to_bytes()
                    .and_then(|(tensors, document)| Checkpoint::from_bytes(&tensors, &document));
                let Ok(read) = read else { panic!("{read:?}") };
                assert_eq!(read, checkpoint);
                let [core, twin] = [Backend::native(), Backend::twin()].map(|backend| {
                    let predictions = Predictor::on(backend, &read)
                        .map(|network| network.predict(&spectra.values, &spectra.noise, &grid));
                    let Ok(Ok(predictions)) = predictions else { panic!("{predictions:?}") };
                    predictions
                });
                assert_eq!(twin.counts, core.counts);
                assert_eq!(twin.candidates, core.candidates);
                let single = |values: &[f64]| {
                    values.iter().filter(|v| !v.is_nan()).map(|v| *v as f32).collect::<Vec<f32>>()
                };
                assert_near(&single(&twin.probabilities), &single(&core.probabilities), TERMS);
                assert_near(&single(&twin.parameters), &single(&core.parameters), TERMS);
                assert_eq!(twin.heat.is_some(), core.heat.is_some());
                if let (Some(twin), Some(core)) = (&twin.heat, &core.heat) {
                    assert_near(&single(twin), &single(core), TERMS);
                }
            }
        }
    }
}
