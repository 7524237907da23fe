//! Maps of a cube: one value a line of sight.

use super::bar::{Bar, ramp};
use super::frame::{Frame, LINE, below, beside, beside_ticks};
use super::legend::{Key, Legend};
use super::map_cells::{Pixels, colour_scale, mean, middle};
use super::scale::{Scale, Ticks};
use super::sheet::{Area, Sheet};
use super::style::{LIGHT_GREY, PAGE, Rgb, SMALL, viridis};
use super::world_axis::WorldAxis;
use super::{Figure, text};

/// The highest count that has a colour of its own.
const MOST_COUNTS: f64 = 24.0;

/// The height that all rows of maps together may have.
const TALLEST: f64 = 620.0;

/// What kind of values a map has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapKind {
    /// Whole numbers from 0, a colour each.
    Count,
    /// Anything that varies continuously.
    Continuous,
}

/// A map of `width` × `height` pixels.
#[derive(Debug, Clone, Copy)]
pub struct Map<'a> {
    /// What stands above the map, such as `Components`.
    pub title: &'a str,
    /// The unit of the values, such as `K km/s`; may be empty.
    pub unit: &'a str,
    /// Counts or anything.
    pub kind: MapKind,
    /// The values, row by row: x (FITS axis 1) runs fastest, y upwards; NaN where there is none.
    pub values: &'a [f64],
}

/// Draws maps of one field side by side, on a page's width: pixels are square, x to the right and
/// y upwards; missing ones are grey, and a legend says so.
///
/// Where `world` gives coordinates for the lower and the left edge, these stand there; otherwise, pixels counted from 0.
///
/// Fields of many pixels are drawn in blocks. Where a few wild values would hide all others, the
/// colours leave them out, and the colour bar ends in an arrow.
pub fn maps(width: usize, height: usize, maps: &[Map], world: [Option<WorldAxis>; 2]) -> Figure {
    let shown: Vec<Shown> = maps.iter().map(|m| Shown::new(width, height, m)).collect();
    let aspect = height.max(1) as f64 / width.max(1) as f64;
    let rows = Scale::linear(-0.5, height.max(1) as f64 - 0.5);
    let columns = Scale::linear(-0.5, width.max(1) as f64 - 0.5);
    let edge = |scale: Scale, world: Option<WorldAxis>, pixels: &str, target: usize| {
        let seen = world.and_then(|axis| {
            Some((axis.ticks(scale.low, scale.high, target)?, axis.label.to_owned()))
        });
        seen.unwrap_or_else(|| (scale.ticks(target, 0).whole(), pixels.to_owned()))
    };
    let (down, down_label) = edge(rows, world[1], "y (pixel)", 4);
    let mut legend = Legend::default();
    let missing = |map: &Shown| map.pixels.values.iter().any(|value| !value.is_finite());
    if shown.iter().any(missing) {
        legend.add(Key::Block(LIGHT_GREY), "no value: nothing was observed, or nothing found");
    }
    let top = legend.height(PAGE);
    let (first, next) = (beside(down.widest(SMALL)), beside_ticks(down.widest(SMALL)) + 8.0);
    let rooms: Vec<f64> = shown.iter().map(|s| s.bar().room()).collect();
    let count = shown.len().max(1);

    // The side of a panel when so many stand in a row; all rows' bars get the widest's room.
    let widest = |column: usize, across: usize| {
        let column = rooms.iter().skip(column).step_by(across);
        column.copied().fold(0.0, f64::max)
    };
    let side = |across: usize| {
        let bars: f64 = (0..across).map(|c| widest(c, across)).sum();
        let room = PAGE - first - next * (across - 1) as f64 - bars - 2.0;
        let limit = TALLEST / count.div_ceil(across) as f64 - below() - LINE;
        (room / across as f64).min(limit / aspect).max(20.0)
    };
    // Side by side, unless the pixels would be much larger one below the other.
    let across = if side(1) > 1.5 * side(count.min(3)) { 1 } else { count.min(3) };
    let panel = (side(across), (side(across) * aspect).clamp(12.0, TALLEST));
    // As many labels below as have room.
    let labelled = (1..=4).rev().map(|target| edge(columns, world[0], "x (pixel)", target));
    let fits = |ticks: &Ticks| 1.3 * ticks.widest(SMALL) * ticks.labels.len() as f64 <= panel.0;
    let mut labelled = labelled.skip_while(|(ticks, _)| ticks.labels.len() > 1 && !fits(ticks));
    let (across_ticks, across_label) =
        labelled.next().unwrap_or_else(|| edge(columns, world[0], "x (pixel)", 1));
    let row_height = panel.1 + below() + LINE + 4.0;
    let mut sheet = Sheet::new(PAGE, top + row_height * count.div_ceil(across) as f64 + 4.0);
    legend.draw(&mut sheet, (first, 2.0), PAGE - first);

    let mut left = 0.0;
    for i in 0..count {
        let (row, column) = (i / across, i % across);
        left = if column == 0 { first } else { left + next };
        let area = Area {
            left,
            top: top + row as f64 * row_height + LINE + 6.0,
            width: panel.0,
            height: panel.1,
        };
        let frame = Frame { area, x: columns, y: rows };
        match shown.get(i) {
            Some(map) => map.draw(&mut sheet, &frame, (width, height)),
            None => frame.note(&mut sheet, "no maps"),
        }
        frame.outline(&mut sheet);
        frame.ticks_below(&mut sheet, &across_ticks, true);
        frame.ticks_left(&mut sheet, &down, true);
        frame.label_below(&mut sheet, &across_label);
        if column == 0 {
            frame.label_left(&mut sheet, &down_label, down.widest(SMALL));
        }
        left += panel.0 + widest(column, across);
    }
    sheet.finish()
}

/// A map with its pixels sorted out.
struct Shown<'a> {
    given: &'a Map<'a>,
    pixels: Pixels,
    range: Option<(f64, f64)>,
    beyond: (bool, bool),
    exponent: i32,
    label: String,
}

impl<'a> Shown<'a> {
    fn new(width: usize, height: usize, given: &'a Map<'a>) -> Self {
        let merge = match given.kind {
            MapKind::Count => middle,
            MapKind::Continuous => mean,
        };
        let pixels = Pixels::new(width, height, given.values, merge);
        let (range, beyond) = match pixels.range() {
            Some((range, beyond)) => (Some(range), beyond),
            None => (None, (false, false)),
        };
        let exponent = range.map_or(0, |r| colour_scale(r).exponent(given.unit));
        let mut shown = Self { given, pixels, range, beyond, exponent, label: String::new() };
        if !shown.discrete() {
            shown.label = text::scaled_unit(given.unit, exponent);
        }
        shown
    }

    /// Whether each count gets a colour of its own.
    fn discrete(&self) -> bool {
        let few = |(_, high): (f64, f64)| high <= MOST_COUNTS;
        self.given.kind == MapKind::Count && self.range.is_none_or(few)
    }

    fn scale(&self) -> Scale {
        match self.range {
            Some((_, high)) if self.discrete() => Scale::linear(-0.5, high.max(1.0).round() + 0.5),
            Some(range) => colour_scale(range),
            None => Scale::linear(0.0, 1.0),
        }
    }

    fn bar(&self) -> Bar<'_> {
        let scale = self.scale();
        let (ticks, colours) = if self.discrete() {
            let most = (scale.high - 0.5).max(1.0) as usize;
            let every = most.div_ceil(12).max(1);
            let marks = (0..=most).step_by(every);
            let ticks = Ticks {
                values: marks.clone().map(|n| n as f64).collect(),
                labels: marks.map(|n| n.to_string()).collect(),
            };
            let colours = (0..=most).map(|n| viridis(n as f64 / most as f64));
            (ticks, colours.collect())
        } else {
            (scale.ticks(4, self.exponent), ramp(viridis, 64))
        };
        Bar {
            scale,
            ticks,
            colours,
            label: &self.label,
            beyond: if self.discrete() { (false, false) } else { self.beyond },
        }
    }

    fn colour(&self, value: f64) -> Rgb {
        let scale = self.scale();
        if self.discrete() {
            viridis(value.round() / (scale.high - 0.5))
        } else {
            viridis(scale.fraction(value))
        }
    }

    fn draw(&self, sheet: &mut Sheet, frame: &Frame, full: (usize, usize)) {
        if self.range.is_some() {
            let cells = self.pixels.cells(frame.area, full, &|v| self.colour(v));
            sheet.fill_all(&cells);
            self.bar().draw(sheet, frame.area);
        } else {
            frame.note(sheet, "no values");
        }
        frame.title_within(sheet, self.given.title, frame.area.width + self.bar().room());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(kind: MapKind, values: &[f64]) -> Map<'_> {
        Map { title: "Integrated intensity", unit: "K km/s", kind, values }
    }

    #[test]
    fn counts_have_a_colour_each() {
        let values = [0.0, 1.0, 2.0, f64::NAN];
        let svg = maps(2, 2, &[map(MapKind::Count, &values)], [None; 2]).svg();
        for n in 0..3 {
            // In the map and in the bar.
            let colour = viridis(f64::from(n) / 2.0);
            let hex = format!("#{:02x}{:02x}{:02x}", colour.0, colour.1, colour.2);
            assert_eq!(svg.matches(&hex).count(), 2, "{n}");
        }
        assert!(svg.contains("#cdcdcd") && svg.contains("nothing was observed"));
        assert!(!maps(2, 1, &[map(MapKind::Count, &values)], [None; 2]).svg().contains("observed"));
    }

    #[test]
    fn edges_show_the_sky_where_it_is_known() {
        let longitude = WorldAxis { label: "l (deg)", at: &|x| 30.0 - 0.01 * x, is_angle: true };
        let odd = WorldAxis { label: "b (deg)", at: &|_| 2.0, is_angle: false };
        let values = [1.0; 100];
        let map = map(MapKind::Continuous, &values);
        let svg = maps(10, 10, &[map], [Some(longitude), Some(odd)]).svg();
        for text in ["l (deg)", ">29.96<", "y (pixel)"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(!svg.contains("x (pixel)") && !svg.contains("b (deg)"));
    }

    #[test]
    fn a_bar_has_its_unit() {
        let values: Vec<f64> = (0..100).map(|i| f64::from(i) * 0.3).collect();
        let svg = maps(10, 10, &[map(MapKind::Continuous, &values)], [None; 2]).svg();
        for text in ["Integrated intensity", ">K km/s<", "x (pixel)", "y (pixel)"] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn odd_fields_are_drawn_too() {
        assert!(maps(0, 0, &[], [None; 2]).svg().contains("no maps"));
        for kind in [MapKind::Count, MapKind::Continuous] {
            let missing = [f64::NAN; 6];
            assert!(maps(3, 2, &[map(kind, &missing)], [None; 2]).svg().contains("no values"));
            assert!(maps(0, 0, &[map(kind, &[])], [None; 2]).svg().contains("no values"));
            for (w, h) in [(1, 1), (1, 500), (500, 1)] {
                let values = vec![2.0; w * h];
                let figure = maps(w, h, &[map(kind, &values)], [None; 2]);
                assert!(figure.svg().contains("y (pixel)"));
                assert!(figure.height() < 9.0);
            }
        }
    }
}
