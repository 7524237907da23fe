//! Kinds of stages that do little, and write down what they do; and the same as plain functions.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use pipe_engine::{
    ArtifactType, Exactness, Format, InputPort, OutputPort, Registry, RowMap, RowsFrom, Shape,
    StageContext, StageError, StageKind,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The file in which executions are written down.
pub(crate) static LOG: Mutex<Option<PathBuf>> = Mutex::new(None);
/// The file that is a result.
pub(crate) const FILE: &str = "result.csv";
/// The rows in a chunk of `rows`.
pub(crate) const CHUNK_ROWS: u64 = 4;

const RESULT: ArtifactType = ArtifactType::new("result", Format::Table);
const OUTPUTS: &[OutputPort] = &[OutputPort::new("o", RESULT, "the result")];
pub(crate) fn registry() -> Registry {
    Registry::new().with::<Mix>().with::<Parity>().with::<Rows>().with::<Steps>()
}

/// Writes down that `unit` is computed.
fn log(unit: &str) {
    let path = LOG.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap();
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(format!("{unit}\n").as_bytes()).unwrap();
}

/// A few letters that depend on every byte of `text`.
pub(crate) fn letters(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..12].to_owned()
}

fn input(context: &StageContext<'_>, name: &str) -> Result<Option<String>, StageError> {
    let Some(artifact) = context.optional(name) else { return Ok(None) };
    let files = artifact.tree().files().iter();
    let read = files.map(|entry| artifact.read(entry.path.as_str()));
    let bytes: Vec<Vec<u8>> = read.collect::<Result<_, _>>()?;
    Ok(Some(String::from_utf8(bytes.concat())?))
}

/// How a unit of work names its inputs.
fn named(inputs: &[Option<&str>]) -> String {
    let names: Vec<String> =
        inputs.iter().map(|input| input.map_or_else(|| "-".to_owned(), letters)).collect();
    names.join(" ")
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Salt {
    /// Something to mix in.
    salt: u64,
}

pub(crate) struct Mix;

/// What `mix` computes, and the unit of work that it is.
pub(crate) fn mix(salt: u64, a: Option<&str>, b: Option<&str>) -> (String, String) {
    let unit = format!("mix {salt} {}", named(&[a, b]));
    (format!("h\n{}\n", letters(&unit)), unit)
}

impl StageKind for Mix {
    type Config = Salt;

    const KIND: &'static str = "mix";
    const ABOUT: &'static str = "Mixes.";
    const REVISION: u32 = 1;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] = &[
        InputPort::optional("a", ArtifactType::ANY, ""),
        InputPort::optional("b", ArtifactType::ANY, ""),
    ];
    const OUTPUTS: &'static [OutputPort] = OUTPUTS;

    fn run(config: &Salt, context: &StageContext<'_>) -> Result<(), StageError> {
        let (a, b) = (input(context, "a")?, input(context, "b")?);
        let (result, unit) = mix(config.salt, a.as_deref(), b.as_deref());
        log(&unit);
        Ok(context.output("o")?.write(FILE, result.as_bytes())?)
    }
}

pub(crate) struct Parity;

/// What `parity` computes: hardly anything, so that what follows it is often spared.
pub(crate) fn parity(a: &str) -> (String, String) {
    let unit = format!("parity {}", named(&[Some(a)]));
    let sum: u32 = a.bytes().map(u32::from).sum();
    (format!("h\n{}\n", sum % 2), unit)
}

impl StageKind for Parity {
    type Config = Empty;

    const KIND: &'static str = "parity";
    const ABOUT: &'static str = "Tells whether its input is odd.";
    const REVISION: u32 = 1;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] = &[InputPort::required("a", ArtifactType::ANY, "")];
    const OUTPUTS: &'static [OutputPort] = OUTPUTS;

    fn run(_: &Empty, context: &StageContext<'_>) -> Result<(), StageError> {
        let (result, unit) = parity(&input(context, "a")?.unwrap_or_default());
        log(&unit);
        Ok(context.output("o")?.write(FILE, result.as_bytes())?)
    }
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Empty {}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Extent {
    /// How many.
    count: u64,
    /// Something to mix in.
    salt: u64,
}

pub(crate) struct Rows;

/// What `rows` computes, and the unit of work that each chunk is.
pub(crate) fn rows(salt: u64, count: u64, a: Option<&str>) -> (String, Vec<String>) {
    let starts = (0..count.div_ceil(CHUNK_ROWS).max(1)).map(|chunk| chunk * CHUNK_ROWS);
    let units = starts.map(|first| chunk_unit(salt, first, (count - first).min(CHUNK_ROWS), a));
    (format!("row,value\n{}", some_rows(salt, 0, count, a)), units.collect())
}

fn chunk_unit(salt: u64, first: u64, count: u64, a: Option<&str>) -> String {
    format!("rows {salt} {first}+{count} {}", named(&[a]))
}

fn some_rows(salt: u64, first: u64, count: u64, a: Option<&str>) -> String {
    let row = |row| format!("{row},{}\n", letters(&format!("{salt} {row} {}", named(&[a]))));
    (first..first + count).map(row).collect()
}

impl StageKind for Rows {
    type Config = Extent;

    const KIND: &'static str = "rows";
    const ABOUT: &'static str = "Makes rows.";
    const REVISION: u32 = 1;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] = &[InputPort::optional("a", ArtifactType::ANY, "")];
    const OUTPUTS: &'static [OutputPort] = OUTPUTS;

    fn shape(_: &Extent) -> Shape {
        Shape::Rows(RowMap {
            rows: RowsFrom::Key("count"),
            broadcast: &["a"],
            chunk_rows: CHUNK_ROWS,
            unit: "rows",
        })
    }

    fn run(config: &Extent, context: &StageContext<'_>) -> Result<(), StageError> {
        let a = input(context, "a")?;
        let first = context.first_row();
        log(&chunk_unit(config.salt, first, config.count, a.as_deref()));
        let rows = some_rows(config.salt, first, config.count, a.as_deref());
        Ok(context.output("o")?.write(FILE, format!("row,value\n{rows}").as_bytes())?)
    }
}

pub(crate) struct Steps;

/// What `steps` computes, and the unit of work that each step is.
pub(crate) fn steps(salt: u64, count: u64, a: Option<&str>) -> (String, Vec<String>) {
    let mut state = String::new();
    let mut units = Vec::new();
    for step in 1..=count {
        units.push(step_unit(salt, step, a));
        state = next_state(&state, salt, step, a);
    }
    (format!("h\n{state}\n"), units)
}

fn step_unit(salt: u64, step: u64, a: Option<&str>) -> String {
    format!("steps {salt} {step} {}", named(&[a]))
}

fn next_state(state: &str, salt: u64, step: u64, a: Option<&str>) -> String {
    letters(&format!("{state} {salt} {step} {}", named(&[a])))
}

impl StageKind for Steps {
    type Config = Extent;

    const KIND: &'static str = "steps";
    const ABOUT: &'static str = "Takes steps.";
    const REVISION: u32 = 1;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] = &[InputPort::optional("a", ArtifactType::ANY, "")];
    const OUTPUTS: &'static [OutputPort] = OUTPUTS;

    fn shape(_: &Extent) -> Shape {
        Shape::Steps { extent: Some("count") }
    }

    fn run(config: &Extent, context: &StageContext<'_>) -> Result<(), StageError> {
        let a = input(context, "a")?;
        let (mut done, mut state) = match context.last_state(config.count)? {
            Some(bytes) => {
                let text = String::from_utf8(bytes)?;
                let (done, state) = text.split_once(' ').unwrap();
                (done.parse()?, state.to_owned())
            }
            None => (0, String::new()),
        };
        while done < config.count {
            context.check_interrupt()?;
            done += 1;
            log(&step_unit(config.salt, done, a.as_deref()));
            state = next_state(&state, config.salt, done, a.as_deref());
            context.keep_state(done, format!("{done} {state}").as_bytes())?;
        }
        Ok(context.output("o")?.write(FILE, format!("h\n{state}\n").as_bytes())?)
    }
}
