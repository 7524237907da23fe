//! A finished figure, ready to be written.

use kuva::backend::svg::SvgBackend;
use kuva::render::render::Scene;

use super::error::FigureError;
use super::picture;

/// The scale at which a PNG has 300 dots to the inch of the figure's printed width.
pub const PRINT_SCALE: f32 = 3.125;

/// The largest picture drawn, in pixels; 100 million take 700 MB while they are drawn.
const MOST_PIXELS: f64 = 1e8;

/// A figure: the same drawing as SVG and as PNG, with the same bytes each time.
#[derive(Debug)]
pub struct Figure {
    scene: Scene,
}

impl Figure {
    pub(super) fn new(scene: Scene) -> Self {
        Self { scene }
    }

    /// The printed width, in inches.
    pub fn width(&self) -> f64 {
        self.scene.width / 96.0
    }

    /// The printed height, in inches.
    pub fn height(&self) -> f64 {
        self.scene.height / 96.0
    }

    /// The figure as an SVG document, at 96 pixels to the inch of its printed size.
    ///
    /// The text stays text; its font is named, not embedded.
    pub fn svg(&self) -> String {
        SvgBackend::new().with_pretty(true).render_scene(&self.scene)
    }

    /// The figure as a PNG with `scale` pixels to each pixel of the SVG; [`PRINT_SCALE`] gives 300
    /// dots to the inch, and the file says how many it has.
    ///
    /// # Errors
    ///
    /// [`FigureError::Size`] where the scale isn't positive or the picture would be too large; the
    /// others where the drawing library or the encoder fails.
    pub fn png(&self, scale: f32) -> Result<Vec<u8>, FigureError> {
        let width = libm::ceil(self.scene.width * f64::from(scale));
        let height = libm::ceil(self.scene.height * f64::from(scale));
        if !(width >= 1.0 && height >= 1.0 && width * height <= MOST_PIXELS) {
            return Err(FigureError::Size { width, height });
        }
        picture::png(&self.scene, scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_of_no_size_is_refused() {
        let figure = Figure::new(Scene::new(96.0, 48.0));
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e6] {
            assert!(matches!(figure.png(scale), Err(FigureError::Size { .. })));
        }
        let png = figure.png(2.0).unwrap();
        assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
        assert_eq!(png[16..24], [0, 0, 0, 192, 0, 0, 0, 96]);
        assert!((figure.width() - 1.0).abs() < 1e-12 && (figure.height() - 0.5).abs() < 1e-12);
    }
}
