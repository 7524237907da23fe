//! `vars`: named values that stand for `${name}` in the values of a pipeline.
//!
//! A value that is exactly `${name}`, in quotes or not, becomes the variable's value with its type. Inside a longer text
//! the variable's text is inserted as it was written, and the result is text. `$${` is a literal `${`.

use std::{borrow::Cow, collections::HashMap, ops::Range};

use super::{
    complaint::{Complaint, Report},
    node::{DEPTH, Entry, Expansion, Node, Piece, Scalar, Style, Tree},
    spans,
};
use crate::{
    base::span::{Source, Span},
    graph::{name::is_name, order},
};

/// How many nodes all uses of variables together may make.
const NODES: usize = 1_000_000;

/// The variables of a pipeline, their own variables filled in.
pub(super) struct Variables<'a> {
    values: HashMap<String, Variable<'a>>,
    /// The names, as declared.
    names: Vec<String>,
    left: usize,
    exhausted: bool,
}

struct Variable<'a> {
    value: Node<'a>,
    weight: usize,
    depth: usize,
}

/// A use of a variable in another's value.
struct Use<'n, 'a> {
    variable: usize,
    node: &'n Node<'a>,
    /// Where in the node's text.
    range: Range<usize>,
}

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
enum Part<'t> {
    /// Text that stands for itself.
    Verbatim(Range<usize>),
    /// `$${`, for `${`.
    Escape(Range<usize>),
    /// `${name}`.
    Use(&'t str, Range<usize>),
    /// `${` and something that isn't a name and `}`.
    Malformed(Range<usize>),
}

impl<'a> Variables<'a> {
    /// Fills variables into variables.
    pub(super) fn new(declared: Vec<Entry<'a>>, sources: &[Source], report: &mut Report) -> Self {
        let names: Vec<String> = declared.iter().map(|entry| entry.key.name.to_string()).collect();
        let index: HashMap<&str, usize> =
            names.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
        let uses: Vec<Vec<Use<'_, 'a>>> = declared
            .iter()
            .map(|entry| {
                let mut uses = Vec::new();
                collect(&entry.value, &index, &mut uses);
                uses
            })
            .collect();
        let needs: Vec<Vec<usize>> =
            uses.iter().map(|uses| uses.iter().map(|used| used.variable).collect()).collect();
        let sorted = order::sort(&needs);
        for round in &sorted.loops {
            let chain: Vec<&str> =
                round.iter().chain(round.first()).map(|&i| names[i].as_str()).collect();
            let mut places = (0..round.len()).filter_map(|i| {
                let user = round[(i + 1) % round.len()];
                let used = uses[user].iter().find(|used| used.variable == round[i])?;
                let span = spans::of(used.node, used.range.clone(), sources);
                Some((span, format!("`{}` uses `{}`", names[user], names[round[i]])))
            });
            if let Some((span, text)) = places.next() {
                let message = format!("variables form a loop: {}", chain.join(" → "));
                let complaint = Complaint::new(span, message).here(text);
                report.push(
                    places.fold(complaint, |complaint, (span, text)| complaint.label(span, text)),
                );
            }
        }
        drop(uses);
        let mut declared: Vec<Option<Node<'a>>> =
            declared.into_iter().map(|entry| Some(entry.value)).collect();
        let mut variables = Self { values: HashMap::new(), names, left: NODES, exhausted: false };
        for i in sorted.order {
            if let Some(mut value) = declared[i].take() {
                variables.expand(&mut value, sources, report);
                variables.insert(i, value);
            }
        }
        for (i, node) in declared.into_iter().enumerate() {
            if let Some(node) = node {
                variables.insert(i, Node::broken(node.span));
            }
        }
        variables
    }

    fn insert(&mut self, i: usize, value: Node<'a>) {
        let variable = Variable { weight: value.weight(), depth: value.depth(), value };
        self.values.insert(self.names[i].clone(), variable);
    }

    /// Fills the variables into `node` and all that it holds.
    pub(super) fn expand(&mut self, node: &mut Node<'a>, sources: &[Source], report: &mut Report) {
        self.expand_at(node, 0, sources, report);
    }

    fn expand_at(
        &mut self,
        node: &mut Node<'a>,
        depth: usize,
        sources: &[Source],
        report: &mut Report,
    ) {
        match &mut node.tree {
            Tree::Sequence(items) => {
                for item in items {
                    self.expand_at(item, depth + 1, sources, report);
                }
            }
            Tree::Mapping(entries) => {
                for entry in entries {
                    self.expand_at(&mut entry.value, depth + 1, sources, report);
                }
            }
            Tree::Scalar(scalar) if scalar.expansion.is_none() && scalar.text.contains("${") => {
                if let Some(expanded) = self.expanded(node, depth, sources, report) {
                    *node = expanded;
                } else {
                    node.tree = Tree::Broken;
                }
            }
            Tree::Scalar(_) | Tree::Broken => {}
        }
    }

    /// The scalar `node` with its variables filled in; `None` if there was a complaint about it.
    fn expanded(
        &mut self,
        node: &Node<'a>,
        depth: usize,
        sources: &[Source],
        report: &mut Report,
    ) -> Option<Node<'a>> {
        let Tree::Scalar(scalar) = &node.tree else { return None };
        let parts = parts(&scalar.text);
        let locate = |range: &Range<usize>| spans::of(node, range.clone(), sources);
        if let [Part::Use(name, range)] = parts.as_slice() {
            let variable = self.find(name, || locate(range), report)?;
            let (weight, deep) = (variable.weight, depth + variable.depth > DEPTH);
            if deep {
                let message = format!("nested deeper than {DEPTH} levels");
                report.push(Complaint::new(locate(range), message));
                return None;
            }
            self.spend(weight, node.span, report)?;
            let variable = &self.values.get(*name)?.value;
            let mut value = variable.clone();
            value.origin = Some(variable.origin.unwrap_or(variable.span));
            value.span = node.span;
            return (!value.is_broken()).then_some(value);
        }
        let mut text = String::with_capacity(scalar.text.len());
        let mut pieces = Vec::with_capacity(parts.len());
        let mut sound = true;
        for part in parts {
            let at = text.len();
            let (written, verbatim) = match part {
                Part::Verbatim(range) => {
                    text.push_str(&scalar.text[range.clone()]);
                    (range, true)
                }
                Part::Escape(range) => {
                    text.push_str("${");
                    (range, false)
                }
                Part::Malformed(range) => {
                    report.push(
                        Complaint::new(
                            locate(&range),
                            "`${` begins a variable, but no name and `}` follow",
                        )
                        .help("write `$${` for a literal `${`"),
                    );
                    sound = false;
                    (range, false)
                }
                Part::Use(name, range) => {
                    match self.inserted(name, || locate(&range), report) {
                        Some(value) => text.push_str(&value),
                        None => sound = false,
                    }
                    (range, false)
                }
            };
            pieces.push(Piece { at, written, verbatim });
        }
        let expansion = Expansion { written: scalar.text.clone(), style: scalar.style, pieces };
        let scalar = Scalar {
            text: Cow::Owned(text),
            style: Style::DoubleQuoted,
            expansion: Some(Box::new(expansion)),
        };
        sound.then(|| Node { tree: Tree::Scalar(scalar), ..Node::broken(node.span) })
    }

    /// The text of the variable `name`, for use inside a longer text.
    fn inserted(
        &mut self,
        name: &str,
        place: impl Fn() -> Span,
        report: &mut Report,
    ) -> Option<String> {
        let value = &self.find(name, &place, report)?.value;
        if value.is_broken() {
            return None;
        }
        let Some(text) = value.text() else {
            let complaint = Complaint::new(
                place(),
                format!(
                    "the variable `{name}` is {} and can't stand inside a text",
                    value.describe()
                ),
            )
            .label(value.span, "its value");
            report.push(complaint);
            return None;
        };
        let (text, span) = (text.to_owned(), value.span);
        self.spend(text.len() / 64, span, report)?;
        Some(text)
    }

    fn find(
        &self,
        name: &str,
        place: impl Fn() -> Span,
        report: &mut Report,
    ) -> Option<&Variable<'a>> {
        let found = self.values.get(name);
        if found.is_none() && !report.is_full() {
            let meant = report.meant(name, self.names.iter().map(String::as_str));
            report.push(
                Complaint::new(place(), format!("no variable is called `{name}`")).suggest(
                    meant,
                    || {
                        format!(
                            "declare it: `vars: {{ {name}: … }}`; a literal `${{` is written `$${{`"
                        )
                    },
                ),
            );
        }
        found
    }

    fn spend(&mut self, weight: usize, span: Span, report: &mut Report) -> Option<()> {
        let left = self.left.checked_sub(weight + 1);
        if let Some(left) = left {
            self.left = left;
        } else if !self.exhausted {
            self.exhausted = true;
            report.push(Complaint::new(
                span,
                format!("variables expand to more than {NODES} values"),
            ));
        }
        left.map(|_| ())
    }
}

/// The uses of the variables in `index` in `node`.
fn collect<'n, 'a>(node: &'n Node<'a>, index: &HashMap<&str, usize>, uses: &mut Vec<Use<'n, 'a>>) {
    match &node.tree {
        Tree::Sequence(items) => {
            for item in items {
                collect(item, index, uses);
            }
        }
        Tree::Mapping(entries) => {
            for entry in entries {
                collect(&entry.value, index, uses);
            }
        }
        Tree::Scalar(scalar) if scalar.text.contains("${") => {
            for part in parts(&scalar.text) {
                if let Part::Use(name, range) = part
                    && let Some(&variable) = index.get(name)
                {
                    uses.push(Use { variable, node, range });
                }
            }
        }
        Tree::Scalar(_) | Tree::Broken => {}
    }
}

/// Takes a text apart.
fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut verbatim = 0;
    let mut at = 0;
    while let Some(found) = text[at..].find("${").map(|found| at + found) {
        let escaped = found > at && text.as_bytes()[found - 1] == b'$';
        let start = if escaped { found - 1 } else { found };
        let (part, end) = if escaped {
            (Part::Escape(start..found + 2), found + 2)
        } else {
            let end = text[found..].find('}').map(|close| found + close + 1);
            match end.map(|end| (&text[found + 2..end - 1], end)) {
                Some((name, end)) if is_name(name) => (Part::Use(name, found..end), end),
                _ => (Part::Malformed(found..found + 2), found + 2),
            }
        };
        if verbatim < start {
            parts.push(Part::Verbatim(verbatim..start));
        }
        parts.push(part);
        verbatim = end;
        at = end;
    }
    if verbatim < text.len() {
        parts.push(Part::Verbatim(verbatim..text.len()));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_falls_into_parts() {
        use Part::{Escape, Malformed, Use, Verbatim};
        assert_eq!(parts("a ${b} c"), [Verbatim(0..2), Use("b", 2..6), Verbatim(6..8)]);
        assert_eq!(parts("${b}"), [Use("b", 0..4)]);
        assert_eq!(parts("$${b}"), [Escape(0..3), Verbatim(3..5)]);
        assert_eq!(parts("${b}${c}"), [Use("b", 0..4), Use("c", 4..8)]);
        assert_eq!(parts("$$${b}"), [Verbatim(0..1), Escape(1..4), Verbatim(4..6)]);
        assert_eq!(parts("${b:-x}"), [Malformed(0..2), Verbatim(2..7)]);
        assert_eq!(parts("${"), [Malformed(0..2)]);
        assert_eq!(parts("é${ß}"), [Verbatim(0..2), Malformed(2..4), Verbatim(4..7)]);
        assert_eq!(parts("$ { } $x"), [Verbatim(0..8)]);
    }
}
