//! Predicted against true parameters of components, one panel a parameter.

use super::bar::{Bar, ramp};
use super::frame::{Frame, LINE, below, beside};
use super::scale::{Scale, Ticks};
use super::sheet::{Anchor, Area, Sheet};
use super::style::{BLACK, BLUE, HAIR, PAGE, Rgb, SMALL, Stroke, VERMILLION, WHITE, viridis};
use super::{Figure, text};

/// Beyond this many points, their density is drawn instead of dots.
const MOST_DOTS: usize = 1500;

/// The width of a cell of the density, in pixels.
const CELL: f64 = 2.4;

/// The pairs of one parameter.
#[derive(Debug, Clone, Copy)]
pub struct ParameterPanel<'a> {
    /// The parameter's name, such as `amplitude`.
    pub name: &'a str,
    /// Its unit; may be empty.
    pub unit: &'a str,
    /// The true values.
    pub truth: &'a [f64],
    /// The predicted values, in the order of the true ones; pairs with a NaN are left out.
    pub predicted: &'a [f64],
    /// How many true components have no predicted one, written into the panel.
    pub missed: u64,
}

/// Draws the panels side by side, on a page's width, with the line of equality.
///
/// A few points are dots; thousands are a density, all panels on one logarithmic scale. The axes
/// span the true values and 99 % of the predicted ones; how many lie outside is written, and R² of
/// all pairs, inside or not.
pub fn parameters(panels: &[ParameterPanel]) -> Figure {
    let shown: Vec<Panel> = panels.iter().map(Panel::new).collect();
    let count = shown.len().max(1);
    let dense = shown.iter().any(|p| p.pairs.len() > MOST_DOTS);

    let widest = |ticks: &Ticks| ticks.widest(SMALL);
    let lefts: Vec<f64> = shown.iter().map(|p| beside(widest(&p.ticks))).collect();
    let margins: f64 = if shown.is_empty() { 30.0 } else { lefts.iter().sum() };
    let (gap, bar_room) = (8.0, if dense { 52.0 } else { 6.0 });
    let room = PAGE - bar_room - margins - gap * (count - 1) as f64;
    let side = (room / count as f64).min(240.0);

    let top = 6.0 + LINE;
    let mut sheet = Sheet::new(PAGE, top + side + below());
    let mut areas = Vec::new();
    let mut left = 0.0;
    for margin in &lefts {
        left += margin;
        areas.push(Area { left, top, width: side, height: side });
        left += side + gap;
    }

    let cells: Vec<Vec<(Area, usize)>> = shown
        .iter()
        .zip(&areas)
        .map(|(panel, area)| if dense { panel.cells(*area) } else { Vec::new() })
        .collect();
    let most = cells.iter().flatten().map(|c| c.1).max().unwrap_or(1);
    let density = Scale::logarithmic(1.0, (most as f64).max(2.0));
    for ((panel, area), cells) in shown.iter().zip(&areas).zip(&cells) {
        let colour = |count: usize| viridis(0.95 * density.fraction(count as f64));
        let filled: Vec<(Area, Rgb)> = cells.iter().map(|(a, n)| (*a, colour(*n))).collect();
        sheet.fill_all(&filled);
        panel.draw(&mut sheet, *area, !dense);
    }
    if let (true, Some(last)) = (dense, areas.last()) {
        let bar = Bar {
            scale: density,
            ticks: density.ticks(4, 0).whole(),
            colours: ramp(|t| viridis(0.95 * t), 64),
            label: "Components per cell",
            beyond: (false, false),
        };
        bar.draw(&mut sheet, *last);
    }
    if shown.is_empty() {
        let area = Area { left: 10.0, top, width: PAGE - 20.0, height: side };
        let (x, y) = (Scale::linear(0.0, 1.0), Scale::linear(0.0, 1.0));
        let frame = Frame { area, x, y };
        frame.outline(&mut sheet);
        frame.note(&mut sheet, "no parameters");
    }
    sheet.finish()
}

/// A panel with its pairs sorted out.
struct Panel<'a> {
    given: &'a ParameterPanel<'a>,
    pairs: Vec<(f64, f64)>,
    scale: Scale,
    ticks: Ticks,
    exponent: i32,
}

impl<'a> Panel<'a> {
    fn new(given: &'a ParameterPanel<'a>) -> Self {
        let pairs: Vec<(f64, f64)> = given
            .truth
            .iter()
            .zip(given.predicted)
            .map(|(t, p)| (*t, *p))
            .filter(|(t, p)| t.is_finite() && p.is_finite())
            .collect();
        let mut predicted: Vec<f64> = pairs.iter().map(|p| p.1).collect();
        predicted.sort_by(f64::total_cmp);
        // Without half a percent at either end, so that one wild value doesn't hide the others.
        let cut = predicted.len() / 200;
        let usual = predicted[cut..predicted.len() - cut].iter().copied();
        let range = pairs.iter().map(|p| p.0).chain(usual);
        let scale = Scale::around(range, 0.04);
        let exponent = scale.exponent(given.unit);
        Self { given, pairs, scale, ticks: scale.ticks(4, exponent), exponent }
    }

    fn frame(&self, area: Area) -> Frame {
        Frame { area, x: self.scale, y: self.scale }
    }

    /// The cells of the density that hold any pairs, and how many.
    fn cells(&self, area: Area) -> Vec<(Area, usize)> {
        let across = libm::round(area.width / CELL).max(1.0) as usize;
        let size = area.width / across as f64;
        let mut counts = vec![0_usize; across * across];
        let frame = self.frame(area);
        for (t, p) in &self.pairs {
            let (x, y) = frame.at(*t, *p);
            if area.holds((x, y)) {
                let column = (((x - area.left) / size) as usize).min(across - 1);
                let row = (((y - area.top) / size) as usize).min(across - 1);
                counts[row * across + column] += 1;
            }
        }
        let filled = counts.iter().enumerate().filter(|(_, n)| **n > 0);
        let holds = |row: usize, column: usize| {
            row < across && column < across && counts[row * across + column] > 0
        };
        let cell = |(i, n): (usize, &usize)| {
            let (row, column) = (i / across, i % across);
            // Reaching a little under the next cell, which is drawn later, leaves no seam.
            let reach = |next: bool| if next { size + 0.3 } else { size };
            let cell = Area {
                left: area.left + column as f64 * size,
                top: area.top + row as f64 * size,
                width: reach(holds(row, column + 1)),
                height: reach(holds(row + 1, column)),
            };
            (cell, *n)
        };
        filled.map(cell).collect()
    }

    fn draw(&self, sheet: &mut Sheet, area: Area, dots: bool) {
        let frame = self.frame(area);
        let places = frame.place(self.pairs.iter().copied());
        let inside: Vec<(f64, f64)> = places.iter().filter(|p| area.holds(**p)).copied().collect();
        if dots {
            sheet.dots(&inside, 1.5, BLUE, 0.4);
        }
        let equal =
            [frame.at(self.scale.low, self.scale.low), frame.at(self.scale.high, self.scale.high)];
        sheet.line(&equal, Stroke::dashed(VERMILLION, 0.9), area);
        frame.outline(sheet);
        frame.ticks_below(sheet, &self.ticks, true);
        frame.ticks_left(sheet, &self.ticks, true);
        let name = |kind: &str| {
            let name = format!("{kind} {}", self.given.name);
            text::axis_label(&name, self.given.unit, self.exponent)
        };
        frame.label_below(sheet, &name("True"));
        frame.label_left(sheet, &name("Predicted"), self.ticks.widest(SMALL));
        frame.title(sheet, &format!("n = {}", text::grouped(self.pairs.len() as u64)));
        if self.pairs.is_empty() {
            frame.note(sheet, "no components on both sides");
        }

        let mut notes = Vec::new();
        if let Some(r2) = r2(&self.pairs) {
            notes.push(format!("R² = {}", super::scale::number(r2, 3)));
        }
        if self.given.missed > 0 {
            notes.push(format!("{} missed", text::grouped(self.given.missed)));
        }
        let outside = self.pairs.len() - inside.len();
        if outside > 0 {
            notes.push(format!("{} outside", text::grouped(outside as u64)));
        }
        for (i, note) in notes.iter().enumerate() {
            let at = (area.left + 5.0, area.top + 11.0 + i as f64 * LINE);
            let paper = Area {
                left: at.0 - 2.0,
                top: at.1 - 8.5,
                width: text::width(note, SMALL) + 4.0,
                height: 11.0,
            };
            sheet.fill(paper, WHITE);
            sheet.coloured_text(at, note, SMALL, Anchor::Start, BLACK);
        }
        // The notes' paper may have touched the frame.
        sheet.rule_down(area.left, (area.top, area.bottom()), HAIR, BLACK);
    }
}

/// The coefficient of determination, 1 − Σ(t − p)² / Σ(t − t̄)²; none where the true values don't
/// vary.
fn r2(pairs: &[(f64, f64)]) -> Option<f64> {
    let mean = pairs.iter().map(|(t, _)| t).sum::<f64>() / pairs.len() as f64;
    let spread: f64 = pairs.iter().map(|(t, _)| (t - mean) * (t - mean)).sum();
    let missed: f64 = pairs.iter().map(|(t, p)| (t - p) * (t - p)).sum();
    let r2 = 1.0 - missed / spread;
    (spread > 0.0 && r2.is_finite()).then_some(r2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel<'a>(truth: &'a [f64], predicted: &'a [f64]) -> ParameterPanel<'a> {
        ParameterPanel { name: "mean", unit: "km/s", truth, predicted, missed: 1_234 }
    }

    #[test]
    fn a_few_points_are_dots_and_wild_ones_are_counted() {
        let truth: Vec<f64> = (0..400).map(f64::from).collect();
        let mut predicted = truth.clone();
        predicted[7] = 1e6;
        predicted[8] = f64::NAN;
        let svg = parameters(&[panel(&truth, &predicted)]).svg();
        assert_eq!(svg.matches("<circle").count(), 398);
        for text in ["n = 399", "1 outside", "1,234 missed", "True mean (km/s)"] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn r2_is_that_of_the_pairs() {
        // scikit-learn's documentation of r2_score: 0.948….
        let pairs = [(3.0, 2.5), (-0.5, 0.0), (2.0, 2.0), (7.0, 8.0)];
        assert!((r2(&pairs).unwrap() - 0.948_608_137_044_967_9).abs() < 1e-12);
        assert_eq!(r2(&[(2.0, 1.0), (2.0, 3.0)]), None);
        assert_eq!(r2(&[]), None);
        let (truth, predicted): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
        let svg = parameters(&[panel(&truth, &predicted)]).svg();
        assert!(svg.contains("R² = 0.949"));
    }

    #[test]
    fn many_points_are_a_density_that_counts_each_once() {
        let truth: Vec<f64> = (0..5000).map(|i| f64::from(i % 97)).collect();
        let given = panel(&truth, &truth);
        let shown = Panel::new(&given);
        let area = Area { left: 0.0, top: 0.0, width: 150.0, height: 150.0 };
        let cells = shown.cells(area);
        assert_eq!(cells.iter().map(|c| c.1).sum::<usize>(), 5000);
        let svg = parameters(&[given]).svg();
        assert!(!svg.contains("<circle") && svg.contains("Components per cell"));
    }

    #[test]
    fn nothing_to_show_is_said() {
        assert!(parameters(&[]).svg().contains("no parameters"));
        let svg = parameters(&[panel(&[], &[])]).svg();
        assert!(svg.contains("no components on both sides"));
        let svg = parameters(&[panel(&[1.0], &[1.0])]).svg();
        assert_eq!(svg.matches("<circle").count(), 1);
    }
}
