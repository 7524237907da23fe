//! A batch forward and backward through the detector, in training.
//!
//! The batch is cut into groups of [`LANES`] spectra, each with [`Activations`] of its own, that go through a layer side by side
//! and meet where a normalisation needs the moments of all. Sums over the batch are sums over groups in their order.

use rayon::prelude::*;

use super::{
    DetectorDesign,
    activations::Activations,
    lanes::{Instructions, LANES},
    loss::Loss,
    model::Model,
};
use crate::network::{
    error::DeviceFault,
    examples::Examples,
    history::LossParts,
    hyperparameters::LossWeights,
    learner::{Batch, Learner},
    normalization::{Normalization, Sums},
};

/// Room for batches of up to a given size.
pub(in crate::network) struct Pass<'a> {
    model: &'a Model,
    examples: &'a Examples<'a>,
    instructions: Instructions,
    groups: Vec<(Activations, Loss<'a>)>,
    /// Mirrored weights of each layer but the first.
    mirrored: Vec<Vec<f32>>,
}

impl<'a> Pass<'a> {
    pub(in crate::network) fn new(
        design: &'a DetectorDesign,
        model: &'a Model,
        loss: LossWeights,
        examples: &'a Examples<'a>,
        rows: usize,
        instructions: Instructions,
    ) -> Self {
        let groups = (0..rows.div_ceil(LANES))
            .map(|_| {
                let group = Activations::new(model, examples.grid.channels);
                (group, Loss::new(design, loss, examples, instructions))
            })
            .collect();
        let mirrored =
            model.layers.iter().map(|layer| vec![0.0; layer.convolution.weight_size()]).collect();
        Self { model, examples, instructions, groups, mirrored }
    }
}

impl Learner for Pass<'_> {
    fn learn(
        &mut self,
        weights: &[f32],
        batch: Batch,
        gradient: &mut [f32],
        statistics: &mut [f32],
    ) -> Result<LossParts, DeviceFault> {
        let (model, examples, with) = (self.model, self.examples, self.instructions);
        let rows = batch.rows;
        let groups = &mut self.groups[..rows.len().div_ceil(LANES)];
        let mut normalizations: Vec<Normalization> = Vec::with_capacity(model.layers.len());
        for (index, layer) in model.layers.iter().enumerate() {
            let before = normalizations.last();
            let parts: Vec<Sums> = groups
                .par_iter_mut()
                .zip(rows.par_chunks(LANES))
                .map(|((group, _), rows)| {
                    match before {
                        None => group.read(model, examples, rows),
                        Some(by) => group.normalize(model, index - 1, by, with),
                    }
                    group.convolve(model, index, weights, with)
                })
                .collect();
            let by = Normalization::of_batch(
                &folded(&parts, layer.convolution.filters),
                rows.len() * layer.convolution.length,
                &weights[layer.scale.clone()],
                &weights[layer.shift.clone()],
            );
            statistics[layer.mean.clone()].copy_from_slice(&by.mean);
            statistics[layer.variance.clone()].copy_from_slice(&by.variance);
            normalizations.push(by);
        }

        let last = model.layers.len() - 1;
        let by = &normalizations[last];
        let share = 1.0 / rows.len() as f32;
        let turned: Vec<(LossParts, Sums)> = groups
            .par_iter_mut()
            .zip(rows.par_chunks(LANES))
            .map(|((group, loss), rows)| {
                group.normalize(model, last, by, with);
                group.backward_from_loss(model, weights, loss, rows, by, share, with)
            })
            .collect();
        let mut total = LossParts::default();
        let mut parts = Vec::with_capacity(turned.len());
        for (loss, sums) in turned {
            total.add(&loss);
            parts.push(sums);
        }

        for (index, layer) in model.layers.iter().enumerate().rev() {
            let sums = folded(&parts, layer.convolution.filters);
            store(&sums.second, &mut gradient[layer.scale.clone()]);
            store(&sums.first, &mut gradient[layer.shift.clone()]);
            let by = &normalizations[index];
            let through = by.backward(&sums, rows.len() * layer.convolution.length);
            let before = index.checked_sub(1).map(|before| &normalizations[before]);
            let mirrored = &mut self.mirrored[index];
            if before.is_some() {
                layer.convolution.mirror(&weights[layer.weights.clone()], mirrored);
            }
            parts = groups
                .par_iter_mut()
                .filter_map(|(group, _)| {
                    group.backward_to_input(model, index, &through, mirrored, before, with)
                })
                .collect();
        }

        let plain = [&model.head, &model.hidden, &model.count];
        let places = model
            .layers
            .iter()
            .map(|layer| &layer.weights)
            .chain(plain.into_iter().flat_map(|layer| [&layer.weights, &layer.bias]));
        for place in places {
            let gradient = &mut gradient[place.clone()];
            gradient.fill(0.0);
            for (group, _) in &*groups {
                for (total, share) in gradient.iter_mut().zip(&group.share[place.clone()]) {
                    *total += share;
                }
            }
        }
        Ok(total)
    }
}

fn folded(parts: &[Sums], features: usize) -> Sums {
    let mut total = Sums::new(features);
    for part in parts {
        total.merge(part);
    }
    total
}

fn store(values: &[f64], to: &mut [f32]) {
    for (to, value) in to.iter_mut().zip(values) {
        *to = *value as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{
        design::Design,
        detector::{activations::INPUT_SCALE, lanes::LANES, loss::OUTPUTS, reference},
        difference::{dot, noise},
        encoding::encode,
        fixture::{Spectra, brief, started_detector},
    };

    /// More than one group, the last not full.
    const ROWS: usize = 21;

    /// The whole network: what the heads say, and the gradient of every tensor of weights, against central differences of
    /// the definition in `f64`. There a step of 1e-7 makes both truncation and rounding negligible, so what remains is the
    /// rounding of the `f32` passes: below 1e-5 in each of a dozen steps.
    #[test]
    fn outputs_and_gradients_of_a_whole_network_equal_the_definition() {
        for channels in [33, 3] {
            let spectra = Spectra::new(ROWS, channels, 3);
            let examples = spectra.examples();
            let keys = brief();
            let training = started_detector(&examples, keys);
            let Design::Detector(design) = &training.design else { panic!("another network") };
            let model = Model::new(&design.architecture, channels);
            let rows: Vec<usize> = (0..ROWS).collect();
            let with = Instructions::best();
            let mut pass = Pass::new(design, &model, keys.loss, &examples, ROWS + 30, with);
            let mut gradient = vec![0.0; training.weights.len()];
            let mut moments = vec![0.0; training.statistics.len()];
            let batch = Batch { epoch: 1, rows: &rows };
            // Twice, so that nothing is left over from the batch before.
            for _ in 0..2 {
                let learned = pass.learn(&training.weights, batch, &mut gradient, &mut moments);
                assert!(learned.is_ok(), "{learned:?}");
            }

            let planes: Vec<Vec<f64>> = rows
                .iter()
                .map(|&row| {
                    let (mut observed, mut planes) = (vec![0.0; channels], vec![0.0; channels * 2]);
                    examples.observed(row, &mut observed);
                    encode(&observed, INPUT_SCALE, &mut planes);
                    planes.into_iter().map(f64::from).collect()
                })
                .collect();
            let weights: Vec<f64> = training.weights.iter().map(|w| f64::from(*w)).collect();
            let (told, counts) = reference::outputs(&model, &weights, &planes);
            let of = |row: usize| (&pass.groups[row / LANES].0, row % LANES);
            let lane = |values: &[f32], lane: usize| -> Vec<f64> {
                values.iter().skip(lane).step_by(LANES).map(|v| f64::from(*v)).collect()
            };
            let mut upstream = Vec::new();
            for row in 0..ROWS {
                let (group, at) = of(row);
                let found = lane(&group.logits, at).into_iter().chain(lane(&group.counts, at));
                for (found, expected) in found.zip(told[row].iter().chain(&counts[row])) {
                    assert!((found - expected).abs() < 1e-4, "{found} {expected}");
                }
                assert_eq!(told[row].len() % OUTPUTS, 0);
                upstream.push((lane(&group.logit_gradient, at), lane(&group.count_gradient, at)));
            }

            // The loss has tests of its own, so its gradient may stand for it here.
            let value = |weights: &[f64]| -> f64 {
                let (told, counts) = reference::outputs(&model, weights, &planes);
                let product =
                    |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                (0..ROWS)
                    .map(|row| {
                        product(&told[row], &upstream[row].0)
                            + product(&counts[row], &upstream[row].1)
                    })
                    .sum()
            };
            for place in &model.layout.weights {
                let of = &gradient[place.range.clone()];
                let length = dot(of, of).sqrt();
                assert!(length > 1e-6, "{}", place.name);
                for direction in [of.to_vec(), noise(of.len(), 1)] {
                    let norm = dot(&direction, &direction).sqrt();
                    let moved = |step: f64| {
                        let mut weights = weights.clone();
                        for (weight, d) in weights[place.range.clone()].iter_mut().zip(&direction) {
                            *weight += step * f64::from(*d) / norm;
                        }
                        value(&weights)
                    };
                    let difference = (moved(1e-7) - moved(-1e-7)) / 2e-7;
                    let found = dot(of, &direction) / norm;
                    assert!(
                        (difference - found).abs() < 2e-4 * length,
                        "{}: difference {difference:e}, gradient {found:e} of length {length:e}",
                        place.name
                    );
                }
            }
        }
    }
}
