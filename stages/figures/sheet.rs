//! The sheet a figure is drawn on: a thin layer over the drawing library's primitives.
//!
//! It does what both of the library's writers do differently: clips lines and areas, breaks lines
//! into dashes, and draws rules as filled rectangles. Nothing that isn't finite gets through.

use std::fmt::Write;

use kuva::render::color::Color;
use kuva::render::render::{PathData, Primitive, Scene, TextAnchor};

use super::figure::Figure;
use super::style::{BLACK, DASH, Rgb, Stroke, paint};
use super::text;

/// A rectangle on the sheet, in pixels; y runs downwards.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Area {
    pub(super) fn right(&self) -> f64 {
        self.left + self.width
    }

    pub(super) fn bottom(&self) -> f64 {
        self.top + self.height
    }

    pub(super) fn centre(&self) -> (f64, f64) {
        (self.left + 0.5 * self.width, self.top + 0.5 * self.height)
    }

    pub(super) fn holds(&self, (x, y): (f64, f64)) -> bool {
        x >= self.left && x <= self.right() && y >= self.top && y <= self.bottom()
    }

    fn is_finite(&self) -> bool {
        [self.left, self.top, self.width, self.height].iter().all(|v| v.is_finite())
    }
}

/// Which part of a text stands at its position.
#[derive(Debug, Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// What a figure is drawn on.
#[derive(Debug)]
pub(super) struct Sheet {
    scene: Scene,
}

impl Sheet {
    pub(super) fn new(width: f64, height: f64) -> Self {
        let mut scene = Scene::new(width, libm::ceil(height));
        scene.font_family = Some("DejaVu Sans, Verdana, Arial, sans-serif".to_string());
        Self { scene }
    }

    pub(super) fn finish(self) -> Figure {
        Figure::new(self.scene)
    }

    /// Text with its baseline at y.
    pub(super) fn text(&mut self, (x, y): (f64, f64), content: &str, size: u32, anchor: Anchor) {
        self.write((x, y), content, size, anchor, None, BLACK);
    }

    /// Text in a colour.
    pub(super) fn coloured_text(
        &mut self,
        at: (f64, f64),
        content: &str,
        size: u32,
        anchor: Anchor,
        rgb: Rgb,
    ) {
        self.write(at, content, size, anchor, None, rgb);
    }

    /// Text that reads upwards, centred on a point of its baseline.
    pub(super) fn upward_text(&mut self, at: (f64, f64), content: &str, size: u32) {
        self.write(at, content, size, Anchor::Middle, Some(-90.0), BLACK);
    }

    fn write(
        &mut self,
        (x, y): (f64, f64),
        content: &str,
        size: u32,
        anchor: Anchor,
        rotate: Option<f64>,
        rgb: Rgb,
    ) {
        if content.is_empty() || !x.is_finite() || !y.is_finite() {
            return;
        }
        self.scene.add(Primitive::Text {
            x,
            y,
            content: text::clean(content),
            size,
            anchor: match anchor {
                Anchor::Start => TextAnchor::Start,
                Anchor::Middle => TextAnchor::Middle,
                Anchor::End => TextAnchor::End,
            },
            rotate,
            bold: false,
            color: Some(paint(rgb)),
        });
    }

    /// A filled rectangle.
    pub(super) fn fill(&mut self, area: Area, rgb: Rgb) {
        if area.is_finite() && area.width > 0.0 && area.height > 0.0 {
            self.scene.add(Primitive::Rect {
                x: area.left,
                y: area.top,
                width: area.width,
                height: area.height,
                fill: paint(rgb),
                stroke: None,
                stroke_width: None,
                opacity: None,
            });
        }
    }

    /// Many filled rectangles.
    pub(super) fn fill_all(&mut self, cells: &[(Area, Rgb)]) {
        let cells = cells.iter().filter(|(area, _)| area.is_finite());
        let (mut x, mut y, mut w, mut h, mut fills) = (vec![], vec![], vec![], vec![], vec![]);
        for (area, rgb) in cells {
            x.push(area.left);
            y.push(area.top);
            w.push(area.width);
            h.push(area.height);
            fills.push(paint(*rgb));
        }
        if !x.is_empty() {
            self.scene.add(Primitive::RectBatch { x, y, w, h, fills });
        }
    }

    /// A horizontal rule, centred on y.
    pub(super) fn rule_across(&mut self, (x0, x1): (f64, f64), y: f64, width: f64, rgb: Rgb) {
        let area = Area { left: x0, top: y - 0.5 * width, width: x1 - x0, height: width };
        self.fill(area, rgb);
    }

    /// A vertical rule, centred on x.
    pub(super) fn rule_down(&mut self, x: f64, (y0, y1): (f64, f64), width: f64, rgb: Rgb) {
        let area = Area { left: x - 0.5 * width, top: y0, width, height: y1 - y0 };
        self.fill(area, rgb);
    }

    /// The outline of an area, centred on its edges.
    pub(super) fn outline(&mut self, area: Area, width: f64, rgb: Rgb) {
        let across = (area.left - 0.5 * width, area.right() + 0.5 * width);
        let down = (area.top, area.bottom());
        self.rule_across(across, area.top, width, rgb);
        self.rule_across(across, area.bottom(), width, rgb);
        self.rule_down(area.left, down, width, rgb);
        self.rule_down(area.right(), down, width, rgb);
    }

    /// A line through the points, cut at `clip`; a point that isn't finite breaks it.
    pub(super) fn line(&mut self, points: &[(f64, f64)], stroke: Stroke, clip: Area) {
        for run in points.split(|(x, y)| !x.is_finite() || !y.is_finite()) {
            for piece in clipped(run, clip) {
                if stroke.dashed {
                    for dash in dashes(&piece) {
                        self.polyline(dash, stroke);
                    }
                } else {
                    self.polyline(piece, stroke);
                }
            }
        }
    }

    fn polyline(&mut self, points: Vec<(f64, f64)>, stroke: Stroke) {
        self.scene.add(Primitive::PolyLine {
            points,
            stroke: paint(stroke.rgb),
            stroke_width: stroke.width,
            stroke_dasharray: None,
        });
    }

    /// A translucent polygon; corners outside `clip` are moved to its edge.
    pub(super) fn polygon(&mut self, points: &[(f64, f64)], rgb: Rgb, opacity: f64, clip: Area) {
        let mut d = String::new();
        for (x, y) in points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()) {
            // An area may be left no room by what stands beside it.
            let x = x.max(clip.left).min(clip.right());
            let y = y.max(clip.top).min(clip.bottom());
            let command = if d.is_empty() { 'M' } else { 'L' };
            // Writing to a string can't fail.
            let _ = write!(d, "{command} {x:.2} {y:.2} ");
        }
        if d.is_empty() {
            return;
        }
        d.push('Z');
        self.scene.add(Primitive::Path(Box::new(PathData {
            d,
            fill: Some(paint(rgb)),
            stroke: Color::None,
            stroke_width: 0.0,
            opacity: Some(opacity),
            stroke_dasharray: None,
        })));
    }

    /// Translucent dots.
    pub(super) fn dots(&mut self, centres: &[(f64, f64)], radius: f64, rgb: Rgb, opacity: f64) {
        let finite = centres.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
        let (cx, cy): (Vec<f64>, Vec<f64>) = finite.copied().unzip();
        if !cx.is_empty() {
            self.scene.add(Primitive::CircleBatch {
                cx,
                cy,
                r: radius,
                fill: paint(rgb),
                fill_opacity: Some(opacity),
                stroke: None,
                stroke_width: None,
            });
        }
    }
}

/// The parts of a line inside `clip` (Liang and Barsky's test on each segment).
fn clipped(points: &[(f64, f64)], clip: Area) -> Vec<Vec<(f64, f64)>> {
    let mut pieces: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut joined = false;
    for pair in points.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        let Some((from, to)) = span_inside(a, b, clip) else {
            joined = false;
            continue;
        };
        let at = |t: f64| (a.0 + t * (b.0 - a.0), a.1 + t * (b.1 - a.1));
        let (start, end) = (at(from), if to >= 1.0 { b } else { at(to) });
        match pieces.last_mut() {
            Some(piece) if joined && from <= 0.0 => piece.push(end),
            _ => pieces.push(vec![start, end]),
        }
        joined = to >= 1.0;
    }
    pieces
}

/// The share of the segment a → b, from 0 to 1, that lies inside `clip`.
fn span_inside(a: (f64, f64), b: (f64, f64), clip: Area) -> Option<(f64, f64)> {
    let (mut from, mut to) = (0.0_f64, 1.0_f64);
    for (start, delta, low, high) in
        [(a.0, b.0 - a.0, clip.left, clip.right()), (a.1, b.1 - a.1, clip.top, clip.bottom())]
    {
        if delta == 0.0 {
            if start < low || start > high {
                return None;
            }
            continue;
        }
        let (t0, t1) = ((low - start) / delta, (high - start) / delta);
        from = from.max(t0.min(t1));
        to = to.min(t0.max(t1));
    }
    (from <= to).then_some((from, to))
}

/// The drawn parts of a dashed line.
fn dashes(points: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
    let mut out = Vec::new();
    let mut current = vec![points[0]];
    let (mut drawing, mut left) = (true, DASH[0]);
    for pair in points.windows(2) {
        let (mut a, b) = (pair[0], pair[1]);
        loop {
            let length = libm::hypot(b.0 - a.0, b.1 - a.1);
            if length <= left {
                left -= length;
                if drawing {
                    current.push(b);
                }
                break;
            }
            let t = left / length;
            a = (a.0 + t * (b.0 - a.0), a.1 + t * (b.1 - a.1));
            if drawing {
                current.push(a);
                out.push(std::mem::take(&mut current));
            } else {
                current = vec![a];
            }
            drawing = !drawing;
            left = DASH[usize::from(!drawing)];
        }
    }
    if drawing && current.len() > 1 {
        out.push(current);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOX: Area = Area { left: 0.0, top: 0.0, width: 10.0, height: 10.0 };

    #[test]
    fn a_line_is_cut_where_it_leaves() {
        let line = [(-5.0, 5.0), (5.0, 5.0), (5.0, 20.0), (8.0, 20.0), (8.0, 5.0)];
        let pieces = clipped(&line, BOX);
        assert_eq!(
            pieces,
            [vec![(0.0, 5.0), (5.0, 5.0), (5.0, 10.0)], vec![(8.0, 10.0), (8.0, 5.0)],]
        );
        assert!(clipped(&[(-1.0, -1.0), (-2.0, 20.0)], BOX).is_empty());
    }

    #[test]
    fn dashes_go_round_corners() {
        let line = [(0.0, 0.0), (3.0, 0.0), (3.0, 7.0)];
        let pieces = dashes(&line);
        assert_eq!(pieces.len(), 2);
        assert_eq!(pieces[0], [(0.0, 0.0), (3.0, 0.0), (3.0, 1.0)]);
        assert!((pieces[1][0].1 - 3.2).abs() < 1e-12);
        assert!((pieces[1][1].1 - 7.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_not_finite_is_left_out() {
        let mut sheet = Sheet::new(100.0, 50.0);
        sheet.text((f64::NAN, 1.0), "lost", 9, Anchor::Start);
        sheet.dots(&[(f64::INFINITY, 1.0), (2.0, 3.0)], 1.0, BLACK, 1.0);
        let line = [(1.0, 1.0), (2.0, 2.0), (f64::NAN, 3.0), (4.0, 4.0), (5.0, 4.0)];
        sheet.line(&line, Stroke::solid(BLACK, 1.0), BOX);
        let svg = sheet.finish().svg();
        assert!(!svg.contains("lost") && !svg.contains("NaN"));
        assert_eq!(svg.matches("<circle").count(), 1);
        assert_eq!(svg.matches("<path").count(), 2);
    }
}
