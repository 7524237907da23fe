//! What is drawn of a spectrum: the observed channels as steps, Gaussians as smooth curves.

use crate::spectra::{Axis, Component};

use super::frame::Frame;
use super::scale::{Scale, extent};
use super::sheet::Sheet;
use super::style::{GREY, Rgb, Stroke};

/// How observed channels are drawn.
pub(super) const OBSERVED: Stroke = Stroke::solid(GREY, 0.7);

/// Beyond this many sigmas a component is less than 0.02 % of its amplitude.
const REACH: f64 = 4.2;

/// The horizontal scale of a spectrum: all channels from edge to edge.
pub(super) fn axis_scale(axis: &Axis) -> Scale {
    let half = 0.5 * axis.step;
    let last = axis.value(axis.channels.max(1) as f64 - 1.0);
    Scale::linear(axis.start - half, last + half)
}

/// The components that a formula can be made of: finite, with a width.
pub(super) fn usable(components: &[Component]) -> Vec<Component> {
    let finite = |c: &&Component| {
        c.amplitude.is_finite() && c.mean.is_finite() && c.sigma.is_finite() && c.sigma > 0.0
    };
    components.iter().filter(finite).copied().collect()
}

/// The sum of the components at `x`.
pub(super) fn sum(components: &[Component], x: f64) -> f64 {
    components.iter().map(|c| c.value(x)).sum()
}

/// Observed minus the sum of the components, channel by channel.
pub(super) fn residual(axis: &Axis, observed: &[f32], components: &[Component]) -> Vec<f64> {
    let channels = observed.iter().take(axis.channels).enumerate();
    channels.map(|(c, y)| f64::from(*y) - sum(components, axis.value(c as f64))).collect()
}

/// A vertical scale that holds the observed channels, zero, and the curves.
pub(super) fn value_scale(observed: &[f32], peaks: &[&[Component]]) -> Scale {
    let finite = observed.iter().map(|y| f64::from(*y));
    let curves = peaks.iter().flat_map(|list| list.iter().map(|c| sum(list, c.mean)));
    let margin = if extent(observed.iter().map(|y| f64::from(*y))).is_none() { 0.3 } else { 0.06 };
    Scale::around(finite.chain(curves).chain([0.0]), margin)
}

/// Draws the channels of `values` as steps; missing ones leave a gap.
pub(super) fn steps(
    sheet: &mut Sheet,
    frame: &Frame,
    axis: &Axis,
    values: impl Fn(usize) -> f64,
    channels: usize,
    stroke: Stroke,
) {
    let count = channels.min(axis.channels);
    let points = if count as f64 > 4.0 * frame.area.width {
        envelope(frame, axis, values, count)
    } else {
        let half = 0.5 * axis.step;
        let channel = |c: usize| {
            let (x, y) = (axis.value(c as f64), values(c));
            [(x - half, y), (x + half, y)]
        };
        frame.place((0..count).flat_map(channel))
    };
    sheet.line(&points, stroke, frame.area);
}

/// Where channels are much finer than the sheet, their lowest and highest value in each of two
/// bins to the pixel looks the same as all of them.
fn envelope(
    frame: &Frame,
    axis: &Axis,
    values: impl Fn(usize) -> f64,
    count: usize,
) -> Vec<(f64, f64)> {
    let bins = libm::ceil(2.0 * frame.area.width) as usize;
    let bin = |b: usize| {
        let channels = b * count / bins..(b + 1) * count / bins;
        let x = axis.value(0.5 * (channels.start + channels.end) as f64 - 0.5);
        let (low, high) = extent(channels.map(&values)).unwrap_or((f64::NAN, f64::NAN));
        [(x, low), (x, high)]
    };
    frame.place((0..bins).flat_map(bin))
}

/// Draws the sum of the components.
pub(super) fn total(sheet: &mut Sheet, frame: &Frame, components: &[Component], stroke: Stroke) {
    let xs = positions(frame, components);
    let points = frame.place(xs.iter().map(|x| (*x, sum(components, *x))));
    sheet.line(&thinned(&points), stroke, frame.area);
}

/// Draws one component as a translucent area below a line.
pub(super) fn single(
    sheet: &mut Sheet,
    frame: &Frame,
    component: &Component,
    rgb: Rgb,
    width: f64,
    opacity: f64,
) {
    let reach = REACH * component.sigma;
    let (low, high) = (component.mean - reach, component.mean + reach);
    let mut xs = positions(frame, std::slice::from_ref(component));
    xs.retain(|x| *x >= low && *x <= high);
    let points = frame.place(xs.iter().map(|x| (*x, component.value(*x))));
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return;
    };
    let (_, floor) = frame.at(frame.x.low, 0.0);
    let mut closed = points.clone();
    closed.push((last.0, floor));
    closed.push((first.0, floor));
    sheet.polygon(&closed, rgb, opacity, frame.area);
    sheet.line(&points, Stroke::solid(rgb, width), frame.area);
}

/// Where curves are evaluated: every two pixels, and closely around each component.
fn positions(frame: &Frame, components: &[Component]) -> Vec<f64> {
    let (low, high) = (frame.x.low, frame.x.high);
    let count = libm::ceil(0.5 * frame.area.width).max(2.0) as usize;
    let even = (0..=count).map(|i| low + (high - low) * i as f64 / count as f64);
    let near = components
        .iter()
        .flat_map(|c| (-28..=28).map(|i| c.mean + f64::from(i) * REACH / 28.0 * c.sigma));
    let mut xs: Vec<f64> = even.chain(near).filter(|x| *x >= low && *x <= high).collect();
    xs.sort_by(f64::total_cmp);
    // Points closer than a tenth of a pixel add nothing but bytes.
    let least = 0.1 * (high - low) / frame.area.width;
    xs.dedup_by(|b, a| *b - *a < least);
    xs
}

/// The points of a curve without those on a level stretch.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let level = |i: usize| {
        let y = points[i].1;
        let near = |other: (f64, f64)| (other.1 - y).abs() < 0.01;
        i > 0 && i + 1 < points.len() && near(points[i - 1]) && near(points[i + 1])
    };
    (0..points.len()).filter(|i| !level(*i)).map(|i| points[i]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sheet::Area;
    use super::*;

    fn axis(step: f64, channels: usize) -> Axis {
        Axis { start: 10.0, step, channels, unit: "km/s".to_string() }
    }

    fn frame(axis: &Axis) -> Frame {
        Frame {
            area: Area { left: 0.0, top: 0.0, width: 100.0, height: 50.0 },
            x: axis_scale(axis),
            y: Scale::linear(0.0, 1.0),
        }
    }

    #[test]
    fn the_scale_reaches_the_channels_edges_in_either_direction() {
        let scale = axis_scale(&axis(-2.0, 5));
        assert_eq!((scale.low, scale.high), (1.0, 11.0));
    }

    #[test]
    fn a_missing_channel_leaves_a_gap() {
        let axis = axis(1.0, 4);
        let mut sheet = Sheet::new(100.0, 50.0);
        let values = [0.1, f64::NAN, 0.3, 0.4];
        steps(&mut sheet, &frame(&axis), &axis, |c| values[c], 4, OBSERVED);
        assert_eq!(sheet.finish().svg().matches("<path").count(), 2);
    }

    #[test]
    fn narrow_components_are_drawn_to_their_peak() {
        let axis = axis(1.0, 400);
        let frame = frame(&axis);
        let narrow = Component { amplitude: 1.0, mean: 123.456, sigma: 0.5 };
        let xs = positions(&frame, &[narrow]);
        let peak = xs.iter().map(|x| narrow.value(*x)).fold(0.0, f64::max);
        assert!(peak > 0.95, "{peak}");
        assert!(xs.windows(2).all(|w| w[0] < w[1]));
    }

    #[test]
    fn very_fine_channels_are_drawn_as_their_envelope() {
        let axis = axis(0.01, 100_000);
        let frame = frame(&axis);
        let spike = |c: usize| if c == 54_321 { 0.9 } else { 0.1 };
        let points = envelope(&frame, &axis, spike, 100_000);
        assert!(points.len() <= 400);
        let top = points.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
        assert!((top - 5.0).abs() < 1e-9);
    }

    #[test]
    fn residuals_are_observed_minus_model() {
        let axis = axis(1.0, 3);
        let flat = Component { amplitude: 2.0, mean: 11.0, sigma: 1.0 };
        let residual = residual(&axis, &[1.0, 2.5, f32::NAN], &[flat]);
        assert!((residual[1] - 0.5).abs() < 1e-12 && residual[2].is_nan());
    }
}
