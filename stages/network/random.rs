//! Counter-based random numbers: each draw is a function of seed, purpose and index, never of what was drawn before.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What random numbers are for; numbers for different purposes are independent.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// Initial weights; the index is the tensor.
    Weights = 1,
    /// The order of training rows; the index is the epoch.
    Order = 2,
    /// Dropout; the indices are epoch, layer and row.
    Dropout = 3,
}

/// The generator for `(seed, purpose, index, stream)`.
pub(super) fn generator(seed: u64, purpose: Purpose, index: [u64; 2], stream: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    let words = [seed, purpose as u64, index[0], index[1]];
    for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    let mut generator = ChaCha8Rng::from_seed(key);
    generator.set_stream(stream);
    generator
}

/// A number from the uniform distribution on [-1, 1), a multiple of 2⁻²³.
pub(super) fn symmetric(generator: &mut impl Rng) -> f32 {
    (generator.next_u32() >> 8) as f32 / (1u32 << 23) as f32 - 1.0
}

/// The rows in the order in which an epoch visits them (Fisher and Yates).
pub(super) fn shuffled(rows: &[usize], seed: u64, epoch: usize) -> Vec<usize> {
    let mut rows = rows.to_vec();
    let mut generator = generator(seed, Purpose::Order, [epoch as u64, 0], 0);
    for last in (1..rows.len()).rev() {
        let product = u128::from(generator.next_u64()) * (last as u128 + 1);
        rows.swap(last, (product >> 64) as usize);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_a_permutation_that_depends_on_seed_and_epoch() {
        let rows: Vec<usize> = (100..400).collect();
        let first = shuffled(&rows, 7, 1);
        assert_eq!(first, shuffled(&rows, 7, 1));
        assert_ne!(first, shuffled(&rows, 7, 2));
        assert_ne!(first, shuffled(&rows, 8, 1));
        let mut sorted = first;
        sorted.sort_unstable();
        assert_eq!(sorted, rows);
    }

    #[test]
    fn draws_are_pinned() {
        let mut generator = generator(1, Purpose::Weights, [2, 3], 4);
        let draws = [0; 3].map(|_| generator.next_u32());
        assert_eq!(draws, [3_072_137_973, 1_852_872_777, 3_122_790_171]);
    }
}
