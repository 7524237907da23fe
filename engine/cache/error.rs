//! What goes wrong with a cache.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{flaw::Flaw, format::FORMAT};
use crate::base::digest::Digest;

/// What goes wrong with a cache.
#[derive(Debug, Error)]
pub enum CacheError {
    /// The operating system refused.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The folder holds something else than a cache.
    #[error("`{}` is not a cache: it has files but no readable `format`", .0.display())]
    NotACache(PathBuf),
    /// A link, or something else, stands in the place of a folder.
    #[error("`{}` is not a folder of the cache but a link or a file: nothing is done there", .0.display())]
    NotAFolder(PathBuf),
    /// The cache was written by a newer version.
    #[error("the cache `{}` has format {found}, and this version of pipe reads format {FORMAT}", path.display())]
    Newer {
        /// The cache.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Two computations of one fingerprint differ, though the stage is exact.
    #[error(transparent)]
    Conflict(Box<Conflict>),
    /// The file of a run can't be understood.
    #[error("`{}` does not tell what a run did: {why}", path.display())]
    Run {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// What should be there is broken or gone; it is not used.
    #[error("the cache is damaged: {0}")]
    Damaged(Flaw),
}

/// A reproducibility conflict: two computations of one fingerprint differ, though the stage is exact.
#[derive(Debug, Clone, Error)]
#[error(
    "reproducibility conflict: output `{output}` of fingerprint {fingerprint} was {there} when `{stage}` was executed \
     on {host}, and is {now} now"
)]
pub struct Conflict {
    /// The fingerprint that both share.
    pub fingerprint: String,
    /// The output that differs.
    pub output: String,
    /// Its content digest in the record that is there.
    pub there: Digest,
    /// The content digest just computed.
    pub now: Digest,
    /// The stage that made the record.
    pub stage: String,
    /// The machine that made the record.
    pub host: String,
}

impl CacheError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
