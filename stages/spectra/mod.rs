//! Spectra as plain functions on arrays: Gaussian components, noise, matching, metrics, cubes.
//! Nothing here knows of stages, artifacts or files of the cache.

mod agreement;
mod assignment;
mod axis;
mod baseline;
mod catalogue;
mod component;
mod cube;
mod cube_error;
mod cube_writer;
pub mod fit;
mod fits;
mod matching;
mod metrics;
mod noise;
mod random;
mod scaling;
mod score;
mod split;
mod synthesis;
mod wcs;

pub use agreement::ByParameter;
pub use axis::Axis;
pub use baseline::ConstantGuess;
pub use catalogue::{
    CATALOGUE_COLUMNS, CatalogueError, CatalogueRow, CatalogueWriter, read_catalogue,
};
pub use component::{Component, FWHM_PER_SIGMA};
pub use cube::{Cube, CubeHeader, CubeReader};
pub use cube_error::CubeError;
pub use cube_writer::{SkyMap, write_cube, write_map};
pub use matching::{MatchCriteria, MeanUnit, Pair};
pub use metrics::{ActiveMetrics, CountMetrics, Evaluation, Metrics};
pub use noise::{Noise, line_free};
pub use random::{Draws, Purpose};
pub use scaling::{Scaler, ScalingError, StandardFit};
pub use score::{Bin, Score, separation};
pub use split::{MEMBERSHIPS, Membership, SPLIT_BLOCK, Split, SplitError};
pub use synthesis::{Amplitudes, NoiseLevel, Range, Recipe, RecipeError, SyntheticSpectrum};
pub use wcs::{CardValue, SkyGrid};
