//! A YAML value that remembers where it was written.

use std::borrow::Cow;

use super::complaint::Span;

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

/// A scalar with its type, by the core schema of YAML 1.2 (<https://yaml.org/spec/1.2.2/#103-core-schema>), except
/// that a number with a leading zero is text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Atom<'n> {
    Null,
    Bool(bool),
    /// From the least `i64` to the largest `u64`.
    Integer(i128),
    /// May be infinite or not a number.
    Real(f64),
    Text(&'n str),
    /// A whole number that 64 bits can't hold.
    Huge(&'n str),
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

/// Types a plain scalar.
pub(super) fn plain(text: &str) -> Atom<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Atom::Null,
        "true" | "True" | "TRUE" => return Atom::Bool(true),
        "false" | "False" | "FALSE" => return Atom::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Atom::Real(f64::NAN),
        _ => {}
    }
    let (negative, unsigned) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Atom::Real(if negative { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Atom::Text(text);
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let written = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
            return match u64::from_str_radix(digits, radix) {
                Ok(n) if written => Atom::Integer(n.into()),
                Err(_) if written => Atom::Huge(text),
                _ => Atom::Text(text),
            };
        }
    }
    let bytes = unsigned.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(0);
    if whole > 1 && bytes[0] == b'0' {
        return Atom::Text(text);
    }
    if whole == bytes.len() {
        return match text.parse::<i128>() {
            Ok(n) if i128::from(i64::MIN) <= n && n <= i128::from(u64::MAX) => Atom::Integer(n),
            _ => Atom::Huge(text),
        };
    }
    let mut at = whole;
    let mut fraction = 0;
    if bytes.get(at) == Some(&b'.') {
        fraction = digits(at + 1);
        at += 1 + fraction;
    }
    if whole + fraction == 0 {
        return Atom::Text(text);
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = if at + 1 + sign <= bytes.len() { digits(at + 1 + sign) } else { 0 };
        if exponent == 0 {
            return Atom::Text(text);
        }
        at += 1 + sign + exponent;
    }
    match text.parse() {
        Ok(number) if at == bytes.len() => Atom::Real(number),
        _ => Atom::Text(text),
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
    fn plain_scalars_follow_the_core_schema() {
        for text in ["", "~", "null", "NULL"] {
            assert_eq!(plain(text), Atom::Null, "{text}");
        }
        for text in [
            "yes", "no", "on", "off", "y", "0123", "00", "-007", "1_000", "1e", "1e+", ".", "-",
            "+", "-.", "1.2.3", "0x", "0xg", "-0x1", "0o8", "1:30", "e3", ".e3", "12a", "nan",
            "inf", "NaN", "𝟙", "tRue",
        ] {
            assert_eq!(plain(text), Atom::Text(text));
        }
        assert_eq!(plain("0"), Atom::Integer(0));
        assert_eq!(plain("-12"), Atom::Integer(-12));
        assert_eq!(plain("+12"), Atom::Integer(12));
        assert_eq!(plain("0x1F"), Atom::Integer(31));
        assert_eq!(plain("0o17"), Atom::Integer(15));
        assert_eq!(plain("18446744073709551615"), Atom::Integer(u64::MAX.into()));
        assert_eq!(plain("18446744073709551616"), Atom::Huge("18446744073709551616"));
        assert_eq!(plain("-9223372036854775809"), Atom::Huge("-9223372036854775809"));
        let endless = "9".repeat(10_000);
        assert_eq!(plain(&endless), Atom::Huge(&endless));
        for (text, value) in [
            ("1e-3", 0.001),
            ("0.001", 0.001),
            (".5", 0.5),
            ("-.5", -0.5),
            ("1.", 1.0),
            ("+1E3", 1000.0),
        ] {
            assert_eq!(plain(text), Atom::Real(value), "{text}");
        }
        assert_eq!(plain("-.inf"), Atom::Real(f64::NEG_INFINITY));
        assert!(matches!(plain(".nan"), Atom::Real(x) if x.is_nan()));
        assert_eq!(plain("1e999"), Atom::Real(f64::INFINITY));
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert_eq!(shortened(&"é".repeat(100)), format!("{}…", "é".repeat(60)));
        assert_eq!(shortened("one\ntwo"), "one…");
        assert_eq!(shortened("one\n"), "one");
    }
}
