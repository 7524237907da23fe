//! The outline of a FITS file: its headers, and where the data of an image lie.
//!
//! Cards are parsed by `fitsio-pure`. Sizes are computed here, checked against the length of the file before
//! anything is allocated, because a header is not to be trusted.

use std::io::{Read, Seek, SeekFrom};

use fitsio_pure::header::{Card, parse_card};
use fitsio_pure::value::Value;
use fitsio_pure::{BLOCK_SIZE, CARD_SIZE};

use super::CubeError;

/// More than any real header has: 36 cards each.
const MOST_HEADER_BLOCKS: usize = 4_096;

/// The cards of one header and data unit.
#[derive(Debug, Clone)]
pub(super) struct Header {
    /// The number of the unit, from 0.
    pub(super) hdu: usize,
    pub(super) cards: Vec<Card>,
}

/// The first image of a file that has as many axes as are wanted, or more.
#[derive(Debug, Clone)]
pub(super) struct ImageUnit {
    pub(super) header: Header,
    /// Bits of a pixel: 8, 16, 32, 64 for integers, −32 and −64 for reals.
    pub(super) bitpix: i64,
    /// The lengths of the axes, the fastest first; none is zero.
    pub(super) shape: Vec<usize>,
    /// Where the data begin in the file.
    pub(super) data_start: u64,
}

/// What a unit is, and how far its data reach.
struct Outline {
    kind: Kind,
    bitpix: i64,
    shape: Vec<u64>,
    data_bytes: u64,
}

#[derive(PartialEq)]
enum Kind {
    Image,
    /// An image of so many axes, stored as a table.
    TileCompressed {
        axes: u64,
    },
    Other,
}

impl Header {
    /// The value of `keyword`, unless it is missing or undefined.
    pub(super) fn value(&self, keyword: &str) -> Option<&Value> {
        self.cards
            .iter()
            .find(|card| card.keyword_str() == keyword)
            .and_then(|card| card.value.as_ref())
            .filter(|value| **value != Value::Undefined)
    }

    pub(super) fn text(&self, keyword: &str) -> Option<&str> {
        match self.value(keyword)? {
            Value::String(text) => Some(text.trim()).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    pub(super) fn real(&self, keyword: &str) -> Result<Option<f64>, CubeError> {
        match self.value(keyword) {
            None => Ok(None),
            Some(Value::Integer(n)) => Ok(Some(*n as f64)),
            Some(Value::Float(x)) if x.is_finite() => Ok(Some(*x)),
            Some(_) => Err(self.wrong(keyword, "a number")),
        }
    }

    pub(super) fn integer(&self, keyword: &str) -> Result<Option<i64>, CubeError> {
        match self.value(keyword) {
            None => Ok(None),
            Some(Value::Integer(n)) => Ok(Some(*n)),
            Some(_) => Err(self.wrong(keyword, "an integer")),
        }
    }

    fn size(&self, keyword: &str) -> Result<Option<u64>, CubeError> {
        self.integer(keyword)?
            .map(|n| u64::try_from(n).map_err(|_| self.wrong(keyword, "a number from 0 upwards")))
            .transpose()
    }

    fn required(&self, keyword: &str) -> Result<u64, CubeError> {
        self.size(keyword)?
            .ok_or_else(|| CubeError::Missing { hdu: self.hdu, keyword: keyword.to_owned() })
    }

    fn wrong(&self, keyword: &str, expected: &'static str) -> CubeError {
        CubeError::Value { hdu: self.hdu, keyword: keyword.to_owned(), expected }
    }

    fn outline(&self) -> Result<Outline, CubeError> {
        let is_primary = self.hdu == 0;
        let is_true = |keyword: &str| self.value(keyword) == Some(&Value::Logical(true));
        let bitpix = self
            .integer("BITPIX")?
            .ok_or_else(|| CubeError::Missing { hdu: self.hdu, keyword: "BITPIX".to_owned() })?;
        if !matches!(bitpix, 8 | 16 | 32 | 64 | -32 | -64) {
            return Err(self.wrong("BITPIX", "8, 16, 32, 64, -32 or -64"));
        }
        let axes = self.required("NAXIS")?;
        if axes > 999 {
            return Err(self.wrong("NAXIS", "from 0 to 999"));
        }
        let shape = (1..=axes)
            .map(|axis| self.required(&format!("NAXIS{axis}")))
            .collect::<Result<Vec<u64>, _>>()?;

        // The size of the data is that of section 4.4.1 and 7.1.1 of the FITS standard 4.0; random groups (section 6)
        // have a first axis of length 0 that doesn't count.
        let is_groups = is_primary && shape.first() == Some(&0) && is_true("GROUPS");
        let counted = if is_groups { &shape[1..] } else { &shape[..] };
        let has_parameters = !is_primary || is_groups;
        let extra = |keyword: &str, default: u64| match self.size(keyword) {
            Ok(found) if has_parameters => Ok(found.unwrap_or(default)),
            Ok(_) => Ok(default),
            Err(error) => Err(error),
        };
        let (heap, groups) = (extra("PCOUNT", 0)?, extra("GCOUNT", 1)?);
        let data_bytes = if shape.is_empty() {
            Some(0)
        } else {
            counted
                .iter()
                .try_fold(1_u64, |product, &n| product.checked_mul(n))
                .and_then(|pixels| pixels.checked_add(heap))
                .and_then(|pixels| pixels.checked_mul(groups))
                .and_then(|pixels| pixels.checked_mul(bitpix.unsigned_abs() / 8))
        };
        let kind = if is_groups {
            Kind::Other
        } else if is_primary || self.text("XTENSION") == Some("IMAGE") {
            Kind::Image
        } else if is_true("ZIMAGE") {
            Kind::TileCompressed { axes: self.size("ZNAXIS")?.unwrap_or(0) }
        } else {
            Kind::Other
        };
        Ok(Outline {
            kind,
            bitpix,
            shape,
            data_bytes: data_bytes.ok_or(CubeError::Size { hdu: self.hdu })?,
        })
    }
}

impl ImageUnit {
    /// Finds the first image with `axes` axes or more, and makes sure that all of it is there.
    pub(super) fn find<R: Read + Seek>(file: &mut R, axes: usize) -> Result<Self, CubeError> {
        let length = file.seek(SeekFrom::End(0))?;
        check_magic(file)?;
        let mut start = 0;
        let mut found = Vec::new();
        let mut compressed = None;
        for hdu in 0.. {
            let Some(header) = read_header(file, start, length, hdu)? else {
                break;
            };
            let data_start = start + header.1;
            let header = header.0;
            let outline = header.outline()?;
            let present = length - data_start;
            if outline.data_bytes > present {
                return Err(CubeError::Truncated {
                    hdu,
                    expected: outline.data_bytes,
                    found: present,
                });
            }
            if outline.kind == Kind::Image && outline.shape.len() >= axes {
                if let Some(axis) = outline.shape.iter().position(|&n| n == 0) {
                    return Err(CubeError::EmptyAxis { axis: axis + 1 });
                }
                let shape = outline.shape.iter().map(|&n| usize::try_from(n));
                return Ok(Self {
                    shape: shape.collect::<Result<_, _>>().map_err(|_| CubeError::Size { hdu })?,
                    header,
                    bitpix: outline.bitpix,
                    data_start,
                });
            }
            if let Kind::TileCompressed { axes: stored } = outline.kind
                && stored >= axes as u64
            {
                compressed.get_or_insert(hdu);
            }
            if found.len() < 8 {
                found.push(describe(&outline));
            }
            let padded = outline.data_bytes.next_multiple_of(BLOCK_SIZE as u64);
            start = data_start.saturating_add(padded);
        }
        Err(match compressed {
            Some(hdu) => CubeError::TileCompressed { hdu },
            None => CubeError::NoImage { axes, found: found.join(", ") },
        })
    }
}

fn check_magic<R: Read + Seek>(file: &mut R) -> Result<(), CubeError> {
    let mut magic = Vec::with_capacity(9);
    file.seek(SeekFrom::Start(0))?;
    file.by_ref().take(9).read_to_end(&mut magic)?;
    if magic.starts_with(&[0x1f, 0x8b]) {
        Err(CubeError::Gzip)
    } else if magic == b"SIMPLE  =" {
        Ok(())
    } else {
        Err(CubeError::NotFits)
    }
}

/// The header that begins at `start` and its length in bytes; `None` where there is none, at the
/// end of the file or in what follows the last unit.
fn read_header<R: Read + Seek>(
    file: &mut R,
    start: u64,
    length: u64,
    hdu: usize,
) -> Result<Option<(Header, u64)>, CubeError> {
    if start >= length {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(start))?;
    let mut cards = Vec::new();
    let mut block = Vec::with_capacity(BLOCK_SIZE);
    for blocks in 1..=MOST_HEADER_BLOCKS {
        block.clear();
        file.by_ref().take(BLOCK_SIZE as u64).read_to_end(&mut block)?;
        if blocks == 1 && hdu > 0 && !block.starts_with(b"XTENSION") {
            return Ok(None);
        }
        if block.len() < BLOCK_SIZE {
            return Err(CubeError::EndlessHeader { hdu });
        }
        for (i, text) in block.chunks_exact(CARD_SIZE).enumerate() {
            let card = readable_card(text).ok_or(CubeError::Card {
                hdu,
                line: (blocks - 1) * (BLOCK_SIZE / CARD_SIZE) + i + 1,
            })?;
            if card.is_end() {
                return Ok(Some((Header { hdu, cards }, (blocks * BLOCK_SIZE) as u64)));
            }
            if card.value.is_some() {
                cards.push(card);
            }
        }
    }
    Err(CubeError::EndlessHeader { hdu })
}

/// Parses a card. Bytes outside ASCII, which occur in the comments of real files, are no error.
fn readable_card(text: &[u8]) -> Option<Card> {
    let mut ascii: [u8; CARD_SIZE] = text.try_into().ok()?;
    for byte in &mut ascii[8..] {
        if !(b' '..=b'~').contains(byte) {
            *byte = b' ';
        }
    }
    parse_card(&ascii).ok()
}

fn describe(outline: &Outline) -> String {
    match outline.kind {
        Kind::Image if outline.shape.is_empty() => "an empty image".to_owned(),
        Kind::Image => {
            let lengths: Vec<String> = outline.shape.iter().map(u64::to_string).collect();
            format!("an image of {}", lengths.join(" × "))
        }
        Kind::TileCompressed { .. } | Kind::Other => "a table or groups".to_owned(),
    }
}
