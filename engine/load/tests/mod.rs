//! Whole pipelines: what they become, and what is complained about.

mod complaints;
mod matrix;

use std::{fmt::Write as _, fs, path::PathBuf};

use proptest::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;
use crate::{
    artifact::format::{ArtifactType, Format},
    base::exactness::Exactness,
    graph::{CHOICE, Input, Piece, Pipeline, Run, Task, Template},
    stage::{
        context::StageContext,
        error::StageError,
        kind::{Fault, InputPort, OutputPort, StageKind},
        registry::Registry,
    },
};

const SPECTRA: ArtifactType = ArtifactType::new("spectra", Format::Zarr);
const MODEL: ArtifactType = ArtifactType::new("checkpoint", Format::Checkpoint);
const TABLE: ArtifactType = ArtifactType::new("table", Format::Table);

/// Where the noise comes from.
#[derive(Debug, Default, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Noise {
    /// None.
    #[default]
    Quiet,
    /// White.
    White,
}

/// How the rate goes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Rate {
    /// One rate.
    Constant,
    /// It falls.
    Falling {
        /// By this factor.
        #[schemars(range(min = 0.0, max = 1.0))]
        by: f64,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Axis {
    /// Where the axis starts.
    #[schemars(extend("unit" = "km/s"))]
    start: f64,
}

impl Default for Axis {
    fn default() -> Self {
        Self { start: -5.0 }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct GenerateConfig {
    /// How many spectra to make. More may follow.
    #[schemars(range(min = 1))]
    count: u64,
    /// The range of the amplitudes.
    #[schemars(extend("unit" = "K"))]
    amplitude: [f64; 2],
    noise: Noise,
    axis: Axis,
    rate: Option<Rate>,
    limit: Option<u8>,
    note: Option<String>,
    kernels: Vec<u32>,
}

impl Default for GenerateConfig {
    fn default() -> Self {
        Self {
            count: 100,
            amplitude: [0.002, 0.05],
            noise: Noise::Quiet,
            axis: Axis::default(),
            rate: None,
            limit: None,
            note: None,
            kernels: vec![3, 5],
        }
    }
}

struct Generate;

impl StageKind for Generate {
    type Config = GenerateConfig;
    const KIND: &'static str = "generate";
    const ABOUT: &'static str = "Makes spectra";
    const REVISION: u32 = 1;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] = &[];
    const OUTPUTS: &'static [OutputPort] =
        &[OutputPort::new("spectra", SPECTRA, "spectra"), OutputPort::new("truth", TABLE, "truth")];

    fn check(config: &GenerateConfig) -> Vec<Fault> {
        let [low, high] = config.amplitude;
        if low > high {
            vec![Fault::at("amplitude", "the range ends before it begins").help("swap its ends")]
        } else {
            Vec::new()
        }
    }

    fn run(_: &GenerateConfig, _: &StageContext<'_>) -> Result<(), StageError> {
        Ok(())
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TrainConfig {
    /// How many passes to make.
    #[schemars(range(min = 1))]
    epochs: u32,
    #[serde(default)]
    learning_rate: f64,
}

struct Train;

impl StageKind for Train {
    type Config = TrainConfig;
    const KIND: &'static str = "train";
    const ABOUT: &'static str = "Trains";
    const REVISION: u32 = 1;
    const EXACTNESS: Exactness = Exactness::Reproducible;
    const INPUTS: &'static [InputPort] = &[
        InputPort::required("spectra", SPECTRA, "what to learn from"),
        InputPort::optional("start", MODEL, "where to go on"),
    ];
    const OUTPUTS: &'static [OutputPort] = &[OutputPort::new("checkpoint", MODEL, "weights")];

    fn run(_: &TrainConfig, _: &StageContext<'_>) -> Result<(), StageError> {
        Ok(())
    }
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct NoConfig {}

/// Takes any number of tables, under any names.
struct Compare;

impl StageKind for Compare {
    type Config = NoConfig;
    const KIND: &'static str = "compare";
    const ABOUT: &'static str = "Compares";
    const REVISION: u32 = 1;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] = &[
        InputPort::optional("spectra", SPECTRA, "what they are about"),
        InputPort::any(TABLE, "the tables"),
    ];
    const OUTPUTS: &'static [OutputPort] = &[OutputPort::new("table", TABLE, "all of them")];

    fn run(_: &NoConfig, _: &StageContext<'_>) -> Result<(), StageError> {
        Ok(())
    }
}

/// A folder with a pipeline in it and the files `clean.py` and `data/raw.csv`.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        fs::write(folder.path().join("data/raw.csv"), "1\n").unwrap();
        fs::write(folder.path().join("clean.py"), "").unwrap();
        Self(folder)
    }

    fn load_bytes(&self, yaml: &[u8], overrides: &[&str]) -> Result<Pipeline, Complaints> {
        let file = self.0.path().join(FILE_NAME);
        fs::write(&file, yaml).unwrap();
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        load(
            &file,
            &overrides,
            &Registry::new().with::<Generate>().with::<Train>().with::<Compare>(),
        )
    }

    fn load(&self, yaml: &str, overrides: &[&str]) -> Result<Pipeline, Complaints> {
        self.load_bytes(yaml.as_bytes(), overrides)
    }

    /// The complaints in plain text: `line:column: message`, further places, and help. `2:` is before those about `--set`.
    fn complaints(&self, yaml: &str, overrides: &[&str]) -> String {
        let Err(Complaints { sources, complaints }) = self.load(yaml, overrides) else {
            return "sound".into();
        };
        let mut text = String::new();
        for complaint in complaints {
            for (i, label) in complaint.labels.iter().enumerate() {
                let source = &sources[label.span.source as usize];
                let range = label.span.range();
                let (line, column) = source.position(range.start);
                let covered = source.text.get(range).expect("a label covers whole characters");
                let width = covered.lines().next().unwrap_or("").chars().count();
                let set = if label.span.source == 1 { "set " } else { "" };
                match i {
                    0 => {
                        write!(text, "{set}{line}:{column}+{width}: {}", complaint.message)
                            .unwrap();
                    }
                    _ => write!(text, " [{set}{line}:{column}+{width}: {}]", label.text).unwrap(),
                }
            }
            if complaint.labels.is_empty() {
                text += &complaint.message;
            }
            if let Some(help) = complaint.help {
                write!(text, " ({help})").unwrap();
            }
            text.push('\n');
        }
        text.replace(&self.0.path().display().to_string(), "ROOT")
    }
}

fn config(pipeline: &Pipeline, stage: usize) -> &Value {
    match &pipeline.stages[stage].task {
        Task::Kind { config, .. } => config,
        Task::Command(command) => &command.config,
        Task::Select(_) => panic!("a choice has no config"),
    }
}

const WHOLE: &str = r#"
vars: { cube: data/raw.csv, passes: 12, half: 0.5 }
cache: ../shared-cache
stages:
  clean:
    kind: command
    inputs: { raw: { file: "${cube}" }, model: train.checkpoint }
    config: { threshold: 3.0, deep: { word: "a b" } }
    run: python clean.py --threshold {config.threshold} '{config.deep.word}' {inputs.raw} > x
    shell: false
    outputs: [table.csv]
    files: [./clean.py]
    env: [LANG, HOME]
  train:
    inputs: { spectra: generate }
    config: { epochs: "${passes}", learning_rate: 1e-3 }
  generate:
    config:
      note: pass ${passes} of ${half}, $${literally}
"#;

#[test]
fn a_whole_pipeline_becomes_a_graph() {
    let folder = Folder::new();
    let yaml = WHOLE.replace("> x", "{outputs.table.csv}");
    let pipeline = folder.load(&yaml, &[]).map_err(|complaints| complaints.to_string()).unwrap();
    assert_eq!(pipeline.root, folder.0.path());
    assert_eq!(pipeline.cache, folder.0.path().join("../shared-cache"));
    assert_eq!(pipeline.order, [2, 1, 0]);
    let names: Vec<_> = pipeline.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["clean", "train", "generate"]);
    let Task::Command(command) = &pipeline.stages[0].task else { panic!() };
    let text = |text: &str| Template { pieces: vec![Piece::Text(text.into())] };
    let piece = |piece: Piece| Template { pieces: vec![piece] };
    let key = |keys: &[&str]| Piece::Config(keys.iter().map(|&key| key.into()).collect());
    let words = [
        text("python"),
        text("clean.py"),
        text("--threshold"),
        piece(key(&["threshold"])),
        piece(key(&["deep", "word"])),
        piece(Piece::Input("raw".into())),
        piece(Piece::Output("table.csv".into())),
    ];
    assert_eq!(command.run, Run::Words(words.into()));
    assert_eq!(command.config, json!({"threshold": 3, "deep": {"word": "a b"}}));
    assert_eq!(command.environment.names, ["HOME", "LANG"]);
    assert_eq!(command.files[0].written, "clean.py");
    assert_eq!(pipeline.stages[0].outputs(), [("table.csv".to_owned(), ArtifactType::ANY)]);
    let Input::File { path, written, .. } = &pipeline.stages[0].inputs["raw"] else { panic!() };
    assert_eq!((path, written.as_str()), (&folder.0.path().join("data/raw.csv"), "data/raw.csv"));
    let output = |stage, output: &str| Input::Output { stage, output: output.into() };
    assert_eq!(pipeline.stages[0].inputs["model"], output(1, "checkpoint"));
    // Of the two outputs of `generate`, one fits.
    assert_eq!(pipeline.stages[1].inputs["spectra"], output(2, "spectra"));
    assert_eq!(config(&pipeline, 1), &json!({"epochs": 12, "learning_rate": 0.001}));
    assert_eq!(config(&pipeline, 2)["note"], json!("pass 12 of 0.5, ${literally}"));
    assert_eq!(config(&pipeline, 2)["kernels"], json!([3, 5]));
}

#[test]
fn overrides_win_and_the_last_wins_over_all() {
    let folder = Folder::new();
    let yaml = "vars: { n: 3 }\nstages:\n  g:\n    kind: generate\n    config: { count: \"${n}\" }\n  generate:\n";
    let load = |overrides: &[&str]| folder.load(yaml, overrides).unwrap();
    assert_eq!(config(&load(&["vars.n=7"]), 0)["count"], json!(7));
    assert_eq!(config(&load(&["g.count=5", "g.count=1e2"]), 0)["count"], json!(100));
    let set = load(&[
        "generate.axis.start=1.5",
        "generate.kernels=[1, 2]",
        "generate.note='a: b'",
        "generate.count=${n}",
    ]);
    assert_eq!(config(&set, 1)["axis"]["start"], json!(1.5));
    assert_eq!(config(&set, 1)["kernels"], json!([1, 2]));
    assert_eq!(config(&set, 1)["note"], json!("a: b"));
    assert_eq!(config(&set, 1)["count"], json!(3));
    assert_eq!(
        config(&load(&["generate.rate={falling: {by: 0.5}}"]), 1)["rate"],
        json!({"falling": {"by": 0.5}})
    );
    assert_eq!(load(&["cache=/somewhere"]).cache, PathBuf::from("/somewhere"));
    assert_eq!(config(&load(&["g.limit="]), 0)["limit"], Value::Null);
}

#[test]
fn spelling_does_not_matter() {
    let folder = Folder::new();
    let canonical = |config: &str| {
        let yaml = format!("stages:\n  generate:\n    config: {config}\n");
        let pipeline =
            folder.load(&yaml, &[]).map_err(|complaints| complaints.to_string()).unwrap();
        self::config(&pipeline, 0).to_string()
    };
    let expected = canonical("{ count: 10000, amplitude: [0.001, 1], noise: white }");
    for same in [
        "{ amplitude: [1e-3, 1.0], noise: 'white', count: 0x2710 } # a comment",
        "{ count: 1e4, amplitude: [1.0e-3, 1], noise: \"white\", limit: null }",
        "\n      noise: white\n      # between\n      count: +10000\n      amplitude:\n      - .001\n      - 1\n",
        "{ count: 10_000.0e0, amplitude: [0.001, 1], noise: white }".replace('_', "").as_str(),
    ] {
        assert_eq!(canonical(same), expected, "{same}");
    }
    assert_ne!(canonical("{ count: 10001, amplitude: [0.001, 1], noise: white }"), expected);
}

#[test]
fn the_file_is_found_upwards() {
    let folder = Folder::new();
    folder.load("stages:\n  generate:\n", &[]).unwrap();
    assert_eq!(find(&folder.0.path().join("data")), Some(folder.0.path().join(FILE_NAME)));
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(find(empty.path()), None);
}

#[test]
fn ten_thousand_commands_load_at_once() {
    let folder = Folder::new();
    let mut yaml = String::from("stages:\n");
    for i in 0..10_000 {
        let input =
            if i == 0 { "{ file: data/raw.csv }".to_owned() } else { format!("s{}", i / 2) };
        let input = if i == 1 { "s0".to_owned() } else { input };
        write!(
            yaml,
            "  s{i}:\n    kind: command\n    inputs: {{ raw: {input} }}\n    config: {{ n: {i} }}\n    \
             run: python clean.py --n {{config.n}} {{inputs.raw}} {{outputs.out}}\n    outputs: [out]\n    \
             files: [clean.py]\n",
        )
        .unwrap();
    }
    let start = std::time::Instant::now();
    let pipeline = folder.load(&yaml, &[]).map_err(|complaints| complaints.to_string()).unwrap();
    let took = start.elapsed();
    assert_eq!(pipeline.order.len(), 10_000);
    eprintln!("10,000 stages, {} bytes: {took:?}", yaml.len());
    // Far from what it takes; a search that grows with the square of the stages takes longer.
    assert!(took.as_secs() < 3, "{took:?}");
}

#[test]
fn bytes_that_are_no_pipeline_are_complained_about() {
    let folder = Folder::new();
    let complaint =
        |bytes: &[u8]| folder.load_bytes(bytes, &[]).unwrap_err().complaints.remove(0).message;
    assert_eq!(
        complaint(b"stages:\n  \xff: 1\n"),
        "the file is not UTF-8: this byte belongs to no character"
    );
    assert_eq!(complaint(b""), "the file is empty");
    assert_eq!(complaint(&vec![b' '; (16 << 20) + 1]), "the file is larger than 16 MiB");
    let missing = load(&folder.0.path().join("none.yaml"), &[], &Registry::new()).unwrap_err();
    assert!(missing.complaints[0].message.starts_with("there is no file"));
    let folder_itself = load(folder.0.path(), &[], &Registry::new()).unwrap_err();
    assert!(folder_itself.complaints[0].message.ends_with("is a folder"));
    let marked = "\u{feff}stages:\n  generate:\n";
    assert!(folder.load(marked, &[]).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_are_loaded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Folder::new().load_bytes(&bytes, &[]);
    }

    #[test]
    fn any_text_in_any_place_is_loaded_or_refused(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just("stages:\n"), Just("  a:\n"), Just("    kind: command\n"), Just("    run: "), Just("{outputs.x}"),
                Just("    outputs: [x]\n"), Just("${v}"), Just("vars: {v: 1}\n"), Just("\n"), Just("    config: "), Just("{"),
                Just("}"), Just("&a "), Just("*a"), Just("<<: "), Just("'"), Just("\""), Just("\\"), Just("é"), Just(": "),
                Just("- "), Just("|\n      "), Just("    inputs: {r: a.x}\n"), Just("train"), Just(" "), Just("\t"), Just("?"),
            ],
            0..30,
        ),
        over in "[a-z.=\\[\\]{}'\"\\\\$&* é]{0,20}",
    ) {
        let folder = Folder::new();
        if let Err(complaints) = folder.load(&pieces.concat(), &[&over]) {
            for label in complaints.complaints.iter().flat_map(|complaint| &complaint.labels) {
                let text = &complaints.sources[label.span.source as usize].text;
                prop_assert!(text.get(label.span.range()).is_some(), "{complaints}");
            }
        }
    }

    #[test]
    fn comments_order_and_spelling_change_nothing(
        count in 1_u32..100_000,
        start in -1e6_f64..1e6,
        swap in any::<bool>(),
        exponent in any::<bool>(),
        comment in "[ -~]{0,20}",
    ) {
        let folder = Folder::new();
        let start = start as f32;
        let plain = format!("stages:\n  generate:\n    config:\n      count: {count}\n      axis: {{ start: {start:?} }}\n");
        let count = if exponent { format!("{:e}", f64::from(count)) } else { format!("{count}.0") };
        let mut lines = [format!("      \"count\": {count} # {comment}\n"), format!("      axis:\n        start: {start:e}\n")];
        if swap {
            lines.reverse();
        }
        let spelt = format!("# {comment}\nstages:\n  generate: # {comment}\n    kind: 'generate'\n    config:\n{}", lines.concat());
        let one = folder.load(&plain, &[]).map_err(|complaints| TestCaseError::fail(complaints.to_string()))?;
        let two = folder.load(&spelt, &[]).map_err(|complaints| TestCaseError::fail(complaints.to_string()))?;
        prop_assert_eq!(config(&one, 0).to_string(), config(&two, 0).to_string());
    }
}
