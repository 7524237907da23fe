//! What a run looks like: readers of the engine's stream of events.

pub(crate) mod json;
pub(crate) mod line;
mod plain;
mod progress;

use std::io::{self, IsTerminal as _};

use clap::Args;
use pipe_engine::{Observer, RunReport};

use super::printer::Printer;

/// How much is told.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Detail {
    /// Prints errors only.
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Prints fingerprints, digests and all reasons too, and what commands print while they run.
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// A reader of a run.
pub(crate) trait View: Observer {
    /// Tells how the run ended. `placed`: whether there is something new in the `out` folder.
    fn finish(&self, report: &RunReport, placed: bool) -> io::Result<()>;
}

/// The view that fits where the output goes.
pub(crate) fn choose(json: bool, detail: Detail, printer: Printer) -> Box<dyn View> {
    if json {
        Box::new(json::Json::new(printer))
    } else if io::stderr().is_terminal() && !detail.quiet {
        Box::new(progress::Progress::new(plain::Plain::new(detail, printer)))
    } else {
        Box::new(plain::Plain::new(detail, printer))
    }
}
