//! Stages, fingerprints, and the content-addressed cache: the engine of `pipe`.
//!
//! A stage is a pure function of its inputs and its config, so its result has one name and is stored once. Which
//! part does one want?
//!
//! * To add a kind of stage: [`StageKind`], [`StageContext`] and [`Registry`].
//! * To read a pipeline: [`load::load`].
//! * To run it, or to see what would run: [`run`] and [`plan`], told by [`Event`]s.
//! * To look at what is known: [`cache::Cache`], and [`cache::Runs`] for what earlier runs did.
//! * To compare: [`report::compare`].
//!
//! The engine knows no spectra, prints nothing, and never exits.

#![forbid(unsafe_code)]

mod artifact;
mod base;
pub mod cache;
mod execute;
pub mod graph;
pub mod load;
mod plan;
pub mod report;
mod stage;

pub use self::{
    artifact::{
        artifact::{Artifact, ArtifactError},
        format::{ArtifactType, Format},
        materialize::{MaterializeError, Method, materialize},
        output::{Output, OutputFile, PlacedFile},
        workspace::Scope,
        zarr::{ArrayReader, ArraySpec, ArrayWriter, GroupReader, GroupWriter, Scalar, ZarrError},
    },
    base::{
        chain::chain,
        descendants::adopt_orphans,
        digest::{Digest, Fingerprint, NotHex},
        exactness::Exactness,
        interrupt::{Interrupt, Interrupted},
        link::{Link, TargetError},
        outcome::Outcome,
        span::{Source, Span},
        tree::{ArtifactPath, BadPath, Entry, Listing, Tree, TreeError},
    },
    cache::wait::Wait,
    execute::{
        events::{Event, Observer},
        schedule::{RunOptions, run, run_then},
    },
    graph::environment::PASSED,
    plan::{
        change::{Change, FileChanges, changes, sentence},
        error::RunError,
        explain::Why,
        history::{NoRun, find_run},
        plan::plan,
        run_report::{Failure, PartCount, RunReport, StageReport},
    },
    report::{
        numbers::{Numbers, numbers_of_run},
        trace::trace,
    },
    stage::{
        context::StageContext,
        device::{Device, DeviceChoice, DeviceError, DeviceWish, NoDevice, Probe},
        error::StageError,
        kind::{Fault, InputPort, Kind, OutputPort, RowMap, RowsFrom, Shape, StageKind},
        registry::Registry,
    },
};
