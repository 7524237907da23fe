//! A YAML value that remembers where it was written.

use std::borrow::Cow;

use crate::{
    base::span::Span,
    graph::scalar::{Atom, plain},
};

/// The deepest nesting of lists and mappings, aliases and variables written out.
pub(super) const DEPTH: usize = 64;

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    pub(super) tree: Tree<'a>,
    pub(super) span: Span,
    /// Where the value is written, if a variable brought it here.
    pub(super) origin: Option<Span>,
}

#[derive(Debug, Clone)]
pub(super) enum Tree<'a> {
    Scalar(Scalar<'a>),
    Sequence(Vec<Node<'a>>),
    Mapping(Vec<Entry<'a>>),
    /// Something already complained about: every check accepts it in silence.
    Broken,
}

#[derive(Debug, Clone)]
pub(super) struct Entry<'a> {
    pub(super) key: Key<'a>,
    pub(super) value: Node<'a>,
}

#[derive(Debug, Clone)]
pub(super) struct Key<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) span: Span,
}

/// The text of a scalar, before it is typed.
#[derive(Debug, Clone)]
pub(super) struct Scalar<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) style: Style,
    /// How the text came about, if variables were put into it.
    pub(super) expansion: Option<Box<Expansion<'a>>>,
}

/// How a scalar was written. Only a plain one can be anything but text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    /// `|` or `>`.
    Block,
}

/// A text with variables put into it, and where each part of it comes from.
#[derive(Debug, Clone)]
pub(super) struct Expansion<'a> {
    /// The text as it was written.
    pub(super) written: Cow<'a, str>,
    /// How it was written.
    pub(super) style: Style,
    /// The parts in order.
    pub(super) pieces: Vec<Piece>,
}

/// A part of an expanded text.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// Where it begins in the expanded text.
    pub(super) at: usize,
    /// What it was in the written text.
    pub(super) written: std::ops::Range<usize>,
    /// Whether it is the written text itself.
    pub(super) verbatim: bool,
}

impl<'a> Node<'a> {
    pub(super) fn new(tree: Tree<'a>, span: Span) -> Self {
        Self { tree, span, origin: None }
    }

    pub(super) fn broken(span: Span) -> Self {
        Self::new(Tree::Broken, span)
    }

    pub(super) fn is_broken(&self) -> bool {
        matches!(self.tree, Tree::Broken)
    }

    /// The typed scalar; `None` for lists, mappings and what is broken.
    pub(super) fn atom(&self) -> Option<Atom<'_>> {
        match &self.tree {
            Tree::Scalar(scalar) => Some(scalar.atom()),
            _ => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        self.atom() == Some(Atom::Null)
    }

    /// The scalar's text as written, whatever its type; `None` if it is empty or no scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.tree {
            Tree::Scalar(scalar) if scalar.atom() != Atom::Null => Some(&scalar.text),
            _ => None,
        }
    }

    /// What it is, for the sentence "must be …, but is …".
    pub(super) fn describe(&self) -> String {
        match &self.tree {
            Tree::Sequence(_) => "a list".into(),
            Tree::Mapping(_) => "a mapping".into(),
            Tree::Broken => "unreadable".into(),
            Tree::Scalar(scalar) => match scalar.atom() {
                Atom::Null => "empty".into(),
                Atom::Text(text) if scalar.style != Style::Plain && !text.is_empty() => {
                    format!("the text `{}`", shortened(text))
                }
                Atom::Text("") => "an empty text".into(),
                Atom::Text(_) | Atom::Bool(_) | Atom::Integer(_) | Atom::Real(_) => {
                    format!("`{}`", shortened(&scalar.text))
                }
                Atom::Huge(text) => {
                    format!("`{}`, which 64 bits can't hold", shortened(text))
                }
            },
        }
    }

    /// How many nodes it holds with itself, a long text counting as several.
    pub(super) fn weight(&self) -> usize {
        1 + match &self.tree {
            Tree::Scalar(scalar) => scalar.text.len() / 64,
            Tree::Sequence(items) => items.iter().map(Node::weight).sum(),
            Tree::Mapping(entries) => entries.iter().map(|entry| 1 + entry.value.weight()).sum(),
            Tree::Broken => 0,
        }
    }

    /// How deep it nests: 0 for a scalar.
    pub(super) fn depth(&self) -> usize {
        match &self.tree {
            Tree::Scalar(_) | Tree::Broken => 0,
            Tree::Sequence(items) => 1 + items.iter().map(Node::depth).max().unwrap_or(0),
            Tree::Mapping(entries) => {
                1 + entries.iter().map(|entry| entry.value.depth()).max().unwrap_or(0)
            }
        }
    }

    /// The value under `key`, if this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Entry<'a>> {
        match &self.tree {
            Tree::Mapping(entries) => entries.iter().find(|entry| entry.key.name == key),
            _ => None,
        }
    }

    /// The value under `key`, made if need be; what isn't a mapping gives way to one.
    pub(super) fn child(&mut self, key: Key<'a>) -> &mut Self {
        if !matches!(self.tree, Tree::Mapping(_)) {
            let span = if self.is_null() { self.span } else { key.span };
            *self = Self::new(Tree::Mapping(Vec::new()), span);
        }
        let Tree::Mapping(entries) = &mut self.tree else { unreachable!("made a mapping above") };
        let at = entries.iter().position(|entry| entry.key.name == key.name).unwrap_or_else(|| {
            let value = Self::broken(key.span);
            entries.push(Entry { key, value });
            entries.len() - 1
        });
        &mut entries[at].value
    }
}

impl Scalar<'_> {
    pub(super) fn atom(&self) -> Atom<'_> {
        if self.style == Style::Plain { plain(&self.text) } else { Atom::Text(&self.text) }
    }
}

/// The text, cut where it would fill more than a line.
pub(super) fn shortened(text: &str) -> Cow<'_, str> {
    const LONGEST: usize = 60;
    let line = text.lines().next().unwrap_or("");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]).into(),
        None if line.len() < text.trim_end().len() => format!("{line}…").into(),
        None => line.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert_eq!(shortened(&"é".repeat(100)), format!("{}…", "é".repeat(60)));
        assert_eq!(shortened("one\ntwo"), "one…");
        assert_eq!(shortened("one\n"), "one");
    }
}
