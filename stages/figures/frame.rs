//! One panel: its area on the sheet, its two scales, and the axes around it.

use super::scale::{Scale, Ticks};
use super::sheet::{Anchor, Area, Sheet};
use super::style::{BLACK, GREY, HAIR, NORMAL, SMALL, TICK};
use super::text;

/// The gap between a tick mark and its label.
const GAP: f64 = 3.0;

/// The height of a line of small text.
pub(super) const LINE: f64 = 12.0;

/// From the top of the letters to the baseline of small text that hangs from a line.
const RISE: f64 = 7.5;

/// A panel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) area: Area,
    pub(super) x: Scale,
    pub(super) y: Scale,
}

impl Frame {
    /// Where the data point (x, y) stands on the sheet.
    pub(super) fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (
            self.area.left + self.x.fraction(x) * self.area.width,
            self.area.bottom() - self.y.fraction(y) * self.area.height,
        )
    }

    /// Where the data points stand on the sheet.
    pub(super) fn place(&self, points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
        points.map(|(x, y)| self.at(x, y)).collect()
    }

    /// Draws the frame.
    pub(super) fn outline(&self, sheet: &mut Sheet) {
        sheet.outline(self.area, HAIR, BLACK);
    }

    /// Draws ticks below the frame, with their labels if `labelled`.
    pub(super) fn ticks_below(&self, sheet: &mut Sheet, ticks: &Ticks, labelled: bool) {
        let bottom = self.area.bottom();
        for (value, label) in ticks.values.iter().zip(&ticks.labels) {
            let (x, _) = self.at(*value, self.y.low);
            sheet.rule_down(x, (bottom, bottom + TICK), HAIR, BLACK);
            if labelled {
                let baseline = bottom + TICK + GAP + RISE - 1.0;
                sheet.text((x, baseline), label, SMALL, Anchor::Middle);
            }
        }
    }

    /// Draws ticks and labels left of the frame.
    pub(super) fn ticks_left(&self, sheet: &mut Sheet, ticks: &Ticks, labelled: bool) {
        let left = self.area.left;
        for (value, label) in ticks.values.iter().zip(&ticks.labels) {
            let (_, y) = self.at(self.x.low, *value);
            sheet.rule_across((left - TICK, left), y, HAIR, BLACK);
            if labelled {
                let at = (left - TICK - GAP + 0.5, y + 0.36 * f64::from(SMALL));
                sheet.text(at, label, SMALL, Anchor::End);
            }
        }
    }

    /// Draws the small ticks of a logarithmic scale left of the frame.
    pub(super) fn minor_left(&self, sheet: &mut Sheet) {
        let left = self.area.left;
        for value in self.y.minor() {
            let (_, y) = self.at(self.x.low, value);
            sheet.rule_across((left - 0.55 * TICK, left), y, 0.7 * HAIR, BLACK);
        }
    }

    /// Writes what the horizontal axis is, below the tick labels.
    pub(super) fn label_below(&self, sheet: &mut Sheet, label: &str) {
        let (x, _) = self.area.centre();
        let at = (x, self.area.bottom() + below() - 4.0);
        sheet.text(at, label, NORMAL, Anchor::Middle);
    }

    /// Writes what the vertical axis is, left of tick labels `widest` pixels wide.
    pub(super) fn label_left(&self, sheet: &mut Sheet, label: &str, widest: f64) {
        let (_, y) = self.area.centre();
        let at = (self.area.left - TICK - GAP - widest - 5.0, y);
        sheet.upward_text(at, label, NORMAL);
    }

    /// Writes a title above the frame, at its left end.
    pub(super) fn title(&self, sheet: &mut Sheet, title: &str) {
        self.title_within(sheet, title, self.area.width);
    }

    /// Writes a title above the frame, which may be wider than it, at its left end.
    pub(super) fn title_within(&self, sheet: &mut Sheet, title: &str, room: f64) {
        let title = text::fit(title, SMALL, room);
        let at = (self.area.left, self.area.top - 3.5);
        sheet.text(at, &title, SMALL, Anchor::Start);
    }

    /// Writes a note in the middle, for a panel with nothing to show.
    pub(super) fn note(&self, sheet: &mut Sheet, note: &str) {
        let (x, y) = self.area.centre();
        let note = text::fit(note, SMALL, self.area.width - 4.0);
        sheet.coloured_text((x, y + 3.0), &note, SMALL, Anchor::Middle, GREY);
    }
}

/// The room that tick labels and the axis label need below a frame.
pub(super) fn below() -> f64 {
    TICK + GAP + RISE + 4.0 + f64::from(NORMAL) + 4.0
}

/// The room that tick labels `widest` pixels wide and the axis label need left of a frame.
pub(super) fn beside(widest: f64) -> f64 {
    TICK + GAP + widest + 5.0 + f64::from(NORMAL) + 1.0
}

/// The room that tick labels alone need left of a frame.
pub(super) fn beside_ticks(widest: f64) -> f64 {
    TICK + GAP + widest + 1.0
}
