//! A group of spectra forward through a trained detector.
//!
//! Normalisations are constants then: they are multiplied into the weights once, so that a layer is one sweep.

use super::{
    activations::INPUT_SCALE,
    convolution::{Convolution, Finish},
    lanes::{Instructions, LANES},
    model::{Model, Plain},
    normalization::{Way, normalize},
    pools::Pools,
};
use crate::network::{
    encoding::{PLANES, encode},
    normalization::Normalization,
    values::Values,
};

/// Weights with the normalisations in them.
#[derive(Debug, Clone)]
pub(in crate::network) struct Settled {
    /// As in the layout; those of the normalisations are not used.
    weights: Vec<f32>,
    /// The summands of each layer.
    shifts: Vec<Vec<f32>>,
}

impl Settled {
    pub(in crate::network) fn new(model: &Model, values: Values) -> Self {
        let mut weights = values.weights.to_vec();
        let shifts = model
            .layers
            .iter()
            .map(|layer| {
                let by = Normalization::new(
                    values.statistics[layer.mean.clone()].to_vec(),
                    values.statistics[layer.variance.clone()].to_vec(),
                    &values.weights[layer.scale.clone()],
                    &values.weights[layer.shift.clone()],
                );
                for row in weights[layer.weights.clone()].chunks_exact_mut(by.scale.len()) {
                    for (weight, scale) in row.iter_mut().zip(&by.scale) {
                        *weight *= scale;
                    }
                }
                by.shift
            })
            .collect();
        Self { weights, shifts }
    }
}

/// Room for one group.
#[derive(Debug)]
pub(in crate::network) struct Inference<'m> {
    model: &'m Model,
    settled: &'m Settled,
    instructions: Instructions,
    /// What each layer and, last, the head reads, with margins.
    inputs: Vec<Vec<f32>>,
    /// The result of a layer that is not read one for one.
    result: Vec<f32>,
    /// What leaves a result as it is.
    identity: Vec<Normalization>,
    bottom: Pools,
    top: Pools,
    pooled: Vec<f32>,
    hidden: Vec<f32>,
    planes: Vec<f32>,
    /// At each channel, for each class: heat, ln amplitude, offset, ln sigma (length × 12 × lanes).
    pub(in crate::network) told: Vec<f32>,
    /// Logits of the counts (K + 1 × lanes).
    pub(in crate::network) counts: Vec<f32>,
}

impl<'m> Inference<'m> {
    pub(in crate::network) fn new(
        model: &'m Model,
        settled: &'m Settled,
        channels: usize,
        instructions: Instructions,
    ) -> Self {
        let convolutions: Vec<_> = (0..=model.layers.len()).map(|l| *model.reader(l)).collect();
        let layers = &convolutions[..model.layers.len()];
        let pools = |layer: usize| Pools::new(layers[layer].filters, layers[layer].length);
        let identity = |features: usize| Normalization {
            scale: vec![1.0; features],
            shift: vec![0.0; features],
            ..Normalization::default()
        };
        Self {
            model,
            settled,
            instructions,
            inputs: convolutions.iter().map(|c| vec![0.0; c.input_size()]).collect(),
            result: vec![0.0; layers.iter().map(Convolution::output_size).max().unwrap_or(0)],
            identity: layers.iter().map(|c| identity(c.filters)).collect(),
            bottom: pools(model.bottom),
            top: pools(model.top),
            pooled: vec![0.0; model.hidden.convolution.input_size()],
            hidden: vec![0.0; model.hidden.convolution.output_size()],
            planes: vec![0.0; channels * PLANES],
            told: vec![0.0; model.head.convolution.output_size()],
            counts: vec![0.0; model.count.convolution.output_size()],
        }
    }

    /// Takes in a spectrum in units of its noise rms, not finite where a channel is missing.
    pub(in crate::network) fn read(&mut self, lane: usize, observed: &[f32]) {
        encode(observed, INPUT_SCALE, &mut self.planes);
        let input = &mut self.inputs[0][self.model.layers[0].convolution.interior()];
        for (value, to) in self.planes.iter().zip(input.chunks_exact_mut(LANES)) {
            to[lane] = *value;
        }
    }

    /// Makes `told` and `counts` of what was read.
    pub(in crate::network) fn run(&mut self) {
        let (model, with) = (self.model, self.instructions);
        for (index, layer) in model.layers.iter().enumerate() {
            let finish = Finish { bias: Some(&self.settled.shifts[index]), rectify: true };
            let weights = &self.settled.weights[layer.weights.clone()];
            let place = |reader: &super::model::Reader| {
                let convolution = model.reader(reader.layer);
                let interior = convolution.interior();
                (interior.start + reader.feature * LANES..interior.end, convolution.inputs * LANES)
            };
            if let [reader] = &layer.readers[..]
                && reader.way == Way::Copy
            {
                let (range, step) = place(reader);
                let (before, after) = self.inputs.split_at_mut(index + 1);
                let output = &mut after[reader.layer - index - 1][range];
                layer.convolution.forward(with, weights, &before[index], finish, output, step);
                continue;
            }
            let result = &mut self.result[..layer.convolution.output_size()];
            let step = layer.convolution.filters * LANES;
            layer.convolution.forward(with, weights, &self.inputs[index], finish, result, step);
            if index == model.bottom {
                self.bottom.forward(result, step);
            }
            for reader in &layer.readers {
                let (range, step) = place(reader);
                let output = &mut self.inputs[reader.layer][range];
                normalize(with, &self.identity[index], reader.way, result, output, step);
            }
        }
        let top = &self.inputs[model.layers.len()];
        self.top.forward(top, model.head.convolution.inputs * LANES);
        let (first, second) = self.pooled.split_at_mut(self.bottom.values.len());
        first.copy_from_slice(&self.bottom.values);
        second.copy_from_slice(&self.top.values);
        let weights = &self.settled.weights;
        let apply = |layer: &Plain, input: &[f32], rectify, output: &mut [f32]| {
            let finish = Finish { bias: Some(&weights[layer.bias.clone()]), rectify };
            let step = layer.convolution.filters * LANES;
            let matrix = &weights[layer.weights.clone()];
            layer.convolution.forward(with, matrix, input, finish, output, step);
        };
        apply(&model.head, top, false, &mut self.told);
        apply(&model.hidden, &self.pooled, true, &mut self.hidden);
        apply(&model.count, &self.hidden, false, &mut self.counts);
    }
}
