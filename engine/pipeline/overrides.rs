//! What `--set` gives: `STAGE.KEY=VALUE`, `vars.NAME=VALUE` and `cache=PATH`, each VALUE a piece of YAML in flow style.

use std::collections::HashMap;

use super::{
    complaint::{Complaint, Report, Span},
    node::{Entry, Key, Node, Tree},
    yaml::{self, Text},
};

/// The name of the source that holds the overrides, one a line.
pub(super) const SOURCE: &str = "--set";

/// One override, taken apart.
pub(super) struct Override<'a> {
    /// The words before `=`, which stood between dots.
    pub(super) path: Vec<Key<'a>>,
    pub(super) value: Node<'a>,
}

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
    let Some(equals) = line.find('=') else {
        report.push(
            Complaint::new(span(0, line.len()), "`--set` needs a key, `=` and a value")
                .help("such as `train.epochs=10`, `vars.cube=PATH` or `cache=PATH`"),
        );
        return None;
    };
    let mut path = Vec::new();
    let mut at = 0;
    for word in line[..equals].split('.') {
        path.push(Key { name: word.trim().into(), span: span(at, at + word.len()) });
        at += word.len() + 1;
    }
    let whole = span(0, equals.max(1));
    if let Some(empty) = path.iter().find(|key| key.name.is_empty()) {
        let place = if empty.span.start == empty.span.end { whole } else { empty.span };
        report.push(Complaint::new(place, "a word is missing before `=`"));
        return None;
    }
    let names_a_value = match &path[0].name {
        name if name == "cache" => path.len() == 1,
        name if name == "vars" => path.len() == 2,
        _ => path.len() >= 2,
    };
    if !names_a_value {
        report.push(
            Complaint::new(whole, format!("`{}` is nothing that can be set", &line[..equals]))
                .help("what can be set: `STAGE.KEY=VALUE`, `vars.NAME=VALUE` and `cache=PATH`"),
        );
        return None;
    }
    let start = range.start + equals + 1;
    let value = Text { source, start, content: &text[start..range.end], flow: true };
    let mut value = yaml::parse(value, report)?;
    if value.span.start == value.span.end {
        value.span = whole;
    }
    Some(Override { path, value })
}

/// Puts `over`, which names a stage's key, into the mapping `stages`. `places` finds a stage by its name.
pub(super) fn apply<'a>(
    over: Override<'a>,
    stages: &mut [Entry<'a>],
    places: &HashMap<String, usize>,
    report: &mut Report,
) {
    let mut path = over.path.into_iter();
    let Some(stage) = path.next() else { return };
    let Some(entry) = places.get(stage.name.as_ref()).and_then(|&i| stages.get_mut(i)) else {
        let names = places.keys().map(String::as_str);
        let mut names: Vec<&str> = names.chain(["vars", "cache"]).collect();
        names.sort_unstable();
        let meant = report.meant(&stage.name, names);
        report.push(
            Complaint::new(stage.span, format!("no stage is called `{}`", stage.name))
                .suggest(meant, String::new),
        );
        return;
    };
    let config = Key { name: "config".into(), span: stage.span };
    let mut node = child(&mut entry.value, config);
    for key in path {
        node = child(node, key);
    }
    *node = over.value;
}

/// The value under `key`, made if need be; what isn't a mapping gives way to one.
fn child<'n, 'a>(node: &'n mut Node<'a>, key: Key<'a>) -> &'n mut Node<'a> {
    if !matches!(node.tree, Tree::Mapping(_)) {
        let span = if node.is_null() { node.span } else { key.span };
        *node = Node::new(Tree::Mapping(Vec::new()), span);
    }
    let Tree::Mapping(entries) = &mut node.tree else { unreachable!("made a mapping above") };
    let at = entries.iter().position(|entry| entry.key.name == key.name).unwrap_or_else(|| {
        let value = Node::broken(key.span);
        entries.push(Entry { key, value });
        entries.len() - 1
    });
    &mut entries[at].value
}
