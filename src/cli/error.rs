//! How a command ends when it doesn't end well.

use std::{error::Error, io, path::PathBuf};

use pipe_engine::{
    RunError,
    cache::{CacheError, hint},
    load::{Complaints, NotFound, closest},
    report::out::OutError,
};
use thiserror::Error;

use super::{complaints, exit_code, printer::Printer};

/// What keeps a command from doing what it was asked to.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    /// The pipeline is wrong.
    #[error(transparent)]
    Complaints(#[from] Complaints),
    /// The command line, or what it refers to, is wrong.
    #[error("{message}")]
    Wrong {
        /// What is wrong.
        message: String,
        /// What to do about it; may be empty.
        help: String,
    },
    /// The operating system refused.
    #[error("failed to {action} `{}`", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The cache or the system failed.
    #[error(transparent)]
    System(Box<dyn Error + Send + Sync>),
    /// The outputs can't be put where they are to stand.
    #[error(transparent)]
    Out(OutError),
    /// The result can't be written to stdout.
    #[error("failed to write to stdout")]
    Stdout(#[from] io::Error),
}

impl CommandError {
    pub(crate) fn wrong(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Wrong { message: message.into(), help: help.into() }
    }

    /// A name that isn't among those that there are.
    pub(crate) fn no_such<'n>(
        what: &str,
        name: &str,
        known: impl IntoIterator<Item = &'n str> + Clone,
    ) -> Self {
        let help = if let Some(meant) = closest(name, known.clone()) {
            format!("did you mean `{meant}`?")
        } else {
            let known: Vec<&str> = known.into_iter().take(30).collect();
            match known.as_slice() {
                [only] => format!("there is only `{only}`"),
                _ => format!("there are {}", known.join(", ")),
            }
        };
        Self::wrong(format!("there is no {what} `{name}`"), help)
    }

    pub(crate) fn system(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::System(error.into())
    }

    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    /// Whether the reader of stdout went away, which is no fault.
    fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Tells the error, and gives the exit code.
    pub(crate) fn tell(&self, printer: Printer) -> u8 {
        match self {
            _ if self.is_broken_pipe() => return exit_code::DONE,
            Self::Complaints(complaints) => {
                complaints::tell(complaints, printer);
                return exit_code::WRONG;
            }
            Self::Wrong { message, help } => {
                printer.error(message);
                if !help.is_empty() {
                    printer.help(help);
                }
                return exit_code::WRONG;
            }
            _ => {}
        }
        printer.error(self.text());
        if let Some(hint) = self.hint() {
            printer.help(hint);
        }
        exit_code::SYSTEM_FAILED
    }

    /// Tells that something came of it that the command can do without.
    pub(crate) fn warn(&self, what: &str, printer: Printer) {
        printer.warning(format_args!("{what}: {}", self.text()));
        if let Some(hint) = self.hint() {
            printer.help(hint);
        }
    }

    /// The message, with its causes.
    fn text(&self) -> String {
        pipe_engine::chain(self)
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::System(error) => hint(&**error),
            Self::File { source, .. } => hint(source),
            Self::Out(error) => error.hint(),
            _ => None,
        }
    }

    /// The messages, for a program that reads them.
    pub(crate) fn messages(&self) -> Vec<String> {
        match self {
            Self::Complaints(complaints) => {
                complaints.to_string().lines().map(str::to_owned).collect()
            }
            other => vec![other.to_string()],
        }
    }
}

impl From<RunError> for CommandError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::NotFound(error) => error.into(),
            RunError::Name { .. } => Self::wrong(error.to_string(), "nothing was run"),
            RunError::NameTaken { .. } => Self::wrong(
                error.to_string(),
                "choose another name; `pipe log` lists the runs. Nothing was run",
            ),
            other => Self::System(other.into()),
        }
    }
}

impl From<NotFound> for CommandError {
    fn from(error: NotFound) -> Self {
        const MOST: usize = 8;
        let message = error.to_string();
        match error {
            NotFound::Stage { name, known } => {
                Self::no_such("stage", &name, known.iter().map(String::as_str))
            }
            NotFound::Combination { stage, known, .. } if known.is_empty() => {
                Self::wrong(message, format!("`{stage}` has no matrix: write `{stage}` alone"))
            }
            NotFound::Combination { known, .. } | NotFound::Several { known, .. } => {
                let more = if known.len() > MOST { ", …" } else { "" };
                let known: Vec<&str> = known.iter().take(MOST).map(String::as_str).collect();
                Self::wrong(message, format!("there are {}{more}", known.join(", ")))
            }
            NotFound::Malformed { .. } => Self::wrong(
                message,
                "one combination is `STAGE[AXIS=VALUE,…]`, all of them are `STAGE`",
            ),
        }
    }
}

impl From<CacheError> for CommandError {
    fn from(error: CacheError) -> Self {
        Self::System(error.into())
    }
}

impl From<OutError> for CommandError {
    fn from(error: OutError) -> Self {
        match error {
            OutError::Taken(_) => Self::wrong(error.to_string(), error.hint().unwrap_or_default()),
            other => Self::Out(other),
        }
    }
}
