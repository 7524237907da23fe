//! The stages as they are declared, made into the nodes of a graph.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    command,
    complaint::{Complaint, Report},
    expand, inputs,
    matrix::{self, Axis},
    node::{Entry, Node, Tree},
    overrides::Selected,
    schema::Schema,
    select,
    user_path::UserPaths,
};
use crate::{
    artifact::format::ArtifactType,
    base::span::{Source, Span},
    graph::{
        self, StageNode,
        name::{self, is_name},
        order,
    },
    stage::{
        kind::{Fault, Kind},
        registry::Registry,
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

/// What a stage is checked against.
pub(super) struct Context<'a> {
    pub(super) registry: &'a Registry,
    /// Where relative paths start.
    pub(super) root: &'a Path,
    pub(super) sources: &'a [Source],
    pub(super) paths: UserPaths,
}

/// A stage whose name, kind and outputs are known, and the rest is not yet looked at.
pub(super) struct Declaration<'a> {
    pub(super) name: String,
    pub(super) place: Span,
    pub(super) kind: Declared,
    pub(super) fields: Fields<'a>,
    /// The axes of its own matrix; `None` if they were complained about.
    pub(super) axes: Option<Vec<Axis<'a>>>,
    /// What is overridden for some of its combinations.
    pub(super) selected: Vec<Selected<'a>>,
}

/// What a stage is declared to be.
pub(super) enum Declared {
    Kind(Arc<dyn Kind>),
    /// A program, and the names of its outputs; `None` if they were complained about.
    Command(Option<Vec<String>>),
    /// A choice among combinations.
    Select,
    /// Something that was complained about.
    Unknown,
}

/// The keys of a stage and their values.
#[derive(Default)]
pub(super) struct Fields<'a>(Vec<Entry<'a>>);

impl<'a> Fields<'a> {
    pub(super) fn get(&self, key: &str) -> Option<&Entry<'a>> {
        self.0.iter().find(|entry| entry.key.name == key)
    }

    /// The entry under `key`, if it isn't empty.
    pub(super) fn given(&self, key: &str) -> Option<&Entry<'a>> {
        self.get(key).filter(|entry| !entry.value.is_null())
    }
}

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
        &expand::Declared {
            stages: &declarations,
            inputs: &resolved,
            order: &sorted.order,
            context,
        },
        &schemas,
        report,
    )
}

/// The schemas of the kinds in use: each is made once.
#[derive(Default)]
pub(super) struct Schemas {
    known: Mutex<HashMap<&'static str, Arc<Schema>>>,
}

impl Schemas {
    fn of(&self, kind: &dyn Kind) -> Arc<Schema> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.entry(kind.name());
        Arc::clone(known.or_insert_with(|| Arc::new(Schema::new(kind.schema()))))
    }
}

impl<'a> Declaration<'a> {
    fn read(
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
