//! `pipe cache gc`.

use std::time::Duration;

use clap::Args;
use pipe_engine::{
    Registry,
    cache::gc::{Amount, Collection, Policy},
};

use super::selected::{Which, count, size_of};
use crate::cli::{arguments::PipelineArguments, error::CommandError, exit_code, printer::Printer};

/// Removes what no kept run, no pin and no live run needs. Without `--yes` it only tells.
///
/// The runs of all workspaces that share the cache count. Kept are the runs that `--keep-runs` or `--keep-days` keeps
/// (by default the 10 newest of each workspace), and whatever is younger than `--grace`. A run that isn't kept is
/// forgotten, and `pipe log` tells of it no more, unless it bears a name.
#[derive(Debug, Args)]
pub(crate) struct GcArguments {
    /// Does it.
    #[arg(long)]
    yes: bool,

    /// Keeps the newest so many runs of every workspace.
    #[arg(long, value_name = "N")]
    keep_runs: Option<u64>,

    /// Keeps the runs of the last so many days.
    #[arg(long, value_name = "DAYS", value_parser = days)]
    keep_days: Option<f64>,

    /// Gives up the oldest runs too until no more than this stays, such as `20GB`; never the newest of a workspace.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<u64>,

    /// Keeps whatever is younger than this, such as `30m` or `2d`.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1h")]
    grace: Duration,

    /// Forgets runs that bear a name as well.
    #[arg(long)]
    forget_named: bool,

    /// Prints one JSON object on stdout instead of lines for people.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    which: Which,
}

/// How many runs of each workspace are kept when nothing else is said.
const KEEP_RUNS: u64 = 10;

pub(crate) fn run(
    arguments: &GcArguments,
    before: PipelineArguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    let cache = arguments.which.open(before, registry)?;
    let (keep_runs, keep_days) = match (arguments.keep_runs, arguments.keep_days) {
        (None, None) => (Some(KEEP_RUNS), None),
        given => given,
    };
    let policy = Policy {
        keep_runs,
        keep_days,
        max_size: arguments.max_size,
        grace: arguments.grace,
        forget_named: arguments.forget_named,
    };
    let told =
        if arguments.yes { cache.collect(&policy)? } else { cache.plan_collection(&policy)? };
    if arguments.json {
        Printer::json(&told)?;
    } else {
        show(&told, printer)?;
    }
    Ok(exit_code::DONE)
}

fn show(told: &Collection, printer: Printer) -> Result<(), CommandError> {
    for workspace in &told.workspaces {
        let pipeline = workspace.pipeline.as_ref();
        let pipeline = pipeline.map_or_else(|| workspace.name.clone(), |p| p.display().to_string());
        let pinned = match workspace.pinned {
            0 => String::new(),
            pinned => format!(", {pinned} pinned"),
        };
        let runs = count(workspace.runs, "run");
        let forgotten = match (workspace.forgotten, told.done) {
            (0, _) => String::new(),
            (forgotten, false) => format!(", {forgotten} to be forgotten"),
            (forgotten, true) => format!(", {forgotten} forgotten"),
        };
        let kept = workspace.kept;
        printer.result(format_args!("{pipeline}: {runs}, {kept} kept{pinned}{forgotten}"))?;
    }
    printer.result(format_args!("keeps {}", amount(&told.kept)))?;
    let removes = if told.done { "removed" } else { "would remove" };
    printer.result(format_args!("{removes} {}", amount(&told.removed)))?;
    if let Some(over) = told.over {
        printer.warning(format_args!(
            "that is {} more than wanted: pins, live runs, the newest run of each workspace and what is young are kept",
            size_of(over)
        ));
    }
    let forgets = told.workspaces.iter().any(|workspace| workspace.forgotten > 0);
    if !told.done && (forgets || told.removed != Amount::default()) {
        printer.help("to remove it: `pipe cache gc --yes`, with the same options");
    }
    Ok(())
}

fn amount(amount: &Amount) -> String {
    format!(
        "{}, {}, {}: {}",
        count(amount.records, "record"),
        count(amount.trees, "tree"),
        count(amount.blobs, "blob"),
        size_of(amount.bytes)
    )
}

/// A number, and the letters after it.
fn split(text: &str) -> Result<(f64, &str), String> {
    let text = text.trim();
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let number: f64 =
        text[..end].trim().parse().map_err(|_| "it must begin with a number".to_owned())?;
    if number.is_finite() && number >= 0.0 {
        Ok((number, &text[end..]))
    } else {
        Err("it must not be negative".to_owned())
    }
}

fn days(text: &str) -> Result<f64, String> {
    match split(text)? {
        (days, "" | "d") => Ok(days),
        _ => Err("it is a number of days".to_owned()),
    }
}

fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1024.0_f64.powi(2),
        "gib" => 1024.0_f64.powi(3),
        "tib" => 1024.0_f64.powi(4),
        _ => return Err("its unit must be B, kB, MB, GB, TB, KiB, MiB, GiB or TiB".to_owned()),
    };
    Ok((number * factor) as u64)
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err("its unit must be s, m, h or d".to_owned()),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read() {
        assert_eq!(size("20GB"), Ok(20_000_000_000));
        assert_eq!(size("1.5 MiB"), Ok(1_572_864));
        assert_eq!(size("0"), Ok(0));
        assert_eq!(duration("30m"), Ok(Duration::from_mins(30)));
        assert_eq!(days("90"), Ok(90.0));
        for bad in ["", "GB", "-1GB", "1XB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert!(duration("5").is_err() && duration("-5m").is_err() && days("1h").is_err());
    }
}
