//! `pipe run`.

use std::{
    fs,
    io::{self, IsTerminal as _},
    mem::ManuallyDrop,
    num::NonZeroUsize,
    process, thread,
    time::Duration,
};

use clap::Args;
use pipe_engine::{
    DeviceChoice, DeviceWish, Interrupt, Outcome, Registry, RunError, RunOptions, RunReport,
    cache::Cache,
    graph::Pipeline,
    load::{Complaint, Complaints, Label},
    report::out::{OutError, OutFolder},
};

use super::out::tell;
use crate::cli::{
    arguments::PipelineArguments,
    error::CommandError,
    exit_code,
    printer::Printer,
    project,
    view::{self, Detail},
};

/// Runs the stages whose results aren't known yet.
///
/// A stage is executed only if no result is known for its config and its inputs as they are now. What stands in `out/`
/// afterwards is for you: nothing reads it back.
#[derive(Debug, Args)]
#[command(after_help = exit_code::HELP)]
pub(crate) struct RunArguments {
    /// The stages wanted; what they need is run too [default: all]. Of a stage with a matrix all combinations, or those that
    /// `'STAGE[AXIS=VALUE,…]'` names.
    #[arg(value_name = "STAGE")]
    targets: Vec<String>,

    #[command(flatten)]
    pipeline: PipelineArguments,

    /// How many stages, and how many commands within them, run at once [default: the number of processors]. What stages
    /// compute themselves never takes more threads than there are processors.
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZeroUsize>,

    /// After a failure, goes on with what doesn't depend on it.
    #[arg(short, long)]
    keep_going: bool,

    /// The name under which the run is remembered: one that no other run of this pipeline has.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Computes, too, what another process is computing, rather than wait for it: for when that hangs, or is gone without a
    /// trace.
    #[arg(long)]
    ignore_lease: bool,

    /// Where stages compute that can do so on a GPU: `auto`, `cpu` or `cuda` [default: what the pipeline says, else `auto`].
    #[arg(long, value_name = "DEVICE")]
    device: Option<DeviceChoice>,

    /// Prints one JSON object on stdout instead of lines for people.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    detail: Detail,
}

/// How often a run is repeated for outputs that are found damaged when they are to be placed under `out`.
const REPAIRS: usize = 3;

pub(crate) fn run(
    arguments: RunArguments,
    before: PipelineArguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    let json = arguments.json;
    let ended = execute(arguments, before, registry, printer);
    if json && let Err(error) = &ended {
        view::json::print_error(error)?;
    }
    ended
}

fn execute(
    arguments: RunArguments,
    before: PipelineArguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    let mut pipeline = project::load(&arguments.pipeline.over(before), registry)?;
    if let Some(choice) = arguments.device {
        pipeline.device = DeviceWish { choice, place: None };
    }
    // The process ends with the run, which is the fastest way to free what a large pipeline is made of.
    let pipeline = ManuallyDrop::new(pipeline);
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let jobs = arguments.jobs.map_or(processors, NonZeroUsize::get);
    let most = most_jobs();
    if jobs > most {
        return Err(CommandError::wrong(
            format!("`-j {jobs}` is more than this machine takes"),
            format!("give {most} or less. Nothing was run"),
        ));
    }
    let options = RunOptions {
        targets: arguments.targets,
        jobs,
        threads: jobs.min(processors),
        keep_going: arguments.keep_going,
        name: arguments.name,
        follow: arguments.detail.verbose,
    };
    let interrupt = Interrupt::new();
    stop_on_signals(&interrupt, printer)?;
    pipe_engine::adopt_orphans();
    let view = view::choose(arguments.json, arguments.detail, printer);
    let cache = project::cache(&pipeline.cache)?;
    let cache = if arguments.ignore_lease { cache.ignoring_leases() } else { cache };
    let quiet = arguments.detail.quiet;
    let once = || {
        pipe_engine::run_then(&pipeline, &cache, &options, &*view, &interrupt, |report| {
            place(&cache, &pipeline, report, quiet, printer)
        })
    };
    let (mut report, mut placed) = once().map_err(|error| refused(error, &pipeline))?;
    for _ in 0..REPAIRS {
        let Err(OutError::Gone { .. }) = &placed else { break };
        // A stage that failed was told of as an error: it isn't one that the next try makes good.
        if !report.ok {
            break;
        }
        if let Err(error) = &placed
            && !quiet
        {
            printer.warning(format_args!("{error}; the stage is executed again"));
        }
        let again;
        (again, placed) = once()?;
        report = merge(&report, again);
    }
    let placed = match placed {
        // What failed may have taken an earlier result with it: the failure is the news. Where nothing can be written,
        // the run has still done what it was asked to: its results are in the cache.
        Err(error) if !report.ok || error.is_read_only() => {
            CommandError::from(error).warn("`out/` does not show the results", printer);
            Ok(false)
        }
        other => other.map_err(CommandError::from),
    };
    // What failed at the end has no summary: it would say that all went well.
    match view.finish(&report, placed?) {
        // Whoever stopped reading still wants to know how it ended.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        other => other?,
    }
    Ok(code(&report))
}

/// How many jobs may run at once: commands that wait for a disk or a server may be more than the processors, within reason.
fn most_jobs() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get).saturating_mul(4).max(64)
}

/// What kept the run from being tried, with the place in the pipeline that asks for what isn't there.
fn refused(error: RunError, pipeline: &Pipeline) -> CommandError {
    let RunError::Device { source } = &error else { return error.into() };
    let Some(place) = pipeline.device.place else {
        let message = format!("`--device cuda`: {source}");
        return CommandError::wrong(message, format!("{}. Nothing was run", source.hint()));
    };
    let complaint = Complaint {
        message: source.to_string(),
        labels: vec![Label { span: place, text: String::new() }],
        help: Some(source.hint().to_owned()),
    };
    Complaints { sources: pipeline.sources.clone(), complaints: vec![complaint] }.into()
}

/// Puts the outputs where people find them. Whether there are any.
fn place(
    cache: &Cache,
    pipeline: &Pipeline,
    report: &RunReport,
    quiet: bool,
    printer: Printer,
) -> Result<bool, OutError> {
    let folder = OutFolder::of(pipeline);
    let shown = folder.refresh(cache, pipeline, report)?;
    if !quiet {
        tell(&shown, printer);
    }
    Ok(report.count(Outcome::Executed) > 0 && pipeline.root.join("out").is_dir())
}

/// Two runs, the second of which repaired what the first one had found damaged, told as one.
fn merge(first: &RunReport, mut second: RunReport) -> RunReport {
    second.seconds += first.seconds;
    for stage in &mut second.stages {
        if stage.outcome == Outcome::Reused
            && let Some(before) = first.stage(&stage.name)
            && before.outcome == Outcome::Executed
        {
            *stage = before.clone();
        }
    }
    second
}

/// The first signal asks the run to stop; the second one doesn't wait for programs to end by themselves, and the third one
/// for nothing. Hanging up is no such signal where the caller ignores it, as `nohup` does.
fn stop_on_signals(interrupt: &Interrupt, printer: Printer) -> Result<(), CommandError> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    /// How long killed programs have to be gone, and what they printed to be kept.
    const LAST: Duration = Duration::from_millis(1500);
    let wanted: &[i32] =
        if is_ignored(SIGHUP) { &[SIGINT, SIGTERM] } else { &[SIGINT, SIGTERM, SIGHUP] };
    let interrupt = interrupt.clone();
    let listen = |error| CommandError::system(format!("failed to listen for signals: {error}"));
    let mut signals = signal_hook::iterator::Signals::new(wanted).map_err(listen)?;
    let wait = move || {
        for number in 1.. {
            if signals.forever().next().is_none() {
                return;
            }
            interrupt.request();
            match number {
                1 => {
                    // A terminal shows `^C` and a bar on the line where the cursor is.
                    let line = if io::stderr().is_terminal() { "\n" } else { "" };
                    printer.message(format_args!(
                        "{line}stopping at the next safe point; Ctrl-C again to stop at once"
                    ));
                }
                2 => {
                    let _ = thread::Builder::new().spawn(|| {
                        thread::sleep(LAST);
                        process::exit(i32::from(exit_code::INTERRUPTED));
                    });
                }
                _ => process::exit(i32::from(exit_code::INTERRUPTED)),
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop).map_err(listen)
}

/// Whether this process ignores `signal`, since whoever started it does.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

fn code(report: &RunReport) -> u8 {
    let system = |stage: &pipe_engine::StageReport| stage.error.as_ref().is_some_and(|e| e.system);
    if report.interrupted {
        exit_code::INTERRUPTED
    } else if report.stages.iter().any(system) {
        exit_code::SYSTEM_FAILED
    } else if report.ok {
        exit_code::DONE
    } else {
        exit_code::STAGE_FAILED
    }
}
