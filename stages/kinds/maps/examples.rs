//! Spectra from bright to faint, each with what was found in it.

use pipe_engine::StageError;

use super::{Config, error::MapsError, line_of_sight::LineOfSight};
use crate::{
    artifacts::{ComponentsReader, SpectraReader},
    figures::{self, Figure, Labels, Thresholds},
};

/// The rows that show the whole range of brightness: the brightest, the faintest, and evenly between.
fn from_bright_to_faint(lines: &[LineOfSight], count: usize) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..lines.len()).filter(|row| lines[*row].is_observed()).collect();
    rows.sort_by(|a, b| {
        lines[*b].moments.integral.total_cmp(&lines[*a].moments.integral).then(a.cmp(b))
    });
    if rows.len() <= count || count == 0 {
        rows.truncate(count);
        return rows;
    }
    let last = rows.len() - 1;
    (0..count).map(|i| rows[i * last / (count - 1).max(1)]).collect()
}

/// Draws them.
pub(super) fn examples(
    config: &Config,
    spectra: &SpectraReader,
    catalogue: &ComponentsReader,
    lines: &[LineOfSight],
) -> Result<Figure, StageError> {
    let mut read = Vec::new();
    for row in from_bright_to_faint(lines, config.spectra) {
        let one = row as u64..row as u64 + 1;
        let pixel = spectra.pixels(one.clone())?.and_then(|p| p.first().copied());
        let (x, y) = pixel.ok_or(MapsError::NoSky)?;
        let found = catalogue.read(one.clone())?.pop().unwrap_or_default();
        read.push((spectra.read(one)?, found, format!("x {x}, y {y}, found {}", lines[row].count)));
    }
    let panels: Vec<figures::SpectrumPanel> = read
        .iter()
        .map(|(observed, predicted, title)| figures::SpectrumPanel {
            observed,
            predicted,
            title: title.clone(),
        })
        .collect();
    let axis = spectra.axis();
    let labels = Labels {
        axis: figures::axis_name(&axis.unit),
        intensity: &config.intensity_name,
        unit: &spectra.head().unit,
    };
    let thresholds =
        Thresholds { amplitude: config.amplitude_threshold, sigma: config.sigma_threshold };
    Ok(figures::spectra(axis, &panels, &labels, thresholds))
}

#[cfg(test)]
mod tests {
    use super::super::line_of_sight::tests::lines;
    use super::*;

    #[test]
    fn examples_span_bright_and_faint() {
        assert_eq!(from_bright_to_faint(&lines(), 3), [5, 3, 0]);
        assert_eq!(from_bright_to_faint(&lines(), 1), [5]);
        assert_eq!(from_bright_to_faint(&lines(), 50), [5, 4, 3, 1, 0]);
        assert!(from_bright_to_faint(&lines(), 0).is_empty());
    }
}
