//! The catalogue: one row for each component found, as CSV.

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};

use super::{Axis, Component};

/// One component of one spectrum, as a row of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CatalogueRow {
    /// The spectrum, from 0.
    pub row: u64,
    /// The pixel along the first sky axis of the cube, from 0; empty where there is no cube.
    pub x: Option<u64>,
    /// The pixel along the second sky axis of the cube, from 0; empty where there is no cube.
    pub y: Option<u64>,
    /// The component within its spectrum, from 0, in order of mean.
    pub component: u64,
    /// The peak intensity, in the spectrum's unit.
    pub amplitude: f64,
    /// The position of the peak, in axis units.
    pub mean: f64,
    /// The standard deviation, in axis units.
    pub sigma: f64,
    /// The position of the peak in channels, from 0; fractional.
    pub mean_channel: f64,
    /// The standard deviation in channels.
    pub sigma_channel: f64,
    /// How sure the prediction is that the component is there, 0 to 1; empty if unknown.
    pub probability: Option<f64>,
}

/// The columns of the catalogue, in order.
pub const CATALOGUE_COLUMNS: [&str; 10] = [
    "row",
    "x",
    "y",
    "component",
    "amplitude",
    "mean",
    "sigma",
    "mean_channel",
    "sigma_channel",
    "probability",
];

/// Why a catalogue can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The columns aren't those of a catalogue.
    #[error("the columns are `{found}`, and a catalogue has `{}`", CATALOGUE_COLUMNS.join(","))]
    Columns {
        /// The columns found.
        found: String,
    },
    /// The CSV can't be read or written; the message says at which line.
    #[error("the catalogue isn't usable as CSV: {0}")]
    Csv(#[from] csv::Error),
    /// The end of the table can't be written.
    #[error("the catalogue can't be written: {0}")]
    Io(#[from] std::io::Error),
}

impl CatalogueRow {
    /// The row for `component`, the `index`-th of spectrum `row` at `pixel` (x, y).
    pub fn new(
        row: u64,
        pixel: Option<(u64, u64)>,
        index: u64,
        component: &Component,
        axis: &Axis,
        probability: Option<f64>,
    ) -> Self {
        Self {
            row,
            x: pixel.map(|p| p.0),
            y: pixel.map(|p| p.1),
            component: index,
            amplitude: component.amplitude,
            mean: component.mean,
            sigma: component.sigma,
            mean_channel: axis.channel(component.mean),
            sigma_channel: component.sigma / axis.width(),
            probability,
        }
    }

    /// The component of this row, in axis units.
    pub fn component(&self) -> Component {
        Component { amplitude: self.amplitude, mean: self.mean, sigma: self.sigma }
    }
}

/// Writes a catalogue as CSV, row by row.
///
/// Numbers have the fewest digits that read back as the same number; lines end with `\n`. So
/// the same rows are the same bytes.
pub struct CatalogueWriter<W: Write> {
    table: csv::Writer<W>,
}

impl<W: Write> CatalogueWriter<W> {
    /// A catalogue that goes to `to`, beginning with the names of the columns.
    ///
    /// # Errors
    ///
    /// Where `to` can't be written.
    pub fn new(to: W) -> Result<Self, CatalogueError> {
        // The header is written here and not with the first row: a catalogue without rows has one too.
        let mut table = csv::WriterBuilder::new().has_headers(false).from_writer(to);
        table.write_record(CATALOGUE_COLUMNS)?;
        Ok(Self { table })
    }

    /// More rows of a catalogue whose beginning stands elsewhere.
    pub fn continued(to: W) -> Self {
        Self { table: csv::WriterBuilder::new().has_headers(false).from_writer(to) }
    }

    /// Appends a row.
    ///
    /// # Errors
    ///
    /// Where the row can't be written.
    pub fn write(&mut self, row: &CatalogueRow) -> Result<(), CatalogueError> {
        Ok(self.table.serialize(row)?)
    }

    /// Writes out what is still held back.
    ///
    /// # Errors
    ///
    /// Where it can't be written.
    pub fn finish(mut self) -> Result<(), CatalogueError> {
        Ok(self.table.flush()?)
    }
}

/// Reads a catalogue, row by row. Its columns must be exactly those of [`CATALOGUE_COLUMNS`].
///
/// # Errors
///
/// At once where the columns are others; then for each row that isn't one.
pub fn read_catalogue<R: Read>(
    from: R,
) -> Result<impl Iterator<Item = Result<CatalogueRow, CatalogueError>>, CatalogueError> {
    let mut table = csv::Reader::from_reader(from);
    let columns = table.headers()?;
    if columns.iter().ne(CATALOGUE_COLUMNS) {
        return Err(CatalogueError::Columns {
            found: columns.iter().collect::<Vec<_>>().join(","),
        });
    }
    Ok(table.into_deserialize().map(|row| row.map_err(CatalogueError::from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<CatalogueRow> {
        let axis = Axis { start: 10.0, step: -0.5, channels: 100, unit: "km/s".to_owned() };
        let component = Component { amplitude: 0.1 + 0.2, mean: -3.0, sigma: 1e-7 };
        vec![
            CatalogueRow::new(0, None, 0, &component, &axis, None),
            CatalogueRow::new(7, Some((3, 1)), 1, &component, &axis, Some(0.97)),
        ]
    }

    fn csv(rows: &[CatalogueRow]) -> String {
        let mut bytes = Vec::new();
        let mut writer = CatalogueWriter::new(&mut bytes).unwrap();
        for row in rows {
            writer.write(row).unwrap();
        }
        writer.finish().unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_text_is_pinned() {
        assert_eq!(
            csv(&rows()),
            "row,x,y,component,amplitude,mean,sigma,mean_channel,sigma_channel,probability\n\
             0,,,0,0.30000000000000004,-3.0,1e-7,26.0,2e-7,\n\
             7,3,1,1,0.30000000000000004,-3.0,1e-7,26.0,2e-7,0.97\n"
        );
    }

    #[test]
    fn what_was_written_is_read_back() {
        for rows in [rows(), Vec::new()] {
            let text = csv(&rows);
            let back: Result<Vec<_>, _> = read_catalogue(text.as_bytes()).unwrap().collect();
            assert_eq!(back.unwrap(), rows);
        }
    }

    #[test]
    fn other_tables_are_refused() {
        let refused = read_catalogue("a,b\n1,2\n".as_bytes()).map(Iterator::count);
        assert!(matches!(refused, Err(CatalogueError::Columns { found }) if found == "a,b"));
        let broken = csv(&rows()).replace("26.0", "far");
        let rows: Vec<_> = read_catalogue(broken.as_bytes()).unwrap().collect();
        assert!(rows[0].as_ref().unwrap_err().to_string().contains("line: 2"));
    }
}
