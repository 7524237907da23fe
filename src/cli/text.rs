//! Text as it is printed. Styles are no part of it: they are marks that no text from elsewhere needs, and become a terminal's
//! sequences last, when all else that would control a terminal has been made visible.

use std::{
    borrow::Cow,
    fmt::{Display, Write as _},
};

use clap::builder::styling::{self, AnsiColor};

/// A style that text can have: a noncharacter of Unicode, which is for use within a program, marks where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style(char);

/// The style of what went well.
pub(crate) const GOOD: Style = Style('\u{fdd0}');
/// The style of what needs no attention.
pub(crate) const QUIET: Style = Style('\u{fdd1}');
/// The style of a warning.
pub(crate) const WARNING: Style = Style('\u{fdd2}');
/// The style of an error.
pub(crate) const ERROR: Style = Style('\u{fdd3}');
/// The style of hint.
pub(crate) const HELP: Style = Style('\u{fdd4}');
/// The style of a heading or a name.
pub(crate) const NAME: Style = Style('\u{fdd5}');
/// Where a style ends.
const END: char = '\u{fdef}';

impl Style {
    /// How a terminal is told.
    fn on_terminal(self) -> styling::Style {
        let color = |color: AnsiColor| color.on_default();
        match self {
            GOOD => color(AnsiColor::Green),
            QUIET => color(AnsiColor::BrightBlack),
            WARNING => color(AnsiColor::Yellow).bold(),
            ERROR => color(AnsiColor::Red).bold(),
            HELP => color(AnsiColor::Cyan).bold(),
            NAME => styling::Style::new().bold(),
            _ => styling::Style::new(),
        }
    }
}

/// Text in a style.
pub(crate) fn styled(style: Style, text: impl Display) -> String {
    format!("{}{text}{END}", style.0)
}

/// The text as it is written: with styles if it is `colored`, and with everything visible that would control a terminal.
pub(crate) fn render(text: &str, colored: bool) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\u{fdd0}'..='\u{fdee}' if colored => {
                out.push_str(&Style(c).on_terminal().render().to_string());
            }
            END if colored => out.push_str(&styling::Reset.render().to_string()),
            '\u{fdd0}'..='\u{fdef}' => {}
            c if is_harmful(c) => escape(c, &mut out),
            c => out.push(c),
        }
    }
    out
}

/// JSON in which a terminal finds nothing that controls it, and a reader of JSON the same values.
pub(crate) fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // The others are escaped already.
        if is_harmful(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// Text of somebody else's that is to stay on one line: a name, a reason.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains('\n') { Cow::Owned(text.replace('\n', "\\n")) } else { Cow::Borrowed(text) }
}

/// A line that a program printed, without what would move the cursor or change colours.
pub(crate) fn plain(line: &str) -> String {
    let visible = line.rsplit('\r').find(|part| !part.is_empty()).unwrap_or("");
    let replaced = |c| if is_harmful(c) { char::REPLACEMENT_CHARACTER } else { c };
    anstream::adapter::strip_str(visible).to_string().chars().map(replaced).collect()
}

/// The text with something else of the same length in place of what would control a terminal, for those that keep
/// positions in it.
pub(crate) fn of_equal_length(text: &str) -> String {
    let replaced = |c: char| match c.len_utf8() {
        _ if !is_harmful(c) => c,
        1 => '?',
        2 => '¿',
        _ => char::REPLACEMENT_CHARACTER,
    };
    // The ends of lines, as some editors write them.
    text.replace("\r\n", " \n").chars().map(replaced).collect()
}

/// Whether a terminal does something else with it than show it: control characters, and what turns the direction of writing.
fn is_harmful(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{061c}'
        | '\u{200e}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    }
}

fn escape(c: char, out: &mut String) {
    let _ = match c {
        '\r' => write!(out, "\\r"),
        c if u32::from(c) < 0x80 => write!(out, "\\x{:02x}", u32::from(c)),
        c => write!(out, "\\u{{{:x}}}", u32::from(c)),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that controls a terminal, by the categories of Unicode: control characters and those for the direction.
    fn harmful() -> impl Iterator<Item = char> {
        let controls = (0..0x20).chain(0x7f..0xa0).filter(|c| *c != 0x0a && *c != 0x09);
        let bidi =
            [0x61c, 0x200e, 0x200f].into_iter().chain(0x202a..=0x202e).chain(0x2066..=0x2069);
        controls.chain(bidi).map(|c| char::from_u32(c).unwrap())
    }

    #[test]
    fn nothing_but_styles_controls_a_terminal() {
        for c in harmful() {
            let text = styled(ERROR, format!("a{c}b"));
            let shown = render(&text, false);
            assert!(
                !shown.contains(c) && shown.starts_with('a') && shown.ends_with('b'),
                "{shown:?}"
            );
            let shown = render(&text, true);
            let inner = shown.strip_prefix("\u{1b}[1m\u{1b}[31ma").unwrap();
            let inner = inner.strip_suffix("b\u{1b}[0m").unwrap();
            assert!(!inner.contains(c), "{inner:?}");
            assert!(!plain(&format!("a{c}b")).contains(c));
            let kept = format!("é{c}\nb");
            assert_eq!(of_equal_length(&kept).len(), kept.len());
            assert!(!of_equal_length(&kept).contains(c));
        }
        assert_eq!(render("a\tb\n", false), "a\tb\n");
    }

    #[test]
    fn json_keeps_its_meaning() {
        let value: String = harmful().chain("\n\t\"\\é".chars()).collect();
        let text = json(&serde_json::to_string(&value).unwrap());
        assert!(harmful().all(|c| !text.contains(c)), "{text}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), value);
    }
}
