//! What a stage that fits wrote, as it had it.

use std::ops::Range;

use pipe_engine::{Artifact, StageError};

use crate::{
    artifacts::{ComponentsReader, DetailsReader},
    spectra::fit::{FittedComponent, FittedSpectrum, Flags, SpectrumFit},
};

/// A catalogue that wasn't made by least squares.
#[derive(Debug, thiserror::Error)]
#[error(
    "the catalogue has no uncertainties, χ² and log evidence; give it one of `fit` or `refine` (`refine` makes one of any)"
)]
struct NoDetails;

/// Reads a catalogue with all its details.
pub(super) struct FittedRows {
    components: ComponentsReader,
    details: DetailsReader,
}

impl FittedRows {
    pub(super) fn open(catalogue: &Artifact) -> Result<Self, StageError> {
        let components = ComponentsReader::open(catalogue)?;
        Ok(Self { components, details: DetailsReader::open(catalogue)? })
    }

    /// The number of spectra.
    pub(super) fn rows(&self) -> u64 {
        self.components.rows()
    }

    /// The most components that a spectrum may have.
    pub(super) fn slots(&self) -> usize {
        self.components.slots()
    }

    /// What was found in some rows.
    pub(super) fn read(&self, rows: Range<u64>) -> Result<Vec<FittedSpectrum>, StageError> {
        fn there<T>(values: Option<T>) -> Result<T, StageError> {
            values.ok_or_else(|| StageError::new(NoDetails))
        }
        let (details, slots) = (&self.details, self.slots());
        let components = self.components.read(rows.clone())?;
        let uncertainties = there(details.uncertainties(rows.clone())?)?;
        let component_flags = there(details.component_flags(rows.clone())?)?;
        let flags = there(details.flags(rows.clone())?)?;
        let chi_squared = there(details.chi_squared(rows.clone())?)?;
        let reduced_chi_squared = there(details.reduced_chi_squared(rows.clone())?)?;
        let log_evidence = there(details.log_evidence(rows.clone())?)?;
        let noise_rms = there(details.noise_rms(rows)?)?;
        let fitted = |(row, found): (usize, &Vec<crate::spectra::Component>)| {
            let components = found.iter().enumerate().map(|(slot, component)| FittedComponent {
                component: *component,
                uncertainty: uncertainties[row * slots + slot],
                flags: Flags::of_bits(component_flags[row * slots + slot]),
            });
            let fit = SpectrumFit {
                components: components.collect(),
                chi_squared: chi_squared[row],
                reduced_chi_squared: reduced_chi_squared[row],
                log_evidence: log_evidence[row * (slots + 1)..(row + 1) * (slots + 1)].to_vec(),
                flags: Flags::of_bits(flags[row]),
            };
            FittedSpectrum { fit, noise_rms: noise_rms[row] }
        };
        Ok(components.iter().enumerate().map(fitted).collect())
    }
}
