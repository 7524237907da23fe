//! The command line: the only code that prints, and that decides how the program ends.

mod arguments;
mod commands;
mod complaints;
mod display;
mod error;
pub mod exit_code;
mod fault;
mod folders;
mod printer;
mod project;
mod text;
mod trust;
mod view;

use std::process::ExitCode;

use clap::Parser as _;
use pipe_engine::Registry;

use self::{commands::Arguments, printer::Printer};

/// The program, before it is run.
#[derive(Default)]
pub struct Cli {
    registry: Registry,
}

impl Cli {
    /// A program that knows no kinds of stage but `command`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds kinds of stage, in place of those of the same name.
    #[must_use]
    pub fn stages(mut self, more: Registry) -> Self {
        self.registry = self.registry.and(more);
        self
    }

    /// Does what the command line says.
    pub fn run(self) -> ExitCode {
        fault::prepare();
        fault::caught(|| self.obey())
    }

    fn obey(self) -> u8 {
        let arguments = match Arguments::try_parse() {
            Ok(arguments) => arguments,
            Err(error) => {
                let code = if error.use_stderr() { exit_code::WRONG } else { exit_code::DONE };
                if error.use_stderr() {
                    // It repeats what was typed.
                    Printer::new(anstream::ColorChoice::Auto)
                        .messages(error.render().to_string().trim_end());
                } else {
                    // Whoever asked for help and went away doesn't miss it.
                    let _ = error.print();
                }
                return code;
            }
        };
        let printer = Printer::new(arguments.color.into());
        let ended = commands::run(arguments, &self.registry, printer);
        ended.unwrap_or_else(|error| error.tell(printer))
    }
}
