//! `kind: command`: a program of the user's as a stage, as it is declared.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::Value;

use super::template::Template;
use crate::{artifact::workspace::Scope, base::span::Span};

/// The name of the kind.
pub(crate) const KIND: &str = "command";

/// Whether `kind` is that of the user's programs.
pub(crate) fn is_command(kind: &str) -> bool {
    kind == KIND
}

/// A program as a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// What to run.
    pub run: Run,
    /// The config, free in form: an object whose numbers are spelled one way.
    pub config: Value,
    /// The names of the outputs as declared, each mentioned in `run`.
    pub outputs: Vec<String>,
    /// Of which input it runs for each item, if it does.
    pub for_each: Option<ForEach>,
    /// The files and folders that the program reads besides its inputs, by path.
    pub files: Vec<CommandFile>,
    /// The environment variables that it sees.
    pub environment: Environment,
}

/// The environment variables that a [`Command`] sees besides those that every command does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// Those whose values count for its result, sorted.
    pub names: Vec<String>,
    /// Those that neither count nor are kept anywhere, sorted.
    pub secrets: Vec<String>,
    /// Whether it sees all others too, which don't count.
    pub inherit: bool,
}

/// An input for each item of which a [`Command`] runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForEach {
    /// The name of the input.
    pub input: String,
    /// Where what is made of an item stands in each output.
    pub paths: BTreeMap<String, Template>,
}

/// The command line of a [`Command`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// The program and its arguments, at least the program. No shell is involved.
    Words(Vec<Template>),
    /// A script for a shell.
    Shell {
        /// The program that is given the script as its last argument, and the arguments before it.
        interpreter: Vec<String>,
        /// Whether it is a shell that is asked for no more than to be strict: then a pipe fails, where the shell knows that,
        /// when any program in it does.
        strict: bool,
        /// The script. Its placeholders stand where a variable in double quotes may stand.
        script: Template,
    },
}

/// A file or folder that a [`Command`] reads besides its inputs, such as its script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandFile {
    /// Its path from the pipeline's folder, with `/`, without `.`, and with `..` at the beginning only: where it stands when
    /// the command runs.
    pub written: String,
    /// Where it is, absolute. It existed when the pipeline was loaded.
    pub path: PathBuf,
    /// Where it is declared.
    pub place: Span,
    /// What of it is read, if it is a folder.
    pub scope: Scope,
}
