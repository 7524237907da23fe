//! The command line of a stage: words with placeholders in them.
//!
//! `{config.KEY}`, `{inputs.NAME}` and `{outputs.NAME}` are placeholders, and `{word.word}` is always taken for one: in
//! doubled braces, `{{word.word}}`, it stands for its own text. A command that runs for each item of an input has
//! `{item}` and `{item.WORD}` too. All other braces stand for themselves, so that a program
//! for awk or a piece of JSON needs no escapes.
//!
//! Words are split as a shell splits them: white space parts them, `'…'`, `"…"` and `\` keep it. Nothing else of a shell is
//! there: no variables, no patterns, no comments. What a placeholder stands for is never split and never unquoted.

use std::ops::Range;

/// What counts as a placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Syntax {
    /// Whether `{item}` is one.
    pub(super) items: bool,
}

/// A placeholder as it was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Placeholder<'t> {
    /// The words between the dots, at least two unless it is `{item}`.
    pub(super) words: Vec<&'t str>,
    /// Where it lies in the text, with its braces.
    pub(super) range: Range<usize>,
}

/// A template whose placeholders aren't checked yet.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Draft<'t> {
    pub(super) parts: Vec<DraftPart<'t>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum DraftPart<'t> {
    Text(String),
    Placeholder(Placeholder<'t>),
}

/// Why a text can't be split into words.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unsplit {
    /// The quote at this place has no end.
    Quote(Range<usize>),
    /// Nothing follows the backslash at this place.
    Backslash(Range<usize>),
    /// A word that only a shell understands.
    Shell(Range<usize>),
    /// The word at this place begins a further line.
    Line(Range<usize>),
}

impl<'t> Draft<'t> {
    fn text(&mut self, text: &str) {
        if let Some(DraftPart::Text(last)) = self.parts.last_mut() {
            last.push_str(text);
        } else {
            self.parts.push(DraftPart::Text(text.to_owned()));
        }
    }

    /// Takes `text` as one word.
    pub(super) fn whole(text: &'t str, syntax: Syntax) -> Self {
        let mut draft = Self::default();
        let mut at = 0;
        while let Some(token) = Token::next(text, at, syntax) {
            at += token.width();
            draft.token(token);
        }
        draft
    }

    fn token(&mut self, token: Token<'t>) {
        match token {
            Token::Text { meaning, .. } => self.text(meaning),
            Token::Placeholder(placeholder) => self.parts.push(DraftPart::Placeholder(placeholder)),
        }
    }
}

/// The next thing in a text.
enum Token<'t> {
    /// A character, or an escaped placeholder.
    Text {
        meaning: &'t str,
        width: usize,
    },
    Placeholder(Placeholder<'t>),
}

impl<'t> Token<'t> {
    fn width(&self) -> usize {
        match self {
            Self::Text { width, .. } => *width,
            Self::Placeholder(placeholder) => placeholder.range.len(),
        }
    }

    fn next(text: &'t str, at: usize, syntax: Syntax) -> Option<Self> {
        let rest = &text[at..];
        let first = rest.chars().next()?;
        if let Some(inner) = rest.strip_prefix('{')
            && let Some((_, end)) = dotted(inner, syntax)
            && rest[1 + end..].starts_with('}')
        {
            return Some(Self::Text { meaning: &rest[1..=end], width: end + 2 });
        }
        if let Some((words, end)) = dotted(rest, syntax) {
            return Some(Self::Placeholder(Placeholder { words, range: at..at + end }));
        }
        let width = first.len_utf8();
        Some(Self::Text { meaning: &rest[..width], width })
    }
}

/// The words of a `{word.word}` at the beginning of `text`, and where it ends.
fn dotted(text: &str, syntax: Syntax) -> Option<(Vec<&str>, usize)> {
    let inner = text.strip_prefix('{')?;
    let close = inner.find(|c: char| !is_word(c) && c != '.')?;
    let words: Vec<&str> = inner[..close].split('.').collect();
    let enough = words.len() >= 2 || (syntax.items && words == ["item"]);
    let whole = inner[close..].starts_with('}') && enough;
    (whole && words.iter().all(|word| !word.is_empty())).then_some((words, close + 2))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// Splits `text` into words.
pub(super) fn words(text: &str, syntax: Syntax) -> Result<Vec<Draft<'_>>, Unsplit> {
    let mut words = Vec::new();
    // The word under way, where it began, and whether any of it was quoted.
    let mut word: Option<(Draft<'_>, usize, bool)> = None;
    let mut quote: Option<(char, usize)> = None;
    let mut at = 0;
    let mut new_line = false;
    while let Some(token) = Token::next(text, at, syntax) {
        let start = at;
        at += token.width();
        let character = match &token {
            Token::Text { meaning, width } if *width == meaning.len() => meaning.chars().next(),
            _ => None,
        };
        match (quote, character) {
            (None, Some(c)) if c.is_whitespace() => {
                if let Some((word, began, quoted)) = word.take() {
                    refuse_operator(&text[began..start], began, quoted)?;
                    words.push(word);
                }
                new_line |= c == '\n' && !words.is_empty();
                continue;
            }
            _ if new_line => {
                let end =
                    text[start..].find(char::is_whitespace).map_or(text.len(), |end| start + end);
                // What goes on after the end of a line that isn't escaped is another command to whoever wrote it.
                let escaped = character == Some('\\') && text[at..].starts_with('\n');
                if !escaped {
                    return Err(Unsplit::Line(start..end));
                }
                at += 1;
                continue;
            }
            (Some((open, _)), Some(c)) if c == open => {
                quote = None;
                continue;
            }
            // A line that goes on begins no word.
            (None, Some('\\')) if text[at..].starts_with('\n') => {
                at += 1;
                continue;
            }
            _ => {}
        }
        let (draft, _, quoted) = word.get_or_insert_with(|| (Draft::default(), start, false));
        match (quote, character) {
            (None, Some(c @ ('\'' | '"'))) => {
                *quoted = true;
                quote = Some((c, start));
            }
            (None | Some(('"', _)), Some('\\')) => {
                let Some(next) = text[at..].chars().next() else {
                    return Err(Unsplit::Backslash(start..at));
                };
                *quoted = true;
                let escapes = quote.is_none() || matches!(next, '"' | '\\' | '$' | '`');
                if !escapes {
                    draft.text("\\");
                } else if next == '\n' {
                    at += 1;
                } else {
                    draft.text(&text[at..at + next.len_utf8()]);
                    at += next.len_utf8();
                }
            }
            _ => draft.token(token),
        }
    }
    if let Some((_, start)) = quote {
        return Err(Unsplit::Quote(start..start + 1));
    }
    if let Some((word, began, quoted)) = word {
        refuse_operator(&text[began..], began, quoted)?;
        words.push(word);
    }
    Ok(words)
}

/// Refuses words which someone who writes them takes for the shell's.
fn refuse_operator(word: &str, at: usize, quoted: bool) -> Result<(), Unsplit> {
    let end = word.trim_end_matches(';').len();
    let operator = match word {
        "|" | "||" | "&" | "&&" | ";" | "<" | ">" | ">>" | "2>" | "2>>" | "&>" | "2>&1" | "<<<" => {
            0
        }
        _ if end > 0 && end < word.len() => end,
        _ => return Ok(()),
    };
    if quoted { Ok(()) } else { Err(Unsplit::Shell(at + operator..at + word.len())) }
}

/// A placeholder of a script at a place where its value can't be handed over safely.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsafe<'t> {
    pub(super) range: Range<usize>,
    /// The words of the placeholder.
    pub(super) words: Vec<&'t str>,
    pub(super) what: Hazard,
}

/// What is unsafe about a place in a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hazard {
    /// It is quoted already, and would be twice.
    Quotes,
    /// It is in a here-document.
    Document,
    /// It is calculated with: a shell executes what stands in the brackets of a value there.
    Arithmetic,
    /// It is executed as a script.
    Eval,
    /// The script is none of a shell's, so it is unknown how a value is quoted there.
    Language,
}

impl Hazard {
    pub(super) fn message(self, program: &str) -> String {
        match self {
            Self::Quotes => "a placeholder stands within quotes".to_owned(),
            Self::Document => "a placeholder stands in a here-document".to_owned(),
            Self::Arithmetic => "a placeholder stands where the shell calculates".to_owned(),
            Self::Eval => "a placeholder is given to `eval`, which would execute it".to_owned(),
            Self::Language => format!("a placeholder stands in a script for `{program}`"),
        }
    }

    pub(super) fn help(self) -> &'static str {
        match self {
            Self::Quotes => {
                "remove the quotes: what it stands for is made one word of the shell by itself; to an inner script give it as an \
                 argument: `sh -c '… \"$1\"' - {config.KEY}`"
            }
            Self::Document => "assign it before, `x={config.KEY}`, and write `$x` there",
            Self::Arithmetic => {
                "assign it before, check that it is a number, and calculate with the variable"
            }
            Self::Eval => "call the program itself, or give it as an argument to `sh -c`",
            Self::Language => {
                "without `shell`, give it as an argument of the program: `run: [python3, -c, SCRIPT, \"{config.KEY}\"]`"
            }
        }
    }
}

/// The placeholders of a script that can't be handed over safely where they stand: elsewhere a variable in double quotes
/// takes their place. Of a script that is not `for_shell` that is every one.
pub(super) fn unsafe_places(text: &str, syntax: Syntax, for_shell: bool) -> Vec<Unsafe<'_>> {
    let mut found = Vec::new();
    let mut quote: Option<&str> = None;
    let mut open: Vec<Parenthesis> = Vec::new();
    // The ends of the here-documents that begin on the next line.
    let mut documents: Vec<String> = Vec::new();
    let mut document: Option<String> = None;
    let (mut at, mut line, mut at_word) = (0, 0, true);
    while let Some(token) = Token::next(text, at, syntax) {
        let start = at;
        at += token.width();
        let was_at_word = std::mem::replace(&mut at_word, false);
        let is_new_line = matches!(token, Token::Text { meaning: "\n", .. });
        if let Some(end) = &document {
            if is_new_line {
                if text[line..start].trim_start_matches('\t') == end {
                    document = documents.pop();
                }
                line = at;
            } else if let Token::Placeholder(placeholder) = token {
                let Placeholder { words, range } = placeholder;
                found.push(Unsafe { range, words, what: Hazard::Document });
            }
            continue;
        }
        match token {
            Token::Placeholder(placeholder) => {
                let what = if !for_shell {
                    Hazard::Language
                } else if quote.is_some() {
                    Hazard::Quotes
                } else if matches!(open.last(), Some(Parenthesis::Arithmetic | Parenthesis::Term)) {
                    Hazard::Arithmetic
                } else if text[line..start].split_whitespace().any(|word| word == "eval") {
                    Hazard::Eval
                } else {
                    continue;
                };
                let Placeholder { words, range } = placeholder;
                found.push(Unsafe { range, words, what });
            }
            Token::Text { meaning, .. } => match (quote, meaning) {
                (None | Some("\""), "\\") => {
                    at += text[at..].chars().next().map_or(0, char::len_utf8);
                }
                (None, "\n") => {
                    line = at;
                    at_word = true;
                    documents.reverse();
                    document = documents.pop();
                }
                (None, "#") if was_at_word => {
                    at += text[at..].find('\n').unwrap_or(text.len() - at);
                    at_word = true;
                }
                (None, "(") => {
                    let calculates =
                        matches!(open.last(), Some(Parenthesis::Arithmetic | Parenthesis::Term));
                    let expands = text[..start].ends_with('$');
                    open.push(if text[at..].starts_with('(') && (expands || !calculates) {
                        // A subshell in a subshell is taken for it, too: better one refusal too many.
                        at += 1;
                        Parenthesis::Arithmetic
                    } else if calculates && !expands {
                        Parenthesis::Term
                    } else {
                        Parenthesis::Commands
                    });
                    at_word = true;
                }
                (None, ")") => {
                    let closed = open.pop();
                    let twice = closed == Some(Parenthesis::Arithmetic);
                    at += usize::from(twice && text[at..].starts_with(')'));
                }
                (None, "<") if text[at..].starts_with('<') => {
                    if text[at + 1..].starts_with('<') {
                        at += 2;
                    } else {
                        documents.push(document_end(&text[at + 1..]));
                        at += 1;
                    }
                }
                (None, "'" | "\"") => quote = Some(meaning),
                (Some(open), close) if open == close => quote = None,
                (None, other) => at_word = other.chars().all(|c| c.is_whitespace() || c == ';'),
                _ => {}
            },
        }
    }
    found
}

/// What a parenthesis of a script opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parenthesis {
    /// `((`: the shell calculates.
    Arithmetic,
    /// A part of a calculation.
    Term,
    /// Commands of their own.
    Commands,
}

/// The line that ends a here-document, of which `text` is what follows `<<`.
fn document_end(text: &str) -> String {
    let word = text.trim_start_matches('-').trim_start_matches([' ', '\t']);
    let end = word.find(|c: char| c.is_whitespace() || ";|&()<>".contains(c));
    word[..end.unwrap_or(word.len())].replace(['\'', '"', '\\'], "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: Syntax = Syntax { items: false };

    fn words(text: &str) -> Result<Vec<Draft<'_>>, Unsplit> {
        super::words(text, PLAIN)
    }

    fn show(draft: &Draft<'_>) -> String {
        draft
            .parts
            .iter()
            .map(|part| match part {
                DraftPart::Text(text) => text.clone(),
                DraftPart::Placeholder(placeholder) => format!("<{}>", placeholder.words.join(" ")),
            })
            .collect()
    }

    fn split(text: &str) -> Vec<String> {
        words(text).unwrap().iter().map(show).collect()
    }

    #[test]
    fn words_split_as_in_a_shell() {
        assert_eq!(split("a  b c\t\n\n"), ["a", "b", "c"]);
        assert_eq!(words("a\n b"), Err(Unsplit::Line(3..4)));
        assert_eq!(split("\n a \\\n b"), ["a", "b"]);
        assert_eq!(split(r#"'a b' "c 'd'" e\ f "g\"h\i""#), ["a b", "c 'd'", "e f", "g\"h\\i"]);
        assert_eq!(split("'' \"\" a''b"), ["", "", "ab"]);
        assert_eq!(split("a \\\n  b"), ["a", "b"]);
        assert_eq!(split("echo '#' # $HOME *"), ["echo", "#", "#", "$HOME", "*"]);
        assert_eq!(split(""), Vec::<String>::new());
        assert_eq!(words("a 'b"), Err(Unsplit::Quote(2..3)));
        assert_eq!(words("a \\"), Err(Unsplit::Backslash(2..3)));
    }

    #[test]
    fn placeholders_are_words_or_parts_of_words() {
        assert_eq!(split("cp {inputs.a} x{outputs.b}y"), ["cp", "<inputs a>", "x<outputs b>y"]);
        assert_eq!(split("'{inputs.a} z' {config.a.b}"), ["<inputs a> z", "<config a b>"]);
        assert_eq!(split("{{inputs.a}} {{ }} {{a}}"), ["{inputs.a}", "{{", "}}", "{{a}}"]);
        assert_eq!(
            split("'{\"x\":{\"y\":{config.a}}}' {if(x){print}}"),
            ["{\"x\":{\"y\":<config a>}}", "{if(x){print}}"]
        );
        assert_eq!(
            split("awk '{print $1}' {} {a} {a..b} { inputs.a }"),
            ["awk", "{print $1}", "{}", "{a}", "{a..b}", "{", "inputs.a", "}"]
        );
        assert_eq!(split("{input.raw}"), ["<input raw>"]);
        let Some(DraftPart::Placeholder(placeholder)) = &words("ä {a.b}").unwrap()[1].parts.pop()
        else {
            panic!()
        };
        assert_eq!(placeholder.range, 3..8);
    }

    #[test]
    fn items_are_placeholders_where_there_are_any_only() {
        let each = |text: &str| -> Vec<String> {
            super::words(text, Syntax { items: true }).unwrap().iter().map(show).collect()
        };
        assert_eq!(split("{item} {item.stem} {{item}}"), ["{item}", "<item stem>", "{{item}}"]);
        assert_eq!(each("{item} x{item.stem}.y {{item}}"), ["<item>", "x<item stem>.y", "{item}"]);
        assert_eq!(each("{items} {print}"), ["{items}", "{print}"]);
    }

    #[test]
    fn what_needs_a_shell_is_refused() {
        assert_eq!(words("a > b"), Err(Unsplit::Shell(2..3)));
        assert_eq!(words("a; b"), Err(Unsplit::Shell(1..2)));
        assert_eq!(words("a | b"), Err(Unsplit::Shell(2..3)));
        assert_eq!(split("a '>' '|' \\; b"), ["a", ">", "|", ";", "b"]);
        assert_eq!(split("awk '{print; exit}'"), ["awk", "{print; exit}"]);
    }

    #[test]
    fn placeholders_that_are_unsafe_in_a_script_are_found() {
        let found = |text: &str| unsafe_places(text, PLAIN, true).len();
        assert_eq!(found("cat {inputs.a} > {outputs.b}"), 0);
        assert_eq!(found("cat \"{inputs.a}\" '{inputs.b}'"), 2);
        assert_eq!(found("# don't\ncat {inputs.a}"), 0);
        assert_eq!(found("echo \"it's\" {inputs.a} \\' {inputs.b}"), 0);
        assert_eq!(found("cat <<'E'\n{inputs.a} don't\nE\ncat {inputs.b}"), 1);
        assert_eq!(found("cat <<-E - <<F\n{a.b}\n\tE\n{a.b}\nF\ncat {a.b} <<< {a.b}"), 2);
        assert_eq!(found("echo $(( {a.b} + 1 )) $(cat {a.b}) {a.b}"), 1);
        assert_eq!(found("(( x = {a.b} )); ( cat {a.b} )"), 1);
        assert_eq!(found("echo $(( $(cat {a.b}) % (2 + {a.b}) )) {a.b}"), 1);
        assert_eq!(found("eval {a.b}\necho {a.b}; x={a.b}"), 1);
        assert_eq!(found("echo \\<< {a.b}"), 0);
        assert_eq!(unsafe_places("print({a.b})", PLAIN, false).len(), 1);
    }

    proptest! {
        #[test]
        fn any_text_is_split_or_refused(text in "\\PC*|[{}.a '\"\\\\\n]*") {
            let _ = words(&text);
            let _ = unsafe_places(&text, PLAIN, true);
            let whole = Draft::whole(&text, Syntax { items: true });
            prop_assert!(whole.parts.len() <= text.len());
        }

        #[test]
        fn quoting_and_splitting_are_inverse(parts in proptest::collection::vec("[^{}]*", 0..6)) {
            let line: Vec<String> = parts.iter().map(|part| format!("'{}'", part.replace('\'', "'\\''"))).collect();
            prop_assert_eq!(split(&line.join(" ")), parts);
        }
    }
}
