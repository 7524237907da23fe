//! Where text goes: results to stdout, messages to stderr, each with colours or without. Nothing else prints, so nothing that
//! comes from data reaches a terminal as it is.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
};

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

use super::text::{self, ERROR, HELP, Style, WARNING, styled};

/// Writes to stdout and stderr.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    color: ColorChoice,
}

impl Printer {
    pub(crate) fn new(color: ColorChoice) -> Self {
        Self { color }
    }

    /// Writes a result of one line, and a newline.
    pub(crate) fn result(self, text: impl Display) -> io::Result<()> {
        self.block(text::one_line(&text.to_string()))
    }

    /// Writes a result of several lines. What is within a line stays there, whatever it is made of.
    pub(crate) fn lines(self, lines: impl IntoIterator<Item = String>) -> io::Result<()> {
        lines.into_iter().try_for_each(|line| self.result(line))
    }

    /// Writes a text that may have several lines as a result, and a newline.
    pub(crate) fn block(self, text: impl Display) -> io::Result<()> {
        let colored = self.is_colored(&io::stdout());
        Self::write(format!("{}\n", text::render(&text.to_string(), colored)).as_bytes())
    }

    /// Writes a part of a text, without a newline.
    pub(crate) fn piece(self, text: impl Display) -> io::Result<()> {
        let colored = self.is_colored(&io::stdout());
        Self::write(text::render(&text.to_string(), colored).as_bytes())
    }

    /// Writes a result as JSON, and a newline.
    pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
        let json = serde_json::to_string_pretty(value)?;
        Self::write(format!("{}\n", text::json(&json)).as_bytes())
    }

    /// Writes bytes that may be for a program: as they are, unless they go to a terminal.
    pub(crate) fn bytes(bytes: &[u8]) -> io::Result<()> {
        if io::stdout().is_terminal() {
            return Self::write(text::render(&String::from_utf8_lossy(bytes), false).as_bytes());
        }
        Self::write(bytes)
    }

    fn write(bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    /// Writes a message of one line, and a newline. Nobody can be told when stderr can't be written.
    pub(crate) fn message(self, text: impl Display) {
        self.messages(&text::one_line(&text.to_string()));
    }

    /// Writes a message that may have several lines, and a newline.
    pub(crate) fn messages(self, text: &str) {
        let colored = self.is_colored(&io::stderr());
        let _ = writeln!(io::stderr().lock(), "{}", text::render(text, colored));
    }

    /// Writes a message that was drawn, with colours as it has them, of parts that control no terminal.
    pub(crate) fn drawn(self, text: impl Display) {
        let color = Self::choose(self.color, &io::stderr());
        let _ = writeln!(AutoStream::new(io::stderr().lock(), color), "{text}");
    }

    /// Writes a warning.
    pub(crate) fn warning(self, text: impl Display) {
        self.titled(WARNING, "warning", text);
    }

    /// Writes an error.
    pub(crate) fn error(self, text: impl Display) {
        self.titled(ERROR, "error", text);
    }

    /// Writes hint.
    pub(crate) fn help(self, text: impl Display) {
        self.titled(HELP, "help", text);
    }

    /// Writes a message with its title. Its further lines are indented, so that none can be taken for another message.
    fn titled(self, style: Style, title: &str, text: impl Display) {
        let text = text.to_string();
        let mut lines = text.lines();
        let mut shown = lines.next().unwrap_or_default().to_owned();
        for line in lines {
            shown.push_str(if line.starts_with("  ") { "\n" } else { "\n  " });
            shown.push_str(line);
        }
        self.messages(&format!("{}: {shown}", styled(style, title)));
    }

    fn is_colored(self, stream: &impl anstream::stream::RawStream) -> bool {
        Self::choose(self.color, stream) != ColorChoice::Never
    }

    fn choose(color: ColorChoice, stream: &impl anstream::stream::RawStream) -> ColorChoice {
        match color {
            ColorChoice::Auto => AutoStream::choice(stream),
            other => other,
        }
    }

    /// The width to which text is wrapped, in columns.
    pub(crate) fn width() -> usize {
        const LEAST: usize = 40;
        const MOST: usize = 120;
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let terminal = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        columns.or_else(terminal).unwrap_or(100).clamp(LEAST, MOST)
    }
}
