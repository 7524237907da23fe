//! The stage `smooth`: fits of a cube, made coherent.

mod field;
mod fitted_rows;
mod noise_measurement;
mod shared_noise;

use std::collections::BTreeMap;

use pipe_engine::{
    ArraySpec, Exactness, Fault, InputPort, OutputPort, StageContext, StageError, StageKind,
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::{field::Field, fitted_rows::FittedRows, shared_noise::SharedNoise};
use crate::{
    artifacts::{
        CATALOGUE, CHUNK_ROWS, SPECTRA, SpectraReader, chunks,
        fit_outputs::{FIT_OUTPUTS, FitOutputs},
    },
    kinds::fit::{self, Fit},
    spectra::{
        Coherence, Component, Line,
        fit::{FitSettings, FittedSpectrum, Fitter, NoiseModel, SpectrumFit},
    },
};

/// The kind `smooth`.
pub struct Smooth;

/// How often spectra see their neighbours, and what they may have. Give the keys of the fit the values that they have
/// there. The largest number of components is that of the catalogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The most sweeps. In each, every spectrum sees what its neighbours had after the sweep before; it ends early when a
    /// sweep changes nothing.
    #[schemars(range(min = 1, max = 100))]
    pub sweeps: usize,
    /// The smallest number of components of a spectrum.
    #[schemars(range(max = 64))]
    pub min_components: usize,
    /// The smallest and the largest standard deviation of a component; `null` for 0.7 channels to an eighth of the
    /// axis.
    #[schemars(extend("unit" = "channels"))]
    pub sigma_channels: Option<[f64; 2]>,
    /// The least amplitude of a component, in units of the noise rms.
    #[schemars(range(min = 0), extend("unit" = "noise rms"))]
    pub min_snr: f64,
    /// Whether lines may be in absorption, with negative amplitudes, too.
    pub absorption: bool,
    /// The correlation of the noise of neighbouring channels; `null` for what was measured on the spectra, the median of
    /// each 2,048 of them.
    #[schemars(range(min = -0.49, max = 0.49))]
    pub noise_correlation: Option<f64>,
}

impl Default for Config {
    fn default() -> Self {
        let FitSettings { min_components, min_snr, absorption, .. } = FitSettings::default();
        Self {
            sweeps: 10,
            min_components,
            sigma_channels: None,
            min_snr,
            absorption,
            noise_correlation: None,
        }
    }
}

impl Config {
    /// The keys of the fit, for at most so many components.
    fn fit(&self, max_components: usize) -> fit::Config {
        fit::Config {
            min_components: self.min_components,
            max_components,
            sigma_channels: self.sigma_channels,
            min_snr: self.min_snr,
            absorption: self.absorption,
            noise_correlation: self.noise_correlation,
            ..fit::Config::default()
        }
    }
}

/// Inputs that can't be smoothed.
#[derive(Debug, thiserror::Error)]
enum SmoothError {
    #[error("the spectra have no pixels, so that none is next to another; import them from a cube")]
    NoSky,
    #[error("the catalogue has {catalogue} rows, but there are {spectra} spectra")]
    OtherRows { catalogue: u64, spectra: u64 },
}

impl StageKind for Smooth {
    type Config = Config;

    const KIND: &'static str = "smooth";
    const ABOUT: &'static str = "Lets the spectra of a cube take over components of their neighbours on the sky, and give up what these don't have, where evidence says so.";
    const REVISION: u32 = 3;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] = &[
        InputPort::required("spectra", SPECTRA, "the spectra of a cube"),
        InputPort::required(
            "catalogue",
            CATALOGUE,
            "their components, as `fit` or `refine` found them",
        ),
    ];
    const OUTPUTS: &'static [OutputPort] = FIT_OUTPUTS;

    fn check(config: &Config) -> Vec<Fault> {
        Fit::check(&config.fit(64))
    }

    fn run(config: &Config, context: &StageContext<'_>) -> Result<(), StageError> {
        let spectra = SpectraReader::open(context.input("spectra")?)?;
        let before = FittedRows::open(context.input("catalogue")?)?;
        if before.rows() != spectra.rows() {
            let (catalogue, spectra) = (before.rows(), spectra.rows());
            return Err(SmoothError::OtherRows { catalogue, spectra }.into());
        }
        let pixels = spectra.pixels(0..spectra.rows())?.ok_or(SmoothError::NoSky)?;
        let mut field = Field::new(spectra.axis(), pixels);
        for range in chunks(spectra.rows()) {
            context.check_interrupt()?;
            before.read(range)?.iter().for_each(|fitted| field.push(fitted));
        }
        let settings = config.fit(before.slots()).settings();
        let mut now = BTreeMap::new();
        let mut sweeps = 0;
        let shared = SharedNoise::measure(context, &spectra, &field)?;
        context.note("shared noise", shared);
        if let Some(coherence) = field.coherence(&shared) {
            let Coherence { spread: [amplitude, mean, sigma], survival, births } = coherence;
            context.note("coherence", format!(
                "spread {amplitude:.3} of ln amplitude, {mean:.3} channels, {sigma:.3} of ln sigma; survival {survival:.3}, births {births:.3}"
            ));
            let mut active = vec![true; spectra.rows() as usize];
            while sweeps < config.sweeps {
                let (coherence, shared) = (&coherence, &shared);
                let sweep = Sweep { config, settings, coherence, shared, field: &field };
                let changes = sweep.changes(context, &spectra, &active)?;
                if changes.is_empty() {
                    break;
                }
                sweeps += 1;
                active.fill(false);
                for (row, fit) in changes {
                    field.change(row, &fit);
                    active[row] = true;
                    field.around(row).for_each(|(other, _)| active[other] = true);
                    now.insert(row, fit);
                }
            }
        }
        context.note("sweeps", sweeps);
        context.note("changed", now.len());
        write(context, &spectra, &before, now)
    }
}

/// A sweep over all spectra.
struct Sweep<'a> {
    config: &'a Config,
    settings: FitSettings,
    coherence: &'a Coherence,
    shared: &'a SharedNoise,
    field: &'a Field,
}

impl Sweep<'_> {
    /// The rows that change, of those that are `active`, with what they change to. Every row sees the others as they
    /// were before.
    fn changes(
        &self,
        context: &StageContext<'_>,
        spectra: &SpectraReader,
        active: &[bool],
    ) -> Result<Vec<(usize, SpectrumFit)>, StageError> {
        let axis = spectra.axis();
        let mut changes = Vec::new();
        for range in chunks(spectra.rows()) {
            context.check_interrupt()?;
            context.progress(range.start, spectra.rows(), "spectra");
            let first = range.start as usize;
            let rows = first..range.end as usize;
            let disputed = self.field.disputed(self.coherence, self.shared, rows, active);
            if disputed.is_empty() {
                continue;
            }
            let correlation = match self.config.noise_correlation {
                Some(known) => known,
                None => spectra.typical_correlation(range.clone())?.unwrap_or(0.0),
            };
            let values = spectra.read(range)?;
            let found: Vec<Option<(usize, SpectrumFit)>> = disputed
                .par_iter()
                .map_init(
                    || Fitter::new(axis, self.settings),
                    |fitter, (row, proposals)| {
                        let at = (row - first) * axis.channels;
                        let spectrum = &values[at..at + axis.channels];
                        let noise = NoiseModel { rms: self.field.noise_rms(*row), correlation };
                        let fit = self.chosen(fitter, *row, spectrum, noise, proposals)?;
                        Some((*row, fit))
                    },
                )
                .collect();
            changes.extend(found.into_iter().flatten());
        }
        Ok(changes)
    }

    /// What a row changes to, if it does.
    fn chosen(
        &self,
        fitter: &mut Fitter,
        row: usize,
        spectrum: &[f32],
        noise: NoiseModel,
        proposals: &[Vec<Component>],
    ) -> Option<SpectrumFit> {
        let neighbours = self.field.neighbours(row, self.shared);
        let own: Vec<Component> =
            self.field.lines(row)?.iter().map(|line| line.component).collect();
        fitter.choose(spectrum, noise, &own, proposals, |found, log_density| {
            let line =
                |(component, deviation): &_| Line::new(*component, *deviation, self.field.axis());
            let lines: Vec<Line> = found.iter().map(line).collect();
            self.coherence.log_prior(&lines, &neighbours, log_density, noise.rms)
        })
    }
}

/// Writes what was found before, with what changed.
fn write(
    context: &StageContext<'_>,
    spectra: &SpectraReader,
    before: &FittedRows,
    mut now: BTreeMap<usize, SpectrumFit>,
) -> Result<(), StageError> {
    let mut outputs = FitOutputs::create(context, spectra, before.slots())?;
    let changed = outputs.group().array::<u32>(
        "changed",
        &ArraySpec {
            shape: vec![spectra.rows()],
            dimensions: &["row"],
            chunk_rows: CHUNK_ROWS,
            unit: "",
            about: "1 where neighbours led to other components",
        },
    )?;
    for (chunk, range) in chunks(spectra.rows()).into_iter().enumerate() {
        context.check_interrupt()?;
        let mut found = before.read(range.clone())?;
        let mut was_changed = vec![0; found.len()];
        for (index, FittedSpectrum { fit: old, .. }) in found.iter_mut().enumerate() {
            if let Some(mut fit) = now.remove(&(range.start as usize + index)) {
                for (new, old) in fit.log_evidence.iter_mut().zip(&old.log_evidence) {
                    // What was known before and wasn't tried again, or was better.
                    *new = new.max(*old);
                }
                *old = fit;
                was_changed[index] = 1;
            }
        }
        outputs.write(chunk as u64, range, &found)?;
        changed.write(chunk as u64, &was_changed)?;
    }
    outputs.finish()
}
