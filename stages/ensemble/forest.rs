//! The forests of all quantities together.

use rayon::prelude::*;

use super::settings::ForestSettings;
use super::{
    Examples,
    batch::{Batch, ForestError, MOST, Table},
};
use crate::spectra::{Component, Draws, Purpose};

/// How the trees of each batch are drawn.
const TREES: Purpose = Purpose::new("forest trees");

/// The forest for one quantity.
#[derive(Default)]
struct Quantity {
    batches: Vec<Batch>,
}

impl Quantity {
    /// What the first `trees` trees say of each spectrum, in the mean. Batches end where a number of trees that can be
    /// asked for is reached.
    fn ask(&self, table: &Table, trees: usize) -> Result<Vec<f64>, ForestError> {
        let mut sums = vec![0.0; table.rows()];
        let mut asked = 0;
        for batch in self.batches.iter().take_while(|batch| {
            asked += batch.trees();
            asked <= trees
        }) {
            batch.add_to(&mut sums, table)?;
        }
        for sum in &mut sums {
            *sum /= trees as f64;
        }
        Ok(sums)
    }
}

/// Forests that tell the number of components and their parameters.
pub struct Forest {
    channels: usize,
    count: Quantity,
    /// By number of components, from 1; empty where the training spectra have none with that number.
    parameters: Vec<Vec<Quantity>>,
    /// The numbers of components that can be told.
    known: Vec<usize>,
}

/// The spectra with one number of components, and what is learnt of them.
struct Lesson {
    table: Table,
    /// The values of each quantity.
    values: Vec<Vec<f64>>,
}

impl Forest {
    /// Grows forests of as many trees as the last of `trees`, which ascend, that can be asked as forests of each of
    /// these numbers of trees. `check` is called between batches, and stops it.
    ///
    /// # Errors
    /// Where there are no examples, the library refuses them, or `check` does.
    pub fn grow(
        examples: &Examples<'_>,
        depth: u16,
        trees: &[usize],
        settings: &ForestSettings,
        check: &(impl Fn() -> Result<(), pipe_engine::Interrupted> + Sync),
    ) -> Result<Self, ForestError> {
        let Examples { channels, spectra, truth } = *examples;
        if truth.is_empty() {
            return Err(ForestError::NoExamples);
        }
        let most = truth.iter().map(Vec::len).max().unwrap_or(0);
        let rows_with = |count: usize| -> Vec<usize> {
            (0..truth.len()).filter(|row| truth[*row].len() == count).collect()
        };
        let known: Vec<usize> = (0..=most).filter(|count| !rows_with(*count).is_empty()).collect();
        let all: Vec<usize> = (0..truth.len()).collect();
        let mut lessons = vec![Lesson {
            table: Table::to_learn(spectra, channels, &all)?,
            values: vec![truth.iter().map(|components| components.len() as f64).collect()],
        }];
        for count in 1..=most {
            let rows = rows_with(count);
            let quantity = |q: usize| {
                let value = |row: &usize| parameter(&truth[*row][q / 3], q % 3);
                rows.iter().map(value).collect()
            };
            let values = if rows.is_empty() { 0 } else { 3 * count };
            lessons.push(Lesson {
                table: Table::to_learn(
                    spectra,
                    channels,
                    if rows.is_empty() { &all[..1] } else { &rows },
                )?,
                values: (0..values).map(quantity).collect(),
            });
        }

        let sizes = batches(trees);
        let mut tasks = Vec::new();
        // A batch has a seed by its quantity and its place, whatever else is grown.
        let mut quantity = 0_u64;
        for (l, lesson) in lessons.iter().enumerate() {
            for q in 0..lesson.values.len() {
                let places = (quantity << 32..).zip(&sizes);
                tasks.extend(places.map(|(place, size)| (l, q, *size, place)));
                quantity += 1;
            }
        }
        let grown: Vec<Batch> = tasks
            .par_iter()
            .with_max_len(1)
            .map(|&(l, q, size, place)| {
                check()?;
                let lesson = &lessons[l];
                let seed = Draws::new(settings.seed, TREES, place).bits();
                Batch::grow(&lesson.table, &lesson.values[q], size, depth, settings, seed)
            })
            .collect::<Result<_, ForestError>>()?;
        let mut grown = grown.into_iter();
        let mut quantities = lessons.iter().map(|lesson| -> Vec<Quantity> {
            let one = |_| Quantity { batches: grown.by_ref().take(sizes.len()).collect() };
            lesson.values.iter().map(one).collect()
        });
        let count = quantities.next().and_then(|mut first| first.pop()).unwrap_or_default();
        let parameters = quantities.collect();
        Ok(Self { channels, count, parameters, known })
    }

    /// The components of each of `spectra` (rows × channels), sorted by mean, as the first `trees` trees tell them.
    ///
    /// # Errors
    /// Where the library refuses the spectra.
    pub fn ask(&self, spectra: &[f32], trees: usize) -> Result<Vec<Vec<Component>>, ForestError> {
        let channels = self.channels;
        if spectra.is_empty() {
            return Ok(Vec::new());
        }
        let counts = self.count.ask(&Table::to_ask(spectra, channels)?, trees)?;
        let counts: Vec<usize> = counts.into_iter().map(|mean| self.nearest(mean)).collect();
        let mut found = vec![Vec::new(); counts.len()];
        for (count, quantities) in (1..).zip(&self.parameters) {
            let rows: Vec<usize> = (0..counts.len()).filter(|row| counts[*row] == count).collect();
            if rows.is_empty() {
                continue;
            }
            let of_row = |row: &usize| &spectra[row * channels..(row + 1) * channels];
            let values: Vec<f32> = rows.iter().flat_map(of_row).copied().collect();
            let table = Table::to_ask(&values, channels)?;
            let told: Vec<Vec<f64>> = quantities
                .iter()
                .map(|quantity| quantity.ask(&table, trees))
                .collect::<Result<_, ForestError>>()?;
            for (i, row) in rows.into_iter().enumerate() {
                let component = |k: usize| Component {
                    amplitude: told[3 * k][i],
                    mean: told[3 * k + 1][i],
                    sigma: told[3 * k + 2][i],
                };
                found[row] = (0..count).map(component).collect();
                // Each mean is told by a forest of its own.
                found[row].sort_by(|a, b| a.mean.total_cmp(&b.mean));
            }
        }
        Ok(found)
    }

    /// The number of components nearest to `mean` of those that can be told; the smaller of two.
    fn nearest(&self, mean: f64) -> usize {
        let distance = |count: &usize| (*count as f64 - mean).abs();
        let nearest = self.known.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
        nearest.copied().unwrap_or(0)
    }
}

fn parameter(component: &Component, index: usize) -> f64 {
    [component.amplitude, component.mean, component.sigma][index]
}

/// The sizes of batches that end at each of `trees`, which ascend.
fn batches(trees: &[usize]) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut grown = 0;
    for end in trees {
        while grown < *end {
            let size = (end - grown).min(MOST);
            sizes.push(size);
            grown += size;
        }
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Boxes of one or three components, each on a place of its own.
    fn examples(rows: usize) -> (Vec<f32>, Vec<Vec<Component>>) {
        let mut spectra = Vec::new();
        let mut truth = Vec::new();
        for row in 0..rows {
            let mut draws = Draws::new(3, Purpose::new("test"), row as u64);
            let count = if draws.unit() < 0.5 { 1 } else { 3 };
            let components: Vec<Component> = (0..count)
                .map(|k| Component {
                    amplitude: draws.uniform(5.0, 10.0),
                    mean: 5.0 + 10.0 * f64::from(k),
                    sigma: 2.0,
                })
                .collect();
            let value = |c: usize| components.iter().map(|k| k.value(c as f64)).sum::<f64>() as f32;
            spectra.extend((0..30).map(value));
            truth.push(components);
        }
        (spectra, truth)
    }

    const SETTINGS: ForestSettings = ForestSettings { min_leaf: 2, channels_a_split: 10, seed: 5 };

    fn forest(trees: &[usize]) -> Forest {
        let (spectra, truth) = examples(300);
        let examples = Examples { channels: 30, spectra: &spectra, truth: &truth };
        Forest::grow(&examples, 8, trees, &SETTINGS, &|| Ok(())).unwrap()
    }

    #[test]
    fn what_is_plain_is_learnt() {
        let (spectra, truth) = examples(400);
        let found = forest(&[12]).ask(&spectra[300 * 30..], 12).unwrap();
        for (found, truth) in found.iter().zip(&truth[300..]) {
            assert_eq!(found.len(), truth.len());
            for (found, truth) in found.iter().zip(truth) {
                assert!((found.amplitude - truth.amplitude).abs() < 0.7, "{found:?} {truth:?}");
                assert!((found.mean - truth.mean).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn a_smaller_forest_is_the_beginning_of_a_larger_one() {
        let (spectra, _) = examples(20);
        let (large, small) = (forest(&[3, 25]), forest(&[3]));
        assert_eq!(large.ask(&spectra, 3).unwrap(), small.ask(&spectra, 3).unwrap());
        assert_ne!(large.ask(&spectra, 25).unwrap(), small.ask(&spectra, 3).unwrap());
        assert_eq!(batches(&[3, 25]), [3, 10, 10, 2]);
    }

    #[test]
    fn counts_that_were_never_seen_are_not_told() {
        let forest = forest(&[2]);
        let nearest = [0.0, 1.9, 2.0, 2.1, 7.0].map(|mean| forest.nearest(mean));
        assert_eq!(nearest, [1, 1, 1, 3, 3]);
        assert_eq!(forest.ask(&[], 2).unwrap(), Vec::<Vec<Component>>::new());
    }

    #[test]
    fn nothing_to_learn_from_is_an_error_and_so_is_a_stop() {
        let none = Examples { channels: 30, spectra: &[], truth: &[] };
        let grown = Forest::grow(&none, 8, &[2], &SETTINGS, &|| Ok(()));
        assert!(matches!(grown, Err(ForestError::NoExamples)));
        let (spectra, truth) = examples(10);
        let some = Examples { channels: 30, spectra: &spectra, truth: &truth };
        let grown = Forest::grow(&some, 8, &[2], &SETTINGS, &|| Err(pipe_engine::Interrupted));
        assert!(matches!(grown, Err(ForestError::Interrupted(_))));
    }
}
