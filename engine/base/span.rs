//! Places in the texts that make up a pipeline.

use std::ops::Range;

/// A range of bytes in one of the texts that make up a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Which text: an index into the sources of a pipeline, or of the complaints about one.
    pub source: u32,
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Span {
    pub(crate) fn new(source: usize, range: Range<usize>) -> Self {
        Self { source: source as u32, start: range.start as u32, end: range.end as u32 }
    }

    /// The range of bytes in the source's text.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// From the start of `self` to the end of `other`.
    pub(crate) fn to(self, other: Self) -> Self {
        if other.source == self.source && other.end >= self.start {
            Self { end: other.end, ..self }
        } else {
            self
        }
    }
}

/// A text that makes up a pipeline: its file, or what `--set` gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file's path as it was given, or `--set`.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl Source {
    /// The line and the column of a byte, both counted from 1, the column in characters.
    pub fn position(&self, byte: usize) -> (usize, usize) {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1;
        }
        let before = &self.text[..byte];
        let line = before.rfind('\n').map_or(0, |newline| newline + 1);
        let number = before.bytes().filter(|&b| b == b'\n').count() + 1;
        (number, before[line..].trim_start_matches('\u{feff}').chars().count() + 1)
    }
}
