//! Why what a command wrote is no artifact.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::{
    base::{
        interrupt::Interrupted,
        shown_path::escaped,
        tree::{BadPath, TreeError},
    },
    cache::CacheError,
};

/// Why what a command wrote is no artifact.
#[derive(Debug, Error)]
pub(crate) enum TakeError {
    /// It is neither a file, a folder nor a link.
    #[error(
        "the command made `{}` {what}, which can't be kept: an output is made of files and folders",
        escaped(path)
    )]
    Special {
        /// Where it stands, from the output's name on.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Its name isn't Unicode.
    #[error("the command made `{}`, whose name is not UTF-8 and can't be kept: let it use another name", escaped(.0))]
    NotUnicode(PathBuf),
    /// It has a path that an artifact can't have.
    #[error("the command made `{}`, whose path can't be kept", escaped(path))]
    Name {
        /// Where it stands, from the output's name on.
        path: PathBuf,
        /// What is wrong with it.
        source: BadPath,
    },
    /// A link leads out of the output.
    #[error(
        "the command made the link `{}` to `{}`, which is outside of the output: let it copy what the link leads to",
        escaped(path),
        escaped(target)
    )]
    Leaves {
        /// Where it stands, from the output's name on.
        path: PathBuf,
        /// What it says.
        target: PathBuf,
    },
    /// A link leads to nothing.
    #[error(
        "the command made the link `{}` to `{}`, where there is nothing",
        escaped(path),
        escaped(target)
    )]
    Dangling {
        /// Where it stands, from the output's name on.
        path: PathBuf,
        /// What it says.
        target: PathBuf,
    },
    /// It can't be read.
    #[error("the command made `{}`, which can't be read", escaped(path))]
    Unreadable {
        /// Where it stands, from the output's name on.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is an input that has changed.
    #[error("the command made `{}` a link to an input that changed while it ran", escaped(.0))]
    Changed(PathBuf),
    /// It can't stand together.
    #[error("what the command made can't be the output `{output}`")]
    Tree {
        /// The output.
        output: String,
        /// Why not.
        source: TreeError,
    },
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The run was stopped.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}
