//! Stages, fingerprints, and the content-addressed cache: the engine of `pipe`.
//!
//! A stage is a pure function of its inputs and its config, so its result has one name and is stored once. Which
//! part does one want?
//!
//! * To add a kind of stage: [`Stage`], [`Work`] and [`Registry`].
//! * To read a pipeline: [`pipeline::load`].
//! * To run it, or to see what would run: [`run`] and [`plan`], told by [`Event`]s.
//! * To look at what is known: [`cache::Cache`], and [`cache::Runs`] for what earlier runs did.
//! * To compare: [`compare`].
//!
//! The engine knows no spectra, prints nothing, and never exits.

#![forbid(unsafe_code)]

mod artifact;
mod artifact_path;
pub mod cache;
mod change;
mod child;
mod command;
mod command_recipe;
pub mod compare;
mod descendants;
mod device;
mod digest;
mod disk;
mod encoding;
mod entries;
mod entry;
mod environment;
mod events;
mod execute;
mod explain;
mod faults;
mod hash;
mod history;
mod host;
mod ignored;
mod interrupt;
mod link;
mod mapped;
mod numbers;
pub mod out;
mod output;
mod parallel;
mod permits;
pub mod pipeline;
mod place;
mod plan;
mod printed;
mod registry;
mod regular;
mod report;
mod resolve;
mod rows;
mod sandbox;
mod schedule;
mod select;
mod source;
mod stage;
mod stage_error;
mod states;
mod take;
mod trace;
mod tree;
mod wait;
mod work;
mod workspace;
mod zarr;
mod zarr_store;

pub use artifact::{Artifact, ArtifactError};
pub use change::{Change, FileChanges, changes, sentence};
pub use descendants::adopt_orphans;
pub use device::{Device, DeviceChoice, DeviceError, DeviceWish, NoDevice, Probe};
pub use digest::{Digest, Fingerprint, NotHex};
pub use environment::PASSED;
pub use events::{Event, Observer};
pub use explain::Why;
pub use history::{NoRun, find_run};
pub use interrupt::{Interrupt, Interrupted};
pub use link::{Link, TargetError};
pub use numbers::{Numbers, numbers_of_run};
pub use output::{Output, OutputFile, PlacedFile};
pub use place::{Method, PlaceError, place};
pub use plan::plan;
pub use registry::Registry;
pub use report::{Failure, Outcome, PartCount, RunReport, StageReport};
pub use schedule::{RunError, RunOptions, run, run_then};
pub use stage::{
    ArtifactType, Exactness, Fault, Format, InputPort, Kind, OutputPort, RowMap, RowsFrom, Shape,
    Stage,
};
pub use stage_error::StageError;
pub use trace::trace;
pub use tree::{ArtifactPath, BadPath, Entry, Listing, Tree, TreeError};
pub use wait::Wait;
pub use work::Work;
pub use workspace::Scope;
pub use zarr::{ArrayReader, ArraySpec, ArrayWriter, GroupReader, GroupWriter, Scalar, ZarrError};
