//! `pipe cache verify`.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use pipe_engine::{
    Registry,
    cache::verify::{Problem, Verification},
};

use super::selected::{Which, count, size_of};
use crate::cli::{
    arguments::PipelineArguments,
    error::CommandError,
    exit_code, folders,
    printer::Printer,
    text::{ERROR, styled},
};

/// Hashes every blob, reads every tree and record, and tells what is broken or missing.
///
/// Ends with exit code 3 if something is and wasn't repaired.
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// Quarantines what is broken, and with it the results that it belongs to: they are computed again when wanted.
    #[arg(long)]
    repair: bool,

    /// Prints one JSON object on stdout instead of lines for people.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    which: Which,
}

/// Problems past these are only counted.
const MOST: usize = 50;

pub(crate) fn run(
    arguments: &VerifyArguments,
    before: PipelineArguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    let cache = arguments.which.open(before, registry)?;
    let bar = bar();
    let found = cache.verify(arguments.repair, &|bytes| bar.set_position(bytes))?;
    bar.finish_and_clear();
    if arguments.json {
        Printer::json(&found)?;
    } else {
        show(&found, printer)?;
    }
    let sound = found.problems.is_empty() || found.repaired;
    Ok(if sound { exit_code::DONE } else { exit_code::SYSTEM_FAILED })
}

fn show(found: &Verification, printer: Printer) -> Result<(), CommandError> {
    for problem in found.problems.iter().take(MOST) {
        printer.result(line(problem))?;
    }
    if let Some(more) = found.problems.len().checked_sub(MOST + 1) {
        printer.result(format_args!("… and {}", count(more as u64 + 1, "more problem")))?;
    }
    let verdict = match found.problems.len() as u64 {
        0 => "all is sound".to_owned(),
        problems if found.repaired => format!("{}, quarantined", count(problems, "problem")),
        problems => styled(ERROR, count(problems, "problem")),
    };
    printer.result(format_args!(
        "{} ({}), {}, {}: {verdict}",
        count(found.blobs, "blob"),
        size_of(found.bytes),
        count(found.trees, "tree"),
        count(found.records, "record"),
    ))?;
    if !found.stages.is_empty() {
        let stages: Vec<_> = found.stages.iter().map(|stage| format!("`{stage}`")).collect();
        printer.message(format_args!("to be computed again when wanted: {}", stages.join(", ")));
    }
    if !found.problems.is_empty() && !found.repaired {
        printer.help("to take what is broken out of the way: `pipe cache verify --repair`");
    }
    Ok(())
}

fn line(problem: &Problem) -> String {
    let path = folders::from_here(&problem.path);
    format!("{}: {}", path.display(), problem.what)
}

fn bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {bytes} hashed, {bytes_per_sec}");
    let bar = ProgressBar::new_spinner()
        .with_style(style.unwrap_or_else(|_| unreachable!("the template is fixed")));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
