//! The least uncertainty that any unbiased estimate can have.

use super::channels::{Channels, NoiseModel};
use super::kernels::Instructions;
use super::least_squares::{Bounds, LeastSquares, Parameters, Stop};
use super::matrix::{factorize, inverse_diagonal};
use super::parameters::{to_channels, to_uncertainty};
use crate::spectra::{Axis, ByParameter, Component};

/// The Cramér–Rao bound of true components: the least standard deviation that an unbiased estimate of each parameter
/// can have, in the units of the components.
///
/// It is the root of the diagonal of the inverse of Fisher's information, Jᵀ C⁻¹ J for normal noise of covariance C
/// (Kay 1993, §3.9), where J has the derivatives of the spectrum by all parameters of all components at once: so
/// blending is in it.
#[derive(Debug, Clone)]
pub struct CramerRao {
    axis: Axis,
    instructions: Instructions,
    channels: Channels,
    at: LeastSquares,
    start: Vec<Parameters>,
    room: Vec<f64>,
    variances: Vec<Parameters>,
}

impl CramerRao {
    /// For spectra on `axis`, one after the other.
    pub fn new(axis: &Axis) -> Self {
        Self {
            axis: axis.clone(),
            instructions: Instructions::best(),
            channels: Channels::default(),
            at: LeastSquares::default(),
            start: Vec::new(),
            room: Vec::new(),
            variances: Vec::new(),
        }
    }

    /// The bound of each of `components`. Of `spectrum` only matters which channels are missing: those that aren't
    /// finite.
    ///
    /// `None` where the information is singular, as it is for two equal components, or where there is none: all
    /// channels are missing, or the noise isn't a positive number.
    pub fn bound(
        &mut self,
        components: &[Component],
        spectrum: &[f32],
        noise: NoiseModel,
    ) -> Option<Vec<ByParameter<f64>>> {
        let Self { axis, instructions, channels, at, start, room, variances } = self;
        if !channels.set(spectrum, noise, *instructions) {
            return None;
        }
        start.clear();
        start.extend(components.iter().map(|c| to_channels(c, axis, noise.rms)));
        let everywhere = Bounds { low: [f64::NEG_INFINITY; 3], high: [f64::INFINITY; 3] };
        // No step is taken: the information is that at the components themselves.
        let stop = Stop { decrement: 0.0, steps: 0 };
        at.fit(*instructions, channels, &channels.whitened, start, &everywhere, stop);
        if !factorize(&mut at.information, 3 * start.len()) {
            return None;
        }
        variances.clear();
        variances.resize(start.len(), [0.0; 3]);
        inverse_diagonal(&at.information, room, variances.as_flattened_mut());
        let bound =
            |variances: &Parameters| to_uncertainty(variances.map(f64::sqrt), axis, noise.rms);
        Some(variances.iter().map(bound).collect())
    }
}

/// The bound of components in a spectrum of which no channel is missing: see [`CramerRao`].
pub fn cramer_rao(
    components: &[Component],
    axis: &Axis,
    noise: NoiseModel,
) -> Option<Vec<ByParameter<f64>>> {
    CramerRao::new(axis).bound(components, &vec![0.0; axis.channels], noise)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn axis() -> Axis {
        Axis { start: 100.0, step: -2.0, channels: 200, unit: String::new() }
    }

    /// For a lone, well-sampled component in white noise (Landman, Roussel-Dupré & Tanigawa 1982): the deviation of the
    /// amplitude is √(3/2) q, that of mean and sigma √2 q · sigma / amplitude, with q² = rms² Δx / (√π sigma) · 1.
    #[test]
    fn a_lone_component_has_the_bound_of_the_textbook() {
        let component = Component { amplitude: 3.0, mean: -90.0, sigma: 12.0 };
        let noise = NoiseModel { rms: 0.2, correlation: 0.0 };
        let bound = cramer_rao(&[component], &axis(), noise).unwrap()[0];
        let q = 0.2 * (2.0 / (std::f64::consts::PI.sqrt() * 12.0)).sqrt();
        let width = 2.0_f64.sqrt() * q * 12.0 / 3.0;
        assert!((bound.amplitude / (1.5_f64.sqrt() * q) - 1.0).abs() < 1e-6, "{bound:?}");
        assert!((bound.mean / width - 1.0).abs() < 1e-6, "{bound:?}");
        assert!((bound.sigma / width - 1.0).abs() < 1e-6, "{bound:?}");
    }

    #[test]
    fn correlated_noise_hides_wide_lines_as_its_power_there() {
        // The power of the noise at low frequencies is 1 + 2ρ times that of white noise.
        let component = Component { amplitude: 3.0, mean: -90.0, sigma: 30.0 };
        let bound = |correlation| {
            cramer_rao(&[component], &axis(), NoiseModel { rms: 0.2, correlation }).unwrap()[0]
        };
        let ratio = bound(0.4).mean / bound(0.0).mean;
        assert!((ratio / 1.8_f64.sqrt() - 1.0).abs() < 5e-3, "{ratio}");
    }

    #[test]
    fn a_blend_is_less_certain_and_two_equal_components_are_not_at_all() {
        let noise = NoiseModel { rms: 0.2, correlation: 0.0 };
        let one = Component { amplitude: 3.0, mean: -90.0, sigma: 12.0 };
        let two = Component { mean: -80.0, ..one };
        let alone = cramer_rao(&[one], &axis(), noise).unwrap()[0];
        let blended = cramer_rao(&[one, two], &axis(), noise).unwrap()[0];
        assert!(blended.amplitude > 5.0 * alone.amplitude);
        assert_eq!(cramer_rao(&[one, one], &axis(), noise), None);
        assert_eq!(cramer_rao(&[], &axis(), noise), Some(Vec::new()));
        assert_eq!(cramer_rao(&[one], &axis(), NoiseModel { rms: 0.0, correlation: 0.0 }), None);
    }

    #[test]
    fn missing_channels_tell_nothing_and_leave_no_trace() {
        let noise = NoiseModel { rms: 0.2, correlation: 0.3 };
        let component = Component { amplitude: 3.0, mean: -90.0, sigma: 12.0 };
        let mut at = CramerRao::new(&axis());
        let whole = at.bound(&[component], &[0.0; 200], noise).unwrap()[0];
        let mut half = [0.0; 200];
        half[95..].fill(f32::NAN);
        let halved = at.bound(&[component], &half, noise).unwrap()[0];
        assert!(halved.amplitude > 1.2 * whole.amplitude && halved.mean > 1.2 * whole.mean);
        assert_eq!(at.bound(&[component], &[f32::NAN; 200], noise), None);
        assert_eq!(at.bound(&[component], &[7.0; 200], noise).unwrap()[0], whole);
    }

    proptest! {
        #[test]
        fn a_bound_is_positive_and_goes_with_the_noise(
            components in prop::collection::vec((0.5..5.0_f64, -280.0..80.0_f64, 4.0..30.0_f64), 1..4),
            rms in 0.01..1.0_f64,
            correlation in -0.4..0.45_f64,
        ) {
            let at = |(amplitude, mean, sigma)| Component { amplitude, mean, sigma };
            let components: Vec<Component> = components.into_iter().map(at).collect();
            let bound = |rms| cramer_rao(&components, &axis(), NoiseModel { rms, correlation });
            // Nearly equal components make the information singular.
            let (Some(loud), Some(quiet)) = (bound(rms), bound(0.5 * rms)) else { return Ok(()) };
            for (loud, quiet) in loud.iter().zip(&quiet) {
                for (loud, quiet) in [
                    (loud.amplitude, quiet.amplitude),
                    (loud.mean, quiet.mean),
                    (loud.sigma, quiet.sigma),
                ] {
                    prop_assert!(quiet > 0.0 && quiet < loud);
                    // Half the noise, half the bound, as far as the inverse of the matrix is exact.
                    prop_assert!((loud / quiet - 2.0).abs() < 1e-3, "{} {}", loud, quiet);
                }
            }
        }
    }
}
