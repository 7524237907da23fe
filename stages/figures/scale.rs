//! Scales and their ticks: from data to a fraction of the axis, and where to put the numbers.

use super::text;

/// Maps data to 0…1 along an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub(super) low: f64,
    pub(super) high: f64,
    log: bool,
}

impl Scale {
    /// A linear scale from `low` to `high`; a range that is empty or not finite is replaced by one
    /// that can be drawn.
    pub(super) fn linear(low: f64, high: f64) -> Self {
        let (low, high) = if low.is_finite() && high.is_finite() {
            (low.min(high), low.max(high))
        } else {
            (0.0, 1.0)
        };
        // Below this share of the magnitude, ticks could not be told apart.
        let least = 1e-9 * low.abs().max(high.abs());
        if high - low > least {
            return Self { low, high, log: false };
        }
        let half = if low == 0.0 { 1.0 } else { 0.5 * low.abs() };
        Self { low: low - half, high: high + half, log: false }
    }

    /// A logarithmic scale; both ends must be positive, else it is linear.
    pub(super) fn logarithmic(low: f64, high: f64) -> Self {
        let usable = low.is_finite() && high.is_finite() && low > 0.0 && high > low;
        Self { log: usable, ..Self::linear(low, high) }
    }

    /// A linear scale which holds all finite `values` and, on either side, a share `margin` of
    /// their range.
    pub(super) fn around(values: impl Iterator<Item = f64>, margin: f64) -> Self {
        let (low, high) = extent(values).unwrap_or((0.0, 1.0));
        let pad = margin * (high - low);
        Self::linear(low - pad, high + pad)
    }

    /// Where `value` stands, 0 at the low end and 1 at the high end; not finite where a logarithm
    /// does not exist.
    pub(super) fn fraction(&self, value: f64) -> f64 {
        if self.log {
            if value > 0.0 {
                libm::log(value / self.low) / libm::log(self.high / self.low)
            } else {
                f64::NAN
            }
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// Ticks with labels, about `target` of them.
    pub(super) fn ticks(&self, target: usize, exponent: i32) -> Ticks {
        if self.log { self.decades() } else { self.even(target, exponent) }
    }

    /// Where a logarithmic axis has small ticks between its decades; nowhere on a linear one.
    pub(super) fn minor(&self) -> Vec<f64> {
        let decades = libm::log10(self.high / self.low);
        if !self.log || decades > 6.0 {
            return Vec::new();
        }
        let first = libm::floor(libm::log10(self.low)) as i32;
        let last = libm::ceil(libm::log10(self.high)) as i32;
        let parts = (first..=last).flat_map(|e| {
            let decade = libm::pow(10.0, f64::from(e));
            (2..10).map(move |factor| f64::from(factor) * decade)
        });
        parts.filter(|v| *v > self.low && *v < self.high).collect()
    }

    /// The power of ten to take out of the labels of this axis, whose values are in `unit`: 0, or a multiple of three.
    pub(super) fn exponent(&self, unit: &str) -> i32 {
        if self.log {
            return 0;
        }
        let size = self.low.abs().max(self.high.abs());
        // Four digits are read more easily than a power of ten, but not than another unit.
        let has_kilo = text::prefixed(unit, 3).is_some();
        let large = if has_kilo { 1e3 } else { 1e4 };
        if size >= large {
            let exponent = 3 * libm::floor(libm::log10(size) / 3.0) as i32;
            let is_few_kilo = has_kilo && size < 1e7 && text::prefixed(unit, exponent).is_none();
            if is_few_kilo { 3 } else { exponent }
        } else if size < 1e-3 {
            // One digit more is left to the numbers: 0.75 reads better than 750.
            3 * libm::floor((libm::log10(size) + 1.0) / 3.0) as i32
        } else {
            0
        }
    }

    fn even(&self, target: usize, exponent: i32) -> Ticks {
        let step = step(self.high - self.low, target);
        let first = libm::ceil(self.low / step - 1e-9);
        let last = libm::floor(self.high / step + 1e-9);
        let count = (last - first).clamp(0.0, 50.0) as usize;
        let unit = libm::pow(10.0, f64::from(exponent));
        let decimals = (-libm::floor(libm::log10(step / unit) + 1e-9)).clamp(0.0, 12.0) as usize;
        let values: Vec<f64> = (0..=count).map(|i| (first + i as f64) * step).collect();
        let labels = values.iter().map(|v| number(v / unit, decimals)).collect();
        Ticks { values, labels }
    }

    /// Powers of ten; where fewer than two fall on the axis, 1, 2 and 5 times them.
    fn decades(&self) -> Ticks {
        let first = libm::floor(libm::log10(self.low) - 1e-9) as i32;
        let last = libm::ceil(libm::log10(self.high) + 1e-9) as i32;
        let inside = |v: &f64| *v >= self.low * (1.0 - 1e-9) && *v <= self.high * (1.0 + 1e-9);
        let stride = ((last - first) / 6).max(1) as usize;
        let powers: Vec<i32> = (first..=last).step_by(stride).collect();
        let whole = powers.iter().map(|&e| libm::pow(10.0, f64::from(e))).filter(inside).count();
        let factors: &[f64] = if whole >= 2 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let mut ticks = Ticks { values: Vec::new(), labels: Vec::new() };
        for &e in &powers {
            for &factor in factors {
                let value = factor * libm::pow(10.0, f64::from(e));
                if inside(&value) {
                    ticks.values.push(value);
                    ticks.labels.push(if (-3..=3).contains(&e) {
                        number(value, (-e).max(0) as usize)
                    } else if factor > 1.0 {
                        format!("{factor}×{}", text::power(e))
                    } else {
                        text::power(e)
                    });
                }
            }
        }
        ticks
    }
}

/// Where an axis has ticks, and what stands beside them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ticks {
    pub(super) values: Vec<f64>,
    pub(super) labels: Vec<String>,
}

impl Ticks {
    /// The width of the widest label, in pixels.
    pub(super) fn widest(&self, size: u32) -> f64 {
        let widths = self.labels.iter().map(|l| text::width(l, size));
        widths.fold(0.0, f64::max)
    }

    /// The ticks that are whole numbers, labelled without decimals.
    pub(super) fn whole(mut self) -> Self {
        self.values.retain(|value| value.fract() == 0.0);
        self.labels = self.values.iter().map(|value| number(*value, 0)).collect();
        self
    }
}

/// The smallest and largest finite value.
pub(super) fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|v| v.is_finite()).fold(None, |range, v| {
        Some(range.map_or((v, v), |(low, high): (f64, f64)| (low.min(v), high.max(v))))
    })
}

/// 1, 2 or 5 times a power of ten, such that about `target` steps fill `range`.
fn step(range: f64, target: usize) -> f64 {
    let rough = range / target.max(1) as f64;
    let power = libm::pow(10.0, libm::floor(libm::log10(rough)));
    let factor = match rough / power {
        f if f < 1.5 => 1.0,
        f if f < 3.5 => 2.0,
        f if f < 7.5 => 5.0,
        _ => 10.0,
    };
    factor * power
}

/// A number with a true minus sign and no negative zero; one of very many digits with a power of ten.
pub(super) fn number(value: f64, decimals: usize) -> String {
    const LONGEST: f64 = 1e9;
    if value.is_finite() && value.abs() >= LONGEST {
        let exponent = libm::floor(libm::log10(value.abs()));
        let factor = number(value / libm::pow(10.0, exponent), 1);
        return format!("{factor}×{}", text::power(exponent as i32));
    }
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| c == '0' || c == '.') => rest.to_string(),
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let ticks = Scale::linear(1204.8, 1907.1).ticks(4, 0);
        assert_eq!(ticks.labels, ["1400", "1600", "1800"]);
        let ticks = Scale::linear(-0.0031, 0.0512).ticks(3, 0);
        assert_eq!(ticks.labels, ["0.00", "0.02", "0.04"]);
        let ticks = Scale::linear(-0.002, 0.002).ticks(2, 0);
        assert_eq!(ticks.labels, ["−0.002", "0.000", "0.002"]);
    }

    #[test]
    fn powers_of_ten_come_out_in_threes() {
        assert_eq!(Scale::linear(0.0, 0.05).exponent("K"), 0);
        assert_eq!(Scale::linear(-5000.0, 85_000.0).exponent("m/s"), 3);
        assert_eq!(Scale::linear(0.0, 5000.0).exponent("K m/s"), 3);
        assert_eq!(Scale::linear(0.0, 5e6).exponent("m/s"), 3);
        assert_eq!(Scale::linear(0.0, 5e7).exponent("m/s"), 6);
        assert_eq!(Scale::linear(0.0, 5e6).exponent("Hz"), 6);
        assert_eq!(Scale::linear(0.0, 5e6).exponent("K"), 6);
        assert_eq!(Scale::linear(0.0, 5000.0).exponent("K"), 0);
        assert_eq!(Scale::linear(-7.5e-4, 7.5e-4).exponent("K"), -3);
        let hertz = Scale::linear(1.1020e11, 1.1025e11);
        assert_eq!(hertz.exponent("Hz"), 9);
        assert_eq!(hertz.ticks(3, 9).labels, ["110.20", "110.22", "110.24"]);
    }

    #[test]
    fn a_range_that_cannot_be_drawn_is_widened() {
        for (low, high) in [(3.0, 3.0), (0.0, 0.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
            let scale = Scale::linear(low, high);
            assert!(scale.high > scale.low, "{low} {high}");
            assert!(!scale.ticks(4, 0).values.is_empty());
        }
        assert_eq!(Scale::logarithmic(0.0, 1.0), Scale::linear(0.0, 1.0));
    }

    #[test]
    fn logarithmic_ticks_are_decades_or_their_parts() {
        let wide = Scale::logarithmic(0.002, 30.0).ticks(4, 0);
        assert_eq!(wide.labels, ["0.01", "0.1", "1", "10"]);
        let narrow = Scale::logarithmic(0.15, 0.9).ticks(4, 0);
        assert_eq!(narrow.labels, ["0.2", "0.5"]);
        let half = Scale::logarithmic(1.0, 100.0).fraction(10.0);
        assert!((half - 0.5).abs() < 1e-12);
    }

    #[test]
    fn zero_has_no_sign() {
        assert_eq!(number(-0.0001, 2), "0.00");
        assert_eq!(number(-1.5, 1), "−1.5");
    }
}
