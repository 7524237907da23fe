//! What keeps a run from being tried at all.

use thiserror::Error;

use crate::{cache::CacheError, graph::RUN_RULE, load::NotFound, stage::device::DeviceError};

/// What keeps a run from being tried at all.
#[derive(Debug, Error)]
pub enum RunError {
    /// A target names no stage.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// No run can have such a name.
    #[error("`{name}` is no name for a run: {RUN_RULE}")]
    Name {
        /// The name.
        name: String,
    },
    /// An earlier run has the name.
    #[error("the run {id}, which ended {ended}, is called `{name}` already")]
    NameTaken {
        /// The name.
        name: String,
        /// The run's id.
        id: String,
        /// When it ended, UTC.
        ended: String,
    },
    /// The cache can't be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The device that was asked for can't be used.
    #[error(transparent)]
    Device {
        /// Why not.
        #[from]
        source: DeviceError,
    },
    /// The threads can't be started.
    #[error("failed to start {jobs} threads")]
    Threads {
        /// How many.
        jobs: usize,
        /// Why not.
        source: rayon::ThreadPoolBuildError,
    },
}
