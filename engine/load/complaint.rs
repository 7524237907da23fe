//! What is wrong with a pipeline: messages with the places that they speak of. Data only; drawing is the caller's.

use crate::base::span::{Source, Span};
use std::fmt;

/// A place that a complaint speaks of, and what it says there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What is said of the place; may be empty.
    pub text: String,
}

/// One thing that is wrong with a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// What is wrong: a lower-case fragment without a full stop, names in backticks.
    pub message: String,
    /// The places, the one at fault first. Empty only if the file could not be read at all.
    pub labels: Vec<Label>,
    /// What to do about it, if that isn't plain.
    pub help: Option<String>,
}

impl Complaint {
    pub(super) fn new(span: Span, message: impl Into<String>) -> Self {
        let label = Label { span, text: String::new() };
        Self { message: message.into(), labels: vec![label], help: None }
    }

    /// What is said at the first place.
    pub(super) fn here(mut self, text: impl Into<String>) -> Self {
        if let Some(label) = self.labels.first_mut() {
            label.text = text.into();
        }
        self
    }

    pub(super) fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Offers the word that was probably meant, or says `otherwise`.
    pub(super) fn suggest(self, meant: Option<&str>, otherwise: impl FnOnce() -> String) -> Self {
        let help = meant.map_or_else(otherwise, |meant| format!("did you mean `{meant}`?"));
        if help.is_empty() { self } else { self.help(help) }
    }
}

/// All that is wrong with a pipeline, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Complaints {
    /// The texts that the places lie in.
    pub sources: Vec<Source>,
    /// At least one complaint.
    pub complaints: Vec<Complaint>,
}

impl fmt::Display for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, complaint) in self.complaints.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            if let Some(Label { span, .. }) = complaint.labels.first()
                && let Some(source) = self.sources.get(span.source as usize)
            {
                let (line, column) = source.position(span.start as usize);
                write!(f, "{}:{line}:{column}: ", source.name)?;
            }
            f.write_str(&complaint.message)?;
        }
        Ok(())
    }
}

/// Where complaints are collected while a pipeline is read.
#[derive(Debug, Default)]
pub(super) struct Report {
    complaints: Vec<Complaint>,
}

impl Report {
    /// Past this many complaints no more suggestions are looked for: each looks at every name there is.
    const SUGGESTIONS: usize = 100;
    /// Complaints past these are dropped: nobody reads them, and a hostile text could make millions.
    const MOST: usize = 1000;

    pub(super) fn push(&mut self, complaint: Complaint) {
        if !self.is_full() {
            self.complaints.push(complaint);
        }
    }

    /// Whether no more complaints are taken.
    pub(super) fn is_full(&self) -> bool {
        self.complaints.len() >= Self::MOST
    }

    pub(super) fn is_empty(&self) -> bool {
        self.complaints.is_empty()
    }

    /// Takes over the complaints of `other` that weren't made before.
    pub(super) fn take(&mut self, other: Self) {
        for complaint in other.complaints {
            if !self.complaints.contains(&complaint) {
                self.push(complaint);
            }
        }
    }

    /// The one of `names` that was probably meant by `word`.
    pub(super) fn meant<'n>(
        &self,
        word: &str,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Option<&'n str> {
        if self.complaints.len() < Self::SUGGESTIONS {
            super::suggestion::closest(word, names)
        } else {
            None
        }
    }

    /// The complaints, by place.
    pub(super) fn sorted(mut self) -> Vec<Complaint> {
        self.complaints.sort_by_key(|complaint| complaint.labels.first().map(|label| label.span));
        self.complaints.dedup();
        self.complaints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_count_from_one() {
        let source = Source { name: "p".into(), text: "a: é\nβγ: 1\n".into() };
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(source.text.find('1').unwrap()), (2, 5));
        assert_eq!(source.position(10_000), (3, 1));
    }

    #[test]
    fn a_byte_order_mark_has_no_column() {
        let source = Source { name: "p".into(), text: "\u{feff}ab".into() };
        assert_eq!(source.position(4), (1, 2));
    }
}
