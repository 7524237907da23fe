//! Exponential and logarithm in `f32` without branches, so that a loop over lanes takes them all at once.

#![expect(
    clippy::inline_always,
    reason = "the bodies must be compiled for the instructions of their callers"
)]

/// exp(x) for x ≤ 0, to a few parts in 10⁷; below −87 as at −87.
///
/// x = n ln 2 + r with |r| ≤ ½ ln 2, exp(r) by its Taylor series to the sixth power, whose remainder is below 2·10⁻⁷ of it.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// Adding 1.5 · 2²³ rounds to a whole number and leaves it in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let x = if x > -87.0 { x } else { -87.0 };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, the first of few bits, so that n times it is exact.
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let series = 1.0
        + r * (1.0
            + r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r / 720.0)))));
    series * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

/// ln(1 + x) for 0 ≤ x ≤ 1, to a few parts in 10⁷.
///
/// With z = x / (2 + x) it is 2 artanh z; of its series, z ≤ ⅓, what follows z¹³ is below 2·10⁻⁸.
#[inline(always)]
pub(super) fn ln_1p(x: f32) -> f32 {
    let z = x / (2.0 + x);
    let s = z * z;
    let tail = 1.0 / 7.0 + s * (1.0 / 9.0 + s * (1.0 / 11.0 + s / 13.0));
    2.0 * z * (1.0 + s * (1.0 / 3.0 + s * (1.0 / 5.0 + s * tail)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_close_to_the_functions() {
        for step in 0..=87_000 {
            let x = -(step as f32) / 1000.0;
            let expected = libm::exp(f64::from(x));
            assert!((f64::from(exp(x)) / expected - 1.0).abs() < 5e-7, "{x}");
        }
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
        for step in 0..=100_000 {
            let x = step as f32 / 100_000.0;
            let expected = libm::log1p(f64::from(x));
            assert!((f64::from(ln_1p(x)) - expected).abs() <= 3e-7 * expected, "{x}");
        }
    }
}
