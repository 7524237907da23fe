//! The program `pipe`, with the stages that ship with it.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    pipe::Cli::new().stages(pipe_stages::builtin()).run()
}
