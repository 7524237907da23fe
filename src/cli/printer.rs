//! Where text goes: results to stdout, messages to stderr, each with colours or without.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

use anstream::{AutoStream, ColorChoice};
use clap::builder::styling::{AnsiColor, Style};

/// The style of what went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// The style of what needs no attention.
pub(crate) const QUIET: Style = AnsiColor::BrightBlack.on_default();
/// The style of a warning.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// The style of an error.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// The style of advice.
pub(crate) const HELP: Style = AnsiColor::Cyan.on_default().bold();
/// The style of a heading or a name.
pub(crate) const NAME: Style = Style::new().bold();

/// Text in a style.
pub(crate) fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Writes to stdout and stderr.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    color: ColorChoice,
}

impl Printer {
    pub(crate) fn new(color: ColorChoice) -> Self {
        Self { color }
    }

    /// Writes a result, and a newline.
    pub(crate) fn result(self, text: impl Display) -> io::Result<()> {
        let mut stdout = AutoStream::new(io::stdout().lock(), self.stdout_color());
        writeln!(stdout, "{text}")?;
        stdout.flush()
    }

    /// Writes bytes as they are.
    pub(crate) fn raw(bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    /// Writes a message, and a newline. Nobody can be told when stderr can't be written.
    pub(crate) fn message(self, text: impl Display) {
        let color = Self::choose(self.color, &io::stderr());
        let mut stderr = AutoStream::new(io::stderr().lock(), color);
        let _ = writeln!(stderr, "{text}");
    }

    /// Writes a warning.
    pub(crate) fn warning(self, text: impl Display) {
        self.message(format_args!("{}: {text}", styled(WARNING, "warning")));
    }

    /// Writes an error.
    pub(crate) fn error(self, text: impl Display) {
        self.message(format_args!("{}: {text}", styled(ERROR, "error")));
    }

    /// Writes advice.
    pub(crate) fn help(self, text: impl Display) {
        self.message(format_args!("{}: {text}", styled(HELP, "help")));
    }

    fn stdout_color(self) -> ColorChoice {
        Self::choose(self.color, &io::stdout())
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
