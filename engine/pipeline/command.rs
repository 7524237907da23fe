//! A stage of `kind: command` as it is declared: its program, outputs, files and variables.

use std::{
    collections::HashSet,
    io,
    path::{Component, Path},
};

use serde_json::Value;

use super::{
    Command, CommandFile, Span,
    command_line::{Scope, run},
    complaint::{Complaint, Report},
    name::{self, is_output_name},
    node::{Atom, Entry, Node, Tree},
    schema,
    stages::{Context, Declaration, Fields},
};

/// The names of the outputs of the command `stage`; `None` if there was a complaint.
pub(super) fn outputs(
    stage: &str,
    place: Span,
    fields: &Fields<'_>,
    report: &mut Report,
) -> Option<Vec<String>> {
    let Some(Entry { value, .. }) = fields.given("outputs") else {
        report.push(
            Complaint::new(place, format!("the command `{stage}` has no `outputs`")).help(
                "list what it makes: `outputs: [NAME, …]`, and use `{outputs.NAME}` in `run`",
            ),
        );
        return None;
    };
    let (names, mut sound) = texts(value, "outputs", "a list of names", report)?;
    for (name, node) in &names {
        if !is_output_name(name) {
            let message = format!("`{name}` is no name for an output");
            report.push(Complaint::new(node.span, message).help(name::OUTPUT_RULE));
            sound = false;
        }
    }
    if names.is_empty() && sound {
        report.push(Complaint::new(value.span, format!("the command `{stage}` has no `outputs`")));
        sound = false;
    }
    sound.then(|| names.into_iter().map(|(name, _)| name.to_owned()).collect())
}

/// Reads the declaration of a command whose `outputs` are known.
pub(super) fn read(
    declaration: &Declaration<'_>,
    outputs: Option<&[String]>,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Command> {
    let fields = &declaration.fields;
    let config = config(fields, report);
    let shell = shell(fields, report);
    let files = files(fields, context, report);
    let env = env(fields, report);
    let inputs = fields.get("inputs").map(|entry| &entry.value);
    let scope = Scope { config: config.as_ref(), inputs, outputs, context };
    let run = run(declaration, shell?, &scope, report);
    let (run, used) = run?;
    if let (Some(outputs), Some(Entry { value, .. })) = (outputs, fields.get("outputs")) {
        for (i, output) in outputs.iter().enumerate() {
            if !used.contains(output.as_str()) {
                let span = match &value.tree {
                    Tree::Sequence(items) => items.get(i).map_or(value.span, |item| item.span),
                    _ => value.span,
                };
                report.push(
                    Complaint::new(span, format!("nothing in `run` makes the output `{output}`"))
                        .help(format!(
                            "use `{{outputs.{output}}}`, the path at which it is to be made"
                        )),
                );
            }
        }
    }
    Some(Command { run, config: config?, outputs: outputs?.to_vec(), files: files?, env: env? })
}

/// The texts of the list under `key`, and whether each item is one that stands there once. `None` if it is no list.
fn texts<'n, 'a>(
    node: &'n Node<'a>,
    key: &str,
    wanted: &str,
    report: &mut Report,
) -> Option<(Vec<(&'n str, &'n Node<'a>)>, bool)> {
    let Tree::Sequence(items) = &node.tree else {
        if !node.is_broken() {
            let message = format!("`{key}` must be {wanted}, but is {}", node.describe());
            let complaint = Complaint::new(node.span, message);
            report.push(match node.text() {
                Some(text) => complaint.help(format!("write `[{text}]`")),
                None => complaint,
            });
        }
        return None;
    };
    let mut sound = true;
    let mut seen = HashSet::new();
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        match item.text() {
            Some(text) if !seen.insert(text) => {
                report.push(Complaint::new(item.span, format!("`{text}` stands in `{key}` twice")));
                sound = false;
            }
            Some(text) => texts.push((text, item)),
            None => {
                if !item.is_broken() {
                    let message =
                        format!("`{key}` must be {wanted}, but holds {}", item.describe());
                    report.push(Complaint::new(item.span, message));
                }
                sound = false;
            }
        }
    }
    Some((texts, sound))
}

fn config(fields: &Fields<'_>, report: &mut Report) -> Option<Value> {
    match fields.get("config") {
        Some(Entry { value, .. }) if !value.is_null() => match &value.tree {
            Tree::Mapping(_) => schema::free(value, report),
            Tree::Broken => None,
            _ => {
                let message = format!("`config` must be a mapping, but is {}", value.describe());
                report.push(Complaint::new(value.span, message));
                None
            }
        },
        _ => Some(Value::Object(serde_json::Map::new())),
    }
}

fn shell(fields: &Fields<'_>, report: &mut Report) -> Option<bool> {
    let Some(Entry { value, .. }) = fields.get("shell") else { return Some(false) };
    match value.atom() {
        Some(Atom::Bool(shell)) => Some(shell),
        _ if value.is_broken() => None,
        _ => {
            let message = format!("`shell` must be `true` or `false`, but is {}", value.describe());
            report.push(Complaint::new(value.span, message));
            None
        }
    }
}

fn env(fields: &Fields<'_>, report: &mut Report) -> Option<Vec<String>> {
    let Some(Entry { value, .. }) = fields.given("env") else {
        return Some(Vec::new());
    };
    let (names, mut sound) =
        texts(value, "env", "a list of names of environment variables", report)?;
    for (name, node) in &names {
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !plain || name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() {
            let complaint = Complaint::new(
                node.span,
                format!("`{name}` is no name of an environment variable"),
            );
            report.push(match name.split_once('=') {
                Some((name, _)) => complaint.help(format!("`env` lists names: write `{name}`")),
                None => complaint,
            });
            sound = false;
        }
    }
    let mut names: Vec<String> = names.into_iter().map(|(name, _)| name.to_owned()).collect();
    names.sort_unstable();
    sound.then_some(names)
}

fn files(
    fields: &Fields<'_>,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Vec<CommandFile>> {
    let Some(Entry { value, .. }) = fields.given("files") else {
        return Some(Vec::new());
    };
    let mut files: Vec<CommandFile> = Vec::new();
    let (paths, mut sound) = texts(value, "files", "a list of paths", report)?;
    for (written, node) in paths {
        let place = node.span;
        let refusal = match plain_path(written) {
            None => {
                let message = format!("`{written}` is no path within the pipeline's folder");
                Complaint::new(place, message).help(
                    "`files` stand at their own paths when the command runs: give a path within the folder, without `..`",
                )
            }
            Some(plain) => {
                let path = context.root.join(&plain);
                match path.metadata() {
                    Ok(_) => {
                        files.push(CommandFile { written: plain, path, place });
                        continue;
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        let message = format!("there is no file or folder `{written}`");
                        let help = format!("it was looked for at {}", path.display());
                        Complaint::new(place, message).help(help)
                    }
                    Err(error) => {
                        Complaint::new(place, format!("failed to look at `{written}`: {error}"))
                    }
                }
            }
        };
        report.push(refusal);
        sound = false;
    }
    files.sort_by(|a, b| a.written.cmp(&b.written));
    files.dedup_by(|a, b| a.written == b.written);
    sound.then_some(files)
}

/// A relative path that stays within its folder, without `.` and doubled `/`.
fn plain_path(written: &str) -> Option<String> {
    let mut words = Vec::new();
    for component in Path::new(written).components() {
        match component {
            Component::Normal(word) => words.push(word.to_str()?),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!words.is_empty() && !written.contains('\0')).then(|| words.join("/"))
}
