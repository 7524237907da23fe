//! What goes wrong with a file or folder of the user's.

use std::{io, path::PathBuf};

use thiserror::Error;

use super::ignored::RulesError;
use crate::base::{
    artifact_path::BadPath, interrupt::Interrupted, shown_path::escaped, tree::TreeError,
};

/// What goes wrong with a file or folder of the user's.
#[derive(Debug, Error)]
pub(crate) enum InputFileError {
    /// It isn't there, or can't be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is neither a file nor a folder.
    #[error(
        "`{}` is {what}, and only files and folders can be read; if it is in a folder, keep it elsewhere",
        escaped(path)
    )]
    Special {
        /// Where it is.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A link leads to nothing.
    #[error(
        "the link `{}` leads to `{}`, where there is nothing: mend or remove it",
        escaped(path),
        escaped(target)
    )]
    Dangling {
        /// The link.
        path: PathBuf,
        /// What it says.
        target: PathBuf,
    },
    /// A link leads to a folder that it is in.
    #[error(
        "the link `{}` leads back to `{}`, which it is in: remove it",
        escaped(path),
        escaped(above)
    )]
    Circle {
        /// The link.
        path: PathBuf,
        /// The folder.
        above: PathBuf,
    },
    /// Links lead to folders without end, as it seems.
    #[error("`{}` leads on by more than {MOST_LINKS} links to folders: remove those that aren't meant", escaped(.0))]
    Links(PathBuf),
    /// It has a name that an artifact can't have.
    #[error("`{}` has a name that an artifact can't have", escaped(path))]
    Name {
        /// The file.
        path: PathBuf,
        /// What is wrong with the name.
        source: BadPath,
    },
    /// Its name isn't Unicode.
    #[error("`{}` has a name that is not UTF-8: rename it", escaped(.0))]
    NotUnicode(PathBuf),
    /// Its files can't stand together.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// It was written to while a stage read it.
    #[error("`{}` changed while it was read; run again when it is complete", escaped(.0))]
    Changed(PathBuf),
    /// It has other bytes than it says, as files have that a system makes up when they are read.
    #[error(
        "`{}` says that it has {size} bytes, and has not: copy what it holds to a file, and use that",
        escaped(path)
    )]
    MadeUp {
        /// The file.
        path: PathBuf,
        /// How many it says that it has.
        size: u64,
    },
    /// It would have to be read.
    #[error("`{}` has not been hashed", escaped(.0))]
    Unknown(PathBuf),
    /// What is to be left out of a folder isn't told.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// No file of a folder is meant.
    #[error("no file fits `{written}`: `{}` holds {holds}", escaped(folder))]
    NoMatch {
        /// The pattern.
        written: String,
        /// The folder that was looked in.
        folder: PathBuf,
        /// What is there, or the beginning of it.
        holds: String,
    },
    /// The run was stopped.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// How many links to folders are followed in one folder.
pub(super) const MOST_LINKS: usize = 10_000;
