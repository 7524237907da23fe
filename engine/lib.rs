//! Stages, fingerprints, and the content-addressed cache: the engine of `pipe`.
//!
//! A stage is a pure function of its inputs and its config, so its result has one name and is stored once. Which
//! part does one want?
//!
//! * To add a kind of stage: [`Stage`], [`Work`] and [`Registry`].
//! * To read a pipeline: [`pipeline::load`].
//! * To run it, or to see what would run: [`run`] and [`plan`], told by [`Event`]s.
//! * To look at what is known: [`cache::Cache`].
//!
//! The engine knows no spectra, prints nothing, and never exits.

mod artifact;
pub mod cache;
mod command;
mod digest;
mod encoding;
mod events;
mod execute;
mod explain;
mod host;
mod mapped;
pub mod out;
pub mod pipeline;
mod place;
mod plan;
mod registry;
mod report;
mod resolve;
mod rows;
mod schedule;
mod source;
mod stage;
mod states;
mod work;
mod zarr;
mod zarr_store;

pub use artifact::{ArtifactPath, BadPath, Entry, Tree, TreeError};
pub use digest::{Digest, Fingerprint, NotHex};
pub use events::{Event, Observer};
pub use explain::{Change, changes, sentence};
pub use place::{Method, PlaceError, place};
pub use plan::plan;
pub use registry::Registry;
pub use report::{Failure, Outcome, PartCount, RunReport, StageReport};
pub use schedule::{RunError, RunOptions, run};
pub use stage::{
    ArtifactType, Exactness, Fault, Format, InputPort, Kind, OutputPort, RowMap, RowsFrom, Shape,
    Stage,
};
pub use work::{
    Artifact, ArtifactError, Interrupt, Interrupted, Output, OutputFile, StageError, Work,
};
pub use zarr::{ArrayReader, ArraySpec, ArrayWriter, GroupReader, GroupWriter, Scalar, ZarrError};
