//! `pipe plan`.

use clap::Args;
use pipe_engine::{Outcome, Registry, RunReport};

use crate::cli::{
    arguments::PipelineArguments,
    error::CommandError,
    exit_code,
    printer::Printer,
    project,
    view::{self, Detail, line},
};

/// Tells what `pipe run` would do and why, and does nothing.
#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// The stages wanted; what they need is planned too [default: all]. Of a stage with a matrix all combinations, or those
    /// that `'STAGE[AXIS=VALUE,…]'` names.
    #[arg(value_name = "STAGE")]
    targets: Vec<String>,

    #[command(flatten)]
    pipeline: PipelineArguments,

    /// Prints one JSON object on stdout instead of lines for people.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    detail: Detail,
}

pub(crate) fn run(
    arguments: &PlanArguments,
    before: PipelineArguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    let json = arguments.json;
    let planned = plan(arguments, before, registry);
    match planned {
        Err(error) if json => {
            view::json::print_error(&error)?;
            Err(error)
        }
        Err(error) => Err(error),
        Ok(report) => {
            if json {
                view::json::print(&report)?;
            } else {
                show(&report, arguments.detail, printer)?;
            }
            Ok(if report.ok { exit_code::DONE } else { exit_code::STAGE_FAILED })
        }
    }
}

fn plan(
    arguments: &PlanArguments,
    before: PipelineArguments,
    registry: &Registry,
) -> Result<RunReport, CommandError> {
    let pipeline = project::load(&arguments.pipeline.clone().over(before), registry)?;
    let cache = project::existing_cache(&pipeline.cache)?;
    Ok(pipe_engine::plan(&pipeline, cache.as_ref(), &arguments.targets)?)
}

fn show(report: &RunReport, detail: Detail, printer: Printer) -> Result<(), CommandError> {
    let names = report.stages.iter().map(|stage| stage.name.as_str());
    let width = line::name_width(names);
    if !detail.quiet {
        for stage in &report.stages {
            printer.result(line::stage(stage, width, true))?;
            if detail.verbose {
                for line in line::digests(stage) {
                    printer.result(line)?;
                }
            }
        }
    }
    for stage in &report.stages {
        if let Some(failure) = &stage.error {
            printer.error(line::failure(&stage.name, failure));
        }
    }
    if !detail.quiet {
        let counts = [
            (Outcome::WouldExecute, "to execute"),
            (Outcome::WouldReuse, "to reuse"),
            (Outcome::Unknown, "that depend on them"),
            (Outcome::Failed, "that can't be planned"),
        ];
        printer.result(line::counts(report, &counts))?;
    }
    Ok(())
}
