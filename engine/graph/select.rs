//! `kind: select`: the choice of the best of a matrix's combinations.

use crate::artifact::format::{ArtifactType, Format};

/// The name of the kind.
pub(crate) const KIND: &str = "select";
/// The name of the input that holds what is chosen from.
pub const CANDIDATES: &str = "candidates";
/// The name of the input that holds the documents by which is chosen.
pub const METRICS: &str = "metrics";
/// The type of the output that says what was chosen.
pub const CHOICE: ArtifactType = ArtifactType::new("choice", Format::Document);

/// The choice of the best of a matrix's combinations.
#[derive(Debug, Clone, PartialEq)]
pub struct Select {
    /// The keys that lead to the metric in each document, with dots between them.
    pub metric: String,
    /// Which metric is best.
    pub goal: Goal,
    /// Which file of the metrics holds the document, where there are several.
    pub file: Option<String>,
    /// What the candidates are, and so what is chosen.
    pub artifact: ArtifactType,
}

/// Which metric is best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

impl Goal {
    /// The word for it in a pipeline.
    pub fn word(self) -> &'static str {
        match self {
            Self::Max => "max",
            Self::Min => "min",
        }
    }
}

/// The outputs of a choice among candidates of type `artifact`.
pub(crate) fn outputs(artifact: ArtifactType) -> [(&'static str, ArtifactType); 2] {
    [("best", artifact), ("choice", CHOICE)]
}
