//! Figures fit for a paper: plain functions from data to SVG text and PNG bytes.
//!
//! Each public function draws one [`Figure`] at its printed size: a column (3.5 in) or a page
//! (7.1 in) wide, at 96 pixels to the inch. The drawing primitives, the font and both writers are
//! kuva's; layout, scales and axes are ours, so that a figure is placed to the pixel and the same
//! data gives the same bytes.
//!
//! Nothing here fails on odd data: missing values are left out, and an empty panel says so.

mod axis_name;
mod bar;
mod calibration;
mod confusion;
mod curve;
mod error;
mod errors;
mod figure;
mod file;
mod fits;
mod frame;
mod grid;
mod history;
mod legend;
mod map_cells;
mod maps;
mod mark;
pub(crate) mod output_files;
mod parameters;
mod picture;
mod samples;
mod scale;
mod sheet;
mod spectra;
mod style;
mod text;
mod world_axis;

pub use axis_name::axis_name;
pub use calibration::{Beyond, CalibrationPanel, CalibrationSeries, calibration};
pub use confusion::confusion;
pub use error::FigureError;
pub use errors::{QualityPanel, QualitySeries, errors};
pub use figure::{Figure, PRINT_SCALE};
pub use file::{FileFormat, FileOptions};
pub use fits::{FitPanel, fits};
pub use history::{Curves, History, history};
pub use maps::{Map, MapKind, maps};
pub use parameters::{ParameterPanel, parameters};
pub use samples::{SamplePanel, samples};
pub use spectra::{SpectrumPanel, spectra};
pub use world_axis::WorldAxis;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spectra::{Axis, Component};

    const LABELS: Labels = Labels { axis: "Velocity", intensity: "Intensity <&>", unit: "K" };

    fn every_figure(
        observed: &[f32],
        found: &[Component],
        axis: &Axis,
    ) -> Vec<(&'static str, Figure)> {
        let title = "row \"7\" <2 & $5>\u{1}".to_string();
        let thresholds = Thresholds { amplitude: 0.0, sigma: 0.0 };
        let sample = SamplePanel { axis, observed, components: found, title: title.clone() };
        let fit = FitPanel {
            axis,
            observed,
            rms: 0.1,
            truth: Some(found),
            predicted: found,
            title: title.clone(),
        };
        let spectrum = SpectrumPanel { observed, predicted: found, title };
        let values: Vec<f64> = observed.iter().map(|v| f64::from(*v)).collect();
        let curves = Curves { name: "total", training: &values, validation: &values };
        let past = History {
            losses: &[curves],
            accuracy: Some(curves),
            first_epoch: 1,
            best_epoch: Some(2),
        };
        let parameter = ParameterPanel {
            name: "mean",
            unit: "K",
            truth: &values,
            predicted: &values,
            missed: 0,
        };
        let series = [QualitySeries { name: "recall", values: &values }];
        let bins: Vec<String> = (0..values.len()).map(|i| format!("bin {i}")).collect();
        let quality = QualityPanel {
            name: "S/N",
            unit: "",
            bins: &bins,
            support: &[3, 2, 1],
            series: &series,
        };
        let share = values.first().copied().unwrap_or(f64::NAN);
        let beyond = [Beyond { parameter: "mean", errors: 7, shares: [share, 0.1, 0.0] }];
        let series = [CalibrationSeries { name: "<&>", parameters: &beyond }];
        let calibrated = CalibrationPanel { name: "bound", series: &series };
        let map = |kind| Map { title: "Count", unit: "K", kind, values: &values };
        vec![
            ("samples", samples(&[sample], &LABELS, thresholds)),
            ("fits", fits(&[fit], &LABELS, thresholds)),
            ("spectra", spectra(axis, &[spectrum], &LABELS, thresholds)),
            ("history", history(&past)),
            ("parameters", parameters(&[parameter])),
            ("confusion", confusion(&[vec![values.len() as u64, 1], vec![0]])),
            ("errors", errors(&[quality], "components")),
            ("calibration", calibration(&[calibrated])),
            ("maps", maps(3, 2, &[map(MapKind::Count), map(MapKind::Continuous)], [None; 2])),
        ]
    }

    fn good() -> Vec<(&'static str, Figure)> {
        let axis = Axis { start: 10.0, step: -0.5, channels: 6, unit: "km/s".to_string() };
        let found = [
            Component { amplitude: 2.0, mean: 9.0, sigma: 0.4 },
            Component { amplitude: f64::NAN, mean: 9.0, sigma: 0.0 },
        ];
        every_figure(&[0.1, 0.3, f32::NAN, 1.9, 0.2, -0.1], &found, &axis)
    }

    /// Every tag closed in order, no bare ampersand, nothing that isn't a number.
    fn is_well_formed(svg: &str) -> bool {
        let mut open = Vec::new();
        for piece in svg.split('<').skip(1) {
            let Some((tag, text)) = piece.split_once('>') else {
                return false;
            };
            let name = tag.split_whitespace().next().unwrap_or("");
            if let Some(name) = name.strip_prefix('/') {
                if open.pop() != Some(name) {
                    return false;
                }
            } else if !tag.starts_with('!') && !tag.ends_with('/') {
                open.push(name);
            }
            let escaped = |rest: &str| {
                ["amp;", "lt;", "gt;", "quot;", "apos;"].iter().any(|e| rest.starts_with(e))
            };
            if !text.split('&').skip(1).all(escaped) || tag.matches('"').count() % 2 == 1 {
                return false;
            }
        }
        open.is_empty() && !svg.contains("NaN") && !svg.contains("inf") && !svg.contains('\u{1}')
    }

    #[test]
    fn the_same_data_gives_the_same_bytes() {
        for ((name, first), (_, second)) in good().iter().zip(good()) {
            assert_eq!(first.svg(), second.svg(), "{name}");
            assert_eq!(first.png(1.5).unwrap(), second.png(1.5).unwrap(), "{name}");
        }
    }

    #[test]
    fn every_figure_is_well_formed_and_labelled() {
        for (name, figure) in good() {
            let svg = figure.svg();
            assert!(is_well_formed(&svg), "{name}: {svg}");
            let label = match name {
                "samples" | "fits" | "spectra" => "Intensity &lt;&amp;&gt; (K)",
                "history" => "Epoch",
                "parameters" => "Predicted mean (K)",
                "confusion" => "Predicted count",
                "errors" => "S/N",
                "calibration" => "Errors over the bound",
                _ => "x (pixel)",
            };
            assert!(svg.contains(label), "{name}: {svg}");
            if let "samples" | "fits" | "spectra" = name {
                assert!(svg.contains("row &quot;7&quot; &lt;2 &amp; $5&gt;"), "{name}: {svg}");
            }
        }
    }

    #[test]
    fn degenerate_data_gives_a_figure() {
        let axis = |step, channels| Axis { start: 0.0, step, channels, unit: String::new() };
        let wide = Component { amplitude: -1.0, mean: 1e30, sigma: 1e-30 };
        let cases: [(&[f32], Axis); 8] = [
            (&[], axis(1.0, 0)),
            (&[], axis(1.0, 5)),
            (&[1.0], axis(1.0, 1)),
            (&[f32::NAN; 6], axis(1.0, 6)),
            (&[0.0; 6], axis(1.0, 6)),
            (&[7.0; 9], axis(f64::NAN, 6)),
            (&[f32::INFINITY, f32::NEG_INFINITY, 1.0], axis(0.0, 6)),
            (&[f32::MAX, f32::MIN, f32::MIN_POSITIVE], axis(1e300, 6)),
        ];
        for (i, (observed, axis)) in cases.iter().enumerate() {
            for (name, figure) in every_figure(observed, &[wide], axis) {
                assert!(is_well_formed(&figure.svg()), "{name} of case {i}");
                assert!(figure.png(1.0).is_ok(), "{name} of case {i}");
            }
        }
    }
}
