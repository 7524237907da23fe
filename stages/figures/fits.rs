//! Example fits: observed, truth and prediction, with the residual below.

use crate::spectra::{Axis, Component};

use super::curve::{self, OBSERVED};
use super::frame::{Frame, LINE, below, beside, beside_ticks};
use super::grid::Grid;
use super::legend::{Key, Legend};
use super::samples::{outer_labels, shared_ticks};
use super::scale::{Scale, Ticks, extent, number};
use super::sheet::{Area, Sheet};
use super::style::{BLACK, BLUE, HAIR, PAGE, PALE_GREY, SMALL, Stroke, VERMILLION};
use super::{Figure, Labels, Thresholds};

/// The height of a panel with its residual.
const HEIGHT: f64 = 128.0;
/// The height of the residual, and of the gap above it.
const RESIDUAL: (f64, f64) = (34.0, 4.0);

const TRUTH: Stroke = Stroke::dashed(BLACK, 1.0);
const PREDICTION: Stroke = Stroke::solid(VERMILLION, 1.1);
const PART: Stroke = Stroke::solid(BLUE, 0.7);

/// One spectrum, what is known of it, and what was found.
#[derive(Debug, Clone)]
pub struct FitPanel<'a> {
    /// The spectral axis.
    pub axis: &'a Axis,
    /// The observed values, one a channel; NaN where missing.
    pub observed: &'a [f32],
    /// The noise rms, in the units of the spectrum.
    pub rms: f64,
    /// The true components, where they are known.
    pub truth: Option<&'a [Component]>,
    /// The components found.
    pub predicted: &'a [Component],
    /// What stands above the panel, such as `row 17: 2 of 2`.
    pub title: String,
}

/// Draws fits side by side, three in a row, on a page's width; each residual, in units of the
/// noise rms, over a band of ±1.
pub fn fits(panels: &[FitPanel], labels: &Labels, thresholds: Thresholds) -> Figure {
    let mut legend = Legend::default();
    legend.add(Key::Line(OBSERVED), "observed");
    if panels.iter().any(|p| p.truth.is_some()) {
        legend.add(Key::Line(TRUTH), "truth");
    }
    legend.add(Key::Line(PREDICTION), "prediction");
    legend.add(Key::Filled(PART, 0.2), "predicted components");
    legend.add(Key::Block(PALE_GREY), "±1 rms about Δ = observed − prediction");

    let found: Vec<Vec<Component>> = panels.iter().map(|p| curve::usable(p.predicted)).collect();
    let truth: Vec<Vec<Component>> =
        panels.iter().map(|p| curve::usable(p.truth.unwrap_or_default())).collect();
    let scales: Vec<Scale> = (0..panels.len())
        .map(|i| curve::value_scale(panels[i].observed, &[&found[i], &truth[i]]))
        .collect();
    let (ticks, exponent) = shared_ticks(&scales, 3, labels.unit);
    let residuals: Vec<Residual> =
        panels.iter().zip(&found).map(|(p, f)| Residual::new(p, f)).collect();
    let beside_residual = residuals.iter().map(Residual::widest).fold(0.0, f64::max);
    let widest = ticks.iter().map(|t| t.widest(SMALL)).fold(beside_residual + 10.0, f64::max);

    let top = 4.0 + legend.height(PAGE) + LINE;
    let (left, right) = (beside(widest), PAGE - 6.0);
    let gap = (beside_ticks(widest) + 8.0, LINE + 12.0);
    let grid = Grid::new(panels.len(), 3, (left, right), top, HEIGHT, gap);
    let mut sheet = Sheet::new(PAGE, grid.whole().bottom() + below());
    legend.draw(&mut sheet, (left, 3.0), right - left);

    for (i, panel) in panels.iter().enumerate() {
        let (upper, lower) = split(grid.area(i));
        let frame = Frame { area: upper, x: curve::axis_scale(panel.axis), y: scales[i] };
        for component in found[i].iter().filter(|c| thresholds.admit(c)) {
            curve::single(&mut sheet, &frame, component, PART.rgb, PART.width, 0.2);
        }
        let observed = |c: usize| f64::from(panel.observed[c]);
        let channels = panel.observed.len();
        curve::steps(&mut sheet, &frame, panel.axis, observed, channels, OBSERVED);
        curve::total(&mut sheet, &frame, &found[i], PREDICTION);
        if panel.truth.is_some() {
            curve::total(&mut sheet, &frame, &truth[i], TRUTH);
        }
        frame.outline(&mut sheet);
        frame.ticks_left(&mut sheet, &ticks[i], true);
        frame.title(&mut sheet, &panel.title);
        if !panel.observed.iter().any(|y| y.is_finite()) {
            frame.note(&mut sheet, "no observed values");
        }
        let lower = Frame { area: lower, x: frame.x, y: residuals[i].scale };
        residuals[i].draw(&mut sheet, &lower, panel.axis, grid.is_lowest(i));
        if grid.is_leftmost(i) {
            let at = (lower.area.left - beside_ticks(beside_residual) - 2.0, lower.area.centre().1);
            sheet.upward_text(at, "Δ / rms", SMALL);
        }
    }
    let axis = panels.first().map(|p| p.axis);
    outer_labels(&mut sheet, &grid, axis, labels, exponent, widest);
    sheet.finish()
}

/// The area of the spectrum and that of the residual.
fn split(area: Area) -> (Area, Area) {
    let upper = Area { height: area.height - RESIDUAL.0 - RESIDUAL.1, ..area };
    let lower = Area { top: area.bottom() - RESIDUAL.0, height: RESIDUAL.0, ..area };
    (upper, lower)
}

/// Observed minus predicted in units of the noise rms, where that is known.
struct Residual {
    values: Vec<f64>,
    known: bool,
    scale: Scale,
    ticks: Ticks,
}

impl Residual {
    fn new(panel: &FitPanel, found: &[Component]) -> Self {
        let known = panel.rms.is_finite() && panel.rms > 0.0;
        let mut values = curve::residual(panel.axis, panel.observed, found);
        for value in &mut values {
            *value /= panel.rms;
        }
        let (low, high) = extent(values.iter().copied()).unwrap_or((0.0, 0.0));
        let reach = if known { low.abs().max(high.abs()).max(3.6) * 1.08 } else { 4.0 };
        Self { values, known, scale: Scale::linear(-reach, reach), ticks: symmetric_ticks(reach) }
    }

    fn widest(&self) -> f64 {
        self.ticks.widest(SMALL)
    }

    fn draw(&self, sheet: &mut Sheet, frame: &Frame, axis: &Axis, labelled: bool) {
        let area = frame.area;
        if self.known {
            let (_, top) = frame.at(frame.x.low, 1.0);
            let (_, bottom) = frame.at(frame.x.low, -1.0);
            let band = Area { top, height: bottom - top, ..area };
            sheet.fill(band, PALE_GREY);
            let across = (area.left, area.right());
            sheet.rule_across(across, area.centre().1, HAIR, PREDICTION.rgb);
            curve::steps(sheet, frame, axis, |c| self.values[c], self.values.len(), OBSERVED);
            frame.ticks_left(sheet, &self.ticks, true);
        } else {
            frame.note(sheet, "noise rms unknown");
        }
        frame.outline(sheet);
        let across = frame.x.ticks(4, frame.x.exponent(&axis.unit));
        frame.ticks_below(sheet, &across, labelled);
    }
}

/// Ticks at zero and at one round number on either side: more have no room.
fn symmetric_ticks(reach: f64) -> Ticks {
    let mut decade = 1.0;
    while 10.0 * decade <= 0.8 * reach {
        decade *= 10.0;
    }
    let factors = [5.0, 3.0, 2.0].into_iter();
    let factor = factors.clone().find(|f| f * decade <= 0.8 * reach);
    let size = factor.unwrap_or(1.0) * decade;
    Ticks {
        values: vec![-size, 0.0, size],
        labels: [-size, 0.0, size].map(|v| number(v, 0)).to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn residual_ticks_are_round_and_inside() {
        assert_eq!(symmetric_ticks(3.9).labels, ["−3", "0", "3"]);
        assert_eq!(symmetric_ticks(63.0).labels, ["−50", "0", "50"]);
        assert_eq!(symmetric_ticks(13.0).labels, ["−10", "0", "10"]);
    }
}
