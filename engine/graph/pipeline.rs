//! The typed pipeline: its stages, what each does, and what each reads.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

use serde_json::Value;

use super::{
    combination::Combination,
    command::Command,
    select::{self, Select},
};
use crate::{
    artifact::{format::ArtifactType, workspace::Scope},
    base::span::{Source, Span},
    stage::{
        device::{DeviceWish, Probe},
        kind::Kind,
    },
};

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
