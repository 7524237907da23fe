//! Where each named tensor lies in the flat arrays of weights and of running statistics.

use std::ops::Range;

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
    /// No tensors yet.
    pub(super) fn empty() -> Self {
        Self { weights: Vec::new(), statistics: Vec::new() }
    }

    /// Adds a learned tensor behind the others.
    pub(super) fn learn(&mut self, name: String, shape: &[usize]) {
        push(&mut self.weights, name, shape);
    }

    /// Adds the weight and the bias of a batch normalisation, and its running statistics.
    pub(super) fn normalize(&mut self, layer: &str, features: usize) {
        for name in ["weight", "bias"] {
            self.learn(format!("{layer}.normalization.{name}"), &[features]);
        }
        for name in ["mean", "variance"] {
            push(&mut self.statistics, format!("{layer}.normalization.{name}"), &[features]);
        }
    }

    /// The running statistics before the first step: means of 0 and variances of 1.
    pub(super) fn initial_statistics(&self) -> Vec<f32> {
        let mut statistics = vec![0.0; self.statistic_count()];
        for place in self.statistics.iter().filter(|place| place.name.ends_with("variance")) {
            statistics[place.range.clone()].fill(1.0);
        }
        statistics
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

fn push(places: &mut Vec<TensorPlace>, name: String, shape: &[usize]) {
    let start = end(places);
    let size: usize = shape.iter().product();
    places.push(TensorPlace { name, shape: shape.to_vec(), range: start..start + size });
}
