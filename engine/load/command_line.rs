//! The command line of a stage: its words, and what its placeholders refer to.

use std::{collections::HashSet, ops::Range};

use serde_json::Value;

use super::{
    complaint::{Complaint, Report},
    declaration::{Context, Declaration},
    interpreter::{Interpreter, Reader},
    node::{Entry, Node, Tree},
    spans,
    template::{self, Draft, DraftPart, Placeholder, Syntax, Unsplit},
};
use crate::{
    base::span::Span,
    graph::{Piece, Run, Template},
};

/// What a placeholder may begin with.
const FIRST: [&str; 3] = ["config", "inputs", "outputs"];

/// What placeholders may refer to. What was complained about is `None`, and anything goes.
pub(super) struct Scope<'s> {
    pub(super) config: Option<&'s Value>,
    /// The mapping of the inputs.
    pub(super) inputs: Option<&'s Node<'s>>,
    pub(super) outputs: Option<&'s [String]>,
    /// Whether it runs for each item of an input.
    pub(super) items: bool,
    pub(super) context: &'s Context<'s>,
}

/// The command line, and the names of the outputs that it mentions.
pub(super) fn run(
    declaration: &Declaration<'_>,
    reader: Reader,
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
    let syntax = scope.syntax();
    let mut used = HashSet::new();
    let run = match &value.tree {
        Tree::Broken => return None,
        Tree::Sequence(items) if matches!(reader, Reader::None) => {
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
                words.push(scope.template(Draft::whole(text, syntax), item, &mut used, report));
            }
            Run::Words(words.into_iter().collect::<Option<_>>()?)
        }
        _ => match (value.text(), reader) {
            (Some(text), Reader::Script(Interpreter { words: interpreter, strict })) => {
                let is_shell = is_posix(&interpreter);
                for place in template::unsafe_places(text, syntax, is_shell) {
                    if is_shell && scope.is_plain(&place.words) {
                        continue;
                    }
                    let span = spans::of(value, place.range, sources);
                    let program = interpreter.first().map_or("", String::as_str);
                    let message = place.what.message(program);
                    report.push(Complaint::new(span, message).help(place.what.help()));
                }
                let script =
                    scope.template(Draft::whole(text, syntax), value, &mut used, report)?;
                Run::Shell { interpreter, strict, script }
            }
            (Some(text), Reader::None) => match template::words(text, syntax) {
                Ok(words) => {
                    let words: Vec<_> = words
                        .into_iter()
                        .map(|draft| scope.template(draft, value, &mut used, report))
                        .collect();
                    Run::Words(words.into_iter().collect::<Option<_>>()?)
                }
                Err(unsplit) => {
                    report.push(unsplit_complaint(unsplit, text, |range| {
                        spans::of(value, range, sources)
                    }));
                    // The placeholders may be wrong all the same.
                    scope.template(Draft::whole(text, syntax), value, &mut used, report);
                    return None;
                }
            },
            (None, _) if value.is_null() => Run::Words(Vec::new()),
            (None, _) => {
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
        Run::Shell { script, .. } => empty(script),
    };
    if nothing {
        report.push(missing(value.span));
        return None;
    }
    Some((run, used))
}

/// Whether an interpreter reads the language of a shell.
fn is_posix(interpreter: &[String]) -> bool {
    let program = interpreter.first().map_or("", String::as_str);
    let name = program.rsplit('/').next().unwrap_or(program);
    ["ash", "bash", "busybox", "dash", "ksh", "mksh", "sh", "zsh"].contains(&name)
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
        Unsplit::Line(range) => {
            Complaint::new(place(range), "a second line begins here, but no shell reads `run`")
                .help("for one command on several lines write `run: >` or end lines with `\\`; for several commands set `shell: true`")
        }
        Unsplit::Shell(range) => {
            let operator = text.get(range.clone()).unwrap_or("").to_owned();
            Complaint::new(place(range), format!("`{operator}` means something to a shell only"))
                .help("set `shell: true`, or put it in quotes if it is an argument")
        }
    }
}

impl Scope<'_> {
    /// Whether a placeholder stands for a number or for `true` or `false`: there is nothing in those that a shell could take
    /// for anything else.
    fn is_plain(&self, words: &[&str]) -> bool {
        let (Some(("config", keys)), Some(config)) =
            (words.split_first().map(|(first, keys)| (*first, keys)), self.config)
        else {
            return false;
        };
        let value = keys.iter().try_fold(config, |value, key| value.get(*key));
        matches!(value, Some(Value::Number(_) | Value::Bool(_)))
    }

    pub(super) fn syntax(&self) -> Syntax {
        Syntax { items: self.items }
    }

    /// Checks the placeholders of `draft`, which is written in `node`.
    pub(super) fn template(
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
            spans::of(node, range.start + 1 + before..range.end - 1, self.context.sources)
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
            "item" if self.items && words.len() <= 2 => {
                Some(Piece::Item(words.get(1).map(|&word| word.to_owned())))
            }
            "item" => {
                let span = spans::of(node, range.clone(), self.context.sources);
                report.push(if self.items {
                    Complaint::new(span, format!("`{{{}}}` is no part of an item", words.join(".")))
                        .help("an item has `{item}`, `{item.stem}`, `{item.name}`, or of a table `{item.COLUMN}`")
                } else {
                    let message = "there is no `item`: the command doesn't run for each item of an input";
                    Complaint::new(span, message).help("say of which: `for_each: INPUT`")
                });
                None
            }
            other => {
                let span = spans::of(node, range.clone(), self.context.sources);
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
