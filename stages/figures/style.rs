//! Sizes, strokes and colours, the same in every figure.

use kuva::plot::colormap::ColorMap;
use kuva::render::color::Color;

/// The width of one column of a journal, 3.5 in.
pub(super) const COLUMN: f64 = 336.0;
/// The width of a page of two columns, 7.1 in.
pub(super) const PAGE: f64 = 681.6;

/// Tick labels, notes and titles of small panels: 6.75 pt in print.
pub(super) const SMALL: u32 = 9;
/// Axis labels: 7.5 pt in print.
pub(super) const NORMAL: u32 = 10;

/// The length of a tick mark.
pub(super) const TICK: f64 = 3.0;
/// The width of frames and ticks, 0.5 pt.
pub(super) const HAIR: f64 = 0.65;

/// An opaque colour, red, green, blue.
pub(super) type Rgb = (u8, u8, u8);

pub(super) const BLACK: Rgb = (0, 0, 0);
pub(super) const WHITE: Rgb = (255, 255, 255);
/// Observed data, drawn behind everything that explains it.
pub(super) const GREY: Rgb = (120, 120, 120);
/// Missing pixels.
pub(super) const LIGHT_GREY: Rgb = (205, 205, 205);
/// Bands and rules.
pub(super) const PALE_GREY: Rgb = (225, 225, 225);

// The palette of Okabe and Ito (2008), distinct for all common kinds of colour vision.
pub(super) const BLUE: Rgb = (0, 114, 178);
pub(super) const VERMILLION: Rgb = (213, 94, 0);
pub(super) const GREEN: Rgb = (0, 158, 115);
pub(super) const ORANGE: Rgb = (230, 159, 0);
pub(super) const SKY: Rgb = (86, 180, 233);
pub(super) const PURPLE: Rgb = (204, 121, 167);

/// Okabe and Ito's colours in the order in which series take them; yellow is left out, it
/// vanishes on white.
pub(super) const CYCLE: [Rgb; 6] = [BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION];

/// The dash of a broken line: on, off.
pub(super) const DASH: [f64; 2] = [4.0, 2.2];

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stroke {
    pub(super) rgb: Rgb,
    pub(super) width: f64,
    pub(super) dashed: bool,
}

impl Stroke {
    /// A continuous line.
    pub(super) const fn solid(rgb: Rgb, width: f64) -> Self {
        Self { rgb, width, dashed: false }
    }

    /// A broken line.
    pub(super) const fn dashed(rgb: Rgb, width: f64) -> Self {
        Self { rgb, width, dashed: true }
    }
}

/// The colour as the drawing library wants it.
pub(super) fn paint((r, g, b): Rgb) -> Color {
    Color::Rgb(r, g, b)
}

/// Viridis at `t` in 0…1, dark to bright.
pub(super) fn viridis(t: f64) -> Rgb {
    ColorMap::Viridis.map_rgb(t).unwrap_or(GREY)
}

/// White to dark blue at `t` in 0…1.
pub(super) fn blues(t: f64) -> Rgb {
    // The map's own ends are off-white and nearly black; zero should be paper.
    if t <= 0.0 { WHITE } else { ColorMap::Blues.map_rgb(0.9 * t).unwrap_or(GREY) }
}

/// Black or white, whichever reads better on `rgb`.
pub(super) fn ink_on((r, g, b): Rgb) -> Rgb {
    let luma = 0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b);
    if luma < 125.0 { WHITE } else { BLACK }
}
