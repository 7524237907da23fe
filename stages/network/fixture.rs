//! Small synthetic spectra and networks for the tests.

use std::ops::ControlFlow;

use super::backend::Backend;
use super::examples::{Examples, Unscaling};
use super::grid::Grid;
use super::hyperparameters::Hyperparameters;
use super::random::{Purpose, generator, symmetric};
use super::slots::Architecture;
use super::training::{Progress, Training};
use super::{design, detector};

/// Spectra of 0 to K components with unit noise rms, scaled by it.
pub(super) struct Spectra {
    pub(super) values: Vec<f32>,
    pub(super) noise: Vec<f32>,
    parameters: Vec<f64>,
    counts: Vec<u8>,
    grid: Grid,
    slots: usize,
}

impl Spectra {
    pub(super) fn new(rows: usize, channels: usize, slots: usize) -> Self {
        let mut made = Self {
            values: Vec::new(),
            noise: vec![0.5; rows],
            parameters: vec![f64::NAN; rows * slots * 3],
            counts: Vec::new(),
            grid: Grid { start: 100.0, step: 2.0, channels },
            slots,
        };
        for row in 0..rows {
            let mut generator = generator(5, Purpose::Order, [row as u64, 1], 0);
            let mut uniform = |low: f64, high: f64| {
                let u = 0.5 + 0.5 * f64::from(symmetric(&mut generator));
                low + (high - low) * u
            };
            let count = row % (slots + 1);
            let end = made.grid.position(1.0);
            let mut components: Vec<[f64; 3]> = (0..count)
                .map(|_| [uniform(3.0, 9.0), uniform(100.0, end), uniform(3.0, 6.0)])
                .collect();
            components.sort_by(|a, b| a[1].total_cmp(&b[1]));
            for (slot, component) in components.iter().enumerate() {
                let start = (row * slots + slot) * 3;
                made.parameters[start..start + 3].copy_from_slice(component);
            }
            made.counts.push(count as u8);
            for channel in 0..channels {
                let x = 100.0 + 2.0 * channel as f64;
                let sum: f64 = components
                    .iter()
                    .map(|[a, m, s]| a * libm::exp(-0.5 * (x - m) * (x - m) / (s * s)))
                    .sum();
                // Twelve uniform numbers make a normal one, well enough.
                let noise: f64 = (0..12).map(|_| uniform(-0.5, 0.5)).sum();
                made.values.push((sum / 0.5 + noise) as f32);
            }
        }
        made
    }

    pub(super) fn examples(&self) -> Examples<'_> {
        Examples {
            spectra: &self.values,
            noise: &self.noise,
            parameters: &self.parameters,
            counts: &self.counts,
            slots: self.slots,
            grid: self.grid,
            unscaling: Unscaling::NoiseRms,
        }
    }
}

/// A network of every kind of layer, small enough for tests.
pub(super) fn small(channels: usize, slots: usize) -> Architecture {
    Architecture {
        kernels: vec![3, 5, 9],
        filters: 3,
        blocks: 2,
        dense: vec![12, 8],
        dropout: 0.1,
        ..Architecture::new(channels, slots)
    }
}

/// Keys for a training of a few small batches.
pub(super) fn brief() -> Hyperparameters {
    Hyperparameters {
        epochs: 6,
        batch_size: 20,
        warmup_batches: 3,
        seed: 3,
        ..Hyperparameters::default()
    }
}

/// Rows for training and for validation.
pub(super) fn rows(examples: &Examples) -> (Vec<usize>, Vec<usize>) {
    (0..examples.rows()).partition(|row| row % 5 != 4)
}

/// Trains for the given number of epochs.
pub(super) fn train(training: &mut Training, examples: &Examples, epochs: usize) {
    train_on(Backend::native(), training, examples, epochs);
}

/// Trains for the given number of epochs on a device.
pub(super) fn train_on(
    backend: Backend,
    training: &mut Training,
    examples: &Examples,
    epochs: usize,
) {
    let (train, validate) = rows(examples);
    for _ in 0..epochs {
        let result = training.advance_on(backend, examples, &train, &validate, &mut on);
        assert!(result.is_ok(), "{result:?}");
    }
}

/// Never stops.
pub(super) fn on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A detector's training before its first epoch.
pub(super) fn started_detector(examples: &Examples, keys: Hyperparameters) -> Training {
    let shape = detector::Architecture { slots: examples.slots, width: 5 };
    let (train, _) = rows(examples);
    match Training::start(design::Architecture::Detector(shape), keys, examples, &train) {
        Ok(training) => training,
        Err(error) => panic!("{error}"),
    }
}

/// A slot network's training before its first epoch.
pub(super) fn started(examples: &Examples, keys: Hyperparameters) -> Training {
    let architecture = design::Architecture::Slots(small(examples.grid.channels, examples.slots));
    let (train, _) = rows(examples);
    match Training::start(architecture, keys, examples, &train) {
        Ok(training) => training,
        Err(error) => panic!("{error}"),
    }
}
