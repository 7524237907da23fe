//! `pipe cache pin` and `pipe cache unpin`.

use clap::Args;
use pipe_engine::Registry;

use crate::cli::{
    arguments::PipelineArguments, commands::runs::Remembered, error::CommandError, exit_code,
    printer::Printer,
};

/// Pins a run: what it used and made stays in the cache, whatever is collected.
#[derive(Debug, Args)]
pub(crate) struct PinArguments {
    /// The run: its name, its id or the beginning of it, `last`, or `~1`, `~2` … back from it.
    #[arg(value_name = "RUN")]
    run: String,

    #[command(flatten)]
    pipeline: PipelineArguments,
}

/// Unpins a run.
#[derive(Debug, Args)]
pub(crate) struct UnpinArguments {
    /// The run: its name, its id or the beginning of it, `last`, or `~1`, `~2` … back from it.
    #[arg(value_name = "RUN")]
    run: String,

    #[command(flatten)]
    pipeline: PipelineArguments,
}

pub(super) fn pin(
    arguments: PinArguments,
    before: PipelineArguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    let remembered = Remembered::open(&arguments.pipeline.over(before), registry)?;
    let run = remembered.find(&arguments.run)?;
    let (_, runs) = remembered.cache()?;
    let word = if runs.pin(&run.entry)? { "pinned" } else { "already pinned:" };
    printer.result(format_args!("{word} {}", run.describe()))?;
    Ok(exit_code::DONE)
}

pub(super) fn unpin(
    arguments: UnpinArguments,
    before: PipelineArguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    let remembered = Remembered::open(&arguments.pipeline.over(before), registry)?;
    let run = remembered.find(&arguments.run)?;
    let (_, runs) = remembered.cache()?;
    let word = if runs.unpin(&run.entry)? { "unpinned" } else { "not pinned:" };
    printer.result(format_args!("{word} {}", run.describe()))?;
    Ok(exit_code::DONE)
}
