//! Dropout: in training, values are zeroed at random and the others scaled so that the mean stays.

use rand_chacha::rand_core::Rng;
use rayon::prelude::*;

use crate::network::random::{Purpose, generator};

/// What the masks of one batch depend on besides layer and row.
#[derive(Debug, Clone, Copy)]
pub(in crate::network) struct Dropout<'a> {
    /// The share of values that is dropped.
    pub(in crate::network) share: f64,
    /// The seed of the training.
    pub(in crate::network) seed: u64,
    /// The epoch.
    pub(in crate::network) epoch: usize,
    /// The example in each row of the batch.
    pub(in crate::network) rows: &'a [usize],
}

impl Dropout<'_> {
    /// Multiplies `values` (rows × features) by the mask of `layer`: 0, or 1 / (1 - share).
    ///
    /// The mask depends on nothing but seed, epoch, layer and example, so the backward pass applies the same call to the
    /// gradient.
    pub(in crate::network) fn apply(&self, layer: usize, features: usize, values: &mut [f32]) {
        if self.share <= 0.0 {
            return;
        }
        let threshold = (self.share * 65536.0) as u32;
        let kept = (1.0 / (1.0 - f64::from(threshold) / 65536.0)) as f32;
        values.par_chunks_mut(features).zip(self.rows).for_each(|(values, &row)| {
            let index = [self.epoch as u64, layer as u64];
            let mut generator = generator(self.seed, Purpose::Dropout, index, row as u64);
            for pair in values.chunks_mut(2) {
                let bits = generator.next_u32();
                for (value, bits) in pair.iter_mut().zip([bits & 0xffff, bits >> 16]) {
                    *value *= if bits < threshold { 0.0 } else { kept };
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mask_keeps_the_mean_and_depends_on_every_index() {
        let dropout = Dropout { share: 0.25, seed: 1, epoch: 2, rows: &[3, 4] };
        let mask = |dropout: Dropout, layer| {
            let mut values = vec![1.0; 2 * 4001];
            dropout.apply(layer, 4001, &mut values);
            values
        };
        let first = mask(dropout, 0);
        let dropped = first.iter().filter(|v| **v == 0.0).count() as f64;
        // Binomial: 8002 draws at 0.25, five standard deviations.
        assert!((dropped - 2000.5).abs() < 5.0 * 38.7);
        assert!(first.iter().all(|v| *v == 0.0 || (v - 4.0 / 3.0).abs() < 1e-6));
        assert_eq!(first, mask(dropout, 0));
        assert_ne!(first, mask(dropout, 1));
        assert_ne!(first, mask(Dropout { epoch: 3, ..dropout }, 0));
        assert_ne!(first, mask(Dropout { seed: 3, ..dropout }, 0));
        assert_ne!(first[..4001], first[4001..]);
        // A row keeps its mask wherever it stands in the batch.
        let swapped = mask(Dropout { rows: &[4, 3], ..dropout }, 0);
        assert_eq!(first[..4001], swapped[4001..]);
    }
}
