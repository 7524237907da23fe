//! How well components are recovered, by a property of theirs such as their separation.

use super::frame::{Frame, LINE, below, beside, beside_ticks};
use super::grid::Grid;
use super::legend::{Key, Legend};
use super::scale::{Scale, Ticks};
use super::sheet::{Anchor, Area, Sheet};
use super::style::{BLACK, CYCLE, GREY, HAIR, PAGE, PALE_GREY, SMALL};
use super::{Figure, text};

/// The height of a panel.
const HEIGHT: f64 = 150.0;
/// The room of the note beside the legend.
const NOTE: f64 = 200.0;

/// One measure of quality, a value for each bin.
#[derive(Debug, Clone, Copy)]
pub struct QualitySeries<'a> {
    /// The measure's name, such as `recall`.
    pub name: &'a str,
    /// Its values, 0…1; NaN where a bin has none.
    pub values: &'a [f64],
}

/// Quality by bins of one property.
#[derive(Debug, Clone, Copy)]
pub struct QualityPanel<'a> {
    /// The property, such as `Separation`.
    pub name: &'a str,
    /// The property's unit, such as `rms sigma`; may be empty.
    pub unit: &'a str,
    /// What each bin holds, such as `0.5–1` or `isolated`.
    pub bins: &'a [String],
    /// How many of what is counted each bin holds.
    pub support: &'a [u64],
    /// The measures, in the same order and number in each panel.
    pub series: &'a [QualitySeries<'a>],
}

/// Draws the panels side by side on a page's width: a group of bars a bin, its support above it. The bins hold `what`, a
/// plural.
pub fn errors(panels: &[QualityPanel], what: &str) -> Figure {
    let mut legend = Legend::default();
    let longest = panels.iter().max_by_key(|p| p.series.len());
    for (series, rgb) in longest.iter().flat_map(|p| p.series).zip(CYCLE.iter().cycle()) {
        legend.add(Key::Block(*rgb), series.name);
    }

    // The numbers above the bars stand between 1 and the top.
    let y = Scale::linear(0.0, 1.12);
    let mut ticks = y.ticks(5, 0);
    ticks.values.truncate(6);
    ticks.labels.truncate(6);
    let widest = ticks.widest(SMALL);
    let left = beside(widest);
    let top = 5.0 + legend.height(PAGE - left - NOTE).max(LINE + 4.0);
    let gap = (beside_ticks(widest) + 10.0, below() + LINE);
    let grid = Grid::new(panels.len(), 2, (left, PAGE - 8.0), top, HEIGHT, gap);
    let mut sheet = Sheet::new(PAGE, grid.whole().bottom() + below());
    legend.draw(&mut sheet, (left, 3.0), PAGE - left - NOTE);
    let at = (PAGE - 8.0, 12.2);
    sheet.text(at, &format!("numbers: {what} in each bin"), SMALL, Anchor::End);

    for i in 0..grid.count {
        let bins = panels.get(i).map_or(0, |p| p.bins.len());
        let x = Scale::linear(-0.5, bins.max(1) as f64 - 0.5);
        let area = grid.area(i);
        let frame = Frame { area, x, y };
        if let Some(panel) = panels.get(i).filter(|_| bins > 0) {
            bars(&mut sheet, &frame, panel, bins);
            let label = text::axis_label(panel.name, panel.unit, 0);
            frame.label_below(&mut sheet, &label);
        } else {
            frame.note(&mut sheet, "no bins");
        }
        frame.outline(&mut sheet);
        frame.ticks_left(&mut sheet, &ticks, true);
        if grid.is_leftmost(i) {
            let label = match longest.map(|p| p.series) {
                Some([only]) => only.name,
                _ => "Score",
            };
            frame.label_left(&mut sheet, label, widest);
        }
    }
    sheet.finish()
}

fn bars(sheet: &mut Sheet, frame: &Frame, panel: &QualityPanel, bins: usize) {
    let slot = frame.area.width / bins as f64;
    let count = panel.series.len().max(1) as f64;
    let width = (0.76 * slot / count).min(26.0);
    let (_, one) = frame.at(0.0, 1.0);
    sheet.rule_across((frame.area.left, frame.area.right()), one, HAIR, PALE_GREY);
    let mut labels = Ticks { values: Vec::new(), labels: Vec::new() };
    for bin in 0..bins {
        let (centre, floor) = frame.at(bin as f64, 0.0);
        let group = centre - 0.5 * width * count;
        let mut highest = floor;
        for (s, (series, rgb)) in panel.series.iter().zip(CYCLE.iter().cycle()).enumerate() {
            let value = series.values.get(bin).copied().unwrap_or(f64::NAN);
            if !value.is_finite() {
                continue;
            }
            let (_, top) = frame.at(0.0, value.clamp(0.0, 1.0));
            let bar = Area {
                left: group + s as f64 * width + 0.5,
                top,
                width: width - 1.0,
                height: floor - top,
            };
            sheet.fill(bar, *rgb);
            highest = highest.min(top);
        }
        let support = panel.support.get(bin).copied().unwrap_or(0);
        let note = text::grouped(support);
        let ink = if support == 0 { GREY } else { BLACK };
        if text::width(&note, SMALL) < slot - 2.0 {
            let at = (centre, highest - 3.0);
            sheet.coloured_text(at, &note, SMALL, Anchor::Middle, ink);
        }
        labels.values.push(bin as f64);
        labels.labels.push(panel.bins[bin].clone());
    }
    // Where the ranges have no room, every other one is left out, and so on.
    let mut every = 1;
    while labels.widest(SMALL) + 5.0 > slot * f64::from(every) && every < 16 {
        every *= 2;
    }
    for (i, label) in labels.labels.iter_mut().enumerate() {
        if i % every as usize != 0 {
            label.clear();
        }
    }
    frame.ticks_below(sheet, &labels, true);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_a_bar_and_missing_ones_are_none() {
        let panel = QualityPanel {
            name: "Separation",
            unit: "rms sigma",
            bins: &["0–1", "1–2", "≥ 2"].map(String::from),
            support: &[12, 0, 3456],
            series: &[QualitySeries { name: "recall", values: &[0.7, f64::NAN, 0.99] }],
        };
        let svg = errors(&[panel], "true components").svg();
        for text in
            ["Separation (rms sigma)", "3,456", "≥ 2", ">recall<", "numbers: true components"]
        {
            assert!(svg.contains(text), "{text}");
        }
        // The first of the palette: two bars and the legend's block.
        assert_eq!(svg.matches("#0072b2").count(), 3);
    }

    #[test]
    fn no_panels_and_no_bins_are_said() {
        assert!(errors(&[], "spectra").svg().contains("no bins"));
        let bare = QualityPanel { name: "S/N", unit: "", bins: &[], support: &[], series: &[] };
        assert!(errors(&[bare], "spectra").svg().contains("no bins"));
    }
}
