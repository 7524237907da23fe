//! `pipe logs`.

mod follow;

use std::io::{BufReader, Read as _};

use clap::Args;
use pipe_engine::{
    Digest, Outcome, Registry,
    cache::{Cache, StageRun},
};

use super::runs::{FoundRun, Remembered};
use crate::cli::{arguments::PipelineArguments, error::CommandError, exit_code, printer::Printer};

/// Prints what a command printed when it was executed, also when it failed or was stopped.
#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    /// The stage.
    #[arg(value_name = "STAGE")]
    stage: String,

    /// In which run: its name, its id, `last`, or `~1`, `~2` … back from it [default: the newest that has the stage].
    #[arg(long, value_name = "RUN")]
    run: Option<String>,

    /// Prints what the stage prints now, in a run that is under way in any shell, until it ends.
    #[arg(short, long, conflicts_with = "run")]
    follow: bool,

    /// Prints every byte as the command did, for a file or a program; to a terminal still nothing goes that controls it.
    #[arg(long, conflicts_with = "follow")]
    raw: bool,

    #[command(flatten)]
    pipeline: PipelineArguments,
}

/// How many runs are looked through for the stage.
const DEEPEST: usize = 256;

pub(crate) fn run(
    arguments: LogsArguments,
    before: PipelineArguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    let remembered = Remembered::open(&arguments.pipeline.over(before), registry)?;
    let name = arguments.stage.as_str();
    if arguments.follow && follow::follow(&remembered, name, printer)? {
        return Ok(exit_code::DONE);
    }
    let found = match &arguments.run {
        Some(word) => remembered.find(word)?,
        None => newest_with(&remembered, name, printer)?,
    };
    let Some(stage) = found.file.stage(name) else {
        let known = found.file.stages.iter().map(|stage| stage.name.as_str());
        let what = format!("stage in {} called", found.describe());
        return Err(CommandError::no_such(&what, name, known));
    };
    let (cache, _) = remembered.cache()?;
    match log_of(cache, stage, &found)? {
        Some((blob, size)) => {
            let path = cache.blob_path(blob);
            let mut file = match cache.open_log(blob, size) {
                Ok(Some(file)) => file,
                Err(error) => return Err(CommandError::file("read", path)(error)),
                Ok(None) => {
                    return Err(CommandError::wrong(
                        format!(
                            "what `{name}` printed in {} is no longer in the cache",
                            found.describe()
                        ),
                        format!("`pipe run {name}` executes it again if its result is gone, too"),
                    ));
                }
            };
            if size == 0 {
                printer.message(format_args!("`{name}` printed nothing"));
            } else if !arguments.raw {
                // What a program printed must not control the terminal of whoever reads it later.
                follow::show(&mut BufReader::new(file), printer)?;
            } else {
                // It may be large: it is never in memory as a whole.
                let mut block = vec![0; 1 << 16];
                loop {
                    match file.read(&mut block).map_err(CommandError::file("read", path.clone()))? {
                        0 => break,
                        read => Printer::bytes(&block[..read])?,
                    }
                }
            }
        }
        None => match &stage.error {
            Some(error) => {
                printer.message(format_args!(
                    "`{name}` printed nothing; it failed: {}",
                    error.message
                ));
            }
            None => printer.message(format_args!("`{name}` is no command, so it printed nothing")),
        },
    }
    Ok(exit_code::DONE)
}

/// The newest run in which the stage was tried.
fn newest_with(
    remembered: &Remembered,
    name: &str,
    printer: Printer,
) -> Result<FoundRun, CommandError> {
    let known = || remembered.pipeline.stages.iter().map(|node| node.name.as_str());
    remembered.entry("last")?;
    let tried = |found: &FoundRun| {
        let stage = found.file.stage(name);
        stage.is_some_and(|stage| stage.outcome != Outcome::Skipped || stage.error.is_some())
    };
    let (mut read, mut unread) = (0, 0);
    for entry in &remembered.entries {
        match remembered.read(entry) {
            Ok(found) if tried(&found) => return Ok(found),
            Ok(_) => read += 1,
            Err(error) => {
                // One stands for all: they may be many.
                if unread == 0 {
                    printer.warning(error);
                }
                unread += 1;
            }
        }
        if read == DEEPEST {
            break;
        }
    }
    if known().any(|known| known == name) {
        return Err(CommandError::wrong(
            format!("the stage `{name}` was never run"),
            format!("run it: `pipe run {name}`"),
        ));
    }
    Err(CommandError::no_such("stage", name, known()))
}

/// Where what the stage printed lies: with the run if it failed, else with its result. None if it can't print.
fn log_of(
    cache: &Cache,
    stage: &StageRun,
    run: &FoundRun,
) -> Result<Option<(Digest, u64)>, CommandError> {
    if let Some(error) = &stage.error {
        return Ok(error.log);
    }
    if stage.outcome == Outcome::Skipped {
        return Err(CommandError::wrong(
            format!(
                "the stage `{}` was skipped in {}: {}",
                stage.name,
                run.describe(),
                stage.reason
            ),
            "`pipe log --stages` tells which run executed it",
        ));
    }
    let record = stage.fingerprint.map_or(Ok(None), |fingerprint| cache.record(fingerprint))?;
    match record {
        Some(Ok(record)) => Ok(record.log),
        _ => Err(CommandError::wrong(
            format!(
                "the result of `{}` in {} is no longer in the cache",
                stage.name,
                run.describe()
            ),
            format!("make it again: `pipe run {}`", stage.name),
        )),
    }
}
