//! A FITS binary table, written row by row.

use std::io::Write;

use fitsio_pure::bintable::{BinaryColumnDescriptor, BinaryColumnType, build_binary_table_cards};
use fitsio_pure::header::serialize_header;
use fitsio_pure::primary::build_primary_header;
use fitsio_pure::value::Value;

use super::fits_cards::Cards;
use super::{CardValue, CubeError};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// 32-bit integers (`J`).
    Integer,
    /// 64-bit integers (`K`).
    Long,
    /// 64-bit reals (`D`); NaN where there is none.
    Real,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name (`TTYPE`).
    pub name: String,
    /// Its unit (`TUNIT`), or empty.
    pub unit: String,
    /// What it holds, in a few words of ASCII: the comment of its name.
    pub about: String,
    /// What it holds.
    pub kind: ColumnKind,
}

/// A value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell {
    /// For a column of integers, 32-bit or 64-bit.
    Integer(i64),
    /// For a column of reals.
    Real(f64),
}

/// Writes a table of a known number of rows.
pub struct BinaryTableWriter<W: Write> {
    to: W,
    kinds: Vec<ColumnKind>,
    row: Vec<u8>,
    rows: u64,
    written: u64,
}

impl<W: Write> BinaryTableWriter<W> {
    /// Starts a FITS file whose first extension is the table `name`. The cards `more` follow those that describe it.
    ///
    /// # Errors
    /// Where a card can't be spelled, or the file can't be written.
    pub fn start(
        mut to: W,
        name: &str,
        columns: &[Column],
        rows: u64,
        more: &[(String, CardValue)],
    ) -> Result<Self, CubeError> {
        let mut primary = build_primary_header(8, &[]).map_err(CubeError::Header)?;
        let extends = fitsio_pure::header::Card::new("EXTEND", Value::Logical(true));
        primary.push(extends.map_err(CubeError::Header)?);
        to.write_all(&serialize_header(&primary).map_err(CubeError::Header)?)?;

        let described: Vec<BinaryColumnDescriptor> = columns.iter().map(describe).collect();
        let cards = build_binary_table_cards(&described, rows as usize, 0);
        let mut cards = Cards::of(cards.map_err(CubeError::Header)?);
        for (index, column) in columns.iter().enumerate() {
            let name = CardValue::Text(column.name.clone());
            cards.push_about(&format!("TTYPE{}", index + 1), &name, &column.about)?;
            cards.text(&format!("TUNIT{}", index + 1), &column.unit)?;
        }
        cards.text("EXTNAME", name)?;
        for (keyword, value) in more {
            cards.push(keyword, value)?;
        }
        to.write_all(&cards.bytes()?)?;
        let kinds = columns.iter().map(|column| column.kind).collect();
        Ok(Self { to, kinds, row: Vec::new(), rows, written: 0 })
    }

    /// Appends a row.
    ///
    /// # Errors
    /// Where a value isn't of its column's kind or too large for it, or the file can't be written.
    pub fn write(&mut self, cells: &[Cell]) -> Result<(), CubeError> {
        self.row.clear();
        if cells.len() != self.kinds.len() {
            return Err(CubeError::Shape { expected: self.kinds.len(), found: cells.len() });
        }
        for (column, (kind, cell)) in self.kinds.iter().zip(cells).enumerate() {
            match (kind, *cell) {
                (ColumnKind::Integer, Cell::Integer(n)) => {
                    let n = i32::try_from(n).map_err(|_| CubeError::Cell { column: column + 1 })?;
                    self.row.extend(n.to_be_bytes());
                }
                (ColumnKind::Long, Cell::Integer(n)) => self.row.extend(n.to_be_bytes()),
                (ColumnKind::Real, Cell::Real(x)) => self.row.extend(x.to_be_bytes()),
                _ => return Err(CubeError::Cell { column: column + 1 }),
            }
        }
        self.written += 1;
        Ok(self.to.write_all(&self.row)?)
    }

    /// Fills up the last block; gives back what was written to.
    ///
    /// # Errors
    /// Where there were fewer or more rows than promised, or the file can't be written.
    pub fn finish(mut self) -> Result<W, CubeError> {
        if self.written != self.rows {
            let (expected, found) = (self.rows as usize, self.written as usize);
            return Err(CubeError::Shape { expected, found });
        }
        let width: u64 = self.kinds.iter().map(|kind| width(*kind) as u64).sum();
        let bytes = (width * self.rows) as usize;
        self.to.write_all(&vec![0; bytes.next_multiple_of(fitsio_pure::BLOCK_SIZE) - bytes])?;
        self.to.flush()?;
        Ok(self.to)
    }
}

fn width(kind: ColumnKind) -> usize {
    match kind {
        ColumnKind::Integer => 4,
        ColumnKind::Long | ColumnKind::Real => 8,
    }
}

fn describe(column: &Column) -> BinaryColumnDescriptor {
    let col_type = match column.kind {
        ColumnKind::Integer => BinaryColumnType::Int,
        ColumnKind::Long => BinaryColumnType::Long,
        ColumnKind::Real => BinaryColumnType::Double,
    };
    // The name is written with what it stands for, which the library can't.
    let byte_width = width(column.kind);
    BinaryColumnDescriptor { name: None, repeat: 1, col_type, byte_width, tdim: None }
}

#[cfg(test)]
mod tests {
    use fitsio_pure::bintable::{BinaryColumnData, parse_binary_table_columns, read_binary_column};
    use fitsio_pure::hdu::parse_fits;

    use super::*;

    fn columns() -> Vec<Column> {
        let column = |name: &str, unit: &str, kind| Column {
            name: name.to_owned(),
            unit: unit.to_owned(),
            about: "for a test".to_owned(),
            kind,
        };
        vec![
            column("row", "", ColumnKind::Long),
            column("x", "pix", ColumnKind::Integer),
            column("mean", "km/s", ColumnKind::Real),
        ]
    }

    #[test]
    fn a_written_table_reads_back() {
        let more = [("OBJECT".to_owned(), CardValue::Text("Cloud 7".to_owned()))];
        let mut table =
            BinaryTableWriter::start(Vec::new(), "CATALOGUE", &columns(), 2, &more).unwrap();
        table.write(&[Cell::Integer(1 << 40), Cell::Integer(-3), Cell::Real(0.1)]).unwrap();
        table.write(&[Cell::Integer(2), Cell::Integer(4), Cell::Real(f64::NAN)]).unwrap();
        let file = table.finish().unwrap();
        assert_eq!(file.len() % fitsio_pure::BLOCK_SIZE, 0);
        let parsed = parse_fits(&file).unwrap();
        let hdu = parsed.get(1).unwrap();
        let text = String::from_utf8_lossy(&file);
        for card in
            ["TTYPE3  = 'mean    '           / for a test", "TUNIT2  = 'pix     '", "'Cloud 7 '"]
        {
            assert!(text.contains(card), "{card}");
        }
        let found = parse_binary_table_columns(&hdu.cards, 3).unwrap();
        let read = |index| read_binary_column(&file, hdu, index).unwrap();
        assert_eq!(found[1].name.as_deref(), Some("x"));
        assert_eq!(read(0), BinaryColumnData::Long(vec![1 << 40, 2]));
        assert_eq!(read(1), BinaryColumnData::Int(vec![-3, 4]));
        let BinaryColumnData::Double(means) = read(2) else { panic!("no reals") };
        assert!(means[0].to_bits() == 0.1_f64.to_bits() && means[1].is_nan());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let start = || BinaryTableWriter::start(Vec::new(), "T", &columns(), 1, &[]).unwrap();
        let cases: [&[Cell]; 3] = [
            &[Cell::Integer(1), Cell::Integer(1)],
            &[Cell::Integer(1), Cell::Integer(1 << 33), Cell::Real(0.0)],
            &[Cell::Integer(1), Cell::Integer(1), Cell::Integer(1)],
        ];
        for cells in cases {
            assert!(start().write(cells).is_err(), "{cells:?}");
        }
        assert!(matches!(start().finish(), Err(CubeError::Shape { expected: 1, found: 0 })));
    }
}
