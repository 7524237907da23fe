//! Figures fit for a paper: plain functions from data to SVG text and PNG bytes.
//!
//! Each public function draws one [`Figure`] at its printed size: a column (3.5 in) or a page
//! (7.1 in) wide, at 96 pixels to the inch. The drawing primitives, the font and both writers are
//! kuva's; layout, scales and axes are ours, so that a figure is placed to the pixel and the same
//! data gives the same bytes.
//!
//! Nothing here fails on odd data: missing values are left out, and an empty panel says so.

mod bar;
mod confusion;
mod curve;
mod errors;
mod figure;
mod fits;
mod frame;
mod grid;
mod history;
mod legend;
mod map_cells;
mod maps;
mod parameters;
mod picture;
mod samples;
mod scale;
mod sheet;
mod spectra;
mod style;
mod text;

pub use confusion::confusion;
pub use errors::{QualityPanel, QualitySeries, errors};
pub use figure::{Figure, FigureError, PRINT_SCALE};
pub use fits::{FitPanel, fits};
pub use history::{Curves, History, history};
pub use maps::{Map, MapKind, maps};
pub use parameters::{ParameterPanel, parameters};
pub use samples::{SamplePanel, samples};
pub use spectra::{SpectrumPanel, spectra};

/// What the axes of a spectrum are called.
///
/// The unit of the spectral axis comes with each [`Axis`](crate::spectra::Axis).
#[derive(Debug, Clone, Copy)]
pub struct Labels<'a> {
    /// The name of the spectral axis, such as `Velocity`.
    pub axis: &'a str,
    /// The name of the spectrum's values, such as `Brightness temperature`.
    pub intensity: &'a str,
    /// The unit of the spectrum's values, such as `K`; may be empty.
    pub unit: &'a str,
}

/// Components below either limit are not drawn as curves of their own.
///
/// They stay in the sum and in the residual: those show what the catalogue says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Thresholds {
    /// The smallest amplitude drawn, in the units of the spectrum.
    pub amplitude: f64,
    /// The smallest sigma drawn, in axis units.
    pub sigma: f64,
}

impl Thresholds {
    /// Whether the component is to be drawn.
    fn admit(self, component: &crate::spectra::Component) -> bool {
        component.amplitude >= self.amplitude && component.sigma >= self.sigma
    }
}
