//! The stage `export`: a catalogue, and what it makes of a cube, for other programs.

mod cubes;
mod error;
mod table;

pub use self::error::ExportError;

use pipe_engine::{Exactness, Fault, InputPort, OutputPort, StageContext, StageError, StageKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifacts::{CATALOGUE, ComponentsReader, FITS, SPECTRA, SpectraReader};

/// The kind `export`.
pub struct Export;

/// A file that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum File {
    /// `catalogue.fits`: a binary table with a row for each component.
    Catalogue,
    /// `model.fits`: the sum of the components, channel by channel.
    Model,
    /// `residual.fits`: the spectra less the model.
    Residual,
}

/// What is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The files: `catalogue` (a binary table, a row for each component, with units), `model` (a cube: the sum of the
    /// components) and `residual` (a cube: the spectra less the model). The cubes have the world coordinates of the one
    /// that the spectra come from, and its size; spectra that come from none are the lines of an image.
    #[schemars(length(min = 1))]
    pub files: Vec<File>,
}

impl Default for Config {
    fn default() -> Self {
        Self { files: vec![File::Catalogue, File::Model, File::Residual] }
    }
}

impl StageKind for Export {
    type Config = Config;

    const KIND: &'static str = "export";
    const ABOUT: &'static str =
        "Writes a catalogue as a FITS table, and its model and residual of a cube as FITS cubes.";
    const REVISION: u32 = 1;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] = &[
        InputPort::required("spectra", SPECTRA, "the spectra that were decomposed"),
        InputPort::required("catalogue", CATALOGUE, "the components found in them"),
    ];
    const OUTPUTS: &'static [OutputPort] =
        &[OutputPort::new("fits", FITS, "`catalogue.fits`, `model.fits` and `residual.fits`")];

    fn check(config: &Config) -> Vec<Fault> {
        let files = &config.files;
        let twice = files.iter().enumerate().any(|(i, file)| files[..i].contains(file));
        let mut faults = Vec::new();
        if files.is_empty() {
            faults.push(
                Fault::at("files", "no file is named")
                    .help("name some of `catalogue`, `model` and `residual`"),
            );
        } else if twice {
            faults.push(Fault::at("files", "a file is named twice"));
        }
        faults
    }

    fn run(config: &Config, context: &StageContext<'_>) -> Result<(), StageError> {
        let spectra = SpectraReader::open(context.input("spectra")?)?;
        let components = ComponentsReader::open(context.input("catalogue")?)?;
        let (rows, found) = (spectra.rows(), components.rows());
        if rows != found {
            return Err(ExportError::Rows { catalogue: found, spectra: rows }.into());
        }
        if config.files.contains(&File::Catalogue) {
            table::write(&spectra, &components, context)?;
        }
        let wanted = |file| config.files.contains(&file);
        cubes::write(&spectra, &components, [wanted(File::Model), wanted(File::Residual)], context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_some_and_each_once() {
        assert_eq!(Export::check(&Config::default()), []);
        for files in [vec![], vec![File::Model, File::Model]] {
            assert_eq!(Export::check(&Config { files })[0].path, ["files"]);
        }
    }
}
