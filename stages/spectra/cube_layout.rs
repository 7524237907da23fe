//! Where the values of a cube lie in a FITS file, so that it can be written in pieces and in any order.

use super::fits_cards::Cards;
use super::{Axis, CubeError, SkyGrid, SpectralGrid};

/// Bytes of a value.
const WIDTH: u64 = 4;

/// A FITS file of 32-bit reals that holds a spectrum for each of many pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct CubeLayout {
    header: Vec<u8>,
    pixels: u64,
    channels: u64,
    is_cube: bool,
}

impl CubeLayout {
    /// A cube with axes x, y and spectral, in this order. Pixel (x, y) has the number y · nx + x.
    ///
    /// `unit` is that of the values (`BUNIT`), `quantity` what they are (`BTYPE`); either may be empty.
    ///
    /// # Errors
    /// Where a card can't be spelled.
    pub fn cube(
        [nx, ny]: [usize; 2],
        channels: usize,
        (sky, spectral): (&SkyGrid, &SpectralGrid),
        unit: &str,
        quantity: &str,
    ) -> Result<Self, CubeError> {
        let mut cards = Cards::image(&[nx, ny, channels])?;
        cards.sky_and_spectrum(sky, spectral)?;
        cards.text("BUNIT", unit)?;
        cards.text("BTYPE", quantity)?;
        let pixels = (nx * ny) as u64;
        Ok(Self { header: cards.bytes()?, pixels, channels: channels as u64, is_cube: true })
    }

    /// An image of spectra that have no place on the sky: a spectrum a line, the first axis spectral.
    ///
    /// # Errors
    /// Where a card can't be spelled.
    pub fn lines(rows: usize, axis: &Axis, unit: &str, quantity: &str) -> Result<Self, CubeError> {
        let mut cards = Cards::image(&[axis.channels, rows])?;
        cards.text("CTYPE1", "SPECTRUM")?;
        cards.text("CUNIT1", &axis.unit)?;
        cards.real("CRPIX1", 1.0)?;
        cards.real("CRVAL1", axis.start)?;
        cards.real("CDELT1", axis.step)?;
        cards.text("CTYPE2", "ROW")?;
        cards.real("CRPIX2", 1.0)?;
        cards.real("CRVAL2", 0.0)?;
        cards.real("CDELT2", 1.0)?;
        cards.text("BUNIT", unit)?;
        cards.text("BTYPE", quantity)?;
        let (pixels, channels) = (rows as u64, axis.channels as u64);
        Ok(Self { header: cards.bytes()?, pixels, channels, is_cube: false })
    }

    /// The bytes with which the file begins.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// The number of pixels, each of which has a spectrum.
    pub fn pixels(&self) -> u64 {
        self.pixels
    }

    /// The size of the whole file, its last block filled up with zeros.
    pub fn size(&self) -> u64 {
        let data = self.pixels * self.channels * WIDTH;
        self.header.len() as u64 + data.next_multiple_of(fitsio_pure::BLOCK_SIZE as u64)
    }

    /// Hands the bytes of the spectra of neighbouring pixels, from pixel `first` on, to `write`, each piece with its
    /// place in the file. `values` are pixels × channels.
    ///
    /// # Errors
    /// Those of `write`.
    ///
    /// # Panics
    /// When there are more values than pixels from `first` on.
    pub fn place<E>(
        &self,
        first: u64,
        values: &[f32],
        mut write: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let channels = self.channels as usize;
        let count = values.len() / channels.max(1);
        assert!(first + count as u64 <= self.pixels, "more spectra than pixels");
        let start = self.header.len() as u64;
        let mut bytes =
            Vec::with_capacity(WIDTH as usize * if self.is_cube { count } else { values.len() });
        if !self.is_cube {
            bytes.extend(values.iter().flat_map(|value| value.to_be_bytes()));
            return write(start + first * self.channels * WIDTH, &bytes);
        }
        for channel in 0..channels {
            bytes.clear();
            let plane = values[channel..].iter().step_by(channels);
            bytes.extend(plane.flat_map(|value| value.to_be_bytes()));
            write(start + (channel as u64 * self.pixels + first) * WIDTH, &bytes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CardValue, Cube, CubeHeader, CubeReader};
    use super::*;

    /// The file that comes of placing these spectra in an order.
    fn written(layout: &CubeLayout, pieces: &[(u64, &[f32])]) -> Vec<u8> {
        let mut file = vec![0; layout.size() as usize];
        file[..layout.header().len()].copy_from_slice(layout.header());
        for (first, values) in pieces {
            let into = |at: u64, bytes: &[u8]| -> Result<(), CubeError> {
                file[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
                Ok(())
            };
            layout.place(*first, values, into).unwrap();
        }
        file
    }

    #[test]
    fn a_cube_written_in_pieces_is_the_cube_written_at_once() {
        let axis = Axis { start: -5.0, step: 0.5, channels: 4, unit: "km/s".to_owned() };
        let sky = SkyGrid { cards: vec![("CDELT1".to_owned(), CardValue::Real(-0.25))] };
        let spectral = SpectralGrid::linear("VRAD", &axis);
        let values: Vec<f32> = (0..24_u8).map(f32::from).collect();
        let header = CubeHeader {
            axis: axis.clone(),
            axis_type: "VRAD".to_owned(),
            nx: 3,
            ny: 2,
            unit: "K".to_owned(),
            object: String::new(),
            line: String::new(),
            sky: sky.clone(),
            spectral: spectral.clone(),
        };
        let mut whole = Vec::new();
        let cube = Cube { header, spectra: values.clone() };
        super::super::write_cube(&cube, &mut whole).unwrap();
        let layout = CubeLayout::cube([3, 2], 4, (&sky, &spectral), "K", "").unwrap();
        let pieces = [(4, &values[16..]), (0, &values[..4]), (1, &values[4..16])];
        assert!(written(&layout, &pieces) == whole);
        let back = CubeReader::open(std::io::Cursor::new(whole)).unwrap();
        assert_eq!(back.header().spectral, spectral);
    }

    #[test]
    fn spectra_without_a_sky_are_lines() {
        let axis = Axis { start: 3.0, step: 2.0, channels: 2, unit: String::new() };
        let layout = CubeLayout::lines(3, &axis, "K", "model").unwrap();
        let file = written(&layout, &[(1, &[3.0, 4.0, 5.0, 6.0]), (0, &[1.0, 2.0])]);
        let data = &file[layout.header().len()..][..24];
        let values: Vec<f32> =
            data.chunks_exact(4).map(|b| f32::from_be_bytes([b[0], b[1], b[2], b[3]])).collect();
        assert_eq!(values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }
}
