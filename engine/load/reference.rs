//! How a stage, or an output of one, is referred to: `STAGE.OUTPUT`, with a combination in brackets.

use std::ops::Range;

use serde_json::Value;

use super::{complaint::Report, schema, yaml};
use crate::graph::Combination;

/// Which of a stage's combinations are meant.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Selector {
    /// `[*]`: all.
    All,
    /// `[filters=8]`: those that have these values.
    Having(Vec<(String, Value)>),
}

impl Selector {
    pub(super) fn matches(&self, combination: &Combination) -> bool {
        match self {
            Self::All => true,
            Self::Having(pairs) => pairs.iter().all(|pair| combination.values.contains(pair)),
        }
    }
}

/// `STAGE` or `STAGE.OUTPUT`, with a selector in brackets after one of the two.
#[derive(Debug, PartialEq)]
pub(super) struct Reference<'t> {
    pub(super) stage: &'t str,
    pub(super) output: Option<&'t str>,
    /// Where the output stands in the text.
    pub(super) output_at: Range<usize>,
    pub(super) selector: Option<Selector>,
    /// Where the selector stands, with its brackets.
    pub(super) selector_at: Range<usize>,
}

/// What is wrong with a reference, and where in the text.
#[derive(Debug, PartialEq)]
pub(super) struct Malformed {
    pub(super) at: Range<usize>,
    pub(super) fault: String,
}

impl<'t> Reference<'t> {
    /// Takes `text` apart.
    pub(super) fn parse(text: &'t str) -> Result<Self, Malformed> {
        let malformed = |at, fault: &str| Malformed { at, fault: fault.to_owned() };
        let stage = &text[..text.find(['.', '[']).unwrap_or(text.len())];
        let mut reference = Self {
            stage,
            output: None,
            output_at: stage.len()..stage.len(),
            selector: None,
            selector_at: stage.len()..stage.len(),
        };
        let mut at = stage.len();
        while at < text.len() {
            let rest = &text[at..];
            if rest.starts_with('[') {
                let end = at
                    + closed(rest).ok_or_else(|| {
                        malformed(at..text.len(), "`[` begins a combination, but no `]` ends it")
                    })?;
                if reference.selector.is_some() {
                    return Err(malformed(at..end, "a combination is named twice"));
                }
                reference.selector = Some(selector(&text[at + 1..end - 1], at + 1)?);
                reference.selector_at = at..end;
                at = end;
            } else if rest.starts_with('.') && reference.output.is_none() {
                let end = rest.find('[').map_or(text.len(), |open| at + open);
                reference.output = Some(&text[at + 1..end]);
                reference.output_at = at + 1..end;
                at = end;
            } else {
                return Err(malformed(at..text.len(), "nothing may follow the combination here"));
            }
        }
        Ok(reference)
    }
}

/// Where the bracket that opens `text` is closed: the place after it.
fn closed(text: &str) -> Option<usize> {
    let mut end = None;
    walk(text, |at, c, depth| {
        let ends = c == ']' && depth == 0;
        if ends {
            end = Some(at + 1);
        }
        ends
    });
    end
}

/// Walks over `text`, telling place, character and how deep in brackets what follows it is, until `stop`. What stands in
/// double quotes is passed over.
fn walk(text: &str, mut stop: impl FnMut(usize, char, usize) -> bool) {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, c) in text.char_indices() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            '"' => quoted = true,
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if stop(at, c, depth) {
            return;
        }
    }
}

/// Where in `text` the first `wanted` stands that is in no brackets and no quotes.
pub(super) fn outside_brackets(text: &str, wanted: char) -> Option<usize> {
    let mut found = None;
    walk(text, |at, c, depth| {
        let here = c == wanted && depth == 0;
        if here {
            found = Some(at);
        }
        here
    });
    found
}

/// Reads what stands between the brackets, which begins at `start` of the whole text.
fn selector(text: &str, start: usize) -> Result<Selector, Malformed> {
    if text.trim() == "*" {
        return Ok(Selector::All);
    }
    let mut pairs = Vec::new();
    let mut at = 0;
    loop {
        let end = outside_brackets(&text[at..], ',').map_or(text.len(), |comma| at + comma);
        let part = &text[at..end];
        let place = start + at..start + end;
        let fault = |fault: String| Malformed { at: place.clone(), fault };
        let Some((axis, written)) = part.split_once('=') else {
            let fault = fault(format!("`{}` is no `AXIS=VALUE`", part.trim()));
            return Err(fault);
        };
        let value = value(written)
            .ok_or_else(|| fault(format!("`{}` is no value of an axis", written.trim())))?;
        pairs.push((axis.trim().to_owned(), value));
        if end == text.len() {
            return Ok(Selector::Having(pairs));
        }
        at = end + 1;
    }
}

/// The value that is written as `text` in YAML's flow style.
fn value(text: &str) -> Option<Value> {
    let mut report = Report::default();
    let text = yaml::Text { source: 0, start: 0, content: text, flow: true };
    let value = schema::free(&yaml::parse(text, &mut report)?, &mut report)?;
    report.is_empty().then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn combination(values: &[(&str, Value)]) -> Combination {
        let values = values.iter().map(|(axis, value)| ((*axis).to_owned(), value.clone()));
        Combination { values: values.collect() }
    }

    fn having(pairs: &[(&str, Value)]) -> Selector {
        Selector::Having(combination(pairs).values)
    }

    #[test]
    fn references_are_taken_apart() {
        let parts = |text| {
            let reference = Reference::parse(text).unwrap();
            (reference.stage, reference.output, reference.selector)
        };
        assert_eq!(parts("train"), ("train", None, None));
        assert_eq!(parts("clean.table.csv"), ("clean", Some("table.csv"), None));
        assert_eq!(
            parts("train.checkpoint[*]"),
            ("train", Some("checkpoint"), Some(Selector::All))
        );
        let one = Some(having(&[("rate", json!(0.001)), ("dense", json!([16, 8]))]));
        assert_eq!(parts("train[rate=1e-3, dense=[16,8]]"), ("train", None, one.clone()));
        assert_eq!(parts("train[rate=0.001,dense=[16, 8]].a.b"), ("train", Some("a.b"), one));
        let text = Some(having(&[("note", json!("a]b,c=\"d"))]));
        assert_eq!(parts(r#"t.o[note="a]b,c=\"d"]"#), ("t", Some("o"), text));
        assert_eq!(
            parts("t[axis.start=-.5]"),
            ("t", None, Some(having(&[("axis.start", json!(-0.5))])))
        );
    }

    #[test]
    fn what_is_no_reference_is_refused_at_its_place() {
        for (text, at, part) in [
            ("t[a=1", 1..5, "no `]` ends it"),
            ("t[a=1][b=2]", 6..11, "twice"),
            ("t[a=1]x", 6..7, "nothing may follow"),
            ("t[]", 2..2, "no `AXIS=VALUE`"),
            ("t.o[a]", 4..5, "no `AXIS=VALUE`"),
            ("t[a=1,b={]", 1..10, "no `]` ends it"),
            ("t[a=1,b='x]", 6..10, "no value"),
        ] {
            let malformed = Reference::parse(text).unwrap_err();
            assert_eq!(malformed.at, at, "{text}");
            assert!(malformed.fault.contains(part), "{text}: {}", malformed.fault);
        }
    }

    proptest! {
        #[test]
        fn a_label_is_read_back_as_what_it_was(
            text in "\\PC{0,12}|[-\\[\\]{},=\"'*&#:!a1.~]{0,6}",
            number in any::<i64>(),
            real in -1e9_f64..1e9,
            items in prop::collection::vec("[a-z,\\]\"]{0,3}", 0..3),
        ) {
            let real = if real.fract() == 0.0 { json!(real as i64) } else { json!(real) };
            let all = [("t", json!(text)), ("n", json!(number)), ("r", real), ("l", json!(items)), ("z", json!(null))];
            let written = format!("stage[{}]", combination(&all));
            let reference = Reference::parse(&written).map_err(|error| TestCaseError::fail(format!("{written}: {error:?}")))?;
            prop_assert_eq!(reference.selector, Some(having(&all)), "{}", written);
        }

        #[test]
        fn no_text_makes_parsing_panic(text in "[a=,.\\[\\]{}\"'\\\\* é]{0,16}") {
            let _ = Reference::parse(&text);
        }
    }
}
