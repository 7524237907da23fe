//! `pipe out`.

use std::path::PathBuf;

use clap::Args;
use pipe_engine::{
    Registry,
    report::out::{OutFolder, Shown, Wanted, put},
};

use super::outputs;
use crate::cli::{
    arguments::PipelineArguments, error::CommandError, exit_code, folders, printer::Printer,
};

/// Puts outputs of a stage, arrays too, where you want them as files, and prints their paths.
///
/// What stands there is yours: nothing that you do to it harms the cache or enters a result.
#[derive(Debug, Args)]
pub(crate) struct OutArguments {
    /// The stage, or one of its outputs; some combinations of a matrix are `'STAGE[AXIS=VALUE,…].OUTPUT'`.
    #[arg(value_name = "STAGE[.OUTPUT]")]
    wanted: String,

    /// Where to put it [default: out/STAGE/OUTPUT beside the pipeline].
    #[arg(value_name = "DEST")]
    destination: Option<PathBuf>,

    #[command(flatten)]
    pipeline: PipelineArguments,
}

pub(crate) fn run(
    arguments: OutArguments,
    before: PipelineArguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    let pipeline = arguments.pipeline.over(before);
    let outputs = outputs::find(&arguments.wanted, &pipeline, registry)?;
    let several = outputs.found.len() > 1;
    let folder = OutFolder::of(&outputs.pipeline);
    if arguments.destination.is_none() {
        let wanted = outputs.found.iter().map(|output| Wanted {
            stage: output.stage.clone(),
            output: output.name.clone(),
            digest: output.digest,
        });
        tell(&folder.restore(&outputs.cache, &wanted.collect::<Vec<_>>())?, printer);
    }
    for output in &outputs.found {
        let path = match &arguments.destination {
            Some(destination) => {
                let path = match (several, output.stage.contains('[')) {
                    (false, _) => destination.clone(),
                    (true, false) => destination.join(&output.name),
                    (true, true) => {
                        destination.join(OutFolder::within(&output.stage)).join(&output.name)
                    }
                };
                put(&outputs.cache, &output.tree, &path)?;
                path
            }
            None => folder.path(&output.stage, &output.name),
        };
        printer.result(folders::from_here(&path).display())?;
    }
    Ok(exit_code::DONE)
}

/// Tells what of the user's stood in `out`, and where it is now.
pub(super) fn tell(shown: &Shown, printer: Printer) {
    for kept in &shown.kept {
        printer.warning(format_args!(
            "`{}` had been edited; it is kept as `{}`",
            folders::from_here(&kept.path).display(),
            folders::from_here(&kept.kept).display()
        ));
    }
    for left in &shown.left {
        printer.warning(format_args!(
            "no stage makes `{}` any more; it was left, since it had been edited",
            folders::from_here(left).display()
        ));
    }
}
