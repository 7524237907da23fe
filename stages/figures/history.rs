//! The history of a training: losses by epoch, and the accuracy of the count.

use super::frame::{Frame, LINE, below, beside};
use super::legend::{Key, Legend};
use super::scale::{Scale, extent};
use super::sheet::{Anchor, Area, Sheet};
use super::style::{BLACK, BLUE, CYCLE, GREY, HAIR, PAGE, Rgb, SMALL, Stroke, VERMILLION};
use super::{Figure, text};

/// The height of a panel.
const HEIGHT: f64 = 170.0;

/// One quantity by epoch, on the training and on the validation rows.
///
/// Either may be empty, and NaN leaves a gap.
#[derive(Debug, Clone, Copy)]
pub struct Curves<'a> {
    /// The name in the legend, such as `total` or `sparsity`.
    pub name: &'a str,
    /// The values on the training rows, one an epoch.
    pub training: &'a [f64],
    /// The values on the validation rows, one an epoch.
    pub validation: &'a [f64],
}

/// What was recorded of a training.
#[derive(Debug, Clone, Copy)]
pub struct History<'a> {
    /// The total loss, then its parts.
    pub losses: &'a [Curves<'a>],
    /// The share of spectra whose count is right, if it was recorded.
    pub accuracy: Option<Curves<'a>>,
    /// The number of the first epoch recorded, usually 1.
    pub first_epoch: usize,
    /// The number of the epoch whose weights were kept.
    pub best_epoch: Option<usize>,
}

/// Draws the losses, and beside them the accuracy, on a page's width.
pub fn history(history: &History) -> Figure {
    let colours = || std::iter::once(&BLACK).chain(CYCLE.iter().cycle());
    let mut legend = Legend::default();
    for (curves, rgb) in history.losses.iter().zip(colours()) {
        let width = if *rgb == BLACK { 1.2 } else { 0.9 };
        legend.add(Key::Line(Stroke::solid(*rgb, width)), curves.name);
    }
    let faint = history.losses.iter().chain(&history.accuracy);
    if faint.clone().any(|c| !c.training.is_empty()) {
        legend.add(Key::Line(Stroke::dashed(GREY, 0.9)), "training");
    }
    if faint.clone().any(|c| !c.validation.is_empty()) {
        legend.add(Key::Line(Stroke::solid(GREY, 0.9)), "validation");
    }

    let values = || {
        let curves = history.losses.iter();
        curves.flat_map(|c| c.training.iter().chain(c.validation).copied())
    };
    let loss = loss_scale(values());
    let accuracy = history.accuracy.as_ref().map(accuracy_scale);
    let epochs = history
        .losses
        .iter()
        .chain(&history.accuracy)
        .map(|c| c.training.len().max(c.validation.len()))
        .max()
        .unwrap_or(0);
    let first = history.first_epoch as f64;
    let last = first + epochs.max(1) as f64 - 1.0;
    let x = if epochs > 1 {
        Scale::linear(first, last)
    } else {
        Scale::linear(first - 1.0, first + 1.0)
    };

    let loss_ticks = loss.ticks(5, loss.exponent(""));
    let left = beside(loss_ticks.widest(SMALL));
    let top = 4.0 + legend.height(PAGE - left) + LINE;
    let mut sheet = Sheet::new(PAGE, top + HEIGHT + below());
    legend.draw(&mut sheet, (left, 3.0), PAGE - left);

    let between = 56.0;
    let room = PAGE - left - 10.0;
    let width = if accuracy.is_some() { 0.5 * (room - between) } else { room };
    let area = Area { left, top, width, height: HEIGHT };
    let frame = Frame { area, x, y: loss };
    mark_best(&mut sheet, &frame, history.best_epoch);
    // The total is drawn last, over its parts.
    let drawn: Vec<(&Curves, &Rgb)> = history.losses.iter().zip(colours()).collect();
    for (curves, rgb) in drawn.into_iter().rev() {
        let width = if *rgb == BLACK { 1.2 } else { 0.9 };
        draw(&mut sheet, &frame, curves, first, *rgb, width);
    }
    if extent(values()).is_none() {
        frame.note(&mut sheet, "no epochs recorded");
    }
    axes(&mut sheet, &frame);
    frame.ticks_left(&mut sheet, &loss_ticks, true);
    frame.minor_left(&mut sheet);
    let label = text::axis_label("Loss", "", loss.exponent(""));
    frame.label_left(&mut sheet, &label, loss_ticks.widest(SMALL));

    if let (Some(y), Some(curves)) = (accuracy, &history.accuracy) {
        let area = Area { left: area.right() + between, ..area };
        let frame = Frame { area, x, y };
        mark_best(&mut sheet, &frame, history.best_epoch);
        draw(&mut sheet, &frame, curves, first, BLUE, 1.2);
        if curves.training.is_empty() && curves.validation.is_empty() {
            frame.note(&mut sheet, "no epochs recorded");
        }
        axes(&mut sheet, &frame);
        let ticks = y.ticks(5, 0);
        frame.ticks_left(&mut sheet, &ticks, true);
        frame.label_left(&mut sheet, curves.name, ticks.widest(SMALL));
    }
    sheet.finish()
}

/// Logarithmic where losses span more than a factor of ten and all are positive.
fn loss_scale(values: impl Iterator<Item = f64> + Clone) -> Scale {
    match extent(values.clone()) {
        Some((low, high)) if low > 0.0 && high > 10.0 * low => {
            let margin = libm::pow(high / low, 0.05);
            Scale::logarithmic(low / margin, high * margin)
        }
        _ => Scale::around(values, 0.05),
    }
}

/// From the lowest accuracy to just above the highest, never beyond 0…1.
fn accuracy_scale(curves: &Curves) -> Scale {
    let values = curves.training.iter().chain(curves.validation).copied();
    let (low, high) = extent(values).unwrap_or((0.0, 1.0));
    let pad = (0.06 * (high - low)).max(0.01);
    Scale::linear((low - pad).max(0.0), (high + pad).min(1.0))
}

fn draw(sheet: &mut Sheet, frame: &Frame, curves: &Curves, first: f64, rgb: Rgb, width: f64) {
    let strokes = [
        (curves.training, Stroke::dashed(rgb, width)),
        (curves.validation, Stroke::solid(rgb, width)),
    ];
    for (values, stroke) in strokes {
        let epochs = values.iter().enumerate();
        let points = frame.place(epochs.map(|(e, v)| (first + e as f64, *v)));
        sheet.line(&points, stroke, frame.area);
        if let [point] = points[..]
            && frame.area.holds(point)
        {
            sheet.dots(&[point], 2.0, rgb, 1.0);
        }
    }
}

/// Marks the epoch whose weights were kept, with its number above the frame.
fn mark_best(sheet: &mut Sheet, frame: &Frame, best: Option<usize>) {
    let Some(best) = best else {
        return;
    };
    let (x, _) = frame.at(best as f64, frame.y.low);
    let area = frame.area;
    if !(area.left..=area.right()).contains(&x) {
        return;
    }
    let down = [(x, area.top), (x, area.bottom())];
    sheet.line(&down, Stroke::dashed(VERMILLION, HAIR + 0.15), area);
    let label = format!("best epoch {best}");
    let half = 0.5 * text::width(&label, SMALL);
    let x = x.max(area.left + half).min(area.right() - half);
    let at = (x, area.top - 3.5);
    sheet.coloured_text(at, &label, SMALL, Anchor::Middle, VERMILLION);
}

fn axes(sheet: &mut Sheet, frame: &Frame) {
    frame.outline(sheet);
    let ticks = frame.x.ticks(6, 0).whole();
    frame.ticks_below(sheet, &ticks, true);
    frame.label_below(sheet, "Epoch");
}
