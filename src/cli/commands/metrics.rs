//! `pipe metrics`.

use std::collections::BTreeSet;

use clap::Args;
use pipe_engine::{Numbers, Registry, numbers_of_run};
use serde_json::{Value, json};

use super::runs::{FoundRun, Remembered};
use crate::cli::{
    arguments::PipelineArguments,
    display::{document, table},
    error::CommandError,
    exit_code,
    printer::Printer,
    text,
};

/// Tabulates the numbers in the documents that runs made, a column for each run.
///
/// A number is called `STAGE.OUTPUT:KEY.KEY`. Long lists are left out.
#[derive(Debug, Args)]
pub(crate) struct MetricsArguments {
    /// The runs: names, ids, `last`, `~1`, `~2` … back from it [default: the last five].
    #[arg(value_name = "RUN")]
    runs: Vec<String>,

    /// Only keys like this; `*` stands for any text, `?` for any character. It may match the whole key, or its end after
    /// a `:` or a dot. May be repeated.
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,

    /// Only the numbers of this stage. May be repeated.
    #[arg(long, value_name = "STAGE")]
    stage: Vec<String>,

    #[command(flatten)]
    pipeline: PipelineArguments,

    /// Prints one JSON object on stdout instead of a table for people.
    #[arg(long)]
    json: bool,

    /// Prints CSV, a row for each run.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// How many runs are shown unless some are named.
const RUNS: usize = 5;

pub(crate) fn run(
    arguments: MetricsArguments,
    before: PipelineArguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    let remembered = Remembered::open(&arguments.pipeline.over(before), registry)?;
    let runs = if arguments.runs.is_empty() {
        remembered.entry("last")?;
        remembered.newest(RUNS, printer)
    } else {
        arguments.runs.iter().map(|word| remembered.find(word)).collect::<Result<_, _>>()?
    };
    let (cache, _) = remembered.cache()?;
    let mut columns = Vec::with_capacity(runs.len());
    for run in &runs {
        let (numbers, lost) = numbers_of_run(cache, registry, &run.file)?;
        let chosen = |stage: &str| {
            arguments.stage.is_empty()
                || arguments.stage.iter().any(|wanted| is_stage(stage, wanted))
        };
        for output in lost.iter().filter(|output| chosen(stage_of(output))) {
            printer.warning(format_args!(
                "`{output}` of {} is no longer in the cache",
                run.describe()
            ));
        }
        columns.push(numbers);
    }
    choose(&mut columns, &runs, &arguments.stage, &arguments.key)?;
    if arguments.json {
        let runs: Vec<Value> = runs
            .iter()
            .zip(&columns)
            .map(|(run, numbers)| {
                json!({
                    "id": run.entry.id,
                    "name": run.entry.name,
                    "started": run.file.started,
                    "numbers": numbers,
                })
            })
            .collect();
        let object = json!({ "runs": runs });
        Printer::json(&object)?;
    } else if arguments.csv {
        printer.block(csv(&runs, &columns)?.trim_end())?;
    } else {
        printer.block(tabulate(&runs, &columns))?;
    }
    Ok(exit_code::DONE)
}

/// The stage in `STAGE.OUTPUT…`.
fn stage_of(key: &str) -> &str {
    // A combination may have dots in it.
    let end = match key.find(['.', '[']) {
        Some(at) if key[at..].starts_with('[') => key.find("].").map(|at| at + 1),
        at => at,
    };
    &key[..end.unwrap_or(key.len())]
}

/// Whether `stage` is `wanted`, or one of its combinations.
fn is_stage(stage: &str, wanted: &str) -> bool {
    stage == wanted || stage.split_once('[').is_some_and(|(name, _)| name == wanted)
}

fn keys(columns: &[Numbers]) -> BTreeSet<&str> {
    columns.iter().flat_map(|numbers| numbers.keys().map(String::as_str)).collect()
}

/// Keeps the numbers that were asked for. An error if a stage or a pattern means none.
fn choose(
    columns: &mut [Numbers],
    runs: &[FoundRun],
    stages: &[String],
    patterns: &[String],
) -> Result<(), CommandError> {
    let all = keys(columns);
    for stage in stages {
        let known: BTreeSet<&str> =
            runs.iter().flat_map(|run| &run.file.stages).map(|stage| stage.name.as_str()).collect();
        if !known.iter().any(|known| is_stage(known, stage)) {
            return Err(CommandError::no_such("stage in these runs called", stage, known));
        }
    }
    for pattern in patterns {
        if !all.iter().any(|key| is_meant(key, pattern)) {
            let mut ends: Vec<&str> = Vec::new();
            for key in &all {
                ends.push(key.split_once(':').map_or(key, |(_, end)| end));
            }
            return Err(CommandError::no_such("number in these runs called", pattern, ends));
        }
    }
    for numbers in columns {
        numbers.retain(|key, _| {
            (stages.is_empty() || stages.iter().any(|stage| is_stage(stage_of(key), stage)))
                && (patterns.is_empty() || patterns.iter().any(|pattern| is_meant(key, pattern)))
        });
    }
    Ok(())
}

/// Whether `pattern` matches `key`, or its end after a `:` or a dot.
fn is_meant(key: &str, pattern: &str) -> bool {
    let ends = key.match_indices([':', '.']).map(|(at, separator)| &key[at + separator.len()..]);
    std::iter::once(key).chain(ends).any(|end| matches(end.as_bytes(), pattern.as_bytes()))
}

/// Whether `pattern`, with `*` for any text and `?` for any character, matches all of `text`.
fn matches(text: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut in_pattern) = (0, 0);
    // Where the last `*` was, and how much of the text it stands for so far.
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match (pattern.get(in_pattern), star) {
            (Some(b'*'), _) => {
                star = Some((in_pattern, at));
                in_pattern += 1;
            }
            (Some(b'?'), _) => (at, in_pattern) = (at + 1, in_pattern + 1),
            (Some(byte), _) if *byte == text[at] => (at, in_pattern) = (at + 1, in_pattern + 1),
            (_, Some((place, taken))) => {
                (at, in_pattern) = (taken + 1, place + 1);
                star = Some((place, taken + 1));
            }
            _ => return false,
        }
    }
    pattern[in_pattern..].iter().all(|byte| *byte == b'*')
}

fn tabulate(runs: &[FoundRun], columns: &[Numbers]) -> String {
    let keys = keys(columns);
    if keys.is_empty() {
        return "no documents with numbers".to_owned();
    }
    let mut table = table::plain(Printer::width());
    let labels = runs.iter().map(|run| run.entry.label());
    table.set_header(std::iter::once("number").chain(labels));
    for key in keys {
        let values = columns.iter().map(|numbers| match numbers.get(key) {
            Some(value) => document::number(*value),
            None => "–".to_owned(),
        });
        table.add_row(std::iter::once(key.to_owned()).chain(values));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(comfy_table::CellAlignment::Right);
    }
    table::lines(&table, "").trim_end().to_owned()
}

fn csv(runs: &[FoundRun], columns: &[Numbers]) -> Result<String, CommandError> {
    let keys = keys(columns);
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = ["run", "name", "started"].into_iter().chain(keys.iter().copied());
    writer
        .write_record(header.map(|key| text::one_line(key).into_owned()))
        .map_err(CommandError::system)?;
    for (run, numbers) in runs.iter().zip(columns) {
        let head = [
            run.entry.id.clone(),
            run.entry.name.clone().unwrap_or_default(),
            run.file.started.clone(),
        ];
        let values =
            keys.iter().map(|key| numbers.get(*key).map(f64::to_string).unwrap_or_default());
        // A run is a line.
        let record =
            head.into_iter().chain(values).map(|field| text::one_line(&field).into_owned());
        writer.write_record(record).map_err(CommandError::system)?;
    }
    let bytes = writer.into_inner().map_err(|error| CommandError::system(error.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::is_meant;

    #[test]
    fn a_pattern_means_a_key_or_its_end() {
        let key = "evaluate.metrics:match.f1_score";
        for pattern in [
            "f1*",
            "f1_score",
            "*score",
            "match.*",
            "match.f1_scor?",
            "*",
            "evaluate.*:*",
            key,
            "m*f*e",
        ] {
            assert!(is_meant(key, pattern), "{pattern}");
        }
        for pattern in ["f1", "1*", "*match", "", "f1_score?", "evaluate", "**x"] {
            assert!(!is_meant(key, pattern), "{pattern}");
        }
    }
}
