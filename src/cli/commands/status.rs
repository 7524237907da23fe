//! `pipe status`.

use clap::Args;
use pipe_engine::{Outcome, Registry};

use crate::cli::{
    arguments::PipelineArguments,
    error::CommandError,
    exit_code,
    printer::Printer,
    project,
    text::{GOOD, QUIET, WARNING, styled},
    view::line,
};

/// Tells which stages are current, which are stale, which were never run, and which are being executed.
#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    pipeline: PipelineArguments,
}

/// The reason that the engine gives for a stage without a past.
const FIRST_RUN: &str = "first run";

pub(crate) fn run(
    arguments: StatusArguments,
    before: PipelineArguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    let pipeline = project::load(&arguments.pipeline.over(before), registry)?;
    let cache = project::existing_cache(&pipeline.cache)?;
    let report = pipe_engine::plan(&pipeline, cache.as_ref(), &[])?;
    let width = line::name_width(report.stages.iter().map(|stage| stage.name.as_str()));
    for stage in &report.stages {
        let (style, word, reason) = match stage.outcome {
            Outcome::WouldReuse => (GOOD, "current", ""),
            Outcome::WouldExecute if stage.reason == FIRST_RUN => (QUIET, "never run", ""),
            Outcome::WouldExecute => (WARNING, "stale", stage.reason.as_str()),
            Outcome::Unknown => (QUIET, "waiting", stage.reason.as_str()),
            _ => (WARNING, "broken", stage.error.as_ref().map_or("", |error| &error.message)),
        };
        let word = styled(style, format_args!("{word:9}"));
        let text = format!("{word}  {:width$}  {reason}", stage.name);
        printer.result(text.trim_end())?;
    }
    let current = report.count(Outcome::WouldReuse);
    printer.result(match report.stages.len() {
        all if all == current => format!("all {all} stages are current"),
        all => format!("{current} of {all} stages are current"),
    })?;
    let runs = cache.map_or(Ok(Vec::new()), |cache| cache.under_way(&pipeline.file))?;
    for run in &runs {
        printer.result(format_args!("under way: {}, since {}", run.owner, run.started))?;
        for stage in &run.stages {
            let far = stage
                .progress
                .as_ref()
                .map(|(done, total, unit)| format!("  {done} of {total} {unit}"));
            let far = far.unwrap_or_default();
            printer.result(format!("  {:width$}  since {}{far}", stage.name, stage.started))?;
        }
    }
    Ok(exit_code::DONE)
}
