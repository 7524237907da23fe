//! The edge of a map with coordinates of the sky instead of pixels.

use super::scale::{Scale, Ticks, number};

/// Points of an edge at which it is seen whether its coordinate runs one way.
const SAMPLES: usize = 64;

/// What a coordinate is along an edge of a map.
#[derive(Clone, Copy)]
pub struct WorldAxis<'a> {
    /// What stands beside the edge, such as `Galactic longitude (deg)`.
    pub label: &'a str,
    /// The coordinate at a pixel, which may be fractional; it doesn't jump, but may leave 0 to 360.
    pub at: &'a dyn Fn(f64) -> f64,
    /// Whether values are shown between 0 and 360.
    pub is_angle: bool,
}

impl WorldAxis<'_> {
    /// About `target` ticks at round values between the pixels `low` and `high`, their places in pixels. `None` where the
    /// coordinate doesn't run one way there: then a value would be at several places, or at none.
    pub(super) fn ticks(&self, low: f64, high: f64, target: usize) -> Option<Ticks> {
        let pixel = |i: usize| low + (high - low) * i as f64 / SAMPLES as f64;
        let values: Vec<f64> = (0..=SAMPLES).map(|i| (self.at)(pixel(i))).collect();
        let rises = values.windows(2).all(|pair| pair[1] > pair[0]);
        let falls = values.windows(2).all(|pair| pair[1] < pair[0]);
        if !rises && !falls {
            return None;
        }
        let (first, last) = (values[0], values[SAMPLES]);
        let scale = Scale::linear(first.min(last), first.max(last));
        let mut ticks = scale.ticks(target, 0);
        let decimals = ticks.labels.first().map_or(0, |label| {
            label.split_once('.').map_or(0, |(_, decimals)| decimals.chars().count())
        });
        ticks.labels = ticks
            .values
            .iter()
            .map(|value| {
                let shown =
                    if self.is_angle { value - 360.0 * libm::floor(value / 360.0) } else { *value };
                number(shown, decimals)
            })
            .collect();
        for value in &mut ticks.values {
            let (mut below, mut above) = if rises { (low, high) } else { (high, low) };
            for _ in 0..60 {
                let middle = 0.5 * (below + above);
                if (self.at)(middle) < *value { below = middle } else { above = middle }
            }
            *value = 0.5 * (below + above);
        }
        Some(ticks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(at: &dyn Fn(f64) -> f64) -> WorldAxis<'_> {
        WorldAxis { label: "l (deg)", at, is_angle: true }
    }

    #[test]
    fn ticks_stand_at_round_values() {
        let at = |pixel: f64| 30.0 - 0.006 * pixel;
        let ticks = axis(&at).ticks(-0.5, 9.5, 3).unwrap();
        assert_eq!(ticks.labels, ["29.96", "29.98", "30.00"]);
        for (pixel, expected) in ticks.values.iter().zip([29.96, 29.98, 30.0]) {
            assert!((at(*pixel) - expected).abs() < 1e-9);
        }
    }

    #[test]
    fn longitudes_go_round() {
        let at = |pixel: f64| 1.0 - 0.5 * pixel;
        let ticks = axis(&at).ticks(0.0, 6.0, 4).unwrap();
        assert_eq!(ticks.labels, ["358", "359", "0", "1"]);
    }

    #[test]
    fn what_turns_back_has_no_ticks() {
        assert!(axis(&|pixel: f64| (pixel - 5.0) * (pixel - 5.0)).ticks(0.0, 10.0, 4).is_none());
        assert!(axis(&|_| f64::NAN).ticks(0.0, 10.0, 4).is_none());
        assert!(axis(&|_| 3.0).ticks(0.0, 10.0, 4).is_none());
    }
}
