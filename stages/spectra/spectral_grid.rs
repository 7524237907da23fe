//! The spectral axis as header cards, so that a cube made from another keeps its world coordinates.

use fitsio_pure::value::Value;
use serde::{Deserialize, Serialize};

use super::fits::Header;
use super::wcs::card_value;
use super::{Axis, CardValue};

/// Keywords that belong to the axis.
const AXIS_KEYWORDS: [&str; 6] = ["CTYPE", "CUNIT", "CRPIX", "CRVAL", "CDELT", "CNAME"];

/// Keywords of the spectral coordinate that belong to no axis (Greisen et al. 2006, A&A 446, 747, table 1, and the
/// older ones of AIPS).
const KEYWORDS: [&str; 20] = [
    "RESTFRQ", "RESTFREQ", "RESTWAV", "SPECSYS", "SSYSOBS", "SSYSSRC", "VELOSYS", "ZSOURCE",
    "VELANGL", "VELREF", "ALTRVAL", "ALTRPIX", "OBSGEO-X", "OBSGEO-Y", "OBSGEO-Z", "DATE-AVG",
    "MJD-AVG", "MJDREF", "TIMESYS", "VELO-LSR",
];

/// The spectral axis of a cube: the header cards that a cube on it carries, in order. The axis is numbered 3, whatever
/// it was before.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SpectralGrid {
    /// Keywords and values.
    pub cards: Vec<(String, CardValue)>,
}

impl SpectralGrid {
    /// A linear axis of a FITS type such as `VRAD`, which may be empty.
    pub fn linear(axis_type: &str, axis: &Axis) -> Self {
        let text = |keyword: &str, text: &str| {
            (!text.is_empty()).then(|| (keyword.to_owned(), CardValue::Text(text.to_owned())))
        };
        let real = |keyword: &str, value| Some((keyword.to_owned(), CardValue::Real(value)));
        let cards = [
            text("CTYPE3", axis_type),
            text("CUNIT3", &axis.unit),
            real("CRPIX3", 1.0),
            real("CRVAL3", axis.start),
            real("CDELT3", axis.step),
        ];
        Self { cards: cards.into_iter().flatten().collect() }
    }

    /// The cards of `header` that describe its axis `index` (from 0), which is spectral. What couples it with other axes
    /// is left out: [`spectral_axis`](super::wcs::spectral_axis) refuses anything that would be seen of that.
    pub(super) fn of(header: &Header, index: usize) -> Self {
        let axis = index + 1;
        let mut cards = Vec::new();
        let mut keep = |from: &str, to: &str| {
            cards.extend(card_value(header, from).map(|value| (to.to_owned(), value)));
        };
        for keyword in AXIS_KEYWORDS {
            keep(&format!("{keyword}{axis}"), &format!("{keyword}3"));
        }
        for matrix in ["CD", "PC"] {
            keep(&format!("{matrix}{axis}_{axis}"), &format!("{matrix}3_3"));
        }
        for parameter in 0..=20 {
            keep(&format!("PV{axis}_{parameter}"), &format!("PV3_{parameter}"));
        }
        for keyword in KEYWORDS {
            keep(keyword, keyword);
        }
        Self { cards }
    }
}

/// Whether a header has a `CD` matrix; then its axes have no `CDELT`.
pub(super) fn has_cd(cards: &[(String, CardValue)]) -> bool {
    cards.iter().any(|(keyword, _)| keyword.starts_with("CD") && keyword.contains('_'))
}

impl From<&CardValue> for Value {
    fn from(value: &CardValue) -> Self {
        match value {
            CardValue::Logical(b) => Self::Logical(*b),
            CardValue::Integer(n) => Self::Integer(*n),
            CardValue::Real(x) => Self::Float(*x),
            // A header is ASCII; what isn't gets a stand-in, not a damaged file.
            CardValue::Text(text) => Self::String(
                text.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect(),
            ),
        }
    }
}
