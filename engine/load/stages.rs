//! The stages as they are declared, made into the nodes of a graph.

use std::collections::HashMap;

use super::{
    complaint::{Complaint, Report},
    declaration::{Context, Declaration, Schemas},
    expand, inputs,
    node::Entry,
    overrides::Selected,
};
use crate::graph::{StageNode, order};

/// Checks the stages and puts them in order. `None` if there was a complaint.
pub(super) fn build<'a>(
    entries: Vec<Entry<'a>>,
    mut selected: HashMap<usize, Vec<Selected<'a>>>,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<(Vec<StageNode>, Vec<usize>)> {
    let schemas = Schemas::default();
    let declarations: Vec<Declaration<'_>> = entries
        .into_iter()
        .enumerate()
        .map(|(i, entry)| {
            let selected = selected.remove(&i).unwrap_or_default();
            Declaration::read(entry, selected, context, &schemas, report)
        })
        .collect();
    let index: HashMap<&str, usize> =
        declarations.iter().enumerate().map(|(i, stage)| (stage.name.as_str(), i)).collect();
    let mut resolved = Vec::with_capacity(declarations.len());
    let mut needs = Vec::with_capacity(declarations.len());
    for declaration in &declarations {
        let found = inputs::resolve(declaration, &declarations, &index, context, report);
        needs.push(found.needs);
        resolved.push(found.inputs);
    }
    let edges: Vec<Vec<usize>> =
        needs.iter().map(|needs| needs.iter().map(|(stage, _)| *stage).collect()).collect();
    let sorted = order::sort(&edges);
    for round in &sorted.loops {
        let name = |i: usize| declarations[i].name.as_str();
        let chain: Vec<&str> = round.iter().chain(round.first()).map(|&i| name(i)).collect();
        let mut places = (0..round.len()).filter_map(|i| {
            let (from, to) = (round[i], round[(i + 1) % round.len()]);
            let (_, span) = needs[to].iter().find(|(stage, _)| *stage == from)?;
            Some((*span, format!("`{}` needs `{}`", name(to), name(from))))
        });
        if let Some((span, text)) = places.next() {
            let message = format!("the stages form a cycle: {}", chain.join(" → "));
            let complaint = Complaint::new(span, message).here(text);
            report.push(
                places.fold(complaint, |complaint, (span, text)| complaint.label(span, text)),
            );
        }
    }
    expand::stages(
        &expand::Declarations {
            stages: &declarations,
            inputs: &resolved,
            order: &sorted.order,
            context,
        },
        &schemas,
        report,
    )
}
