//! `pipe init`.

use std::{fs, io::Write as _, path::PathBuf};

use clap::Args;
use pipe_engine::load;

use crate::cli::{error::CommandError, exit_code, printer::Printer};

/// The reference pipeline, which a new one begins as.
const REFERENCE: &str = include_str!("../../../pipeline.yaml");
const GITIGNORE: &str = "/cache/\n/out/\n";

/// Begins a pipeline: writes a `pipeline.yaml` to change, and a `.gitignore`.
#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// The folder, which is made if it isn't there.
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

pub(crate) fn run(arguments: &InitArguments, printer: Printer) -> Result<u8, CommandError> {
    let folder = &arguments.folder;
    let file = folder.join(load::FILE_NAME);
    if fs::symlink_metadata(&file).is_ok() {
        return Err(CommandError::wrong(
            format!("there is a `{}` already", file.display()),
            "choose another folder; nothing was written",
        ));
    }
    fs::create_dir_all(folder).map_err(CommandError::file("make the folder", folder))?;
    write_new(&file, REFERENCE)?;
    let ignore = folder.join(".gitignore");
    if fs::symlink_metadata(&ignore).is_err() {
        write_new(&ignore, GITIGNORE)?;
    }
    printer.result(format_args!("wrote {}", file.display()))?;
    printer.result("look at it, then: pipe plan, pipe run")?;
    Ok(exit_code::DONE)
}

fn write_new(path: &PathBuf, text: &str) -> Result<(), CommandError> {
    let mut file = fs::File::create_new(path).map_err(CommandError::file("create", path))?;
    file.write_all(text.as_bytes()).map_err(CommandError::file("write", path))
}
