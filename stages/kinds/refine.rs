//! The stage `refine`: from a proposal of components to their fit.

use pipe_engine::{
    ArraySpec, Exactness, Fault, InputPort, OutputPort, RowMap, RowsFrom, Shape, StageContext,
    StageError, StageKind,
};

pub use crate::kinds::fit::Config;
use crate::{
    artifacts::{
        CATALOGUE, CHUNK_ROWS, ComponentsReader, SPECTRA, SpectraReader, chunks,
        fit_outputs::{FIT_OUTPUTS, FitOutputs},
    },
    kinds::fit::{Fit, rows::fit_rows},
    spectra::fit::{FittedSpectrum, Refined},
};

/// The kind `refine`. Its keys are those of `fit`, and mean the same.
pub struct Refine;

/// A proposal for other spectra.
#[derive(Debug, thiserror::Error)]
#[error("the catalogue has {catalogue} rows, but there are {spectra} spectra")]
struct OtherRows {
    catalogue: u64,
    spectra: u64,
}

impl StageKind for Refine {
    type Config = Config;

    const KIND: &'static str = "refine";
    const ABOUT: &'static str = "Fits the components that a catalogue proposes by least squares, and finds by evidence whether there are fewer or more.";
    const REVISION: u32 = 5;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] = &[
        InputPort::required("spectra", SPECTRA, "the spectra, as they were observed"),
        InputPort::required(
            "catalogue",
            CATALOGUE,
            "the components proposed for each spectrum, of which only amplitudes, means and sigmas are used",
        ),
    ];
    const OUTPUTS: &'static [OutputPort] = FIT_OUTPUTS;

    fn check(config: &Config) -> Vec<Fault> {
        Fit::check(config)
    }

    fn shape(_: &Config) -> Shape {
        Shape::Rows(RowMap {
            rows: RowsFrom::Arrays(&[
                (
                    "spectra",
                    &["axis", "spectra", "noise_rms", "noise_correlation", "noise_given", "x", "y"],
                ),
                ("catalogue", &["parameters", "counts"]),
            ]),
            broadcast: &[],
            chunk_rows: CHUNK_ROWS,
            unit: "spectra",
        })
    }

    fn run(config: &Config, context: &StageContext<'_>) -> Result<(), StageError> {
        let spectra = SpectraReader::open(context.input("spectra")?)?;
        let catalogue = ComponentsReader::open(context.input("catalogue")?)?;
        if catalogue.rows() != spectra.rows() {
            let rows = OtherRows { catalogue: catalogue.rows(), spectra: spectra.rows() };
            return Err(StageError::new(rows));
        }
        let mut outputs = FitOutputs::create(context, &spectra, config.max_components)?;
        let searched = outputs.group().array::<u32>(
            "searched",
            &ArraySpec {
                shape: vec![spectra.rows()],
                dimensions: &["row"],
                chunk_rows: CHUNK_ROWS,
                unit: "",
                about: "1 where the proposal led to no good fit, and components were searched for from nothing",
            },
        )?;
        for (chunk, range) in chunks(spectra.rows()).into_iter().enumerate() {
            let proposals = catalogue.read(range.clone())?;
            let rows =
                fit_rows(config, &spectra, &range, context, |fitter, row, spectrum, noise| {
                    fitter
                        .refine(spectrum, noise.given, noise.remeasure, &proposals[row])
                        .map_or_else(
                            || {
                                let rms = noise.given.rms;
                                (FittedSpectrum::nothing(config.max_components, rms), 0)
                            },
                            |Refined { fit, noise_rms, searched }| {
                                (FittedSpectrum { fit, noise_rms }, u32::from(searched))
                            },
                        )
                })?;
            let (found, was_searched): (Vec<FittedSpectrum>, Vec<u32>) = rows.into_iter().unzip();
            outputs.write(chunk as u64, range, &found)?;
            searched.write(chunk as u64, &was_searched)?;
        }
        outputs.finish()
    }
}
