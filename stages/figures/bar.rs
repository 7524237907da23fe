//! A colour bar beside a panel, with ticks and a label.

use super::frame::LINE;
use super::scale::{Scale, Ticks};
use super::sheet::{Anchor, Area, Sheet};
use super::style::{BLACK, HAIR, NORMAL, Rgb, SMALL, TICK};

/// The width of the bar itself.
pub(super) const BAR: f64 = 9.0;

/// What the colours of a panel stand for.
#[derive(Debug, Clone)]
pub(super) struct Bar<'a> {
    /// The values that the bar spans.
    pub(super) scale: Scale,
    /// Where it has numbers.
    pub(super) ticks: Ticks,
    /// The colours from the low to the high end: as many blocks, of the same height.
    pub(super) colours: Vec<Rgb>,
    /// The quantity and its unit.
    pub(super) label: &'a str,
    /// Whether values lie below and above the bar's ends.
    pub(super) beyond: (bool, bool),
}

impl Bar<'_> {
    /// The room that the bar takes right of its panel.
    pub(super) fn room(&self) -> f64 {
        let label = if self.label.is_empty() { 0.0 } else { 14.0 };
        5.0 + BAR + TICK + 3.0 + self.ticks.widest(SMALL) + label + 2.0
    }

    /// Draws the bar right of `panel`, as high as it.
    pub(super) fn draw(&self, sheet: &mut Sheet, panel: Area) {
        let area = Area { left: panel.right() + 5.0, width: BAR, ..panel };
        let height = area.height / self.colours.len().max(1) as f64;
        let block = |(i, rgb): (usize, &Rgb)| {
            let bottom = area.bottom() - i as f64 * height;
            // Blocks reach a little under the next, so that no seam shows between them.
            let top = (bottom - height - 0.4).max(area.top);
            let block = Area { top, height: bottom - top, ..area };
            (block, *rgb)
        };
        let blocks: Vec<(Area, Rgb)> = self.colours.iter().enumerate().map(block).collect();
        sheet.fill_all(&blocks);
        sheet.outline(area, HAIR, BLACK);
        self.draw_ends(sheet, area);

        for (value, label) in self.ticks.values.iter().zip(&self.ticks.labels) {
            let y = area.bottom() - self.scale.fraction(*value) * area.height;
            sheet.rule_across((area.right(), area.right() + TICK), y, HAIR, BLACK);
            let at = (area.right() + TICK + 3.0, y + 0.36 * f64::from(SMALL));
            sheet.text(at, label, SMALL, Anchor::Start);
        }
        let beside = area.right() + TICK + 3.0 + self.ticks.widest(SMALL);
        let at = (beside + 4.0 + 0.8 * f64::from(NORMAL), area.centre().1);
        sheet.upward_text(at, self.label, NORMAL);
    }

    /// Arrow heads where values lie beyond the bar.
    fn draw_ends(&self, sheet: &mut Sheet, area: Area) {
        let all = Area { top: area.top - LINE, height: area.height + 2.0 * LINE, ..area };
        let mut head = |edge: f64, tip: f64, rgb: Option<&Rgb>| {
            let corners = [(area.left, edge), (area.left + 0.5 * BAR, tip), (area.right(), edge)];
            if let Some(rgb) = rgb {
                sheet.polygon(&corners, *rgb, 1.0, all);
                sheet.line(&corners, super::style::Stroke::solid(BLACK, HAIR), all);
            }
        };
        if self.beyond.1 {
            head(area.top, area.top - 6.0, self.colours.last());
        }
        if self.beyond.0 {
            head(area.bottom(), area.bottom() + 6.0, self.colours.first());
        }
    }
}

/// `count` colours evenly along a colour map.
pub(super) fn ramp(map: fn(f64) -> Rgb, count: usize) -> Vec<Rgb> {
    (0..count).map(|i| map((i as f64 + 0.5) / count as f64)).collect()
}
