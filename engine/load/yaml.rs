//! YAML text into [`Node`]s. Built on the parser's events rather than on serde: two places for a duplicate key, the
//! style of every scalar, and going on after a complaint are beyond a `Deserialize` with spans.

use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, StrInput, StructureStyle};

use super::{
    complaint::{Complaint, Report},
    entries,
    node::{DEPTH, Entry, Key, Node, Scalar, Style, Tree},
};
use crate::base::span::Span;

/// How many values a text may hold, aliases written out.
const NODES: usize = 1_000_000;

/// A part of a source's text that is YAML by itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) source: usize,
    /// Where it begins in the source.
    pub(super) start: usize,
    pub(super) content: &'a str,
    /// Whether only a scalar, `[…]` or `{…}` may stand there.
    pub(super) flow: bool,
}

/// Reads one YAML document. An empty one is an empty scalar. `None` if the text isn't YAML that can be
/// used; a complaint says why.
pub(super) fn parse<'a>(text: Text<'a>, report: &mut Report) -> Option<Node<'a>> {
    if let Err(complaint) = check_directives(text) {
        report.push(*complaint);
        return None;
    }
    let options = granit_parser::options! {
        disallow_directives: text.flow,
        emit_comments: false,
        emit_unresolved_aliases: true,
        flow_nesting_limit: 2 * DEPTH,
        block_nesting_limit: 2 * DEPTH,
    };
    let mut builder = Builder {
        parser: Parser::new_from_str_with_options(text.content, options),
        text,
        anchors: HashMap::new(),
        left: NODES,
        report,
    };
    match builder.document() {
        Ok(node) => Some(node),
        Err(complaint) => {
            builder.report.push(*complaint);
            None
        }
    }
}

/// Checks the directives at the top: that the text is YAML 1.2 may be said, and nothing else.
fn check_directives(text: Text<'_>) -> Result<(), Stop> {
    let mut at = 0;
    for line in text.content.split_inclusive('\n') {
        let words = line.trim_start_matches('\u{feff}').trim_end();
        let span = Span::new(text.source, text.start + at..text.start + at + line.trim_end().len());
        at += line.len();
        if let Some(directive) = words.strip_prefix('%') {
            let directive: Vec<&str> =
                directive.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
            match directive[..] {
                ["YAML", "1.2"] => {}
                ["YAML", ..] => {
                    return Err(Complaint::new(span, "what is read here is YAML 1.2")
                        .help("write `%YAML 1.2`, or leave the line out")
                        .into());
                }
                _ => {
                    return Err(Complaint::new(span, "such a directive means nothing here")
                        .help("leave the line out")
                        .into());
                }
            }
        } else if !words.is_empty() && !words.starts_with('#') {
            break;
        }
    }
    Ok(())
}

/// A complaint that ends the reading.
type Stop = Box<Complaint>;

struct Anchored<'a> {
    node: Node<'a>,
    weight: usize,
    depth: usize,
}

struct Builder<'a, 'r> {
    parser: Parser<'a, StrInput<'a>>,
    text: Text<'a>,
    anchors: HashMap<usize, Anchored<'a>>,
    /// How many more nodes may be made.
    left: usize,
    report: &'r mut Report,
}

impl<'a> Builder<'a, '_> {
    fn document(&mut self) -> Result<Node<'a>, Stop> {
        let mut root = None;
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) => {
                    if root.is_some() {
                        return Err(Complaint::new(span, "a second YAML document begins here")
                            .help("a pipeline is one document: remove the `---`")
                            .into());
                    }
                }
                event => {
                    let node = self.node(event, span, 0)?;
                    root.get_or_insert(node);
                }
            }
        }
        Ok(root.unwrap_or_else(|| {
            let scalar = Scalar { text: "".into(), style: Style::Plain, expansion: None };
            Node::new(Tree::Scalar(scalar), self.span(0..0))
        }))
    }

    fn span(&self, range: std::ops::Range<usize>) -> Span {
        Span::new(self.text.source, self.text.start + range.start..self.text.start + range.end)
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Stop> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => {
                let range = span.byte_range().unwrap_or(0..0);
                let end = range.end.max(range.start);
                Ok(Some((event, self.span(range.start..end))))
            }
            Some(Err(error)) => Err(self.syntax(&error).into()),
        }
    }

    /// Says what the parser stumbled over.
    fn syntax(&self, error: &granit_parser::ScanError) -> Complaint {
        let at = error.marker().byte_offset().unwrap_or(0).min(self.text.content.len());
        let rest = self.text.content.get(at..).unwrap_or("");
        let width = rest.chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8);
        let before = &self.text.content[..self.text.content.len() - rest.len()];
        let line = &before[before.rfind('\n').map_or(0, |newline| newline + 1)..];
        if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
            return Self::too_deep(self.span(at..at + width));
        }
        let complaint = Complaint::new(
            self.span(at..at + width),
            format!("this is not YAML: {}", error.info().trim_end_matches('.')),
        );
        let line_end = rest.find('\n').map_or(rest, |newline| &rest[..newline]);
        let whole: String = [line, line_end].concat();
        if whole.contains("${") {
            complaint.help("inside `{…}` and `[…]`, `${name}` must stand in quotes: `\"${name}\"`")
        } else if whole.contains("[*]") {
            complaint.help("inside `{…}` and `[…]`, `stage.output[*]` must stand in quotes: `\"stage.output[*]\"`")
        } else if line.starts_with('\t') || line_end.starts_with('\t') {
            complaint.help("YAML is indented with spaces, not with tabs")
        } else {
            complaint
        }
    }

    fn too_deep(span: Span) -> Complaint {
        Complaint::new(span, format!("nested deeper than {DEPTH} levels"))
    }

    fn spend(&mut self, weight: usize, span: Span) -> Result<(), Stop> {
        let Some(left) = self.left.checked_sub(weight) else {
            return Err(Complaint::new(span, format!("the text holds more than {NODES} values"))
                .help("an alias counts as often as it is used")
                .into());
        };
        self.left = left;
        Ok(())
    }

    /// The node that begins with `event`.
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node<'a>, Stop> {
        self.spend(1, span)?;
        let (node, anchor) = match event {
            Event::Alias(id) => {
                let Some(anchored) = self.anchors.get(&id) else {
                    return Err(
                        Complaint::new(span, "the alias stands within what it refers to").into()
                    );
                };
                if depth + anchored.depth > DEPTH {
                    return Err(Self::too_deep(span).into());
                }
                let weight = anchored.weight;
                self.spend(weight, span)?;
                // `get` again: `spend` needs the whole of `self`.
                let mut node =
                    self.anchors.get(&id).map_or_else(|| Node::broken(span), |a| a.node.clone());
                node.origin = Some(node.span);
                node.span = span;
                return Ok(node);
            }
            Event::UnresolvedAlias(name) => {
                self.report.push(
                    Complaint::new(span, format!("no anchor is called `{name}`")).help(
                        "a plain text can't begin with `*`: put it in quotes if it is no alias",
                    ),
                );
                return Ok(Node::broken(span));
            }
            Event::Scalar(text, style, anchor, tag) => {
                let mut style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted => Style::SingleQuoted,
                    ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                };
                if let Some(tag) = tag {
                    let means_text = tag.core_suffix() == Some("str") || tag.original() == "!";
                    if !means_text {
                        self.refuse_tag(&tag.original(), span);
                    } else if style == Style::Plain {
                        style = Style::SingleQuoted;
                    }
                }
                self.spend(text.len() / 64, span)?;
                (Node::new(Tree::Scalar(Scalar { text, style, expansion: None }), span), anchor)
            }
            Event::SequenceStart(style, anchor, tag) => {
                if depth == DEPTH {
                    return Err(Self::too_deep(span).into());
                }
                self.check_collection(style, tag.as_deref(), span)?;
                (self.sequence(span, depth)?, anchor)
            }
            Event::MappingStart(style, anchor, tag) => {
                if depth == DEPTH {
                    return Err(Self::too_deep(span).into());
                }
                self.check_collection(style, tag.as_deref(), span)?;
                (self.mapping(span, depth)?, anchor)
            }
            _ => return Ok(Node::broken(span)),
        };
        if anchor != 0 {
            let anchored =
                Anchored { weight: node.weight(), depth: node.depth(), node: node.clone() };
            self.spend(anchored.weight, span)?;
            self.anchors.insert(anchor, anchored);
        }
        Ok(node)
    }

    fn refuse_tag(&mut self, tag: &str, span: Span) {
        self.report.push(
            Complaint::new(span, format!("the tag `{tag}` means nothing here"))
                .help("only `!!str` is known, which makes a text of what would be a number"),
        );
    }

    fn check_collection(
        &mut self,
        style: StructureStyle,
        tag: Option<&granit_parser::Tag>,
        span: Span,
    ) -> Result<(), Stop> {
        if let Some(tag) = tag {
            self.refuse_tag(&tag.original(), span);
        }
        if self.text.flow && style == StructureStyle::Block {
            return Err(Complaint::new(
                span,
                "the value reads as a list or a mapping in block style",
            )
            .help("put a text in quotes; write a list as `[a, b]` and a mapping as `{a: b}`")
            .into());
        }
        Ok(())
    }

    fn sequence(&mut self, start: Span, depth: usize) -> Result<Node<'a>, Stop> {
        // Most lists and flow mappings are short, and there may be very many.
        let mut items: Vec<Node<'a>> = Vec::with_capacity(1);
        let mut span = start;
        while let Some((event, at)) = self.next()? {
            if matches!(event, Event::SequenceEnd) {
                if at.start < at.end {
                    span = span.to(at);
                }
                break;
            }
            let item = self.node(event, at, depth + 1)?;
            span = span.to(item.span);
            items.push(item);
        }
        Ok(Node::new(Tree::Sequence(items), span))
    }

    fn mapping(&mut self, start: Span, depth: usize) -> Result<Node<'a>, Stop> {
        let mut entries: Vec<Entry<'a>> = Vec::with_capacity(1);
        let mut merged: Vec<Node<'a>> = Vec::new();
        let mut span = start;
        while let Some((event, at)) = self.next()? {
            if matches!(event, Event::MappingEnd) {
                if at.start < at.end {
                    span = span.to(at);
                }
                break;
            }
            let merges =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = self.node(event, at, depth + 1)?;
            let Some((event, at)) = self.next()? else { break };
            let mut value = self.node(event, at, depth + 1)?;
            // An empty value has no place of its own.
            if value.span.start >= value.span.end && value.is_null() {
                value.span = key.span;
            }
            span = span.to(key.span).to(value.span);
            match key.tree {
                _ if merges => merged.push(value),
                Tree::Scalar(scalar) => {
                    let key = Key { name: scalar.text, span: key.span };
                    entries.push(Entry { key, value });
                }
                Tree::Broken => {}
                Tree::Sequence(_) | Tree::Mapping(_) => self.report.push(Complaint::new(
                    key.span,
                    format!(
                        "a key must be a text, but is {}",
                        if matches!(key.tree, Tree::Sequence(_)) { "a list" } else { "a mapping" }
                    ),
                )),
            }
        }
        entries::refuse_duplicates(&mut entries, self.report);
        for node in merged {
            entries::merge(&mut entries, node, self.report);
        }
        Ok(Node::new(Tree::Mapping(entries), span))
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn read(text: &str) -> (Option<Node<'_>>, Vec<Complaint>) {
        let mut report = Report::default();
        let node = parse(Text { source: 0, start: 0, content: text, flow: false }, &mut report);
        (node, report.sorted())
    }

    fn messages(text: &str) -> Vec<String> {
        read(text).1.into_iter().map(|complaint| complaint.message).collect()
    }

    #[test]
    fn places_are_bytes_in_texts_of_many_bytes_a_character() {
        for text in ["\u{feff}é: ß\nλ: [μ, \"ν\"]\n", "é: ß\r\nλ: [μ, \"ν\"]\r\n"] {
            let node = read(text).0.unwrap();
            let at = |node: &Node<'_>| text[node.span.range()].to_owned();
            let first = node.get("é").unwrap();
            assert_eq!(&text[first.key.span.range()], "é");
            assert_eq!(at(&first.value), "ß");
            let Tree::Sequence(items) = &node.get("λ").unwrap().value.tree else { panic!() };
            assert_eq!(at(&items[0]), "μ");
            assert_eq!(at(&items[1]), "\"ν\"");
            assert_eq!(at(&node.get("λ").unwrap().value), "[μ, \"ν\"]");
        }
    }

    #[test]
    fn an_empty_value_stands_at_its_key() {
        let text = "a:\n  split:\n\n\n  b: 1\n";
        let node = read(text).0.unwrap();
        let split = &node.get("a").unwrap().value.get("split").unwrap().value;
        assert!(split.is_null());
        assert_eq!(&text[split.span.range()], "split");
    }

    #[test]
    fn a_block_ends_with_its_last_word() {
        let text = "a:\n  b: 1\n  c: two\n\n# comment\n\nd: 1\n";
        let node = read(text).0.unwrap();
        assert_eq!(&text[node.get("a").unwrap().value.span.range()], "b: 1\n  c: two");
    }

    #[test]
    fn duplicates_name_both_places() {
        let text = "a: 1\nb: 2\na: 3\n";
        let (node, complaints) = read(text);
        assert_eq!(complaints[0].message, "the key `a` is given twice");
        assert_eq!(complaints[0].labels[0].span.range(), 10..11);
        assert_eq!(complaints[0].labels[1].span.range(), 0..1);
        assert_eq!(node.unwrap().get("a").unwrap().value.text(), Some("1"));
        let many = (0..20).map(|i| format!("k{}: 1", i % 19)).collect::<Vec<_>>().join("\n");
        assert_eq!(messages(&many), ["the key `k0` is given twice"]);
    }

    #[test]
    fn aliases_and_merges_are_written_out() {
        let text = "base: &b { x: 1, y: 2 }\nuse: { <<: *b, y: 3 }\nall: *b\n";
        let (node, complaints) = read(text);
        assert_eq!(complaints, []);
        let node = node.unwrap();
        let used = &node.get("use").unwrap().value;
        assert_eq!(used.get("x").unwrap().value.text(), Some("1"));
        assert_eq!(used.get("y").unwrap().value.text(), Some("3"));
        assert_eq!(node.get("all").unwrap().value.get("y").unwrap().value.text(), Some("2"));
        assert_eq!(messages("a: *nothing"), ["no anchor is called `nothing`"]);
        assert_eq!(messages("a: &a [*a]"), ["the alias stands within what it refers to"]);
        assert_eq!(messages("a: { <<: 3 }"), ["`<<` merges mappings only"]);
    }

    #[test]
    fn a_bomb_of_aliases_is_defused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..30 {
            let aliases = vec![format!("*a{}", i - 1); 10].join(", ");
            writeln!(text, "a{i}: &a{i} [{aliases}]").unwrap();
        }
        assert_eq!(messages(&text), ["the text holds more than 1000000 values"]);
        let mut text = String::from("a0: &a0 [x]\n");
        for i in 1..200 {
            writeln!(text, "a{i}: &a{i} [*a{}]", i - 1).unwrap();
        }
        assert_eq!(messages(&text), ["nested deeper than 64 levels"]);
    }

    #[test]
    fn what_is_not_one_sound_document_is_refused() {
        let deep = "[".repeat(100_000);
        let wide = format!("a: {}", "{x: ".repeat(100));
        for (text, part) in [
            (deep.as_str(), "nested deeper"),
            (wide.as_str(), "nested deeper"),
            ("a: 1\n---\nb: 2\n", "a second YAML document"),
            ("a: [1, 2\nb: 3\n", "this is not YAML"),
            ("a:\n\tb: 1\n", "this is not YAML"),
            ("%YAML 1.1\n---\na: 1\n", "what is read here is YAML 1.2"),
            ("# x\n%YAML\n---\na: 1\n", "what is read here is YAML 1.2"),
            ("%TAG ! tag:x,2026:\n---\na: 1\n", "such a directive means nothing here"),
            ("%YAML 1.2\na: 1\n", "this is not YAML"),
            ("%YAML 1.2\n%YAML 1.2\n---\na: 1\n", "this is not YAML"),
            ("a: 1\n...\n%YAML 1.2\n---\nb: 1\n", "a second YAML document"),
            ("? [a, b]\n: 1\n", "a key must be a text, but is a list"),
            ("a: !!set {x}\n", "the tag `!!set` means nothing here"),
            ("a: !thing 3\n", "the tag `!thing` means nothing here"),
        ] {
            let messages = messages(text);
            assert!(messages[0].contains(part), "{messages:?}");
        }
        assert_eq!(
            read("a: !!str 3").0.unwrap().get("a").unwrap().value.describe(),
            "the text `3`"
        );
        for head in
            ["%YAML 1.2\n---\n", "\u{feff}%YAML 1.2\r\n---\r\n", "# x\n%YAML 1.2 # y\n---\n"]
        {
            let text = format!("{head}a: 1\n");
            let (node, complaints) = read(&text);
            assert!(complaints.is_empty(), "{head:?}: {complaints:?}");
            assert!(node.unwrap().get("a").is_some(), "{head:?}");
        }
        assert!(read("").0.unwrap().is_null());
        assert!(read("# nothing\n").0.unwrap().is_null());
    }

    #[test]
    fn the_usual_slips_get_help() {
        assert!(read("a: { b: ${x} }\n").1[0].help.as_ref().unwrap().contains("quotes"));
        assert!(read("a:\n\tb: 1\n").1[0].help.as_ref().unwrap().contains("tabs"));
    }
}
