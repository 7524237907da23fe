//! What the engine tells while it works. It never prints: whoever runs it reads this stream.

use crate::{cache::wait::Wait, plan::run_report::StageReport};

/// Something that happened during a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// The stages that the run is about, in the order of the pipeline.
    Planned {
        /// Their names.
        stages: &'a [&'a str],
    },
    /// A stage begins to execute.
    Started {
        /// The stage.
        stage: &'a str,
        /// Why it isn't reused.
        reason: &'a str,
    },
    /// How far a stage is.
    Progress {
        /// The stage.
        stage: &'a str,
        /// How many are done.
        done: u64,
        /// Of how many.
        total: u64,
        /// Of what: a plural.
        unit: &'a str,
    },
    /// A command printed something, where the run was asked to follow that.
    Printed {
        /// The stage.
        stage: &'a str,
        /// Some lines.
        text: &'a str,
    },
    /// A stage waits for another process that computes the same.
    Waiting {
        /// The stage.
        stage: &'a str,
        /// For whom, and for how long it has.
        wait: Wait<'a>,
    },
    /// Something is not as it should be, and was dealt with.
    Warning {
        /// The stage.
        stage: &'a str,
        /// What, and what was done.
        message: &'a str,
    },
    /// Something about the run as a whole is not as it should be, and does no harm to its results.
    Notice {
        /// What.
        message: &'a str,
    },
    /// A stage ended.
    Ended(&'a StageReport),
}

/// Whoever reads the stream of events. Called from any thread, and not for long.
pub trait Observer: Sync {
    /// Takes an event.
    fn event(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Sync> Observer for F {
    fn event(&self, event: &Event<'_>) {
        self(event);
    }
}
