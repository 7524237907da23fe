//! How a run ended, stage by stage.

use std::collections::BTreeMap;

use serde::Serialize;

use super::explain::Why;
use crate::{
    base::{
        chain::chain,
        digest::{Digest, Fingerprint},
        outcome::Outcome,
    },
    cache::hint,
};

/// Why a stage failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What went wrong, with its causes.
    pub message: String,
    /// The end of what a command printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// All that a command printed: the blob, and its size.
    #[serde(skip)]
    pub whole_log: Option<(Digest, u64)>,
    /// Whether the cache or the system failed rather than the stage.
    pub system: bool,
}

/// Of how many parts a result was put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PartCount {
    /// All of them.
    pub all: u64,
    /// Those that were known.
    pub known: u64,
    /// What they are: a plural, such as `chunks`.
    pub unit: &'static str,
}

impl Failure {
    /// Something failed that printed nothing.
    pub(crate) fn new(message: String, system: bool) -> Self {
        Self { message, log: None, whole_log: None, system }
    }

    /// The cache or the system failed.
    pub(crate) fn of_the_system(error: &(dyn std::error::Error + 'static)) -> Self {
        let hint = hint(error).map(|hint| format!("; {hint}")).unwrap_or_default();
        Self::new(format!("{}{hint}", chain(error)), true)
    }
}

/// How one stage ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageReport {
    /// The stage's name.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The name of its result, when that is known.
    pub fingerprint: Option<Fingerprint>,
    /// Why it was executed, reused or skipped.
    pub reason: String,
    /// The reason in its parts, where it has some.
    #[serde(skip)]
    pub why: Option<Why>,
    /// When it began, in seconds from the beginning of the run.
    #[serde(skip)]
    pub began: f64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The worker that took it, counted from 0.
    #[serde(skip)]
    pub worker: Option<usize>,
    /// The content digest of each output.
    pub outputs: BTreeMap<String, Digest>,
    /// The parts that it was put together from, when it was executed in parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<PartCount>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

impl StageReport {
    /// The report of a stage of which only the outcome is known.
    pub fn new(name: &str, outcome: Outcome) -> Self {
        Self {
            name: name.to_owned(),
            outcome,
            fingerprint: None,
            reason: String::new(),
            why: None,
            began: 0.0,
            seconds: 0.0,
            worker: None,
            outputs: BTreeMap::new(),
            parts: None,
            error: None,
        }
    }

    /// Gives the reason, whole and in its parts.
    pub(crate) fn explain(&mut self, why: Why) {
        self.reason = why.to_string();
        self.why = Some(why);
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunReport {
    /// Whether every stage ended well.
    pub ok: bool,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The stages, in the order of the pipeline.
    pub stages: Vec<StageReport>,
    /// Whether it was told to stop before it was done.
    #[serde(skip)]
    pub interrupted: bool,
}

impl RunReport {
    /// The stage called `name`.
    pub fn stage(&self, name: &str) -> Option<&StageReport> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// How many stages ended in `outcome`.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.stages.iter().filter(|stage| stage.outcome == outcome).count()
    }
}
