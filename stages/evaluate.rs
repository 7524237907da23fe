//! The stage `evaluate`: how good a catalogue is, where the truth is known.

use pipe_engine::{Exactness, InputPort, Output, OutputPort, Stage, StageError, Work};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    artifacts::{
        CATALOGUE, CHUNK_ROWS, ComponentsReader, METRICS, METRICS_FILE, ROWS, Rows, SPECTRA,
        SpectraHead, SpectraReader, TABLE, TRUTH,
    },
    spectra::{
        Bin, ByParameter, Component, ConstantGuess, Evaluation, MatchCriteria, MeanUnit, Metrics,
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

/// Which rows are evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Subset {
    /// The test rows.
    #[default]
    Test,
    /// The validation rows.
    Validation,
    /// The training rows.
    Training,
    /// All rows.
    All,
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
        }
    }
}

/// The document that the output `metrics` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The rows that were evaluated.
    pub subset: Subset,
    /// When components matched.
    pub criteria: MatchCriteria,
    /// The unit of amplitudes, or empty.
    pub intensity_unit: String,
    /// The unit of means and sigmas, or empty.
    pub axis_unit: String,
    /// How good the catalogue is.
    pub metrics: Metrics,
    /// How good it is to say the same of every spectrum.
    pub baselines: Baselines,
}

/// What says the same of every spectrum, learnt from the training rows and evaluated as the catalogue is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baselines {
    /// The most frequent number of components, each with the mean parameters of its slot.
    pub majority_count: Metrics,
    /// As many components as there are slots, each with the mean parameters of its slot.
    pub constant_guess: Metrics,
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

impl Stage for Evaluate {
    type Config = Config;

    const KIND: &'static str = "evaluate";
    const ABOUT: &'static str =
        "Says how good a catalogue is, beside baselines that say the same of every spectrum.";
    const REVISION: u32 = 1;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] = &[
        InputPort::required("catalogue", CATALOGUE, "the components that were found"),
        InputPort::required("truth", TRUTH, "the components that there are"),
        InputPort::required("spectra", SPECTRA, "the spectra, for their axis and noise rms"),
        InputPort::optional("rows", ROWS, "which rows were trained on, and which are for testing"),
    ];
    const OUTPUTS: &'static [OutputPort] = &[
        OutputPort::new(
            "metrics",
            METRICS,
            "every figure, of the catalogue and the baselines, as JSON",
        ),
        OutputPort::new(
            "tables",
            TABLE,
            "the figures as CSV: summary, parameters, confusion, separation, signal_to_noise",
        ),
    ];

    fn run(config: &Config, work: &Work<'_>) -> Result<(), StageError> {
        let spectra = SpectraReader::open(work.input("spectra")?)?;
        let truth = ComponentsReader::open(work.input("truth")?)?;
        let catalogue = ComponentsReader::open(work.input("catalogue")?)?;
        let count = spectra.rows();
        if truth.rows() != count || catalogue.rows() != count {
            return Err(EvaluateError::Rows {
                spectra: count,
                truth: truth.rows(),
                catalogue: catalogue.rows(),
            }
            .into());
        }
        let (subset, evaluated, training) = match work.optional("rows") {
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
            work.check_interrupt()?;
            for components in pick(&truth, rows)? {
                guess.push(&components);
            }
        }
        let slots = truth.slots().max(catalogue.slots());
        let evaluation = || Evaluation::new(config.criteria(), spectra.axis().width(), slots);
        let [mut found, mut majority, mut constant] = [(); 3].map(|()| evaluation());
        let (majority_answer, constant_answer) = (guess.components(), guess.slots());
        for (done, rows) in by_chunk(&evaluated) {
            work.check_interrupt()?;
            work.progress(done, evaluated.len() as u64, "spectra");
            let (first, last) = (rows[0], rows[rows.len() - 1]);
            let noise = spectra.noise(first..last + 1)?;
            let truths = pick(&truth, rows)?;
            let finds = pick(&catalogue, rows)?;
            for ((row, truth), find) in rows.iter().zip(&truths).zip(&finds) {
                let rms = noise[(row - first) as usize];
                found.push(truth, find, rms);
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
            baselines: Baselines {
                majority_count: majority.finish(),
                constant_guess: constant.finish(),
            },
        };
        work.output("metrics")?.document(METRICS_FILE, &document)?;
        write_tables(&document, work.output("tables")?)
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

/// The components of these rows, which are sorted and not empty.
fn pick(reader: &ComponentsReader, rows: &[u64]) -> Result<Vec<Vec<Component>>, StageError> {
    let (first, last) = (rows[0], rows[rows.len() - 1]);
    let mut all = reader.read(first..last + 1)?;
    Ok(rows.iter().map(|row| std::mem::take(&mut all[(row - first) as usize])).collect())
}

fn write_tables(document: &Document, output: &Output) -> Result<(), StageError> {
    let Document { metrics, baselines, .. } = document;
    let three = [metrics, &baselines.majority_count, &baselines.constant_guess];

    let mut summary = vec![
        ["figure", "catalogue", "majority_count", "constant_guess"].map(String::from).to_vec(),
    ];
    for (name, figure) in SUMMARY {
        let mut line = vec![name.to_owned()];
        line.extend(three.map(|metrics| number(figure(metrics))));
        summary.push(line);
    }
    write_table(output, "summary.csv", &summary)?;

    let header = [
        "parameter",
        "unit",
        "active_r2",
        "slot_r2",
        "active_mean_absolute_error",
        "matched_mean_absolute_error",
    ];
    let mut parameters = vec![header.map(String::from).to_vec()];
    let units = [&document.intensity_unit, &document.axis_unit, &document.axis_unit];
    let columns = [metrics.active.r2, metrics.slot_r2, metrics.active.error, metrics.matched_error]
        .map(array);
    for (i, (name, unit)) in ["amplitude", "mean", "sigma"].into_iter().zip(units).enumerate() {
        let mut line = vec![name.to_owned(), unit.clone()];
        line.extend(columns.map(|column| number(column[i])));
        parameters.push(line);
    }
    write_table(output, "parameters.csv", &parameters)?;

    let classes = metrics.count.confusion.len();
    let mut confusion = vec![vec!["true_count".to_owned()]];
    confusion[0].extend((0..classes).map(|predicted| format!("predicted_{predicted}")));
    for (truth, line) in metrics.count.confusion.iter().enumerate() {
        confusion.push(
            std::iter::once(truth.to_string()).chain(line.iter().map(u64::to_string)).collect(),
        );
    }
    write_table(output, "confusion.csv", &confusion)?;

    write_table(output, "separation.csv", &bins(&metrics.by_separation))?;
    write_table(output, "signal_to_noise.csv", &bins(&metrics.by_signal_to_noise))
}

/// The figures of the summary, by name.
type SummaryFigure = (&'static str, fn(&Metrics) -> Option<f64>);
const SUMMARY: [SummaryFigure; 16] = [
    ("spectra", |m| Some(m.spectra as f64)),
    ("true_components", |m| Some(m.matched.truth as f64)),
    ("predicted_components", |m| Some(m.matched.predicted as f64)),
    ("count_accuracy", |m| m.count.accuracy),
    ("count_bias", |m| m.count.bias),
    ("pooled_active_r2", |m| m.active.pooled_r2),
    ("active_r2_amplitude", |m| m.active.r2.amplitude),
    ("active_r2_mean", |m| m.active.r2.mean),
    ("active_r2_sigma", |m| m.active.r2.sigma),
    ("slot_r2_amplitude", |m| m.slot_r2.amplitude),
    ("slot_r2_mean", |m| m.slot_r2.mean),
    ("slot_r2_sigma", |m| m.slot_r2.sigma),
    ("matched", |m| Some(m.matched.matched as f64)),
    ("precision", |m| m.matched.precision),
    ("recall", |m| m.matched.recall),
    ("f1", |m| m.matched.f1),
];

fn array<T>(by: ByParameter<T>) -> [T; 3] {
    [by.amplitude, by.mean, by.sigma]
}

fn bins(bins: &[Bin]) -> Vec<Vec<String>> {
    let header =
        ["from", "to", "label", "true", "predicted", "matched", "precision", "recall", "f1"];
    let mut table = vec![header.map(String::from).to_vec()];
    for Bin { label, min, max, score } in bins {
        let counts = [score.truth, score.predicted, score.matched].map(|n| n.to_string());
        let ratios = [score.precision, score.recall, score.f1].map(number);
        let mut line = vec![number(*min), number(*max), label.clone()];
        line.extend(counts);
        line.extend(ratios);
        table.push(line);
    }
    table
}

/// The shortest spelling that reads back as the same number; nothing where there is none.
fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn write_table(output: &Output, name: &str, lines: &[Vec<String>]) -> Result<(), StageError> {
    let mut table = csv::Writer::from_writer(Vec::new());
    for line in lines {
        table.write_record(line)?;
    }
    let bytes = table.into_inner().map_err(csv::IntoInnerError::into_error)?;
    Ok(output.write(name, &bytes)?)
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
