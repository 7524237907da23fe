//! What a choice's fingerprint depends on besides its inputs.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::graph::{CANDIDATES, Input, Member, Select};

/// Raised when what a choice's declaration means changes.
pub(crate) const REVISION: u32 = 1;
/// What a choice's fingerprint depends on besides its inputs. Their names have the combinations in them; what they don't
/// tell is the order, by which the first of equals is chosen.
pub(crate) fn canonical(select: &Select, inputs: &BTreeMap<String, Input>) -> Value {
    let labels: Vec<String> =
        members(inputs).iter().map(|member| member.combination.to_string()).collect();
    let mut sorted: Vec<&String> = labels.iter().collect();
    sorted.sort_unstable();
    let order: Vec<usize> =
        labels.iter().map(|label| sorted.partition_point(|other| *other < label)).collect();
    json!({
        "metric": select.metric,
        "goal": select.goal.word(),
        "file": select.file,
        "order": order,
    })
}

/// The combinations among which `inputs` let choose, in order.
pub(crate) fn members(inputs: &BTreeMap<String, Input>) -> &[Member] {
    match inputs.get(CANDIDATES) {
        Some(Input::Gathered { members, .. }) => members,
        _ => &[],
    }
}
