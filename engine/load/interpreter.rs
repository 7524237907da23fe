//! What reads the command line of a stage: nothing, a shell, or another program.

use super::{
    complaint::{Complaint, Report},
    declaration::Fields,
    node::{Entry, Tree},
    texts::texts,
};
use crate::graph::scalar::Atom;

/// The program that reads `run` and its arguments before the script, if a shell does. `None` if there was a complaint.
pub(super) fn shell(fields: &Fields<'_>, report: &mut Report) -> Option<Reader> {
    let Some(Entry { value, .. }) = fields.get("shell") else { return Some(Reader::None) };
    match (value.atom(), value.text(), &value.tree) {
        (Some(Atom::Bool(false)), ..) => return Some(Reader::None),
        (Some(Atom::Bool(true)), ..) => {
            return Some(Reader::Script(Interpreter::strict("/bin/sh")));
        }
        (_, _, Tree::Sequence(items)) if !items.is_empty() => {
            let (words, sound) = texts(value, "shell", "a program and its arguments", report)?;
            let words = words.into_iter().map(|(word, _)| word.to_owned()).collect();
            let strict = false;
            return sound.then_some(Reader::Script(Interpreter { words, strict }));
        }
        (_, Some(name), _) if SHELLS.contains(&program(name)) => {
            return Some(Reader::Script(Interpreter::strict(name)));
        }
        _ if value.is_broken() => return None,
        _ => {}
    }
    let message = format!(
        "`shell` must be `true`, one of {}, or a list of a program and its arguments, but is {}",
        SHELLS.map(|shell| format!("`{shell}`")).join(", "),
        value.describe()
    );
    report.push(
        Complaint::new(value.span, message)
            .help("another program is given the script as its last argument: `shell: [perl, -e]`"),
    );
    None
}

/// The shells that are known to stop at the first line that fails when they are told to.
const SHELLS: [&str; 6] = ["bash", "dash", "ksh", "mksh", "sh", "zsh"];

fn program(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What reads `run`.
pub(super) enum Reader {
    /// Nothing: it is split into words.
    None,
    /// An interpreter: it is a script.
    Script(Interpreter),
}

/// What reads a script.
pub(super) struct Interpreter {
    /// The program and its arguments before the script.
    pub(super) words: Vec<String>,
    /// Whether it is a shell that is to be strict.
    pub(super) strict: bool,
}

impl Interpreter {
    /// A shell that stops at the first line that fails, and takes a pipe for failed in which any program failed.
    fn strict(shell: &str) -> Self {
        let options: &[&str] = match program(shell) {
            // These may not know about pipes: they are asked when they begin.
            "sh" | "dash" => &["-e", "-c"],
            _ => &["-e", "-o", "pipefail", "-c"],
        };
        let words = [shell].iter().chain(options).map(|word| (*word).to_owned()).collect();
        Self { words, strict: true }
    }
}
