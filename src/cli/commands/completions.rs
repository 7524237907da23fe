//! `pipe completions`.

use clap::Args;
use clap_complete::Shell;

use crate::cli::{error::CommandError, exit_code, printer::Printer};

/// Prints a script that completes commands in a shell.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell.
    shell: Shell,
}

pub(crate) fn run(
    arguments: &CompletionsArguments,
    mut program: clap::Command,
    printer: Printer,
) -> Result<u8, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut program, "pipe", &mut script);
    printer.block(String::from_utf8_lossy(&script).trim_end())?;
    Ok(exit_code::DONE)
}
