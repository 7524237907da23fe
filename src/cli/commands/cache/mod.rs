//! `pipe cache`: one file a subcommand.

mod gc;
mod pin;
mod selected;
mod size;
mod verify;

use clap::{Args, Subcommand};
use pipe_engine::Registry;

use crate::cli::{arguments::PipelineArguments, error::CommandError, printer::Printer};

/// Looks after the cache: verifies it, measures it, removes what nobody needs.
#[derive(Debug, Args)]
pub(crate) struct CacheArguments {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    Pin(pin::PinArguments),
    Unpin(pin::UnpinArguments),
    Verify(verify::VerifyArguments),
    Gc(gc::GcArguments),
    Size(size::SizeArguments),
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
        CacheCommand::Verify(arguments) => verify::run(&arguments, before, registry, printer),
        CacheCommand::Gc(arguments) => gc::run(&arguments, before, registry, printer),
        CacheCommand::Size(arguments) => size::run(&arguments, before, registry, printer),
    }
}
