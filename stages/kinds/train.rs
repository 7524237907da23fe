//! `train`: teaches a network on labelled spectra.

use std::ops::ControlFlow;

use pipe_engine::{
    Exactness, Fault, InputPort, OutputPort, Shape, StageContext, StageError, StageKind,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    artifacts::{
        CHECKPOINT, CHECKPOINT_FILE, ComponentsReader, HISTORY, HISTORY_FILE, ROWS, Rows, SCALED,
        SCALER, SCALER_FILE, SPECTRA, ScaledReader, SpectraReader, TRUTH, WEIGHTS_FILE,
        device::backend,
    },
    network::{
        Architecture, EpochRecord, Examples, Grid, Hyperparameters, LossParts, LossWeights,
        Schedule, Space, Training, TrainingError, Unscaling, detector, slots,
    },
    spectra::Scaler,
};

/// The kind `train`.
pub struct Train;

/// Which network is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Tells at each channel whether a component is there. It knows no axis: it predicts spectra of any channels.
    Detector,
    /// Tells the parameters of a slot for each component. It predicts spectra on the axis of its training only.
    Slots,
}

/// The keys of [`Config`] that only the slot network has.
const SLOTS_KEYS: [&str; 9] = [
    "sparsity_weight",
    "reconstruction_weight",
    "amplitude_space",
    "sigma_space",
    "kernels",
    "filters",
    "blocks",
    "dense",
    "dropout",
];
/// The keys of [`Config`] that only the detector has.
const DETECTOR_KEYS: [&str; 2] = ["detection_weight", "width"];

/// How the network is built and trained. Keys of one network may not be given for the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The network: `detector`, which tells at each channel whether a component is there, and predicts spectra of any
    /// channels; or `slots`, which tells the parameters of a slot for each component, on the axis of its training.
    pub network: Network,
    /// The most epochs: passes over all training spectra.
    #[schemars(range(min = 1))]
    pub epochs: usize,
    /// The most spectra in a batch.
    #[schemars(range(min = 2), extend("unit" = "spectra"))]
    pub batch_size: usize,
    /// Adam's step length at its highest.
    #[schemars(range(min = 0.0))]
    pub learning_rate: f64,
    /// The course of the learning rate: `cosine` falls to zero at the last epoch, `constant` stays.
    pub schedule: Schedule,
    /// Batches over which the learning rate rises to its highest.
    #[schemars(extend("unit" = "batches"))]
    pub warmup_batches: usize,
    /// Epochs without improvement after which training stops early; 0 for never. The best weights are kept in any case.
    #[schemars(extend("unit" = "epochs"))]
    pub patience: usize,
    /// By how much the validation loss must fall to count as an improvement.
    #[schemars(range(min = 0.0))]
    pub tolerance: f64,
    /// `slots`: the weight of the amplitudes that the network gives to slots without a component.
    #[schemars(range(min = 0.0))]
    pub sparsity_weight: f64,
    /// `slots`: the weight of the difference between the spectrum and the sum of the predicted components.
    #[schemars(range(min = 0.0))]
    pub reconstruction_weight: f64,
    /// The weight of the cross-entropy of the number of components.
    #[schemars(range(min = 0.0))]
    pub count_weight: f64,
    /// `detector`: the weight of the loss by which the network learns where components are.
    #[schemars(range(min = 0.0))]
    pub detection_weight: f64,
    /// `detector`: features of the layers that work at every channel; deeper ones have twice as many.
    #[schemars(range(min = 1, max = 256))]
    pub width: usize,
    /// `slots`: in which space amplitudes are learned: `linear` or `logarithmic`.
    pub amplitude_space: Space,
    /// `slots`: in which space sigmas are learned: `linear` or `logarithmic`.
    pub sigma_space: Space,
    /// `slots`: the widths of the parallel convolution kernels: odd and ascending.
    #[schemars(extend("unit" = "channels"))]
    pub kernels: Vec<usize>,
    /// `slots`: filters of each kernel.
    #[schemars(range(min = 1))]
    pub filters: usize,
    /// `slots`: convolution blocks; each halves the length of the spectrum.
    #[schemars(range(min = 1))]
    pub blocks: usize,
    /// `slots`: the widths of the dense layers.
    pub dense: Vec<usize>,
    /// `slots`: the share of values dropped before and after each dense layer while training.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
    /// The seed of the initial weights, the order of the spectra and the dropout.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        let shape = slots::Architecture::new(140, 2);
        let keys = Hyperparameters::default();
        Self {
            network: Network::Detector,
            epochs: keys.epochs,
            batch_size: keys.batch_size,
            learning_rate: keys.learning_rate,
            schedule: keys.schedule,
            warmup_batches: keys.warmup_batches,
            patience: keys.patience,
            tolerance: keys.tolerance,
            sparsity_weight: keys.loss.sparsity_weight,
            reconstruction_weight: keys.loss.reconstruction_weight,
            count_weight: keys.loss.count_weight,
            detection_weight: keys.loss.detection_weight,
            width: detector::Architecture::new(2).width,
            amplitude_space: keys.amplitude_space,
            sigma_space: keys.sigma_space,
            kernels: shape.kernels,
            filters: shape.filters,
            blocks: shape.blocks,
            dense: shape.dense,
            dropout: shape.dropout,
            seed: keys.seed,
        }
    }
}

impl Config {
    fn architecture(&self, channels: usize, slots: usize) -> Architecture {
        match self.network {
            Network::Detector => {
                Architecture::Detector(detector::Architecture { slots, width: self.width })
            }
            Network::Slots => Architecture::Slots(slots::Architecture {
                channels,
                slots,
                kernels: self.kernels.clone(),
                filters: self.filters,
                blocks: self.blocks,
                dense: self.dense.clone(),
                dropout: self.dropout,
            }),
        }
    }

    /// The keys that belong to the other network and yet have another value than their default.
    fn foreign(&self) -> Vec<&'static str> {
        let keys: &[&str] = match self.network {
            Network::Detector => &SLOTS_KEYS,
            Network::Slots => &DETECTOR_KEYS,
        };
        let (Ok(given), Ok(default)) =
            (serde_json::to_value(self), serde_json::to_value(Self::default()))
        else {
            return Vec::new();
        };
        keys.iter().copied().filter(|key| given[key] != default[key]).collect()
    }

    fn hyperparameters(&self) -> Hyperparameters {
        Hyperparameters {
            epochs: self.epochs,
            batch_size: self.batch_size,
            learning_rate: self.learning_rate,
            schedule: self.schedule,
            warmup_batches: self.warmup_batches,
            patience: self.patience,
            tolerance: self.tolerance,
            loss: LossWeights {
                sparsity_weight: self.sparsity_weight,
                reconstruction_weight: self.reconstruction_weight,
                count_weight: self.count_weight,
                detection_weight: self.detection_weight,
            },
            amplitude_space: self.amplitude_space,
            sigma_space: self.sigma_space,
            seed: self.seed,
        }
    }
}

impl StageKind for Train {
    type Config = Config;

    const KIND: &'static str = "train";
    const ABOUT: &'static str =
        "Trains a convolutional network to tell the components of a spectrum.";
    const REVISION: u32 = 2;
    const EXACTNESS: Exactness = Exactness::Reproducible;
    const INPUTS: &'static [InputPort] = &[
        InputPort::required("scaled", SCALED, "the spectra as the network sees them"),
        InputPort::required(
            "spectra",
            SPECTRA,
            "the same spectra as they were observed: axis and noise",
        ),
        InputPort::required("truth", TRUTH, "their components"),
        InputPort::required("rows", ROWS, "which of them train and which validate"),
        InputPort::required("scaler", SCALER, "how they were scaled"),
    ];
    const OUTPUTS: &'static [OutputPort] = &[
        OutputPort::new("checkpoint", CHECKPOINT, "the trained network: safetensors and JSON"),
        OutputPort::new(
            "history",
            HISTORY,
            "loss and count accuracy after each epoch: JSON and CSV",
        ),
    ];

    fn check(config: &Config) -> Vec<Fault> {
        let mut faults = Vec::new();
        if config.learning_rate <= 0.0 {
            faults.push(Fault::at("learning_rate", "must be above 0"));
        }
        let (this, other) = match config.network {
            Network::Detector => ("detector", "slots"),
            Network::Slots => ("slots", "detector"),
        };
        for key in config.foreign() {
            let why = format!(
                "belongs to the network `{other}`, and this one is `{this}`: leave it out, or say `network: {other}`"
            );
            faults.push(Fault::at(key, why));
        }
        // The spectra aren't known yet: 140 channels and 2 slots stand for any that make sense.
        if let Err(error) = config.architecture(140, 2).check() {
            let text = error.to_string();
            let keys = ["kernels", "filters", "blocks", "dense", "dropout", "width"];
            let key = keys.into_iter().find(|key| text.contains(key)).unwrap_or("kernels");
            faults.push(Fault::at(key, text));
        }
        faults
    }

    fn shape(config: &Config) -> Shape {
        Shape::Steps {
            extent: match config.schedule {
                Schedule::Constant => Some("epochs"),
                // Each step's length depends on where the end is.
                Schedule::Cosine => None,
            },
        }
    }

    fn run(config: &Config, context: &StageContext<'_>) -> Result<(), StageError> {
        let backend = backend(context)?;
        let spectra = SpectraReader::open(context.input("spectra")?)?;
        let scaled = ScaledReader::open(context.input("scaled")?)?;
        let truth = ComponentsReader::open(context.input("truth")?)?;
        let available = spectra.rows();
        let rows = Rows::read(context.input("rows")?, available)?;
        let scaler: Scaler = context.input("scaler")?.document(SCALER_FILE)?;
        let noise: Vec<f32> =
            spectra.noise(0..available)?.into_iter().map(|rms| rms as f32).collect();
        let counts: Vec<u8> =
            truth.counts(0..truth.rows())?.into_iter().map(|n| n.min(255) as u8).collect();
        let parameters = truth.parameters(0..truth.rows())?;
        let values = scaled.read(0..scaled.rows())?;
        let single = |values: &[f64]| values.iter().map(|value| *value as f32).collect::<Vec<_>>();
        let channels = match &scaler {
            Scaler::Rms => None,
            Scaler::Standard { mean, deviation } => Some((single(mean), single(deviation))),
        };
        let axis = spectra.axis();
        let examples = Examples {
            spectra: &values,
            noise: &noise,
            parameters: &parameters,
            counts: &counts,
            slots: truth.slots(),
            grid: Grid { start: axis.start, step: axis.step, channels: axis.channels },
            unscaling: match &channels {
                None => Unscaling::NoiseRms,
                Some((offset, scale)) => Unscaling::Channels { offset, scale },
            },
        };
        let training: Vec<usize> = rows.training.iter().map(|row| *row as usize).collect();
        let validation: Vec<usize> = rows.validation.iter().map(|row| *row as usize).collect();
        let mut state = if let Some(state) = context.last_state(config.epochs as u64)? {
            Training::from_bytes(&state)?.until(config.epochs)
        } else {
            let shape = config.architecture(axis.channels, truth.slots());
            Training::start(shape, config.hyperparameters(), &examples, &training)?
        };
        while !state.is_finished() {
            let advanced =
                state.advance_on(backend, &examples, &training, &validation, &mut |progress| {
                    let (batch, batches) = (progress.batch as u64, progress.batches as u64);
                    let done = (progress.epoch as u64 - 1) * batches + batch;
                    context.progress(done, config.epochs as u64 * batches, "batches");
                    if context.check_interrupt().is_err() {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                });
            match advanced {
                Err(TrainingError::Interrupted { .. }) => {
                    return context.check_interrupt().map_err(StageError::from);
                }
                other => other?,
            };
            context.keep_state(state.epochs_done() as u64, &state.to_bytes()?)?;
        }
        // A detector works in units of the noise, however the spectra that it learned from were scaled.
        let scaler = match config.network {
            Network::Detector => Scaler::Rms,
            Network::Slots => scaler,
        };
        let checkpoint = state.checkpoint(serde_json::to_value(&scaler)?, backend.device());
        let (weights, document) = checkpoint.to_bytes()?;
        let output = context.output("checkpoint")?;
        output.write(WEIGHTS_FILE, &weights)?;
        output.write(CHECKPOINT_FILE, &document)?;
        let output = context.output("history")?;
        let best = checkpoint.document.provenance.best_epoch;
        output.document(HISTORY_FILE, &json!({ "best_epoch": best, "epochs": state.history() }))?;
        output.write("history.csv", &table(config.network, state.history())?)?;
        Ok(())
    }
}

/// The history as CSV, a row for each epoch.
fn table(network: Network, history: &[EpochRecord]) -> Result<Vec<u8>, StageError> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    let mut header = vec!["epoch".to_owned(), "learning_rate".to_owned()];
    for rows in ["training", "validation"] {
        for (part, _) in parts(network, &LossParts::default()) {
            header.push(format!("{rows}_{part}"));
        }
    }
    header.push("validation_count_accuracy".to_owned());
    csv.write_record(&header)?;
    for epoch in history {
        let mut record = vec![epoch.epoch.to_string(), epoch.learning_rate.to_string()];
        for loss in [&epoch.training, &epoch.validation] {
            record.extend(parts(network, loss).iter().map(|(_, part)| part.to_string()));
        }
        record.push(epoch.validation_count_accuracy.to_string());
        csv.write_record(&record)?;
    }
    csv.into_inner().map_err(|error| StageError::new(error.to_string()))
}

/// The parts of the loss that a network has.
fn parts(network: Network, loss: &LossParts) -> Vec<(&'static str, f64)> {
    match network {
        Network::Detector => vec![
            ("total", loss.total),
            ("detection", loss.detection),
            ("parameter", loss.parameter),
            ("count", loss.count),
        ],
        Network::Slots => vec![
            ("total", loss.total),
            ("parameter", loss.parameter),
            ("sparsity", loss.sparsity),
            ("reconstruction", loss.reconstruction),
            ("count", loss.count),
        ],
    }
}
