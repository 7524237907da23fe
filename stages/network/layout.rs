//! Where each named tensor lies in the flat arrays of weights and of running statistics.

use std::ops::Range;

use super::architecture::Architecture;

/// One tensor's name, shape and place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorPlace {
    /// The name in a checkpoint, such as `block0.convolution.kernel3.weight`.
    pub name: String,
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// Where its values lie in the flat array.
    pub range: Range<usize>,
}

/// The tensors of a network: what is learned, and what batch normalisation keeps beside it.
///
/// Shapes: a convolution's weight is (tap, input, filter), a dense layer's is (input, output).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Learned values, in the order of the forward pass.
    pub weights: Vec<TensorPlace>,
    /// Running means and variances, in the same order.
    pub statistics: Vec<TensorPlace>,
}

impl Layout {
    /// The layout of `architecture`, which must have passed its check.
    pub fn new(architecture: &Architecture) -> Self {
        let mut weights = List::default();
        let mut statistics = List::default();
        let width = architecture.block_width();
        let mut normalize = |weights: &mut List, layer: &str, features: usize| {
            weights.push(format!("{layer}.normalization.weight"), &[features]);
            weights.push(format!("{layer}.normalization.bias"), &[features]);
            statistics.push(format!("{layer}.normalization.mean"), &[features]);
            statistics.push(format!("{layer}.normalization.variance"), &[features]);
        };
        let mut inputs = super::encoding::PLANES;
        for block in 0..architecture.blocks {
            let layer = format!("block{block}");
            for kernel in &architecture.kernels {
                weights.push(
                    format!("{layer}.convolution.kernel{kernel}.weight"),
                    &[*kernel, inputs, architecture.filters],
                );
            }
            normalize(&mut weights, &layer, width);
            inputs = width;
        }
        let mut inputs = architecture.features();
        for (index, &outputs) in architecture.dense.iter().enumerate() {
            let layer = format!("dense{index}");
            weights.push(format!("{layer}.weight"), &[inputs, outputs]);
            normalize(&mut weights, &layer, outputs);
            inputs = outputs;
        }
        weights.push("head.weight".to_owned(), &[inputs, architecture.outputs()]);
        weights.push("head.bias".to_owned(), &[architecture.outputs()]);
        Self { weights: weights.places, statistics: statistics.places }
    }

    /// How many values are learned.
    pub fn weight_count(&self) -> usize {
        end(&self.weights)
    }

    /// How many running statistics there are.
    pub fn statistic_count(&self) -> usize {
        end(&self.statistics)
    }
}

fn end(places: &[TensorPlace]) -> usize {
    places.last().map_or(0, |place| place.range.end)
}

#[derive(Default)]
struct List {
    places: Vec<TensorPlace>,
}

impl List {
    fn push(&mut self, name: String, shape: &[usize]) {
        let start = end(&self.places);
        let size: usize = shape.iter().product();
        self.places.push(TensorPlace { name, shape: shape.to_vec(), range: start..start + size });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_adjacent_and_shapes_follow_the_architecture() {
        let layout = Layout::new(&Architecture::new(141, 3));
        let mut next = 0;
        for place in &layout.weights {
            assert_eq!(place.range.start, next);
            assert_eq!(place.range.len(), place.shape.iter().product::<usize>());
            next = place.range.end;
        }
        assert_eq!(layout.weight_count(), next);
        let of = |name: &str| {
            let place = layout.weights.iter().find(|place| place.name == name);
            place.map(|place| place.shape.clone())
        };
        assert_eq!(of("block1.convolution.kernel15.weight"), Some(vec![15, 48, 16]));
        assert_eq!(of("dense0.weight"), Some(vec![8 * 48, 256]));
        assert_eq!(of("head.bias"), Some(vec![13]));
        assert_eq!(layout.statistic_count(), 2 * (4 * 48 + 256 + 128));
    }
}
