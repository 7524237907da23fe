//! One group of spectra on its way through the network in training: its signals, and its share in the gradient.

use super::{
    convolution::{Convolution, Finish},
    lanes::{Instructions, LANES},
    loss::Loss,
    model::{Model, Plain},
    normalization::{moments, normalize, normalize_back, receive_gradient, rectify_back},
    pools::Pools,
};
use crate::network::{
    encoding::{PLANES, encode},
    examples::Examples,
    history::LossParts,
    normalization::{Normalization, NormalizationGradient, Sums},
};

/// The divisor of the linear plane: lines of this many rms are of order 1.
pub(in crate::network) const INPUT_SCALE: f32 = 20.0;

/// The signals of a group.
#[derive(Debug)]
pub(super) struct Activations {
    /// Spectra of the batch that it holds; the other lanes mean nothing.
    pub(super) lanes: usize,
    /// What each layer and, last, the head reads, with margins.
    inputs: Vec<Vec<f32>>,
    /// What each layer yields, before normalisation.
    raw: Vec<Vec<f32>>,
    /// The gradient of `inputs` without margins; of the first none.
    input_gradients: Vec<Vec<f32>>,
    /// The gradient of a layer's result.
    gradient: Vec<f32>,
    /// The gradient of what a layer yields before normalisation, with margins.
    padded: Vec<f32>,
    pub(super) logits: Vec<f32>,
    pub(super) logit_gradient: Vec<f32>,
    bottom: Pools,
    top: Pools,
    pooled: Vec<f32>,
    pooled_gradient: Vec<f32>,
    hidden: Vec<f32>,
    hidden_gradient: Vec<f32>,
    pub(super) counts: Vec<f32>,
    pub(super) count_gradient: Vec<f32>,
    observed: Vec<f32>,
    planes: Vec<f32>,
    /// The group's share in the gradient of the weights.
    pub(super) share: Vec<f32>,
}

impl Activations {
    pub(super) fn new(model: &Model, channels: usize) -> Self {
        let convolutions: Vec<_> = (0..=model.layers.len()).map(|l| *model.reader(l)).collect();
        let hidden = &model.hidden.convolution;
        let pools = |layer: usize| {
            let convolution = model.layers[layer].convolution;
            Pools::new(convolution.filters, convolution.length)
        };
        let layers = &convolutions[..model.layers.len()];
        let largest = layers.iter().map(Convolution::output_size).max().unwrap_or(0);
        let widest = layers.iter().map(|c| c.transposed().input_size()).max().unwrap_or(0);
        let told = model.head.convolution.output_size();
        let counts = model.count.convolution.output_size();
        Self {
            lanes: 0,
            inputs: convolutions.iter().map(|c| vec![0.0; c.input_size()]).collect(),
            raw: layers.iter().map(|c| vec![0.0; c.output_size()]).collect(),
            input_gradients: convolutions
                .iter()
                .enumerate()
                .map(|(index, c)| vec![0.0; if index == 0 { 0 } else { c.interior().len() }])
                .collect(),
            gradient: vec![0.0; largest],
            padded: vec![0.0; widest],
            logits: vec![0.0; told],
            logit_gradient: vec![0.0; told],
            bottom: pools(model.bottom),
            top: pools(model.top),
            pooled: vec![0.0; hidden.input_size()],
            pooled_gradient: vec![0.0; hidden.input_size()],
            hidden: vec![0.0; hidden.output_size()],
            hidden_gradient: vec![0.0; hidden.output_size()],
            counts: vec![0.0; counts],
            count_gradient: vec![0.0; counts],
            observed: vec![0.0; channels],
            planes: vec![0.0; channels * PLANES],
            share: vec![0.0; model.layout.weight_count()],
        }
    }

    /// Takes in the spectra `rows`, at most a group.
    pub(super) fn read(&mut self, model: &Model, examples: &Examples, rows: &[usize]) {
        self.lanes = rows.len();
        self.share.fill(0.0);
        let interior = model.layers[0].convolution.interior();
        let input = &mut self.inputs[0][interior];
        input.fill(0.0);
        for (lane, &row) in rows.iter().enumerate() {
            examples.observed(row, &mut self.observed);
            encode(&self.observed, INPUT_SCALE, &mut self.planes);
            for (value, to) in self.planes.iter().zip(input.chunks_exact_mut(LANES)) {
                to[lane] = *value;
            }
        }
    }

    /// Normalises what `layer` yielded and hands it to its readers.
    pub(super) fn normalize(
        &mut self,
        model: &Model,
        layer: usize,
        by: &Normalization,
        with: Instructions,
    ) {
        for reader in &model.layers[layer].readers {
            let convolution = model.reader(reader.layer);
            let from = convolution.interior().start + reader.feature * LANES;
            let to = convolution.interior().end;
            let step = convolution.inputs * LANES;
            normalize(
                with,
                by,
                reader.way,
                &self.raw[layer],
                &mut self.inputs[reader.layer][from..to],
                step,
            );
        }
    }

    /// Convolves what `layer` reads; gives the moments of what it yields.
    pub(super) fn convolve(
        &mut self,
        model: &Model,
        layer: usize,
        weights: &[f32],
        with: Instructions,
    ) -> Sums {
        let place = &model.layers[layer];
        let convolution = &place.convolution;
        convolution.forward(
            with,
            &weights[place.weights.clone()],
            &self.inputs[layer],
            Finish::NONE,
            &mut self.raw[layer],
            convolution.filters * LANES,
        );
        moments(with, &self.raw[layer], convolution.filters, self.lanes)
    }

    /// Runs the heads on what they read, and the loss, and goes back to what the last layer yielded: gives the loss, and the
    /// sums that the last layer's normalisation needs. `share` is one over the size of the batch.
    #[expect(clippy::too_many_arguments, reason = "what goes in, and what comes out")]
    pub(super) fn backward_from_loss(
        &mut self,
        model: &Model,
        weights: &[f32],
        loss: &mut Loss,
        rows: &[usize],
        by: &Normalization,
        share: f32,
        with: Instructions,
    ) -> (LossParts, Sums) {
        let apply = |layer: &Plain, input: &[f32], rectify, output: &mut [f32]| {
            let finish = Finish { bias: Some(&weights[layer.bias.clone()]), rectify };
            let step = layer.convolution.filters * LANES;
            let matrix = &weights[layer.weights.clone()];
            layer.convolution.forward(with, matrix, input, finish, output, step);
        };
        let last = model.layers.len();
        apply(&model.head, &self.inputs[last], false, &mut self.logits);
        // The bottom stands, each position twice, in what the next layer reads.
        let reader = model.layers[model.bottom].readers[0];
        let convolution = model.reader(reader.layer);
        let from = convolution.interior().start + reader.feature * LANES;
        self.bottom.forward(&self.inputs[reader.layer][from..], 2 * convolution.inputs * LANES);
        self.top.forward(&self.inputs[last], model.head.convolution.inputs * LANES);
        let (first, second) = self.pooled.split_at_mut(self.bottom.values.len());
        first.copy_from_slice(&self.bottom.values);
        second.copy_from_slice(&self.top.values);
        apply(&model.hidden, &self.pooled, true, &mut self.hidden);
        apply(&model.count, &self.hidden, false, &mut self.counts);
        let parts = loss.evaluate(
            rows,
            &self.logits,
            &self.counts,
            share,
            &mut self.logit_gradient,
            &mut self.count_gradient,
        );
        let lanes = self.lanes;
        let mut back = |layer: &Plain,
                        input: &[f32],
                        gradient: &[f32],
                        input_gradient: &mut [f32]| {
            layer.backward(with, weights, input, gradient, lanes, &mut self.share, input_gradient);
        };
        back(&model.count, &self.hidden, &self.count_gradient, &mut self.hidden_gradient);
        for (gradient, value) in self.hidden_gradient.iter_mut().zip(&self.hidden) {
            *gradient = if *value > 0.0 { *gradient } else { 0.0 };
        }
        back(&model.hidden, &self.pooled, &self.hidden_gradient, &mut self.pooled_gradient);
        back(
            &model.head,
            &self.inputs[last],
            &self.logit_gradient,
            &mut self.input_gradients[last],
        );
        (parts, self.receive_gradient(model, model.top, by, with))
    }

    /// Collects the gradient of the result of `layer` from its readers and goes back through the rectifier: gives the sums
    /// that the normalisation needs.
    fn receive_gradient(
        &mut self,
        model: &Model,
        layer: usize,
        by: &Normalization,
        with: Instructions,
    ) -> Sums {
        let gradient = &mut self.gradient[..model.layers[layer].convolution.output_size()];
        gradient.fill(0.0);
        for reader in &model.layers[layer].readers {
            let step = model.reader(reader.layer).inputs * LANES;
            let back = &self.input_gradients[reader.layer][reader.feature * LANES..];
            receive_gradient(with, by, reader.way, &self.raw[layer], back, step, gradient);
        }
        let (bottom, top) = self.pooled_gradient.split_at(self.bottom.values.len());
        if layer == model.bottom {
            self.bottom.backward(bottom, gradient);
        } else if layer == model.top {
            self.top.backward(top, gradient);
        }
        rectify_back(with, by, &self.raw[layer], gradient, self.lanes)
    }

    /// Goes back through normalisation and convolution of `layer` to its weights and its input, then to what the layer
    /// before it yielded, whose normalisation is `before`; gives the sums that it needs.
    pub(super) fn backward_to_input(
        &mut self,
        model: &Model,
        layer: usize,
        through: &NormalizationGradient,
        mirrored: &[f32],
        before: Option<&Normalization>,
        with: Instructions,
    ) -> Option<Sums> {
        let place = &model.layers[layer];
        let convolution = &place.convolution;
        let back = convolution.transposed();
        let interior = back.interior();
        let padded = &mut self.padded[..back.input_size()];
        padded[..interior.start].fill(0.0);
        padded[interior.end..].fill(0.0);
        normalize_back(
            with,
            through,
            &self.raw[layer],
            &self.gradient[..interior.len()],
            &mut padded[interior.clone()],
        );
        convolution.backward(
            with,
            &self.inputs[layer],
            &padded[interior],
            self.lanes,
            &mut self.share[place.weights.clone()],
        );
        let before = before?;
        back.forward(
            with,
            mirrored,
            padded,
            Finish::NONE,
            &mut self.input_gradients[layer],
            convolution.inputs * LANES,
        );
        Some(self.receive_gradient(model, layer - 1, before, with))
    }
}

impl Plain {
    /// Adds the share of the first `lanes` spectra to the gradient of all weights, and writes the gradient of the input.
    #[expect(clippy::too_many_arguments, reason = "what goes in, and what comes out")]
    fn backward(
        &self,
        with: Instructions,
        weights: &[f32],
        input: &[f32],
        gradient: &[f32],
        lanes: usize,
        share: &mut [f32],
        input_gradient: &mut [f32],
    ) {
        let convolution = &self.convolution;
        convolution.backward(with, input, gradient, lanes, &mut share[self.weights.clone()]);
        let position = gradient.chunks_exact(convolution.filters * LANES);
        for gradient in position {
            let filters = gradient.as_chunks::<LANES>().0.iter();
            for (share, gradient) in share[self.bias.clone()].iter_mut().zip(filters) {
                *share += super::lanes::total(gradient, lanes);
            }
        }
        let mut mirrored = vec![0.0; convolution.weight_size()];
        convolution.mirror(&weights[self.weights.clone()], &mut mirrored);
        let step = convolution.inputs * LANES;
        let back = convolution.transposed();
        back.forward(with, &mirrored, gradient, Finish::NONE, input_gradient, step);
    }
}
