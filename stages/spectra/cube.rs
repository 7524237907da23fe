//! Reading a cube of spectra from a FITS file.

use std::io::{Read, Seek};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::fits::ImageUnit;
use super::pixels::Pixels;
use super::wcs::{Roles, SkyGrid, axis_type, spectral_axis};
use super::{Axis, CubeError, SpectralGrid};

/// What a cube is, besides its values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CubeHeader {
    /// The spectral axis.
    pub axis: Axis,
    /// The type of the spectral axis as FITS names it (`VRAD`, `FREQ`), in upper case.
    pub axis_type: String,
    /// The number of pixels along the first sky axis.
    pub nx: usize,
    /// The number of pixels along the second sky axis.
    pub ny: usize,
    /// The unit of the intensities (`BUNIT`), or empty.
    pub unit: String,
    /// What was observed (`OBJECT`), or empty.
    pub object: String,
    /// The spectral line (`LINE`), or empty.
    pub line: String,
    /// The grid of pixels on the sky, for maps.
    pub sky: SkyGrid,
    /// The spectral axis as header cards, for cubes.
    pub spectral: SpectralGrid,
}

impl CubeHeader {
    /// The number of spectra, `nx · ny`.
    pub fn rows(&self) -> usize {
        self.nx * self.ny
    }

    /// The pixel (x, y) of spectrum `row`; rows run along x first: `row = y · nx + x`.
    pub fn pixel(&self, row: usize) -> (usize, usize) {
        (row % self.nx, row / self.nx)
    }
}

/// A cube that is read piece by piece, so that its size doesn't matter.
///
/// The first image of three or more axes in the file is the cube. Axes of length one are dropped wherever
/// they stand; the spectral axis is found by its type and may stand anywhere. Integers are
/// scaled by `BSCALE` and `BZERO`; `BLANK`, NaN and infinite values become NaN.
#[derive(Debug)]
pub struct CubeReader<R> {
    file: R,
    header: CubeHeader,
    pixels: Pixels,
    data_start: u64,
    /// How far apart neighbours along the spectral axis, x and y are in the file, in pixels.
    strides: Strides,
}

#[derive(Debug, Clone, Copy)]
struct Strides {
    channel: usize,
    x: usize,
    y: usize,
}

/// A cube in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Cube {
    /// What it is.
    pub header: CubeHeader,
    /// The spectra: rows (see [`CubeHeader::pixel`]) × channels; NaN where a value is missing.
    pub spectra: Vec<f32>,
}

impl Cube {
    /// Reads a whole cube.
    ///
    /// # Errors
    ///
    /// As [`CubeReader::open`].
    pub fn read<R: Read + Seek>(file: R) -> Result<Self, CubeError> {
        let mut reader = CubeReader::open(file)?;
        let rows = 0..reader.header.rows();
        Ok(Self { spectra: reader.rows(rows)?, header: reader.header })
    }
}

impl<R: Read + Seek> CubeReader<R> {
    /// Reads the header of a FITS file and makes sure that the data of its cube are all there.
    ///
    /// # Errors
    ///
    /// Where this isn't a FITS file, is truncated or damaged, holds no cube, or has axes that aren't understood. The
    /// error says what to do.
    pub fn open(mut file: R) -> Result<Self, CubeError> {
        let unit = ImageUnit::find(&mut file, 3)?;
        let ImageUnit { header, shape, .. } = &unit;
        let roles = Roles::find(header, shape)?;
        let stride = |axis: usize| shape[..axis].iter().product();
        let text = |keyword: &str| header.text(keyword).unwrap_or("").to_owned();
        Ok(Self {
            header: CubeHeader {
                axis: spectral_axis(header, shape, roles.spectral)?,
                axis_type: axis_type(header, roles.spectral + 1),
                nx: shape[roles.x],
                ny: shape[roles.y],
                unit: text("BUNIT"),
                object: text("OBJECT"),
                line: text("LINE"),
                sky: SkyGrid::of(header, roles.x, roles.y),
                spectral: SpectralGrid::of(header, roles.spectral),
            },
            pixels: Pixels::of(&unit)?,
            data_start: unit.data_start,
            strides: Strides {
                channel: stride(roles.spectral),
                x: stride(roles.x),
                y: stride(roles.y),
            },
            file,
        })
    }

    /// What the cube is.
    pub fn header(&self) -> &CubeHeader {
        &self.header
    }

    /// The spectra of these rows, rows × channels; NaN where a value is missing.
    ///
    /// # Errors
    ///
    /// Where the rows lie outside the cube or the file can't be read.
    pub fn rows(&mut self, rows: Range<usize>) -> Result<Vec<f32>, CubeError> {
        let CubeHeader { nx, .. } = self.header;
        let channels = self.header.axis.channels;
        if rows.start > rows.end || rows.end > self.header.rows() {
            return Err(CubeError::Rows {
                start: rows.start,
                end: rows.end,
                rows: self.header.rows(),
            });
        }
        let mut spectra = vec![f32::NAN; rows.len() * channels];
        if rows.is_empty() {
            return Ok(spectra);
        }
        let Strides { channel, x, y } = self.strides;
        let place = |row: usize, c: usize| row % nx * x + row / nx * y + c * channel;
        let mut run = Vec::new();
        // Which axis runs fastest, of those that are longer than one.
        let pace = |stride, length| if length > 1 { stride } else { usize::MAX };
        let (fast_x, fast_y) = (pace(x, nx), pace(y, self.header.ny));
        if pace(channel, channels) < fast_x.min(fast_y) {
            // Each spectrum is, but for a gap between its channels, one piece.
            for (row, spectrum) in rows.zip(spectra.chunks_exact_mut(channels)) {
                self.read_run(place(row, 0), channel, channels, &mut run)?;
                spectrum.copy_from_slice(&run);
            }
        } else if fast_x < fast_y {
            // Planes or lines of one channel: pieces along x, or of several lines where they adjoin.
            let whole_lines = y == nx * x;
            for c in 0..channels {
                let mut row = rows.start;
                while row < rows.end {
                    let end =
                        if whole_lines { rows.end } else { rows.end.min((row / nx + 1) * nx) };
                    self.read_run(place(row, c), x, end - row, &mut run)?;
                    for (value, at) in run.iter().zip(row - rows.start..) {
                        spectra[at * channels + c] = *value;
                    }
                    row = end;
                }
            }
        } else {
            // As before, with the pieces along y.
            let (first, last) = (rows.start / nx, (rows.end - 1) / nx);
            for c in 0..channels {
                for column in 0..nx {
                    self.read_run(place(first * nx + column, c), y, last - first + 1, &mut run)?;
                    for (value, line) in run.iter().zip(first..) {
                        let row = line * nx + column;
                        if rows.contains(&row) {
                            spectra[(row - rows.start) * channels + c] = *value;
                        }
                    }
                }
            }
        }
        Ok(spectra)
    }

    /// Reads `count` pixels from pixel `first` on, `stride` apart.
    fn read_run(
        &mut self,
        first: usize,
        stride: usize,
        count: usize,
        run: &mut Vec<f32>,
    ) -> Result<(), CubeError> {
        let offset = self.data_start + (first * self.pixels.bytes()) as u64;
        self.pixels.read(&mut self.file, offset, stride, count, run)
    }
}

#[cfg(test)]
#[path = "cube_tests.rs"]
mod tests;
