//! The inputs of a stage: which output or which file each of them is.

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use super::{
    Input, Span,
    complaint::{Complaint, Report},
    name::{self, is_name},
    node::{Entry, Node, Tree},
    place,
    stages::{Context, Declaration, Declared},
};
use crate::stage::{ArtifactType, InputPort};

/// How an input is written, for messages.
const FORMS: &str = "a stage, `stage.output` or `{ file: PATH }`";

/// The inputs of a stage.
#[derive(Default)]
pub(super) struct Resolved {
    /// Those that are sound.
    pub(super) inputs: BTreeMap<String, Input>,
    /// The stages that it needs and where it says so.
    pub(super) needs: Vec<(usize, Span)>,
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
                let port = ports.iter().find(|port| port.name == key.name);
                if port.is_none() {
                    refuse_name(key.name.as_ref(), key.span, kind.name(), ports, report);
                }
                port.map_or(Want::Unknown, Want::Port)
            }
            Declared::Command(_) if !is_name(&key.name) => {
                let message = format!("`{}` is no name for an input", key.name);
                report.push(Complaint::new(key.span, message).help(name::RULE));
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
            resolved.inputs.insert(key.name.to_string(), found);
        }
    }
    if let Declared::Kind(kind) = &declaration.kind {
        let given = |name: &str| entries.iter().any(|entry| entry.key.name == name);
        let lacking: Vec<&InputPort> =
            kind.inputs().iter().filter(|port| port.required && !given(port.name)).collect();
        let names: Vec<String> = lacking.iter().map(|port| format!("`{}`", port.name)).collect();
        let (word, help) = match lacking.as_slice() {
            [] => return resolved,
            [port] => ("input", format!("`{}` ({}): {}", port.name, port.artifact, port.about)),
            _ => ("inputs", format!("`pipe stages {}` tells what they are", kind.name())),
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

struct Lookup<'c, 'a> {
    stages: &'c [Declaration<'a>],
    index: &'c HashMap<&'c str, usize>,
    context: &'c Context<'c>,
}

/// What an input should be.
#[derive(Clone, Copy)]
enum Want<'p> {
    Port(&'p InputPort),
    Anything,
    /// It was complained about.
    Unknown,
}

impl Want<'_> {
    fn accepts(self, artifact: ArtifactType) -> bool {
        match self {
            Self::Port(port) => artifact.fits(port.artifact),
            Self::Anything | Self::Unknown => true,
        }
    }
}

/// What an input turned out to be.
#[derive(Default)]
struct Found {
    found: Option<Input>,
    /// The stage that it names, even if the output is wrong.
    stage: Option<(usize, Span)>,
}

impl Lookup<'_, '_> {
    fn input(&self, node: &Node<'_>, want: Want<'_>, report: &mut Report) -> Found {
        if let Tree::Mapping(entries) = &node.tree {
            return Found { found: self.file(node, entries, report), stage: None };
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
        let path = self.context.root.join(written);
        if let Err(error) = path.metadata() {
            let message = match error.kind() {
                io::ErrorKind::NotFound => format!("there is no file or folder `{written}`"),
                _ => format!("failed to look at `{written}`: {error}"),
            };
            let mut complaint = Complaint::new(value.span, message);
            if let Some(origin) = value.origin {
                complaint = complaint.label(origin, "the value comes from here");
            }
            if path.as_os_str() != written {
                complaint = complaint.help(format!("it was looked for at {}", path.display()));
            }
            report.push(complaint);
            return None;
        }
        (entries.len() == 1).then(|| Input::File {
            path,
            written: written.to_owned(),
            place: value.span,
        })
    }

    fn output(&self, node: &Node<'_>, text: &str, want: Want<'_>, report: &mut Report) -> Found {
        let (stage_name, output_name) = match text.split_once('.') {
            Some((stage, output)) => (stage, Some(output)),
            None => (text, None),
        };
        let sources = self.context.sources;
        let Some(&stage) = self.index.get(stage_name) else {
            let span = place::of(node, 0..stage_name.len(), sources);
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
        let found = self.named(stage, output_name, node, text, want, report);
        Found { found, stage: Some((stage, node.span)) }
    }

    /// The output `name` of `stage`, or the one that fits.
    fn named(
        &self,
        stage: usize,
        name: Option<&str>,
        node: &Node<'_>,
        text: &str,
        want: Want<'_>,
        report: &mut Report,
    ) -> Option<Input> {
        let stage_name = &self.stages[stage].name;
        let outputs = self.stages[stage].outputs()?;
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
        let (output, artifact) = if let Some(name) = name {
            if let Some(found) = outputs.iter().find(|(output, _)| *output == name) {
                *found
            } else {
                let span = place::of(node, stage_name.len() + 1..text.len(), self.context.sources);
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
                        Want::Port(port) if fitting.is_empty() => format!(
                            "no output of `{stage_name}` is of type `{}`, which `{}` needs",
                            port.artifact, port.name
                        ),
                        _ => format!("`{stage_name}` has several outputs"),
                    };
                    let help = format!("name one: {}", listed());
                    report.push(Complaint::new(node.span, message).help(help));
                    return None;
                }
            }
        };
        if let Want::Port(port) = want
            && !artifact.fits(port.artifact)
        {
            let message = format!(
                "`{}` must be of type `{}`, but `{stage_name}.{output}` is `{artifact}`",
                port.name, port.artifact
            );
            let fitting: Vec<&str> = outputs
                .iter()
                .filter(|(_, artifact)| want.accepts(*artifact))
                .map(|(name, _)| *name)
                .collect();
            let complaint = Complaint::new(node.span, message);
            report.push(match fitting.as_slice() {
                [] => complaint.help(format!("`{}`: {}", port.name, port.about)),
                [first, ..] => complaint.help(format!("did you mean `{stage_name}.{first}`?")),
            });
            return None;
        }
        Some(Input::Output { stage, output: output.to_owned() })
    }
}
