//! What every stage that fits does with the rows of a chunk: their noise, a fitter on every thread, and what the rows tell
//! of each other.

use std::{ops::Range, sync::Arc};

use pipe_engine::{StageContext, StageError};
use rayon::prelude::*;

use crate::{
    artifacts::SpectraReader,
    kinds::fit::{Config, NoiseFrom, PriorFrom},
    spectra::{
        fit::{FittedSpectrum, Fitter, NoiseModel, Population, Selection, Tried},
        median,
    },
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

/// What `one` finds in each of the rows of a chunk, and what else it tells: it is given the number of the row within
/// these, the spectrum and its noise, and must be a pure function of them.
///
/// Where the prior is the field's, the population of the chunk is learned from what was tried on all of its spectra, and
/// each is judged anew by that.
pub(crate) fn fit_rows<T: Send + Sync>(
    config: &Config,
    spectra: &SpectraReader,
    rows: &Range<u64>,
    context: &StageContext<'_>,
    one: impl Fn(&mut Fitter, usize, &[f32], GivenNoise) -> (FittedSpectrum, T) + Sync,
) -> Result<Vec<(FittedSpectrum, T)>, StageError> {
    let values = spectra.read(rows.clone())?;
    let noise = spectra.noise(rows.clone())?;
    let measured = spectra.noise_correlation(rows.clone())?;
    let remeasure = match config.noise {
        NoiseFrom::Auto => measured.is_some() && !spectra.noise_is_given(),
        NoiseFrom::Given => false,
        NoiseFrom::Residual => true,
    };
    // The correlation is the spectrometer's, the same for all; many spectra tell it better than one.
    let correlation = config.noise_correlation.or_else(|| measured.and_then(median)).unwrap_or(0.0);
    let pass = Pass { spectra, values: &values, rows, context };

    let learns = config.prior == PriorFrom::Field && config.selection == Selection::Evidence;
    let mut fitter = Fitter::new(spectra.axis(), config.settings());
    let found: Vec<((FittedSpectrum, T), Option<Tried>)> =
        pass.over(&fitter, |fitter, row, spectrum| {
            let given = NoiseModel { rms: noise[row], correlation };
            let found = one(fitter, row, spectrum, GivenNoise { given, remeasure });
            (found, learns.then(|| fitter.tried()))
        })?;
    let tried: Vec<&Tried> = found.iter().filter_map(|(_, tried)| tried.as_ref()).collect();
    let Some(population) = Population::learn(&tried) else {
        return Ok(found.into_iter().map(|(found, _)| found).collect());
    };
    fitter.expect(Arc::new(population));
    let again = pass.over(&fitter, |fitter, row, spectrum| {
        let ((FittedSpectrum { fit, noise_rms }, _), tried) = &found[row];
        let noise = NoiseModel { rms: *noise_rms, correlation };
        tried.as_ref().and_then(|tried| fitter.reconsider(spectrum, noise, fit, tried))
    })?;
    let judged = found.into_iter().zip(again).map(|(((mut found, other), _), again)| {
        if let Some(again) = again {
            found.fit = again;
        }
        (found, other)
    });
    Ok(judged.collect())
}

/// The rows of a chunk, to be gone through more than once.
struct Pass<'a> {
    spectra: &'a SpectraReader,
    /// Rows × channels.
    values: &'a [f32],
    rows: &'a Range<u64>,
    context: &'a StageContext<'a>,
}

impl Pass<'_> {
    /// What `one` gives for each row, in parallel.
    fn over<T: Send>(
        &self,
        fitter: &Fitter,
        one: impl Fn(&mut Fitter, usize, &[f32]) -> T + Sync,
    ) -> Result<Vec<T>, StageError> {
        let channels = self.spectra.axis().channels;
        let mut found = Vec::with_capacity(self.values.len() / channels);
        for values in self.values.chunks(BLOCK * channels) {
            self.context.check_interrupt()?;
            let done = self.rows.start + found.len() as u64;
            self.context.progress(done, self.spectra.rows(), "spectra");
            let first = found.len();
            let mut block: Vec<T> = values
                .par_chunks(channels)
                .enumerate()
                .with_min_len(8)
                .map_init(
                    || fitter.clone(),
                    |fitter, (at, spectrum)| one(fitter, first + at, spectrum),
                )
                .collect();
            found.append(&mut block);
        }
        Ok(found)
    }
}
