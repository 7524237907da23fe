//! The config of a stage of a built-in kind.

use std::sync::Arc;

use super::{
    complaint::{Complaint, Report},
    declaration::Schemas,
    node::{Node, Tree},
};
use crate::{
    base::span::Span,
    stage::kind::{Fault, Kind},
};

/// The config `node` of a stage of a built-in kind in canonical form. `place`: where the stage is declared.
pub(super) fn config(
    kind: &Arc<dyn Kind>,
    node: Option<&Node<'_>>,
    place: Span,
    schemas: &Schemas,
    report: &mut Report,
) -> Option<serde_json::Value> {
    let checked = schemas.of(kind.as_ref()).check(node, place, report)?;
    match kind.canonical(checked) {
        Ok(config) => Some(config),
        Err(faults) => {
            for fault in faults {
                report.push(complaint(fault, node, place));
            }
            None
        }
    }
}

/// A fault that the kind found, at the place that its path leads to.
fn complaint(fault: Fault, config: Option<&Node<'_>>, place: Span) -> Complaint {
    let mut node = config;
    let mut span = node.filter(|node| !node.is_null()).map_or(place, |node| node.span);
    for key in &fault.path {
        let next = match node.map(|node| &node.tree) {
            Some(Tree::Mapping(entries)) => {
                entries.iter().find(|entry| entry.key.name == *key).map(|entry| &entry.value)
            }
            Some(Tree::Sequence(items)) => key.parse().ok().and_then(|i: usize| items.get(i)),
            _ => None,
        };
        let Some(next) = next else { break };
        span = next.span;
        node = Some(next);
    }
    let name = fault.path.join(".");
    // A kind that names the key itself isn't made to say it twice.
    let message = if name.is_empty() || fault.message.contains(&format!("`{name}`")) {
        fault.message
    } else {
        format!("`{name}`: {}", fault.message)
    };
    let complaint = Complaint::new(span, message);
    match fault.help {
        Some(help) => complaint.help(help),
        None => complaint,
    }
}
