//! `pipe cache`: one file a subcommand.

mod gc;
mod pin;
mod size;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use pipe_engine::{Registry, cache::Cache};

use crate::cli::{arguments::PipelineArguments, error::CommandError, printer::Printer, project};

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

/// Which cache.
#[derive(Debug, Args)]
struct Which {
    /// The cache's folder [default: that of the pipeline].
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,

    #[command(flatten)]
    pipeline: PipelineArguments,
}

impl Which {
    fn open(&self, before: PipelineArguments, registry: &Registry) -> Result<Cache, CommandError> {
        let folder = match &self.cache {
            Some(folder) => folder.clone(),
            None => project::load(&self.pipeline.clone().over(before), registry)?.cache,
        };
        project::existing_cache(&folder)?.ok_or_else(|| {
            CommandError::wrong(
                format!("there is no cache in `{}`", folder.display()),
                "name one: `--cache DIR`; the first `pipe run` makes that of a pipeline",
            )
        })
    }
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

/// `1 blob`, `2 blobs`.
fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// A size for people.
fn size_of(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
