//! How a stage ended.

use serde::{Deserialize, Serialize};

/// How a stage ended, or would end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was computed.
    Executed,
    /// Its result was known.
    Reused,
    /// It failed.
    Failed,
    /// It wasn't tried, since something before it failed or the run was stopped.
    Skipped,
    /// It would be computed.
    WouldExecute,
    /// Its result is known.
    WouldReuse,
    /// It depends on an output that isn't made yet.
    Unknown,
}

impl Outcome {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Executed => "executed",
            Self::Reused => "reused",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::WouldExecute => "would-execute",
            Self::WouldReuse => "would-reuse",
            Self::Unknown => "unknown",
        }
    }
}
