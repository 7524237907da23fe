//! The detector's layers in order, where their values lie, and which layer reads what.

use std::ops::Range;

use super::{architecture::Architecture, convolution::Convolution, normalization::Way};
use crate::network::{
    encoding::PLANES,
    layout::Layout,
    random::{Purpose, generator, symmetric},
};

/// Classes of sigma, each with a heat of its own.
pub(in crate::network) const CLASSES: usize = 3;
/// What is told at each channel for each class: the heat's logit, ln amplitude, offset and ln sigma.
pub(in crate::network) const TOLD: usize = 4;
/// Features of the layer that decides on the count.
const HIDDEN: usize = 64;
/// The heat before the first step: nearly nothing, as in nearly all channels.
const COLD: f32 = -4.0;
/// Spectra are continued by zeros to a multiple of this many channels.
const GRAIN: usize = 4;

/// A convolution with batch normalisation and `ReLU`, and who reads its result.
#[derive(Debug, Clone)]
pub(in crate::network) struct Layer {
    /// Its sizes.
    pub(in crate::network) convolution: Convolution,
    /// Its name in checkpoints.
    name: &'static str,
    /// Among the weights: the convolution's.
    pub(in crate::network) weights: Range<usize>,
    /// Among the weights: the normalisation's factor.
    pub(in crate::network) scale: Range<usize>,
    /// Among the weights: the normalisation's summand.
    pub(in crate::network) shift: Range<usize>,
    /// Among the statistics: running means.
    pub(in crate::network) mean: Range<usize>,
    /// Among the statistics: running variances.
    pub(in crate::network) variance: Range<usize>,
    /// The readers.
    pub(in crate::network) readers: Vec<Reader>,
}

/// A layer that reads a result.
#[derive(Debug, Clone, Copy)]
pub(in crate::network) struct Reader {
    /// Its index; one past the last is the head.
    pub(in crate::network) layer: usize,
    /// How positions become its positions.
    pub(in crate::network) way: Way,
    /// The first of its input's features that this result is.
    pub(in crate::network) feature: usize,
}

/// A layer with a bias and without normalisation.
#[derive(Debug, Clone)]
pub(in crate::network) struct Plain {
    /// Its sizes.
    pub(in crate::network) convolution: Convolution,
    /// Among the weights: the matrix.
    pub(in crate::network) weights: Range<usize>,
    /// Among the weights: the bias.
    pub(in crate::network) bias: Range<usize>,
}

/// A detector's layers for spectra of some length, without their values.
#[derive(Debug, Clone)]
pub(in crate::network) struct Model {
    /// In the order of the forward pass.
    pub(in crate::network) layers: Vec<Layer>,
    /// At each channel, for each class: heat, ln amplitude, offset, ln sigma.
    pub(in crate::network) head: Plain,
    /// From the greatest and the mean of the bottom's and the top's features.
    pub(in crate::network) hidden: Plain,
    /// Logits of the counts from 0.
    pub(in crate::network) count: Plain,
    /// The layer whose result is at a quarter of the resolution.
    pub(in crate::network) bottom: usize,
    /// The layer whose result the head reads.
    pub(in crate::network) top: usize,
    pub(in crate::network) layout: Layout,
}

impl Model {
    /// The layers for spectra of `channels` channels of an architecture that has passed its check.
    pub(in crate::network) fn new(architecture: &Architecture, channels: usize) -> Self {
        let Architecture { slots, width: c } = *architecture;
        let length = channels.max(1).next_multiple_of(GRAIN);
        let read = |layer, way, feature| Reader { layer, way, feature };
        // Name, inputs, filters, kernel, halvings, readers.
        let plan = [
            ("full0", PLANES, c, 7, 0, vec![read(1, Way::Copy, 0)]),
            ("full1", c, c, 5, 0, vec![read(2, Way::Pool, 0), read(7, Way::Copy, 2 * c)]),
            ("half0", c, 2 * c, 5, 1, vec![read(3, Way::Copy, 0)]),
            ("half1", 2 * c, 2 * c, 5, 1, vec![read(4, Way::Pool, 0), read(6, Way::Copy, 2 * c)]),
            ("quarter0", 2 * c, 2 * c, 5, 2, vec![read(5, Way::Copy, 0)]),
            ("quarter1", 2 * c, 2 * c, 5, 2, vec![read(6, Way::Repeat, 0)]),
            ("half2", 4 * c, 2 * c, 5, 1, vec![read(7, Way::Repeat, 0)]),
            ("full2", 3 * c, 2 * c, 5, 0, vec![read(8, Way::Copy, 0)]),
        ];
        let mut layout = Layout::empty();
        let mut layers = Vec::new();
        for (name, inputs, filters, kernel, halvings, readers) in plan {
            layout.learn(format!("{name}.convolution.weight"), &[kernel, inputs, filters]);
            layout.normalize(name, filters);
            let [.., weights, scale, shift] = &layout.weights[..] else { unreachable!() };
            let [.., mean, variance] = &layout.statistics[..] else { unreachable!() };
            layers.push(Layer {
                convolution: Convolution { inputs, filters, kernel, length: length >> halvings },
                name,
                weights: weights.range.clone(),
                scale: scale.range.clone(),
                shift: shift.range.clone(),
                mean: mean.range.clone(),
                variance: variance.range.clone(),
                readers,
            });
        }
        let mut plain = |name: &str, inputs, filters, length| {
            layout.learn(format!("{name}.weight"), &[inputs, filters]);
            layout.learn(format!("{name}.bias"), &[filters]);
            let [.., weights, bias] = &layout.weights[..] else { unreachable!() };
            Plain {
                convolution: Convolution { inputs, filters, kernel: 1, length },
                weights: weights.range.clone(),
                bias: bias.range.clone(),
            }
        };
        let head = plain("head", 2 * c, CLASSES * TOLD, length);
        let hidden = plain("count.hidden", 8 * c, HIDDEN, 1);
        let count = plain("count.output", HIDDEN, slots + 1, 1);
        Self { layers, head, hidden, count, bottom: 5, top: 7, layout }
    }

    /// The convolution of a layer, or of the head.
    pub(in crate::network) fn reader(&self, layer: usize) -> &Convolution {
        self.layers.get(layer).map_or(&self.head.convolution, |layer| &layer.convolution)
    }

    /// Every layer's convolution, with its name.
    pub(in crate::network) fn convolutions(
        &self,
    ) -> impl Iterator<Item = (&'static str, &Convolution)> {
        let layers = self.layers.iter().map(|layer| (layer.name, &layer.convolution));
        let plain =
            [("head", &self.head), ("count.hidden", &self.hidden), ("count.output", &self.count)];
        layers.chain(plain.map(|(name, plain)| (name, &plain.convolution)))
    }

    /// Uniform weights of variance 2 / inputs before a `ReLU` (He et al. 2015) and 1 / 3 of 1 / inputs before what is told;
    /// normalisations begin as the identity, the heat low.
    pub(in crate::network) fn initial_weights(&self, seed: u64) -> Vec<f32> {
        let mut weights = vec![0.0; self.layout.weight_count()];
        for (index, place) in self.layout.weights.iter().enumerate() {
            let values = &mut weights[place.range.clone()];
            if place.name.ends_with("normalization.weight") {
                values.fill(1.0);
            } else if place.name == "head.bias" {
                values.iter_mut().step_by(TOLD).for_each(|bias| *bias = COLD);
            } else if let [inputs @ .., _] = &place.shape[..]
                && !inputs.is_empty()
            {
                let inputs: usize = inputs.iter().product();
                let last = ["head.weight", "count.output.weight"].contains(&&*place.name);
                let limit = (if last { 1.0 } else { 6.0 } / inputs as f64).sqrt() as f32;
                let mut generator = generator(seed, Purpose::Weights, [index as u64, 0], 0);
                for value in values {
                    *value = limit * symmetric(&mut generator);
                }
            }
        }
        weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_is_filled_once_and_sizes_meet() {
        for channels in [1, 3, 140, 141, 424] {
            let model = Model::new(&Architecture { slots: 6, width: 5 }, channels);
            for (index, layer) in model.layers.iter().enumerate() {
                for reader in &layer.readers {
                    let length = match reader.way {
                        Way::Copy => layer.convolution.length,
                        Way::Pool => layer.convolution.length / 2,
                        Way::Repeat => layer.convolution.length * 2,
                    };
                    assert!(reader.layer > index);
                    assert_eq!(model.reader(reader.layer).length, length);
                }
            }
            for index in 1..=model.layers.len() {
                let mut filled: Vec<Range<usize>> = model
                    .layers
                    .iter()
                    .flat_map(|layer| {
                        let filters = layer.convolution.filters;
                        layer
                            .readers
                            .iter()
                            .filter(|reader| reader.layer == index)
                            .map(move |reader| reader.feature..reader.feature + filters)
                    })
                    .collect();
                filled.sort_by_key(|range| range.start);
                let end = filled
                    .iter()
                    .try_fold(0, |end, range| (range.start == end).then_some(range.end));
                assert_eq!(end, Some(model.reader(index).inputs), "layer {index}");
            }
        }
    }

    #[test]
    fn weights_depend_on_the_seed_and_not_on_the_channels() {
        let shape = Architecture::new(2);
        let weights = Model::new(&shape, 140).initial_weights(1);
        assert_eq!(weights, Model::new(&shape, 424).initial_weights(1));
        assert_ne!(weights, Model::new(&shape, 140).initial_weights(2));
    }
}
