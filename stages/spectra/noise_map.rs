//! Reading a map of the noise of a cube from a FITS file.

use std::io::{Read, Seek};
use std::ops::Range;

use super::fits::ImageUnit;
use super::pixels::Pixels;
use super::{CubeError, CubeHeader};

/// Why a map of the noise can't be read, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum NoiseMapError {
    /// The file isn't such an image, or can't be read.
    #[error(transparent)]
    File(#[from] CubeError),
    /// It has other pixels than the cube.
    #[error(
        "the map has {found} pixels and the cube {nx} × {ny}: give a map of the same pixels, in the same order"
    )]
    Shape {
        /// The lengths of its axes.
        found: String,
        /// The pixels of the cube along its first sky axis.
        nx: usize,
        /// The pixels of the cube along its second sky axis.
        ny: usize,
    },
    /// It has another unit than the cube.
    #[error("the map is in `{found}` and the cube in `{cube}`: convert one of them first")]
    Unit {
        /// Its unit.
        found: String,
        /// The unit of the cube.
        cube: String,
    },
    /// A pixel holds what no noise can be.
    #[error(
        "pixel ({x}, {y}) of the map, from 0, is {value}: a noise rms is positive, or NaN where it isn't known"
    )]
    Value {
        /// The pixel along the first sky axis.
        x: usize,
        /// The pixel along the second sky axis.
        y: usize,
        /// What it holds.
        value: f32,
    },
}

/// The rms of the noise in each pixel of a cube, read piece by piece.
///
/// The first image of two or more axes in the file is the map. It is laid on the cube pixel by pixel, whatever its
/// header says about the sky. Axes of length one are dropped, wherever they stand. Values are scaled as those of a cube
/// are.
#[derive(Debug)]
pub struct NoiseMap<R> {
    file: R,
    nx: usize,
    ny: usize,
    pixels: Pixels,
    data_start: u64,
}

impl<R: Read + Seek> NoiseMap<R> {
    /// Reads the header of a FITS file and makes sure that it holds a map of the pixels of this cube.
    ///
    /// # Errors
    ///
    /// Where this isn't a FITS file, is truncated or damaged, holds no image, or one of other pixels or of another unit
    /// (`BUNIT`) than the cube's. A map that doesn't name its unit has that of the cube.
    pub fn open(mut file: R, cube: &CubeHeader) -> Result<Self, NoiseMapError> {
        let unit = ImageUnit::find(&mut file, 2)?;
        let CubeHeader { nx, ny, .. } = *cube;
        let long = |lengths: &[usize]| -> Vec<usize> {
            lengths.iter().copied().filter(|&length| length > 1).collect()
        };
        if long(&unit.shape) != long(&[nx, ny]) {
            let lengths: Vec<String> = unit.shape.iter().map(usize::to_string).collect();
            return Err(NoiseMapError::Shape { found: lengths.join(" × "), nx, ny });
        }
        if let Some(found) = unit.header.text("BUNIT")
            && !cube.unit.is_empty()
            && found != cube.unit
        {
            return Err(NoiseMapError::Unit { found: found.to_owned(), cube: cube.unit.clone() });
        }
        Ok(Self { nx, ny, pixels: Pixels::of(&unit)?, data_start: unit.data_start, file })
    }

    /// The noise rms of these rows of the cube, in the unit of its spectra; NaN where it isn't known.
    ///
    /// # Errors
    ///
    /// Where the rows lie outside the cube, a value isn't positive, or the file can't be read.
    pub fn rows(&mut self, rows: Range<usize>) -> Result<Vec<f32>, NoiseMapError> {
        let Self { nx, ny, .. } = *self;
        if rows.start > rows.end || rows.end > nx * ny {
            let Range { start, end } = rows;
            return Err(CubeError::Rows { start, end, rows: nx * ny }.into());
        }
        let mut noise = Vec::new();
        if rows.is_empty() {
            return Ok(noise);
        }
        let start = self.data_start + (rows.start * self.pixels.bytes()) as u64;
        self.pixels.read(&mut self.file, start, 1, rows.len(), &mut noise)?;
        // `<=` is false of NaN, which may be there.
        if let Some(at) = noise.iter().position(|&value| value <= 0.0) {
            let (x, y) = ((rows.start + at) % nx, (rows.start + at) / nx);
            return Err(NoiseMapError::Value { x, y, value: noise[at] });
        }
        Ok(noise)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::{Axis, Cube, CubeReader, SkyGrid, SpectralGrid, write_cube};
    use super::*;

    fn cube(nx: usize, ny: usize) -> CubeHeader {
        let axis = Axis { start: 0.0, step: 1.0, channels: 2, unit: "m/s".to_owned() };
        let header = CubeHeader {
            axis_type: "VRAD".to_owned(),
            nx,
            ny,
            unit: "K".to_owned(),
            object: String::new(),
            line: String::new(),
            sky: SkyGrid::default(),
            spectral: SpectralGrid::linear("VRAD", &axis),
            axis,
        };
        let mut bytes = Vec::new();
        let spectra = vec![0.0; nx * ny * 2];
        write_cube(&Cube { header, spectra }, &mut bytes).unwrap();
        CubeReader::open(Cursor::new(bytes)).unwrap().header().clone()
    }

    fn map(shape: &[usize], unit: &str, values: &[f32]) -> Cursor<Vec<u8>> {
        let mut file = String::new();
        let mut card = |text: String| file.extend(format!("{text:<80}").chars());
        card("SIMPLE  =                    T".to_owned());
        card("BITPIX  =                  -32".to_owned());
        card(format!("NAXIS   = {:>20}", shape.len()));
        for (axis, length) in (1..).zip(shape) {
            card(format!("NAXIS{axis}  = {length:>20}"));
        }
        if !unit.is_empty() {
            card(format!("BUNIT   = '{unit:<8}'"));
        }
        card("END".to_owned());
        let mut file = file.into_bytes();
        file.resize(2880, b' ');
        file.extend(values.iter().flat_map(|value| value.to_be_bytes()));
        file.resize(file.len().next_multiple_of(2880), 0);
        Cursor::new(file)
    }

    const NOISE: [f32; 6] = [0.1, 0.2, f32::NAN, 0.4, 0.5, f32::INFINITY];

    #[test]
    fn rows_are_those_of_the_cube() {
        for shape in [&[3, 2][..], &[3, 1, 2], &[1, 3, 2, 1]] {
            for unit in ["", "K"] {
                let mut map = NoiseMap::open(map(shape, unit, &NOISE), &cube(3, 2)).unwrap();
                let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                let whole = map.rows(0..6).unwrap();
                assert_eq!(bits(&whole), bits(&[0.1, 0.2, f32::NAN, 0.4, 0.5, f32::NAN]));
                assert_eq!(bits(&map.rows(1..4).unwrap()), bits(&whole[1..4]));
                assert!(map.rows(6..6).unwrap().is_empty());
                assert!(map.rows(5..7).is_err());
            }
        }
        // One line of pixels is one, however it lies.
        assert!(NoiseMap::open(map(&[6, 1], "K", &NOISE), &cube(1, 6)).is_ok());
    }

    #[test]
    fn a_map_that_is_not_the_cubes_is_refused_and_says_why() {
        let said = |file, cube: &CubeHeader| NoiseMap::open(file, cube).unwrap_err().to_string();
        let other = said(map(&[2, 3], "K", &NOISE), &cube(3, 2));
        assert!(other.contains("2 × 3") && other.contains("3 × 2"), "{other}");
        let unit = said(map(&[3, 2], "Jy/beam", &NOISE), &cube(3, 2));
        assert!(unit.contains("`Jy/beam`") && unit.contains("`K`"), "{unit}");
        let line = said(map(&[6], "K", &NOISE), &cube(3, 2));
        assert!(line.contains("two or more axes"), "{line}");
        assert!(said(Cursor::new(b"no FITS".to_vec()), &cube(3, 2)).contains("FITS"));
        for wrong in [0.0, -0.1] {
            let values = [0.1, 0.2, 0.3, 0.4, wrong, 0.6];
            let mut map = NoiseMap::open(map(&[3, 2], "K", &values), &cube(3, 2)).unwrap();
            assert!(map.rows(0..4).is_ok());
            let said = map.rows(2..6).unwrap_err().to_string();
            assert!(said.contains("(1, 1)") && said.contains(&wrong.to_string()), "{said}");
        }
    }
}
