//! The confusion matrix of the number of components.

use super::bar::{Bar, ramp};
use super::frame::{Frame, LINE, below, beside};
use super::scale::{Scale, Ticks, number};
use super::sheet::{Anchor, Area, Sheet};
use super::style::{BLACK, COLUMN, GREY, HAIR, PALE_GREY, Rgb, SMALL, blues, ink_on};
use super::{Figure, text};

/// Draws true against predicted counts, on a column's width.
///
/// `matrix[t][p]` is the number of spectra with `t` true and `p` predicted components; short rows
/// are filled with zeros. Each cell holds its number; its shade is the share of its row.
pub fn confusion(matrix: &[Vec<u64>]) -> Figure {
    let rows = matrix.len();
    let columns = matrix.iter().map(Vec::len).max().unwrap_or(0);
    let names = |n: usize| counts(n);
    let left = beside(names(rows).widest(SMALL));

    let scale = Scale::linear(0.0, 1.0);
    let bar = Bar {
        scale,
        ticks: scale.ticks(5, 0),
        colours: ramp(blues, 64),
        label: "Share of true count",
        beyond: (false, false),
    };
    let top = 6.0 + LINE;
    let width = COLUMN - left - bar.room() - 2.0;
    let cell = width / columns.max(rows).clamp(1, 40) as f64;
    let area = Area { left, top, width, height: cell * rows.clamp(1, 40) as f64 };
    let height = if rows == 0 || columns == 0 { 120.0 } else { area.height };
    let area = Area { height, ..area };
    let mut sheet = Sheet::new(COLUMN, area.bottom() + below());
    let frame = Frame {
        area,
        x: Scale::linear(-0.5, columns.max(1) as f64 - 0.5),
        // Row 0 is at the top, as in a table.
        y: Scale::linear(0.5 - rows.max(1) as f64, 0.5),
    };

    let total: u64 = matrix.iter().flatten().sum();
    if total == 0 {
        frame.outline(&mut sheet);
        frame.note(&mut sheet, "no spectra");
    } else {
        fill(&mut sheet, &frame, matrix, columns);
        let right: u64 = matrix.iter().enumerate().filter_map(|(i, r)| r.get(i)).sum();
        let accuracy = number(right as f64 / total as f64, 3);
        let title = format!("accuracy {accuracy}, n = {}", text::grouped(total));
        frame.title(&mut sheet, &title);
        bar.draw(&mut sheet, area);
    }
    let mut down = names(rows);
    down.values.iter_mut().for_each(|v| *v = -*v);
    frame.ticks_left(&mut sheet, &down, true);
    frame.ticks_below(&mut sheet, &names(columns), true);
    frame.label_left(&mut sheet, "True count", down.widest(SMALL));
    frame.label_below(&mut sheet, "Predicted count");
    sheet.finish()
}

/// A tick at each count below `n`; where there are many, at some of them.
fn counts(n: usize) -> Ticks {
    let every = n.div_ceil(15).max(1);
    let shown = (0..n).step_by(every);
    Ticks {
        values: shown.clone().map(|i| i as f64).collect(),
        labels: shown.map(|i| i.to_string()).collect(),
    }
}

fn fill(sheet: &mut Sheet, frame: &Frame, matrix: &[Vec<u64>], columns: usize) {
    let width = frame.area.width / columns as f64;
    let height = frame.area.height / matrix.len() as f64;
    let mut cells: Vec<(Area, Rgb)> = Vec::new();
    let mut numbers: Vec<((f64, f64), String, Rgb)> = Vec::new();
    for (t, row) in matrix.iter().enumerate() {
        let sum: u64 = row.iter().sum();
        for p in 0..columns {
            let n = row.get(p).copied().unwrap_or(0);
            let share = n as f64 / sum.max(1) as f64;
            let rgb = blues(share);
            let (x, y) = frame.at(p as f64, -(t as f64));
            let area = Area { left: x - 0.5 * width, top: y - 0.5 * height, width, height };
            cells.push((area, rgb));
            let ink = if n == 0 { GREY } else { ink_on(rgb) };
            let label = text::grouped(n);
            // Where there is room, the share stands below the number.
            if width > 45.0 && height > 28.0 && n > 0 {
                numbers.push(((x, y - 2.8), label, ink));
                let share = format!("{} %", number(100.0 * share, 1));
                numbers.push(((x, y + 9.2), share, ink));
            } else if text::width(&label, SMALL) < width - 2.0 && height > 10.0 {
                numbers.push(((x, y + 3.2), label, ink));
            }
        }
    }
    sheet.fill_all(&cells);
    for p in 1..columns {
        let (x, _) = frame.at(p as f64 - 0.5, 0.0);
        let down = (frame.area.top, frame.area.bottom());
        sheet.rule_down(x, down, HAIR, PALE_GREY);
    }
    for t in 1..matrix.len() {
        let (_, y) = frame.at(0.0, 0.5 - t as f64);
        let across = (frame.area.left, frame.area.right());
        sheet.rule_across(across, y, HAIR, PALE_GREY);
    }
    for (at, label, ink) in numbers {
        sheet.coloured_text(at, &label, SMALL, Anchor::Middle, ink);
    }
    sheet.outline(frame.area, HAIR, BLACK);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_accuracy_are_written() {
        let svg = confusion(&[vec![120, 3], vec![40, 1837], vec![0, 0]]).svg();
        for text in ["1,837", "accuracy 0.979", "n = 2,000", "True count"] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn an_empty_matrix_says_so() {
        for matrix in [vec![], vec![vec![]], vec![vec![0, 0], vec![0, 0]]] {
            assert!(confusion(&matrix).svg().contains("no spectra"));
        }
    }

    #[test]
    fn many_counts_leave_out_numbers_that_have_no_room() {
        let matrix = vec![vec![12_345; 30]; 30];
        assert!(!confusion(&matrix).svg().contains("12,345"));
    }
}
