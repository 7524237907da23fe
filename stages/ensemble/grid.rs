//! The best depth and number of trees, on spectra that the trees haven't seen.

use serde::{Deserialize, Serialize};

use super::{Examples, Forest, ForestError, ForestSettings};
use crate::spectra::{Evaluation, MatchCriteria, Metrics};

/// The depths and numbers of trees to choose from; both ascend.
#[derive(Debug, Clone, Copy)]
pub struct Grid<'a> {
    /// The depths.
    pub depths: &'a [u16],
    /// The numbers of trees.
    pub trees: &'a [usize],
}

/// How good one combination is on the validation spectra.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GridScore {
    /// The largest depth of a tree.
    pub depth: u16,
    /// The number of trees.
    pub trees: usize,
    /// The mean of the three R² by slot: what is chosen by. `None` where one isn't defined.
    pub score: Option<f64>,
    /// The share of spectra with the right number of components.
    pub count_accuracy: Option<f64>,
    /// R² by slot of the amplitude.
    pub slot_r2_amplitude: Option<f64>,
    /// R² by slot of the mean.
    pub slot_r2_mean: Option<f64>,
    /// R² by slot of the sigma.
    pub slot_r2_sigma: Option<f64>,
}

/// What was chosen.
pub struct Choice {
    /// The forest; it holds more trees than were chosen if the best number isn't the largest.
    pub forest: Forest,
    /// The combination chosen.
    pub best: GridScore,
    /// All combinations.
    pub scores: Vec<GridScore>,
}

/// Grows a forest of each depth on `training`, and chooses the depth and the number of trees that do best on
/// `validation`; of equals the shallowest and smallest. `check` is called between batches of trees, and stops it.
///
/// # Errors
/// As [`Forest::grow`]; and where there is something to choose, but no validation spectra.
pub fn search(
    training: &Examples<'_>,
    validation: &Examples<'_>,
    grid: Grid<'_>,
    settings: &ForestSettings,
    check: &(impl Fn() -> Result<(), pipe_engine::Interrupted> + Sync),
) -> Result<Choice, ForestError> {
    if validation.truth.is_empty() && grid.depths.len() * grid.trees.len() > 1 {
        return Err(ForestError::NoValidation);
    }
    let mut scores = Vec::new();
    let mut best: Option<(Forest, GridScore)> = None;
    for depth in grid.depths {
        let forest = Forest::grow(training, *depth, grid.trees, settings, check)?;
        let mut best_here: Option<GridScore> = None;
        for trees in grid.trees {
            check()?;
            let score = score(&forest, *depth, *trees, validation)?;
            scores.push(score);
            if best_here.is_none_or(|best| is_better(&score, &best)) {
                best_here = Some(score);
            }
        }
        if let Some(here) = best_here
            && best.as_ref().is_none_or(|(_, best)| is_better(&here, best))
        {
            best = Some((forest, here));
        }
    }
    let (forest, best) = best.ok_or(ForestError::NoExamples)?;
    Ok(Choice { forest, best, scores })
}

fn is_better(one: &GridScore, other: &GridScore) -> bool {
    one.score.unwrap_or(f64::NEG_INFINITY) > other.score.unwrap_or(f64::NEG_INFINITY)
}

fn score(
    forest: &Forest,
    depth: u16,
    trees: usize,
    validation: &Examples<'_>,
) -> Result<GridScore, ForestError> {
    let found = forest.ask(validation.spectra, trees)?;
    // What is taken of the evaluation depends on no criteria.
    let mut evaluation = Evaluation::new(MatchCriteria::default(), 1.0, 0);
    for (truth, found) in validation.truth.iter().zip(&found) {
        evaluation.push(truth, found, 1.0);
    }
    let Metrics { count, slot_r2, .. } = evaluation.finish();
    let mean = || Some((slot_r2.amplitude? + slot_r2.mean? + slot_r2.sigma?) / 3.0);
    Ok(GridScore {
        depth,
        trees,
        score: mean(),
        count_accuracy: count.accuracy,
        slot_r2_amplitude: slot_r2.amplitude,
        slot_r2_mean: slot_r2.mean,
        slot_r2_sigma: slot_r2.sigma,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spectra::{Component, Draws, Purpose};

    const SETTINGS: ForestSettings = ForestSettings { min_leaf: 1, channels_a_split: 8, seed: 1 };

    fn examples(rows: std::ops::Range<u64>) -> (Vec<f32>, Vec<Vec<Component>>) {
        let spectrum = |row| {
            let mut draws = Draws::new(9, Purpose::new("test"), row);
            let mut one = || Component {
                amplitude: draws.uniform(5.0, 20.0),
                mean: draws.uniform(4.0, 20.0),
                sigma: draws.uniform(1.0, 3.0),
            };
            let one = one();
            ((0..24).map(|c| one.value(f64::from(c)) as f32).collect::<Vec<_>>(), vec![one])
        };
        let (spectra, truth): (Vec<_>, Vec<_>) = rows.map(spectrum).unzip();
        (spectra.concat(), truth)
    }

    #[test]
    fn the_best_on_the_validation_spectra_is_chosen() {
        let (spectra, truth) = examples(0..300);
        let training = Examples { channels: 24, spectra: &spectra, truth: &truth };
        let (spectra, truth) = examples(300..400);
        let validation = Examples { channels: 24, spectra: &spectra, truth: &truth };
        let grid = Grid { depths: &[1, 9], trees: &[1, 12] };
        let choice = search(&training, &validation, grid, &SETTINGS, &|| Ok(())).unwrap();
        let told: Vec<(u16, usize)> = choice.scores.iter().map(|s| (s.depth, s.trees)).collect();
        assert_eq!(told, [(1, 1), (1, 12), (9, 1), (9, 12)]);
        assert_eq!((choice.best.depth, choice.best.trees), (9, 12));
        let scores: Vec<f64> = choice.scores.iter().map(|s| s.score.unwrap()).collect();
        assert!(scores[3] > scores[2] && scores[3] > 0.7 && scores[0] < 0.6, "{scores:?}");
        // The forest that comes with it is the chosen one.
        let again = score(&choice.forest, 9, 12, &validation).unwrap();
        assert_eq!(again, choice.best);
    }

    #[test]
    fn without_validation_spectra_there_must_be_nothing_to_choose() {
        let (spectra, truth) = examples(0..20);
        let training = Examples { channels: 24, spectra: &spectra, truth: &truth };
        let none = Examples { channels: 24, spectra: &[], truth: &[] };
        let choose = |trees: &[usize]| {
            search(&training, &none, Grid { depths: &[3], trees }, &SETTINGS, &|| Ok(()))
        };
        assert!(matches!(choose(&[1, 2]).err(), Some(ForestError::NoValidation)));
        assert_eq!(choose(&[2]).unwrap().best.score, None);
    }
}
