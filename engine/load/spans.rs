//! From a part of a scalar's text back to the bytes of the file, for a caret under the very word.

use std::ops::Range;

use super::node::{Node, Style, Tree};
use crate::base::span::{Source, Span};

/// Texts longer than this many bytes are not searched: their place is the whole.
const LONGEST: usize = 1 << 16;

/// The place of the bytes `part` of the text of `node`; the whole of `node` if they can't be told apart there.
pub(super) fn of(node: &Node<'_>, part: Range<usize>, sources: &[Source]) -> Span {
    let Tree::Scalar(scalar) = &node.tree else { return node.span };
    let Some(expansion) = &scalar.expansion else {
        return within(node.span, scalar.style, &scalar.text, part, sources);
    };
    // The last piece that begins at or before the part.
    let index = expansion.pieces.partition_point(|piece| piece.at <= part.start);
    let Some(piece) = index.checked_sub(1).and_then(|index| expansion.pieces.get(index)) else {
        return node.span;
    };
    let written = if piece.verbatim {
        let start = piece.written.start + (part.start - piece.at);
        let end = start + part.len();
        start.min(piece.written.end)..end.min(piece.written.end)
    } else {
        piece.written.clone()
    };
    within(node.span, expansion.style, &expansion.written, written, sources)
}

fn within(span: Span, style: Style, text: &str, part: Range<usize>, sources: &[Source]) -> Span {
    if text.len() > LONGEST {
        return span;
    }
    let found = sources
        .get(span.source as usize)
        .and_then(|source| source.text.get(span.range()))
        .and_then(|raw| align(raw, style, text, part));
    found.map_or(span, |range| {
        let start = span.start as usize;
        Span::new(span.source as usize, start + range.start..start + range.end)
    })
}

/// Walks the written form `raw` beside its meaning `text` until both ends of `part` are found.
fn align(raw: &str, style: Style, text: &str, part: Range<usize>) -> Option<Range<usize>> {
    let mut at = match style {
        Style::SingleQuoted if !raw.starts_with('\'') => 0,
        Style::SingleQuoted | Style::DoubleQuoted => 1,
        // The header `|` or `>` ends with its line.
        Style::Block if raw.starts_with(['|', '>']) => raw.find('\n')? + 1,
        Style::Plain | Style::Block => 0,
    };
    let mut start = None;
    for (offset, meant) in text.char_indices().chain([(text.len(), '\0')]) {
        if offset >= part.end && start.is_some() {
            return start.map(|start| start..at);
        }
        let end_of_text = offset == text.len();
        if !end_of_text {
            at = skip(raw, at, style, meant)?;
        }
        if offset >= part.start && start.is_none() {
            start = Some(at);
            if part.is_empty() {
                return Some(at..at);
            }
        }
        if !end_of_text {
            at += width(&raw[at..], style, meant)?;
        }
    }
    start.map(|start| start..at)
}

/// Skips what stands in the written form without a meaning of its own: indentation, and line breaks that are folded.
fn skip(raw: &str, mut at: usize, style: Style, meant: char) -> Option<usize> {
    loop {
        let rest = raw.get(at..)?;
        if style == Style::DoubleQuoted && (rest.starts_with("\\\n") || rest.starts_with("\\\r\n"))
        {
            at += rest.find('\n')? + 1;
            at += raw[at..].len() - raw[at..].trim_start().len();
            continue;
        }
        let next = rest.chars().next()?;
        if next == meant || !next.is_whitespace() || meant.is_whitespace() {
            return Some(at);
        }
        at += next.len_utf8();
    }
}

/// How many bytes of the written form stand for the character `meant`.
fn width(rest: &str, style: Style, meant: char) -> Option<usize> {
    let next = rest.chars().next()?;
    if style == Style::DoubleQuoted && next == '\\' {
        let escape = rest[1..].chars().next()?;
        return Some(match escape {
            'x' => 4,
            'u' => 6,
            'U' => 10,
            other => 1 + other.len_utf8(),
        });
    }
    if style == Style::SingleQuoted && rest.starts_with("''") {
        return Some(2);
    }
    if next == meant {
        return Some(next.len_utf8());
    }
    // A folded line break: all the white space around it stands for one character.
    (meant.is_whitespace() && next.is_whitespace())
        .then(|| rest.len() - rest.trim_start_matches(char::is_whitespace).len())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{complaint::Report, yaml},
        *,
    };

    fn place(yaml: &str, word: &str) -> String {
        let sources = [Source { name: "p".into(), text: yaml.into() }];
        let text = yaml::Text { source: 0, start: 0, content: &sources[0].text, flow: false };
        let root = yaml::parse(text, &mut Report::default()).unwrap();
        let node = &root.get("k").unwrap().value;
        let start = node.text().unwrap().find(word).unwrap();
        let span = of(node, start..start + word.len(), &sources);
        let (line, column) = sources[0].position(span.start as usize);
        format!("{line}:{column} {}", &yaml[span.range()])
    }

    #[test]
    fn the_word_is_found_in_every_style() {
        assert_eq!(place("k: α {b} c\n", "{b}"), "1:6 {b}");
        assert_eq!(place("k: 'it''s {b}'\n", "{b}"), "1:11 {b}");
        assert_eq!(place(r#"k: "\t\"\u00e9 {b}" "#, "{b}"), "1:16 {b}");
        assert_eq!(place("k: \"a \\\n   {b}\"\n", "{b}"), "2:4 {b}");
        assert_eq!(place("k: one\n  two {b}\n", "{b}"), "2:7 {b}");
        assert_eq!(place("k: |\n  one\n    two\n  x {b}\n", "{b}"), "4:5 {b}");
        assert_eq!(place("k: >-\n  one\n  two\n\n  x {b}\n", "{b}"), "5:5 {b}");
    }
}
