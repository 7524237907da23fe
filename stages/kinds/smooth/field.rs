//! The lines of all spectra of a cube, by pixel.

use std::ops::Range;

use super::shared_noise::SharedNoise;
use crate::spectra::{
    Axis, Coherence, Line, Neighbour,
    fit::{FittedSpectrum, SpectrumFit},
};

/// The most pairs of neighbours on which the coherence of a field is measured.
const MOST_PAIRS: usize = 100_000;

/// The pixels around one, in the order in which they are looked at.
const AROUND: [(i64, i64); 8] =
    [(-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1)];

/// The lines of all spectra of a cube.
pub(super) struct Field {
    axis: Axis,
    pixels: Vec<(u32, u32)>,
    /// The rows in order of their pixels, y before x.
    by_pixel: Vec<usize>,
    /// `None` where nothing could be fitted.
    lines: Vec<Option<Vec<Line>>>,
    /// The noise rms of every fit.
    noise_rms: Vec<f64>,
}

impl Field {
    /// A field of these pixels, its fits yet to be added.
    pub(super) fn new(axis: &Axis, pixels: Vec<(u32, u32)>) -> Self {
        let mut by_pixel: Vec<usize> = (0..pixels.len()).collect();
        by_pixel.sort_by_key(|row| (pixels[*row].1, pixels[*row].0));
        let lines = Vec::with_capacity(pixels.len());
        let noise_rms = Vec::with_capacity(pixels.len());
        Self { axis: axis.clone(), pixels, by_pixel, lines, noise_rms }
    }

    /// Adds the fit of the next row.
    pub(super) fn push(&mut self, fitted: &FittedSpectrum) {
        let is_fitted = fitted.fit.chi_squared.is_finite();
        self.lines.push(is_fitted.then(|| self.lines_of(&fitted.fit)));
        self.noise_rms.push(fitted.noise_rms);
    }

    /// Puts another fit in place of a row's.
    pub(super) fn change(&mut self, row: usize, fit: &SpectrumFit) {
        self.lines[row] = Some(self.lines_of(fit));
    }

    fn lines_of(&self, fit: &SpectrumFit) -> Vec<Line> {
        let line = |found: &crate::spectra::fit::FittedComponent| {
            Line::new(found.component, found.uncertainty, &self.axis)
        };
        fit.components.iter().map(line).collect()
    }

    /// The spectral axis.
    pub(super) fn axis(&self) -> &Axis {
        &self.axis
    }

    /// The lines of a row; `None` where nothing could be fitted.
    pub(super) fn lines(&self, row: usize) -> Option<&[Line]> {
        self.lines[row].as_deref()
    }

    /// The noise rms of a row's fit.
    pub(super) fn noise_rms(&self, row: usize) -> f64 {
        self.noise_rms[row]
    }

    fn row_at(&self, x: i64, y: i64) -> Option<usize> {
        let at = (u32::try_from(y).ok()?, u32::try_from(x).ok()?);
        let key = |row: &usize| (self.pixels[*row].1, self.pixels[*row].0);
        self.by_pixel.binary_search_by_key(&at, key).ok().map(|at| self.by_pixel[at])
    }

    /// The number of rows.
    pub(super) fn rows(&self) -> usize {
        self.pixels.len()
    }

    /// The row at an offset from another, where something could be fitted.
    pub(super) fn fitted_beside(&self, row: usize, (dx, dy): (i64, i64)) -> Option<usize> {
        let (x, y) = self.pixels[row];
        let other = self.row_at(i64::from(x) + dx, i64::from(y) + dy)?;
        self.lines(other).map(|_| other)
    }

    /// The rows around a row where something could be fitted, with their offsets in pixels.
    pub(super) fn around(&self, row: usize) -> impl Iterator<Item = (usize, (i64, i64))> {
        AROUND.iter().filter_map(move |offset| {
            self.fitted_beside(row, *offset).map(|other| (other, *offset))
        })
    }

    /// What a row has as a neighbour at an offset. `None` where nobody knows how much noise they share.
    fn neighbour(
        &self,
        row: usize,
        (dx, dy): (i64, i64),
        shared: &SharedNoise,
    ) -> Option<Neighbour<'_>> {
        let (lines, noise_correlation) = (self.lines(row)?, shared.at((dx, dy))?);
        Some(Neighbour { lines, squared_distance: (dx * dx + dy * dy) as f64, noise_correlation })
    }

    /// The neighbours of a row.
    pub(super) fn neighbours(&self, row: usize, shared: &SharedNoise) -> Vec<Neighbour<'_>> {
        let neighbour = |(other, offset)| self.neighbour(other, offset, shared);
        self.around(row).filter_map(neighbour).collect()
    }

    /// How coherent the field is, by pairs of spectra beside each other; of every so many rows, where there are too
    /// many pairs.
    pub(super) fn coherence(&self, shared: &SharedNoise) -> Option<Coherence> {
        let rows = self.rows();
        let step = (2 * rows).div_ceil(MOST_PAIRS).max(1);
        let mut pairs = Vec::new();
        for row in (0..rows).step_by(step) {
            let Some(lines) = self.lines(row) else { continue };
            for offset in [(1, 0), (0, 1)] {
                let other = self.fitted_beside(row, offset);
                let other = other.and_then(|other| self.neighbour(other, offset, shared));
                pairs.extend(other.map(|other| (lines, other)));
            }
        }
        Coherence::measure(&pairs)
    }

    /// Of these rows, those whose neighbours have other lines than they, with what they might have instead.
    pub(super) fn disputed(
        &self,
        coherence: &Coherence,
        shared: &SharedNoise,
        rows: Range<usize>,
        active: &[bool],
    ) -> Vec<(usize, Vec<Vec<crate::spectra::Component>>)> {
        use rayon::prelude::*;
        rows.into_par_iter()
            .filter(|row| active[*row])
            .filter_map(|row| {
                let lines = self.lines(row)?;
                let proposals = coherence.proposals(lines, &self.neighbours(row, shared));
                (!proposals.is_empty()).then_some((row, proposals))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_found_whatever_the_order_of_the_rows_and_not_across_an_edge_or_a_gap() {
        let axis = Axis { start: 0.0, step: 1.0, channels: 10, unit: String::new() };
        let pixels = vec![(2, 1), (0, 0), (1, 1), (0, 1), (2, 0), (1, 0)];
        let mut field = Field::new(&axis, pixels);
        for row in 0..6 {
            let mut fitted = FittedSpectrum::nothing(3, 1.0);
            // The pixel (1, 0) holds no data.
            if row != 5 {
                fitted.fit.chi_squared = 7.0;
            }
            field.push(&fitted);
        }
        let around = |row| field.around(row).collect::<Vec<_>>();
        assert_eq!(around(2), [(1, (-1, -1)), (4, (1, -1)), (3, (-1, 0)), (0, (1, 0))]);
        assert_eq!(around(1), [(3, (0, 1)), (2, (1, 1))]);
        assert_eq!(around(5).len(), 5);
        assert!(field.lines(5).is_none());
    }
}
