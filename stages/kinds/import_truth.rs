//! The stage `import-truth`: the known components of spectra, from a table.

use std::{fs::File, io::BufReader, path::PathBuf};

use pipe_engine::{
    ArtifactType, Exactness, Fault, InputPort, OutputPort, StageContext, StageError, StageKind,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    artifacts::{ComponentsWriter, SPECTRA, SpectraHead, SpectraReader, TRUTH, chunks},
    spectra::{Axis, Component},
};

/// The known components of spectra, from a table.
pub struct ImportTruth;

/// What the means and sigmas of the table are measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PositionUnit {
    /// The unit of the axis of the spectra.
    #[default]
    Axis,
    /// Channels, of which the first is 0.
    Channels,
}

/// How the table is read: a CSV file with a row for each component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The column of the spectrum's number, from 0. Used where the spectra are not those of a cube.
    pub row_column: String,
    /// The column of the pixel along the cube's first sky axis, from 0. Used where the spectra are those of a cube.
    pub x_column: String,
    /// The column of the pixel along the cube's second sky axis, from 0. Used where the spectra are those of a cube.
    pub y_column: String,
    /// The column of the amplitude, in the unit of the spectra.
    pub amplitude_column: String,
    /// The column of the mean, in `position_unit`.
    pub mean_column: String,
    /// The column of the standard deviation, in `position_unit`.
    pub sigma_column: String,
    /// What means and sigmas are measured in: `axis` (the unit of the spectra's axis) or `channels` (from 0).
    pub position_unit: PositionUnit,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            row_column: "row".to_owned(),
            x_column: "x".to_owned(),
            y_column: "y".to_owned(),
            amplitude_column: "amplitude".to_owned(),
            mean_column: "mean".to_owned(),
            sigma_column: "sigma".to_owned(),
            position_unit: PositionUnit::Axis,
        }
    }
}

/// What keeps a table from being read as truth.
#[derive(Debug, thiserror::Error)]
enum TableError {
    #[error("failed to read the table `{}`", path.display())]
    Open { path: PathBuf, source: std::io::Error },
    #[error("the table isn't usable as CSV")]
    Csv(#[from] csv::Error),
    #[error("the table has no column `{column}`, only {found}")]
    NoColumn { column: String, found: String },
    #[error("line {line} of the table: `{text}` in column `{column}` is not {expected}")]
    Value { line: u64, column: String, text: String, expected: &'static str },
    #[error("line {line} of the table: there is no {place}, the spectra have {available}")]
    Place { line: u64, place: String, available: String },
}

impl StageKind for ImportTruth {
    type Config = Config;

    const KIND: &'static str = "import-truth";
    const ABOUT: &'static str = "Reads the known components of spectra from a CSV table.";
    const REVISION: u32 = 2;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] = &[
        InputPort::required(
            "table",
            ArtifactType::FILE,
            "a CSV table with a row for each component",
        ),
        InputPort::required("spectra", SPECTRA, "the spectra that the components belong to"),
    ];
    const OUTPUTS: &'static [OutputPort] = &[OutputPort::new(
        "truth",
        TRUTH,
        "the components of every spectrum, none where the table has none",
    )];

    fn check(config: &Config) -> Vec<Fault> {
        let columns = [
            ("row_column", &config.row_column),
            ("x_column", &config.x_column),
            ("y_column", &config.y_column),
            ("amplitude_column", &config.amplitude_column),
            ("mean_column", &config.mean_column),
            ("sigma_column", &config.sigma_column),
        ];
        let empty = columns.into_iter().filter(|(_, column)| column.is_empty());
        empty.map(|(key, _)| Fault::at(key, "must name a column")).collect()
    }

    fn run(config: &Config, context: &StageContext<'_>) -> Result<(), StageError> {
        let spectra = SpectraReader::open(context.input("spectra")?)?;
        let path = context.input("table")?.file()?;
        let file = File::open(&path).map_err(|source| TableError::Open { path, source })?;
        let components = read(config, BufReader::new(file), spectra.head(), spectra.rows())?;

        let slots = components.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let output = context.output("truth")?;
        let (writer, _) = ComponentsWriter::create(output, spectra.rows(), slots, spectra.head())?;
        for (chunk, rows) in (0..).zip(chunks(spectra.rows())) {
            context.check_interrupt()?;
            writer.write(chunk, &components[rows.start as usize..rows.end as usize])?;
        }
        Ok(())
    }
}

/// Where the columns of interest stand, and what they are called.
struct Columns<'a> {
    header: csv::StringRecord,
    config: &'a Config,
}

impl Columns<'_> {
    fn place(&self, column: &str) -> Result<usize, TableError> {
        let matches = |name: &str| name.trim() == column;
        self.header.iter().position(matches).ok_or_else(|| TableError::NoColumn {
            column: column.to_owned(),
            found: self
                .header
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", "),
        })
    }
}

/// The components of each of `rows` spectra, sorted by mean.
fn read(
    config: &Config,
    table: impl std::io::Read,
    head: &SpectraHead,
    rows: u64,
) -> Result<Vec<Vec<Component>>, TableError> {
    let mut table = csv::Reader::from_reader(table);
    let columns = Columns { header: table.headers()?.clone(), config };
    let location: Vec<(usize, &str)> = if head.sky.is_some() {
        let (x, y) = (&columns.config.x_column, &columns.config.y_column);
        vec![(columns.place(x)?, x.as_str()), (columns.place(y)?, y.as_str())]
    } else {
        vec![(columns.place(&config.row_column)?, config.row_column.as_str())]
    };
    let [amplitude, mean, sigma] =
        [&config.amplitude_column, &config.mean_column, &config.sigma_column];
    let places = [
        (columns.place(amplitude)?, amplitude),
        (columns.place(mean)?, mean),
        (columns.place(sigma)?, sigma),
    ];

    let mut components = vec![Vec::new(); rows as usize];
    let mut record = csv::StringRecord::new();
    while table.read_record(&mut record)? {
        let line = record.position().map_or(0, csv::Position::line);
        let wrong = |(at, column): (usize, &str), expected: &'static str| TableError::Value {
            line,
            column: column.to_owned(),
            text: record.get(at).unwrap_or("").to_owned(),
            expected,
        };
        let text = |at: usize| record.get(at).unwrap_or("").trim();
        let mut index = [0_u64; 2];
        for (value, &(at, column)) in index.iter_mut().zip(&location) {
            *value =
                text(at).parse().map_err(|_| wrong((at, column), "a number from 0 upwards"))?;
        }
        let mut values = [0.0; 3];
        for (value, &(at, column)) in values.iter_mut().zip(&places) {
            let number = text(at).parse().ok().filter(|number: &f64| number.is_finite());
            *value = number.ok_or_else(|| wrong((at, column), "a number"))?;
        }
        if values[2] <= 0.0 {
            return Err(wrong((places[2].0, places[2].1), "positive"));
        }
        let row = row_of(head, rows, index).map_err(|(place, available)| TableError::Place {
            line,
            place,
            available,
        })?;
        components[row].push(component(values, &head.axis, config.position_unit));
    }
    for found in &mut components {
        found.sort_by(|a: &Component, b| a.mean.total_cmp(&b.mean));
    }
    Ok(components)
}

/// The spectrum at the index of a table's row; if there is none, which one was asked for and what there is.
fn row_of(
    head: &SpectraHead,
    rows: u64,
    [first, second]: [u64; 2],
) -> Result<usize, (String, String)> {
    match &head.sky {
        Some(sky) if first < sky.nx as u64 && second < sky.ny as u64 => {
            Ok((second * sky.nx as u64 + first) as usize)
        }
        Some(sky) => {
            Err((format!("pixel ({first}, {second})"), format!("{} × {} pixels", sky.nx, sky.ny)))
        }
        None if first < rows => Ok(first as usize),
        None => Err((format!("row {first}"), format!("{rows} rows"))),
    }
}

fn component([amplitude, mean, sigma]: [f64; 3], axis: &Axis, unit: PositionUnit) -> Component {
    match unit {
        PositionUnit::Axis => Component { amplitude, mean, sigma },
        PositionUnit::Channels => {
            Component { amplitude, mean: axis.value(mean), sigma: sigma * axis.width() }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::artifacts::Sky;

    use super::*;

    fn head(sky: bool) -> SpectraHead {
        SpectraHead {
            axis: Axis { start: 10.0, step: -0.5, channels: 100, unit: "km/s".to_owned() },
            unit: "K".to_owned(),
            sky: sky.then(|| Sky { nx: 3, ny: 2, cards: Vec::new(), spectral: Vec::new() }),
        }
    }

    fn in_channels() -> Config {
        Config {
            position_unit: PositionUnit::Channels,
            mean_column: "mean_ch".to_owned(),
            ..Config::default()
        }
    }

    #[test]
    fn components_find_their_pixel_and_are_sorted_by_mean() {
        let table = "y,x, mean_ch,note,sigma,amplitude\n1,2,8,late,2,0.5\n1,2,20,early,1,0.25\n0,0,0,,4,1\n";
        let found = read(&in_channels(), table.as_bytes(), &head(true), 6).unwrap();
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 0, 0, 0, 2]);
        assert_eq!(
            found[5],
            [
                Component { amplitude: 0.25, mean: 0.0, sigma: 0.5 },
                Component { amplitude: 0.5, mean: 6.0, sigma: 1.0 }
            ]
        );
    }

    #[test]
    fn spectra_without_a_sky_are_found_by_row() {
        let table = "row,amplitude,mean,sigma\n4,1,7,2\n";
        let found = read(&Config::default(), table.as_bytes(), &head(false), 5).unwrap();
        assert_eq!(found[4], [Component { amplitude: 1.0, mean: 7.0, sigma: 2.0 }]);
    }

    #[test]
    fn a_bad_table_is_refused_at_its_line() {
        let message = |table: &str, sky: bool| {
            let found = read(&Config::default(), table.as_bytes(), &head(sky), 6);
            found.unwrap_err().to_string()
        };
        let table = "row,amplitude,mean,sigma\n0,1,7,2\n";
        assert!(message("a,b\n", false).contains("no column `row`, only `a`, `b`"));
        assert!(message(&format!("{table}1,1,far,2\n"), false).contains("line 3"));
        assert!(message(&format!("{table}1,1,7,0\n"), false).contains("not positive"));
        assert!(message(&format!("{table}6,1,7,2\n"), false).contains("no row 6"));
        assert!(message("x,y,amplitude,mean,sigma\n3,0,1,7,2\n", true).contains("no pixel (3, 0)"));
        assert!(message(&format!("{table}1,NaN,7,2\n"), false).contains("not a number"));
    }
}
