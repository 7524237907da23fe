//! The loss of the slot network: the formulas of the core's, part by part.

use dfdx::prelude::*;

use super::cross_entropy::cross_entropy;
use super::signal::{Matrix, Reused, column_copies, column_sums, row_copies, row_sums, upload};
use crate::network::examples::Examples;
use crate::network::history::LossParts;
use crate::network::hyperparameters::LossWeights;
use crate::network::slots::target::{LARGEST_LOGARITHM, Link, Space, TargetTransform};

/// The four parts of a batch's loss, each a sum over its rows (1 × 1).
pub(super) struct Parts<D: Device<f32>, T> {
    parameter: Matrix<D, T>,
    sparsity: Matrix<D, T>,
    reconstruction: Matrix<D, T>,
    count: Matrix<D, T>,
}

/// Computes the parts for `rows` of `examples`, of which the heads said `outputs` (rows × (3K + K + 1)).
pub(super) fn evaluate<D: Device<f32>, T: Tape<f32, D>>(
    transform: &TargetTransform,
    examples: &Examples,
    rows: &[usize],
    outputs: Matrix<D, T>,
) -> Result<Parts<D, T>, D::Err> {
    let (count, slots) = (rows.len(), examples.slots);
    let truth = Truth::new(transform, examples, rows);
    let device = outputs.device().clone();
    let upload = |values: Vec<f32>, rows: usize| upload(&device, values, rows);
    let mut outputs = Reused::new(outputs);
    let logits = outputs.again().try_slice((.., 3 * slots..))?;
    let heads = outputs.again().try_slice((.., ..3 * slots))?;
    let heads = heads.try_reshape_like(&(count * slots, 3))?;

    let errors = heads.with_empty_tape().try_sub(upload(truth.heads, count * slots)?)?;
    let squares = errors.try_square()?.try_mul(upload(truth.active, count * slots)?)?;
    let mut heads = Reused::new(heads.try_mul(1.0)?);
    let mut physical =
        |index: usize, link: &Link| decode(link, heads.again().try_slice((.., index..=index))?);
    let amplitude = physical(0, &transform.amplitude)?;
    let mean = physical(1, &transform.mean)?;
    let sigma = physical(2, &transform.sigma)?;

    let typical = transform.amplitude.decode(0.0).0.max(f64::MIN_POSITIVE);
    let empty = upload(truth.inactive, count * slots)?.try_mul((1.0 / typical) as f32)?;
    let sparsity = column_sums(amplitude.with_empty_tape().try_mul(empty)?)?;

    let channels = examples.grid.channels;
    let places = upload(truth.places, 1)?;
    let profiles = profiles(places, mean, sigma)?;
    let heights = profiles.try_mul(column_copies(amplitude, channels)?)?;
    let mut heights = Reused::new(heights.try_reshape_like(&(count, slots * channels))?);
    let mut model = heights.again().try_slice((.., ..channels))?;
    for slot in 1..slots {
        let own = heights.again().try_slice((.., slot * channels..(slot + 1) * channels))?;
        model = model.try_add(own)?;
    }
    let residual = model.try_sub(upload(truth.observed, count)?)?;
    let roots = residual.try_square()?.try_add(1.0)?.try_sqrt()?.try_sub(1.0)?;
    let roots = roots.try_mul(upload(truth.seen, count)?)?;
    Ok(Parts {
        parameter: total(squares)?,
        sparsity,
        reconstruction: total(roots)?,
        count: column_sums(cross_entropy(upload(truth.classes, count)?, logits)?)?,
    })
}

impl<D: Device<f32>, T: Tape<f32, D>> Parts<D, T> {
    /// The weighted sum of the parts (1 × 1), and the parts as numbers.
    pub(super) fn weighed(self, weights: LossWeights) -> Result<(Matrix<D, T>, LossParts), D::Err> {
        let number = |part: &Matrix<D, T>| f64::from(part.as_vec()[0]);
        let (parameter, sparsity) = (number(&self.parameter), number(&self.sparsity));
        let (reconstruction, count) = (number(&self.reconstruction), number(&self.count));
        let total = self
            .parameter
            .try_add(self.sparsity.try_mul(weights.sparsity_weight as f32)?)?
            .try_add(self.reconstruction.try_mul(weights.reconstruction_weight as f32)?)?
            .try_add(self.count.try_mul(weights.count_weight as f32)?)?;
        let parts = LossParts {
            total: parameter
                + weights.sparsity_weight * sparsity
                + weights.reconstruction_weight * reconstruction
                + weights.count_weight * count,
            parameter,
            sparsity,
            reconstruction,
            count,
            detection: 0.0,
        };
        Ok((total, parts))
    }
}

/// What a batch is compared with, as matrices; K slots and C channels.
struct Truth {
    /// What the heads should say of active slots (rows · K × 3).
    heads: Vec<f32>,
    /// What an active slot's error counts, 1 / 3K, and 0 for the others (rows · K × 3).
    active: Vec<f32>,
    /// What an inactive slot's amplitude counts, 1 / K, and 0 for the others (rows · K × 1).
    inactive: Vec<f32>,
    /// Where the channels lie, as fractions of the axis (1 × C).
    places: Vec<f32>,
    /// The observed spectra in units of noise, 0 where a channel is missing (rows × C).
    observed: Vec<f32>,
    /// What a channel's error counts: one over the channels that there are, and 0 for missing ones (rows × C).
    seen: Vec<f32>,
    /// 1 at the count, 0 elsewhere (rows × (K + 1)).
    classes: Vec<f32>,
}

impl Truth {
    fn new(transform: &TargetTransform, examples: &Examples, rows: &[usize]) -> Self {
        let (slots, channels) = (examples.slots, examples.grid.channels);
        let links = transform.links();
        let share = 1.0 / slots as f32;
        let step = 1.0 / (channels.max(2) - 1) as f64;
        let mut truth = Self {
            heads: vec![0.0; rows.len() * slots * 3],
            active: vec![0.0; rows.len() * slots * 3],
            inactive: vec![share; rows.len() * slots],
            places: (0..channels).map(|channel| (channel as f64 * step) as f32).collect(),
            observed: vec![0.0; rows.len() * channels],
            seen: vec![0.0; rows.len() * channels],
            classes: vec![0.0; rows.len() * (slots + 1)],
        };
        for (index, &row) in rows.iter().enumerate() {
            for (slot, natural) in examples.natural(row).enumerate() {
                let place = index * slots + slot;
                truth.inactive[place] = 0.0;
                for i in 0..3 {
                    truth.heads[3 * place + i] = links[i].encode(natural[i]) as f32;
                    truth.active[3 * place + i] = share / 3.0;
                }
            }
            truth.classes[index * (slots + 1) + usize::from(examples.counts[row])] = 1.0;
            let observed = &mut truth.observed[index * channels..(index + 1) * channels];
            examples.observed(row, observed);
            let there = observed.iter().filter(|y| y.is_finite()).count().max(1);
            let seen = &mut truth.seen[index * channels..(index + 1) * channels];
            for (observed, seen) in observed.iter_mut().zip(seen) {
                if observed.is_finite() {
                    *seen = 1.0 / there as f32;
                } else {
                    *observed = 0.0;
                }
            }
        }
        truth
    }
}

/// The natural values of heads, held at their bounds as [`Link::decode`] holds them.
fn decode<D: Device<f32>, T: Tape<f32, D>>(
    link: &Link,
    heads: Matrix<D, T>,
) -> Result<Matrix<D, T>, D::Err> {
    let mapped = heads.try_mul(link.scale as f32)?.try_add(link.offset as f32)?;
    let natural = match link.space {
        Space::Linear => mapped,
        Space::Logarithmic => mapped.try_clamp(-LARGEST_LOGARITHM, LARGEST_LOGARITHM)?.try_exp()?,
    };
    natural.try_clamp(link.least.max(f64::from(f32::MIN)), f32::MAX)
}

/// Gaussians of height 1 at `places` (1 × C), one for each row of `mean` and `sigma` (rows × 1): rows × C.
fn profiles<D: Device<f32>, T: Tape<f32, D>>(
    places: Matrix<D>,
    mean: Matrix<D, T>,
    sigma: Matrix<D, T>,
) -> Result<Matrix<D, T>, D::Err> {
    let (rows, channels) = (mean.shape().0, places.shape().1);
    let places = row_copies(places, rows)?;
    let distance = column_copies(mean.try_negate()?, channels)?.try_add(places)?;
    let scaled = distance.try_mul(column_copies(sigma.try_recip()?, channels)?)?;
    scaled.try_square()?.try_mul(-0.5)?.try_exp()
}

/// The sum of all values: 1 × 1.
fn total<D: Device<f32>, T: Tape<f32, D>>(values: Matrix<D, T>) -> Result<Matrix<D, T>, D::Err> {
    row_sums(column_sums(values)?)
}
