//! Writing cubes, and maps on the sky grid of a cube, as FITS files.

use std::io::Write;

use fitsio_pure::image::serialize_image_f32;

use super::fits_cards::Cards;
use super::{Cube, CubeError, SkyGrid};

/// A map: one value for each pixel of a sky grid.
#[derive(Debug, Clone, Copy)]
pub struct SkyMap<'a> {
    /// The grid.
    pub sky: &'a SkyGrid,
    /// The number of pixels along the first sky axis.
    pub nx: usize,
    /// The number of pixels along the second sky axis.
    pub ny: usize,
    /// The values, ny × nx, x running fastest; NaN where there is none.
    pub values: &'a [f32],
    /// The unit of the values (`BUNIT`), or empty.
    pub unit: &'a str,
    /// What the map shows (`BTYPE`), such as `integrated intensity`, or empty.
    pub quantity: &'a str,
}

/// Writes a cube as 32-bit reals, with axes x, y and spectral in this order.
///
/// # Errors
///
/// Where the number of values isn't that of the header, or the file can't be written.
pub fn write_cube(cube: &Cube, mut to: impl Write) -> Result<(), CubeError> {
    let header = &cube.header;
    let (channels, rows) = (header.axis.channels, header.rows());
    check_shape(rows.saturating_mul(channels), cube.spectra.len())?;
    let mut cards = Cards::image(&[header.nx, header.ny, channels])?;
    cards.sky_and_spectrum(&header.sky, &header.spectral)?;
    cards.text("BUNIT", &header.unit)?;
    for (keyword, text) in [("OBJECT", &header.object), ("LINE", &header.line)] {
        if !cards.has(keyword) {
            cards.text(keyword, text)?;
        }
    }

    to.write_all(&cards.bytes()?)?;
    let mut plane = Vec::with_capacity(rows * 4);
    for channel in 0..channels {
        plane.clear();
        for spectrum in cube.spectra.chunks_exact(channels) {
            plane.extend_from_slice(&spectrum[channel].to_be_bytes());
        }
        to.write_all(&plane)?;
    }
    let bytes = rows * channels * 4;
    to.write_all(&vec![0; bytes.next_multiple_of(fitsio_pure::BLOCK_SIZE) - bytes])?;
    Ok(to.flush()?)
}

/// Writes a map as an image of 32-bit reals.
///
/// # Errors
///
/// Where the number of values isn't nx · ny, or the file can't be written.
pub fn write_map(map: &SkyMap, mut to: impl Write) -> Result<(), CubeError> {
    check_shape(map.nx.saturating_mul(map.ny), map.values.len())?;
    let mut cards = Cards::image(&[map.nx, map.ny])?;
    cards.sky(map.sky)?;
    cards.text("BUNIT", map.unit)?;
    cards.text("BTYPE", map.quantity)?;
    to.write_all(&cards.bytes()?)?;
    to.write_all(&serialize_image_f32(map.values))?;
    Ok(to.flush()?)
}

fn check_shape(expected: usize, found: usize) -> Result<(), CubeError> {
    if expected == found { Ok(()) } else { Err(CubeError::Shape { expected, found }) }
}
