//! A legend: rows of keys and names above the panels, so that it never lies on data.

use super::frame::LINE;
use super::mark::Mark;
use super::sheet::{Anchor, Area, Sheet};
use super::style::{GREY, Rgb, SMALL, Stroke};
use super::text;

/// The width of a key.
const KEY: f64 = 18.0;
/// The gap between a key and its name.
const GAP: f64 = 4.0;
/// The gap between entries.
const SPACE: f64 = 14.0;

/// What stands before a name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Key {
    /// A line.
    Line(Stroke),
    /// A translucent area below a line.
    Filled(Stroke, f64),
    /// A block of colour.
    Block(Rgb),
    /// A mark of any colour.
    Mark(Mark),
}

/// A legend's entries, in order.
#[derive(Debug, Default)]
pub(super) struct Legend {
    entries: Vec<(Key, String)>,
}

impl Legend {
    pub(super) fn add(&mut self, key: Key, name: &str) {
        self.entries.push((key, name.to_string()));
    }

    /// The height of the legend when `room` is its width, and of the gap below it.
    pub(super) fn height(&self, room: f64) -> f64 {
        if self.entries.is_empty() {
            return 0.0;
        }
        let rows = self.places(room).last().map_or(0, |(row, _)| row + 1);
        rows as f64 * (LINE + 1.0) + 3.0
    }

    /// Draws the legend from the top left corner (x, y).
    pub(super) fn draw(&self, sheet: &mut Sheet, (x, y): (f64, f64), room: f64) {
        for ((key, name), (row, offset)) in self.entries.iter().zip(self.places(room)) {
            let left = x + offset;
            let middle = y + 6.0 + row as f64 * (LINE + 1.0);
            let area = Area { left, top: middle - 4.0, width: KEY, height: 8.0 };
            let level = [(left, middle), (left + KEY, middle)];
            match *key {
                Key::Line(stroke) => sheet.line(&level, stroke, area),
                Key::Filled(stroke, opacity) => {
                    let arch = [
                        (left, middle + 4.0),
                        (left + 0.5 * KEY, middle - 4.0),
                        (left + KEY, middle + 4.0),
                    ];
                    sheet.polygon(&arch, stroke.rgb, opacity, area);
                    sheet.line(&arch, stroke, area);
                }
                Key::Block(rgb) => sheet.fill(area, rgb),
                Key::Mark(mark) => mark.draw(sheet, area.centre(), GREY),
            }
            let at = (left + KEY + GAP, middle + 3.2);
            sheet.text(at, name, SMALL, Anchor::Start);
        }
    }

    /// The row of each entry and its distance from the left edge.
    fn places(&self, room: f64) -> Vec<(usize, f64)> {
        let (mut row, mut offset) = (0, 0.0);
        let place = |(_, name): &(Key, String)| {
            let width = KEY + GAP + text::width(name, SMALL);
            if offset > 0.0 && offset + width > room {
                row += 1;
                offset = 0.0;
            }
            let place = (row, offset);
            offset += width + SPACE;
            place
        };
        self.entries.iter().map(place).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::style::BLUE;
    use super::*;

    #[test]
    fn entries_wrap_to_the_room() {
        let mut legend = Legend::default();
        assert!(legend.height(300.0).abs() < 1e-12);
        for name in ["observed", "truth", "prediction", "components"] {
            legend.add(Key::Block(BLUE), name);
        }
        assert!(legend.height(120.0) > legend.height(600.0));
        let rows: Vec<usize> = legend.places(150.0).iter().map(|p| p.0).collect();
        assert_eq!(rows, [0, 0, 1, 2]);
    }
}
