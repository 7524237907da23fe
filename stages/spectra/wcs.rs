//! World coordinates: the spectral axis of a cube, and the sky grid that its maps share.
//!
//! Keywords and their defaults are those of Greisen & Calabretta (2002, A&A 395, 1061) and, for
//! spectra, Greisen et al. (2006, A&A 446, 747).

use std::fmt;

use fitsio_pure::value::Value;
use serde::{Deserialize, Serialize};

use super::fits::Header;
use super::{Axis, CubeError};

/// The beginnings of the spectral axis types, with the unit that each has by default.
const SPECTRAL_TYPES: [(&str, &str); 13] = [
    ("VOPT", "m/s"),
    ("VRAD", "m/s"),
    ("VELO", "m/s"),
    ("FELO", "m/s"),
    ("VLSR", "m/s"),
    ("FREQ", "Hz"),
    ("WAVE", "m"),
    ("AWAV", "m"),
    ("WAVN", "/m"),
    ("ENER", "J"),
    ("ZOPT", ""),
    ("BETA", ""),
    ("LAMB", "m"),
];

/// Non-linear algorithms: the axis is linear in something else than its own type.
const NON_LINEAR: [&str; 4] = ["-LOG", "-TAB", "-GRI", "-GRA"];

/// Keywords of the sky grid that belong to an axis.
const AXIS_KEYWORDS: [&str; 6] = ["CTYPE", "CUNIT", "CRPIX", "CRVAL", "CDELT", "CROTA"];

/// Keywords of the sky grid (and of what was observed there) that belong to no axis.
const GRID_KEYWORDS: [&str; 16] = [
    "RADESYS", "RADECSYS", "EQUINOX", "EPOCH", "LONPOLE", "LATPOLE", "OBJECT", "TELESCOP",
    "INSTRUME", "OBSERVER", "DATE-OBS", "MJD-OBS", "BMAJ", "BMIN", "BPA", "LINE",
];

/// A value of a FITS header.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CardValue {
    /// True or false.
    Logical(bool),
    /// An integer.
    Integer(i64),
    /// A real number.
    Real(f64),
    /// A text.
    Text(String),
}

impl fmt::Display for CardValue {
    /// The value as FITS spells it: `T`, `12`, `0.5`, `'text'` with quotes doubled.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Logical(true) => f.write_str("T"),
            Self::Logical(false) => f.write_str("F"),
            Self::Integer(n) => write!(f, "{n}"),
            Self::Real(x) => write!(f, "{x:?}"),
            Self::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
        }
    }
}

impl CardValue {
    /// Reads a value as FITS spells it; `None` where it is none.
    pub fn parse(spelled: &str) -> Option<Self> {
        let quoted = spelled.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        if let Some(text) = quoted {
            return Some(Self::Text(text.replace("''", "'")));
        }
        match spelled {
            "T" => Some(Self::Logical(true)),
            "F" => Some(Self::Logical(false)),
            _ => spelled.parse().map(Self::Integer).ok().or_else(|| {
                let real: f64 = spelled.parse().ok()?;
                real.is_finite().then_some(Self::Real(real))
            }),
        }
    }
}

/// The grid of pixels on the sky: the header cards that a map on it carries, in order.
///
/// The two sky axes are numbered 1 (x) and 2 (y), whatever they were in the cube.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SkyGrid {
    /// Keywords and values.
    pub cards: Vec<(String, CardValue)>,
}

/// The roles of the axes of a cube, as indices from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Roles {
    pub(super) spectral: usize,
    pub(super) x: usize,
    pub(super) y: usize,
}

impl Roles {
    /// Finds the spectral axis by its type; x and y are the two others that are longer than one,
    /// or degenerate ones where there aren't two.
    pub(super) fn find(header: &Header, shape: &[usize]) -> Result<Self, CubeError> {
        let types: Vec<String> = (1..=shape.len()).map(|axis| axis_type(header, axis)).collect();
        let is_spectral = |axis: &usize| spectral_unit(&types[*axis]).is_some();
        let spectral = (0..shape.len())
            .filter(|&axis| shape[axis] > 1)
            .find(is_spectral)
            .or_else(|| (0..shape.len()).find(is_spectral))
            .ok_or_else(|| CubeError::NoSpectralAxis {
                found: types.iter().map(|t| format!("`{t}`")).collect::<Vec<_>>().join(", "),
            })?;

        let others = || (0..shape.len()).filter(|&axis| axis != spectral);
        let mut sky: Vec<usize> = others().filter(|&axis| shape[axis] > 1).collect();
        if sky.len() > 2 {
            let lengths: Vec<String> = shape.iter().map(usize::to_string).collect();
            return Err(CubeError::TooManyAxes { count: sky.len(), shape: lengths.join(" × ") });
        }
        // A longitude or latitude of length one (a slit, a single pointing) before a
        // polarisation of length one.
        let celestial = others().filter(|&axis| is_celestial(&types[axis]));
        for axis in celestial.chain(others()) {
            if sky.len() < 2 && !sky.contains(&axis) {
                sky.push(axis);
            }
        }
        sky.sort_unstable();
        Ok(Self { spectral, x: sky[0], y: sky[1] })
    }
}

/// The spectral axis, which is axis `index` from 0 of a cube of this `shape`.
pub(super) fn spectral_axis(
    header: &Header,
    shape: &[usize],
    index: usize,
) -> Result<Axis, CubeError> {
    let axis = index + 1;
    let ctype = axis_type(header, axis);
    let algorithm = ctype.get(4..).unwrap_or("");
    let is_transformed = algorithm.len() == 4 && algorithm.as_bytes()[2] == b'2';
    if NON_LINEAR.iter().any(|code| algorithm.starts_with(code)) || is_transformed {
        return Err(CubeError::NonLinear { ctype });
    }

    let others = (1..=shape.len()).filter(|&other| other != axis);
    let cd = |other: usize| header.real(&format!("CD{axis}_{other}"));
    let mut has_cd = false;
    for other in 1..=shape.len() {
        has_cd |= cd(other)?.is_some();
    }
    let cdelt = header.real(&format!("CDELT{axis}"))?.unwrap_or(1.0);
    let name = if has_cd { "CD" } else { "PC" };
    let element = |other: usize| -> Result<f64, CubeError> {
        if has_cd {
            Ok(cd(other)?.unwrap_or(0.0))
        } else {
            let identity = if other == axis { 1.0 } else { 0.0 };
            let pc = header.real(&format!("PC{axis}_{other}"))?;
            Ok(cdelt * pc.unwrap_or(identity))
        }
    };
    let step = element(axis)?;
    for other in others {
        // A thousandth of a channel from one edge of the field to the other is rounding.
        let drift = element(other)? * (shape[other - 1] - 1) as f64;
        if drift.abs() > 1e-3 * step.abs() {
            return Err(CubeError::Tilted { keyword: format!("{name}{axis}_{other}") });
        }
    }

    let reference = header.real(&format!("CRPIX{axis}"))?.unwrap_or(0.0);
    let value = header.real(&format!("CRVAL{axis}"))?.unwrap_or(0.0);
    let start = value + step * (1.0 - reference);
    if step == 0.0 || !step.is_finite() || !start.is_finite() {
        return Err(CubeError::Step { axis });
    }
    let unit = header
        .text(&format!("CUNIT{axis}"))
        .map_or_else(|| spectral_unit(&ctype).unwrap_or("").to_owned(), plain_unit);
    Ok(Axis { start, step, channels: shape[index], unit })
}

/// The type of an axis (from 1) in upper case, without padding.
pub(super) fn axis_type(header: &Header, axis: usize) -> String {
    header.text(&format!("CTYPE{axis}")).unwrap_or("").to_ascii_uppercase()
}

/// The default unit of a spectral type; `None` for other types.
fn spectral_unit(ctype: &str) -> Option<&'static str> {
    SPECTRAL_TYPES.iter().find(|(name, _)| ctype.starts_with(name)).map(|(_, unit)| *unit)
}

fn is_celestial(ctype: &str) -> bool {
    let name = ctype.split('-').next().unwrap_or("");
    name == "RA" || name == "DEC" || name.ends_with("LON") || name.ends_with("LAT")
}

/// The unit in its usual spelling, if it is one of those that telescopes spell in many ways.
fn plain_unit(unit: &str) -> String {
    let squeezed: String = unit
        .to_ascii_lowercase()
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '.' | '*' | '^' | '(' | ')'))
        .collect();
    match squeezed.as_str() {
        "m/s" | "ms-1" | "m/sec" => "m/s",
        "km/s" | "kms-1" | "km/sec" => "km/s",
        "cm/s" | "cms-1" => "cm/s",
        "hz" => "Hz",
        "khz" => "kHz",
        "ghz" => "GHz",
        // Capital M is mega; nobody gives a frequency in millihertz.
        "mhz" => "MHz",
        _ => unit,
    }
    .to_owned()
}

/// The value of a card that is to be kept; `None` where there is none, or nothing in it.
pub(super) fn card_value(header: &Header, keyword: &str) -> Option<CardValue> {
    match header.value(keyword)? {
        Value::Logical(b) => Some(CardValue::Logical(*b)),
        Value::Integer(n) => Some(CardValue::Integer(*n)),
        Value::Float(x) => x.is_finite().then_some(CardValue::Real(*x)),
        Value::String(text) if !text.trim().is_empty() => {
            Some(CardValue::Text(text.trim().to_owned()))
        }
        _ => None,
    }
}

impl SkyGrid {
    /// The cards of `header` that describe the sky axes `x` and `y` (from 0).
    pub(super) fn of(header: &Header, x: usize, y: usize) -> Self {
        let mut cards = Vec::new();
        let mut keep = |from: &str, to: String| {
            cards.extend(card_value(header, from).map(|value| (to, value)));
        };
        let axes = [(1, x + 1), (2, y + 1)];
        for (new, old) in axes {
            for keyword in AXIS_KEYWORDS {
                keep(&format!("{keyword}{old}"), format!("{keyword}{new}"));
            }
            for (new_other, old_other) in axes {
                for matrix in ["CD", "PC"] {
                    let from = format!("{matrix}{old}_{old_other}");
                    keep(&from, format!("{matrix}{new}_{new_other}"));
                }
            }
            for parameter in 0..=20 {
                keep(&format!("PV{old}_{parameter}"), format!("PV{new}_{parameter}"));
            }
        }
        for keyword in GRID_KEYWORDS {
            keep(keyword, keyword.to_owned());
        }
        Self { cards }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_values_are_spelled_and_read_back() {
        let values = [
            (CardValue::Logical(true), "T"),
            (CardValue::Integer(-3), "-3"),
            (CardValue::Real(2.0), "2.0"),
            (CardValue::Real(1e-7), "1e-7"),
            (CardValue::Text("Barnard's star".to_owned()), "'Barnard''s star'"),
        ];
        for (value, spelled) in values {
            assert_eq!(value.to_string(), spelled);
            assert_eq!(CardValue::parse(spelled), Some(value));
        }
        assert_eq!(CardValue::parse("far"), None);
        assert_eq!(CardValue::parse("NaN"), None);
    }

    #[test]
    fn units_are_spelled_one_way() {
        for (given, plain) in
            [("KM/S", "km/s"), ("m s-1", "m/s"), ("km.s**-1", "km/s"), ("MHZ", "MHz")]
        {
            assert_eq!(plain_unit(given), plain);
        }
        assert_eq!(plain_unit("Angstrom"), "Angstrom");
    }
}
