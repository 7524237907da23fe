//! One batch forward and backward through the network, in training.

use rayon::prelude::*;

use super::dense::{add_bias, backward_bias};
use super::dropout::Dropout;
use super::loss::Loss;
use super::model::Model;
use super::rectification;
use super::target::TargetTransform;
use crate::network::encoding::encode;
use crate::network::examples::Examples;
use crate::network::history::LossParts;
use crate::network::hyperparameters::LossWeights;
use crate::network::normalization::{Normalization, Sums};

/// Spectra that one task takes; sums over a batch are sums over these parts, in their order.
const PART: usize = 8;

/// Room for batches of up to a given size, and the results of the last one.
pub(in crate::network) struct Pass<'m> {
    model: &'m Model,
    /// Each block's input, with margins.
    inputs: Vec<Vec<f32>>,
    /// Each block's convolutions, before normalisation.
    convolved: Vec<Vec<f32>>,
    /// The gradient of each block's input, without margins; unused for the first.
    input_gradients: Vec<Vec<f32>>,
    /// Mirrored weights of each block.
    mirrored: Vec<Vec<f32>>,
    /// Each part's share in the gradient of one block's weights.
    shares: Vec<f32>,
    /// The rows that enter each dense layer and, last, the head.
    rows: Vec<Vec<f32>>,
    /// Each dense layer's products, before normalisation.
    raw: Vec<Vec<f32>>,
    /// The gradient of `rows`.
    row_gradients: Vec<Vec<f32>>,
    outputs: Vec<f32>,
    output_gradient: Vec<f32>,
    /// Of the last batch, blocks first.
    pub(in crate::network) normalizations: Vec<Normalization>,
}

impl<'m> Pass<'m> {
    /// Room for batches of up to `capacity` spectra.
    pub(in crate::network) fn new(model: &'m Model, capacity: usize) -> Self {
        let per_block = |size: fn(&super::model::Block) -> usize| -> Vec<Vec<f32>> {
            model.blocks.iter().map(|block| vec![0.0; capacity * size(block)]).collect()
        };
        let widths = model.hidden.iter().map(|hidden| hidden.dense.outputs);
        let rows: Vec<Vec<f32>> = [model.features()]
            .into_iter()
            .chain(widths.clone())
            .map(|width| vec![0.0; capacity * width])
            .collect();
        let most = model.blocks.iter().map(|block| block.convolution.weight_size());
        Self {
            model,
            inputs: per_block(|block| block.convolution.input_size()),
            convolved: per_block(|block| block.convolution.output_size()),
            input_gradients: per_block(|block| block.convolution.interior().len()),
            mirrored: model
                .blocks
                .iter()
                .map(|block| vec![0.0; block.convolution.weight_size()])
                .collect(),
            shares: vec![0.0; capacity.div_ceil(PART) * most.max().unwrap_or(0)],
            row_gradients: rows.clone(),
            rows,
            raw: widths.map(|width| vec![0.0; capacity * width]).collect(),
            outputs: vec![0.0; capacity * model.head.outputs],
            output_gradient: vec![0.0; capacity * model.head.outputs],
            normalizations: Vec::new(),
        }
    }

    /// Computes the heads for the given rows of `examples`, normalised over this batch.
    pub(in crate::network) fn forward(
        &mut self,
        weights: &[f32],
        examples: &Examples,
        scale: f32,
        dropout: &Dropout,
    ) {
        let model = self.model;
        let count = dropout.rows.len();
        self.normalizations.clear();
        if let Some(first) = model.blocks.first() {
            let convolution = &first.convolution;
            self.inputs[0].par_chunks_mut(convolution.input_size()).zip(dropout.rows).for_each(
                |(input, &row)| {
                    encode(examples.spectrum(row), scale, &mut input[convolution.interior()]);
                },
            );
        }
        for (index, block) in model.blocks.iter().enumerate() {
            let (size, result) = (block.convolution.input_size(), block.convolution.output_size());
            let (before, after) = self.inputs.split_at_mut(index + 1);
            let convolved = &mut self.convolved[index][..count * result];
            let parts: Vec<Sums> = convolved
                .par_chunks_mut(PART * result)
                .zip(before[index].par_chunks(PART * size))
                .map(|(convolved, inputs)| {
                    block.convolution.forward(&weights[block.weights.clone()], inputs, convolved);
                    Sums::moments(convolved, block.pooling.features)
                })
                .collect();
            let place = &block.normalization;
            let by = Normalization::of_batch(
                &folded(&parts, block.pooling.features),
                count * block.pooling.length,
                &weights[place.weight.clone()],
                &weights[place.bias.clone()],
            );
            let (pooled, stride, interior) = match model.blocks.get(index + 1) {
                Some(next) => {
                    let next = &next.convolution;
                    (&mut after[0], next.input_size(), next.interior())
                }
                None => (&mut self.rows[0], model.features(), 0..model.features()),
            };
            convolved.par_chunks(result).zip(pooled.par_chunks_mut(stride)).for_each(
                |(convolved, pooled)| {
                    let pooled = &mut pooled[interior.clone()];
                    block.pooling.forward(&by, convolved, pooled);
                },
            );
            self.normalizations.push(by);
        }
        self.forward_dense(weights, dropout);
    }

    fn forward_dense(&mut self, weights: &[f32], dropout: &Dropout) {
        let model = self.model;
        let count = dropout.rows.len();
        dropout.apply(0, model.features(), &mut self.rows[0][..count * model.features()]);
        for (index, hidden) in model.hidden.iter().enumerate() {
            let dense = hidden.dense;
            let (before, after) = self.rows.split_at_mut(index + 1);
            let raw = &mut self.raw[index][..count * dense.outputs];
            dense.forward_parallel(
                &weights[hidden.weights.clone()],
                &before[index][..count * dense.inputs],
                raw,
            );
            let place = &hidden.normalization;
            let by = Normalization::of_batch(
                &Sums::moments(raw, dense.outputs),
                count,
                &weights[place.weight.clone()],
                &weights[place.bias.clone()],
            );
            let result = &mut after[0][..count * dense.outputs];
            rectification::forward(&by, raw, result);
            dropout.apply(index + 1, dense.outputs, result);
            self.normalizations.push(by);
        }
        let head = model.head;
        let outputs = &mut self.outputs[..count * head.outputs];
        head.forward_parallel(
            &weights[model.head_weights.clone()],
            &self.rows[model.hidden.len()][..count * head.inputs],
            outputs,
        );
        add_bias(&weights[model.head_bias.clone()], outputs);
    }

    /// The sum of the losses of the batch that went [`forward`](Self::forward); keeps the gradient of their mean.
    pub(in crate::network) fn loss(
        &mut self,
        weights: LossWeights,
        transform: TargetTransform,
        examples: &Examples,
        rows: &[usize],
    ) -> LossParts {
        let width = self.model.head.outputs;
        let share = 1.0 / rows.len() as f32;
        let parts: Vec<LossParts> = self
            .output_gradient
            .par_chunks_mut(PART * width)
            .zip(self.outputs.par_chunks(PART * width))
            .zip(rows.par_chunks(PART))
            .map_init(
                || Loss::new(weights, transform, examples),
                |loss, ((gradients, outputs), rows)| {
                    let mut total = LossParts::default();
                    for ((gradient, outputs), &row) in
                        gradients.chunks_exact_mut(width).zip(outputs.chunks_exact(width)).zip(rows)
                    {
                        total.add(&loss.evaluate(row, outputs, gradient));
                        for value in gradient {
                            *value *= share;
                        }
                    }
                    total
                },
            )
            .collect();
        let mut total = LossParts::default();
        for part in &parts {
            total.add(part);
        }
        total
    }

    /// Writes the gradient of the weights for the batch whose [`loss`](Self::loss) was computed.
    pub(in crate::network) fn backward(
        &mut self,
        weights: &[f32],
        gradient: &mut [f32],
        dropout: &Dropout,
    ) {
        self.backward_dense(weights, gradient, dropout);
        for index in (0..self.model.blocks.len()).rev() {
            self.backward_block(index, weights, gradient, dropout.rows.len());
        }
    }

    fn backward_dense(&mut self, weights: &[f32], gradient: &mut [f32], dropout: &Dropout) {
        let model = self.model;
        let (count, head, last) = (dropout.rows.len(), model.head, model.hidden.len());
        let output_gradient = &self.output_gradient[..count * head.outputs];
        head.backward(
            &self.rows[last][..count * head.inputs],
            output_gradient,
            &mut gradient[model.head_weights.clone()],
        );
        backward_bias(output_gradient, &mut gradient[model.head_bias.clone()]);
        head.backward_input(
            &weights[model.head_weights.clone()],
            output_gradient,
            &mut self.row_gradients[last][..count * head.inputs],
        );
        for (index, hidden) in model.hidden.iter().enumerate().rev() {
            let dense = hidden.dense;
            let (before, after) = self.row_gradients.split_at_mut(index + 1);
            let upstream = &mut after[0][..count * dense.outputs];
            dropout.apply(index + 1, dense.outputs, upstream);
            let sums = rectification::backward(
                &self.normalizations[model.blocks.len() + index],
                &self.raw[index][..count * dense.outputs],
                upstream,
            );
            store(&sums.second, &mut gradient[hidden.normalization.weight.clone()]);
            store(&sums.first, &mut gradient[hidden.normalization.bias.clone()]);
            dense.backward(
                &self.rows[index][..count * dense.inputs],
                upstream,
                &mut gradient[hidden.weights.clone()],
            );
            dense.backward_input(
                &weights[hidden.weights.clone()],
                upstream,
                &mut before[index][..count * dense.inputs],
            );
        }
        let features = model.features();
        dropout.apply(0, features, &mut self.row_gradients[0][..count * features]);
    }

    fn backward_block(
        &mut self,
        index: usize,
        weights: &[f32],
        gradient: &mut [f32],
        count: usize,
    ) {
        let block = &self.model.blocks[index];
        let (convolution, pooling) = (&block.convolution, block.pooling);
        let (input, result, pooled) =
            (convolution.input_size(), convolution.output_size(), pooling.output_size());
        let (before, after) = self.input_gradients.split_at_mut(index + 1);
        let upstream = match after.first() {
            Some(next) => &next[..count * pooled],
            None => &self.row_gradients[0][..count * pooled],
        };
        let convolved = &self.convolved[index][..count * result];
        let by = &self.normalizations[index];
        let parts: Vec<Sums> = convolved
            .par_chunks(PART * result)
            .zip(upstream.par_chunks(PART * pooled))
            .map(|(convolved, upstream)| {
                let mut sums = Sums::new(pooling.features);
                for (values, gradient) in
                    convolved.chunks_exact(result).zip(upstream.chunks_exact(pooled))
                {
                    pooling.add_gradient(by, values, gradient, &mut sums);
                }
                sums
            })
            .collect();
        let sums = folded(&parts, pooling.features);
        store(&sums.second, &mut gradient[block.normalization.weight.clone()]);
        store(&sums.first, &mut gradient[block.normalization.bias.clone()]);
        let through = by.backward(&sums, count * pooling.length);

        let mirrored = &mut self.mirrored[index];
        let wanted = index > 0;
        if wanted {
            convolution.mirror(&weights[block.weights.clone()], mirrored);
        }
        let starts = convolution.gradient_starts();
        let interior = convolution.interior().len();
        let size = convolution.weight_size();
        let shares = &mut self.shares[..count.div_ceil(PART) * size];
        shares
            .par_chunks_mut(size)
            .zip(self.inputs[index][..count * input].par_chunks(PART * input))
            .zip(convolved.par_chunks(PART * result))
            .zip(upstream.par_chunks(PART * pooled))
            .zip(before[index][..count * interior].par_chunks_mut(PART * interior))
            .for_each_init(
                || vec![0.0; convolution.gradient_size()],
                |branched, ((((share, inputs), convolved), upstream), input_gradients)| {
                    share.fill(0.0);
                    let spectra = inputs
                        .chunks_exact(input)
                        .zip(convolved.chunks_exact(result))
                        .zip(upstream.chunks_exact(pooled))
                        .zip(input_gradients.chunks_exact_mut(interior));
                    for (((input, values), upstream), input_gradient) in spectra {
                        pooling.backward(by, &through, values, upstream, &starts, branched);
                        convolution.backward(input, branched, share);
                        if wanted {
                            convolution.backward_input(mirrored, branched, input_gradient);
                        }
                    }
                },
            );
        let total = &mut gradient[block.weights.clone()];
        total.fill(0.0);
        for share in shares.chunks_exact(size) {
            for (total, share) in total.iter_mut().zip(share) {
                *total += share;
            }
        }
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
    use crate::network::design::Design;
    use crate::network::difference::{dot, noise};
    use crate::network::fixture::{Spectra, brief, started};
    use crate::network::slots::reference;

    /// Not a multiple of any part.
    const ROWS: usize = 19;
    const SCALE: f32 = 5.0;

    fn double(values: &[f32]) -> Vec<f64> {
        values.iter().map(|v| f64::from(*v)).collect()
    }

    /// The whole network, every layer and dropout: outputs, and the gradient of every tensor of weights, against central
    /// differences of the definition in `f64`. There a step of 1e-7 makes both truncation and rounding negligible, so what
    /// remains is the rounding of the `f32` passes: about ε times the square root of the terms of a sum, which is below 1e-5,
    /// in each of a dozen steps.
    #[test]
    fn outputs_and_gradients_of_a_whole_network_equal_the_definition() {
        let spectra = Spectra::new(ROWS, 33, 3);
        let examples = spectra.examples();
        let keys = brief();
        let training = started(&examples, keys);
        let Design::Slots(design) = &training.design else { panic!("another network") };
        let model = Model::new(&design.architecture);
        let rows: Vec<usize> = (0..ROWS).collect();
        let dropout = Dropout { share: 0.1, seed: 1, epoch: 1, rows: &rows };
        let mut pass = Pass::new(&model, ROWS + 5);
        let mut gradient = vec![0.0; training.weights.len()];
        pass.forward(&training.weights, &examples, SCALE, &dropout);
        pass.loss(keys.loss, design.transform, &examples, &rows);
        pass.backward(&training.weights, &mut gradient, &dropout);

        let mut planes = vec![0.0; ROWS * 33 * 2];
        for (&row, planes) in rows.iter().zip(planes.chunks_exact_mut(66)) {
            encode(examples.spectrum(row), SCALE, planes);
        }
        let planes = double(&planes);
        let masks: Vec<Vec<f64>> = [model.features()]
            .into_iter()
            .chain(model.hidden.iter().map(|hidden| hidden.dense.outputs))
            .enumerate()
            .map(|(layer, width)| {
                let mut mask = vec![1.0; ROWS * width];
                dropout.apply(layer, width, &mut mask);
                double(&mask)
            })
            .collect();
        let weights = double(&training.weights);
        let width = ROWS * model.head.outputs;
        let expected = reference::outputs(&model, &weights, &planes, &masks);
        for (output, expected) in pass.outputs[..width].iter().zip(&expected) {
            assert!((f64::from(*output) - expected).abs() < 1e-4);
        }

        // The loss has tests of its own, so its gradient may stand for it here.
        let upstream = double(&pass.output_gradient[..width]);
        let value = |weights: &[f64]| -> f64 {
            let outputs = reference::outputs(&model, weights, &planes, &masks);
            outputs.iter().zip(&upstream).map(|(o, g)| o * g).sum()
        };
        for place in &model.layout.weights {
            let of = &gradient[place.range.clone()];
            let length = dot(of, of).sqrt();
            assert!(length > 1e-5, "{}", place.name);
            for direction in [of.to_vec(), noise(of.len(), 1), noise(of.len(), 2)] {
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
                    (difference - found).abs() < 1e-4 * length,
                    "{}: difference {difference:e}, gradient {found:e} of length {length:e}",
                    place.name
                );
            }
        }
    }
}
