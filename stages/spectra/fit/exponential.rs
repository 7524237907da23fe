//! The exponential function of numbers that aren't positive, the same bits on every machine.

/// The part of ln 2 whose product with a whole number below 2¹¹ is exact.
const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
/// What `LN_2_HIGH` lacks.
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// 1.5 · 2⁵²: added to a small number, it leaves the nearest whole number in the lowest bits.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// Below this, the result is as good as zero, and its exponent would no longer fit.
const LEAST: f64 = -700.0;

/// eˣ for x ≤ 0, to within a unit in the last place; for x < −700 it stays at e⁻⁷⁰⁰.
///
/// x = k ln 2 + r with whole k and |r| ≤ ½ ln 2; eʳ is its Taylor polynomial, whose remainder r¹⁴/14! is below
/// 5 · 10⁻¹⁸, and 2ᵏ is made of bits. Only additions, multiplications and integer operations, one number like the
/// next, so that a compiler can take several numbers at once without changing a bit.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it must be compiled for the instructions of its caller")]
pub(super) fn exp(x: f64) -> f64 {
    let x = if x < LEAST { LEAST } else { x };
    let rounded = x * std::f64::consts::LOG2_E + ROUND;
    let k = rounded - ROUND;
    let r = (x - k * LN_2_HIGH) - k * LN_2_LOW;
    // 1/13!, 1/12!, … 1/2!.
    let mut tail = 1.605_904_383_682_161_3e-10;
    tail = tail * r + 2.087_675_698_786_81e-9;
    tail = tail * r + 2.505_210_838_544_172e-8;
    tail = tail * r + 2.755_731_922_398_589e-7;
    tail = tail * r + 2.755_731_922_398_589_3e-6;
    tail = tail * r + 2.480_158_730_158_73e-5;
    tail = tail * r + 1.984_126_984_126_984e-4;
    tail = tail * r + 1.388_888_888_888_889e-3;
    tail = tail * r + 8.333_333_333_333_333e-3;
    tail = tail * r + 4.166_666_666_666_666_4e-2;
    tail = tail * r + 1.666_666_666_666_666_6e-1;
    tail = tail * r + 0.5;
    let fraction = 1.0 + (r + r * r * tail);
    // The lowest bits of `rounded` are k in two's complement; twelve of them become the exponent.
    let power = (rounded.to_bits() << 52).wrapping_add(1023 << 52);
    fraction * f64::from_bits(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_within_a_unit_in_the_last_place() {
        let mut worst = 0;
        for i in 0..2_000_000_u32 {
            let x = -f64::from(i) * 3.499_9e-4;
            let (own, reference) = (exp(x), libm::exp(x));
            worst = worst.max(own.to_bits().abs_diff(reference.to_bits()));
        }
        assert!(worst <= 1, "{worst} units in the last place");
    }

    #[test]
    fn its_ends_are_sound() {
        assert_eq!(exp(0.0).to_bits(), 1.0_f64.to_bits());
        assert_eq!(exp(-1e300).to_bits(), exp(LEAST).to_bits());
        assert!(exp(LEAST) > 0.0);
        assert!(exp(f64::NAN).is_nan());
    }
}
