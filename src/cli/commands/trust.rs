//! `pipe trust`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::{error::CommandError, exit_code, printer::Printer, trust};

/// Trusts a pipeline that belongs to somebody else, or that others may write to.
///
/// A pipeline runs programs as you, so one that was only found, in this folder or one above it, is used without further ado only if
/// it is yours or root's. What is named with `-f` is taken as meant.
#[derive(Debug, Args)]
pub(crate) struct TrustArguments {
    /// The pipeline's file or folder; all that is below is trusted with it.
    #[arg(value_name = "PATH", required_unless_present = "list")]
    path: Option<PathBuf>,

    /// Doesn't trust it any more.
    #[arg(long, conflicts_with = "list")]
    revoke: bool,

    /// Lists what is trusted.
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(arguments: &TrustArguments, printer: Printer) -> Result<u8, CommandError> {
    if let Some(path) = &arguments.path {
        let (path, changed) = trust::change(path, !arguments.revoke)?;
        let word = match (arguments.revoke, changed) {
            (false, true) => "trusted",
            (false, false) => "trusted already",
            (true, true) => "no longer trusted",
            (true, false) => "not trusted",
        };
        printer.result(format_args!("{word}: {}", path.display()))?;
    }
    if arguments.list {
        for path in trust::trusted()? {
            printer.result(path.display())?;
        }
    }
    Ok(exit_code::DONE)
}
