//! Spectra as plain functions on arrays: Gaussian components, noise, matching, metrics, cubes.
//! Nothing here knows of stages, artifacts or files of the cache.

mod agreement;
mod assignment;
mod axis;
mod baseline;
mod binary_table;
mod calibration;
mod catalogue;
mod celestial;
mod coherence;
mod component;
mod cube;
mod cube_error;
mod cube_layout;
mod cube_writer;
mod evaluation;
pub mod fit;
mod fits;
mod fits_cards;
mod matching;
mod metrics;
mod model;
mod moments;
mod noise;
mod noise_map;
mod oracle;
mod pixels;
mod random;
mod residual_noise;
mod scaling;
mod score;
mod spectral_grid;
mod split;
mod synthesis;
mod wcs;

pub use agreement::ByParameter;
pub use axis::Axis;
pub use baseline::ConstantGuess;
pub use binary_table::{BinaryTableWriter, Cell, Column, ColumnKind};
pub use calibration::{Calibration, Coverage, Within};
pub use catalogue::{
    CATALOGUE_COLUMNS, CatalogueError, CatalogueRow, CatalogueWriter, read_catalogue,
};
pub use celestial::Celestial;
pub use coherence::{Coherence, Line, Neighbour};
pub use component::{Component, FWHM_PER_SIGMA};
pub use cube::{Cube, CubeHeader, CubeReader};
pub use cube_error::CubeError;
pub use cube_layout::CubeLayout;
pub use cube_writer::{SkyMap, write_cube, write_map};
pub use evaluation::{Deviations, Evaluation};
pub use matching::{MatchCriteria, MeanUnit, Pair};
pub use metrics::{ActiveMetrics, CountMetrics, Metrics};
pub use model::add_components;
pub use moments::Moments;
pub use noise::{Noise, line_free};
pub use noise_map::{NoiseMap, NoiseMapError};
pub use oracle::{Oracle, TrueRanges};
pub use random::{Draws, Purpose};
pub use scaling::{Scaler, ScalingError, StandardFit};
pub use score::{Bin, CountBin, Score, separation};
pub use spectral_grid::SpectralGrid;
pub use split::{MEMBERSHIPS, Membership, SPLIT_BLOCK, Split, SplitError};
pub use synthesis::{Amplitudes, NoiseLevel, Range, Recipe, RecipeError, SyntheticSpectrum};
pub use wcs::{CardValue, SkyGrid};
