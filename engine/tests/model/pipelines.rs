//! Random pipelines and edits of them, as data, as YAML, and evaluated by the model.

use std::{collections::BTreeMap, fmt::Write as _};

use proptest::prelude::*;

use crate::kinds;

/// The user's files.
pub(crate) const FILES: usize = 2;
/// The most stages.
const STAGES: usize = 6;

/// What a stage reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// Nothing.
    Nothing,
    /// A file of the user's.
    File(usize),
    /// Another stage, before it.
    Stage(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Mix,
    Parity,
    Rows,
    Steps,
}

#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) kind: Kind,
    pub(crate) salt: u64,
    pub(crate) count: u64,
    pub(crate) a: From,
    pub(crate) b: From,
}

/// A pipeline and the contents of the user's files.
#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    pub(crate) stages: Vec<Stage>,
    pub(crate) files: [u64; FILES],
}

/// Something that a user does.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    File { file: usize, content: u64 },
    Salt { stage: usize, salt: u64 },
    Count { stage: usize, count: u64 },
    Replace { stage: usize, by: Stage },
    Add(Stage),
    RemoveLast,
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Mix), Just(Kind::Parity), Just(Kind::Rows), Just(Kind::Steps)]
}

fn froms() -> impl Strategy<Value = From> {
    prop_oneof![
        1 => Just(From::Nothing),
        1 => (0..FILES).prop_map(From::File),
        3 => (0..STAGES).prop_map(From::Stage),
    ]
}

fn stages() -> impl Strategy<Value = Stage> {
    (kinds(), 0_u64..3, 0_u64..14, froms(), froms()).prop_map(|(kind, salt, count, a, b)| Stage {
        kind,
        salt,
        count,
        a,
        b,
    })
}

pub(crate) fn pipelines() -> impl Strategy<Value = Pipeline> {
    (prop::collection::vec(stages(), 1..=STAGES), [0_u64..3, 0_u64..3])
        .prop_map(|(stages, files)| Pipeline { stages, files })
}

pub(crate) fn edits() -> impl Strategy<Value = Edit> {
    prop_oneof![
        2 => (0..FILES, 0_u64..3).prop_map(|(file, content)| Edit::File { file, content }),
        3 => (0..STAGES, 0_u64..3).prop_map(|(stage, salt)| Edit::Salt { stage, salt }),
        3 => (0..STAGES, 0_u64..14).prop_map(|(stage, count)| Edit::Count { stage, count }),
        1 => (0..STAGES, stages()).prop_map(|(stage, by)| Edit::Replace { stage, by }),
        1 => stages().prop_map(Edit::Add),
        1 => Just(Edit::RemoveLast),
    ]
}

/// What the model says of a stage.
pub(crate) struct Evaluated {
    pub(crate) result: String,
    /// The units of work that make it.
    pub(crate) units: Vec<String>,
}

impl Pipeline {
    pub(crate) fn edit(&mut self, edit: &Edit) {
        let last = self.stages.len() - 1;
        match edit {
            Edit::File { file, content } => self.files[*file] = *content,
            Edit::Salt { stage, salt } => self.stages[(*stage).min(last)].salt = *salt,
            Edit::Count { stage, count } => self.stages[(*stage).min(last)].count = *count,
            Edit::Replace { stage, by } => self.stages[(*stage).min(last)] = by.clone(),
            Edit::Add(stage) if self.stages.len() < STAGES => self.stages.push(stage.clone()),
            Edit::RemoveLast if last > 0 => _ = self.stages.pop(),
            Edit::Add(_) | Edit::RemoveLast => {}
        }
    }

    /// What a file of the user's holds.
    pub(crate) fn content(&self, file: usize) -> String {
        format!("file {file} holds {}\n", self.files[file])
    }

    /// Where a stage really reads from: nothing that comes after it.
    fn from(stage: usize, from: From) -> From {
        match from {
            From::Stage(_) if stage == 0 => From::File(0),
            From::Stage(other) => From::Stage(other % stage),
            other => other,
        }
    }

    fn inputs(&self, index: usize) -> (From, From) {
        let stage = &self.stages[index];
        let (a, b) = (Self::from(index, stage.a), Self::from(index, stage.b));
        match stage.kind {
            Kind::Mix => (a, b),
            Kind::Parity if a == From::Nothing => (From::File(1), From::Nothing),
            Kind::Parity | Kind::Rows | Kind::Steps => (a, From::Nothing),
        }
    }

    pub(crate) fn yaml(&self) -> String {
        let mut yaml = "stages:\n".to_owned();
        for (index, stage) in self.stages.iter().enumerate() {
            let Stage { salt, count, .. } = stage;
            let (kind, config) = match stage.kind {
                Kind::Mix => ("mix", format!("salt: {salt}")),
                Kind::Parity => ("parity", String::new()),
                Kind::Rows => ("rows", format!("salt: {salt}, count: {count}")),
                Kind::Steps => ("steps", format!("count: {count}, salt: {salt}")),
            };
            let _ = writeln!(yaml, "  s{index}:\n    kind: {kind}\n    config: {{ {config} }}");
            let (a, b) = self.inputs(index);
            let mut inputs = Vec::new();
            for (name, from) in [("a", a), ("b", b)] {
                match from {
                    From::Nothing => {}
                    From::File(file) => inputs.push(format!("{name}: {{ file: f{file} }}")),
                    From::Stage(other) => inputs.push(format!("{name}: s{other}.o")),
                }
            }
            if !inputs.is_empty() {
                let _ = writeln!(yaml, "    inputs: {{ {} }}", inputs.join(", "));
            }
        }
        yaml
    }

    /// What every stage makes, by its name.
    pub(crate) fn evaluate(&self) -> BTreeMap<String, Evaluated> {
        let mut results: Vec<String> = Vec::new();
        let mut evaluated = BTreeMap::new();
        for (index, stage) in self.stages.iter().enumerate() {
            let (a, b) = self.inputs(index);
            let read = |from| match from {
                From::Nothing => None,
                From::File(file) => Some(self.content(file)),
                From::Stage(other) => Some(results[other].clone()),
            };
            let (a, b) = (read(a), read(b));
            let (a, b) = (a.as_deref(), b.as_deref());
            let (result, units) = match stage.kind {
                Kind::Mix => {
                    let (result, unit) = kinds::mix(stage.salt, a, b);
                    (result, vec![unit])
                }
                Kind::Parity => {
                    let (result, unit) = kinds::parity(a.unwrap_or_default());
                    (result, vec![unit])
                }
                Kind::Rows => kinds::rows(stage.salt, stage.count, a),
                Kind::Steps => kinds::steps(stage.salt, stage.count, a),
            };
            results.push(result.clone());
            evaluated.insert(format!("s{index}"), Evaluated { result, units });
        }
        evaluated
    }
}
