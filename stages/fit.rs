//! The stage `fit`: finds the components of spectra by least squares, without a network.

use std::ops::Range;

use pipe_engine::{
    ArraySpec, ArrayWriter, Exactness, Fault, GroupWriter, InputPort, OutputPort, RowMap, RowsFrom,
    Shape, Stage, StageError, Work,
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    artifacts::{
        CATALOGUE, CHUNK_ROWS, ComponentsWriter, LayoutError, SPECTRA, SpectraHead, SpectraReader,
        TABLE, chunks,
    },
    spectra::{
        Component,
        fit::{FitSettings, FitTable, FittedComponent, Fitter, NoiseModel, Selection, SpectrumFit},
    },
};

/// The kind `fit`.
pub struct Fit;

/// Where the noise rms of a spectrum is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoiseFrom {
    /// `residual` for the spectra of a cube, `given` for others.
    #[default]
    Auto,
    /// As it comes with the spectra.
    Given,
    /// Measured on what a first fit leaves, on which a second one rests.
    Residual,
}

/// What is looked for, and how it is judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The smallest number of components of a spectrum.
    #[schemars(range(max = 64))]
    pub min_components: usize,
    /// The largest number of components of a spectrum.
    #[schemars(range(min = 1, max = 64))]
    pub max_components: usize,
    /// The smallest and the largest standard deviation of a component; `null` for 0.7 channels to an eighth of the
    /// axis.
    #[schemars(extend("unit" = "channels"))]
    pub sigma_channels: Option<[f64; 2]>,
    /// The least amplitude of a component, in units of the noise rms.
    #[schemars(range(min = 0), extend("unit" = "noise rms"))]
    pub min_snr: f64,
    /// Whether lines may be in absorption, with negative amplitudes, too.
    pub absorption: bool,
    /// How the number of components is chosen: `evidence` (Bayesian, in Laplace's approximation) or `bic` (the Bayesian
    /// information criterion).
    pub selection: Selection,
    /// Where the noise rms is taken from: `given` (as it comes with the spectra), `residual` (measured on what a first
    /// fit leaves, on which a second one rests), or `auto` (`residual` for the spectra of a cube, where it was
    /// measured among the lines, `given` for others).
    pub noise: NoiseFrom,
    /// The correlation of the noise of neighbouring channels; `null` for what was measured on the spectra of a cube, the
    /// median of each 2,048 of them, and 0 for others.
    #[schemars(range(min = -0.49, max = 0.49))]
    pub noise_correlation: Option<f64>,
}

impl Default for Config {
    fn default() -> Self {
        let FitSettings { min_components, max_components, min_snr, absorption, selection, .. } =
            FitSettings::default();
        Self {
            min_components,
            max_components,
            sigma_channels: None,
            min_snr,
            absorption,
            selection,
            noise: NoiseFrom::Auto,
            noise_correlation: None,
        }
    }
}

impl Config {
    fn settings(&self) -> FitSettings {
        FitSettings {
            min_components: self.min_components,
            max_components: self.max_components,
            sigma: self.sigma_channels.unwrap_or(FitSettings::default().sigma),
            min_snr: self.min_snr,
            absorption: self.absorption,
            selection: self.selection,
        }
    }
}

impl Stage for Fit {
    type Config = Config;

    const KIND: &'static str = "fit";
    const ABOUT: &'static str = "Finds the components of spectra by least squares, their number by evidence; without a network.";
    const REVISION: u32 = 1;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] =
        &[InputPort::required("spectra", SPECTRA, "the spectra, as they were observed")];
    const OUTPUTS: &'static [OutputPort] = &[
        OutputPort::new(
            "catalogue",
            CATALOGUE,
            "the components of each spectrum, with uncertainties, χ², flags and log evidence",
        ),
        OutputPort::new("table", TABLE, "the same as CSV, a row for each component"),
    ];

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
                &["axis", "spectra", "noise_rms", "noise_correlation", "x", "y"],
            )]),
            broadcast: &[],
            chunk_rows: CHUNK_ROWS,
            unit: "spectra",
        })
    }

    fn run(config: &Config, work: &Work<'_>) -> Result<(), StageError> {
        let spectra = SpectraReader::open(work.input("spectra")?)?;
        let (rows, slots) = (spectra.rows(), config.max_components);
        let (components, group) =
            ComponentsWriter::create(work.output("catalogue")?, rows, slots, spectra.head())?;
        let details = Details::create(&group, rows, slots, spectra.head())?;
        let mut table = work.output("table")?.create("catalogue.csv")?;
        FitTable::new(&mut table)?.finish()?;
        for (chunk, range) in chunks(rows).into_iter().enumerate() {
            let fits = fit_rows(config, &spectra, &range, work)?;
            let pixels = spectra.pixels(range.clone())?;
            let mut more = FitTable::continued(&mut table);
            for (index, (fit, _)) in fits.iter().enumerate() {
                let row = work.first_row() + range.start + index as u64;
                let pixel = pixels.as_ref().map(|pixels| pixels[index]);
                let pixel = pixel.map(|(x, y)| (u64::from(x), u64::from(y)));
                more.write(row, pixel, fit, spectra.axis())?;
            }
            more.finish()?;
            let found: Vec<Vec<Component>> = fits
                .iter()
                .map(|(fit, _)| fit.components.iter().map(|found| found.component).collect())
                .collect();
            components.write(chunk as u64, &found)?;
            details.write(chunk as u64, &fits)?;
        }
        table.finish()?;
        Ok(())
    }
}

/// The arrays of a catalogue that only `fit` makes.
struct Details {
    slots: usize,
    uncertainty: ArrayWriter<f64>,
    component_flags: ArrayWriter<u32>,
    flags: ArrayWriter<u32>,
    chi_squared: ArrayWriter<f64>,
    reduced_chi_squared: ArrayWriter<f64>,
    log_evidence: ArrayWriter<f64>,
    noise_rms: ArrayWriter<f64>,
}

impl Details {
    fn create(
        group: &GroupWriter,
        rows: u64,
        slots: usize,
        head: &SpectraHead,
    ) -> Result<Self, LayoutError> {
        const FLAGS: &str = "questionable: a bit each for blended (1), at_bound (2), broad (4), negative_residual (8), \
             poor_chi_squared (16), not_converged (32)";
        let per_row = |about| ArraySpec {
            shape: vec![rows],
            dimensions: &["row"],
            chunk_rows: CHUNK_ROWS,
            unit: "",
            about,
        };
        let uncertainty = ArraySpec {
            shape: vec![rows, slots as u64, 3],
            dimensions: &["row", "component", "parameter"],
            ..per_row(
                "standard deviation of amplitude, mean and sigma, in the units of each; NaN where absent",
            )
        };
        let component_flags = ArraySpec {
            shape: vec![rows, slots as u64],
            dimensions: &["row", "component"],
            ..per_row(FLAGS)
        };
        let log_evidence = ArraySpec {
            shape: vec![rows, slots as u64 + 1],
            dimensions: &["row", "count"],
            ..per_row(
                "natural logarithm of the evidence of each number of components, less that of noise alone; NaN where \
                 not tried",
            )
        };
        let noise =
            ArraySpec { unit: &head.unit, ..per_row("rms of the noise that the fit rests on") };
        let chi_squared = per_row(
            "χ² of the residual under the noise's covariance; NaN where nothing was fitted",
        );
        let reduced = per_row("χ² over the degrees of freedom");
        Ok(Self {
            slots,
            uncertainty: group.array("uncertainty", &uncertainty)?,
            component_flags: group.array("component_flags", &component_flags)?,
            flags: group.array("flags", &per_row(FLAGS))?,
            chi_squared: group.array("chi_squared", &chi_squared)?,
            reduced_chi_squared: group.array("reduced_chi_squared", &reduced)?,
            log_evidence: group.array("log_evidence", &log_evidence)?,
            noise_rms: group.array("noise_rms", &noise)?,
        })
    }

    fn write(&self, chunk: u64, fits: &[(SpectrumFit, f64)]) -> Result<(), LayoutError> {
        let mut uncertainty = vec![f64::NAN; fits.len() * self.slots * 3];
        let mut component_flags = vec![0; fits.len() * self.slots];
        for (row, (fit, _)) in fits.iter().enumerate() {
            for (slot, FittedComponent { uncertainty: u, flags, .. }) in
                fit.components.iter().enumerate()
            {
                let at = row * self.slots + slot;
                uncertainty[3 * at..3 * at + 3].copy_from_slice(&[u.amplitude, u.mean, u.sigma]);
                component_flags[at] = flags.bits();
            }
        }
        let of = |value: fn(&SpectrumFit) -> f64| -> Vec<f64> {
            fits.iter().map(|(fit, _)| value(fit)).collect()
        };
        let flags: Vec<u32> = fits.iter().map(|(fit, _)| fit.flags.bits()).collect();
        let evidence: Vec<f64> =
            fits.iter().flat_map(|(fit, _)| fit.log_evidence.iter().copied()).collect();
        let noise: Vec<f64> = fits.iter().map(|(_, rms)| *rms).collect();
        self.uncertainty.write(chunk, &uncertainty)?;
        self.component_flags.write(chunk, &component_flags)?;
        self.flags.write(chunk, &flags)?;
        self.chi_squared.write(chunk, &of(|fit| fit.chi_squared))?;
        self.reduced_chi_squared.write(chunk, &of(|fit| fit.reduced_chi_squared))?;
        self.log_evidence.write(chunk, &evidence)?;
        Ok(self.noise_rms.write(chunk, &noise)?)
    }
}

/// Spectra between which the stage can be interrupted.
const BLOCK: usize = 256;

/// The fits of the rows of a chunk, each with the noise rms that it rests on.
fn fit_rows(
    config: &Config,
    spectra: &SpectraReader,
    rows: &Range<u64>,
    work: &Work<'_>,
) -> Result<Vec<(SpectrumFit, f64)>, StageError> {
    let axis = spectra.axis();
    let values = spectra.read(rows.clone())?;
    let noise = spectra.noise(rows.clone())?;
    let measured = spectra.noise_correlation(rows.clone())?;
    let remeasure = match config.noise {
        NoiseFrom::Auto => measured.is_some(),
        NoiseFrom::Given => false,
        NoiseFrom::Residual => true,
    };
    // The correlation is the spectrometer's, the same for all; many spectra tell it better than one.
    let correlation = config.noise_correlation.or_else(|| measured.and_then(median)).unwrap_or(0.0);
    let settings = config.settings();
    let mut fits = Vec::with_capacity(noise.len());
    for (values, noise) in values.chunks(BLOCK * axis.channels).zip(noise.chunks(BLOCK)) {
        work.check_interrupt()?;
        work.progress(rows.start + fits.len() as u64, spectra.rows(), "spectra");
        values
            .par_chunks(axis.channels)
            .zip(noise)
            .with_min_len(8)
            .map_init(
                || Fitter::new(axis, settings),
                |fitter, (spectrum, rms)| {
                    let given = NoiseModel { rms: *rms, correlation };
                    fit_spectrum(fitter, spectrum, given, remeasure, config.max_components)
                },
            )
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|fit| fits.push(fit));
    }
    Ok(fits)
}

fn fit_spectrum(
    fitter: &mut Fitter,
    spectrum: &[f32],
    given: NoiseModel,
    remeasure: bool,
    slots: usize,
) -> (SpectrumFit, f64) {
    let Some(first) = fitter.search(spectrum, given) else {
        let nothing = SpectrumFit {
            chi_squared: f64::NAN,
            reduced_chi_squared: f64::NAN,
            log_evidence: vec![f64::NAN; slots + 1],
            ..SpectrumFit::default()
        };
        return (nothing, given.rms);
    };
    if remeasure && let Some(rms) = fitter.measure_noise(spectrum, &first) {
        let again = fitter.search(spectrum, NoiseModel { rms, ..given });
        return again.map_or((first, given.rms), |again| (again, rms));
    }
    (first, given.rms)
}

/// The median of the values that are finite.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.retain(|value| value.is_finite());
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
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
