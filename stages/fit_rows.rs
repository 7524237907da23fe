//! What every stage that fits does with the rows of a chunk: their noise, and a fitter on every thread.

use std::ops::Range;

use pipe_engine::{StageError, Work};
use rayon::prelude::*;

use crate::{
    artifacts::SpectraReader,
    fit::{Config, NoiseFrom},
    spectra::fit::{Fitter, NoiseModel},
};

/// Spectra between which the stage can be interrupted.
const BLOCK: usize = 256;

/// The noise of a spectrum before it is fitted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GivenNoise {
    /// As it comes with the spectrum.
    pub(crate) given: NoiseModel,
    /// Whether its rms is to be measured once more on what a first fit leaves.
    pub(crate) remeasure: bool,
}

/// What `one` finds in each of the rows of a chunk: it is given the number of the row within these, the spectrum and its
/// noise, and must be a pure function of them.
pub(crate) fn fit_rows<T: Send>(
    config: &Config,
    spectra: &SpectraReader,
    rows: &Range<u64>,
    work: &Work<'_>,
    one: impl Fn(&mut Fitter, usize, &[f32], GivenNoise) -> T + Sync,
) -> Result<Vec<T>, StageError> {
    let axis = spectra.axis();
    let values = spectra.read(rows.clone())?;
    let noise = spectra.noise(rows.clone())?;
    let measured = spectra.noise_correlation(rows.clone())?;
    let remeasure = match config.noise {
        NoiseFrom::Auto => measured.is_some(),
        NoiseFrom::Given => false,
        NoiseFrom::Residual => true,
    };
    // The correlation is the spectrometer's, the same for all; many spectra tell it better than one.
    let correlation = config.noise_correlation.or_else(|| measured.and_then(median)).unwrap_or(0.0);
    let settings = config.settings();
    let mut found = Vec::with_capacity(noise.len());
    for (values, noise) in values.chunks(BLOCK * axis.channels).zip(noise.chunks(BLOCK)) {
        work.check_interrupt()?;
        work.progress(rows.start + found.len() as u64, spectra.rows(), "spectra");
        let first = found.len();
        values
            .par_chunks(axis.channels)
            .zip(noise)
            .enumerate()
            .with_min_len(8)
            .map_init(
                || Fitter::new(axis, settings),
                |fitter, (index, (spectrum, rms))| {
                    let given = NoiseModel { rms: *rms, correlation };
                    one(fitter, first + index, spectrum, GivenNoise { given, remeasure })
                },
            )
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|one| found.push(one));
    }
    Ok(found)
}

/// The median of the values that are finite.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.retain(|value| value.is_finite());
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
