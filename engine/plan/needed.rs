//! The stages that a run is about.

use std::collections::BTreeSet;

use super::error::RunError;
use crate::graph::{Input, Pipeline};

/// The stages wanted and all that they need, in the pipeline's topological order.
pub(crate) fn needed(pipeline: &Pipeline, targets: &[String]) -> Result<Vec<usize>, RunError> {
    if targets.is_empty() {
        return Ok(pipeline.order.clone());
    }
    let mut wanted = BTreeSet::new();
    let mut open = Vec::new();
    for name in targets {
        open.extend(pipeline.stages_named(name)?);
    }
    while let Some(index) = open.pop() {
        if wanted.insert(index) {
            open.extend(pipeline.stages[index].inputs.values().flat_map(Input::stages));
        }
    }
    Ok(pipeline.order.iter().copied().filter(|index| wanted.contains(index)).collect())
}
