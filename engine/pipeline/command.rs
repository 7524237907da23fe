//! A stage of `kind: command` as it is declared: its program, outputs, files and variables.

use std::{
    collections::HashSet,
    io,
    ops::Range,
    path::{Component, Path},
};

use serde_json::Value;

use super::{
    Command, CommandFile, Piece, Run, Span, Template,
    complaint::{Complaint, Report},
    name::{self, is_output_name},
    node::{Atom, Entry, Node, Tree},
    place, schema,
    stages::{Context, Declaration, Fields},
    template::{self, Draft, DraftPart, Placeholder, Unsplit},
};

/// What a placeholder may begin with.
const FIRST: [&str; 3] = ["config", "inputs", "outputs"];

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

/// What placeholders may refer to. What was complained about is `None`, and anything goes.
struct Scope<'s> {
    config: Option<&'s Value>,
    /// The mapping of the inputs.
    inputs: Option<&'s Node<'s>>,
    outputs: Option<&'s [String]>,
    context: &'s Context<'s>,
}

/// The command line, and the names of the outputs that it mentions.
fn run(
    declaration: &Declaration<'_>,
    shell: bool,
    scope: &Scope<'_>,
    report: &mut Report,
) -> Option<(Run, HashSet<String>)> {
    let missing = |span| {
        Complaint::new(span, format!("the command `{}` has nothing to `run`", declaration.name))
            .help("such as `run: python clean.py {inputs.raw} {outputs.table}`")
    };
    let Some(Entry { value, .. }) = declaration.fields.get("run") else {
        report.push(missing(declaration.place));
        return None;
    };
    let sources = scope.context.sources;
    let mut used = HashSet::new();
    let run = match &value.tree {
        Tree::Broken => return None,
        Tree::Sequence(items) if !shell => {
            let mut words = Vec::with_capacity(items.len());
            for item in items {
                let Some(text) = item.text() else {
                    if !item.is_broken() {
                        let message =
                            format!("a word of `run` must be a text, but is {}", item.describe());
                        report.push(Complaint::new(item.span, message));
                    }
                    return None;
                };
                words.push(scope.template(Draft::whole(text), item, &mut used, report));
            }
            Run::Words(words.into_iter().collect::<Option<_>>()?)
        }
        _ => match value.text() {
            Some(text) if shell => {
                let quoted = template::quoted(text);
                for range in &quoted {
                    let span = place::of(value, range.clone(), sources);
                    report.push(
                        Complaint::new(span, "a placeholder stands within quotes").help(
                            "remove the quotes: what it stands for is made one word of the shell by itself",
                        ),
                    );
                }
                let template = scope.template(Draft::whole(text), value, &mut used, report)?;
                Run::Shell(template)
            }
            Some(text) => match template::words(text) {
                Ok(words) => {
                    let words: Vec<_> = words
                        .into_iter()
                        .map(|draft| scope.template(draft, value, &mut used, report))
                        .collect();
                    Run::Words(words.into_iter().collect::<Option<_>>()?)
                }
                Err(unsplit) => {
                    report.push(unsplit_complaint(unsplit, text, |range| {
                        place::of(value, range, sources)
                    }));
                    return None;
                }
            },
            None if value.is_null() => Run::Words(Vec::new()),
            None => {
                let message = format!("`run` must be a command line, but is {}", value.describe());
                report.push(Complaint::new(value.span, message));
                return None;
            }
        },
    };
    let empty = |template: &Template| match template.pieces() {
        [] => true,
        [Piece::Text(text)] => text.trim().is_empty(),
        _ => false,
    };
    let nothing = match &run {
        Run::Words(words) => words.first().is_none_or(empty),
        Run::Shell(script) => empty(script),
    };
    if nothing {
        report.push(missing(value.span));
        return None;
    }
    Some((run, used))
}

fn unsplit_complaint(
    unsplit: Unsplit,
    text: &str,
    place: impl Fn(Range<usize>) -> Span,
) -> Complaint {
    match unsplit {
        Unsplit::Quote(range) => Complaint::new(place(range), "this quote is never closed")
            .help("write `\\'` for a quote alone"),
        Unsplit::Backslash(range) => Complaint::new(place(range), "nothing follows this backslash")
            .help("write `\\\\` for a backslash alone"),
        Unsplit::Shell(range) => {
            let operator = text.get(range.clone()).unwrap_or("").to_owned();
            Complaint::new(place(range), format!("`{operator}` means something to a shell only"))
                .help("set `shell: true`, or put it in quotes if it is an argument")
        }
    }
}

impl Scope<'_> {
    /// Checks the placeholders of `draft`, which is written in `node`.
    fn template(
        &self,
        draft: Draft<'_>,
        node: &Node<'_>,
        used: &mut HashSet<String>,
        report: &mut Report,
    ) -> Option<Template> {
        let mut pieces = Vec::with_capacity(draft.parts.len());
        let mut sound = true;
        for part in draft.parts {
            let piece = match part {
                DraftPart::Text(text) if text.contains('\0') => {
                    report.push(Complaint::new(
                        node.span,
                        "a command line can't hold the character NUL",
                    ));
                    None
                }
                DraftPart::Text(text) => Some(Piece::Text(text)),
                DraftPart::Placeholder(placeholder) => self.piece(&placeholder, node, report),
            };
            if let Some(Piece::Output(name)) = &piece {
                used.insert(name.clone());
            }
            sound &= piece.is_some();
            pieces.extend(piece);
        }
        sound.then_some(Template { pieces })
    }

    fn piece(
        &self,
        placeholder: &Placeholder<'_>,
        node: &Node<'_>,
        report: &mut Report,
    ) -> Option<Piece> {
        let Placeholder { words, range } = placeholder;
        // Where the words from the one at `from` on are written.
        let locate = |from: usize| {
            let before: usize = words[..from].iter().map(|word| word.len() + 1).sum();
            place::of(node, range.start + 1 + before..range.end - 1, self.context.sources)
        };
        let rest = words[1..].join(".");
        match words[0] {
            "config" => self.config_piece(&words[1..], |i| locate(i + 1), report),
            "inputs" => {
                let names: Vec<&str> = match self.inputs.map(|node| &node.tree) {
                    Some(Tree::Mapping(entries)) => {
                        entries.iter().map(|entry| entry.key.name.as_ref()).collect()
                    }
                    Some(Tree::Broken) => return Some(Piece::Input(rest)),
                    _ => Vec::new(),
                };
                if names.contains(&rest.as_str()) {
                    return Some(Piece::Input(rest));
                }
                refuse("input", &rest, &names, locate(1), report);
                None
            }
            "outputs" => {
                let Some(outputs) = self.outputs else { return Some(Piece::Output(rest)) };
                if outputs.contains(&rest) {
                    return Some(Piece::Output(rest));
                }
                let names: Vec<&str> = outputs.iter().map(String::as_str).collect();
                refuse("output", &rest, &names, locate(1), report);
                None
            }
            other => {
                let span = place::of(node, range.clone(), self.context.sources);
                let complaint = Complaint::new(
                    span,
                    format!(
                        "a placeholder begins with `config`, `inputs` or `outputs`, not with `{other}`"
                    ),
                );
                let whole = words.join(".");
                report.push(match report.meant(other, FIRST) {
                    Some(meant) => complaint.help(format!("did you mean `{{{meant}.{rest}}}`?")),
                    None => complaint
                        .help(format!("write `{{{{{whole}}}}}` for the text `{{{whole}}}`")),
                });
                None
            }
        }
    }

    fn config_piece(
        &self,
        keys: &[&str],
        locate: impl Fn(usize) -> Span,
        report: &mut Report,
    ) -> Option<Piece> {
        let piece = || Piece::Config(keys.iter().map(|key| (*key).to_owned()).collect());
        let Some(mut value) = self.config else { return Some(piece()) };
        for (i, key) in keys.iter().enumerate() {
            let known = value.as_object();
            let Some(next) = known.and_then(|known| known.get(*key)) else {
                let names: Vec<&str> =
                    known.into_iter().flat_map(|known| known.keys()).map(String::as_str).collect();
                let name = keys[..=i].join(".");
                let complaint =
                    Complaint::new(locate(i), format!("the config has no key `{name}`"));
                report.push(complaint.suggest(report.meant(key, names.iter().copied()), || {
                    match names.as_slice() {
                        [] => "it has no keys here".into(),
                        names => format!("its keys are {}", names.join(", ")),
                    }
                }));
                return None;
            };
            value = next;
        }
        let described = match value {
            Value::Object(_) => "a mapping",
            Value::Array(_) => "a list",
            Value::Null => "empty",
            Value::String(text) if text.contains('\0') => "a text with the character NUL",
            _ => return Some(piece()),
        };
        let message = format!(
            "`config.{}` is {described} and can't be a word of the command",
            keys.join(".")
        );
        report.push(Complaint::new(locate(0), message));
        None
    }
}

fn refuse(what: &str, name: &str, names: &[&str], span: Span, report: &mut Report) {
    let complaint = Complaint::new(span, format!("the command has no {what} `{name}`"));
    report.push(complaint.suggest(report.meant(name, names.iter().copied()), || match names {
        [] => format!("it has no {what}s"),
        names => format!("its {what}s are {}", names.join(", ")),
    }));
}
