//! From the text of a pipeline to a checked, typed graph, with the place of every word. Nothing is run, and every
//! complaint is made at once: [`load`] gives a [`Pipeline`] that is sound, or [`Complaints`].

mod combination;
mod command;
mod command_line;
mod complaint;
mod entries;
mod expand;
mod expectation;
mod graph;
mod inputs;
mod keys;
mod load;
mod matrix;
mod name;
mod named;
mod node;
mod overrides;
mod place;
mod schema;
mod select;
mod stages;
mod suggestion;
mod template;
#[cfg(test)]
mod tests;
mod user_path;
mod variables;
mod yaml;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;

pub use self::{
    combination::Combination,
    complaint::{Complaint, Complaints, Label, Source, Span},
    keys::{ConfigKey, config_keys},
    load::{load, load_text},
    named::NotFound,
    select::{CANDIDATES, CHOICE, Goal, METRICS, Select},
    suggestion::closest,
    template::{Piece, Template},
};
pub(crate) use self::{
    combination::{is_stage_name, stage_folder},
    name::{RUN_RULE, is_output_name, is_run_name},
};
use crate::{
    device::{DeviceWish, Probe},
    stage::{ArtifactType, Kind},
    workspace::Scope,
};

/// The name of the file that [`find`] looks for.
pub const FILE_NAME: &str = "pipeline.yaml";

/// A sound pipeline.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The file that declares it, absolute.
    pub file: PathBuf,
    /// The folder of the file, absolute and without links: relative paths in the file start here.
    pub root: PathBuf,
    /// The folder of the cache, absolute.
    pub cache: PathBuf,
    /// Where its stages are asked to compute; to be changed by whoever asks for something else.
    pub device: DeviceWish,
    /// How to find out whether there is a GPU, if any kind can use one.
    pub cuda: Option<Probe>,
    /// The stages as declared, those of a matrix in the order of its combinations.
    pub stages: Vec<StageNode>,
    /// The stages' numbers, each after all that it needs; as declared where that leaves a choice.
    pub order: Vec<usize>,
    /// The texts that the places of the stages lie in.
    pub sources: Vec<Source>,
}

/// A stage of a pipeline.
#[derive(Debug, Clone)]
pub struct StageNode {
    /// Its name: as declared, with the combination in brackets where a matrix makes several of it.
    pub name: String,
    /// Its name as declared.
    pub declared: String,
    /// Which of the stages of a matrix it is.
    pub combination: Option<Combination>,
    /// What it does.
    pub task: Task,
    /// What it reads, by the names that the task knows.
    pub inputs: BTreeMap<String, Input>,
    /// Where its name is written.
    pub place: Span,
}

/// What a stage does.
#[derive(Clone)]
pub enum Task {
    /// It runs a built-in kind.
    Kind {
        /// The kind.
        kind: Arc<dyn Kind>,
        /// The config in canonical form, as [`Kind::canonical`] gives it.
        config: Value,
    },
    /// It runs a program of the user's.
    Command(Command),
    /// It chooses among the combinations of a matrix.
    Select(Select),
}

/// What a stage reads under one name.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The output of another stage.
    Output {
        /// The number of the stage.
        stage: usize,
        /// The name of the output.
        output: String,
    },
    /// An output of all combinations of a stage.
    Gathered {
        /// The name of the stage as declared.
        stage: String,
        /// The name of the output.
        output: String,
        /// Its combinations, in order.
        members: Vec<Member>,
    },
    /// A file or folder of the user's.
    File {
        /// Where it is, absolute. It existed when the pipeline was loaded. Of a pattern it is the longest folder without a
        /// wildcard.
        path: PathBuf,
        /// Its path as it was written.
        written: String,
        /// Where that is written.
        place: Span,
        /// What of it is read, if it is a folder.
        scope: Scope,
    },
}

/// One of the combinations whose outputs are gathered.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The number of the stage.
    pub stage: usize,
    /// The combination that it is.
    pub combination: Combination,
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
    /// Of which input it runs for each entry, if it does.
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

/// An input for each entry of which a [`Command`] runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForEach {
    /// The name of the input.
    pub input: String,
    /// Where what is made of an entry stands in each output.
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

impl Input {
    /// The numbers of the stages that it comes from.
    pub fn stages(&self) -> impl Iterator<Item = usize> {
        let (one, many) = match self {
            Self::Output { stage, .. } => (Some(*stage), [].as_slice()),
            Self::Gathered { members, .. } => (None, members.as_slice()),
            Self::File { .. } => (None, [].as_slice()),
        };
        one.into_iter().chain(many.iter().map(|member| member.stage))
    }
}

impl StageNode {
    /// The names and types of the outputs, as declared. A command's outputs may be anything.
    pub fn outputs(&self) -> Vec<(String, ArtifactType)> {
        match &self.task {
            Task::Kind { kind, .. } => {
                kind.outputs().iter().map(|port| (port.name.to_owned(), port.artifact)).collect()
            }
            Task::Command(command) => {
                command.outputs.iter().map(|name| (name.clone(), ArtifactType::ANY)).collect()
            }
            Task::Select(select) => {
                let outputs = select::outputs(select.artifact).into_iter();
                outputs.map(|(name, artifact)| (name.to_owned(), artifact)).collect()
            }
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind { kind, config } => {
                f.debug_struct("Kind").field("kind", &kind.name()).field("config", config).finish()
            }
            Self::Command(command) => command.fmt(f),
            Self::Select(select) => select.fmt(f),
        }
    }
}

/// The `pipeline.yaml` of the folder `start` or of the nearest folder above it that has one.
pub fn find(start: &Path) -> Option<PathBuf> {
    start.ancestors().map(|folder| folder.join(FILE_NAME)).find(|file| file.is_file())
}
