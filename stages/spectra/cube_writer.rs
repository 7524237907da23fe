//! Writing cubes, and maps on the sky grid of a cube, as FITS files.

use std::io::Write;

use fitsio_pure::header::{Card, serialize_header};
use fitsio_pure::image::serialize_image_f32;
use fitsio_pure::primary::build_primary_header;
use fitsio_pure::value::Value;

use super::{CardValue, Cube, CubeError, SkyGrid};

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
    let mut cards = primary(&[header.nx, header.ny, channels])?;
    push_sky(&mut cards, &header.sky, 3)?;
    push(&mut cards, "CTYPE3", Value::String(header.axis_type.clone()))?;
    push(&mut cards, "CUNIT3", Value::String(header.axis.unit.clone()))?;
    push(&mut cards, "CRPIX3", Value::Float(1.0))?;
    push(&mut cards, "CRVAL3", Value::Float(header.axis.start))?;
    let has_cd = header.sky.cards.iter().any(|(k, _)| k.starts_with("CD") && k.contains('_'));
    let step = if has_cd { "CD3_3" } else { "CDELT3" };
    push(&mut cards, step, Value::Float(header.axis.step))?;
    push_text(&mut cards, "BUNIT", &header.unit)?;
    let is_in_sky = |keyword: &str| header.sky.cards.iter().any(|(k, _)| k == keyword);
    for (keyword, text) in [("OBJECT", &header.object), ("LINE", &header.line)] {
        if !is_in_sky(keyword) {
            push_text(&mut cards, keyword, text)?;
        }
    }

    to.write_all(&serialize_header(&cards).map_err(CubeError::Header)?)?;
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
    let mut cards = primary(&[map.nx, map.ny])?;
    push_sky(&mut cards, map.sky, 2)?;
    push_text(&mut cards, "BUNIT", map.unit)?;
    push_text(&mut cards, "BTYPE", map.quantity)?;
    to.write_all(&serialize_header(&cards).map_err(CubeError::Header)?)?;
    to.write_all(&serialize_image_f32(map.values))?;
    Ok(to.flush()?)
}

fn check_shape(expected: usize, found: usize) -> Result<(), CubeError> {
    if expected == found { Ok(()) } else { Err(CubeError::Shape { expected, found }) }
}

fn primary(shape: &[usize]) -> Result<Vec<Card>, CubeError> {
    build_primary_header(-32, shape).map_err(CubeError::Header)
}

fn push_sky(cards: &mut Vec<Card>, sky: &SkyGrid, axes: i64) -> Result<(), CubeError> {
    push(cards, "WCSAXES", Value::Integer(axes))?;
    for (keyword, value) in &sky.cards {
        let value = match value {
            CardValue::Logical(b) => Value::Logical(*b),
            CardValue::Integer(n) => Value::Integer(*n),
            CardValue::Real(x) => Value::Float(*x),
            CardValue::Text(text) => Value::String(text.clone()),
        };
        push(cards, keyword, value)?;
    }
    Ok(())
}

fn push_text(cards: &mut Vec<Card>, keyword: &str, text: &str) -> Result<(), CubeError> {
    if text.is_empty() {
        return Ok(());
    }
    push(cards, keyword, Value::String(text.to_owned()))
}

fn push(cards: &mut Vec<Card>, keyword: &str, value: Value) -> Result<(), CubeError> {
    let value = match value {
        // A header is ASCII; what isn't gets a stand-in, not a damaged file.
        Value::String(text) => Value::String(
            text.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect(),
        ),
        other => other,
    };
    cards.push(Card::new(keyword, value).map_err(CubeError::Header)?);
    Ok(())
}
