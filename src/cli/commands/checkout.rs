//! `pipe checkout`.

use clap::Args;
use pipe_engine::{
    Digest, Format, Registry, Tree,
    cache::Cache,
    graph::Pipeline,
    report::out::{OutFolder, Wanted},
};

use super::{
    out::tell,
    runs::{FoundRun, Remembered},
};
use crate::cli::{
    arguments::PipelineArguments, error::CommandError, exit_code, folders, printer::Printer,
};

/// Brings back the outputs of an earlier run under `out/`, from the cache. Nothing is executed.
///
/// The next `pipe run` puts the newest outputs there again.
#[derive(Debug, Args)]
pub(crate) struct CheckoutArguments {
    /// The run: its name, its id or the beginning of it, `last`, or `~1`, `~2` … back from it.
    #[arg(value_name = "RUN")]
    run: String,

    /// Only the outputs of this stage. May be repeated.
    #[arg(long, value_name = "STAGE")]
    stage: Vec<String>,

    /// Arrays, too, which a run doesn't put there.
    #[arg(long)]
    arrays: bool,

    #[command(flatten)]
    pipeline: PipelineArguments,
}

/// An output of the run that is in the cache.
struct Found {
    wanted: Wanted,
    is_array: bool,
}

pub(crate) fn run(
    arguments: CheckoutArguments,
    before: PipelineArguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    let remembered = Remembered::open(&arguments.pipeline.over(before), registry)?;
    let run = remembered.find(&arguments.run)?;
    let (cache, _) = remembered.cache()?;
    let _hold = cache.hold();
    let pipeline = &remembered.pipeline;
    let mut found = find(&run, &arguments.stage, pipeline, cache, printer)?;
    if !arguments.arrays {
        found.retain(|found| !found.is_array);
    }
    let folder = OutFolder::of(pipeline);
    let wanted: Vec<Wanted> = found.into_iter().map(|found| found.wanted).collect();
    tell(&folder.restore(cache, &wanted)?, printer);
    for Wanted { stage, output, .. } in &wanted {
        printer.result(folders::from_here(&folder.path(stage, output)).display())?;
    }
    if wanted.is_empty() {
        printer.message(format_args!("{} has nothing to bring back", run.describe()));
    }
    Ok(exit_code::DONE)
}

/// The outputs of the run, or of its stages `stages`. An error if one isn't in the cache.
fn find(
    run: &FoundRun,
    stages: &[String],
    pipeline: &Pipeline,
    cache: &Cache,
    printer: Printer,
) -> Result<Vec<Found>, CommandError> {
    for name in stages {
        let known = run.file.stages.iter().map(|stage| stage.name.as_str());
        match run.file.stage(name) {
            None => {
                let what = format!("stage in {} called", run.describe());
                return Err(CommandError::no_such(&what, name, known));
            }
            Some(stage) if stage.outputs.is_empty() => {
                return Err(CommandError::wrong(
                    format!(
                        "the stage `{name}` has no outputs in {}: it {}",
                        run.describe(),
                        stage.outcome.word()
                    ),
                    "`pipe log --stages` tells which run made some; nothing was changed",
                ));
            }
            Some(_) => {}
        }
    }
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for stage in &run.file.stages {
        if !stages.is_empty() && !stages.contains(&stage.name) {
            continue;
        }
        if stage.outputs.is_empty() {
            printer.warning(format_args!(
                "`{}` has no outputs in that run: it {}",
                stage.name,
                stage.outcome.word()
            ));
        }
        for (output, digest) in &stage.outputs {
            match cache.complete_tree(*digest)? {
                Ok(tree) => {
                    let is_array = is_array(pipeline, &stage.name, output, &tree);
                    let wanted = wanted(&stage.name, output, *digest);
                    found.push(Found { wanted, is_array });
                }
                Err(flaw) => missing.push(format!("`{}.{output}` ({flaw})", stage.name)),
            }
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    Err(CommandError::wrong(
        format!(
            "what {} made is no longer all in the cache: {}; nothing was changed",
            run.describe(),
            missing.join(", ")
        ),
        "choose others with `--stage`, or make it again: `pipe run` with the config of that run",
    ))
}

fn wanted(stage: &str, output: &str, digest: Digest) -> Wanted {
    Wanted { stage: stage.to_owned(), output: output.to_owned(), digest }
}

/// Whether an output is an array: as the pipeline declares it, or, where it doesn't any more, by what it holds.
fn is_array(pipeline: &Pipeline, stage: &str, output: &str, tree: &Tree) -> bool {
    let node = pipeline.stages.iter().find(|node| node.name == stage);
    let declared =
        node.and_then(|node| node.outputs().into_iter().find(|(name, _)| name == output));
    match declared {
        Some((_, artifact)) => artifact.format == Format::Zarr,
        None => tree.get("zarr.json").is_some(),
    }
}
