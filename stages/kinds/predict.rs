//! `predict`: tells the components of spectra by a trained network.

use pipe_engine::{
    ArraySpec, ArrayWriter, Exactness, GroupWriter, InputPort, OutputPort, RowMap, RowsFrom, Shape,
    StageContext, StageError, StageKind,
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    artifacts::{
        CATALOGUE, CHECKPOINT, CHECKPOINT_FILE, CHUNK_ROWS, ComponentsWriter, SPECTRA,
        SpectraReader, TABLE, WEIGHTS_FILE, device::backend,
    },
    network::{Checkpoint, Design, Grid, Predictor},
    spectra::{Axis, CatalogueRow, CatalogueWriter, Component, Scaler},
};

/// The kind `predict`.
pub struct Predict;

/// What is kept of what the network says.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The least amplitude of a component, in units of the spectrum's noise rms; fainter ones are left out.
    #[schemars(range(min = 0.0), extend("unit" = "noise rms"))]
    pub min_snr: f64,
}

/// Spectra that the network wasn't trained for.
#[derive(Debug, Error, PartialEq)]
pub enum Mismatch {
    /// They have other channels.
    #[error(
        "the network was trained on {trained} channels, and the spectra have {found}; train on spectra generated \
         in the format of these (input `like` of `generate`)"
    )]
    Channels {
        /// The channels that the network knows.
        trained: usize,
        /// The channels of the spectra.
        found: usize,
    },
    /// Their channels lie elsewhere.
    #[error(
        "the network was trained on an axis from {} in steps of {}, and that of the spectra starts at {} in steps of \
         {}; train on spectra generated in the format of these (input `like` of `generate`)",
        trained.start, trained.step, found.start, found.step
    )]
    Axis {
        /// The axis that the network knows.
        trained: Grid,
        /// The axis of the spectra.
        found: Grid,
    },
}

/// Checks that spectra on `axis` are what the network was trained for.
fn check(trained: Grid, axis: &Axis) -> Result<(), Mismatch> {
    let found = Grid { start: axis.start, step: axis.step, channels: axis.channels };
    if trained.channels != found.channels {
        return Err(Mismatch::Channels { trained: trained.channels, found: found.channels });
    }
    // A hundredth of a channel, at either end, is far below what can be measured.
    let end = |grid: &Grid| grid.start + grid.step * grid.channels as f64;
    let near = |a: f64, b: f64| (a - b).abs() <= 0.01 * trained.step.abs();
    if near(trained.start, found.start) && near(end(&trained), end(&found)) {
        Ok(())
    } else {
        Err(Mismatch::Axis { trained, found })
    }
}

/// What the network says of a chunk of spectra.
struct Chunk {
    components: Vec<Vec<Component>>,
    /// Of the components (rows × slots), NaN where there is none.
    probability: Vec<f64>,
    /// Of each count (rows × (slots + 1)).
    count_probability: Vec<f64>,
    /// All candidates of a detector (rows × candidates × 3), surest first, and how sure it is (rows × candidates).
    candidates: Option<(Vec<f64>, Vec<f64>)>,
    table: Vec<u8>,
}

impl StageKind for Predict {
    type Config = Config;

    const KIND: &'static str = "predict";
    const ABOUT: &'static str = "Finds the components of any spectra with a trained network.";
    const REVISION: u32 = 3;
    const EXACTNESS: Exactness = Exactness::Reproducible;
    const INPUTS: &'static [InputPort] = &[
        InputPort::required("spectra", SPECTRA, "the spectra, as they were observed"),
        InputPort::required("checkpoint", CHECKPOINT, "the trained network"),
    ];
    const OUTPUTS: &'static [OutputPort] = &[
        OutputPort::new("catalogue", CATALOGUE, "the components of each spectrum"),
        OutputPort::new("table", TABLE, "the same as CSV, a row for each component"),
    ];

    fn shape(_: &Config) -> Shape {
        Shape::Rows(RowMap {
            rows: RowsFrom::Arrays(&[("spectra", &["axis", "spectra", "noise_rms", "x", "y"])]),
            broadcast: &["checkpoint"],
            chunk_rows: CHUNK_ROWS,
            unit: "spectra",
        })
    }

    fn run(config: &Config, context: &StageContext<'_>) -> Result<(), StageError> {
        let spectra = SpectraReader::open(context.input("spectra")?)?;
        let stored = context.input("checkpoint")?;
        let checkpoint =
            Checkpoint::from_bytes(&stored.read(WEIGHTS_FILE)?, &stored.read(CHECKPOINT_FILE)?)?;
        if let Design::Slots(design) = &checkpoint.document.network {
            check(design.grid, spectra.axis())?;
        }
        let scaler: Scaler = serde_json::from_value(checkpoint.document.scaler.clone())?;
        let slots = checkpoint.document.network.slots();
        let network = Network {
            predictor: Predictor::on(backend(context)?, &checkpoint)?,
            scaler,
            slots,
            min_snr: config.min_snr,
            first_row: context.first_row(),
        };

        let rows = spectra.rows();
        let (components, group) =
            ComponentsWriter::create(context.output("catalogue")?, rows, slots, spectra.head())?;
        let probability = group.array::<f64>(
            "probability",
            &ArraySpec {
                shape: vec![rows, slots as u64],
                dimensions: &["row", "component"],
                chunk_rows: CHUNK_ROWS,
                unit: "",
                about: "probability that the component is there",
            },
        )?;
        let count_probability = group.array::<f64>(
            "count_probability",
            &ArraySpec {
                shape: vec![rows, slots as u64 + 1],
                dimensions: &["row", "count"],
                chunk_rows: CHUNK_ROWS,
                unit: "",
                about: "probability of each number of components",
            },
        )?;
        let candidates = match network.predictor.candidates() {
            None => None,
            Some(most) => Some(CandidateArrays::create(&group, rows, most as u64)?),
        };
        let mut table = context.output("table")?.create("catalogue.csv")?;
        CatalogueWriter::new(&mut table)?.finish()?;
        let chunks: Vec<u64> = (0..probability.chunks()).collect();
        // The table is written in order, so chunks are taken a few at a time, and memory stays flat.
        for wave in chunks.chunks(2 * rayon::current_num_threads()) {
            context.check_interrupt()?;
            context.progress(wave[0] * CHUNK_ROWS, rows, "spectra");
            let predicted: Vec<Chunk> = wave
                .par_iter()
                .map(|chunk| network.predict(&spectra, probability.rows(*chunk)))
                .collect::<Result<_, StageError>>()?;
            for (chunk, predicted) in wave.iter().zip(predicted) {
                components.write(*chunk, &predicted.components)?;
                probability.write(*chunk, &predicted.probability)?;
                count_probability.write(*chunk, &predicted.count_probability)?;
                if let (Some(arrays), Some((parameters, probability))) =
                    (&candidates, &predicted.candidates)
                {
                    arrays.parameters.write(*chunk, parameters)?;
                    arrays.probability.write(*chunk, probability)?;
                }
                std::io::Write::write_all(&mut table, &predicted.table)?;
            }
        }
        table.finish()?;
        Ok(())
    }
}

/// What a detector saw, also beyond the most likely count.
struct CandidateArrays {
    parameters: ArrayWriter<f64>,
    probability: ArrayWriter<f64>,
}

impl CandidateArrays {
    fn create(group: &GroupWriter, rows: u64, most: u64) -> Result<Self, StageError> {
        let parameters = ArraySpec {
            shape: vec![rows, most, 3],
            dimensions: &["row", "candidate", "parameter"],
            chunk_rows: CHUNK_ROWS,
            unit: "",
            about: "amplitude, mean and sigma of what may be a component, surest first; NaN where there is none",
        };
        let probability = ArraySpec {
            shape: vec![rows, most],
            dimensions: &["row", "candidate"],
            chunk_rows: CHUNK_ROWS,
            unit: "",
            about: "probability that the candidate is a component",
        };
        Ok(Self {
            parameters: group.array("candidates", &parameters)?,
            probability: group.array("candidate_probability", &probability)?,
        })
    }
}

/// A trained network and what goes with it.
struct Network {
    predictor: Predictor,
    scaler: Scaler,
    slots: usize,
    min_snr: f64,
    /// The number, within the whole, of the first row of the spectra.
    first_row: u64,
}

impl Network {
    fn predict(
        &self,
        spectra: &SpectraReader,
        rows: std::ops::Range<u64>,
    ) -> Result<Chunk, StageError> {
        let axis = spectra.axis();
        let noise = spectra.noise(rows.clone())?;
        let pixels = spectra.pixels(rows.clone())?;
        let mut values = spectra.read(rows.clone())?;
        self.scaler.apply(&mut values, axis.channels, &noise)?;
        let rms: Vec<f32> = noise.iter().map(|rms| *rms as f32).collect();
        let grid = Grid { start: axis.start, step: axis.step, channels: axis.channels };
        let said = self.predictor.predict(&values, &rms, &grid)?;
        let mut table = Vec::new();
        let mut catalogue = CatalogueWriter::continued(&mut table);
        let mut components = Vec::with_capacity(noise.len());
        let mut probability = vec![f64::NAN; noise.len() * self.slots];
        let most = said.candidates;
        for (index, parameters) in said.parameters.chunks_exact(3 * most).enumerate() {
            let counts =
                &said.probabilities[index * (self.slots + 1)..(index + 1) * (self.slots + 1)];
            let heat = said.heat.as_ref().map(|heat| &heat[index * most..(index + 1) * most]);
            let mut found: Vec<(Component, f64)> = parameters
                .chunks_exact(3)
                .take(usize::from(said.counts[index]))
                .enumerate()
                .map(|(place, p)| {
                    let component = Component { amplitude: p[0], mean: p[1], sigma: p[2] };
                    (component, heat.map_or(f64::NAN, |heat| heat[place]))
                })
                .collect();
            found.sort_by(|a, b| a.0.mean.total_cmp(&b.0.mean));
            found.retain(|(component, _)| component.amplitude >= self.min_snr * noise[index]);
            let row = self.first_row + rows.start + index as u64;
            let pixel = pixels
                .as_ref()
                .map(|pixels| (u64::from(pixels[index].0), u64::from(pixels[index].1)));
            let (found, heat_of): (Vec<Component>, Vec<f64>) = found.into_iter().unzip();
            let sure = if heat.is_some() { heat_of } else { at_least(&found, counts) };
            for (slot, (component, sure)) in found.iter().zip(sure).enumerate() {
                probability[index * self.slots + slot] = sure;
                catalogue.write(&CatalogueRow::new(
                    row,
                    pixel,
                    slot as u64,
                    component,
                    axis,
                    Some(sure),
                ))?;
            }
            components.push(found);
        }
        catalogue.finish()?;
        let candidates = said.heat.map(|heat| (said.parameters, heat));
        let count_probability = said.probabilities;
        Ok(Chunk { components, probability, count_probability, candidates, table })
    }
}

/// How sure each component is: the one that stands out most is there if any is, the next if two are, and so on.
/// `counts` are the probabilities of each count.
fn at_least(found: &[Component], counts: &[f64]) -> Vec<f64> {
    // The signal-to-noise ratio of a matched filter goes as amplitude · √sigma.
    let prominence = |index: &usize| found[*index].amplitude * found[*index].sigma.sqrt();
    let mut order: Vec<usize> = (0..found.len()).collect();
    order.sort_by(|a, b| prominence(b).total_cmp(&prominence(a)));
    let mut probabilities = vec![0.0; found.len()];
    for (rank, index) in order.into_iter().enumerate() {
        probabilities[index] = counts[rank + 1..].iter().sum::<f64>().min(1.0);
    }
    probabilities
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_prominent_component_is_the_surest() {
        let component = |amplitude, mean| Component { amplitude, mean, sigma: 2.0 };
        let sure = at_least(&[component(1.0, 10.0), component(3.0, 20.0)], &[0.1, 0.3, 0.6]);
        assert!((sure[0] - 0.6).abs() < 1e-12 && (sure[1] - 0.9).abs() < 1e-12, "{sure:?}");
        assert!(at_least(&[], &[1.0, 0.0]).is_empty());
    }

    #[test]
    fn spectra_that_the_network_does_not_know_are_refused() {
        let trained = Grid { start: -5000.0, step: 212.5, channels: 424 };
        let axis = |start, step, channels| Axis { start, step, channels, unit: "m/s".to_owned() };
        assert_eq!(check(trained, &axis(-5000.0, 212.5, 424)), Ok(()));
        assert!(matches!(
            check(trained, &axis(-5000.0, 212.5, 140)),
            Err(Mismatch::Channels { .. })
        ));
        assert!(matches!(check(trained, &axis(-4000.0, 212.5, 424)), Err(Mismatch::Axis { .. })));
        assert!(matches!(check(trained, &axis(-5000.0, -212.5, 424)), Err(Mismatch::Axis { .. })));
    }
}
