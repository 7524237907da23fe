//! The inputs of a stage: which output or which file each of them is.

use std::collections::HashMap;

use super::{
    complaint::{Complaint, Report},
    declaration::{Context, Declaration, Declared},
    node::{Entry, Node, Tree},
    reference::{Malformed, Reference, Selector},
    select, spans,
    user_path::Refusal,
};
use crate::{
    artifact::format::ArtifactType,
    base::span::Span,
    graph::{
        self, Input,
        name::{self, is_name},
    },
    stage::kind::InputPort,
};

/// How an input is written, for messages.
const FORMS: &str = "a stage, `stage.output` or `{ file: PATH }`";

/// The inputs of a stage.
#[derive(Default)]
pub(super) struct Resolved {
    /// Those that are sound, as written.
    pub(super) inputs: Vec<(String, Given)>,
    /// The stages that it needs and where it says so.
    pub(super) needs: Vec<(usize, Span)>,
}

/// What an input is, as far as it is known before the stages of matrices are.
#[derive(Debug)]
pub(super) enum Given {
    /// A file: the same for all combinations.
    File(Input),
    /// An output of another stage.
    Output(Used),
}

/// A use of an output.
#[derive(Debug)]
pub(super) struct Used {
    /// The number of the stage among those declared.
    pub(super) stage: usize,
    pub(super) output: String,
    /// Which of the stage's combinations; the one that goes with the user's own where there is nothing in brackets.
    pub(super) selector: Option<Selector>,
    /// Where it is written.
    pub(super) place: Span,
}

/// Looks up the inputs of `declaration` among all stages.
pub(super) fn resolve(
    declaration: &Declaration<'_>,
    stages: &[Declaration<'_>],
    index: &HashMap<&str, usize>,
    context: &Context<'_>,
    report: &mut Report,
) -> Resolved {
    let mut resolved = Resolved::default();
    let node = declaration.fields.get("inputs").map(|entry| &entry.value);
    let entries: &[Entry<'_>] = match node {
        None => &[],
        Some(node) => match &node.tree {
            Tree::Mapping(entries) => entries,
            Tree::Broken => return resolved,
            _ if node.is_null() => &[],
            _ => {
                let message = format!(
                    "`inputs` must be a mapping from names to inputs, but is {}",
                    node.describe()
                );
                report
                    .push(Complaint::new(node.span, message).help(format!("an input is {FORMS}")));
                return resolved;
            }
        },
    };
    let lookup = Lookup { stages, index, context };
    for Entry { key, value } in entries {
        let want = match &declaration.kind {
            Declared::Kind(kind) => {
                let ports = kind.inputs();
                let port = port_of(ports, &key.name);
                if port.is_none() {
                    refuse_name(key.name.as_ref(), key.span, kind.name(), ports, report);
                } else if !is_name(&key.name) {
                    refuse_spelling(&key.name, key.span, report);
                }
                port.map_or(Want::Unknown, |port| Want::Port(port, &key.name))
            }
            Declared::Select => {
                let port = select::PORTS.iter().find(|port| port.name == key.name);
                if port.is_none() {
                    refuse_name(
                        key.name.as_ref(),
                        key.span,
                        graph::select::KIND,
                        &select::PORTS,
                        report,
                    );
                }
                port.map_or(Want::Unknown, Want::All)
            }
            Declared::Command(_) if !is_name(&key.name) => {
                refuse_spelling(&key.name, key.span, report);
                Want::Anything
            }
            Declared::Command(_) => Want::Anything,
            Declared::Unknown => Want::Unknown,
        };
        let input = lookup.input(value, want, report);
        if let Some((stage, _)) = &input.stage {
            resolved.needs.push((*stage, value.span));
        }
        if let Some(found) = input.found {
            resolved.inputs.push((key.name.to_string(), found));
        }
    }
    let ports = match &declaration.kind {
        Declared::Kind(kind) => Some((kind.name(), kind.inputs())),
        Declared::Select => Some((graph::select::KIND, select::PORTS.as_slice())),
        Declared::Command(_) | Declared::Unknown => None,
    };
    if let Some((kind, ports)) = ports {
        let given = |port: &InputPort| {
            entries.iter().any(|entry| port_of(ports, &entry.key.name) == Some(port))
        };
        let lacking: Vec<&InputPort> =
            ports.iter().filter(|port| port.required && !given(port)).collect();
        let names: Vec<String> = lacking.iter().map(|port| format!("`{}`", port.name)).collect();
        let (word, help) = match lacking.as_slice() {
            [] => return resolved,
            [port] if port.name == InputPort::ANY => {
                let message =
                    format!("the stage `{}` lacks a `{}`", declaration.name, port.artifact);
                let help = format!("`{kind}` takes one or more, under any names: {}", port.about);
                report.push(Complaint::new(declaration.place, message).help(help));
                return resolved;
            }
            [port] => ("input", format!("`{}` ({}): {}", port.name, port.artifact, port.about)),
            _ => ("inputs", format!("`pipe stages {kind}` tells what they are")),
        };
        let message =
            format!("the stage `{}` lacks its {word} {}", declaration.name, names.join(", "));
        let span = match node {
            Some(node) if !entries.is_empty() => node.span,
            _ => declaration.place,
        };
        report.push(Complaint::new(span, message).help(help));
    }
    resolved
}

/// The port that takes the input called `name`.
fn port_of<'p>(ports: &'p [InputPort], name: &str) -> Option<&'p InputPort> {
    let called = |wanted: &str| ports.iter().find(|port| port.name == wanted);
    called(name).or_else(|| called(InputPort::ANY))
}

fn refuse_spelling(name: &str, span: Span, report: &mut Report) {
    let message = format!("`{name}` is no name for an input");
    report.push(Complaint::new(span, message).help(name::RULE));
}

fn refuse_name(name: &str, span: Span, kind: &str, ports: &[InputPort], report: &mut Report) {
    let complaint = Complaint::new(span, format!("`{kind}` has no input `{name}`"));
    let meant = report.meant(name, ports.iter().map(|port| port.name));
    report.push(complaint.suggest(meant, || {
        let names: Vec<&str> = ports.iter().map(|port| port.name).collect();
        if names.is_empty() {
            format!("`{kind}` has no inputs")
        } else {
            format!("its inputs are {}", names.join(", "))
        }
    }));
}

/// Complains that `port`, which takes all combinations, is given `what`.
fn refuse_one(port: &InputPort, what: &str, span: Span, report: &mut Report) {
    let message =
        format!("`{}` takes an output of all combinations of a stage, not {what}", port.name);
    report.push(Complaint::new(span, message).help("write `stage.output[*]`"));
}

struct Lookup<'c, 'a> {
    stages: &'c [Declaration<'a>],
    index: &'c HashMap<&'c str, usize>,
    context: &'c Context<'c>,
}

/// What an input should be.
#[derive(Clone, Copy)]
enum Want<'p> {
    /// What the port takes, under this name.
    Port(&'p InputPort, &'p str),
    /// All combinations of a stage.
    All(&'p InputPort),
    Anything,
    /// It was complained about.
    Unknown,
}

impl Want<'_> {
    fn accepts(self, artifact: ArtifactType) -> bool {
        match self {
            Self::Port(port, _) => artifact.fits(port.artifact),
            Self::All(_) | Self::Anything | Self::Unknown => true,
        }
    }
}

/// What an input turned out to be.
#[derive(Default)]
struct Found {
    found: Option<Given>,
    /// The stage that it names, even if the output is wrong.
    stage: Option<(usize, Span)>,
}

impl Lookup<'_, '_> {
    fn input(&self, node: &Node<'_>, want: Want<'_>, report: &mut Report) -> Found {
        if let Tree::Mapping(entries) = &node.tree {
            if let Want::All(port) = want {
                refuse_one(port, "a file", node.span, report);
                return Found::default();
            }
            let found = self.file(node, entries, report).map(Given::File);
            return Found { found, stage: None };
        }
        if let Some(text) = node.text() {
            return self.output(node, text, want, report);
        }
        if !node.is_broken() {
            let message = format!("an input must be {FORMS}, but is {}", node.describe());
            report.push(Complaint::new(node.span, message));
        }
        Found::default()
    }

    fn file(&self, node: &Node<'_>, entries: &[Entry<'_>], report: &mut Report) -> Option<Input> {
        for entry in entries.iter().filter(|entry| entry.key.name != "file") {
            let complaint =
                Complaint::new(entry.key.span, format!("unknown key `{}`", entry.key.name));
            report.push(complaint.help(format!("an input is {FORMS}")));
        }
        let Some(Entry { value, .. }) = node.get("file") else {
            if entries.is_empty() {
                let message = format!("an input must be {FORMS}, but is empty");
                report.push(Complaint::new(node.span, message));
            }
            return None;
        };
        if value.is_broken() {
            return None;
        }
        let written = match value.text() {
            Some(text) if !text.is_empty() => text,
            _ => {
                let message = format!("`file` must be a path, but is {}", value.describe());
                let complaint = Complaint::new(value.span, message);
                report.push(match value.origin {
                    Some(origin) => complaint.label(origin, "the value comes from here"),
                    None => complaint,
                });
                return None;
            }
        };
        let (path, scope) = match self.context.paths.look_up(written) {
            Ok(found) => found,
            Err(Refusal { message, help }) => {
                let mut complaint = Complaint::new(value.span, message);
                if let Some(origin) = value.origin {
                    complaint = complaint.label(origin, "the value comes from here");
                }
                report.push(match help {
                    Some(help) => complaint.help(help),
                    None => complaint,
                });
                return None;
            }
        };
        (entries.len() == 1).then(|| Input::File {
            path,
            written: written.to_owned(),
            place: value.span,
            scope,
        })
    }

    fn output(&self, node: &Node<'_>, text: &str, want: Want<'_>, report: &mut Report) -> Found {
        let sources = self.context.sources;
        let reference = match Reference::parse(text) {
            Ok(reference) => reference,
            Err(Malformed { at, fault }) => {
                report.push(Complaint::new(spans::of(node, at, sources), fault).help(
                    "all combinations are `stage.output[*]`, one is `stage.output[AXIS=VALUE,…]`",
                ));
                return Found::default();
            }
        };
        let stage_name = reference.stage;
        let Some(&stage) = self.index.get(stage_name) else {
            let span = spans::of(node, 0..stage_name.len(), sources);
            let looks_like_a_path = text.contains('/') || self.context.root.join(text).is_file();
            let complaint = Complaint::new(span, format!("no stage is called `{stage_name}`"));
            report.push(if looks_like_a_path {
                complaint.help(format!("a file is given as `{{ file: {text} }}`"))
            } else {
                let meant =
                    report.meant(stage_name, self.stages.iter().map(|stage| stage.name.as_str()));
                complaint.suggest(meant, || format!("an input is {FORMS}"))
            });
            return Found::default();
        };
        let output = self.named(stage, &reference, node, want, report);
        let found = output.filter(|_| self.fits(stage, &reference, node, want, report));
        let used = |output| Used {
            stage,
            output,
            selector: reference.selector.clone(),
            place: spans::of(node, 0..text.len(), sources),
        };
        Found { found: found.map(used).map(Given::Output), stage: Some((stage, node.span)) }
    }

    /// Whether as many combinations are referred to as are wanted.
    fn fits(
        &self,
        stage: usize,
        reference: &Reference<'_>,
        node: &Node<'_>,
        want: Want<'_>,
        report: &mut Report,
    ) -> bool {
        let all = reference.selector == Some(Selector::All);
        match want {
            Want::All(port) if !all => {
                refuse_one(port, "one output", node.span, report);
                false
            }
            Want::Port(port, called) if all && port.artifact != ArtifactType::ANY => {
                let message = format!(
                    "`{called}` takes one `{}`, not those of all combinations",
                    port.artifact
                );
                let name = &self.stages[stage].name;
                let place = spans::of(node, reference.selector_at.clone(), self.context.sources);
                report.push(Complaint::new(place, message).help(format!(
                    "without `[*]`, the stage runs for each combination of `{name}`; `[AXIS=VALUE,…]` names one"
                )));
                false
            }
            _ => true,
        }
    }

    /// The output `name` of `stage`, or the one that fits.
    fn named(
        &self,
        stage: usize,
        reference: &Reference<'_>,
        node: &Node<'_>,
        want: Want<'_>,
        report: &mut Report,
    ) -> Option<String> {
        let stage_name = &self.stages[stage].name;
        let outputs = self.stages[stage].outputs(self.stages)?;
        let listed = || {
            let listed: Vec<String> = outputs
                .iter()
                .map(|(name, artifact)| match *artifact {
                    ArtifactType::ANY => format!("`{stage_name}.{name}`"),
                    artifact => format!("`{stage_name}.{name}` ({artifact})"),
                })
                .collect();
            listed.join(", ")
        };
        let (output, artifact) = if let Some(name) = reference.output {
            if let Some(found) = outputs.iter().find(|(output, _)| *output == name) {
                *found
            } else {
                let span = spans::of(node, reference.output_at.clone(), self.context.sources);
                let complaint =
                    Complaint::new(span, format!("`{stage_name}` has no output `{name}`"));
                let meant = report.meant(name, outputs.iter().map(|(output, _)| *output));
                report.push(complaint.suggest(meant, || match outputs.len() {
                    0 => format!("`{stage_name}` has no outputs"),
                    _ => format!("its outputs are {}", listed()),
                }));
                return None;
            }
        } else {
            let fitting: Vec<_> =
                outputs.iter().filter(|(_, artifact)| want.accepts(*artifact)).collect();
            match (outputs.as_slice(), fitting.as_slice()) {
                ([only], _) => *only,
                (_, [only]) => **only,
                ([], _) => {
                    let message = format!("`{stage_name}` has no outputs");
                    report.push(Complaint::new(node.span, message));
                    return None;
                }
                _ if matches!(want, Want::Unknown) => return None,
                (_, fitting) => {
                    let message = match want {
                        Want::Port(port, called) if fitting.is_empty() => format!(
                            "no output of `{stage_name}` is of type `{}`, which `{called}` needs",
                            port.artifact
                        ),
                        _ => format!("`{stage_name}` has several outputs"),
                    };
                    let help = format!("name one: {}", listed());
                    report.push(Complaint::new(node.span, message).help(help));
                    return None;
                }
            }
        };
        if let Want::Port(port, called) = want
            && !artifact.fits(port.artifact)
        {
            let message = format!(
                "`{called}` must be of type `{}`, but `{stage_name}.{output}` is `{artifact}`",
                port.artifact
            );
            let fitting: Vec<&str> = outputs
                .iter()
                .filter(|(_, artifact)| want.accepts(*artifact))
                .map(|(name, _)| *name)
                .collect();
            let complaint = Complaint::new(node.span, message);
            report.push(match fitting.as_slice() {
                [] => complaint.help(format!("`{called}`: {}", port.about)),
                [first, ..] => complaint.help(format!("did you mean `{stage_name}.{first}`?")),
            });
            return None;
        }
        Some(output.to_owned())
    }
}
