//! Small multiples: where each of many like panels stands.

use super::sheet::Area;

/// Rows and columns of panels of one size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    /// How many panels there are; at least one place is kept.
    pub(super) count: usize,
    /// How many stand side by side.
    pub(super) columns: usize,
    /// The top left corner of the first panel's frame.
    pub(super) corner: (f64, f64),
    /// The size of a panel's frame.
    pub(super) panel: (f64, f64),
    /// The space between frames, across and down.
    pub(super) gap: (f64, f64),
}

impl Grid {
    /// Lays `count` panels of `height` out between `left` and `right`.
    pub(super) fn new(
        count: usize,
        most_columns: usize,
        (left, right): (f64, f64),
        top: f64,
        height: f64,
        gap: (f64, f64),
    ) -> Self {
        let columns = count.clamp(1, most_columns);
        let room = right - left - gap.0 * (columns - 1) as f64;
        Self {
            count: count.max(1),
            columns,
            corner: (left, top),
            panel: (room / columns as f64, height),
            gap,
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.count.div_ceil(self.columns)
    }

    /// The frame of panel `i`, row by row from the top.
    pub(super) fn area(&self, i: usize) -> Area {
        let (row, column) = (i / self.columns, i % self.columns);
        Area {
            left: self.corner.0 + column as f64 * (self.panel.0 + self.gap.0),
            top: self.corner.1 + row as f64 * (self.panel.1 + self.gap.1),
            width: self.panel.0,
            height: self.panel.1,
        }
    }

    /// Whether no panel stands below panel `i`.
    pub(super) fn is_lowest(&self, i: usize) -> bool {
        i + self.columns >= self.count
    }

    /// Whether panel `i` is the first of its row.
    pub(super) fn is_leftmost(&self, i: usize) -> bool {
        i.is_multiple_of(self.columns)
    }

    /// The area that all frames together cover.
    pub(super) fn whole(&self) -> Area {
        let last = self.area((self.rows() - 1) * self.columns + self.columns - 1);
        Area {
            left: self.corner.0,
            top: self.corner.1,
            width: last.right() - self.corner.0,
            height: last.bottom() - self.corner.1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_fill_the_width() {
        let grid = Grid::new(5, 3, (10.0, 310.0), 20.0, 50.0, (15.0, 10.0));
        assert_eq!((grid.columns, grid.rows()), (3, 2));
        assert!((grid.area(2).right() - 310.0).abs() < 1e-9);
        assert!((grid.whole().bottom() - 130.0).abs() < 1e-9);
        let lowest: Vec<bool> = (0..5).map(|i| grid.is_lowest(i)).collect();
        assert_eq!(lowest, [false, false, true, true, true]);
        assert!(grid.is_leftmost(3) && !grid.is_leftmost(4));
        let none = Grid::new(0, 3, (0.0, 100.0), 0.0, 50.0, (5.0, 5.0));
        assert_eq!((none.columns, none.rows()), (1, 1));
    }
}
