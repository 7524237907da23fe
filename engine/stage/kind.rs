//! The contract of a stage: what a kind of stage declares and what it must do.
//!
//! A kind that is built in implements [`StageKind`] and is listed in a [`Registry`](crate::stage::registry::Registry); a program of the user's
//! needs no Rust and is declared as `kind: command` (see [`crate::execute::command`]). A stage is a pure function of its
//! inputs and its config: it sees no names, no cache, no clock and no thread count.

use std::{io::Write, ops::Range, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize as _, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{context::StageContext, error::StageError};
use crate::{artifact::format::ArtifactType, base::exactness::Exactness};

/// A named input of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct InputPort {
    /// The name by which the pipeline and the stage call it.
    pub name: &'static str,
    /// What it must be.
    pub artifact: ArtifactType,
    /// Whether the pipeline must give it.
    pub required: bool,
    /// What it is for, in one line.
    pub about: &'static str,
}

impl InputPort {
    /// An input that the pipeline must give.
    pub const fn required(name: &'static str, artifact: ArtifactType, about: &'static str) -> Self {
        Self { name, artifact, required: true, about }
    }

    /// An input that the pipeline may give.
    pub const fn optional(name: &'static str, artifact: ArtifactType, about: &'static str) -> Self {
        Self { name, artifact, required: false, about }
    }

    /// What the port is called that takes inputs under any other name.
    pub const ANY: &'static str = "*";

    /// Inputs under names of the pipeline's own, one or more: all those whose names no other port has. The kind finds
    /// them in [`StageContext::inputs`].
    pub const fn any(artifact: ArtifactType, about: &'static str) -> Self {
        Self { name: Self::ANY, artifact, required: true, about }
    }
}

/// A named output of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct OutputPort {
    /// The name by which other stages ask for it.
    pub name: &'static str,
    /// What it is.
    pub artifact: ArtifactType,
    /// What it holds, in one line.
    pub about: &'static str,
}

impl OutputPort {
    /// Declares an output.
    pub const fn new(name: &'static str, artifact: ArtifactType, about: &'static str) -> Self {
        Self { name, artifact, about }
    }
}

/// Something wrong with a config which its schema can't say, such as a range whose ends are swapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The keys that lead to the value at fault; empty when it is the config as a whole.
    pub path: Vec<String>,
    /// What is wrong: a lower-case fragment without a full stop.
    pub message: String,
    /// What to do about it, if that isn't plain.
    pub help: Option<String>,
}

impl Fault {
    /// A fault of the top-level key `key`.
    pub fn at(key: &str, message: impl Into<String>) -> Self {
        Self { path: vec![key.to_owned()], message: message.into(), help: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Into which parts, with records of their own, the work of a stage divides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// None: it is known or executed as a whole.
    Whole,
    /// Chunks of rows, each a pure function of its rows.
    Rows(RowMap),
    /// A chain of steps, each a pure function of the state that the one before left.
    Steps {
        /// The config key that says only how many steps there are. `None` where a step depends on how many will follow.
        extent: Option<&'static str>,
    },
}

/// How a row-mapped kind divides: the engine calls [`StageKind::run`] once for every chunk of rows, with inputs and outputs
/// that have those rows and no others, and joins the outputs.
///
/// A kind that declares this reads and writes as any other does. What a chunk can't see can't enter its result: inputs
/// that are not named here are withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowMap {
    /// Where the rows come from.
    pub rows: RowsFrom,
    /// The inputs that every chunk sees whole.
    pub broadcast: &'static [&'static str],
    /// The most rows in a chunk, and in a chunk of the outputs' arrays. Wide rows make chunks of fewer
    /// ([`StageKind::row_bytes`]), and where there are fewer in all, these are one chunk.
    pub chunk_rows: u64,
    /// What a row is: a plural.
    pub unit: &'static str,
}

/// Where the rows of a row-mapped kind come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsFrom {
    /// A config key says how many there are, and nothing else. A chunk finds its own number of rows under it.
    Key(&'static str),
    /// They are those of inputs: Zarr groups, cut along the dimension `row` of those arrays of each that are named, and
    /// without its other arrays and groups. Inputs that are stored in other chunks than a stage here makes are not cut.
    Arrays(&'static [(&'static str, &'static [&'static str])]),
    /// The kind says how many rows these inputs hold, and what a chunk of them depends on: see [`StageKind::count_rows`]
    /// and [`StageKind::hash_rows`].
    Inputs(&'static [&'static str]),
}

/// A kind of stage, in Rust: one file, and one line in the registry.
///
/// The doc comments, defaults and ranges of `Config` (through [`JsonSchema`]) are what `pipe stages` prints and what
/// a pipeline is checked against, so they are written for users. Every key has a default or is required;
/// `#[serde(deny_unknown_fields, default)]` is expected. A unit is given with
/// `#[schemars(extend("unit" = "km/s"))]`.
pub trait StageKind: Send + Sync + 'static {
    /// The typed config. Its serialised form after defaults are filled in is what enters the fingerprint.
    type Config: Serialize + DeserializeOwned + JsonSchema;

    /// The name of the kind in a pipeline.
    const KIND: &'static str;
    /// What it does, in one sentence.
    const ABOUT: &'static str;
    /// Raised by whoever changes what the stage computes.
    const REVISION: u32;
    /// The class of exactness that the kind promises.
    const EXACTNESS: Exactness;
    /// The inputs, in the order in which they are documented.
    const INPUTS: &'static [InputPort];
    /// The outputs, in the order in which they are documented.
    const OUTPUTS: &'static [OutputPort];

    /// Checks what the schema can't: relations between keys. It sees a config that has the right types.
    fn check(_config: &Self::Config) -> Vec<Fault> {
        Vec::new()
    }

    /// Into which parts the work divides; by default, none.
    fn shape(_config: &Self::Config) -> Shape {
        Shape::Whole
    }

    /// Reads the inputs, computes, and writes every declared output.
    ///
    /// # Errors
    /// An error fails the stage; nothing that it wrote is published.
    fn run(config: &Self::Config, context: &StageContext<'_>) -> Result<(), StageError>;

    /// Writes those files of the outputs that depend on all rows, where there are any. Called once, after all of
    /// [`StageKind::run`].
    ///
    /// # Errors
    /// As [`StageKind::run`].
    fn finish(_config: &Self::Config, _work: &StageContext<'_>) -> Result<(), StageError> {
        Ok(())
    }

    /// How many rows there are, for [`RowsFrom::Inputs`].
    ///
    /// # Errors
    /// When the inputs can't be read. By default, always.
    fn count_rows(_config: &Self::Config, _work: &StageContext<'_>) -> Result<u64, StageError> {
        Err(StageError::new(format!(
            "the kind `{}` doesn't say how many rows there are",
            Self::KIND
        )))
    }

    /// How many bytes the widest row of an output's array takes, for [`RowsFrom::Key`] and [`RowsFrom::Inputs`]; 0, by default,
    /// where it is small whatever the config says. It mustn't depend on how many rows there are.
    ///
    /// # Errors
    /// When the inputs can't be read.
    fn row_bytes(_config: &Self::Config, _work: &StageContext<'_>) -> Result<u64, StageError> {
        Ok(0)
    }

    /// Writes everything of the inputs that these rows of the result depend on, for [`RowsFrom::Inputs`].
    ///
    /// # Errors
    /// When the inputs can't be read. By default, always.
    fn hash_rows(
        _config: &Self::Config,
        _work: &StageContext<'_>,
        _rows: Range<u64>,
        _into: &mut dyn Write,
    ) -> Result<(), StageError> {
        Err(StageError::new(format!(
            "the kind `{}` doesn't say what its rows depend on",
            Self::KIND
        )))
    }
}

/// A kind with its types erased: what the engine keeps in a [`Registry`](crate::stage::registry::Registry).
pub trait Kind: Send + Sync {
    /// See [`StageKind::KIND`].
    fn name(&self) -> &'static str;
    /// See [`StageKind::ABOUT`].
    fn about(&self) -> &'static str;
    /// See [`StageKind::REVISION`].
    fn revision(&self) -> u32;
    /// See [`StageKind::EXACTNESS`].
    fn exactness(&self) -> Exactness;
    /// See [`StageKind::INPUTS`].
    fn inputs(&self) -> &'static [InputPort];
    /// See [`StageKind::OUTPUTS`].
    fn outputs(&self) -> &'static [OutputPort];
    /// The JSON schema of the config.
    fn schema(&self) -> Value;
    /// Types a config and gives it back in canonical form: every default filled in, every number spelled one way.
    ///
    /// # Errors
    /// The faults of a config that can't be typed or that [`StageKind::check`] refuses.
    fn canonical(&self, config: Value) -> Result<Value, Vec<Fault>>;
    /// See [`StageKind::shape`].
    ///
    /// # Errors
    /// When the config isn't a canonical one.
    fn shape(&self, config: &Value) -> Result<Shape, StageError>;
    /// Runs the stage on a canonical config.
    ///
    /// # Errors
    /// See [`StageKind::run`].
    fn run(&self, config: &Value, context: &StageContext<'_>) -> Result<(), StageError>;
    /// See [`StageKind::finish`].
    ///
    /// # Errors
    /// See [`StageKind::finish`].
    fn finish(&self, config: &Value, context: &StageContext<'_>) -> Result<(), StageError>;
    /// See [`StageKind::count_rows`].
    ///
    /// # Errors
    /// See [`StageKind::count_rows`].
    fn count_rows(&self, config: &Value, context: &StageContext<'_>) -> Result<u64, StageError>;
    /// See [`StageKind::row_bytes`].
    ///
    /// # Errors
    /// See [`StageKind::row_bytes`].
    fn row_bytes(&self, config: &Value, context: &StageContext<'_>) -> Result<u64, StageError>;
    /// See [`StageKind::hash_rows`].
    ///
    /// # Errors
    /// See [`StageKind::hash_rows`].
    fn hash_rows(
        &self,
        config: &Value,
        context: &StageContext<'_>,
        rows: Range<u64>,
        into: &mut dyn Write,
    ) -> Result<(), StageError>;
}

/// Erases the types of `S`.
pub(crate) fn erase<S: StageKind>() -> Arc<dyn Kind> {
    Arc::new(Erased::<S>(std::marker::PhantomData))
}

struct Erased<S>(std::marker::PhantomData<fn() -> S>);

impl<S: StageKind> Erased<S> {
    fn typed(config: &Value) -> Result<S::Config, StageError> {
        S::Config::deserialize(config).map_err(StageError::new)
    }
}

impl<S: StageKind> Kind for Erased<S> {
    fn name(&self) -> &'static str {
        S::KIND
    }

    fn about(&self) -> &'static str {
        S::ABOUT
    }

    fn revision(&self) -> u32 {
        S::REVISION
    }

    fn exactness(&self) -> Exactness {
        S::EXACTNESS
    }

    fn inputs(&self) -> &'static [InputPort] {
        S::INPUTS
    }

    fn outputs(&self) -> &'static [OutputPort] {
        S::OUTPUTS
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(S::Config).to_value()
    }

    fn canonical(&self, config: Value) -> Result<Value, Vec<Fault>> {
        let whole = |error: serde_json::Error| {
            vec![Fault { path: Vec::new(), message: error.to_string(), help: None }]
        };
        let typed: S::Config = serde_json::from_value(config).map_err(whole)?;
        let faults = S::check(&typed);
        if faults.is_empty() { serde_json::to_value(typed).map_err(whole) } else { Err(faults) }
    }

    fn shape(&self, config: &Value) -> Result<Shape, StageError> {
        Ok(S::shape(&Self::typed(config)?))
    }

    fn run(&self, config: &Value, context: &StageContext<'_>) -> Result<(), StageError> {
        S::run(&Self::typed(config)?, context)
    }

    fn finish(&self, config: &Value, context: &StageContext<'_>) -> Result<(), StageError> {
        S::finish(&Self::typed(config)?, context)
    }

    fn count_rows(&self, config: &Value, context: &StageContext<'_>) -> Result<u64, StageError> {
        S::count_rows(&Self::typed(config)?, context)
    }

    fn row_bytes(&self, config: &Value, context: &StageContext<'_>) -> Result<u64, StageError> {
        S::row_bytes(&Self::typed(config)?, context)
    }

    fn hash_rows(
        &self,
        config: &Value,
        context: &StageContext<'_>,
        rows: Range<u64>,
        into: &mut dyn Write,
    ) -> Result<(), StageError> {
        S::hash_rows(&Self::typed(config)?, context, rows, into)
    }
}
