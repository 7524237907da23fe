//! What a stage is declared to be: its name, its kind and its outputs.

use std::sync::Arc;

use super::{
    command,
    complaint::{Complaint, Report},
    declaration::{Context, Declaration, Declared, Fields, Schemas},
    matrix,
    node::{Entry, Node, Tree},
    overrides::Selected,
    select,
};
use crate::{
    artifact::format::ArtifactType,
    base::span::Span,
    graph::{
        self,
        name::{self, is_name},
    },
};

/// The kind of a stage that runs a program.
const COMMAND: &str = "command";
const KEYS: [&str; 14] = [
    "kind", "inputs", "config", "matrix", "for_each", "run", "outputs", "files", "env", "secrets",
    "shell", "metric", "goal", "file",
];

/// The keys that only a command has.
const ONLY_COMMAND: [&str; 7] = ["for_each", "run", "outputs", "files", "env", "secrets", "shell"];

impl<'a> Declaration<'a> {
    pub(super) fn read(
        entry: Entry<'a>,
        selected: Vec<Selected<'a>>,
        context: &Context<'_>,
        schemas: &Schemas,
        report: &mut Report,
    ) -> Self {
        let Entry { key, value } = entry;
        if !is_name(&key.name) {
            let message = format!("`{}` is no name for a stage", key.name);
            report.push(Complaint::new(key.span, message).help(name::RULE));
        }
        let name = key.name.into_owned();
        let place = key.span;
        let described = value.describe();
        let null = value.is_null();
        let mut unreadable = value.is_broken();
        let mut fields = Fields::default();
        match value.tree {
            Tree::Mapping(entries) => fields = Fields(entries),
            _ if null || unreadable => {}
            _ => {
                unreadable = true;
                let message = format!("the stage `{name}` must be a mapping, but is {described}");
                let help = format!("its keys are {}", KEYS.join(", "));
                report.push(Complaint::new(value.span, message).help(help));
            }
        }
        let kind = if unreadable {
            Declared::Unknown
        } else {
            kind(&name, place, &fields, context, report)
        };
        for Entry { key, .. } in &fields.0 {
            if KEYS.contains(&key.name.as_ref()) {
                continue;
            }
            let complaint = Complaint::new(key.span, format!("unknown key `{}`", key.name));
            let in_config = match &kind {
                Declared::Kind(kind) => schemas.of(kind.as_ref()).has(&key.name),
                _ => false,
            };
            report.push(if in_config {
                complaint
                    .help(format!("`{0}` is a key of the config: `config: {{ {0}: … }}`", key.name))
            } else {
                complaint.suggest(report.meant(&key.name, KEYS), || {
                    format!("the keys of a stage are {}", KEYS.join(", "))
                })
            });
        }
        let axes = matrix::read(&fields, report);
        Self { name, place, kind, fields, axes, selected }
    }

    /// The names and types of the outputs; `None` if they aren't known because of a complaint.
    pub(super) fn outputs(&self, stages: &[Self]) -> Option<Vec<(&str, ArtifactType)>> {
        match &self.kind {
            Declared::Kind(kind) => {
                Some(kind.outputs().iter().map(|port| (port.name, port.artifact)).collect())
            }
            Declared::Command(outputs) => {
                let outputs = outputs.as_ref()?.iter();
                Some(outputs.map(|name| (name.as_str(), ArtifactType::ANY)).collect())
            }
            Declared::Select => Some(graph::select::outputs(select::artifact(self, stages)).into()),
            Declared::Unknown => None,
        }
    }
}

/// The kind that a stage is declared to be, by its key or by its name.
fn kind(
    name: &str,
    place: Span,
    fields: &Fields<'_>,
    context: &Context<'_>,
    report: &mut Report,
) -> Declared {
    let written = fields.given("kind").map(|entry| &entry.value);
    if written.is_some_and(Node::is_broken) {
        return Declared::Unknown;
    }
    let (wanted, span) = match written {
        None => (name, place),
        Some(node) => {
            let Some(text) = node.text() else {
                let message =
                    format!("`kind` must be the name of a kind, but is {}", node.describe());
                report.push(Complaint::new(node.span, message));
                return Declared::Unknown;
            };
            (text, node.span)
        }
    };
    let foreign = |keys: &[&str], owner: &str, report: &mut Report| {
        for Entry { key, .. } in keys.iter().filter_map(|key| fields.get(key)) {
            let message =
                format!("`{}` belongs to `kind: {owner}`, but this is `{wanted}`", key.name);
            report.push(Complaint::new(key.span, message));
        }
    };
    if let Some(kind) = context.registry.get(wanted) {
        foreign(&ONLY_COMMAND, COMMAND, report);
        foreign(&select::KEYS, graph::select::KIND, report);
        return Declared::Kind(Arc::clone(kind));
    }
    if wanted == COMMAND {
        foreign(&select::KEYS, graph::select::KIND, report);
        return Declared::Command(command::outputs(name, place, fields, report));
    }
    if wanted == graph::select::KIND {
        foreign(&ONLY_COMMAND, COMMAND, report);
        return Declared::Select;
    }
    if written.is_none() && fields.get("run").is_some() {
        report.push(
            Complaint::new(place, format!("the stage `{name}` has no `kind`"))
                .help(format!("a stage that runs a program says `kind: {COMMAND}`")),
        );
        return Declared::Unknown;
    }
    let kinds =
        || context.registry.iter().map(|kind| kind.name()).chain([COMMAND, graph::select::KIND]);
    let message = if written.is_some() {
        format!("no kind is called `{wanted}`")
    } else {
        format!("the stage `{name}` has no `kind`, and no kind is called `{name}`")
    };
    report.push(Complaint::new(span, message).suggest(report.meant(wanted, kinds()), || {
        format!("the kinds are {}", kinds().collect::<Vec<_>>().join(", "))
    }));
    Declared::Unknown
}
