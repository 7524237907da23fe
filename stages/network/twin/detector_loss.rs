//! The loss of the detector: the formulas of the core's, part by part.

use dfdx::prelude::*;

use super::cross_entropy::cross_entropy;
use super::signal::{Matrix, Reused, column_copies, column_sums, row_sums, upload};
use crate::network::detector::DetectorDesign;
use crate::network::detector::model::{CLASSES, TOLD};
use crate::network::detector::target::find_targets;
use crate::network::examples::Examples;
use crate::network::history::LossParts;
use crate::network::hyperparameters::LossWeights;

/// What the heads say of a batch.
pub(super) struct Heads<D: Device<f32>, T> {
    /// At each channel, for each class: heat, ln amplitude, offset, ln sigma (rows · length × 12).
    pub(super) told: Matrix<D, T>,
    /// Logits of the counts (rows × (K + 1)).
    pub(super) counts: Matrix<D, T>,
}

/// The three parts of a batch's loss, each a sum over its rows (1 × 1).
pub(super) struct Parts<D: Device<f32>, T> {
    detection: Matrix<D, T>,
    parameter: Matrix<D, T>,
    count: Matrix<D, T>,
}

/// Computes the parts for `rows` of `examples`, of which the heads said `heads`.
pub(super) fn evaluate<D: Device<f32>, T: Tape<f32, D>>(
    design: &DetectorDesign,
    examples: &Examples,
    rows: &[usize],
    heads: Heads<D, T>,
) -> Result<Parts<D, T>, D::Err> {
    let length = heads.told.shape().0 / rows.len();
    let places = rows.len() * length * CLASSES;
    let truth = Truth::new(design, examples, rows, length);
    let device = heads.told.device().clone();
    let upload = |values: Vec<f32>, rows: usize| upload(&device, values, rows);
    let per_component = (1.0 / design.typical_count) as f32;

    let mut told = Reused::new(heads.told.try_reshape_like(&(places, TOLD))?);
    let logits = told.again().try_slice((.., ..1))?;
    let mut values = Reused::new(told.again().try_slice((.., 1..))?);
    let cold = unexpected(logits.with_empty_tape())?.try_mul(upload(truth.away, places)?)?;
    let hot = missing(logits)?.try_mul(upload(truth.hot, places)?)?;
    let detection = column_sums(hot.try_add(cold)?)?;

    let mut parameter: Option<Matrix<D, T>> = None;
    for round in truth.rounds {
        let wanted: Matrix<D> = upload(round.wanted, places)?;
        let here = column_copies(upload(round.here, places)?, TOLD - 1)?;
        let errors = values.again().try_huber_error(wanted, 1.0)?.try_mul(here)?;
        let own = row_sums(column_sums(errors)?)?;
        parameter = Some(match parameter {
            Some(sum) => sum.try_add(own)?,
            None => own,
        });
    }
    let Some(parameter) = parameter else { unreachable!("there is a round") };
    Ok(Parts {
        detection: detection.try_mul(per_component)?,
        parameter: parameter.try_mul(per_component)?,
        count: column_sums(cross_entropy(upload(truth.classes, rows.len())?, heads.counts)?)?,
    })
}

impl<D: Device<f32>, T: Tape<f32, D>> Parts<D, T> {
    /// The weighted sum of the parts (1 × 1), and the parts as numbers.
    pub(super) fn weighed(self, weights: LossWeights) -> Result<(Matrix<D, T>, LossParts), D::Err> {
        let number = |part: &Matrix<D, T>| f64::from(part.as_vec()[0]);
        let (detection, parameter) = (number(&self.detection), number(&self.parameter));
        let count = number(&self.count);
        let total = self
            .parameter
            .try_add(self.detection.try_mul(weights.detection_weight as f32)?)?
            .try_add(self.count.try_mul(weights.count_weight as f32)?)?;
        let parts = LossParts {
            total: parameter + weights.detection_weight * detection + weights.count_weight * count,
            parameter,
            sparsity: 0.0,
            reconstruction: 0.0,
            count,
            detection,
        };
        Ok((total, parts))
    }
}

/// What a batch is compared with, as matrices with a row for each place, which is a class at a channel of a spectrum.
struct Truth {
    /// What heat costs where no component is told of (places × 1).
    away: Vec<f32>,
    /// How many components are told of (places × 1).
    hot: Vec<f32>,
    /// The components, no two of a round at one place. There is at least one round.
    rounds: Vec<Round>,
    /// 1 at the count, 0 elsewhere (rows × (K + 1)).
    classes: Vec<f32>,
}

/// Components at different places.
#[derive(Clone)]
struct Round {
    /// 1 where there is one, 0 elsewhere (places × 1).
    here: Vec<f32>,
    /// ln amplitude, offset and ln sigma where there is one, 0 elsewhere (places × 3).
    wanted: Vec<f32>,
}

impl Truth {
    fn new(design: &DetectorDesign, examples: &Examples, rows: &[usize], length: usize) -> Self {
        let places = rows.len() * length * CLASSES;
        let counts = design.architecture.slots + 1;
        let empty = Round { here: vec![0.0; places], wanted: vec![0.0; places * (TOLD - 1)] };
        let mut truth = Self {
            away: vec![0.0; places],
            hot: vec![0.0; places],
            rounds: vec![empty.clone()],
            classes: vec![0.0; rows.len() * counts],
        };
        let place = |spectrum, channel, class| (spectrum * length + channel) * CLASSES + class;
        let mut targets = Vec::new();
        find_targets(design, examples, rows, length, &mut targets, &mut truth.away, place);
        for target in targets {
            let place = place(target.spectrum, target.channel, target.class);
            let round = truth.hot[place] as usize;
            if round == truth.rounds.len() {
                truth.rounds.push(empty.clone());
            }
            truth.hot[place] += 1.0;
            truth.rounds[round].here[place] = 1.0;
            let wanted = &mut truth.rounds[round].wanted[place * (TOLD - 1)..];
            for (wanted, value) in wanted.iter_mut().zip(target.values) {
                *wanted = value as f32;
            }
        }
        for (classes, &row) in truth.classes.chunks_exact_mut(counts).zip(rows) {
            classes[usize::from(examples.counts[row])] = 1.0;
        }
        truth
    }
}

/// −p² ln(1 − p) of logits: what heat costs where it is not expected.
fn unexpected<D: Device<f32>, T: Tape<f32, D>>(
    logits: Matrix<D, T>,
) -> Result<Matrix<D, T>, D::Err> {
    let p = logits.with_empty_tape().try_sigmoid()?;
    softplus(logits)?.try_mul(p.try_square()?)
}

/// −(1 − p)² ln p of logits: what it costs where it is missing. That is the other seen from the other side.
fn missing<D: Device<f32>, T: Tape<f32, D>>(logits: Matrix<D, T>) -> Result<Matrix<D, T>, D::Err> {
    unexpected(logits.try_negate()?)
}

/// ln(1 + exp(x)) as max(x, 0) + ln(1 + exp(−|x|)), whose slope at 0 is ½ because dfdx halves that of equals.
fn softplus<D: Device<f32>, T: Tape<f32, D>>(x: Matrix<D, T>) -> Result<Matrix<D, T>, D::Err> {
    let zeros: Matrix<D> = x.device().try_zeros_like(x.shape())?;
    let small = x.with_empty_tape().try_abs()?.try_negate()?.try_exp()?;
    x.try_maximum(zeros)?.try_add(ln_1p(small)?)
}

/// ln(1 + x) for 0 ≤ x ≤ 1, as accurate for small x as for large: 2 artanh z with z = x / (2 + x), of whose series what
/// follows z¹³ is below 2·10⁻⁸.
fn ln_1p<D: Device<f32>, T: Tape<f32, D>>(x: Matrix<D, T>) -> Result<Matrix<D, T>, D::Err> {
    let inverse = x.with_empty_tape().try_add(2.0)?.try_recip()?;
    let z = x.try_mul(inverse)?;
    let mut square = Reused::new(z.with_empty_tape().try_square()?);
    let mut series = square.again().try_mul(1.0 / 13.0)?.try_add(1.0 / 11.0)?;
    for power in [9.0, 7.0, 5.0, 3.0, 1.0] {
        series = series.try_mul(square.again())?.try_add(1.0 / power)?;
    }
    series.try_mul(z)?.try_mul(2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::detector::Architecture;
    use crate::network::detector::lanes::Instructions;
    use crate::network::detector::loss::{Loss, OUTPUTS};
    use crate::network::difference::noise;
    use crate::network::examples::Unscaling;
    use crate::network::fixture::Spectra;
    use crate::network::grid::Grid;
    use crate::network::twin::comparison::{assert_near, rows as matrix};
    use crate::network::twin::lanes::{from_lanes, to_lanes};

    /// Compares loss and gradient for all rows of `examples`, at most a group, where what is told spreads by `spread`.
    fn compare(examples: &Examples, spread: f32) {
        let design = DetectorDesign {
            architecture: Architecture { slots: examples.slots, width: 4 },
            edges: [1.8, 2.4],
            typical_count: 1.5,
        };
        let weights =
            LossWeights { detection_weight: 0.7, count_weight: 0.3, ..LossWeights::default() };
        let rows: Vec<usize> = (0..examples.rows()).collect();
        let length = examples.grid.channels.next_multiple_of(4);
        let spread = |size, seed| noise(size, seed).iter().map(|v| spread * v).collect();
        let told: Vec<f32> = spread(rows.len() * length * OUTPUTS, 3);
        let counts: Vec<f32> = spread(rows.len() * (examples.slots + 1), 4);

        let mut loss = Loss::new(&design, weights, examples, Instructions::best());
        let (in_lanes, counts_in_lanes) =
            (to_lanes(&told, rows.len()), to_lanes(&counts, rows.len()));
        let (mut dtold, mut dcounts) = (in_lanes.clone(), counts_in_lanes.clone());
        let expected =
            loss.evaluate(&rows, &in_lanes, &counts_in_lanes, 1.0, &mut dtold, &mut dcounts);

        let (told, counts) = (matrix(&told, rows.len() * length), matrix(&counts, rows.len()));
        let heads = Heads { told: told.leaky_trace(), counts: counts.leaky_trace() };
        let found = evaluate(&design, examples, &rows, heads)
            .and_then(|parts| parts.weighed(weights))
            .and_then(|(total, parts)| Ok((total.try_reshape_like(&())?.try_backward()?, parts)));
        let Ok((gradients, found)) = found else { panic!("no result") };
        let list = |parts: &LossParts| {
            [parts.total, parts.detection, parts.parameter, parts.count].map(|part| part as f32)
        };
        for (found, expected) in list(&found).iter().zip(list(&expected)) {
            assert_near(&[*found], &[expected], length);
        }
        // A sum of three at a place.
        assert_near(&gradients.get(&told).as_vec(), &from_lanes(&dtold, rows.len()), 3);
        assert_near(&gradients.get(&counts).as_vec(), &from_lanes(&dcounts, rows.len()), 4);
    }

    #[test]
    fn parts_and_gradients_equal_the_cores() {
        let spectra = Spectra::new(13, 30, 3);
        // Near nothing, where much cancels; in between; and where an exponential overflows.
        for spread in [0.01, 3.0, 200.0] {
            compare(&spectra.examples(), spread);
        }
    }

    #[test]
    fn components_at_one_place_all_count() {
        let parameters = [[[3.0, 8.0, 4.0], [5.0, 8.4, 4.1], [9.0, 8.6, 3.9]], [[f64::NAN; 3]; 3]];
        let spectra = vec![1.0; 2 * 9];
        let examples = Examples {
            spectra: &spectra,
            noise: &[0.5, 2.0],
            parameters: parameters.as_flattened().as_flattened(),
            counts: &[3, 0],
            slots: 3,
            grid: Grid { start: 0.0, step: 2.0, channels: 9 },
            unscaling: Unscaling::NoiseRms,
        };
        compare(&examples, 2.0);
    }

    #[test]
    fn softplus_and_its_slope_are_accurate_everywhere() {
        let x: Vec<f32> = (-1000..=1000).map(|step| step as f32 / 10.0).collect();
        let logits = matrix(&x, x.len());
        let Ok(found) = softplus(logits.leaky_trace()) else { panic!("no result") };
        let values = found.as_vec();
        let slopes = found.sum().backward().get(&logits).as_vec();
        for ((x, value), slope) in x.iter().map(|x| f64::from(*x)).zip(values).zip(slopes) {
            let expected = x.max(0.0) + libm::log1p(libm::exp(-x.abs()));
            let tilt = 1.0 / (1.0 + libm::exp(-x));
            // Below the least normal number there is nothing.
            let close = |found: f32, expected: f64| {
                (f64::from(found) - expected).abs()
                    <= 1e-6 * expected + 4.0 * f64::from(f32::MIN_POSITIVE)
            };
            assert!(close(value, expected), "{x}: {value} {expected}");
            assert!(close(slope, tilt), "{x}: {slope} {tilt}");
        }
    }
}
