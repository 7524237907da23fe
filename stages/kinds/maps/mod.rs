//! `maps`: what was found in a cube, as maps of the sky.

mod error;
mod examples;
mod field;
mod line_of_sight;
mod summary;

pub use self::error::MapsError;

use pipe_engine::{
    ArtifactType, Exactness, Fault, Format, InputPort, OutputPort, StageContext, StageError,
    StageKind,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::summary::{Middle, Summary};
use self::{examples::examples, field::Field, line_of_sight::measure};
use crate::{
    artifacts::{self, ComponentsReader, DetailsReader, SpectraReader},
    figures::{FileFormat, FileOptions, output_files},
};

/// The numbers that sum the maps up.
const SUMMARY: ArtifactType = ArtifactType::new("summary", Format::Document);

/// The file of a `summary`.
const SUMMARY_FILE: &str = "summary.json";

/// The kind `maps`: maps of the components found in a cube, and of how well they explain it.
pub struct Maps;

/// What `maps` draws, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Number of spectra shown, from the brightest pixel to the faintest; 0 leaves the figure out.
    #[schemars(range(min = 0, max = 64))]
    pub spectra: usize,
    /// Components of a smaller amplitude (in the unit of the spectra) get no curve of their own.
    #[schemars(range(min = 0.0))]
    pub amplitude_threshold: f64,
    /// Components of a smaller sigma (in the unit of the axis) get no curve of their own.
    #[schemars(range(min = 0.0))]
    pub sigma_threshold: f64,
    /// The formats of the files: `png`, `svg`, or both.
    #[schemars(length(min = 1))]
    pub formats: Vec<FileFormat>,
    /// Resolution of the PNG files at their printed size (7.1 inches wide).
    #[schemars(range(min = 36, max = 1200), extend("unit" = "dots per inch"))]
    pub dots_per_inch: u32,
    /// What the values of the spectra are called on the axes.
    pub intensity_name: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            spectra: 16,
            amplitude_threshold: 0.0,
            sigma_threshold: 0.0,
            formats: vec![FileFormat::Png, FileFormat::Svg],
            dots_per_inch: 300,
            intensity_name: "Intensity".to_owned(),
        }
    }
}

impl StageKind for Maps {
    type Config = Config;

    const KIND: &'static str = "maps";
    const ABOUT: &'static str = "Maps what was found in a cube: integrated intensity, centroid, width, number of components, noise and χ².";
    const REVISION: u32 = 3;
    const EXACTNESS: Exactness = Exactness::Reproducible;
    const INPUTS: &'static [InputPort] = &[
        InputPort::required("spectra", artifacts::SPECTRA, "the spectra of a cube"),
        InputPort::required("catalogue", artifacts::CATALOGUE, "the components found in them"),
    ];
    const OUTPUTS: &'static [OutputPort] = &[
        OutputPort::new(
            "figures",
            artifacts::FIGURES,
            "the maps, and spectra from bright to faint",
        ),
        OutputPort::new(
            "fits",
            artifacts::FITS,
            "the maps as images: `intensity.fits`, `centroid.fits`, `width.fits`, `count.fits`, `noise_rms.fits`, \
             `reduced_chi_squared.fits`",
        ),
        OutputPort::new("summary", SUMMARY, "how many components there are and how well they fit"),
    ];

    fn check(config: &Config) -> Vec<Fault> {
        output_files::check(&config.formats)
    }

    fn run(config: &Config, context: &StageContext<'_>) -> Result<(), StageError> {
        let spectra = SpectraReader::open(context.input("spectra")?)?;
        let catalogue = ComponentsReader::open(context.input("catalogue")?)?;
        if catalogue.rows() != spectra.rows() {
            return Err(
                MapsError::Rows { catalogue: catalogue.rows(), spectra: spectra.rows() }.into()
            );
        }
        let sky = spectra.head().sky.clone().ok_or(MapsError::NoSky)?;
        let details = DetailsReader::open(context.input("catalogue")?)?;
        let lines = measure(&spectra, &catalogue, &details, context)?;
        let field = Field::new(&sky, &spectra, &lines)?;
        field.write(context)?;
        let mut drawn = vec![("maps", field.draw())];
        if config.spectra > 0 {
            drawn.push(("spectra", examples(config, &spectra, &catalogue, &lines)?));
        }
        context.output("summary")?.document(SUMMARY_FILE, &Summary::new(&lines))?;
        let options = FileOptions { formats: &config.formats, dots_per_inch: config.dots_per_inch };
        output_files::write(&drawn, options, context)
    }
}
