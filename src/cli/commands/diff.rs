//! `pipe diff`.

use std::path::Path;

use clap::Args;
use pipe_engine::{
    Change, Digest, Registry,
    cache::Cache,
    report::compare::{Difference, NumberDifference, Snapshot, StageDifference, compare},
};
use serde_json::json;

use super::runs::Remembered;
use crate::cli::{
    arguments::PipelineArguments,
    display::{document, table},
    error::CommandError,
    exit_code,
    printer::Printer,
    project,
    text::{ERROR, GOOD, NAME, QUIET, styled},
};

/// Tells what differs between two runs, or two pipelines: stages, config, inputs, outputs, and the numbers in documents.
///
/// What holds a dot or a slash is a pipeline's file; anything else is a run.
#[derive(Debug, Args)]
pub(crate) struct DiffArguments {
    /// The first run (a name, an id, `last`, or `~1`, `~2` … back from it) or pipeline.
    #[arg(value_name = "A")]
    old: String,

    /// The second run or pipeline.
    #[arg(value_name = "B")]
    new: String,

    #[command(flatten)]
    pipeline: PipelineArguments,

    /// Prints one JSON object on stdout instead of lines for people.
    #[arg(long)]
    json: bool,
}

/// One of the two sides.
struct Side {
    title: String,
    /// What heads its column.
    label: String,
    snapshot: Snapshot,
    cache: Option<Cache>,
}

pub(crate) fn run(
    arguments: &DiffArguments,
    before: PipelineArguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    let pipeline = arguments.pipeline.clone().over(before);
    let old = side(&arguments.old, &pipeline, registry)?;
    let new = side(&arguments.new, &pipeline, registry)?;
    for (side, output) in
        [&old, &new].into_iter().flat_map(|s| s.snapshot.lost.iter().map(move |o| (s, o)))
    {
        printer.warning(format_args!("`{output}` of {} is no longer in the cache", side.title));
    }
    let difference =
        compare((&old.snapshot, old.cache.as_ref()), (&new.snapshot, new.cache.as_ref()));
    if arguments.json {
        let mut object = serde_json::to_value(&difference).map_err(CommandError::system)?;
        object["old"] = json!(old.title);
        object["new"] = json!(new.title);
        Printer::json(&object)?;
    } else {
        printer.lines(show(&difference, &old, &new))?;
    }
    Ok(exit_code::DONE)
}

fn side(
    word: &str,
    arguments: &PipelineArguments,
    registry: &Registry,
) -> Result<Side, CommandError> {
    if word.contains(['.', '/']) {
        let arguments = PipelineArguments { file: Some(word.into()), set: arguments.set.clone() };
        let pipeline = project::load(&arguments, registry)?;
        let cache = project::existing_cache(&pipeline.cache)?;
        let snapshot = Snapshot::of_pipeline(cache.as_ref(), registry, &pipeline)?;
        let label = Path::new(word).file_name().map_or(word.into(), |name| name.to_string_lossy());
        return Ok(Side { title: word.to_owned(), label: label.into_owned(), snapshot, cache });
    }
    let remembered = Remembered::open(arguments, registry)?;
    let run = remembered.find(word)?;
    let (cache, _) = remembered.cache()?;
    Ok(Side {
        title: run.describe(),
        label: run.entry.label().to_owned(),
        snapshot: Snapshot::of_run(cache, registry, &run.file)?,
        cache: Some(cache.clone()),
    })
}

fn show(difference: &Difference, old: &Side, new: &Side) -> Vec<String> {
    let mut lines = vec![
        styled(QUIET, format_args!("- {}", old.title)),
        styled(QUIET, format_args!("+ {}", new.title)),
    ];
    for stage in &difference.removed {
        lines.push(styled(ERROR, format_args!("- stage {stage}")));
    }
    for stage in &difference.added {
        lines.push(styled(GOOD, format_args!("+ stage {stage}")));
    }
    for stage in &difference.changed {
        lines.push(styled(NAME, &stage.name));
        lines.extend(stage_lines(stage));
    }
    let numbers: Vec<&NumberDifference> =
        difference.changed.iter().flat_map(|stage| &stage.numbers).collect();
    if !numbers.is_empty() {
        let table = number_table(&numbers, &old.label, &new.label);
        lines.extend(table.lines().map(str::to_owned));
    }
    let same = difference.same.len();
    let all = same + difference.changed.len();
    lines.push(
        match difference.changed.len() + difference.added.len() + difference.removed.len() {
            0 => format!("all {all} stages are the same"),
            _ => format!("{same} of {all} common stages are the same"),
        },
    );
    lines
}

fn stage_lines(stage: &StageDifference) -> Vec<String> {
    let digests = |old: &Option<Digest>, new: &Option<Digest>| {
        let text =
            |digest: &Option<Digest>| digest.map_or("–".to_owned(), |digest| digest.short());
        format!("{} → {}", text(old), text(new))
    };
    let mut lines = Vec::new();
    match &stage.changes {
        None => lines
            .push("  its config is not known: a record is gone, or never came to be".to_owned()),
        Some(changes) => lines.extend(changes.iter().map(|change| match change {
            Change::Input { old, new, .. } | Change::File { old, new, .. } => {
                format!("  {change} ({})", digests(&Some(*old), &Some(*new)))
            }
            other => format!("  {other}"),
        })),
    }
    for output in &stage.outputs {
        lines.push(format!("  output {} {}", output.name, digests(&output.old, &output.new)));
    }
    lines
}

/// The numbers side by side.
fn number_table(numbers: &[&NumberDifference], old: &str, new: &str) -> String {
    let mut table = table::plain(Printer::width());
    table.set_header(["number", old, new, "difference"]);
    let text = |value: Option<f64>| value.map_or("–".to_owned(), document::number);
    for number in numbers {
        let difference = match number.difference {
            Some(difference) if difference > 0.0 => format!("+{}", document::number(difference)),
            other => text(other),
        };
        table.add_row([number.key.clone(), text(number.old), text(number.new), difference]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(comfy_table::CellAlignment::Right);
    }
    table::lines(&table, "").trim_end().to_owned()
}
