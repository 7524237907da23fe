//! A reader of a run.

use std::io;

use clap::Args;
use pipe_engine::{Observer, RunReport};

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
