//! Training as an explicit state that is advanced epoch by epoch.

use std::ops::ControlFlow;

use super::adam::Adam;
use super::backend::Backend;
use super::checkpoint::{Checkpoint, Document, FORMAT_VERSION, Provenance};
use super::error::{ExamplesError, TrainingError};
use super::examples::Examples;
use super::history::{EpochRecord, LossParts};
use super::hyperparameters::Hyperparameters;
use super::learner::{Batch, Learner};
use super::random::shuffled;
use super::{
    design::{Architecture, Design},
    values::Values,
};

/// How far an epoch is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Batches done.
    pub batch: usize,
    /// Batches of the epoch.
    pub batches: usize,
    /// The mean training loss of the batches done; 0 before the first.
    pub loss: f64,
}

/// The weights that did best on the validation rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Best {
    pub(super) weights: Vec<f32>,
    pub(super) statistics: Vec<f32>,
    /// The epoch after which they stood.
    pub(super) epoch: usize,
    pub(super) loss: f64,
}

/// The state of a training after some number of epochs.
///
/// [`advance`](Self::advance) takes it through the next epoch; [`to_bytes`](Self::to_bytes) and
/// [`from_bytes`](Self::from_bytes) store it. Going on from a stored state gives the same bits as never having stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    pub(super) design: Design,
    pub(super) hyperparameters: Hyperparameters,
    /// How many rows it learns from.
    pub(super) learned_rows: usize,
    pub(super) weights: Vec<f32>,
    pub(super) statistics: Vec<f32>,
    pub(super) adam: Adam,
    pub(super) best: Best,
    /// The validation loss at the last improvement by more than the tolerance, and epochs since.
    pub(super) reference: Option<f64>,
    pub(super) idle: usize,
    pub(super) history: Vec<EpochRecord>,
}

impl Training {
    /// A training before its first epoch: weights drawn, and what the network takes from the training rows fitted to them.
    ///
    /// # Errors
    ///
    /// [`TrainingError`] if the architecture, a hyperparameter or the examples are unusable.
    pub fn start(
        architecture: Architecture,
        hyperparameters: Hyperparameters,
        examples: &Examples,
        training_rows: &[usize],
    ) -> Result<Self, TrainingError> {
        architecture.check()?;
        hyperparameters.check()?;
        examples.check(training_rows)?;
        enough("training", training_rows, 2)?;
        let design = Design::fit(architecture, &hyperparameters, examples, training_rows);
        matching(&design, examples)?;
        let weights = design.initial_weights(hyperparameters.seed);
        let statistics = design.layout().initial_statistics();
        Ok(Self {
            learned_rows: training_rows.len(),
            adam: Adam::new(weights.len()),
            best: Best {
                weights: weights.clone(),
                statistics: statistics.clone(),
                epoch: 0,
                loss: f64::MAX,
            },
            reference: None,
            idle: 0,
            history: Vec::new(),
            design,
            hyperparameters,
            weights,
            statistics,
        })
    }

    /// Trains for one epoch over `training` rows and judges the result on `validation` rows, on the processor.
    ///
    /// # Errors
    ///
    /// Those of [`advance_on`](Self::advance_on).
    pub fn advance(
        &mut self,
        examples: &Examples,
        training: &[usize],
        validation: &[usize],
        watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<EpochRecord, TrainingError> {
        self.advance_on(Backend::native(), examples, training, validation, watch)
    }

    /// Trains for one epoch over `training` rows and judges the result on `validation` rows.
    ///
    /// `watch` is called before every batch and stops the epoch by [`ControlFlow::Break`]. The rows must be the same in
    /// every call for a stored and continued training to equal an uninterrupted one.
    ///
    /// # Errors
    ///
    /// [`TrainingError::Interrupted`], [`TrainingError::Diverged`] or [`TrainingError::Device`], which leave the state as it
    /// was before the epoch, or what is wrong with the examples.
    pub fn advance_on(
        &mut self,
        backend: Backend,
        examples: &Examples,
        training: &[usize],
        validation: &[usize],
        watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<EpochRecord, TrainingError> {
        matching(&self.design, examples)?;
        examples.check(training)?;
        examples.check(validation)?;
        enough("training", training, 2)?;
        enough("validation", validation, 1)?;
        let before = (self.weights.clone(), self.statistics.clone(), self.adam.clone());
        let result = self.epoch(backend, examples, training, validation, watch);
        match result {
            Ok(record) => {
                self.conclude(record);
                Ok(record)
            }
            Err(error) => {
                (self.weights, self.statistics, self.adam) = before;
                Err(error)
            }
        }
    }

    fn epoch(
        &mut self,
        backend: Backend,
        examples: &Examples,
        training: &[usize],
        validation: &[usize],
        watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<EpochRecord, TrainingError> {
        let epoch = self.epochs_done() + 1;
        let (keys, design) = (self.hyperparameters, self.design.clone());
        let order = shuffled(training, keys.seed, epoch);
        let batches = order.len().div_ceil(keys.batch_size).min(order.len() / 2);
        let largest = order.len().div_ceil(batches);
        let arithmetic = backend.arithmetic();
        let (total, rate) =
            arithmetic.train(&design, &keys, examples, largest, &mut |learner| {
                self.learn(learner, &order, batches, watch)
            })?;
        let values = Values { weights: &self.weights, statistics: &self.statistics };
        let (validated, right) = arithmetic.judge(&design, &keys, values, examples, validation)?;
        if !validated.total.is_finite() {
            return Err(TrainingError::Diverged { epoch });
        }
        Ok(EpochRecord {
            epoch,
            learning_rate: rate,
            training: total.divided(order.len() as f64),
            validation: validated.divided(validation.len() as f64),
            validation_count_accuracy: right as f64 / validation.len() as f64,
        })
    }

    /// Takes a step for each of `batches` equal parts of `order`; gives the sum of the losses and the last learning rate.
    fn learn(
        &mut self,
        learner: &mut dyn Learner,
        order: &[usize],
        batches: usize,
        watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(LossParts, f64), TrainingError> {
        let epoch = self.epochs_done() + 1;
        let keys = self.hyperparameters;
        let mut gradient = vec![0.0; self.weights.len()];
        let mut moments = vec![0.0; self.statistics.len()];
        let mut total = LossParts::default();
        let (mut seen, mut rate) = (0, 0.0);
        for batch in 0..batches {
            let progress =
                Progress { epoch, batch, batches, loss: total.total / seen.max(1) as f64 };
            if watch(progress).is_break() {
                return Err(TrainingError::Interrupted { epoch });
            }
            let rows = &order[batch * order.len() / batches..(batch + 1) * order.len() / batches];
            let batch = Batch { epoch, rows };
            total.add(&learner.learn(&self.weights, batch, &mut gradient, &mut moments)?);
            rate = keys.learning_rate
                * keys.schedule.factor(
                    self.adam.steps,
                    batches.saturating_mul(keys.epochs) as u64,
                    keys.warmup_batches as u64,
                );
            self.adam.step(&mut self.weights, &gradient, rate);
            self.settle(&moments);
            seen += rows.len();
            if !total.total.is_finite() {
                return Err(TrainingError::Diverged { epoch });
            }
        }
        Ok((total, rate))
    }

    /// Moves the running statistics towards those of the last batch: at first their plain mean, later a decaying one.
    fn settle(&mut self, moments: &[f32]) {
        const SHARE: f32 = 0.01;
        let share = (1.0 / self.adam.steps as f32).max(SHARE);
        for (running, value) in self.statistics.iter_mut().zip(moments) {
            *running += share * (value - *running);
        }
    }

    fn conclude(&mut self, record: EpochRecord) {
        let loss = record.validation.total;
        if loss < self.best.loss {
            self.best = Best {
                weights: self.weights.clone(),
                statistics: self.statistics.clone(),
                epoch: record.epoch,
                loss,
            };
        }
        if self.reference.is_none_or(|reference| loss < reference - self.hyperparameters.tolerance)
        {
            self.reference = Some(loss);
            self.idle = 0;
        } else {
            self.idle += 1;
        }
        self.history.push(record);
    }

    /// The same training, to go on until `epochs` are done. With a constant learning rate that is as if it had been so
    /// from the start.
    #[must_use]
    pub fn until(mut self, epochs: usize) -> Self {
        self.hyperparameters.epochs = epochs;
        self
    }

    /// How many epochs have been done.
    pub fn epochs_done(&self) -> usize {
        self.history.len()
    }

    /// Whether all epochs are done, or patience is at its end.
    pub fn is_finished(&self) -> bool {
        let keys = &self.hyperparameters;
        self.epochs_done() >= keys.epochs || (keys.patience > 0 && self.idle >= keys.patience)
    }

    /// The epochs so far.
    pub fn history(&self) -> &[EpochRecord] {
        &self.history
    }

    /// The network.
    pub fn design(&self) -> &Design {
        &self.design
    }

    /// How it is trained.
    pub fn hyperparameters(&self) -> &Hyperparameters {
        &self.hyperparameters
    }

    /// The network with the weights that did best on the validation rows. `scaler` is kept as it is, for whoever predicts
    /// to scale spectra alike; `device` says where the training ran.
    pub fn checkpoint(&self, scaler: serde_json::Value, device: &str) -> Checkpoint {
        Checkpoint {
            document: Document {
                format_version: FORMAT_VERSION,
                network: self.design.clone(),
                scaler,
                hyperparameters: self.hyperparameters,
                provenance: Provenance {
                    device: device.to_owned(),
                    epochs: self.epochs_done(),
                    best_epoch: self.best.epoch,
                    training_rows: self.learned_rows,
                },
            },
            weights: self.best.weights.clone(),
            statistics: self.best.statistics.clone(),
        }
    }
}

fn matching(design: &Design, examples: &Examples) -> Result<(), ExamplesError> {
    let channels = design.channels().map(|expected| ("channels", examples.grid.channels, expected));
    for (what, found, expected) in
        channels.into_iter().chain([("slots", examples.slots, design.slots())])
    {
        if found != expected {
            return Err(ExamplesError::Mismatch { what, found, expected });
        }
    }
    Ok(())
}

fn enough(purpose: &'static str, rows: &[usize], least: usize) -> Result<(), ExamplesError> {
    if rows.len() < least {
        return Err(ExamplesError::TooFew { purpose, found: rows.len(), least });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::fixture::{
        Spectra, brief, on, rows, small, started, started_detector, train,
    };
    use crate::network::slots;

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn same_bits_for_any_number_of_threads() {
        let spectra = Spectra::new(240, 45, 2);
        let examples = spectra.examples();
        for start in [started, started_detector] {
            same_bits(&examples, start);
        }
    }

    fn same_bits(examples: &Examples, start: fn(&Examples, Hyperparameters) -> Training) {
        let trained = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let Ok(pool) = pool else { panic!("no threads") };
            pool.install(|| {
                let mut training = start(examples, brief());
                train(&mut training, examples, 2);
                training
            })
        };
        let one = trained(1);
        for threads in [2, 7] {
            let other = trained(threads);
            assert_eq!(bits(&one.weights), bits(&other.weights));
            assert_eq!(one, other);
        }
    }

    #[test]
    fn continuing_a_stored_state_equals_never_having_stopped() {
        let spectra = Spectra::new(120, 40, 2);
        let examples = spectra.examples();
        for start in [started, started_detector] {
            let mut whole = start(&examples, brief());
            let mut parts = whole.clone();
            train(&mut whole, &examples, 4);
            for _ in 0..2 {
                train(&mut parts, &examples, 2);
                let stored = parts.to_bytes().and_then(|bytes| Training::from_bytes(&bytes));
                let Ok(stored) = stored else { panic!("{stored:?}") };
                assert_eq!(stored, parts);
                parts = stored;
            }
            assert_eq!(parts, whole);
            assert_eq!(parts.to_bytes().ok(), whole.to_bytes().ok());
        }
    }

    #[test]
    fn interruption_leaves_the_state_as_it_was() {
        let spectra = Spectra::new(120, 40, 2);
        let examples = spectra.examples();
        let mut training = started(&examples, brief());
        train(&mut training, &examples, 1);
        let before = training.clone();
        let (train, validate) = rows(&examples);
        let result = training.advance(&examples, &train, &validate, &mut |progress| {
            assert_eq!((progress.epoch, progress.batches), (2, 5));
            if progress.batch == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(result, Err(TrainingError::Interrupted { epoch: 2 })));
        assert_eq!(training, before);
    }

    #[test]
    fn impossible_rate_diverges_with_an_error_and_keeps_the_state() {
        let spectra = Spectra::new(60, 40, 2);
        let examples = spectra.examples();
        let keys = Hyperparameters { learning_rate: 1e38, warmup_batches: 0, ..brief() };
        let mut training = started(&examples, keys);
        let before = training.clone();
        let (train, validate) = rows(&examples);
        let result = training.advance(&examples, &train, &validate, &mut on);
        assert!(matches!(result, Err(TrainingError::Diverged { epoch: 1 })), "{result:?}");
        assert_eq!(training, before);
    }

    #[test]
    fn training_beats_a_constant_guess() {
        let spectra = Spectra::new(1200, 40, 1);
        let examples = spectra.examples();
        let keys = Hyperparameters { epochs: 12, patience: 0, ..brief() };
        let architecture = Architecture::Slots(slots::Architecture {
            filters: 6,
            dropout: 0.0,
            dense: vec![32],
            ..small(40, 1)
        });
        let (train, validate) = rows(&examples);
        let training = Training::start(architecture, keys, &examples, &train);
        let Ok(mut training) = training else { panic!("{training:?}") };
        while !training.is_finished() {
            let result = training.advance(&examples, &train, &validate, &mut on);
            assert!(result.is_ok(), "{result:?}");
        }
        let last = training.history()[11];
        // Standardised targets: a constant guess has an error of 0.5, as half of the rows have a component, and half of the
        // counts right.
        assert!(last.validation.parameter < 0.15, "{last:?}");
        assert!(last.validation_count_accuracy > 0.95, "{last:?}");
    }

    #[test]
    fn patience_ends_training_and_the_best_weights_are_kept() {
        let spectra = Spectra::new(80, 40, 1);
        let examples = spectra.examples();
        let keys = Hyperparameters { epochs: 50, patience: 2, tolerance: 1e3, ..brief() };
        let mut training = started(&examples, keys);
        let mut after = vec![training.weights.clone()];
        while !training.is_finished() {
            train(&mut training, &examples, 1);
            after.push(training.weights.clone());
        }
        // No epoch improves by a thousand: the first sets the mark, two more exhaust the patience.
        assert_eq!(training.epochs_done(), 3);
        let best = (1..=3)
            .min_by(|a, b| {
                let loss = |epoch: usize| training.history()[epoch - 1].validation.total;
                loss(*a).total_cmp(&loss(*b))
            })
            .unwrap_or(0);
        let checkpoint = training.checkpoint(serde_json::Value::Null, "test");
        assert_eq!(checkpoint.document.provenance.best_epoch, best);
        assert_eq!(bits(checkpoint.weights()), bits(&after[best]));
    }

    #[test]
    fn odd_sizes_and_missing_channels_train() {
        for (channels, slots) in [(5, 1), (37, 8), (141, 3)] {
            let mut spectra = Spectra::new(60, channels, slots);
            for row in 0..30 {
                spectra.values[row * channels] = 0.0;
                spectra.values[row * channels + 2] = f32::NAN;
            }
            let examples = spectra.examples();
            let mut training = started(&examples, brief());
            train(&mut training, &examples, 1);
            assert!(training.history()[0].validation.total.is_finite());
        }
    }

    #[test]
    fn mismatched_examples_are_refused() {
        let spectra = Spectra::new(60, 40, 2);
        let mut training = started(&spectra.examples(), brief());
        let other = Spectra::new(60, 41, 2);
        let result = training.advance(&other.examples(), &[0, 1], &[2], &mut on);
        assert!(matches!(
            result,
            Err(TrainingError::Examples(ExamplesError::Mismatch { what: "channels", .. }))
        ));
        let result = training.advance(&spectra.examples(), &[0, 60], &[2], &mut on);
        assert!(matches!(
            result,
            Err(TrainingError::Examples(ExamplesError::Row { row: 60, rows: 60 }))
        ));
    }
}
