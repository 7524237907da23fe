//! `pipe cache`: one file a subcommand.

mod pin;

use clap::{Args, Subcommand};
use pipe_engine::Registry;

use crate::cli::{arguments::PipelineArguments, error::CommandError, printer::Printer};

/// Looks after the cache.
#[derive(Debug, Args)]
pub(crate) struct CacheArguments {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    Pin(pin::PinArguments),
    Unpin(pin::UnpinArguments),
}

pub(crate) fn run(
    arguments: CacheArguments,
    before: PipelineArguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    match arguments.command {
        CacheCommand::Pin(arguments) => pin::pin(arguments, before, registry, printer),
        CacheCommand::Unpin(arguments) => pin::unpin(arguments, before, registry, printer),
    }
}
