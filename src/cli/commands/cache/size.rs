//! `pipe cache size`.

use clap::Args;
use pipe_engine::{Registry, cache::size::Sizes};

use super::selected::{Which, count, size_of};
use crate::cli::{
    arguments::PipelineArguments,
    error::CommandError,
    exit_code,
    printer::Printer,
    text::{QUIET, styled},
    view::line,
};

/// Tells how much room the cache takes, by stage and by kind of file.
#[derive(Debug, Args)]
pub(crate) struct SizeArguments {
    /// Prints one JSON object on stdout instead of lines for people.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    which: Which,
}

pub(crate) fn run(
    arguments: &SizeArguments,
    before: PipelineArguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    let sizes = arguments.which.open(before, registry)?.sizes()?;
    if arguments.json {
        Printer::json(&sizes)?;
    } else {
        show(&sizes, printer)?;
    }
    Ok(exit_code::DONE)
}

fn show(sizes: &Sizes, printer: Printer) -> Result<(), CommandError> {
    let width = line::name_width(sizes.stages.iter().map(|stage| stage.stage.as_str()));
    for stage in &sizes.stages {
        let shared = match stage.bytes - stage.unique {
            0 => String::new(),
            shared => format!(", {} shared with other stages", size_of(shared)),
        };
        let about = format!("{}{shared}", count(stage.records, "record"));
        printer.result(format_args!(
            "{:width$}  {:>10}  {}",
            stage.stage,
            size_of(stage.bytes),
            styled(QUIET, about)
        ))?;
    }
    if sizes.unnamed > 0 {
        printer.result(format_args!("{} belong to no record", size_of(sizes.unnamed)))?;
    }
    for kind in sizes.kinds.iter().filter(|kind| kind.files > 0) {
        let (size, files) = (size_of(kind.bytes), count(kind.files, "file"));
        printer.result(format_args!("{:10}  {size:>10}  {}", kind.kind, styled(QUIET, files)))?;
    }
    printer.result(format_args!("{} in all", size_of(sizes.bytes)))?;
    Ok(())
}
