//! Sample spectra: what was observed, the noiseless sum, and each component.

use crate::spectra::{Axis, Component};

use super::curve::{self, OBSERVED};
use super::frame::{Frame, LINE, below, beside, beside_ticks};
use super::grid::Grid;
use super::legend::{Key, Legend};
use super::scale::{Scale, Ticks};
use super::sheet::Sheet;
use super::style::{BLACK, BLUE, CYCLE, PAGE, SMALL, Stroke};
use super::{Figure, Labels, Thresholds, text};

/// The height of a panel.
const HEIGHT: f64 = 84.0;

const SUM: Stroke = Stroke::solid(BLACK, 0.9);

/// One spectrum and what it is made of.
#[derive(Debug, Clone)]
pub struct SamplePanel<'a> {
    /// The spectral axis.
    pub axis: &'a Axis,
    /// The observed values, one a channel; NaN where missing.
    pub observed: &'a [f32],
    /// The true components.
    pub components: &'a [Component],
    /// What stands above the panel, such as `row 17, 2 components`.
    pub title: String,
}

/// Draws spectra side by side, three in a row, on a page's width.
pub fn samples(panels: &[SamplePanel], labels: &Labels, thresholds: Thresholds) -> Figure {
    let mut legend = Legend::default();
    legend.add(Key::Line(OBSERVED), "observed");
    legend.add(Key::Line(SUM), "noiseless sum");
    legend.add(Key::Filled(Stroke::solid(BLUE, 0.7), 0.3), "components");

    let parts: Vec<Vec<Component>> = panels.iter().map(|p| curve::usable(p.components)).collect();
    let scales: Vec<Scale> = panels
        .iter()
        .zip(&parts)
        .map(|(panel, parts)| curve::value_scale(panel.observed, &[parts]))
        .collect();
    let (ticks, exponent) = shared_ticks(&scales, 3, labels.unit);
    let widest = ticks.iter().map(|t| t.widest(SMALL)).fold(8.0, f64::max);

    let top = 4.0 + legend.height(PAGE) + LINE;
    let (left, right) = (beside(widest), PAGE - 6.0);
    let gap = (beside_ticks(widest) + 8.0, LINE + 10.0);
    let grid = Grid::new(panels.len(), 3, (left, right), top, HEIGHT, gap);
    let mut sheet = Sheet::new(PAGE, grid.whole().bottom() + below());
    legend.draw(&mut sheet, (left, 3.0), right - left);

    for (i, panel) in panels.iter().enumerate() {
        let frame = Frame { area: grid.area(i), x: curve::axis_scale(panel.axis), y: scales[i] };
        let drawn = parts[i].iter().filter(|c| thresholds.admit(c));
        for (component, rgb) in drawn.zip(CYCLE.iter().cycle()) {
            curve::single(&mut sheet, &frame, component, *rgb, 0.7, 0.3);
        }
        let observed = |c: usize| f64::from(panel.observed[c]);
        let channels = panel.observed.len();
        curve::steps(&mut sheet, &frame, panel.axis, observed, channels, OBSERVED);
        curve::total(&mut sheet, &frame, &parts[i], SUM);
        frame.outline(&mut sheet);
        frame.ticks_left(&mut sheet, &ticks[i], true);
        let across = frame.x.ticks(4, frame.x.exponent(&panel.axis.unit));
        frame.ticks_below(&mut sheet, &across, grid.is_lowest(i));
        frame.title(&mut sheet, &panel.title);
        if !panel.observed.iter().any(|y| y.is_finite()) {
            frame.note(&mut sheet, "no observed values");
        }
    }
    let axis = panels.first().map(|p| p.axis);
    outer_labels(&mut sheet, &grid, axis, labels, exponent, widest);
    sheet.finish()
}

/// Ticks for panels that share one axis label, so that they share one power of ten too.
pub(super) fn shared_ticks(scales: &[Scale], target: usize, unit: &str) -> (Vec<Ticks>, i32) {
    let exponent = scales.iter().map(|scale| scale.exponent(unit)).max().unwrap_or(0);
    let ticks = scales.iter().map(|s| s.ticks(target, exponent)).collect();
    (ticks, exponent)
}

/// Writes the two axis labels that all panels of a grid share, and a note where there are none.
pub(super) fn outer_labels(
    sheet: &mut Sheet,
    grid: &Grid,
    axis: Option<&Axis>,
    labels: &Labels,
    exponent: i32,
    widest: f64,
) {
    let outer = Frame {
        area: grid.whole(),
        x: axis.map_or(Scale::linear(0.0, 1.0), curve::axis_scale),
        y: Scale::linear(0.0, 1.0),
    };
    if axis.is_none() {
        outer.outline(sheet);
        outer.note(sheet, "no spectra");
    }
    let unit = axis.map_or("", |a| &a.unit);
    let across = text::axis_label(labels.axis, unit, outer.x.exponent(unit));
    outer.label_below(sheet, &across);
    let up = text::axis_label(labels.intensity, labels.unit, exponent);
    outer.label_left(sheet, &up, widest);
}
