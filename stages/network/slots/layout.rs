//! The tensors of the slot network.

use super::architecture::Architecture;
use crate::network::{encoding::PLANES, layout::Layout};

/// The layout of `architecture`, which must have passed its check.
///
/// A convolution's weight is (tap, input, filter), a dense layer's is (input, output).
pub(in crate::network) fn layout(architecture: &Architecture) -> Layout {
    let mut layout = Layout::empty();
    let width = architecture.block_width();
    let mut inputs = PLANES;
    for block in 0..architecture.blocks {
        let layer = format!("block{block}");
        for kernel in &architecture.kernels {
            layout.learn(
                format!("{layer}.convolution.kernel{kernel}.weight"),
                &[*kernel, inputs, architecture.filters],
            );
        }
        layout.normalize(&layer, width);
        inputs = width;
    }
    let mut inputs = architecture.features();
    for (index, &outputs) in architecture.dense.iter().enumerate() {
        let layer = format!("dense{index}");
        layout.learn(format!("{layer}.weight"), &[inputs, outputs]);
        layout.normalize(&layer, outputs);
        inputs = outputs;
    }
    layout.learn("head.weight".to_owned(), &[inputs, architecture.outputs()]);
    layout.learn("head.bias".to_owned(), &[architecture.outputs()]);
    layout
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_adjacent_and_shapes_follow_the_architecture() {
        let layout = layout(&Architecture::new(141, 3));
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
