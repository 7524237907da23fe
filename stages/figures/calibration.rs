//! How errors compare with the standard deviations that they should have.

use super::Figure;
use super::frame::{Frame, LINE, below, beside, beside_ticks};
use super::grid::Grid;
use super::legend::{Key, Legend};
use super::mark::Mark;
use super::scale::{Scale, Ticks};
use super::sheet::{Anchor, Sheet};
use super::style::{BLUE, GREY, HAIR, ORANGE, PAGE, Rgb, SMALL, Stroke};

/// The height of a panel.
const HEIGHT: f64 = 170.0;
/// The marks of shares beyond one, two and three standard deviations.
const MARKS: [(Mark, &str); 3] =
    [(Mark::Circle, "beyond 1σ"), (Mark::Diamond, "beyond 2σ"), (Mark::Triangle, "beyond 3σ")];
/// The shares of normal errors beyond one, two and three standard deviations.
const NOMINAL: [f64; 3] = [0.317_310_507_863, 0.045_500_263_896, 0.002_699_796_063];

/// The shares of errors beyond one, two and three standard deviations, for one parameter.
#[derive(Debug, Clone, Copy)]
pub struct Beyond<'a> {
    /// The parameter.
    pub parameter: &'a str,
    /// The number of errors.
    pub errors: u64,
    /// The shares beyond one, two and three; NaN where unknown.
    pub shares: [f64; 3],
}

/// The errors of one catalogue.
#[derive(Debug, Clone, Copy)]
pub struct CalibrationSeries<'a> {
    /// Whose errors they are, such as `catalogue`.
    pub name: &'a str,
    /// Those of each parameter, the same ones in each series.
    pub parameters: &'a [Beyond<'a>],
}

/// Errors against one kind of standard deviation.
#[derive(Debug, Clone, Copy)]
pub struct CalibrationPanel<'a> {
    /// The kind, such as `Cramér–Rao bound`.
    pub name: &'a str,
    /// At most one for each of two colours.
    pub series: &'a [CalibrationSeries<'a>],
}

/// Draws the panels side by side on a page's width: for each parameter, how many errors lie beyond one, two and three
/// standard deviations, on a logarithmic scale, with the counting error of each share, and lines for normal errors. A share that
/// is less than the scale begins with is an open mark on its edge.
pub fn calibration(panels: &[CalibrationPanel]) -> Figure {
    let colours = [BLUE, ORANGE];
    let mut legend = Legend::default();
    let mut names: Vec<&str> = Vec::new();
    for series in panels.iter().flat_map(|panel| panel.series) {
        if !names.contains(&series.name) {
            names.push(series.name);
        }
    }
    let colour = |name: &str| -> Rgb {
        let place = names.iter().position(|other| *other == name).unwrap_or(0);
        colours[place % colours.len()]
    };
    for name in &names {
        legend.add(Key::Block(colour(name)), name);
    }
    for (mark, name) in MARKS {
        legend.add(Key::Mark(mark), name);
    }
    legend.add(Key::Line(Stroke::dashed(GREY, 0.9)), "normal errors");

    let y = Scale::logarithmic(0.0005, 1.0);
    let ticks = y.ticks(4, 0);
    let widest = ticks.widest(SMALL);
    let left = beside(widest);
    let top = 5.0 + legend.height(PAGE - left) + LINE;
    let gap = (beside_ticks(widest) + 16.0, below() + LINE);
    // The names of the three lines stand at the right.
    let right = PAGE - 8.0;
    let grid = Grid::new(panels.len(), 2, (left, right), top, HEIGHT, gap);
    let mut sheet = Sheet::new(PAGE, grid.whole().bottom() + below());
    legend.draw(&mut sheet, (left, 3.0), PAGE - left);

    for i in 0..grid.count {
        let panel = panels.get(i);
        let parameters = panel
            .and_then(|panel| panel.series.first())
            .map_or(&[][..], |series| series.parameters);
        let x = Scale::linear(-0.5, parameters.len().max(1) as f64 - 0.05);
        let frame = Frame { area: grid.area(i), x, y };
        if parameters.is_empty() {
            frame.note(&mut sheet, "no errors to compare");
        } else if let Some(panel) = panel {
            rules(&mut sheet, &frame);
            for series in panel.series {
                let place = names.iter().position(|name| *name == series.name).unwrap_or(0);
                let shift = 0.22 * (place as f64 - 0.5 * (names.len() as f64 - 1.0));
                marks(&mut sheet, &frame, series, shift, colour(series.name));
            }
            let labels = Ticks {
                values: (0..parameters.len()).map(|i| i as f64).collect(),
                labels: parameters.iter().map(|beyond| beyond.parameter.to_owned()).collect(),
            };
            frame.ticks_below(&mut sheet, &labels, true);
        }
        if let Some(panel) = panel {
            frame.label_below(&mut sheet, &format!("Errors over the {}", panel.name));
        }
        frame.outline(&mut sheet);
        frame.ticks_left(&mut sheet, &ticks, true);
        frame.minor_left(&mut sheet);
        if grid.is_leftmost(i) {
            frame.label_left(&mut sheet, "Share of errors beyond", widest);
        }
    }
    sheet.finish()
}

/// The lines of normal errors, each with its number of standard deviations.
fn rules(sheet: &mut Sheet, frame: &Frame) {
    let area = frame.area;
    for (share, name) in NOMINAL.into_iter().zip(["1σ", "2σ", "3σ"]) {
        let (_, y) = frame.at(0.0, share);
        let line = [(area.left, y), (area.right(), y)];
        sheet.line(&line, Stroke::dashed(GREY, 0.9), area);
        let at = (area.right() - 4.0, y - 3.0);
        sheet.coloured_text(at, name, SMALL, Anchor::End, GREY);
    }
}

fn marks(sheet: &mut Sheet, frame: &Frame, series: &CalibrationSeries, shift: f64, rgb: Rgb) {
    let area = frame.area;
    for (i, beyond) in series.parameters.iter().enumerate() {
        let n = beyond.errors as f64;
        for (share, (mark, _)) in beyond.shares.into_iter().zip(MARKS) {
            if !share.is_finite() {
                continue;
            }
            let x = i as f64 + shift;
            let room = (share * (1.0 - share) / n).sqrt();
            let ends =
                [share - room, share + room].map(|end| end.max(frame.y.low).min(frame.y.high));
            let bar = ends.map(|end| frame.at(x, end));
            sheet.line(&bar, Stroke::solid(rgb, HAIR + 0.25), area);
            if share < frame.y.low {
                mark.draw_open(sheet, frame.at(x, frame.y.low), rgb);
            } else {
                mark.draw(sheet, frame.at(x, share), rgb);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_share_is_a_mark_beside_the_lines_of_normal_errors() {
        let beyond = |parameter, shares| Beyond { parameter, errors: 400, shares };
        let parameters =
            [beyond("mean", [0.3, 0.05, 0.0]), beyond("sigma", [0.4, f64::NAN, f64::NAN])];
        let series = [
            CalibrationSeries { name: "catalogue", parameters: &parameters },
            CalibrationSeries { name: "oracle", parameters: &parameters },
        ];
        let svg = calibration(&[CalibrationPanel { name: "bound", series: &series }]).svg();
        for text in ["Errors over the bound", "2σ", ">oracle<", "Share of errors beyond", ">sigma<"]
        {
            assert!(svg.contains(text), "{text}");
        }
        // A mark a share, and those of the legend; an open one has a polygon inside.
        assert_eq!(svg.matches(" Z\"").count(), 8 + 3 + 2);
    }

    #[test]
    fn nothing_to_compare_is_said() {
        assert!(calibration(&[]).svg().contains("no errors to compare"));
        let bare = CalibrationPanel { name: "bound", series: &[] };
        assert!(calibration(&[bare]).svg().contains("no errors to compare"));
    }
}
