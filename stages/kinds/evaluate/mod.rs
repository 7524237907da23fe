//! The stage `evaluate`: how good a catalogue is, where the truth is known.

mod document;
mod tables;

pub use self::document::{Baselines, Document, Subset};

use std::ops::Range;

use pipe_engine::{Exactness, InputPort, OutputPort, StageContext, StageError, StageKind};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    artifacts::{
        CATALOGUE, CHUNK_ROWS, ComponentsReader, DetailsReader, METRICS, METRICS_FILE, ROWS, Rows,
        SPECTRA, SpectraHead, SpectraReader, TABLE, TRUTH,
        truth_table::{Compared, TruthTable},
    },
    spectra::{
        ByParameter, Component, ConstantGuess, Deviations, Evaluation, MatchCriteria, MeanUnit,
        Oracle, TrueRanges,
        fit::{CramerRao, NoiseModel, SpectrumFit},
    },
};

/// The evaluation of a catalogue.
pub struct Evaluate;

/// What `mean_tolerance` is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToleranceUnit {
    /// The unit of the axis.
    #[default]
    Axis,
    /// Channels.
    Channels,
    /// Channels, but at least the mean sigma of the pair.
    Sigma,
}

/// When a predicted component counts as a true one, and which rows are evaluated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How far the means of a pair may lie apart, in `mean_tolerance_unit`.
    #[schemars(range(min = 0), extend("unit" = "mean_tolerance_unit"))]
    pub mean_tolerance: f64,
    /// What `mean_tolerance` is measured in: `axis`, `channels`, or `sigma` (channels, but at least the mean sigma of
    /// the pair).
    pub mean_tolerance_unit: ToleranceUnit,
    /// How far the sigmas of a pair may lie apart, as a fraction of the mean of the two.
    #[schemars(range(min = 0, max = 2))]
    pub sigma_tolerance: f64,
    /// How far the amplitudes of a pair may lie apart, as a fraction of the mean of the two.
    #[schemars(range(min = 0, max = 2))]
    pub amplitude_tolerance: f64,
    /// The rows to evaluate: `test`, `validation`, `training` or `all`. Without the input `rows`, it is all of them.
    pub subset: Subset,
    /// Whether the spectra are also fitted from the truth, with the true number of components: the best that can be
    /// had of them.
    pub oracle: bool,
    /// The correlation of the noise of neighbouring channels, for the Cramér–Rao bound and the oracle; `null` for what
    /// was measured on the spectra of a cube, the median of each 2,048 of them, and 0 for others.
    #[schemars(range(min = -0.49, max = 0.49))]
    pub noise_correlation: Option<f64>,
}

impl Default for Config {
    fn default() -> Self {
        let seed = MatchCriteria::default();
        Self {
            mean_tolerance: seed.mean_tolerance,
            mean_tolerance_unit: ToleranceUnit::Axis,
            sigma_tolerance: seed.sigma_tolerance,
            amplitude_tolerance: seed.amplitude_tolerance,
            subset: Subset::Test,
            oracle: true,
            noise_correlation: None,
        }
    }
}

/// What keeps a catalogue from being evaluated.
#[derive(Debug, thiserror::Error)]
enum EvaluateError {
    #[error(
        "there are {spectra} spectra, {truth} rows of truth and {catalogue} of the catalogue: they don't belong together"
    )]
    Rows { spectra: u64, truth: u64, catalogue: u64 },
    #[error("there are no {subset:?} rows to evaluate")]
    Empty { subset: Subset },
}

impl Config {
    fn criteria(&self) -> MatchCriteria {
        MatchCriteria {
            mean_tolerance: self.mean_tolerance,
            mean_unit: match self.mean_tolerance_unit {
                ToleranceUnit::Axis => MeanUnit::Axis,
                ToleranceUnit::Channels => MeanUnit::Channels,
                ToleranceUnit::Sigma => MeanUnit::ChannelsOrSigma,
            },
            sigma_tolerance: self.sigma_tolerance,
            amplitude_tolerance: self.amplitude_tolerance,
        }
    }
}

impl StageKind for Evaluate {
    type Config = Config;

    const KIND: &'static str = "evaluate";
    const ABOUT: &'static str = "Says how good a catalogue is, beside the best possible and baselines that say the same of every spectrum.";
    const REVISION: u32 = 3;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] = &[
        InputPort::required("catalogue", CATALOGUE, "the components that were found"),
        InputPort::required("truth", TRUTH, "the components that there are"),
        InputPort::required("spectra", SPECTRA, "the spectra, with their axis and noise"),
        InputPort::optional("rows", ROWS, "which rows were trained on, and which are for testing"),
    ];
    const OUTPUTS: &'static [OutputPort] = &[
        OutputPort::new(
            "metrics",
            METRICS,
            "every figure, of the catalogue, the oracle and the baselines, as JSON",
        ),
        OutputPort::new(
            "tables",
            TABLE,
            "the figures as CSV: summary, parameters, confusion, calibration, separation, signal_to_noise",
        ),
        OutputPort::new(
            "components",
            TABLE,
            "the true components as CSV: the Cramér–Rao bound of each, and what was found of it",
        ),
    ];

    fn run(config: &Config, context: &StageContext<'_>) -> Result<(), StageError> {
        let spectra = SpectraReader::open(context.input("spectra")?)?;
        let truth = ComponentsReader::open(context.input("truth")?)?;
        let catalogue = ComponentsReader::open(context.input("catalogue")?)?;
        let details = DetailsReader::open(context.input("catalogue")?)?;
        let count = spectra.rows();
        if truth.rows() != count || catalogue.rows() != count {
            return Err(EvaluateError::Rows {
                spectra: count,
                truth: truth.rows(),
                catalogue: catalogue.rows(),
            }
            .into());
        }
        let (subset, evaluated, training) = match context.optional("rows") {
            Some(rows) => {
                let rows = Rows::read(rows, count)?;
                let evaluated = match config.subset {
                    Subset::Test => rows.test,
                    Subset::Validation => rows.validation,
                    Subset::Training => rows.training.clone(),
                    Subset::All => (0..count).collect(),
                };
                (config.subset, evaluated, rows.training)
            }
            None => (Subset::All, (0..count).collect(), (0..count).collect()),
        };
        if evaluated.is_empty() {
            return Err(EvaluateError::Empty { subset }.into());
        }

        let mut guess = ConstantGuess::default();
        for (_, rows) in by_chunk(&training) {
            context.check_interrupt()?;
            for components in pick(&truth, rows)? {
                guess.push(&components);
            }
        }
        let mut ranges = TrueRanges::default();
        for (_, rows) in by_chunk(&evaluated) {
            context.check_interrupt()?;
            let noise = spectra.noise(span(rows))?;
            for (row, components) in rows.iter().zip(pick(&truth, rows)?) {
                ranges.push(&components, noise[(row - rows[0]) as usize]);
            }
        }
        let slots = truth.slots().max(catalogue.slots());
        let evaluation = || Evaluation::new(config.criteria(), spectra.axis().width(), slots);
        let [mut found, mut oracle, mut majority, mut constant] = [(); 4].map(|()| evaluation());
        let (majority_answer, constant_answer) = (guess.components(), guess.slots());
        let (criteria, width) = (config.criteria(), spectra.axis().width());
        let mut components =
            TruthTable::new(context.output("components")?.create("components.csv")?)?;
        for (done, rows) in by_chunk(&evaluated) {
            context.check_interrupt()?;
            context.progress(done, evaluated.len() as u64, "spectra");
            let noise = spectra.noise(span(rows))?;
            let truths = pick(&truth, rows)?;
            let finds = pick(&catalogue, rows)?;
            let uncertainties = details.uncertainties(span(rows))?;
            let limits = limits(config, &spectra, rows, &truths, &ranges)?;
            for (((row, truth), find), limit) in rows.iter().zip(&truths).zip(&finds).zip(&limits) {
                let at = (row - rows[0]) as usize;
                let rms = noise[at];
                let bound = limit.bound.as_deref();
                let stated = uncertainties.as_ref().map(|all| {
                    let first = at * catalogue.slots();
                    &all[first..first + find.len()]
                });
                found.push_with(truth, find, rms, Deviations { bound, stated });
                let pairs = criteria.pairs(truth, find, width);
                let (row, pairs) = (*row, &pairs[..]);
                components.write(&Compared { row, truth, bound, rms, found: find, pairs })?;
                if config.oracle {
                    let (components, stated) = limit.oracle();
                    let deviations = Deviations { bound, stated: Some(&stated) };
                    oracle.push_with(truth, &components, rms, deviations);
                }
                majority.push(truth, &majority_answer, rms);
                constant.push(truth, &constant_answer, rms);
            }
        }
        let SpectraHead { axis, unit, .. } = spectra.head();
        let document = Document {
            subset,
            criteria: config.criteria(),
            intensity_unit: unit.clone(),
            axis_unit: axis.unit.clone(),
            metrics: found.finish(),
            oracle: config.oracle.then(|| oracle.finish()),
            baselines: Baselines {
                majority_count: majority.finish(),
                constant_guess: constant.finish(),
            },
        };
        components.finish()?.finish()?;
        context.output("metrics")?.document(METRICS_FILE, &document)?;
        tables::write(&document, context.output("tables")?)
    }
}

/// Sorted rows in groups that lie in one chunk of the arrays, each with the number of rows before it.
fn by_chunk(rows: &[u64]) -> impl Iterator<Item = (u64, &[u64])> {
    let groups = rows.chunk_by(|a, b| a / CHUNK_ROWS == b / CHUNK_ROWS);
    groups.scan(0, |before, group| {
        let done = *before;
        *before += group.len() as u64;
        Some((done, group))
    })
}

/// From the first to the last of these rows, which are sorted and not empty.
fn span(rows: &[u64]) -> Range<u64> {
    rows[0]..rows[rows.len() - 1] + 1
}

/// The components of these rows, which are sorted and not empty.
fn pick(reader: &ComponentsReader, rows: &[u64]) -> Result<Vec<Vec<Component>>, StageError> {
    let mut all = reader.read(span(rows))?;
    Ok(rows.iter().map(|row| std::mem::take(&mut all[(row - rows[0]) as usize])).collect())
}

/// The best that can be had of a spectrum.
struct Limit {
    /// The Cramér–Rao bound of its true components; `None` where there is none.
    bound: Option<Vec<ByParameter<f64>>>,
    /// The fit from the truth; `None` where it wasn't asked for, or nothing can be fitted.
    fit: Option<SpectrumFit>,
}

impl Limit {
    /// The components that the oracle found, and its uncertainties.
    fn oracle(&self) -> (Vec<Component>, Vec<ByParameter<f64>>) {
        let found = self.fit.iter().flat_map(|fit| &fit.components);
        found.map(|found| (found.component, found.uncertainty)).unzip()
    }
}

/// The limits of these rows of one chunk, which have these true components.
fn limits(
    config: &Config,
    spectra: &SpectraReader,
    rows: &[u64],
    truths: &[Vec<Component>],
    ranges: &TrueRanges,
) -> Result<Vec<Limit>, StageError> {
    let axis = spectra.axis();
    let values = spectra.read(span(rows))?;
    let noise = spectra.noise(span(rows))?;
    let correlation = if let Some(given) = config.noise_correlation {
        given
    } else {
        // That of the whole chunk, whichever rows are evaluated: as `fit` takes it.
        let start = rows[0] / CHUNK_ROWS * CHUNK_ROWS;
        let whole = start..(start + CHUNK_ROWS).min(spectra.rows());
        spectra.typical_correlation(whole)?.unwrap_or(0.0)
    };
    let limit = |(cramer_rao, oracle): &mut (CramerRao, Oracle), (row, truth): (&u64, &Vec<_>)| {
        let at = (row - rows[0]) as usize;
        let spectrum = &values[at * axis.channels..(at + 1) * axis.channels];
        let noise = NoiseModel { rms: noise[at], correlation };
        Limit {
            bound: cramer_rao.bound(truth, spectrum, noise),
            fit: if config.oracle { oracle.fit(spectrum, noise, truth) } else { None },
        }
    };
    Ok(rows
        .par_iter()
        .zip(truths)
        .with_min_len(16)
        .map_init(|| (CramerRao::new(axis), Oracle::new(axis, ranges)), limit)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_by_the_chunk() {
        let rows = [3, 2047, 2048, 9000, 9001];
        let groups: Vec<_> = by_chunk(&rows).collect();
        assert_eq!(groups, [(0, &rows[..2]), (2, &rows[2..3]), (3, &rows[3..])]);
        assert_eq!(by_chunk(&[]).count(), 0);
    }

    #[test]
    fn the_defaults_are_the_seed_projects_criteria() {
        assert_eq!(Config::default().criteria(), MatchCriteria::default());
    }
}
