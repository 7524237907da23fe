//! The header of a FITS file being written, card by card.

use fitsio_pure::header::{Card, serialize_header};
use fitsio_pure::primary::build_primary_header;
use fitsio_pure::value::Value;

use super::{CardValue, CubeError, SkyGrid, SpectralGrid};

/// Cards of a header, in order.
pub(super) struct Cards(Vec<Card>);

impl Cards {
    /// Those of an image of 32-bit reals that is the whole file; its axes from the fastest.
    pub(super) fn image(shape: &[usize]) -> Result<Self, CubeError> {
        Ok(Self(build_primary_header(-32, shape).map_err(CubeError::Header)?))
    }

    /// These, which say what the unit is.
    pub(super) fn of(cards: Vec<Card>) -> Self {
        Self(cards)
    }

    /// Appends a card.
    pub(super) fn push(&mut self, keyword: &str, value: &CardValue) -> Result<(), CubeError> {
        self.0.push(Card::new(keyword, Value::from(value)).map_err(CubeError::Header)?);
        Ok(())
    }

    /// Appends a card with a comment, which is ASCII.
    pub(super) fn push_about(
        &mut self,
        keyword: &str,
        value: &CardValue,
        about: &str,
    ) -> Result<(), CubeError> {
        let card = Card::new(keyword, Value::from(value)).map_err(CubeError::Header)?;
        let comment = (!about.is_empty()).then(|| about.to_owned());
        self.0.push(Card { comment, ..card });
        Ok(())
    }

    /// Appends a text, unless it is empty.
    pub(super) fn text(&mut self, keyword: &str, text: &str) -> Result<(), CubeError> {
        if text.is_empty() {
            return Ok(());
        }
        self.push(keyword, &CardValue::Text(text.to_owned()))
    }

    /// Appends a number.
    pub(super) fn real(&mut self, keyword: &str, value: f64) -> Result<(), CubeError> {
        self.push(keyword, &CardValue::Real(value))
    }

    /// Appends the sky, of a map.
    pub(super) fn sky(&mut self, sky: &SkyGrid) -> Result<(), CubeError> {
        self.push("WCSAXES", &CardValue::Integer(2))?;
        self.all(&sky.cards)
    }

    /// Appends the sky and the spectral axis, of a cube.
    pub(super) fn sky_and_spectrum(
        &mut self,
        sky: &SkyGrid,
        spectral: &SpectralGrid,
    ) -> Result<(), CubeError> {
        self.push("WCSAXES", &CardValue::Integer(3))?;
        self.all(&sky.cards)?;
        // In a header with a CD matrix, every axis has its elements there.
        let in_matrix = super::spectral_grid::has_cd(&sky.cards)
            && !super::spectral_grid::has_cd(&spectral.cards);
        for (keyword, value) in &spectral.cards {
            let keyword = if in_matrix && keyword == "CDELT3" { "CD3_3" } else { keyword };
            self.push(keyword, value)?;
        }
        Ok(())
    }

    fn all(&mut self, cards: &[(String, CardValue)]) -> Result<(), CubeError> {
        cards.iter().try_for_each(|(keyword, value)| self.push(keyword, value))
    }

    /// Whether there is a card of this keyword.
    pub(super) fn has(&self, keyword: &str) -> bool {
        self.0.iter().any(|card| card.keyword_str() == keyword)
    }

    /// The header as it stands in a file, padded to whole blocks.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, CubeError> {
        serialize_header(&self.0).map_err(CubeError::Header)
    }
}
