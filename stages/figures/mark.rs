//! Marks of points, told apart by their shape.

use super::sheet::{Area, Sheet};
use super::style::{Rgb, WHITE};

/// From the middle of a mark to the edge of a circle; the other shapes have its area.
const RADIUS: f64 = 2.8;
/// What an open mark leaves white.
const INNER: f64 = 0.62;

/// The shape of a mark.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mark {
    Circle,
    Diamond,
    Triangle,
}

impl Mark {
    /// Draws the mark, filled.
    pub(super) fn draw(self, sheet: &mut Sheet, centre: (f64, f64), rgb: Rgb) {
        self.polygon(sheet, centre, 1.0, rgb);
    }

    /// Draws the mark, white inside.
    pub(super) fn draw_open(self, sheet: &mut Sheet, centre: (f64, f64), rgb: Rgb) {
        self.polygon(sheet, centre, 1.0, rgb);
        self.polygon(sheet, centre, INNER, WHITE);
    }

    fn polygon(self, sheet: &mut Sheet, (x, y): (f64, f64), scale: f64, rgb: Rgb) {
        // The area of a regular polygon of n corners is n r² sin(2π/n)/2.
        let corners = match self {
            Self::Circle => 24,
            Self::Diamond => 4,
            Self::Triangle => 3,
        };
        let turn = std::f64::consts::TAU / f64::from(corners);
        let area = 0.5 * f64::from(corners) * libm::sin(turn) / std::f64::consts::PI;
        let radius = scale * RADIUS / area.sqrt();
        let corner = |i: i32| {
            let angle = turn * f64::from(i);
            (x + radius * libm::sin(angle), y - radius * libm::cos(angle))
        };
        let points: Vec<_> = (0..corners).map(corner).collect();
        let reach = 2.0 * RADIUS;
        let clip =
            Area { left: x - reach, top: y - reach, width: 2.0 * reach, height: 2.0 * reach };
        sheet.polygon(&points, rgb, 1.0, clip);
    }
}
