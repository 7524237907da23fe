//! `pipe log`.

use std::fmt::Write as _;

use clap::Args;
use pipe_engine::{
    Outcome, Registry, StageReport,
    cache::{RunFile, StageRun},
};
use serde_json::json;

use super::runs::{FoundRun, Remembered, local};
use crate::cli::{
    arguments::PipelineArguments,
    display::table,
    error::CommandError,
    exit_code,
    printer::Printer,
    text::{self, ERROR, NAME, WARNING, styled},
    view::line,
};

/// Lists the runs of the pipeline, newest first: when and where, what they did, and how they ended.
#[derive(Debug, Args)]
pub(crate) struct LogArguments {
    /// How many runs.
    #[arg(short, long, value_name = "N", default_value_t = 20)]
    number: usize,

    /// Tells of each stage, too.
    #[arg(long)]
    stages: bool,

    #[command(flatten)]
    pipeline: PipelineArguments,

    /// Prints one JSON object on stdout instead of lines for people.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(
    arguments: LogArguments,
    before: PipelineArguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    let remembered = Remembered::open(&arguments.pipeline.over(before), registry)?;
    let found = remembered.newest(arguments.number, printer);
    if arguments.json {
        let runs = found.iter().map(FoundRun::json).collect::<Result<Vec<_>, _>>()?;
        let object = json!({ "runs": runs, "remembered": remembered.entries.len() });
        Printer::json(&object)?;
        return Ok(exit_code::DONE);
    }
    if remembered.entries.is_empty() {
        printer.result("no run of this pipeline is remembered")?;
        return Ok(exit_code::DONE);
    }
    printer.block(list(&found, arguments.stages).trim_end())?;
    let more = remembered.entries.len().saturating_sub(arguments.number);
    if more > 0 {
        printer.result(format_args!("… {more} more runs; `-n N` shows more"))?;
    }
    Ok(exit_code::DONE)
}

/// A line for each run, and below it one for each of its stages if `stages`.
fn list(found: &[FoundRun], stages: bool) -> String {
    let mut table = table::plain(usize::from(u16::MAX));
    let names = found.iter().any(|run| run.entry.name.is_some());
    for run in found {
        let name = run.entry.name.clone().unwrap_or_default();
        let mut row = vec![styled(NAME, &run.entry.id)];
        if names {
            row.push(name);
        }
        row.push(local(&run.file.started));
        row.push(run.file.host.clone());
        row.push(line::seconds(run.file.seconds));
        row.push(what(&run.file));
        row.push(ending(run));
        table.add_row(row);
    }
    let lines = table::lines(&table, "");
    if !stages {
        return lines;
    }
    let mut text = String::new();
    for (head, run) in lines.lines().zip(found) {
        text.push_str(head);
        text.push('\n');
        let width = line::name_width(run.file.stages.iter().map(|stage| stage.name.as_str()));
        for stage in &run.file.stages {
            let _ = writeln!(text, "  {}", line::stage(&report(stage), width, true));
            if let Some(error) = &stage.error {
                let message = text::plain(&error.message.replace('\n', " "));
                let _ = writeln!(text, "            {}", styled(ERROR, message));
            }
        }
    }
    text
}

/// `2 executed, 5 reused`.
fn what(run: &RunFile) -> String {
    let words = [
        (Outcome::Executed, "executed"),
        (Outcome::Reused, "reused"),
        (Outcome::Failed, "failed"),
        (Outcome::Skipped, "skipped"),
    ];
    let counts = words.iter().map(|(outcome, word)| (run.count(*outcome), word));
    let parts: Vec<String> = counts
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    parts.join(", ")
}

fn ending(run: &FoundRun) -> String {
    let mut words = Vec::new();
    if run.file.interrupted {
        words.push(styled(WARNING, "interrupted"));
    } else if !run.file.ok {
        words.push(styled(ERROR, "failed"));
    }
    if run.entry.pinned {
        words.push("pinned".to_owned());
    }
    words.join(", ")
}

fn report(stage: &StageRun) -> StageReport {
    let mut report = StageReport::new(&stage.name, stage.outcome);
    report.reason.clone_from(&stage.reason);
    report.seconds = stage.took as f64 / 1e6;
    report
}
