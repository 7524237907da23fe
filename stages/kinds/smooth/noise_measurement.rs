//! How the noise that neighbours share is measured.

use std::collections::BTreeMap;

use pipe_engine::{StageContext, StageError};
use rayon::prelude::*;

use super::{
    field::Field,
    shared_noise::{OFFSETS, SharedNoise},
};
use crate::{
    artifacts::{SpectraReader, chunks},
    spectra::{Component, Residual, median},
};

/// About as many spectra are compared with those next to them, at the most.
const MOST_SPECTRA: usize = 1_000;

impl SharedNoise {
    /// Measures it on what the fits of a field leave: the median over pairs of pixels, for each offset. Noise that
    /// repels its neighbours' isn't known; what is below zero is chance, and is zero.
    pub(super) fn measure(
        context: &StageContext<'_>,
        spectra: &SpectraReader,
        field: &Field,
    ) -> Result<Self, StageError> {
        let rows = field.rows();
        let mut pairs: [Vec<(usize, usize)>; 4] = [const { Vec::new() }; 4];
        let mut wanted = vec![false; rows];
        for row in (0..rows).step_by(rows.div_ceil(MOST_SPECTRA).max(1)) {
            for (pairs, offset) in pairs.iter_mut().zip(OFFSETS) {
                if let Some(other) = field.fitted_beside(row, offset) {
                    pairs.push((row, other));
                    wanted[row] = true;
                    wanted[other] = true;
                }
            }
        }
        let mut residuals = BTreeMap::new();
        let channels = field.axis().channels;
        for range in chunks(spectra.rows()) {
            context.check_interrupt()?;
            let first = range.start as usize;
            let wanted: Vec<usize> =
                (first..range.end as usize).filter(|row| wanted[*row]).collect();
            if wanted.is_empty() {
                continue;
            }
            let values = spectra.read(range)?;
            let residual = |row: usize| {
                let lines = field.lines(row)?;
                let components: Vec<Component> = lines.iter().map(|line| line.component).collect();
                let spectrum = &values[(row - first) * channels..][..channels];
                let rms = field.noise_rms(row);
                Some((row, Residual::new(spectrum, &components, field.axis(), rms)))
            };
            let left: Vec<Option<(usize, Residual)>> =
                wanted.into_par_iter().map(residual).collect();
            residuals.extend(left.into_iter().flatten());
        }
        let correlations = pairs.map(|pairs| {
            let found = pairs
                .par_iter()
                .filter_map(|(a, b)| residuals.get(a)?.correlation(residuals.get(b)?))
                .collect();
            median(found).map(|median| median.max(0.0))
        });
        Ok(Self { correlations })
    }
}
