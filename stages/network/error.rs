//! What can go wrong, by seam: shapes, examples, training, checkpoints, prediction.

use thiserror::Error;

/// A shape that no network can have.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum ArchitectureError {
    /// A number, or the length of a list, is out of its range.
    #[error("`{key}` is {value}, but must be {least} to {most}")]
    OutOfRange {
        /// The key at fault.
        key: &'static str,
        /// Its value or length.
        value: usize,
        /// The least that is allowed.
        least: usize,
        /// The most that is allowed.
        most: usize,
    },
    /// A kernel without a middle channel.
    #[error("kernel width {kernel} is even, but must be odd")]
    EvenKernel {
        /// The width.
        kernel: usize,
    },
    /// Kernels out of order or repeated.
    #[error("`kernels` must ascend, each width once")]
    UnorderedKernels,
    /// Dropout outside its range.
    #[error("`dropout` is {value}, but must be at least 0 and less than 1")]
    Dropout {
        /// The value.
        value: f64,
    },
    /// Pooling leaves nothing of a spectrum.
    #[error("{channels} channels vanish in {blocks} blocks, each of which halves them")]
    TooDeep {
        /// Channels of a spectrum.
        channels: usize,
        /// The number of blocks.
        blocks: usize,
    },
    /// More weights than memory should hold.
    #[error("the network would have {weights} weights")]
    TooLarge {
        /// The number of weights.
        weights: usize,
    },
}

/// Arrays of examples that do not fit together.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum ExamplesError {
    /// An array has the wrong length.
    #[error("array `{array}` holds {found} values, but {expected} were expected")]
    Length {
        /// The array.
        array: &'static str,
        /// How many values it holds.
        found: usize,
        /// How many it should hold.
        expected: usize,
    },
    /// A number that must be finite (and in places positive) is not.
    #[error("row {row} of `{array}` is not usable: {value}")]
    Value {
        /// The array.
        array: &'static str,
        /// The row, from 0.
        row: usize,
        /// The value.
        value: f64,
    },
    /// More components than slots.
    #[error("row {row} has {count} components, but there are {slots} slots")]
    Count {
        /// The row, from 0.
        row: usize,
        /// Its number of components.
        count: usize,
        /// Slots of the network.
        slots: usize,
    },
    /// A row index beyond the arrays.
    #[error("row {row} was asked for, but there are {rows} rows")]
    Row {
        /// The index.
        row: usize,
        /// How many rows there are.
        rows: usize,
    },
    /// Too few rows.
    #[error("{found} {purpose} rows are too few: at least {least} are needed")]
    TooFew {
        /// `training` or `validation`.
        purpose: &'static str,
        /// How many rows there are.
        found: usize,
        /// How many are needed.
        least: usize,
    },
    /// An axis on which no channel has a place.
    #[error("axis start {start} and step {step} must be finite and the step not zero")]
    Grid {
        /// Value of channel 0.
        start: f64,
        /// Difference between channels.
        step: f64,
    },
    /// Spectra and network differ in a size.
    #[error("the spectra have {found} {what}, but the network has {expected}")]
    Mismatch {
        /// `channels` or `slots`.
        what: &'static str,
        /// Of the spectra.
        found: usize,
        /// Of the network.
        expected: usize,
    },
}

/// Why training could not start or go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// The network's shape is impossible.
    #[error(transparent)]
    Architecture(#[from] ArchitectureError),
    /// The examples are unusable.
    #[error(transparent)]
    Examples(#[from] ExamplesError),
    /// A hyperparameter is out of range.
    #[error("`{key}` is {value}, but must be {allowed}")]
    Hyperparameter {
        /// The key.
        key: &'static str,
        /// Its value.
        value: f64,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The caller asked to stop. The state is as it was before the epoch.
    #[error("interrupted in epoch {epoch}")]
    Interrupted {
        /// The epoch that was not finished, from 1.
        epoch: usize,
    },
    /// The loss is no longer a number. The state is as it was before the epoch.
    #[error("the loss is not finite in epoch {epoch}: a lower learning rate may help")]
    Diverged {
        /// The epoch, from 1.
        epoch: usize,
    },
    /// A saved state cannot be read back.
    #[error(transparent)]
    Saved(#[from] CheckpointError),
    /// The device failed. The state is as it was before the epoch.
    #[error(transparent)]
    Device(#[from] DeviceFault),
}

/// A device that doesn't do what it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{device} failed: {reason}; `--device cpu` does without it")]
pub struct DeviceFault {
    /// The kind of device.
    pub device: &'static str,
    /// What its library says.
    pub reason: String,
}

/// Why nothing can be said of spectra.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum PredictionError {
    /// The spectra are unusable.
    #[error(transparent)]
    Examples(#[from] ExamplesError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceFault),
}

/// What is wrong with a stored network.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The JSON document cannot be read.
    #[error("the document is not a checkpoint's: {0}")]
    Document(#[source] serde_json::Error),
    /// A format of another time.
    #[error("format version {found} is not known, only {known}")]
    Version {
        /// In the document.
        found: u32,
        /// What this program knows.
        known: u32,
    },
    /// The shape is impossible.
    #[error(transparent)]
    Architecture(#[from] ArchitectureError),
    /// The tensors are not in safetensors format.
    #[error("the tensors cannot be read: {0}")]
    Tensors(#[from] safetensors::SafeTensorError),
    /// A tensor is missing.
    #[error("tensor `{name}` is missing")]
    Missing {
        /// The tensor.
        name: String,
    },
    /// A tensor that the network does not have.
    #[error("tensor `{name}` does not belong to the network")]
    Unexpected {
        /// The tensor.
        name: String,
    },
    /// A tensor of another type.
    #[error("tensor `{name}` has type {found}, but {expected} was expected")]
    Type {
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
        /// The type it should have.
        expected: &'static str,
    },
    /// A tensor of another shape.
    #[error("tensor `{name}` has shape {found:?}, but {expected:?} was expected")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// A value that no training yields.
    #[error("`{name}` holds a value that is not usable")]
    Value {
        /// The tensor or key.
        name: String,
    },
}
