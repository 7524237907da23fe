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
/// blending is in it. `None` where the information is singular, as it is for two equal components, or the noise isn't a
/// positive number.
pub fn cramer_rao(
    components: &[Component],
    axis: &Axis,
    noise: NoiseModel,
) -> Option<Vec<ByParameter<f64>>> {
    let instructions = Instructions::best();
    let mut channels = Channels::default();
    if !channels.set(&vec![0.0; axis.channels], noise, instructions) {
        return None;
    }
    let start: Vec<Parameters> =
        components.iter().map(|component| to_channels(component, axis, noise.rms)).collect();
    let everywhere = Bounds { low: [f64::NEG_INFINITY; 3], high: [f64::INFINITY; 3] };
    let stop = Stop { decrement: 0.0, steps: 0 };
    let mut at = LeastSquares::default();
    at.fit(instructions, &channels, &channels.whitened, &start, &everywhere, stop);
    if !factorize(&mut at.information, 3 * start.len()) {
        return None;
    }
    let mut variances = vec![[0.0; 3]; start.len()];
    inverse_diagonal(&at.information, &mut Vec::new(), variances.as_flattened_mut());
    let bound = |variances: &Parameters| to_uncertainty(variances.map(f64::sqrt), axis, noise.rms);
    Some(variances.iter().map(bound).collect())
}

#[cfg(test)]
mod tests {
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
}
