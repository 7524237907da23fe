//! How the bytes of a FITS image stand for its values.

use std::io::{Read, Seek, SeekFrom};

use super::CubeError;
use super::fits::ImageUnit;

/// How the bytes of a pixel stand for its value: integers are scaled by `BSCALE` and `BZERO`; `BLANK`, NaN and infinite
/// values become NaN.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pixels {
    bitpix: i64,
    scale: f64,
    zero: f64,
    blank: Option<i64>,
}

impl Pixels {
    /// Those of an image.
    pub(super) fn of(unit: &ImageUnit) -> Result<Self, CubeError> {
        let ImageUnit { header, bitpix, .. } = unit;
        Ok(Self {
            bitpix: *bitpix,
            scale: header.real("BSCALE")?.unwrap_or(1.0),
            zero: header.real("BZERO")?.unwrap_or(0.0),
            blank: if *bitpix > 0 { header.integer("BLANK")? } else { None },
        })
    }

    /// The bytes of a pixel.
    pub(super) fn bytes(self) -> usize {
        self.bitpix.unsigned_abs() as usize / 8
    }

    /// Reads `count` pixels from byte `offset` of the file on, `stride` pixels apart; at least one.
    pub(super) fn read<R: Read + Seek>(
        self,
        file: &mut R,
        offset: u64,
        stride: usize,
        count: usize,
        into: &mut Vec<f32>,
    ) -> Result<(), CubeError> {
        let width = self.bytes();
        let mut bytes = vec![0; ((count - 1) * stride + 1) * width];
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(&mut bytes)?;
        into.clear();
        into.extend(bytes.chunks_exact(width).step_by(stride).map(|pixel| self.value(pixel)));
        Ok(())
    }

    /// The value of a pixel, whose `bytes` are big-endian; NaN if it is missing.
    fn value(self, bytes: &[u8]) -> f32 {
        let integer = match (self.bitpix, bytes) {
            (8, &[a]) => i64::from(a),
            (16, &[a, b]) => i64::from(i16::from_be_bytes([a, b])),
            (32, &[a, b, c, d]) => i64::from(i32::from_be_bytes([a, b, c, d])),
            (64, &[a, b, c, d, e, f, g, h]) => i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            (-32, &[a, b, c, d]) => return self.scaled(f32::from_be_bytes([a, b, c, d]).into()),
            (-64, &[a, b, c, d, e, f, g, h]) => {
                return self.scaled(f64::from_be_bytes([a, b, c, d, e, f, g, h]));
            }
            _ => return f32::NAN,
        };
        if self.blank == Some(integer) { f32::NAN } else { self.scaled(integer as f64) }
    }

    fn scaled(self, stored: f64) -> f32 {
        let value = (self.zero + self.scale * stored) as f32;
        // One kind of NaN only, so that equal cubes are equal bytes.
        if value.is_finite() { value } else { f32::NAN }
    }
}
