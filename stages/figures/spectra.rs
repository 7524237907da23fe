//! Spectra of a cube with the components found, on one scale, as a grid.

use crate::spectra::{Axis, Component};

use super::curve::{self, OBSERVED};
use super::frame::{Frame, LINE, below, beside};
use super::grid::Grid;
use super::legend::{Key, Legend};
use super::samples::outer_labels;
use super::scale::Scale;
use super::sheet::Sheet;
use super::style::{BLUE, PAGE, SMALL, Stroke, VERMILLION};
use super::{Figure, Labels, Thresholds};

/// The height of a panel.
const HEIGHT: f64 = 66.0;

const SUM: Stroke = Stroke::solid(VERMILLION, 1.0);
const PART: Stroke = Stroke::solid(BLUE, 0.7);

/// One observed spectrum and what was found in it.
#[derive(Debug, Clone)]
pub struct SpectrumPanel<'a> {
    /// The observed values, one a channel; NaN where missing.
    pub observed: &'a [f32],
    /// The components found.
    pub predicted: &'a [Component],
    /// What stands above the panel, such as `x 3, y 7`.
    pub title: String,
}

/// Draws spectra of one axis as a grid, four in a row, on a page's width; all share both scales,
/// so that they can be compared.
pub fn spectra(
    axis: &Axis,
    panels: &[SpectrumPanel],
    labels: &Labels,
    thresholds: Thresholds,
) -> Figure {
    let mut legend = Legend::default();
    legend.add(Key::Line(OBSERVED), "observed");
    legend.add(Key::Line(SUM), "prediction");
    legend.add(Key::Filled(PART, 0.2), "predicted components");

    let found: Vec<Vec<Component>> = panels.iter().map(|p| curve::usable(p.predicted)).collect();
    let ends = panels.iter().zip(&found).flat_map(|(panel, found)| {
        let scale = curve::value_scale(panel.observed, &[found]);
        [scale.low, scale.high]
    });
    let y = Scale::around(ends, 0.0);
    let ticks = y.ticks(3, y.exponent(labels.unit));
    let widest = ticks.widest(SMALL);
    let x = curve::axis_scale(axis);
    let across = x.ticks(4, x.exponent(&axis.unit));

    let top = 4.0 + legend.height(PAGE) + LINE;
    let (left, right) = (beside(widest), PAGE - 8.0);
    let grid = Grid::new(panels.len(), 4, (left, right), top, HEIGHT, (10.0, LINE + 6.0));
    let mut sheet = Sheet::new(PAGE, grid.whole().bottom() + below());
    legend.draw(&mut sheet, (left, 3.0), right - left);

    for (i, panel) in panels.iter().enumerate() {
        let frame = Frame { area: grid.area(i), x, y };
        for component in found[i].iter().filter(|c| thresholds.admit(c)) {
            curve::single(&mut sheet, &frame, component, PART.rgb, PART.width, 0.2);
        }
        let observed = |c: usize| f64::from(panel.observed[c]);
        let channels = panel.observed.len();
        curve::steps(&mut sheet, &frame, axis, observed, channels, OBSERVED);
        let seen = panel.observed.iter().any(|y| y.is_finite());
        if seen || !found[i].is_empty() {
            curve::total(&mut sheet, &frame, &found[i], SUM);
        }
        frame.outline(&mut sheet);
        frame.ticks_left(&mut sheet, &ticks, grid.is_leftmost(i));
        frame.ticks_below(&mut sheet, &across, grid.is_lowest(i));
        frame.title(&mut sheet, &panel.title);
        if !seen {
            frame.note(&mut sheet, "no observed values");
        }
    }
    let shown = (!panels.is_empty()).then_some(axis);
    outer_labels(&mut sheet, &grid, shown, labels, y.exponent(labels.unit), widest);
    sheet.finish()
}
