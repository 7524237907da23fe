//! The maps in numbers.

use serde::Serialize;

use super::line_of_sight::LineOfSight;

/// The maps in numbers; a figure that isn't defined is null.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Lines of sight at which anything was observed.
    pub pixels: u64,
    /// Lines of sight at which nothing was observed, or the noise is unknown.
    pub missing: u64,
    /// Components found in all.
    pub components: u64,
    /// Components for each line of sight observed.
    pub components_per_pixel: Option<f64>,
    /// The rms of observed minus found, over the noise rms: 1 where the components explain all but noise.
    pub residual_over_noise: Middle,
    /// χ² over the degrees of freedom: as the catalogue tells it, of a fit under the noise's correlation; where it
    /// doesn't, with the noise taken as independent from channel to channel.
    pub reduced_chi_squared: Middle,
}

/// The middle of many numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Middle {
    /// The median.
    pub median: Option<f64>,
    /// The mean.
    pub mean: Option<f64>,
}

impl Middle {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.filter(|v| v.is_finite()).collect();
        if values.is_empty() {
            return Self { median: None, mean: None };
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.sort_by(f64::total_cmp);
        let upper = values[values.len() / 2];
        let lower = values[(values.len() - 1) / 2];
        Self { median: Some(0.5 * (lower + upper)), mean: Some(mean) }
    }
}

impl Summary {
    pub(super) fn new(lines: &[LineOfSight]) -> Self {
        let observed = || lines.iter().filter(|line| line.is_observed());
        let pixels = observed().count() as u64;
        let components = observed().map(|line| line.count as u64).sum();
        Self {
            pixels,
            missing: lines.len() as u64 - pixels,
            components,
            components_per_pixel: (pixels > 0).then(|| components as f64 / pixels as f64),
            residual_over_noise: Middle::of(observed().map(|line| line.residual)),
            reduced_chi_squared: Middle::of(observed().map(|line| line.reduced_chi_squared)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::line_of_sight::tests::lines;
    use super::*;

    #[test]
    fn a_summary_leaves_out_what_was_not_observed() {
        let summary = Summary::new(&lines());
        assert_eq!((summary.pixels, summary.missing, summary.components), (5, 1, 13));
        assert_eq!(summary.residual_over_noise.median, Some(4.0));
        let none = Summary::new(&[]);
        assert_eq!(none.components_per_pixel, None);
        assert_eq!(none.residual_over_noise, Middle { median: None, mean: None });
    }
}
