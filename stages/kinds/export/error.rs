//! What keeps a catalogue from being exported.

/// What keeps a catalogue from being exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The catalogue is about other spectra.
    #[error("the catalogue has {catalogue} rows, but there are {spectra} spectra")]
    Rows {
        /// The rows of the catalogue.
        catalogue: u64,
        /// The rows of the spectra.
        spectra: u64,
    },
    /// A spectrum stands outside the sky.
    #[error("pixel ({x}, {y}) is outside a sky of {nx} by {ny} pixels")]
    Outside {
        /// The pixel along axis 1, from 0.
        x: u32,
        /// The pixel along axis 2, from 0.
        y: u32,
        /// Pixels along axis 1.
        nx: usize,
        /// Pixels along axis 2.
        ny: usize,
    },
    /// Two spectra stand at one place.
    #[error("more than one spectrum is at pixel ({x}, {y})")]
    Twice {
        /// The pixel along axis 1, from 0.
        x: u64,
        /// The pixel along axis 2, from 0.
        y: u64,
    },
}
