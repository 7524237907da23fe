//! The layers of a network in order, and where their values lie; forward for prediction.

use std::ops::Range;

use super::architecture::Architecture;
use super::convolution::Convolution;
use super::dense::{Dense, ROWS, add_bias};
use super::layout::layout;
use super::pooling::Pooling;
use super::rectification;
use crate::network::encoding::{PLANES, encode};
use crate::network::layout::Layout;
use crate::network::normalization::Normalization;

/// Where a batch normalisation's values lie.
#[derive(Debug, Clone)]
pub(in crate::network) struct NormalizationPlace {
    /// Among the weights: the factor.
    pub(in crate::network) weight: Range<usize>,
    /// Among the weights: the summand.
    pub(in crate::network) bias: Range<usize>,
    /// Among the statistics: running means.
    pub(in crate::network) mean: Range<usize>,
    /// Among the statistics: running variances.
    pub(in crate::network) variance: Range<usize>,
}

/// Convolutions, normalisation, `ReLU` and pooling.
#[derive(Debug, Clone)]
pub(in crate::network) struct Block {
    pub(in crate::network) convolution: Convolution,
    pub(in crate::network) pooling: Pooling,
    /// Of all kernels together.
    pub(in crate::network) weights: Range<usize>,
    pub(in crate::network) normalization: NormalizationPlace,
}

/// A dense layer, normalisation and `ReLU`.
#[derive(Debug, Clone)]
pub(in crate::network) struct Hidden {
    pub(in crate::network) dense: Dense,
    pub(in crate::network) weights: Range<usize>,
    pub(in crate::network) normalization: NormalizationPlace,
}

/// A network's layers, without their values.
#[derive(Debug, Clone)]
pub(in crate::network) struct Model {
    pub(in crate::network) blocks: Vec<Block>,
    pub(in crate::network) hidden: Vec<Hidden>,
    pub(in crate::network) head: Dense,
    pub(in crate::network) head_weights: Range<usize>,
    pub(in crate::network) head_bias: Range<usize>,
    pub(in crate::network) layout: Layout,
    pub(in crate::network) slots: usize,
    pub(in crate::network) channels: usize,
}

impl Model {
    /// The layers of an architecture that has passed its check.
    pub(in crate::network) fn new(architecture: &Architecture) -> Self {
        let layout = layout(architecture);
        let mut weights = layout.weights.iter().map(|place| place.range.clone());
        let mut statistics = layout.statistics.iter().map(|place| place.range.clone());
        let mut next = move || weights.next().unwrap_or_default();
        let mut normalization = |next: &mut dyn FnMut() -> Range<usize>| NormalizationPlace {
            weight: next(),
            bias: next(),
            mean: statistics.next().unwrap_or_default(),
            variance: statistics.next().unwrap_or_default(),
        };
        let width = architecture.block_width();
        let mut blocks = Vec::new();
        for index in 0..architecture.blocks {
            let convolution = Convolution {
                inputs: if index == 0 { PLANES } else { width },
                filters: architecture.filters,
                kernels: architecture.kernels.clone(),
                length: architecture.length(index),
            };
            let first = next();
            // The kernels' weights are adjacent.
            let end = (1..architecture.kernels.len()).fold(first.end, |_, _| next().end);
            blocks.push(Block {
                pooling: Pooling { length: convolution.length, features: width },
                convolution,
                weights: first.start..end,
                normalization: normalization(&mut next),
            });
        }
        let mut inputs = architecture.features();
        let mut hidden = Vec::new();
        for &outputs in &architecture.dense {
            hidden.push(Hidden {
                dense: Dense { inputs, outputs },
                weights: next(),
                normalization: normalization(&mut next),
            });
            inputs = outputs;
        }
        let (head_weights, head_bias) = (next(), next());
        Self {
            blocks,
            hidden,
            head: Dense { inputs, outputs: architecture.outputs() },
            head_weights,
            head_bias,
            layout: layout.clone(),
            slots: architecture.slots,
            channels: architecture.channels,
        }
    }

    /// Values that the last block hands on.
    pub(in crate::network) fn features(&self) -> usize {
        self.blocks.last().map_or(0, |block| block.pooling.output_size())
    }

    /// The normalisations in order, blocks first.
    pub(in crate::network) fn normalizations(&self) -> impl Iterator<Item = &NormalizationPlace> {
        self.blocks
            .iter()
            .map(|block| &block.normalization)
            .chain(self.hidden.iter().map(|hidden| &hidden.normalization))
    }

    /// The normalisations of prediction, from running statistics.
    pub(in crate::network) fn settled(
        &self,
        weights: &[f32],
        statistics: &[f32],
    ) -> Vec<Normalization> {
        self.normalizations()
            .map(|place| {
                Normalization::new(
                    statistics[place.mean.clone()].to_vec(),
                    statistics[place.variance.clone()].to_vec(),
                    &weights[place.weight.clone()],
                    &weights[place.bias.clone()],
                )
            })
            .collect()
    }
}

/// Room for predicting [`ROWS`] spectra at a time on one thread.
///
/// Each spectrum's convolutions are products of their own, and the dense layers always multiply [`ROWS`] rows, the missing
/// ones being zero: so a spectrum's bits do not depend on which others it is predicted with.
#[derive(Debug)]
pub(in crate::network) struct Inference<'m> {
    model: &'m Model,
    inputs: Vec<Vec<f32>>,
    convolved: Vec<f32>,
    rows: Vec<Vec<f32>>,
    raw: Vec<f32>,
}

impl<'m> Inference<'m> {
    pub(in crate::network) fn new(model: &'m Model) -> Self {
        let widest = model.hidden.iter().map(|hidden| hidden.dense.outputs);
        let longest = model.blocks.iter().map(|block| block.convolution.output_size());
        let rows = [model.features()]
            .into_iter()
            .chain(model.hidden.iter().map(|hidden| hidden.dense.outputs))
            .chain([model.head.outputs])
            .map(|width| vec![0.0; ROWS * width])
            .collect();
        Self {
            model,
            inputs: model
                .blocks
                .iter()
                .map(|block| vec![0.0; block.convolution.input_size()])
                .collect(),
            convolved: vec![0.0; longest.max().unwrap_or(0)],
            rows,
            raw: vec![0.0; ROWS * widest.max().unwrap_or(0)],
        }
    }

    /// What the heads say of at most [`ROWS`] scaled spectra: rows × (3K + K + 1).
    pub(in crate::network) fn run<'s>(
        &mut self,
        weights: &[f32],
        settled: &[Normalization],
        scale: f32,
        spectra: impl Iterator<Item = &'s [f32]>,
    ) -> &[f32] {
        let features = self.model.features();
        let mut count = 0;
        for (spectrum, result) in spectra.zip(self.rows[0].chunks_exact_mut(features)) {
            count += 1;
            if let Some(first) = self.model.blocks.first() {
                encode(spectrum, scale, &mut self.inputs[0][first.convolution.interior()]);
            }
            for (index, block) in self.model.blocks.iter().enumerate() {
                let convolved = &mut self.convolved[..block.convolution.output_size()];
                block.convolution.forward(
                    &weights[block.weights.clone()],
                    &self.inputs[index],
                    convolved,
                );
                let pooled = match self.model.blocks.get(index + 1) {
                    Some(next) => &mut self.inputs[index + 1][next.convolution.interior()],
                    None => &mut *result,
                };
                block.pooling.forward(&settled[index], convolved, pooled);
            }
        }
        self.rows[0][count * features..].fill(0.0);
        for (index, hidden) in self.model.hidden.iter().enumerate() {
            let raw = &mut self.raw[..ROWS * hidden.dense.outputs];
            let (before, after) = self.rows.split_at_mut(index + 1);
            hidden.dense.forward(&weights[hidden.weights.clone()], &before[index], raw);
            let by = &settled[self.model.blocks.len() + index];
            rectification::forward(by, raw, &mut after[0]);
        }
        let last = self.model.hidden.len();
        let (before, after) = self.rows.split_at_mut(last + 1);
        let outputs = &mut after[0];
        let head = self.model.head;
        head.forward(&weights[self.model.head_weights.clone()], &before[last], outputs);
        add_bias(&weights[self.model.head_bias.clone()], outputs);
        &outputs[..count * head.outputs]
    }
}
