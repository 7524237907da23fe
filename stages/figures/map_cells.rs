//! The pixels of a map as rectangles: few enough to write, and coloured by their values.

use super::scale::{Scale, extent};
use super::sheet::Area;
use super::style::{LIGHT_GREY, Rgb};

/// The most pixels drawn; larger maps are drawn in blocks of several.
const MOST: usize = 20_000;

/// The values of a map, row by row from y = 0.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pixels {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) values: Vec<f64>,
    /// How many pixels of the map, either way, one of these stands for.
    pub(super) block: usize,
}

impl Pixels {
    /// The map's pixels, or blocks of them where there are too many to draw; missing values at the
    /// end are NaN. A block takes the value `merge` gives for its finite pixels.
    pub(super) fn new(
        width: usize,
        height: usize,
        values: &[f64],
        merge: fn(&mut [f64]) -> f64,
    ) -> Self {
        let mut block = 1;
        while width.div_ceil(block).saturating_mul(height.div_ceil(block)) > MOST {
            block += 1;
        }
        let at = |x: usize, y: usize| values.get(y * width + x).copied().unwrap_or(f64::NAN);
        let (columns, rows) = (width.div_ceil(block), height.div_ceil(block));
        let mut blocks = Vec::with_capacity(columns * rows);
        for row in 0..rows {
            for column in 0..columns {
                let xs = column * block..((column + 1) * block).min(width);
                let ys = row * block..((row + 1) * block).min(height);
                let inside = ys.flat_map(|y| xs.clone().map(move |x| (x, y)));
                let mut finite: Vec<f64> =
                    inside.map(|(x, y)| at(x, y)).filter(|v| v.is_finite()).collect();
                let value = if finite.is_empty() { f64::NAN } else { merge(&mut finite) };
                blocks.push(value);
            }
        }
        Self { width: columns, height: rows, values: blocks, block }
    }

    /// The range to colour: all values, or of many values without the outermost percent on either
    /// side, and whether any lie below and above it.
    pub(super) fn range(&self) -> Option<((f64, f64), (bool, bool))> {
        let (lowest, highest) = extent(self.values.iter().copied())?;
        let mut sorted: Vec<f64> = self.values.iter().copied().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let cut = sorted.len() / 100;
        let (low, high) = (sorted[cut], sorted[sorted.len() - 1 - cut]);
        // A tail that adds little to the range needs no cut.
        if high - low > 0.8 * (highest - lowest) {
            return Some(((lowest, highest), (false, false)));
        }
        Some(((low, high), (lowest < low, highest > high)))
    }

    /// Rectangles that cover `area`, y upwards, equal neighbours in a row as one.
    pub(super) fn cells(
        &self,
        area: Area,
        full: (usize, usize),
        colour: &dyn Fn(f64) -> Rgb,
    ) -> Vec<(Area, Rgb)> {
        let side = self.block as f64 * area.width / full.0.max(1) as f64;
        let mut cells: Vec<(Area, Rgb)> = Vec::new();
        for y in (0..self.height).rev() {
            let bottom = area.bottom() - y as f64 * side;
            let top = (bottom - side).max(area.top);
            let mut open = false;
            for x in 0..self.width {
                let value = self.values[y * self.width + x];
                let rgb = if value.is_finite() { colour(value) } else { LIGHT_GREY };
                let left = area.left + x as f64 * side;
                let right = (left + side).min(area.right());
                match cells.last_mut() {
                    Some((cell, last)) if open && *last == rgb => cell.width = right - cell.left,
                    _ => cells
                        .push((Area { left, top, width: right - left, height: bottom - top }, rgb)),
                }
                open = true;
            }
        }
        // Each reaches a little under its right and lower neighbour's edge against seams; those
        // drawn later cover it, and the frame covers the rest.
        for (cell, _) in &mut cells {
            cell.width = (cell.width + 0.3).min(area.right() - cell.left);
            cell.height = (cell.height + 0.3).min(area.bottom() - cell.top);
        }
        cells
    }
}

/// The mean, for quantities that vary smoothly.
pub(super) fn mean(values: &mut [f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The median element, for counts.
pub(super) fn middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A scale from `low` to `high` that may be used for colours.
pub(super) fn colour_scale((low, high): (f64, f64)) -> Scale {
    Scale::linear(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AREA: Area = Area { left: 0.0, top: 0.0, width: 30.0, height: 20.0 };

    #[test]
    fn large_maps_are_drawn_in_blocks_without_losing_a_corner() {
        let mut values = vec![1.0; 501 * 301];
        values[0] = f64::NAN;
        let pixels = Pixels::new(501, 301, &values, mean);
        assert!(pixels.values.len() <= MOST && pixels.block == 3);
        assert_eq!((pixels.width, pixels.height), (167, 101));
        assert!(pixels.values.iter().all(|v| (v - 1.0).abs() < 1e-12));
    }

    #[test]
    fn the_first_row_is_at_the_bottom() {
        let pixels = Pixels::new(3, 2, &[0.0, 1.0, 1.0, 2.0, 2.0, f64::NAN], mean);
        let colour = |v: f64| (v as u8, 0, 0);
        let cells = pixels.cells(AREA, (3, 2), &colour);
        let found: Vec<(f64, f64, Rgb)> = cells.iter().map(|(a, c)| (a.left, a.top, *c)).collect();
        assert_eq!(
            found,
            [
                (0.0, 0.0, (2, 0, 0)),
                (20.0, 0.0, LIGHT_GREY),
                (0.0, 10.0, (0, 0, 0)),
                (10.0, 10.0, (1, 0, 0)),
            ]
        );
    }

    #[test]
    fn one_hot_pixel_does_not_hide_the_rest() {
        let mut values: Vec<f64> = (0..1000).map(|i| f64::from(i) / 1000.0).collect();
        values[500] = 1e4;
        let pixels = Pixels::new(100, 10, &values, mean);
        let ((low, high), beyond) = pixels.range().unwrap();
        assert!(low >= 0.0 && high <= 1.0 && beyond.1);
        assert_eq!(Pixels::new(2, 1, &[f64::NAN; 2], mean).range(), None);
        let even = Pixels::new(2, 1, &[3.0, 4.0], mean).range();
        assert_eq!(even, Some(((3.0, 4.0), (false, false))));
    }
}
