//! A stage of `kind: command` as it is declared: its program, outputs, files and variables.

use std::{
    collections::{BTreeMap, HashSet},
    path::{Component, Path},
};

use serde_json::Value;

use super::{
    command_line::{Scope, run},
    complaint::{Complaint, Report},
    declaration::{Context, Declaration, Fields},
    interpreter::shell,
    node::{Entry, Node, Tree},
    schema,
    template::Draft,
    texts::texts,
    user_path::Refusal,
};
use crate::{
    artifact::{input_file::list, workspace},
    base::{span::Span, tree::ArtifactPath},
    graph::{
        Command, CommandFile, Environment, ForEach, Piece, Template,
        name::{self, is_output_name},
    },
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
    let (names, mut sound) = match &value.tree {
        // With the paths in them.
        Tree::Mapping(entries) if fields.given("for_each").is_some() => {
            (entries.iter().map(|entry| (entry.key.name.as_ref(), entry.key.span)).collect(), true)
        }
        Tree::Mapping(_) => {
            report.push(
                Complaint::new(value.span, "`outputs` must be a list of names, but is a mapping")
                    .help("paths are given to outputs where a command runs for each item of an input: `for_each: INPUT`"),
            );
            return None;
        }
        _ => {
            let (names, sound) = texts(value, "outputs", "a list of names", report)?;
            (names.into_iter().map(|(name, node)| (name, node.span)).collect::<Vec<_>>(), sound)
        }
    };
    for (name, span) in &names {
        if !is_output_name(name) {
            let message = format!("`{name}` is no name for an output");
            report.push(Complaint::new(*span, message).help(name::OUTPUT_RULE));
            sound = false;
        }
    }
    if names.is_empty() && sound {
        report.push(Complaint::new(value.span, format!("the command `{stage}` has no `outputs`")));
        sound = false;
    }
    sound.then(|| names.into_iter().map(|(name, _)| name.to_owned()).collect())
}

/// Reads the declaration of a command whose `outputs` are known, with `config` for its config.
pub(super) fn read(
    declaration: &Declaration<'_>,
    config: Option<&Node<'_>>,
    outputs: Option<&[String]>,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Command> {
    let fields = &declaration.fields;
    let config = self::config(config, report);
    let shell = shell(fields, report);
    let files = files(fields, context, report);
    let environment = environment(fields, report);
    let inputs = fields.get("inputs").map(|entry| &entry.value);
    let items = fields.given("for_each").is_some();
    let scope = Scope { config: config.as_ref(), inputs, outputs, items, context };
    let for_each = if items { Some(for_each(fields, outputs, &scope, report)) } else { None };
    let run = run(declaration, shell?, &scope, report);
    let (run, used) = run?;
    if let (Some(outputs), Some(Entry { value, .. })) = (outputs, fields.get("outputs")) {
        for (i, output) in outputs.iter().enumerate() {
            if !used.contains(output.as_str()) {
                let span = match &value.tree {
                    Tree::Sequence(items) => items.get(i).map_or(value.span, |item| item.span),
                    Tree::Mapping(entries) => {
                        entries.get(i).map_or(value.span, |entry| entry.key.span)
                    }
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
    let for_each = match for_each {
        Some(for_each) => Some(for_each?),
        None => None,
    };
    let outputs = outputs?.to_vec();
    Some(Command {
        run,
        config: config?,
        outputs,
        for_each,
        files: files?,
        environment: environment?,
    })
}

/// Reads of which input a command runs for each item, and where the outputs of an item stand.
fn for_each(
    fields: &Fields<'_>,
    outputs: Option<&[String]>,
    scope: &Scope<'_>,
    report: &mut Report,
) -> Option<ForEach> {
    let Entry { value, .. } = fields.given("for_each")?;
    let inputs: Vec<&str> = match scope.inputs.map(|node| &node.tree) {
        Some(Tree::Mapping(entries)) => {
            entries.iter().map(|entry| entry.key.name.as_ref()).collect()
        }
        Some(Tree::Broken) => return None,
        _ => Vec::new(),
    };
    let input = match value.text() {
        Some(text) if inputs.contains(&text) => text.to_owned(),
        Some(text) => {
            let complaint =
                Complaint::new(value.span, format!("the command has no input `{text}`"));
            let meant = report.meant(text, inputs.iter().copied());
            report.push(complaint.suggest(meant, || match inputs.as_slice() {
                [] => "`for_each` names one of its `inputs`, a folder or a table".into(),
                inputs => format!("its inputs are {}", inputs.join(", ")),
            }));
            return None;
        }
        None => {
            if !value.is_broken() {
                let message = format!("`for_each` must name an input, but is {}", value.describe());
                report.push(Complaint::new(value.span, message));
            }
            return None;
        }
    };
    let given = fields.given("outputs").map(|entry| &entry.value.tree);
    let mut paths = BTreeMap::new();
    for name in outputs? {
        let written = match given {
            Some(Tree::Mapping(entries)) => entries.iter().find(|entry| entry.key.name == *name),
            _ => None,
        };
        let template = match written.filter(|entry| !entry.value.is_null()) {
            Some(Entry { value, .. }) => path(name, value, scope, report)?,
            None => Template { pieces: vec![Piece::Text(name.clone())] },
        };
        paths.insert(name.clone(), under_item(template));
    }
    Some(ForEach { input, paths })
}

/// A path without anything of the item in it stands in a folder called as the item is.
fn under_item(mut path: Template) -> Template {
    if !path.pieces.iter().any(|piece| matches!(piece, Piece::Item(_))) {
        if let Some(Piece::Text(first)) = path.pieces.first_mut() {
            first.insert(0, '/');
        } else {
            path.pieces.insert(0, Piece::Text("/".into()));
        }
        path.pieces.insert(0, Piece::Item(None));
    }
    path
}

/// The path of the output `name`, which is written in `node`.
fn path(name: &str, node: &Node<'_>, scope: &Scope<'_>, report: &mut Report) -> Option<Template> {
    let Some(text) = node.text() else {
        if !node.is_broken() {
            let message =
                format!("the path of `{name}` must be a text, but is {}", node.describe());
            report.push(
                Complaint::new(node.span, message).help("such as `\"{item.stem}.png\"`, in quotes"),
            );
        }
        return None;
    };
    let draft = Draft::whole(text, scope.syntax());
    let template = scope.template(draft, node, &mut HashSet::new(), report)?;
    let foreign = |piece: &&Piece| matches!(piece, Piece::Input(_) | Piece::Output(_));
    if template.pieces.iter().any(|piece| foreign(&piece)) {
        let message = format!("the path of `{name}` can't hold the path of an input or output");
        report.push(
            Complaint::new(node.span, message).help(
                "it stands within the output: use `{item}`, `{item.WORD}` and `{config.KEY}`",
            ),
        );
        return None;
    }
    let shape: String = template
        .pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            _ => "x",
        })
        .collect();
    if let Err(bad) = ArtifactPath::new(shape) {
        let message = format!("the path of `{name}` can't be used: {}", bad.fault);
        report.push(Complaint::new(node.span, message));
        return None;
    }
    Some(template)
}

fn config(node: Option<&Node<'_>>, report: &mut Report) -> Option<Value> {
    match node {
        Some(value) if !value.is_null() => match &value.tree {
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

fn environment(fields: &Fields<'_>, report: &mut Report) -> Option<Environment> {
    let inherit = match fields.given("env").map(|entry| entry.value.text()) {
        Some(Some(word)) => word == "inherit",
        _ => false,
    };
    let names = if inherit { Some(Vec::new()) } else { variables("env", fields, report) };
    let secrets = variables("secrets", fields, report);
    let (names, secrets) = (names?, secrets?);
    if let Some(both) = names.iter().find(|name| secrets.contains(name))
        && let Some(Entry { value, .. }) = fields.given("secrets")
    {
        let message = format!("`{both}` stands in `env` and in `secrets`");
        report.push(
            Complaint::new(value.span, message)
                .help("a value in `env` counts for the result, one in `secrets` doesn't"),
        );
        return None;
    }
    Some(Environment { names, secrets, inherit })
}

/// The names of variables that are listed under `key`, sorted.
fn variables(key: &str, fields: &Fields<'_>, report: &mut Report) -> Option<Vec<String>> {
    let Some(Entry { value, .. }) = fields.given(key) else {
        return Some(Vec::new());
    };
    let wanted = "a list of names of environment variables";
    let (names, mut sound) = texts(value, key, wanted, report)?;
    for (name, node) in &names {
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !plain || name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() {
            let complaint = Complaint::new(
                node.span,
                format!("`{name}` is not a valid environment variable name"),
            );
            report.push(match name.split_once('=') {
                Some((name, _)) => complaint.help(format!("`{key}` lists names: write `{name}`")),
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
                let message = format!("`{written}` is no path from the pipeline's folder");
                Complaint::new(place, message).help(
                    "`files` stand at their own paths when the command runs: give one such as `a/b.py` or `../a/b.py`",
                )
            }
            Some(plain) => match context.paths.look_up(&plain) {
                Ok((path, scope)) if scope.pattern.is_none() => {
                    files.push(CommandFile { written: plain, path, place, scope });
                    continue;
                }
                // Each of the files stands at its own path.
                Ok((base, scope)) => {
                    let (fitting, _) = list(&base, &scope).unwrap_or_default();
                    let folder = base.strip_prefix(context.root).unwrap_or(Path::new(""));
                    let whole = workspace::Scope { pattern: None, ..scope };
                    for (path, name) in fitting {
                        let written = folder.join(name).to_string_lossy().into_owned();
                        let written = plain_path(&written).unwrap_or(written);
                        files.push(CommandFile { written, path, place, scope: whole.clone() });
                    }
                    continue;
                }
                Err(Refusal { message, help }) => {
                    let complaint = Complaint::new(place, message);
                    match help {
                        Some(help) => complaint.help(help),
                        None => complaint,
                    }
                }
            },
        };
        report.push(refusal);
        sound = false;
    }
    files.sort_by(|a, b| a.written.cmp(&b.written));
    files.dedup_by(|a, b| a.written == b.written);
    sound.then_some(files)
}

/// A relative path to something that has a name, without `.` and doubled `/`, and with `..` at its beginning only: after a name
/// it would be another path where the name is a link.
fn plain_path(written: &str) -> Option<String> {
    let mut words: Vec<&str> = Vec::new();
    for component in Path::new(written).components() {
        match component {
            Component::Normal(word) => words.push(word.to_str()?),
            Component::CurDir => {}
            Component::ParentDir if words.iter().all(|word| *word == "..") => words.push(".."),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    // What is in the user's home has no path from the folder.
    let is_named = words.last().is_some_and(|word| *word != "..");
    (is_named && !written.contains('\0') && !written.starts_with('~')).then(|| words.join("/"))
}
