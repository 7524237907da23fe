//! Which rows are for training, validation and test.

use serde::{Deserialize, Serialize};

use super::random::{Draws, Purpose};

const SPLIT: Purpose = Purpose::new("split");

/// The rows among which the fractions are exact.
pub const SPLIT_BLOCK: u64 = 1_000;

/// The rows that are put into random order together: a prefix of a block of rows has nearly the
/// right fractions too, which matters when there are few rows.
const HAND: usize = 20;

/// What a row is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Membership {
    /// The network learns from the row.
    Training,
    /// The row tells when to stop learning.
    Validation,
    /// The row is only ever used to evaluate.
    Test,
}

/// The memberships in the order of the numbers that stand for them in arrays (0, 1, 2).
pub const MEMBERSHIPS: [Membership; 3] =
    [Membership::Training, Membership::Validation, Membership::Test];

/// Why rows can't be split so.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SplitError {
    /// A fraction lies outside 0 to 1.
    #[error("the fraction for {name} must lie between 0 and 1, and {value} does not")]
    Fraction {
        /// Which of the three.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// The fractions don't add up to one.
    #[error(
        "the fractions for training, validation and test must add up to 1, and their sum is {sum}"
    )]
    Sum {
        /// What they add up to.
        sum: f64,
    },
}

/// A seeded assignment of rows to memberships.
///
/// Within each block of [`SPLIT_BLOCK`] rows, the memberships are laid out evenly and permuted
/// within hands of twenty rows, by the seed and the number of the block. So the fractions are exact (to one row) on
/// full blocks, and a row's membership depends on nothing but the seed, the fractions and the
/// row: it stays when the number of rows grows.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    seed: u64,
    /// The rows of each membership in a block; they add up to [`SPLIT_BLOCK`].
    quotas: [u64; 3],
}

impl Split {
    /// Splits by these fractions, which add up to one.
    ///
    /// # Errors
    ///
    /// Where a fraction lies outside 0 to 1, or their sum isn't 1 (to 10⁻⁶).
    pub fn new(seed: u64, training: f64, validation: f64, test: f64) -> Result<Self, SplitError> {
        let fractions = [training, validation, test];
        for (name, value) in ["training", "validation", "test"].into_iter().zip(fractions) {
            if !(0.0..=1.0).contains(&value) {
                return Err(SplitError::Fraction { name, value });
            }
        }
        let sum = training + validation + test;
        if (sum - 1.0).abs() > 1e-6 {
            return Err(SplitError::Sum { sum });
        }
        Ok(Self { seed, quotas: quotas(fractions) })
    }

    /// The membership of each of `rows`.
    pub fn memberships(&self, rows: std::ops::Range<u64>) -> Vec<Membership> {
        let mut members = Vec::with_capacity(rows.end.saturating_sub(rows.start) as usize);
        let mut row = rows.start;
        while row < rows.end {
            let block = row / SPLIT_BLOCK;
            let first = block * SPLIT_BLOCK;
            let end = rows.end.min(first.saturating_add(SPLIT_BLOCK));
            let layout = self.block(block);
            members.extend_from_slice(&layout[(row - first) as usize..(end - first) as usize]);
            row = end;
        }
        members
    }

    /// The rows of 0..`count` that have this membership, in ascending order.
    pub fn rows(&self, membership: Membership, count: u64) -> Vec<u64> {
        (0..count)
            .zip(self.memberships(0..count))
            .filter_map(|(row, member)| (member == membership).then_some(row))
            .collect()
    }

    fn block(&self, block: u64) -> Vec<Membership> {
        let mut layout = Vec::with_capacity(SPLIT_BLOCK as usize);
        let mut given = [0; 3];
        for placed in 1..=SPLIT_BLOCK {
            // The next row goes to whom most is owed. The debts always add up to one row, so the largest is
            // positive, and at the end of the block all are zero.
            let mut next = 0;
            let owed = |class: usize, given: &[u64; 3]| {
                (self.quotas[class] * placed) as i64 - (SPLIT_BLOCK * given[class]) as i64
            };
            for class in 1..3 {
                if owed(class, &given) > owed(next, &given) {
                    next = class;
                }
            }
            given[next] += 1;
            layout.push(MEMBERSHIPS[next]);
        }
        let mut draws = Draws::new(self.seed, SPLIT, block);
        for hand in layout.chunks_mut(HAND) {
            draws.shuffle(hand);
        }
        layout
    }
}

/// Whole rows of a block for the fractions, by largest remainder; the sum is the block.
fn quotas(fractions: [f64; 3]) -> [u64; 3] {
    let exact = fractions.map(|f| f * SPLIT_BLOCK as f64);
    // A hair above the product keeps 0.29 × 1000 = 289.99999999999994 at 290.
    let mut rows = exact.map(|e| (e + 1e-6).floor() as u64);
    while rows.iter().sum::<u64>() < SPLIT_BLOCK {
        let mut neediest = 0;
        for class in 1..3 {
            if exact[class] - rows[class] as f64 > exact[neediest] - rows[neediest] as f64 {
                neediest = class;
            }
        }
        rows[neediest] += 1;
    }
    rows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fractions() -> impl Strategy<Value = (f64, f64)> {
        (0.0..=1.0, 0.0..=1.0).prop_map(|(a, b): (f64, f64)| (a.min(b), (a - b).abs()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn every_row_has_one_place_and_keeps_it(
            seed: u64, (training, validation) in fractions(), few in 0_u64..2_500, more in 0_u64..2_500,
        ) {
            let test = 1.0 - training - validation;
            let split = Split::new(seed, training, validation, test.max(0.0)).unwrap();
            let all = split.memberships(0..few + more);
            prop_assert_eq!(all.len() as u64, few + more);
            prop_assert_eq!(&split.memberships(0..few)[..], &all[..few as usize]);
            prop_assert_eq!(&split.memberships(few..few + more)[..], &all[few as usize..]);
            let mut rows: Vec<u64> =
                MEMBERSHIPS.iter().flat_map(|&m| split.rows(m, few + more)).collect();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..few + more).collect::<Vec<_>>());
        }

        #[test]
        fn fractions_are_exact_on_full_blocks(seed: u64, (training, validation) in fractions()) {
            let test = (1.0 - training - validation).max(0.0);
            let split = Split::new(seed, training, validation, test).unwrap();
            for (membership, fraction) in MEMBERSHIPS.into_iter().zip([training, validation, test]) {
                let rows = split.rows(membership, 3 * SPLIT_BLOCK).len() as f64;
                prop_assert!((rows - 3_000.0 * fraction).abs() <= 3.001, "{} for {}", rows, fraction);
            }
        }
    }

    #[test]
    fn decimal_fractions_are_exact_even_on_few_rows() {
        let split = Split::new(3, 0.8, 0.1, 0.1).unwrap();
        for (membership, tenths) in MEMBERSHIPS.into_iter().zip([8, 1, 1]) {
            assert_eq!(split.rows(membership, 1_000).len(), 100 * tenths);
            assert_eq!(split.rows(membership, 20).len(), 2 * tenths);
        }
        assert_eq!(quotas([0.29, 0.29, 0.42]), [290, 290, 420]);
    }

    #[test]
    fn another_seed_or_block_splits_otherwise() {
        let one = Split::new(1, 0.5, 0.25, 0.25).unwrap().memberships(0..2_000);
        let two = Split::new(2, 0.5, 0.25, 0.25).unwrap().memberships(0..2_000);
        assert_ne!(one, two);
        assert_ne!(one[..1_000], one[1_000..]);
    }

    #[test]
    fn impossible_fractions_are_refused() {
        assert!(matches!(Split::new(0, 0.5, 0.1, 0.1), Err(SplitError::Sum { .. })));
        assert!(matches!(
            Split::new(0, 1.5, -0.5, 0.0),
            Err(SplitError::Fraction { name: "training", .. })
        ));
        assert!(Split::new(0, f64::NAN, 0.5, 0.5).is_err());
    }
}
