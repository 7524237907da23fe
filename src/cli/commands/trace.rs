//! `pipe trace`.

use std::{fs, path::PathBuf};

use clap::Args;
use pipe_engine::Registry;

use super::runs::Remembered;
use crate::cli::{
    arguments::PipelineArguments, error::CommandError, exit_code, printer::Printer, text,
};

/// Writes when each stage of a run began and ended, and on which worker, for `chrome://tracing` or Perfetto.
#[derive(Debug, Args)]
pub(crate) struct TraceArguments {
    /// The run: its name, its id or the beginning of it, `last`, or `~1`, `~2` … back from it.
    #[arg(value_name = "RUN", default_value = "last")]
    run: String,

    /// Where to write it [default: to stdout].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    pipeline: PipelineArguments,
}

pub(crate) fn run(
    arguments: TraceArguments,
    before: PipelineArguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    let remembered = Remembered::open(&arguments.pipeline.over(before), registry)?;
    let found = remembered.find(&arguments.run)?;
    let trace = pipe_engine::trace(found.entry.label(), &found.file);
    let mut json = serde_json::to_string(&trace).map_err(CommandError::system)?;
    match arguments.output {
        Some(path) => {
            json.push('\n');
            fs::write(&path, json).map_err(CommandError::file("write", path))?;
        }
        None => printer.result(text::json(&json))?,
    }
    Ok(exit_code::DONE)
}
