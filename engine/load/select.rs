//! `kind: select`: the best of a matrix's combinations, as it is declared.

use super::{
    complaint::{Complaint, Report},
    declaration::{Declaration, Declared},
    node::Node,
    reference::Reference,
};
use crate::{
    artifact::format::ArtifactType,
    graph::{CANDIDATES, Goal, METRICS, Select, combination::Combination, select::KIND},
    stage::kind::InputPort,
};

/// The keys that only this kind has.
pub(super) const KEYS: [&str; 3] = ["metric", "goal", "file"];
pub(super) const PORTS: [InputPort; 2] = [
    InputPort::required(CANDIDATES, ArtifactType::ANY, "what to choose from: `stage.output[*]`"),
    InputPort::required(
        METRICS,
        ArtifactType::ANY,
        "a JSON document for each candidate: `stage.output[*]`",
    ),
];

/// What the candidates of a choice are: the type of the output that its input refers to, as far as that is known.
pub(super) fn artifact(declaration: &Declaration<'_>, stages: &[Declaration<'_>]) -> ArtifactType {
    let inputs = declaration.fields.get("inputs").map(|entry| &entry.value);
    let text = inputs.and_then(|inputs| inputs.get(CANDIDATES)?.value.text());
    let reference = text.and_then(|text| Reference::parse(text).ok());
    let found = reference.and_then(|reference| {
        let stage = stages.iter().find(|stage| stage.name == reference.stage)?;
        // A choice has no combinations, so there is nothing to choose from in one.
        if matches!(stage.kind, Declared::Select) {
            return None;
        }
        let outputs = stage.outputs(stages)?;
        match (reference.output, outputs.as_slice()) {
            (Some(name), outputs) => outputs.iter().find(|(output, _)| *output == name).copied(),
            (None, [only]) => Some(*only),
            (None, _) => None,
        }
    });
    found.map_or(ArtifactType::ANY, |(_, artifact)| artifact)
}

/// Reads the keys of a choice.
pub(super) fn read(
    declaration: &Declaration<'_>,
    stages: &[Declaration<'_>],
    report: &mut Report,
) -> Option<Select> {
    let fields = &declaration.fields;
    let node = |key: &str| fields.given(key).map(|entry| &entry.value);
    let mut sound = true;
    for key in ["config", "matrix"] {
        if let Some(entry) = fields.given(key) {
            let message = format!("`{key}` does not belong to `kind: {KIND}`");
            let help = format!("its keys are inputs, {}", KEYS.join(", "));
            report.push(Complaint::new(entry.key.span, message).help(help));
            sound = false;
        }
    }
    let mut text = |key: &str, wanted: &str, node: &Node<'_>| {
        if node.text().is_none() && !node.is_broken() {
            let message = format!("`{key}` must be {wanted}, but is {}", node.describe());
            report.push(Complaint::new(node.span, message));
        }
        sound &= node.text().is_some();
        node.text().map(str::to_owned)
    };
    let file = node("file").and_then(|node| text("file", "the name of a file", node));
    let wanted = "the keys that lead to a number";
    let metric = node("metric").and_then(|node| text("metric", wanted, node));
    let goal = node("goal").and_then(|node| match text("goal", "`max` or `min`", node)?.as_str() {
        "max" => Some(Goal::Max),
        "min" => Some(Goal::Min),
        _ => None,
    });
    for (key, help) in [
        (
            "metric",
            "name the number by which to choose, with dots between its keys: `metric: f1.value`",
        ),
        (
            "goal",
            "say whether the largest metric is best or the smallest: `goal: max` or `goal: min`",
        ),
    ] {
        if node(key).is_none() {
            let message = format!("the stage `{}` has no `{key}`", declaration.name);
            report.push(Complaint::new(declaration.place, message).help(help));
        }
    }
    if let (None, Some(node)) = (goal, node("goal").filter(|node| node.text().is_some())) {
        let message = format!("`goal` must be `max` or `min`, but is {}", node.describe());
        report.push(Complaint::new(node.span, message));
    }
    let artifact = artifact(declaration, stages);
    sound.then_some(Select { metric: metric?, goal: goal?, file, artifact })
}

/// Whether two stages have the same combinations, in whichever order.
pub(super) fn same(candidates: &[Combination], metrics: &[Combination]) -> bool {
    candidates.len() == metrics.len()
        && candidates.iter().all(|one| metrics.iter().any(|other| one.is(other)))
}
