//! Kinds whose configs have values of every sort.

use pipe_engine::{
    ArtifactType, Exactness, Fault, Format, InputPort, OutputPort, Registry, RowMap, RowsFrom,
    Shape, StageContext, StageError, StageKind,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const SPECTRA: ArtifactType = ArtifactType::new("spectra", Format::Zarr);
const MODEL: ArtifactType = ArtifactType::new("checkpoint", Format::Checkpoint);

pub(crate) fn registry() -> Registry {
    Registry::new().with::<Generate>().with::<Train>().with::<Score>()
}

/// Where noise comes from.
#[derive(Debug, Default, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Noise {
    #[default]
    Quiet,
    White,
}

/// How the rate goes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Rate {
    Constant,
    Falling {
        #[schemars(range(min = 0.0, max = 1.0))]
        by: f64,
    },
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Axis {
    #[schemars(extend("unit" = "km/s"))]
    start: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct GenerateConfig {
    #[schemars(range(min = 1))]
    count: u64,
    #[schemars(extend("unit" = "K"))]
    amplitude: [f64; 2],
    noise: Noise,
    axis: Axis,
    rate: Option<Rate>,
    limit: Option<u8>,
    shift: i64,
    quick: bool,
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
            shift: 0,
            quick: false,
            note: None,
            kernels: vec![3, 5],
        }
    }
}

/// Row-mapped, by a key.
struct Generate;

impl StageKind for Generate {
    type Config = GenerateConfig;
    const KIND: &'static str = "generate";
    const ABOUT: &'static str = "Makes spectra.";
    const REVISION: u32 = 1;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] = &[];
    const OUTPUTS: &'static [OutputPort] = &[OutputPort::new("spectra", SPECTRA, "spectra")];

    fn check(config: &GenerateConfig) -> Vec<Fault> {
        let [low, high] = config.amplitude;
        if low > high {
            vec![Fault::at("amplitude", "the range ends before it begins").help("swap its ends")]
        } else {
            Vec::new()
        }
    }

    fn shape(_: &GenerateConfig) -> Shape {
        Shape::Rows(RowMap {
            rows: RowsFrom::Key("count"),
            broadcast: &[],
            chunk_rows: 8,
            unit: "spectra",
        })
    }

    fn run(_: &GenerateConfig, _: &StageContext<'_>) -> Result<(), StageError> {
        Ok(())
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TrainConfig {
    #[schemars(range(min = 1))]
    epochs: u32,
    #[serde(default)]
    learning_rate: f64,
}

/// Iterated, with a required key, and inputs of which one may be missing.
struct Train;

impl StageKind for Train {
    type Config = TrainConfig;
    const KIND: &'static str = "train";
    const ABOUT: &'static str = "Trains.";
    const REVISION: u32 = 1;
    const EXACTNESS: Exactness = Exactness::Reproducible;
    const INPUTS: &'static [InputPort] = &[
        InputPort::required("spectra", SPECTRA, "what to learn from"),
        InputPort::optional("start", MODEL, "where to go on"),
    ];
    const OUTPUTS: &'static [OutputPort] = &[OutputPort::new("checkpoint", MODEL, "weights")];

    fn shape(_: &TrainConfig) -> Shape {
        Shape::Steps { extent: Some("epochs") }
    }

    fn run(_: &TrainConfig, _: &StageContext<'_>) -> Result<(), StageError> {
        Ok(())
    }
}

/// No key at all, and a document that `select` can choose by.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ScoreConfig {}

struct Score;

impl StageKind for Score {
    type Config = ScoreConfig;
    const KIND: &'static str = "score";
    const ABOUT: &'static str = "Scores.";
    const REVISION: u32 = 1;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] =
        &[InputPort::required("checkpoint", MODEL, "what to score")];
    const OUTPUTS: &'static [OutputPort] =
        &[OutputPort::new("metrics", ArtifactType::new("metrics", Format::Document), "scores")];

    fn run(_: &ScoreConfig, _: &StageContext<'_>) -> Result<(), StageError> {
        Ok(())
    }
}
