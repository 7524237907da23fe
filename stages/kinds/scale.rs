//! The stage `scale`: spectra as a network sees them.

use pipe_engine::{
    ArraySpec, Exactness, InputPort, OutputPort, RowMap, RowsFrom, Shape, StageContext, StageError,
    StageKind,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    artifacts::{
        CHUNK_ROWS, ROWS, Rows, SCALED, SCALER, SCALER_FILE, SPECTRA, SpectraReader, chunks,
        row_chunks::for_each_chunk,
    },
    spectra::{Scaler, StandardFit},
};

/// Spectra scaled for a network.
pub struct Scale;

/// How spectra are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Each spectrum is divided by its noise rms: a line looks the same in any channel.
    #[default]
    Rms,
    /// Each channel is shifted and divided to mean 0 and standard deviation 1 over the training rows.
    Standard,
}

/// How spectra are scaled.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `rms` divides each spectrum by its noise rms; `standard` brings each channel to mean 0 and standard
    /// deviation 1 over the training rows, which the input `rows` then has to name.
    pub method: Method,
}

/// What keeps spectra from being scaled.
#[derive(Debug, thiserror::Error)]
enum ScaleError {
    #[error("`method: standard` is fitted on training rows: give the input `rows`")]
    NoRows,
    #[error("`method: standard` is fitted on training rows, and input `rows` names none")]
    NoTrainingRows,
}

impl StageKind for Scale {
    type Config = Config;

    const KIND: &'static str = "scale";
    const ABOUT: &'static str = "Scales spectra for a network, with what is needed to undo it.";
    const REVISION: u32 = 2;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] = &[
        InputPort::required("spectra", SPECTRA, "the spectra to scale"),
        InputPort::optional(
            "rows",
            ROWS,
            "the training rows, on which `method: standard` is fitted",
        ),
    ];
    const OUTPUTS: &'static [OutputPort] = &[
        OutputPort::new("spectra", SCALED, "the scaled spectra; 0 where a channel is missing"),
        OutputPort::new("scaler", SCALER, "how they were scaled"),
    ];

    fn shape(config: &Config) -> Shape {
        match config.method {
            Method::Rms => Shape::Rows(RowMap {
                rows: RowsFrom::Arrays(&[("spectra", &["axis", "spectra", "noise_rms"])]),
                broadcast: &[],
                chunk_rows: CHUNK_ROWS,
                unit: "spectra",
            }),
            // Every row depends on all training rows.
            Method::Standard => Shape::Whole,
        }
    }

    fn run(config: &Config, context: &StageContext<'_>) -> Result<(), StageError> {
        let spectra = SpectraReader::open(context.input("spectra")?)?;
        let scaler = match config.method {
            Method::Rms => Scaler::Rms,
            Method::Standard => fit(&spectra, context)?,
        };
        context.output("scaler")?.document(SCALER_FILE, &scaler)?;

        let channels = spectra.axis().channels;
        let spec = ArraySpec {
            shape: vec![spectra.rows(), channels as u64],
            dimensions: &["row", "channel"],
            chunk_rows: CHUNK_ROWS,
            unit: "",
            about: "scaled intensity; 0 where a channel is missing",
        };
        let group = context.output("spectra")?.zarr(serde_json::Map::new())?;
        let scaled = group.array::<f32>("spectra", &spec)?;
        for_each_chunk(context, spectra.rows(), |chunk, rows| {
            let noise = spectra.noise(rows.clone())?;
            let mut values = spectra.read(rows)?;
            scaler.apply(&mut values, channels, &noise)?;
            Ok(scaled.write(chunk, &values)?)
        })
    }
}

/// Fits the standard scaling on the training rows, in their order.
fn fit(spectra: &SpectraReader, context: &StageContext<'_>) -> Result<Scaler, StageError> {
    let rows = context.optional("rows").ok_or(ScaleError::NoRows)?;
    let training = Rows::read(rows, spectra.rows())?.training;
    if training.is_empty() {
        return Err(ScaleError::NoTrainingRows.into());
    }
    let channels = spectra.axis().channels;
    let mut fit = StandardFit::new(channels);
    for range in chunks(spectra.rows()) {
        context.check_interrupt()?;
        let first = training.partition_point(|&row| row < range.start);
        let end = training.partition_point(|&row| row < range.end);
        if first == end {
            continue;
        }
        let values = spectra.read(range.clone())?;
        for &row in &training[first..end] {
            let at = (row - range.start) as usize * channels;
            fit.push(&values[at..at + channels])?;
        }
    }
    Ok(fit.finish())
}
