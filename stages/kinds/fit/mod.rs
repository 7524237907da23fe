//! The stage `fit`: finds the components of spectra by least squares, without a network.

mod config;
pub(crate) mod rows;

pub use self::config::{Config, NoiseFrom, PriorFrom};

use pipe_engine::{
    Exactness, Fault, InputPort, OutputPort, RowMap, RowsFrom, Shape, StageContext, StageError,
    StageKind,
};

use crate::{
    artifacts::{
        CHUNK_ROWS, SPECTRA, SpectraReader, chunks,
        fit_outputs::{FIT_OUTPUTS, FitOutputs},
    },
    kinds::fit::rows::{GivenNoise, fit_rows},
    spectra::fit::FittedSpectrum,
};

/// The kind `fit`.
pub struct Fit;

impl StageKind for Fit {
    type Config = Config;

    const KIND: &'static str = "fit";
    const ABOUT: &'static str = "Finds the components of spectra by least squares, their number by evidence; without a network.";
    const REVISION: u32 = 5;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] =
        &[InputPort::required("spectra", SPECTRA, "the spectra, as they were observed")];
    const OUTPUTS: &'static [OutputPort] = FIT_OUTPUTS;

    fn check(config: &Config) -> Vec<Fault> {
        let mut faults = Vec::new();
        if config.min_components > config.max_components {
            faults.push(Fault::at(
                "min_components",
                format!(
                    "{} is larger than max_components, {}",
                    config.min_components, config.max_components
                ),
            ));
        }
        if let Some([low, high]) = config.sigma_channels
            && !(low >= 0.1 && high >= low && high.is_finite())
        {
            faults.push(Fault::at(
                "sigma_channels",
                format!("[{low}, {high}] must run from at least 0.1 channels to no less than that"),
            ));
        }
        if !(config.min_snr > 0.0 && config.min_snr.is_finite()) {
            faults.push(Fault::at(
                "min_snr",
                format!("must be positive, and {} is not", config.min_snr),
            ));
        }
        faults
    }

    fn shape(_: &Config) -> Shape {
        Shape::Rows(RowMap {
            rows: RowsFrom::Arrays(&[(
                "spectra",
                &["axis", "spectra", "noise_rms", "noise_correlation", "noise_given", "x", "y"],
            )]),
            broadcast: &[],
            chunk_rows: CHUNK_ROWS,
            unit: "spectra",
        })
    }

    fn run(config: &Config, context: &StageContext<'_>) -> Result<(), StageError> {
        let spectra = SpectraReader::open(context.input("spectra")?)?;
        let mut outputs = FitOutputs::create(context, &spectra, config.max_components)?;
        for (chunk, range) in chunks(spectra.rows()).into_iter().enumerate() {
            let rows =
                fit_rows(config, &spectra, &range, context, |fitter, _, spectrum, noise| {
                    let GivenNoise { given, remeasure } = noise;
                    let most = config.max_components;
                    (FittedSpectrum::search(fitter, spectrum, given, remeasure, most), ())
                })?;
            let found: Vec<FittedSpectrum> = rows.into_iter().map(|(found, ())| found).collect();
            outputs.write(chunk as u64, range, &found)?;
        }
        outputs.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_its_key() {
        let default = Config::default;
        let cases = [
            (Config { min_components: 7, ..default() }, "min_components"),
            (Config { sigma_channels: Some([3.0, 2.0]), ..default() }, "sigma_channels"),
            (Config { sigma_channels: Some([0.0, 2.0]), ..default() }, "sigma_channels"),
            (Config { sigma_channels: Some([1.0, f64::INFINITY]), ..default() }, "sigma_channels"),
            (Config { min_snr: 0.0, ..default() }, "min_snr"),
        ];
        assert_eq!(Fit::check(&default()), []);
        for (config, key) in cases {
            let faults = Fit::check(&config);
            assert_eq!(faults.len(), 1, "{key}");
            assert_eq!(faults[0].path, [key]);
        }
    }
}
