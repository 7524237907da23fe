//! Why a figure could not be written.

/// Why a figure could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FigureError {
    /// The picture would have no pixels, or more than fit in memory.
    #[error("a picture of {width} by {height} pixels can't be drawn")]
    Size {
        /// Its width in pixels.
        width: f64,
        /// Its height in pixels.
        height: f64,
    },
    /// The drawing library refused.
    #[error("failed to draw the picture: {0}")]
    Draw(String),
    /// The drawn picture could not be read back.
    #[error("failed to read the drawn picture")]
    Decode(#[from] png::DecodingError),
    /// The picture could not be encoded.
    #[error("failed to encode the picture")]
    Encode(#[from] png::EncodingError),
}
