//! What goes wrong with a command.

use std::{io, os::unix::process::ExitStatusExt as _, path::PathBuf, process::ExitStatus};

use thiserror::Error;

use super::take_error::TakeError;
use crate::{
    artifact::{input_error::InputFileError, materialize::MaterializeError},
    base::interrupt::Interrupted,
    cache::CacheError,
};

/// What goes wrong with a command.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    /// It can't be started.
    #[error("failed to start `{program}`")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// It ended badly.
    #[error("the command {}{}{}", how(*.status), out_of_memory(*.status), not_given(.withheld))]
    Exit {
        /// How it ended.
        status: ExitStatus,
        /// The variables that are set and that it wasn't given.
        withheld: Vec<String>,
    },
    /// A value can't be given to any program.
    #[error("the value of `{{{placeholder}}}`{} holds the character NUL, which no program can be given", of(.item.as_ref()))]
    Nul {
        /// What stands for it.
        placeholder: String,
        /// The item for which the command was to run.
        item: Option<String>,
    },
    /// It didn't write an output that it declares.
    #[error("the command exited with code 0, but did not write its output `{0}`")]
    Output(String),
    /// One of the two above, when no more could be written where it worked.
    #[error(
        "{how}; what it said may be lost, since nothing can be written to the cache `{}` now",
        cache.display()
    )]
    NoRoom {
        /// How it failed.
        how: Box<CommandError>,
        /// The cache in which it worked.
        cache: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It wrote to an input.
    #[error(
        "the command changed its input `{0}`, whose content others rely on; let it work on a copy"
    )]
    Input(String),
    /// The folder in which it worked isn't ours any more.
    #[error("somebody else has put another folder in the place of `{}`, where the command worked", .0.display())]
    Displaced(PathBuf),
    /// A file that it works with can't be prepared.
    #[error("failed to prepare `{}`", path.display())]
    Prepare {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// An input can't be placed.
    #[error(transparent)]
    Place(#[from] MaterializeError),
    /// A file of the user's can't be used.
    #[error(transparent)]
    InputFile(#[from] InputFileError),
    /// What it wrote is no artifact.
    #[error(transparent)]
    Take(TakeError),
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// It was stopped.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl From<TakeError> for CommandError {
    fn from(error: TakeError) -> Self {
        match error {
            TakeError::Cache(error) => Self::Cache(error),
            TakeError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            error => Self::Take(error),
        }
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

fn of(item: Option<&String>) -> String {
    item.map(|item| format!(" of `{item}`")).unwrap_or_default()
}

/// Which variables a command that failed may have missed.
fn not_given(withheld: &[String]) -> String {
    const MOST: usize = 6;
    let more = match withheld.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    match withheld {
        [] => String::new(),
        names => format!(
            "; variables that are set here and were not passed to it: {}{more} (`env:` names what it may see)",
            names[..names.len().min(MOST)].join(", ")
        ),
    }
}

/// What tells that the system may have ended a program for want of memory. A shell exits with 137 when its program was killed.
fn out_of_memory(status: ExitStatus) -> &'static str {
    if status.signal() == Some(9) || status.code() == Some(137) {
        "; the system does that to programs when memory runs out: see `dmesg`, and try fewer jobs (`-j`)"
    } else {
        ""
    }
}
