//! Counter-based randomness: every draw is a pure function of a seed, a purpose and a row.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream of draws is for; two purposes never share a stream.
///
/// Declare it as a constant: a name that is too long then fails to compile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purpose([u8; 24]);

impl Purpose {
    /// The purpose called `name`.
    ///
    /// # Panics
    ///
    /// Where the name is longer than 24 bytes or ends with a zero byte, which would make it
    /// equal to a shorter one. In a `const` that is a compile-time error.
    pub const fn new(name: &str) -> Self {
        let bytes = name.as_bytes();
        assert!(bytes.len() <= 24, "the name of a purpose has at most 24 bytes");
        assert!(
            bytes.is_empty() || bytes[bytes.len() - 1] != 0,
            "the name of a purpose must not end with a zero byte"
        );
        let mut key = [0; 24];
        let mut i = 0;
        while i < bytes.len() {
            key[i] = bytes[i];
            i += 1;
        }
        Self(key)
    }
}

/// The random numbers of one row for one purpose.
///
/// The generator is `ChaCha8`. Its key is the seed (8 bytes, little-endian) followed by the name
/// of the purpose padded with zeros to 24 bytes; its stream is the row. So draws for different
/// seeds, purposes and rows are independent, and any of them can be made without the others.
#[derive(Debug, Clone)]
pub struct Draws {
    generator: ChaCha8Rng,
    /// The second value of the last Box–Muller pair.
    spare: Option<f64>,
}

impl Draws {
    /// The draws of `row` for `purpose` under `seed`, from their beginning.
    pub fn new(seed: u64, purpose: Purpose, row: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..].copy_from_slice(&purpose.0);
        let mut generator = ChaCha8Rng::from_seed(key);
        generator.set_stream(row);
        Self { generator, spare: None }
    }

    /// Sixty-four random bits.
    pub fn bits(&mut self) -> u64 {
        self.generator.next_u64()
    }

    /// A number from [0, 1), a multiple of 2⁻⁵³.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// A number uniform between `low` and `high`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// An index uniform over 0..`n`, without modulo bias (Lemire 2019, doi:10.1145/3230636).
    ///
    /// # Panics
    ///
    /// Where `n` is zero: there is no such index.
    pub fn index(&mut self, n: u64) -> u64 {
        assert!(n > 0, "an index needs at least one value to choose from");
        let rejected_below = n.wrapping_neg() % n;
        loop {
            let product = u128::from(self.bits()) * u128::from(n);
            if product as u64 >= rejected_below {
                return (product >> 64) as u64;
            }
        }
    }

    /// A standard normal deviate, by the Box–Muller transform.
    ///
    /// Uses `libm` throughout, so that the bits are the same on every machine.
    pub fn normal(&mut self) -> f64 {
        if let Some(value) = self.spare.take() {
            return value;
        }
        // 1 − u lies in (0, 1], where the logarithm is finite.
        let radius = (-2.0 * libm::log(1.0 - self.unit())).sqrt();
        let angle = 2.0 * std::f64::consts::PI * self.unit();
        self.spare = Some(radius * libm::sin(angle));
        radius * libm::cos(angle)
    }

    /// Puts `items` into a uniformly random order (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: Purpose = Purpose::new("test");
    const OTHER: Purpose = Purpose::new("other");

    #[test]
    fn values_are_pinned() {
        let mut draws = Draws::new(7, TEST, 3);
        let bits = [draws.bits(), draws.bits()];
        let mut draws = Draws::new(7, TEST, 3);
        let normals = [draws.normal(), draws.normal()].map(f64::to_bits);
        let mut draws = Draws::new(7, TEST, 3);
        let indices: Vec<u64> = (0..8).map(|_| draws.index(10)).collect();
        assert_eq!(bits, [15_482_616_193_830_300_122, 10_533_814_325_409_147_038]);
        assert_eq!(normals, [0xbffb_991c_e61f_c80b, 0xbfea_6a39_38c9_6287]);
        assert_eq!(indices, [8, 5, 6, 7, 6, 8, 5, 4]);
    }

    #[test]
    fn seed_purpose_and_row_each_change_the_draws() {
        let first = Draws::new(1, TEST, 1).bits();
        assert_ne!(first, Draws::new(2, TEST, 1).bits());
        assert_ne!(first, Draws::new(1, OTHER, 1).bits());
        assert_ne!(first, Draws::new(1, TEST, 2).bits());
        assert_eq!(first, Draws::new(1, TEST, 1).bits());
    }

    #[test]
    fn normals_have_the_moments_and_tails_of_the_normal_distribution() {
        let n = 200_000;
        let mut draws = Draws::new(11, TEST, 0);
        let values: Vec<f64> = (0..n).map(|_| draws.normal()).collect();
        let moment = |k: i32| values.iter().map(|v| v.powi(k)).sum::<f64>() / f64::from(n);
        assert!(moment(1).abs() < 0.01, "mean {}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.015, "variance {}", moment(2));
        assert!(moment(3).abs() < 0.04, "skewness {}", moment(3));
        assert!((moment(4) - 3.0).abs() < 0.1, "kurtosis {}", moment(4));
        let beyond = values.iter().filter(|v| v.abs() > 2.0).count() as f64 / f64::from(n);
        assert!((beyond - 0.0455).abs() < 0.002, "beyond two sigma {beyond}");
        let pairs = values.windows(2).map(|w| w[0] * w[1]).sum::<f64>() / f64::from(n);
        assert!(pairs.abs() < 0.01, "neighbours correlate: {pairs}");
    }

    #[test]
    fn indices_are_uniform() {
        let mut seen = [0_u32; 7];
        let mut draws = Draws::new(5, TEST, 0);
        for _ in 0..70_000 {
            seen[draws.index(7) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| n.abs_diff(10_000) < 500), "{seen:?}");
        assert_eq!(draws.index(1), 0);
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        Draws::new(5, TEST, 0).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
