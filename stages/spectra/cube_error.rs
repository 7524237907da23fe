//! Why a cube can't be read or written.

/// Why a cube can't be read or written, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum CubeError {
    /// The file can't be read or written.
    #[error("the file can't be read or written: {0}")]
    Io(#[from] std::io::Error),
    /// The file doesn't begin as a FITS file does.
    #[error("this is not a FITS file: it does not begin with `SIMPLE  =`")]
    NotFits,
    /// The file is compressed as a whole.
    #[error("the file is compressed by gzip: uncompress it first (`gunzip`)")]
    Gzip,
    /// The only image of enough axes is tile-compressed.
    #[error("the image in HDU {hdu} is tile-compressed: uncompress it first (`funpack`)")]
    TileCompressed {
        /// The number of the header and data unit, from 0.
        hdu: usize,
    },
    /// A header doesn't end before the file does, or is absurdly long.
    #[error("the header of HDU {hdu} has no END: the file is truncated or damaged")]
    EndlessHeader {
        /// The number of the header and data unit, from 0.
        hdu: usize,
    },
    /// A line of a header isn't text.
    #[error("line {line} of the header of HDU {hdu} is not a FITS card: the file is damaged")]
    Card {
        /// The number of the header and data unit, from 0.
        hdu: usize,
        /// The number of the line, from 1.
        line: usize,
    },
    /// A keyword that every image has is missing.
    #[error("the header of HDU {hdu} lacks the keyword `{keyword}`")]
    Missing {
        /// The number of the header and data unit, from 0.
        hdu: usize,
        /// The keyword.
        keyword: String,
    },
    /// A keyword has a value that it can't have.
    #[error("`{keyword}` in the header of HDU {hdu} must be {expected}")]
    Value {
        /// The number of the header and data unit, from 0.
        hdu: usize,
        /// The keyword.
        keyword: String,
        /// What its value must be.
        expected: &'static str,
    },
    /// The header promises more data than any file can hold.
    #[error("the header of HDU {hdu} gives a size that no file can have: it is damaged")]
    Size {
        /// The number of the header and data unit, from 0.
        hdu: usize,
    },
    /// The file is shorter than its header says.
    #[error(
        "the file is truncated: the data of HDU {hdu} need {expected} bytes, and {found} are \
         there; fetch it again"
    )]
    Truncated {
        /// The number of the header and data unit, from 0.
        hdu: usize,
        /// The bytes that the header promises.
        expected: u64,
        /// The bytes that are there.
        found: u64,
    },
    /// No image in the file has enough axes.
    #[error("the file holds no image with {} or more axes, only {found}", if *axes == 2 { "two" } else { "three" })]
    NoImage {
        /// How many it should have: 3 for a cube, 2 for a map.
        axes: usize,
        /// What it holds.
        found: String,
    },
    /// An axis of the image has length zero.
    #[error("axis {axis} of the image has no elements (NAXIS{axis} = 0)")]
    EmptyAxis {
        /// The number of the axis, from 1.
        axis: usize,
    },
    /// No axis is a velocity, frequency or wavelength.
    #[error(
        "no axis of the cube is spectral: their CTYPEs are {found}, and one should be a velocity, \
         frequency or wavelength such as VRAD, VOPT, VELO-LSR, FREQ, WAVE"
    )]
    NoSpectralAxis {
        /// The types of the axes.
        found: String,
    },
    /// Besides the spectral axis, more than two axes are longer than one.
    #[error(
        "the cube has {count} axes longer than one besides the spectral one (sizes {shape}); \
         cut out one polarisation or field first"
    )]
    TooManyAxes {
        /// How many.
        count: usize,
        /// The lengths of all axes.
        shape: String,
    },
    /// The spectral axis isn't linear.
    #[error(
        "the spectral axis `{ctype}` is not linear in its channels: resample the cube to a \
         linear axis first"
    )]
    NonLinear {
        /// Its type.
        ctype: String,
    },
    /// The spectral value of a channel changes over the sky.
    #[error(
        "the spectral axis is tilted against the sky (`{keyword}` is not 0): resample the cube first"
    )]
    Tilted {
        /// The keyword that says so.
        keyword: String,
    },
    /// The width of a channel is zero or no number.
    #[error(
        "the spectral axis {axis} has no usable channel width or reference value (CDELT, CRVAL, CRPIX)"
    )]
    Step {
        /// The number of the axis, from 1.
        axis: usize,
    },
    /// Rows beyond the end of the cube were asked for.
    #[error("rows {start} to {end} were asked for, and the cube has {rows}")]
    Rows {
        /// The first row asked for.
        start: usize,
        /// The end of the rows asked for.
        end: usize,
        /// The number of rows.
        rows: usize,
    },
    /// The values to write aren't as many as the grid has.
    #[error("{found} values do not fill a grid of {expected}")]
    Shape {
        /// How many the grid needs.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A value of a table doesn't fit its column.
    #[error("a value doesn't fit column {column} of the table")]
    Cell {
        /// The number of the column, from 1.
        column: usize,
    },
    /// A header can't be written.
    #[error("the header can't be written: {0}")]
    Header(fitsio_pure::Error),
}
