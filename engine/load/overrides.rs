//! What `--set` gives: `STAGE.KEY=VALUE`, `vars.NAME=VALUE`, `cache=PATH` and `device=DEVICE`, each VALUE a piece of YAML
//! in flow style.

use std::collections::HashMap;

use super::{
    complaint::{Complaint, Report},
    node::{Entry, Key, Node, Style, Tree},
    reference::{Malformed, Reference, Selector, outside_brackets},
    yaml::{self, Text},
};
use crate::{base::span::Span, graph};

/// The name of the source that holds the overrides, one a line.
pub(super) const SOURCE: &str = "--set";

/// One override, taken apart.
pub(super) struct Override<'a> {
    /// The words before `=`, which stood between dots.
    pub(super) path: Vec<Key<'a>>,
    pub(super) value: Node<'a>,
    /// `=` and the value, as written.
    assigned: &'a str,
}

const WHAT_CAN_BE_SET: &str =
    "what can be set: `STAGE.KEY=VALUE`, `vars.NAME=VALUE`, `cache=PATH` and `device=DEVICE`";

/// All overrides as one text, one a line, and where each of them lies in it.
pub(super) fn join(overrides: &[String]) -> (String, Vec<std::ops::Range<usize>>) {
    let mut text = String::new();
    let ranges = overrides
        .iter()
        .map(|line| {
            if !text.is_empty() {
                text.push('\n');
            }
            let start = text.len();
            text.push_str(line);
            start..text.len()
        })
        .collect();
    (text, ranges)
}

/// Reads one override, which lies at `range` of the text of `source`.
pub(super) fn parse<'a>(
    source: usize,
    text: &'a str,
    range: std::ops::Range<usize>,
    report: &mut Report,
) -> Option<Override<'a>> {
    let line = &text[range.clone()];
    let span = |from: usize, to: usize| Span::new(source, range.start + from..range.start + to);
    let Some(equals) = outside_brackets(line, '=') else {
        report.push(
            Complaint::new(span(0, line.len()), "`--set` needs a key, `=` and a value")
                .help("such as `train.epochs=10`, `vars.cube=PATH` or `cache=PATH`"),
        );
        return None;
    };
    let mut path = Vec::new();
    let mut at = 0;
    loop {
        let rest = &line[at..equals];
        let word = &rest[..outside_brackets(rest, '.').unwrap_or(rest.len())];
        path.push(Key { name: word.trim().into(), span: span(at, at + word.len()) });
        at += word.len() + 1;
        if at > equals {
            break;
        }
    }
    let whole = span(0, equals.max(1));
    if let Some(empty) = path.iter().find(|key| key.name.is_empty()) {
        let place = if empty.span.start == empty.span.end { whole } else { empty.span };
        report.push(Complaint::new(place, "a word is missing before `=`"));
        return None;
    }
    let start = range.start + equals + 1;
    let value = Text { source, start, content: &text[start..range.end], flow: true };
    let mut value = yaml::parse(value, report)?;
    if !undo_comment(&mut value, &text[..range.end], start, report) {
        return None;
    }
    if value.span.start == value.span.end {
        value.span = whole;
    }
    Some(Override { path, value, assigned: &line[equals..] })
}

/// Takes what YAML takes for a comment as a part of the value, as whoever writes a value on the command line means it; complains
/// where the value isn't a plain text. The value is what `text` holds from `start` on.
fn undo_comment<'a>(
    value: &mut Node<'a>,
    text: &'a str,
    start: usize,
    report: &mut Report,
) -> bool {
    let rest = text[(value.span.end as usize).max(start)..].trim_start();
    if !rest.starts_with('#') {
        return true;
    }
    let source = value.span.source as usize;
    if let Tree::Scalar(scalar) = &mut value.tree
        && scalar.style == Style::Plain
    {
        let written = text[start..].trim();
        let start = text.len() - text[start..].trim_start().len();
        scalar.text = written.into();
        value.span = Span::new(source, start..start + written.len());
        return true;
    }
    let at = text.len() - rest.len();
    report.push(
        Complaint::new(Span::new(source, at..at + 1), "what follows `#` would be a comment")
            .help("put the whole value in quotes, or leave that out"),
    );
    false
}

impl Override<'_> {
    /// Whether its words are such as name a value; complains if they are not. `vars` are the variables that there are.
    pub(super) fn names_a_value(&self, vars: &[Entry<'_>], report: &mut Report) -> bool {
        let path = &self.path;
        let names_a_value = match &path[0].name {
            name if name == "cache" => path.len() == 1,
            name if name == "vars" => path.len() == 2,
            // Of a stage that is called so, the keys can be set nevertheless.
            name if name == "device" => true,
            _ => path.len() >= 2,
        };
        if !names_a_value {
            let words: Vec<&str> = path.iter().map(|key| key.name.as_ref()).collect();
            let words = words.join(".");
            let known: Vec<(&str, &str)> = vars
                .iter()
                .map(|entry| ("vars.", entry.key.name.as_ref()))
                .chain([("", "cache"), ("", "device")])
                .collect();
            let meant = report
                .meant(&words, known.iter().map(|(_, name)| *name))
                .and_then(|meant| known.iter().find(|(_, name)| *name == meant))
                .map(|(within, name)| format!("{within}{name}{}", self.assigned));
            let place = path.iter().fold(path[0].span, |span, key| span.to(key.span));
            report.push(
                Complaint::new(place, format!("`{words}` is nothing that can be set"))
                    .suggest(meant.as_deref(), || WHAT_CAN_BE_SET.into()),
            );
        }
        names_a_value
    }
}

/// An override of some combinations of a stage: `train[filters=8].epochs=3`.
pub(super) struct Selected<'a> {
    /// The stage with the combinations, as written.
    pub(super) place: Span,
    pub(super) selector: Selector,
    /// The keys of the config that lead to the value.
    pub(super) path: Vec<Key<'a>>,
    pub(super) value: Node<'a>,
}

/// Puts `over`, which names a stage's key, into the mapping `stages`. `places` finds a stage by its name. What is for some
/// combinations only is given back, with the number of its stage.
pub(super) fn apply<'a>(
    over: Override<'a>,
    stages: &mut [Entry<'a>],
    places: &HashMap<String, usize>,
    report: &mut Report,
) -> Option<(usize, Selected<'a>)> {
    let mut path = over.path;
    let stage = path.remove(0);
    let reference = match Reference::parse(&stage.name) {
        Ok(reference) => reference,
        Err(Malformed { at, fault }) => {
            let start = stage.span.start as usize;
            let span = Span::new(stage.span.source as usize, start + at.start..start + at.end);
            report.push(Complaint::new(span, fault));
            return None;
        }
    };
    let Some(&number) = places.get(reference.stage) else {
        let names = places.keys().map(String::as_str);
        let mut names: Vec<&str> = names.chain(["vars", "cache", "device"]).collect();
        names.sort_unstable();
        let meant = report.meant(reference.stage, names);
        report.push(
            Complaint::new(stage.span, format!("no stage is called `{}`", reference.stage))
                .suggest(meant, String::new),
        );
        return None;
    };
    let kind = stages[number].value.get("kind").and_then(|kind| kind.value.text());
    if kind.unwrap_or(&stages[number].key.name) == graph::command::KIND
        && !config_has(&stages[number], &path, report)
    {
        return None;
    }
    if let Some(selector) = reference.selector {
        let selected = Selected { place: stage.span, selector, path, value: over.value };
        return Some((number, selected));
    }
    let entry = &mut stages[number];
    let within = |key: &str| Key { name: key.to_owned().into(), span: stage.span };
    let config_has_key =
        |key: &str| entry.value.get("config").is_some_and(|config| config.value.get(key).is_some());
    let kind = entry.value.get("kind").and_then(|kind| kind.value.text());
    if kind.unwrap_or(&entry.key.name) == graph::select::KIND {
        // What it is told stands in the stage itself.
    } else if path.len() > 1 && path[0].name == "matrix" && !config_has_key("matrix") {
        let words: Vec<&str> = path[1..].iter().map(|key| key.name.as_ref()).collect();
        let span = path[1..].iter().fold(path[1].span, |span, key| span.to(key.span));
        path = vec![within("matrix"), Key { name: words.join(".").into(), span }];
    } else {
        path.insert(0, within("config"));
    }
    let mut node = &mut entry.value;
    for key in path {
        node = node.child(key);
    }
    *node = over.value;
    None
}

/// Whether the config of a command has what the keys `path` lead to; complains if it hasn't. What a kind's config has its schema
/// tells; a command's own is all there is.
fn config_has(stage: &Entry<'_>, path: &[Key<'_>], report: &mut Report) -> bool {
    if path[0].name == "matrix" {
        return true;
    }
    let name = &stage.key.name;
    let Some(config) = stage.value.get("config") else {
        let message =
            format!("the command `{name}` has no `config`, and so nothing that can be set");
        report.push(
            Complaint::new(path[0].span, message)
                .help("give it one: `config: { KEY: VALUE }`, and use `{config.KEY}` in `run`"),
        );
        return false;
    };
    let mut node = &config.value;
    for key in path {
        // What a variable stands for isn't known yet.
        let Tree::Mapping(entries) = &node.tree else { return true };
        let Some(found) = entries.iter().find(|entry| entry.key.name == key.name) else {
            let known = entries.iter().map(|entry| entry.key.name.as_ref());
            let meant = report.meant(&key.name, known.clone());
            let has = || format!("it has {}", known.collect::<Vec<_>>().join(", "));
            let message = format!("the config of the command `{name}` has no `{}`", key.name);
            report.push(Complaint::new(key.span, message).suggest(meant, has));
            return false;
        };
        node = &found.value;
    }
    true
}
