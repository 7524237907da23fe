//! The stage `forest`: tells the components of spectra by random forests.

use std::ops::Range;

use pipe_engine::{
    ArtifactType, Exactness, Fault, Format, InputPort, OutputPort, StageContext, StageError,
    StageKind,
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    artifacts::{
        CATALOGUE, ComponentsReader, ComponentsWriter, ROWS, Rows, SCALED, SCALER, SCALER_FILE,
        SPECTRA, ScaledReader, SpectraReader, TABLE, TRUTH, chunks,
    },
    ensemble::{Choice, Examples, Forest, ForestError, ForestSettings, Grid, GridScore, search},
    spectra::{Axis, CatalogueRow, CatalogueWriter, Component, Scaler},
};

/// The kind `forest`.
pub struct RandomForest;

/// How forests did on the validation rows.
const GRID: ArtifactType = ArtifactType::new("grid", Format::Document);

/// How the forests are grown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The largest depths of a tree to choose from: ascending.
    pub depths: Vec<u16>,
    /// The numbers of trees to choose from: ascending.
    pub trees: Vec<usize>,
    /// The least number of spectra in a leaf.
    #[schemars(range(min = 1), extend("unit" = "spectra"))]
    pub min_leaf: usize,
    /// In which share of the channels, drawn anew, each split is looked for.
    #[schemars(range(min = 0, max = 1))]
    pub channels_a_split: f64,
    /// The most training rows that are learnt from: where there are more, as many of them at even distances. The time
    /// goes as this number; 20,000 rows of 140 channels with one or two components, at the default depths and numbers
    /// of trees, take about two minutes of one processor.
    #[schemars(range(min = 1), extend("unit" = "spectra"))]
    pub max_rows: usize,
    /// The seed of everything random.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            depths: vec![8, 16, 32],
            trees: vec![10, 20, 50],
            min_leaf: 2,
            channels_a_split: 0.33,
            max_rows: 20_000,
            seed: 1,
        }
    }
}

/// The document that the output `grid` holds.
#[derive(Debug, Serialize)]
struct GridDocument {
    /// The training rows that were learnt from.
    training_rows: usize,
    /// The validation rows that it was chosen on.
    validation_rows: usize,
    /// The combination chosen.
    best: GridScore,
    /// All combinations.
    scores: Vec<GridScore>,
}

/// Inputs that don't belong together.
#[derive(Debug, thiserror::Error)]
enum Mismatch {
    #[error(
        "there are {spectra} spectra, {truth} rows of truth and {scaled} scaled spectra: they don't belong together"
    )]
    Rows { spectra: u64, truth: u64, scaled: u64 },
    #[error("the forests learn from {learnt} channels, and `observed` has {observed}")]
    Channels { learnt: usize, observed: usize },
}

impl StageKind for RandomForest {
    type Config = Config;

    const KIND: &'static str = "forest";
    const ABOUT: &'static str = "Finds the components of spectra by random forests, whose depth and size are chosen on the validation rows.";
    const REVISION: u32 = 2;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] = &[
        InputPort::required("scaled", SCALED, "the spectra to learn from, scaled"),
        InputPort::required(
            "spectra",
            SPECTRA,
            "the same spectra as they were observed: axis and noise",
        ),
        InputPort::required("truth", TRUTH, "their components"),
        InputPort::required("rows", ROWS, "which of them train and which validate"),
        InputPort::required("scaler", SCALER, "how they were scaled"),
        InputPort::optional(
            "observed",
            SPECTRA,
            "the spectra whose components are to be found; without it, those that it learns from, all rows",
        ),
    ];
    const OUTPUTS: &'static [OutputPort] = &[
        OutputPort::new("catalogue", CATALOGUE, "the components of each spectrum"),
        OutputPort::new("table", TABLE, "the same as CSV, a row for each component"),
        OutputPort::new("grid", GRID, "how each depth and number of trees did, as JSON"),
    ];

    fn check(config: &Config) -> Vec<Fault> {
        let mut faults = Vec::new();
        let lists: [(&str, Vec<usize>); 2] = [
            ("depths", config.depths.iter().map(|depth| usize::from(*depth)).collect()),
            ("trees", config.trees.clone()),
        ];
        for (key, list) in lists {
            if list.first().is_none_or(|first| *first == 0) || !list.is_sorted_by(|a, b| a < b) {
                faults.push(Fault::at(key, "must be some positive numbers, in ascending order"));
            }
        }
        if !(config.channels_a_split > 0.0 && config.channels_a_split <= 1.0) {
            faults.push(Fault::at("channels_a_split", "must be above 0 and at most 1"));
        }
        faults
    }

    fn run(config: &Config, context: &StageContext<'_>) -> Result<(), StageError> {
        let spectra = SpectraReader::open(context.input("spectra")?)?;
        let truth = ComponentsReader::open(context.input("truth")?)?;
        let scaled = ScaledReader::open(context.input("scaled")?)?;
        let available = spectra.rows();
        if truth.rows() != available || scaled.rows() != available {
            return Err(Mismatch::Rows {
                spectra: available,
                truth: truth.rows(),
                scaled: scaled.rows(),
            }
            .into());
        }
        let rows = Rows::read(context.input("rows")?, available)?;
        let scaler: Scaler = context.input("scaler")?.document(SCALER_FILE)?;
        let channels = spectra.axis().channels;
        let observed = match context.optional("observed") {
            Some(observed) => SpectraReader::open(observed)?,
            None => SpectraReader::open(context.input("spectra")?)?,
        };
        if observed.axis().channels != channels {
            let observed = observed.axis().channels;
            return Err(Mismatch::Channels { learnt: channels, observed }.into());
        }

        let source = Source { spectra: &spectra, scaled: &scaled, truth: &truth, scaler: &scaler };
        let training = source.lesson(&thinned(&rows.training, config.max_rows), context)?;
        let validation = source.lesson(&rows.validation, context)?;
        let settings = ForestSettings {
            min_leaf: config.min_leaf,
            channels_a_split: ((config.channels_a_split * channels as f64) as usize).max(1),
            seed: config.seed,
        };
        let grid = Grid { depths: &config.depths, trees: &config.trees };
        let chosen = search(
            &training.examples(channels),
            &validation.examples(channels),
            grid,
            &settings,
            &|| context.check_interrupt(),
        );
        let Choice { forest, best, scores } = chosen.map_err(|error| match error {
            ForestError::Interrupted(interrupted) => StageError::from(interrupted),
            other => StageError::from(other),
        })?;
        context.note("forest", format_args!("{} trees of depth {}", best.trees, best.depth));
        let document = GridDocument {
            training_rows: training.truth.len(),
            validation_rows: validation.truth.len(),
            best,
            scores,
        };
        context.output("grid")?.document("grid.json", &document)?;
        let slots = training.truth.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let answering = Answering { forest: &forest, trees: best.trees, scaler: &scaler };
        answering.answer(&observed, slots, context)
    }
}

/// As many of `rows` at even distances as are allowed.
fn thinned(rows: &[u64], most: usize) -> Vec<u64> {
    let count = rows.len().min(most);
    (0..count).map(|i| rows[i * rows.len() / count]).collect()
}

/// What a component's amplitude is measured in, as the forest learns it: where spectra are scaled by their noise, so are
/// amplitudes.
fn amplitude_unit(scaler: &Scaler, rms: f64) -> f64 {
    match scaler {
        Scaler::Rms if rms.is_finite() && rms > 0.0 => rms,
        Scaler::Rms | Scaler::Standard { .. } => 1.0,
    }
}

/// Where lessons are taken from.
struct Source<'a> {
    spectra: &'a SpectraReader,
    scaled: &'a ScaledReader,
    truth: &'a ComponentsReader,
    scaler: &'a Scaler,
}

/// Scaled spectra and their components.
#[derive(Default)]
struct Lesson {
    spectra: Vec<f32>,
    truth: Vec<Vec<Component>>,
}

impl Lesson {
    fn examples(&self, channels: usize) -> Examples<'_> {
        Examples { channels, spectra: &self.spectra, truth: &self.truth }
    }
}

impl Source<'_> {
    /// The spectra of `rows`, which ascend.
    fn lesson(&self, rows: &[u64], context: &StageContext<'_>) -> Result<Lesson, StageError> {
        let channels = self.spectra.axis().channels;
        let mut lesson = Lesson::default();
        for range in chunks(self.spectra.rows()) {
            let wanted = &rows[rows.partition_point(|row| *row < range.start)
                ..rows.partition_point(|row| *row < range.end)];
            if wanted.is_empty() {
                continue;
            }
            context.check_interrupt()?;
            let values = self.scaled.read(range.clone())?;
            let noise = self.spectra.noise(range.clone())?;
            let mut components = self.truth.read(range.clone())?;
            for row in wanted {
                let at = (row - range.start) as usize;
                lesson.spectra.extend_from_slice(&values[at * channels..(at + 1) * channels]);
                let mut own = std::mem::take(&mut components[at]);
                for component in &mut own {
                    component.amplitude /= amplitude_unit(self.scaler, noise[at]);
                }
                lesson.truth.push(own);
            }
        }
        Ok(lesson)
    }
}

/// A forest and what it needs to answer.
struct Answering<'a> {
    forest: &'a Forest,
    trees: usize,
    scaler: &'a Scaler,
}

impl Answering<'_> {
    /// Writes the components of all of `spectra`, a few chunks at a time.
    fn answer(
        &self,
        spectra: &SpectraReader,
        slots: usize,
        context: &StageContext<'_>,
    ) -> Result<(), StageError> {
        let rows = spectra.rows();
        let output = context.output("catalogue")?;
        let (components, _) = ComponentsWriter::create(output, rows, slots, spectra.head())?;
        let mut table = context.output("table")?.create("catalogue.csv")?;
        CatalogueWriter::new(&mut table)?.finish()?;
        let all: Vec<(u64, Range<u64>)> = (0..).zip(chunks(rows)).collect();
        for wave in all.chunks(2 * rayon::current_num_threads()) {
            context.check_interrupt()?;
            context.progress(wave[0].1.start, rows, "spectra");
            let found: Vec<Vec<Vec<Component>>> = wave
                .par_iter()
                .map(|(_, range)| self.chunk(spectra, range))
                .collect::<Result<_, StageError>>()?;
            for ((chunk, range), found) in wave.iter().zip(found) {
                components.write(*chunk, &found)?;
                let pixels = spectra.pixels(range.clone())?;
                let pixel = |index: usize| {
                    let pixels = pixels.as_ref()?;
                    Some((u64::from(pixels[index].0), u64::from(pixels[index].1)))
                };
                let mut more = CatalogueWriter::continued(&mut table);
                for (index, found) in found.iter().enumerate() {
                    let row = range.start + index as u64;
                    write_row(&mut more, row, pixel(index), found, spectra.axis())?;
                }
                more.finish()?;
            }
        }
        Ok(table.finish()?)
    }

    fn chunk(
        &self,
        spectra: &SpectraReader,
        range: &Range<u64>,
    ) -> Result<Vec<Vec<Component>>, StageError> {
        let noise = spectra.noise(range.clone())?;
        let mut values = spectra.read(range.clone())?;
        self.scaler.apply(&mut values, spectra.axis().channels, &noise)?;
        let mut found = self.forest.ask(&values, self.trees)?;
        for (found, rms) in found.iter_mut().zip(noise) {
            for component in found {
                component.amplitude *= amplitude_unit(self.scaler, rms);
            }
        }
        Ok(found)
    }
}

fn write_row<W: std::io::Write>(
    table: &mut CatalogueWriter<W>,
    row: u64,
    pixel: Option<(u64, u64)>,
    found: &[Component],
    axis: &Axis,
) -> Result<(), StageError> {
    for (slot, component) in (0..).zip(found) {
        table.write(&CatalogueRow::new(row, pixel, slot, component, axis, None))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_thinned_evenly() {
        let rows = [3, 5, 8, 13, 21, 34];
        assert_eq!(thinned(&rows, 3), [3, 8, 21]);
        assert_eq!(thinned(&rows, 9), rows);
        assert!(thinned(&[], 9).is_empty());
    }

    #[test]
    fn a_fault_names_its_key() {
        let default = Config::default;
        let cases = [
            (Config { depths: vec![], ..default() }, "depths"),
            (Config { depths: vec![0, 3], ..default() }, "depths"),
            (Config { trees: vec![5, 5], ..default() }, "trees"),
            (Config { channels_a_split: 0.0, ..default() }, "channels_a_split"),
        ];
        assert_eq!(RandomForest::check(&default()), []);
        for (config, key) in cases {
            let faults = RandomForest::check(&config);
            assert_eq!(faults.len(), 1, "{key}");
            assert_eq!(faults[0].path, [key]);
        }
    }
}
