//! `plot`: pictures of a decomposition, fit for a paper.

mod evaluation_figures;

use std::collections::BTreeSet;

use pipe_engine::{Exactness, Fault, InputPort, OutputPort, StageContext, StageError, StageKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    artifacts::{self, ComponentsReader, Rows, SpectraReader},
    figures::{self, Figure, FileFormat, FileOptions, Labels, Thresholds, output_files},
    kinds::evaluate,
    network::{EpochRecord, LossParts},
    spectra::{Component, Draws, Evaluation, MatchCriteria, Metrics, Purpose},
};

/// Which rows are drawn as sample spectra.
const SAMPLES: Purpose = Purpose::new("plot samples");
/// Which rows are drawn as example fits.
const FITS: Purpose = Purpose::new("plot fits");

/// The kind `plot`: draws whatever the given inputs allow, one figure a file.
pub struct Plot;

/// What `plot` draws, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Number of sample spectra shown with their true components; 0 leaves the figure out.
    #[schemars(range(min = 0, max = 60))]
    pub samples: usize,
    /// Number of example fits shown with their residuals; 0 leaves the figure out.
    #[schemars(range(min = 0, max = 60))]
    pub fits: usize,
    /// Components of a smaller amplitude (in the unit of the spectra) get no curve of their own.
    #[schemars(range(min = 0.0))]
    pub amplitude_threshold: f64,
    /// Components of a smaller sigma (in the unit of the axis) get no curve of their own.
    #[schemars(range(min = 0.0))]
    pub sigma_threshold: f64,
    /// Which spectra are picked as examples.
    pub seed: u64,
    /// The formats of the files: `png`, `svg`, or both.
    #[schemars(length(min = 1))]
    pub formats: Vec<FileFormat>,
    /// Resolution of the PNG files at their printed size (3.5 or 7.1 inches wide).
    #[schemars(range(min = 36, max = 1200), extend("unit" = "dots per inch"))]
    pub dots_per_inch: u32,
    /// What the values of the spectra are called on the axes.
    pub intensity_name: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            samples: 9,
            fits: 9,
            amplitude_threshold: 0.0,
            sigma_threshold: 0.0,
            seed: 1,
            formats: vec![FileFormat::Png, FileFormat::Svg],
            dots_per_inch: 300,
            intensity_name: "Intensity".to_owned(),
        }
    }
}

/// Why there is nothing to draw.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// Two inputs are not about the same spectra.
    #[error("`{input}` has {rows} rows, but there are {spectra} spectra")]
    Rows {
        /// The input.
        input: &'static str,
        /// Its rows.
        rows: u64,
        /// The rows of the spectra.
        spectra: u64,
    },
    /// The inputs given allow no figure.
    #[error(
        "there is nothing to draw: give `truth`, `catalogue`, `history` or `metrics` as an input"
    )]
    Nothing,
}

impl StageKind for Plot {
    type Config = Config;

    const KIND: &'static str = "plot";
    const ABOUT: &'static str = "Draws sample spectra, example fits, the history of a training, and how good a catalogue is.";
    const REVISION: u32 = 4;
    const EXACTNESS: Exactness = Exactness::Reproducible;
    const INPUTS: &'static [InputPort] = &[
        InputPort::required("spectra", artifacts::SPECTRA, "the observed spectra"),
        InputPort::optional(
            "truth",
            artifacts::TRUTH,
            "the true components, for samples and comparisons",
        ),
        InputPort::optional(
            "catalogue",
            artifacts::CATALOGUE,
            "the components found, for fits and comparisons",
        ),
        InputPort::optional("history", artifacts::HISTORY, "the history of the training"),
        InputPort::optional(
            "metrics",
            artifacts::METRICS,
            "the evaluation, for scores and counts by separation and noise, and the calibration",
        ),
        InputPort::optional("rows", artifacts::ROWS, "draw and compare test rows only"),
    ];
    const OUTPUTS: &'static [OutputPort] =
        &[OutputPort::new("figures", artifacts::FIGURES, "a file for each figure and format")];

    fn check(config: &Config) -> Vec<Fault> {
        output_files::check(&config.formats)
    }

    fn run(config: &Config, context: &StageContext<'_>) -> Result<(), StageError> {
        let source = Source::open(context)?;
        let mut drawn: Vec<(&str, Figure)> = Vec::new();
        source.draw_examples(config, &mut drawn)?;
        context.check_interrupt()?;
        let compared = source.compare(context)?;
        let evaluation: Option<evaluate::Document> = match context.optional("metrics") {
            Some(metrics) => Some(metrics.document(artifacts::METRICS_FILE)?),
            None => None,
        };
        let metrics = evaluation.as_ref().map(|evaluation| &evaluation.metrics);
        if let Some(compared) = &compared {
            drawn.push(("parameters", compared.parameters(&source.spectra)));
        }
        let confusion = compared.as_ref().map(|c| &c.metrics).or(metrics);
        if let Some(metrics) = confusion {
            drawn.push(("confusion", figures::confusion(&metrics.count.confusion)));
        }
        if let Some(evaluation) = &evaluation {
            drawn.push(("errors", evaluation_figures::scores(&evaluation.metrics)));
            drawn.push(("counts", evaluation_figures::counts(&evaluation.metrics)));
            let calibration = evaluation_figures::calibration(evaluation);
            drawn.extend(calibration.map(|figure| ("calibration", figure)));
        }
        if let Some(history) = context.optional("history") {
            let history: HistoryDocument = history.document(artifacts::HISTORY_FILE)?;
            drawn.push(("history", history.draw()));
        }
        if drawn.is_empty() {
            return Err(PlotError::Nothing.into());
        }
        let options = FileOptions { formats: &config.formats, dots_per_inch: config.dots_per_inch };
        output_files::write(&drawn, options, context)
    }
}

/// The document that the output `history` of `train` holds.
#[derive(Debug, Deserialize)]
struct HistoryDocument {
    best_epoch: usize,
    epochs: Vec<EpochRecord>,
}

impl HistoryDocument {
    fn draw(&self) -> Figure {
        type Part = fn(&LossParts) -> f64;
        let parts: [(&str, Part); 6] = [
            ("total", |l| l.total),
            ("parameter", |l| l.parameter),
            ("sparsity", |l| l.sparsity),
            ("reconstruction", |l| l.reconstruction),
            ("count", |l| l.count),
            ("detection", |l| l.detection),
        ];
        let columns: Vec<(&str, Vec<f64>, Vec<f64>)> = parts
            .iter()
            // Each network has parts of its own.
            .filter(|(_, part)| self.epochs.iter().any(|e| part(&e.training) > 0.0))
            .map(|(name, part)| {
                let training = self.epochs.iter().map(|e| part(&e.training)).collect();
                let validation = self.epochs.iter().map(|e| part(&e.validation)).collect();
                (*name, training, validation)
            })
            .collect();
        let losses: Vec<figures::Curves> = columns
            .iter()
            .map(|(name, training, validation)| figures::Curves { name, training, validation })
            .collect();
        let accuracy: Vec<f64> = self.epochs.iter().map(|e| e.validation_count_accuracy).collect();
        figures::history(&figures::History {
            losses: &losses,
            accuracy: Some(figures::Curves {
                name: "Count accuracy",
                training: &[],
                validation: &accuracy,
            }),
            first_epoch: self.epochs.first().map_or(1, |e| e.epoch),
            best_epoch: Some(self.best_epoch),
        })
    }
}

/// The inputs that have a row for each spectrum.
struct Source {
    spectra: SpectraReader,
    truth: Option<ComponentsReader>,
    catalogue: Option<ComponentsReader>,
    /// The rows to pick from and to compare; all rows if there is none.
    rows: Option<Vec<u64>>,
}

/// One spectrum to draw.
struct Example {
    row: u64,
    observed: Vec<f32>,
    rms: f64,
    truth: Option<Vec<Component>>,
    found: Option<Vec<Component>>,
}

impl Source {
    fn open(context: &StageContext<'_>) -> Result<Self, StageError> {
        let spectra = SpectraReader::open(context.input("spectra")?)?;
        let components = |input: &'static str| -> Result<Option<ComponentsReader>, StageError> {
            let Some(artifact) = context.optional(input) else {
                return Ok(None);
            };
            let reader = ComponentsReader::open(artifact)?;
            if reader.rows() != spectra.rows() {
                return Err(PlotError::Rows {
                    input,
                    rows: reader.rows(),
                    spectra: spectra.rows(),
                }
                .into());
            }
            Ok(Some(reader))
        };
        let (truth, catalogue) = (components("truth")?, components("catalogue")?);
        let rows = match context.optional("rows") {
            Some(artifact) => Some(Rows::read(artifact, spectra.rows())?.test),
            None => None,
        };
        Ok(Self { spectra, truth, catalogue, rows })
    }

    /// `count` different rows, in order, the same for the same seed.
    fn pick(&self, seed: u64, purpose: Purpose, count: usize) -> Vec<u64> {
        let available = self.rows.as_ref().map_or(self.spectra.rows(), |rows| rows.len() as u64);
        let wanted = count.min(usize::try_from(available).unwrap_or(usize::MAX));
        let mut draws = Draws::new(seed, purpose, 0);
        let mut picked = BTreeSet::new();
        while picked.len() < wanted {
            let index = draws.index(available);
            picked.insert(self.rows.as_ref().map_or(index, |rows| rows[index as usize]));
        }
        picked.into_iter().collect()
    }

    fn example(&self, row: u64) -> Result<Example, StageError> {
        let one = row..row + 1;
        let components = |reader: &Option<ComponentsReader>| match reader {
            Some(reader) => reader.read(one.clone()).map(|mut rows| rows.pop()),
            None => Ok(None),
        };
        Ok(Example {
            row,
            observed: self.spectra.read(one.clone())?,
            rms: self.spectra.noise(one.clone())?.first().copied().unwrap_or(f64::NAN),
            truth: components(&self.truth)?,
            found: components(&self.catalogue)?,
        })
    }

    fn examples(
        &self,
        seed: u64,
        purpose: Purpose,
        count: usize,
    ) -> Result<Vec<Example>, StageError> {
        self.pick(seed, purpose, count).into_iter().map(|row| self.example(row)).collect()
    }

    fn draw_examples(
        &self,
        config: &Config,
        drawn: &mut Vec<(&str, Figure)>,
    ) -> Result<(), StageError> {
        let axis = self.spectra.axis();
        let labels = Labels {
            axis: figures::axis_name(&axis.unit),
            intensity: &config.intensity_name,
            unit: &self.spectra.head().unit,
        };
        let thresholds =
            Thresholds { amplitude: config.amplitude_threshold, sigma: config.sigma_threshold };
        if config.samples > 0 && self.truth.is_some() {
            let examples = self.examples(config.seed, SAMPLES, config.samples)?;
            let panels: Vec<figures::SamplePanel> = examples
                .iter()
                .map(|e| {
                    let components = e.truth.as_deref().unwrap_or_default();
                    let title = format!("row {}, {}", e.row, counted(components.len()));
                    figures::SamplePanel { axis, observed: &e.observed, components, title }
                })
                .collect();
            drawn.push(("samples", figures::samples(&panels, &labels, thresholds)));
        }
        if config.fits > 0 && self.catalogue.is_some() {
            let examples = self.examples(config.seed, FITS, config.fits)?;
            let panels: Vec<figures::FitPanel> = examples
                .iter()
                .map(|e| {
                    let predicted = e.found.as_deref().unwrap_or_default();
                    let truth = e.truth.as_deref();
                    let title = match truth {
                        Some(truth) => {
                            format!("row {}, found {} of {}", e.row, predicted.len(), truth.len())
                        }
                        None => format!("row {}, found {}", e.row, predicted.len()),
                    };
                    figures::FitPanel {
                        axis,
                        observed: &e.observed,
                        rms: e.rms,
                        truth,
                        predicted,
                        title,
                    }
                })
                .collect();
            drawn.push(("fits", figures::fits(&panels, &labels, thresholds)));
        }
        Ok(())
    }

    /// Compares the catalogue with the truth, where both are given.
    fn compare(&self, context: &StageContext<'_>) -> Result<Option<Comparison>, StageError> {
        let (Some(truth), Some(catalogue)) = (&self.truth, &self.catalogue) else {
            return Ok(None);
        };
        let slots = truth.slots().max(catalogue.slots());
        // What is drawn of it doesn't depend on the criteria.
        let mut evaluation =
            Evaluation::new(MatchCriteria::default(), self.spectra.axis().width(), slots);
        let mut pairs = Vec::new();
        let mut missed = 0;
        for range in artifacts::chunks(self.spectra.rows()) {
            context.check_interrupt()?;
            let wanted: Vec<u64> = match &self.rows {
                Some(rows) => {
                    let first = rows.partition_point(|row| *row < range.start);
                    let end = rows.partition_point(|row| *row < range.end);
                    rows[first..end].to_vec()
                }
                None => range.clone().collect(),
            };
            if wanted.is_empty() {
                continue;
            }
            let (truth, found) = (truth.read(range.clone())?, catalogue.read(range.clone())?);
            let noise = self.spectra.noise(range.clone())?;
            for row in wanted {
                let at = (row - range.start) as usize;
                evaluation.push(&truth[at], &found[at], noise[at]);
                pairs.extend(truth[at].iter().copied().zip(found[at].iter().copied()));
                missed += truth[at].len().saturating_sub(found[at].len()) as u64;
            }
        }
        Ok(Some(Comparison { pairs, missed, metrics: evaluation.finish() }))
    }
}

/// True and found components side by side.
struct Comparison {
    /// The components of a row in order of mean, the first true with the first found, and so on.
    pairs: Vec<(Component, Component)>,
    /// True components for which none is left.
    missed: u64,
    metrics: Metrics,
}

impl Comparison {
    fn parameters(&self, spectra: &SpectraReader) -> Figure {
        type Part = fn(&Component) -> f64;
        let (intensity, axis) = (spectra.head().unit.as_str(), spectra.axis().unit.as_str());
        let parts: [(&str, &str, Part); 3] = [
            ("amplitude", intensity, |c| c.amplitude),
            ("mean", axis, |c| c.mean),
            ("sigma", axis, |c| c.sigma),
        ];
        let columns: Vec<(Vec<f64>, Vec<f64>)> = parts
            .iter()
            .map(|(_, _, part)| self.pairs.iter().map(|(t, p)| (part(t), part(p))).unzip())
            .collect();
        let panels: Vec<figures::ParameterPanel> = parts
            .iter()
            .zip(&columns)
            .map(|((name, unit, _), (truth, predicted))| figures::ParameterPanel {
                name,
                unit,
                truth,
                predicted,
                missed: self.missed,
            })
            .collect();
        figures::parameters(&panels)
    }
}

fn counted(components: usize) -> String {
    if components == 1 { "1 component".to_owned() } else { format!("{components} components") }
}
