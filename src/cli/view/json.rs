//! One JSON object on stdout when the run is over: for programs.

use std::io;

use pipe_engine::{Event, Observer, Outcome, RunReport};
use serde_json::json;

use super::{View, line};
use crate::cli::{error::CommandError, printer::Printer};

/// Says nothing on stdout until the end. Warnings and failures go to stderr.
pub(crate) struct Json {
    printer: Printer,
}

impl Json {
    pub(crate) fn new(printer: Printer) -> Self {
        Self { printer }
    }
}

impl Observer for Json {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Warning { stage, message } => {
                self.printer.warning(format_args!("stage `{stage}`: {message}"));
            }
            Event::Notice { message } => self.printer.warning(message),
            Event::Ended(report) if report.outcome == Outcome::Failed => {
                if let Some(failure) = &report.error {
                    self.printer.error(line::failure(&report.name, failure));
                }
            }
            _ => {}
        }
    }
}

impl View for Json {
    fn finish(&self, report: &RunReport, _placed: bool) -> io::Result<()> {
        print(report)
    }
}

/// Prints a report.
pub(crate) fn print(report: &RunReport) -> io::Result<()> {
    Printer::json(report)
}

/// Prints that nothing was run, and why. The messages for people go to stderr as ever.
pub(crate) fn print_error(error: &CommandError) -> io::Result<()> {
    let errors = error.messages();
    let object = json!({ "ok": false, "seconds": 0, "stages": [], "errors": errors });
    Printer::json(&object)
}
