//! `pipe why`.

use clap::Args;
use pipe_engine::{
    Change, FileChanges, Outcome, Registry, RunReport, StageReport, Why, cache::Record,
};
use serde_json::{Value, json};

use super::runs::local;
use crate::cli::{
    arguments::PipelineArguments,
    error::CommandError,
    exit_code,
    printer::Printer,
    project,
    text::{self, QUIET, styled},
    view::{self, line},
};

/// Tells why a stage would be executed or reused: which key, which file of an input, which revision changed.
///
/// A stage that must be executed is compared with the nearest of its results in earlier runs: the one with the fewest
/// differences.
#[derive(Debug, Args)]
pub(crate) struct WhyArguments {
    /// The stage.
    #[arg(value_name = "STAGE")]
    stage: String,

    #[command(flatten)]
    pipeline: PipelineArguments,

    /// Prints one JSON object on stdout instead of lines for people.
    #[arg(long)]
    json: bool,
}

/// How many files of an input are named.
const FILES: usize = 10;
/// The longest value that stands in the first line, in characters.
const LONGEST: usize = 48;
/// Where the details stand, below the reason.
const INDENT: &str = "          ";

pub(crate) fn run(
    arguments: WhyArguments,
    before: PipelineArguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    let pipeline = project::load(&arguments.pipeline.over(before), registry)?;
    let cache = project::existing_cache(&pipeline.cache)?;
    let name = pipeline.stage_named(&arguments.stage).map_err(CommandError::from);
    let planned = name.and_then(|stage| {
        let name = pipeline.stages[stage].name.clone();
        let report = pipe_engine::plan(&pipeline, cache.as_ref(), std::slice::from_ref(&name))?;
        Ok((name, report))
    });
    let (name, report) = match planned {
        Err(error) if arguments.json => {
            view::json::print_error(&error)?;
            return Err(error);
        }
        other => other?,
    };
    let Some(stage) = report.stage(&name) else {
        return Err(CommandError::system(format!("the plan lacks the stage `{name}`")));
    };
    let record = match cache.as_ref().zip(stage.fingerprint) {
        Some((cache, fingerprint)) => cache.record(fingerprint)?.and_then(Result::ok),
        None => None,
    };
    if arguments.json {
        Printer::json(&object(stage, &report))?;
    } else {
        printer.lines(explain(stage, &report, record.as_ref()))?;
        if let Some(failure) = &stage.error {
            printer.error(line::failure(&stage.name, failure));
        }
    }
    Ok(if stage.error.is_some() { exit_code::STAGE_FAILED } else { exit_code::DONE })
}

/// The stages that must be executed, or mended, before more can be said.
fn first<'r>(stage: &StageReport, report: &'r RunReport) -> Vec<&'r StageReport> {
    if stage.outcome != Outcome::Unknown {
        return Vec::new();
    }
    let open =
        |stage: &&StageReport| matches!(stage.outcome, Outcome::WouldExecute | Outcome::Failed);
    report.stages.iter().filter(open).collect()
}

fn object(stage: &StageReport, report: &RunReport) -> Value {
    let first: Vec<Value> = first(stage, report)
        .into_iter()
        .map(|stage| json!({ "stage": stage.name, "outcome": stage.outcome, "reason": stage.reason, "why": stage.why }))
        .collect();
    json!({
        "stage": stage.name,
        "outcome": stage.outcome,
        "reason": stage.reason,
        "fingerprint": stage.fingerprint,
        "why": stage.why,
        "first": first,
        "error": stage.error,
    })
}

fn explain(stage: &StageReport, report: &RunReport, record: Option<&Record>) -> Vec<String> {
    let width = stage.name.chars().count();
    let mut lines = vec![line::stage(stage, width, true)];
    let quiet = |text: &str| styled(QUIET, format_args!("{INDENT}{text}"));
    match &stage.why {
        Some(Why::Unchanged | Why::Known) => {
            if let Some(record) = record {
                let made = &record.provenance;
                lines.push(quiet(&format!(
                    "made {} on {} in {}",
                    local(&made.started),
                    made.host,
                    line::seconds(made.seconds)
                )));
            }
        }
        Some(Why::FirstRun { unread: 0 }) => {
            lines.push(quiet("no earlier run of this pipeline had such a stage"));
        }
        Some(Why::FirstRun { unread }) => {
            lines.push(quiet(&format!("the {unread} oldest runs were not looked through")));
        }
        Some(Why::Changed { changes, since, .. }) => {
            lines.push(quiet(&format!("compared with its nearest result, of run {since}")));
            lines.extend(changes.iter().flat_map(details).map(|text| quiet(&text)));
        }
        Some(Why::Waits { .. }) => {
            lines.push(quiet("its own answer waits for what must be executed first:"));
            let first = first(stage, report);
            let width = line::name_width(first.iter().map(|stage| stage.name.as_str()));
            lines.extend(first.iter().map(|stage| line::stage(stage, width, true)));
        }
        _ => {}
    }
    lines
}

/// What the one line had no room for: long values in full, more of the files.
fn details(change: &Change) -> Vec<String> {
    let files = |what: &str, name: &str, files: &Option<FileChanges>| {
        let Some(files) = files.as_ref().filter(|files| files.count() > 3) else {
            return Vec::new();
        };
        let mut lines = vec![format!("{what} {name}: {} files", files.count())];
        lines
            .extend(files.first(FILES).into_iter().map(|(how, path)| format!("  {how:7}  {path}")));
        if files.count() > FILES {
            lines.push(format!("  and {} more", files.count() - FILES));
        }
        lines
    };
    match change {
        Change::Input { name, files: changed, .. } => files("input", name, changed),
        Change::File { path, files: changed, .. } => files("file", path, changed),
        Change::Config { key, old, new } => {
            let text = |value: &Option<Value>| match value {
                Some(Value::String(text)) => text.lines().map(text::plain).collect(),
                Some(other) => vec![other.to_string()],
                None => Vec::new(),
            };
            let (old, new): (Vec<String>, Vec<String>) = (text(old), text(new));
            let long = |lines: &[String]| {
                lines.len() > 1 || lines.iter().any(|line| line.chars().count() > LONGEST)
            };
            if !long(&old) && !long(&new) {
                return Vec::new();
            }
            let mut lines = vec![format!("{key}:")];
            lines.extend(old.iter().map(|line| format!("  - {line}")));
            lines.extend(new.iter().map(|line| format!("  + {line}")));
            lines
        }
        _ => Vec::new(),
    }
}
