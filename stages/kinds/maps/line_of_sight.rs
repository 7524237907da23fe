//! What is known of one line of sight, and how it is measured.

use pipe_engine::{StageContext, StageError};
use rayon::prelude::*;

use crate::{
    artifacts::{self, ComponentsReader, DetailsReader, SpectraReader},
    spectra::{Axis, Component, Moments, add_components},
};

/// What is known of one line of sight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LineOfSight {
    pub(super) count: usize,
    /// Integral, centroid and width of the components.
    pub(super) moments: Moments,
    /// The rms of the noise, in the unit of the spectra.
    pub(super) noise: f64,
    /// The rms of observed minus found, over the noise rms; NaN where nothing was observed.
    pub(super) residual: f64,
    /// χ² over the degrees of freedom; NaN where none are left.
    pub(super) reduced_chi_squared: f64,
}

impl LineOfSight {
    /// Measures a spectrum. Its noise counts as white, and three degrees of freedom are taken by each component.
    pub(super) fn new(axis: &Axis, observed: &[f32], rms: f64, found: &[Component]) -> Self {
        let mut model = vec![0.0; observed.len()];
        add_components(axis, found, &mut model);
        let mut squares = 0.0;
        let mut channels = 0_usize;
        for (value, model) in observed.iter().zip(model) {
            if value.is_finite() {
                let residual = f64::from(*value) - model;
                squares += residual * residual;
                channels += 1;
            }
        }
        let usable = channels > 0 && rms.is_finite() && rms > 0.0;
        let over_noise = if usable { squares / (rms * rms) } else { f64::NAN };
        let freedom = channels as f64 - 3.0 * found.len() as f64;
        Self {
            count: found.len(),
            moments: Moments::of(found),
            noise: if usable { rms } else { f64::NAN },
            residual: (over_noise / channels as f64).sqrt(),
            reduced_chi_squared: if freedom > 0.0 { over_noise / freedom } else { f64::NAN },
        }
    }

    /// Whether anything was observed.
    pub(super) fn is_observed(&self) -> bool {
        self.residual.is_finite()
    }
}

/// Measures every row, in their order. Noise and χ² are those on which the catalogue rests, where it tells.
pub(super) fn measure(
    spectra: &SpectraReader,
    catalogue: &ComponentsReader,
    details: &DetailsReader,
    context: &StageContext<'_>,
) -> Result<Vec<LineOfSight>, StageError> {
    let done = std::sync::atomic::AtomicU64::new(0);
    let channels = spectra.axis().channels;
    let chunk = |range: std::ops::Range<u64>| -> Result<Vec<LineOfSight>, StageError> {
        context.check_interrupt()?;
        let values = spectra.read(range.clone())?;
        let noise = match details.noise_rms(range.clone())? {
            Some(noise) => noise,
            None => spectra.noise(range.clone())?,
        };
        let found = catalogue.read(range.clone())?;
        let rows = values.chunks_exact(channels.max(1)).zip(noise).zip(found);
        let mut lines: Vec<LineOfSight> = rows
            .map(|((observed, rms), found)| LineOfSight::new(spectra.axis(), observed, rms, &found))
            .collect();
        if let Some(told) = details.reduced_chi_squared(range.clone())? {
            for (line, told) in lines.iter_mut().zip(told) {
                line.reduced_chi_squared = told;
            }
        }
        let rows = range.end - range.start;
        let done = done.fetch_add(rows, std::sync::atomic::Ordering::Relaxed) + rows;
        context.progress(done, spectra.rows(), "spectra");
        Ok(lines)
    };
    let chunks: Result<Vec<_>, StageError> =
        artifacts::chunks(spectra.rows()).into_par_iter().map(chunk).collect();
    Ok(chunks?.concat())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn axis() -> Axis {
        Axis { start: 0.0, step: 1.0, channels: 8, unit: "km/s".to_owned() }
    }

    #[test]
    fn a_line_of_sight_is_measured_against_its_noise() {
        let found = [Component { amplitude: 3.0, mean: 4.0, sigma: 1.0 }];
        let mut observed: Vec<f32> =
            axis().values().iter().map(|x| found[0].value(*x) as f32 + 0.5).collect();
        observed[7] = f32::NAN;
        let line = LineOfSight::new(&axis(), &observed, 0.25, &found);
        assert_eq!((line.count, line.noise.to_bits()), (1, 0.25_f64.to_bits()));
        assert!((line.residual - 2.0).abs() < 1e-6);
        // Seven channels of (0.5 / 0.25)², less three parameters.
        assert!((line.reduced_chi_squared - 28.0 / 4.0).abs() < 1e-5);
        let area = 3.0 * (2.0 * std::f64::consts::PI).sqrt();
        assert!((line.moments.integral - area).abs() < 1e-12);
        for (observed, rms) in [(&[f32::NAN; 8], 0.1), (&[0.0; 8], 0.0), (&[0.0; 8], f64::NAN)] {
            let line = LineOfSight::new(&axis(), observed, rms, &[]);
            assert!(!line.is_observed() && line.noise.is_nan());
        }
    }

    /// Six lines of sight with as many components as their number says; nothing was observed at 2.
    pub(in super::super) fn lines() -> Vec<LineOfSight> {
        let line = |i: usize| LineOfSight {
            count: i,
            moments: Moments { integral: i as f64, centroid: 1.0, width: 1.0 },
            noise: 1.0,
            residual: if i == 2 { f64::NAN } else { 1.0 + i as f64 },
            reduced_chi_squared: 1.0,
        };
        (0..6).map(line).collect()
    }
}
