//! Why maps can't be drawn.

/// Why maps can't be drawn.
#[derive(Debug, thiserror::Error)]
pub enum MapsError {
    /// The spectra are not those of a cube.
    #[error("the spectra have no sky; maps need those that `import` makes from a cube")]
    NoSky,
    /// The catalogue is about other spectra.
    #[error("the catalogue has {catalogue} rows, but there are {spectra} spectra")]
    Rows {
        /// The rows of the catalogue.
        catalogue: u64,
        /// The rows of the spectra.
        spectra: u64,
    },
    /// The sky is larger than anything that can be drawn.
    #[error("a sky of {nx} by {ny} pixels is too large for a map")]
    Size {
        /// Pixels along axis 1.
        nx: usize,
        /// Pixels along axis 2.
        ny: usize,
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
}
