//! How probable a number of components is: the evidence, after Laplace.

use super::least_squares::{Bounds, Parameters};
use super::matrix::{entries, factorize, inverse_diagonal, log_determinant, place};
use super::population::Population;

/// The least that the largest amplitude thought possible is, in units of the noise rms.
const LEAST_RANGE: f64 = 5.0;

/// What is thought of a component before its parameters are seen: uniform in amplitude up to the brightest channel of
/// the spectrum, in mean over the axis, and in sigma between its bounds.
///
/// Uniform rather than uniform in the logarithm: the latter expects most components at the faint and narrow end,
/// where noise makes them, too.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Prior {
    /// The density at every component, by parameter.
    density: Parameters,
    /// How many signs an amplitude may have.
    signs: f64,
}

impl Prior {
    /// The prior within `bounds`, for a spectrum whose channels reach `peak` in modulus.
    pub(super) fn new(bounds: &Bounds, peak: f64) -> Self {
        let signs = if bounds.low[0] < 0.0 { 2.0 } else { 1.0 };
        let density = [
            1.0 / (signs * peak.max(LEAST_RANGE)),
            1.0 / (bounds.high[1] - bounds.low[1] + 1.0),
            // A sigma that is given is known to no better than a tenth of a channel.
            1.0 / (bounds.high[2] - bounds.low[2]).max(0.1),
        ];
        Self { density, signs }
    }

    /// The logarithm of what is thought of these components: of their number, less that of none, of their parameters,
    /// and of the K! orders in which the same can be named.
    pub(super) fn log(&self, components: &[Parameters], population: Option<&Population>) -> f64 {
        let mut log = population.map_or(0.0, |population| population.log_count(components.len()));
        for (k, component) in components.iter().enumerate() {
            let [amplitude, mean, sigma] = population.map_or(self.density, |population| {
                population.density(component, &self.density, self.signs)
            });
            log += libm::log((k + 1) as f64 * amplitude * mean * sigma);
        }
        log
    }

    /// The logarithm of the density at a component, where the field isn't known.
    pub(super) fn log_density(&self) -> f64 {
        self.density.iter().map(|density| libm::log(*density)).sum()
    }
}

/// The posterior about a fit, taken for a normal distribution cut at the bounds.
#[derive(Debug, Clone, Default)]
pub(super) struct Posterior {
    factor: Vec<f64>,
    column: Vec<f64>,
    /// The standard deviation of every parameter, the roots of the diagonal of (F + P)⁻¹.
    pub(super) deviations: Vec<Parameters>,
}

impl Posterior {
    /// Sets it up at `parameters`, where the fit has this `information` and `gradient`. Gives the logarithm of the
    /// posterior's volume, to which −χ²/2 and [`Prior::log`] are to be added for the log evidence.
    ///
    /// With the information matrix F = Jᵀ C⁻¹ J and the prior density p = Π pᵢ, the evidence of K components is
    /// K! · p · e^(−χ²/2) · (2π)^(3K/2) · |F + P|^(−1/2) · Π bᵢ (Laplace's method; `MacKay` 2003, ch. 28). K! counts the
    /// orders in which the same components can be named. P is diagonal, Pᵢ = 2π pᵢ² with the density of a field that
    /// isn't known: a parameter of which the spectrum says nothing then counts as its prior and no more, a factor of
    /// exactly 1. bᵢ is the part of the parameter's distribution that lies within its bounds.
    pub(super) fn set(
        &mut self,
        parameters: &[Parameters],
        information: &[f64],
        gradient: &[f64],
        bounds: &Bounds,
        prior: &Prior,
    ) -> f64 {
        const HALF_LOG_2_PI: f64 = 0.918_938_533_204_672_7;
        let n = 3 * parameters.len();
        self.factor.clear();
        self.factor.extend_from_slice(&information[..entries(n)]);
        self.deviations.clear();
        let mut log = n as f64 * HALF_LOG_2_PI;
        for k in 0..parameters.len() {
            for (i, density) in prior.density.into_iter().enumerate() {
                let index = 3 * k + i;
                self.factor[place(index, index)] += std::f64::consts::TAU * density * density;
            }
        }
        if !factorize(&mut self.factor, n) {
            self.deviations.resize(parameters.len(), [f64::NAN; 3]);
            return f64::NEG_INFINITY;
        }
        self.deviations.resize(parameters.len(), [0.0; 3]);
        inverse_diagonal(&self.factor, &mut self.column, self.deviations.as_flattened_mut());
        for (k, deviations) in self.deviations.iter_mut().enumerate() {
            for (i, deviation) in deviations.iter_mut().enumerate() {
                *deviation = deviation.sqrt();
                let slope = gradient[3 * k + i];
                let range = (bounds.low[i], bounds.high[i]);
                log += libm::log(part_inside(parameters[k][i], *deviation, slope, range));
            }
        }
        log - 0.5 * log_determinant(&self.factor, n)
    }
}

/// The part of a normal distribution of this `deviation` about `value` that lies within the bounds.
///
/// At a bound across which the likelihood still rises, by `slope`, the top lies t = slope · deviation deviations beyond.
/// Of the distribution about that top, what is within has the weight Φ(−t), and in units of the height at the bound,
/// where χ² is taken, e^(t²/2) Φ(−t): ½ where the top is at the bound, and 1/(t √2π) far from it.
fn part_inside(value: f64, deviation: f64, slope: f64, (low, high): (f64, f64)) -> f64 {
    let tail = |x: f64| 0.5 * libm::erfc(x * std::f64::consts::FRAC_1_SQRT_2);
    let beyond = match value {
        value if value <= low => -slope,
        value if value >= high => slope,
        _ => {
            let part = 1.0 - tail((value - low) / deviation) - tail((high - value) / deviation);
            return part.max(1e-3);
        }
    };
    let t = (beyond * deviation).max(0.0);
    if t > 20.0 {
        const INVERSE_ROOT_2_PI: f64 = 0.398_942_280_401_432_7;
        return INVERSE_ROOT_2_PI / t;
    }
    libm::exp(0.5 * t * t) * tail(t)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { low: [1.0, 0.0, 0.5], high: [100.0, 99.0, 20.5] };

    #[test]
    fn what_the_spectrum_is_silent_about_costs_nothing() {
        let prior = Prior::new(&BOUNDS, 50.0);
        let mut posterior = Posterior::default();
        let middle = [50.0, 50.0, 10.0];
        let wide = Bounds { low: [-1e9; 3], high: [1e9; 3] };
        let log = posterior.set(&[middle], &[0.0; 6], &[0.0; 3], &wide, &prior);
        let log = log + prior.log(&[middle], None);
        assert!(log.abs() < 1e-9, "{log}");
    }

    #[test]
    fn it_is_the_volume_of_the_posterior_over_that_of_the_prior() {
        // Deviations 0.5, 0.1 and 0.2 in a box of 50 × 100 × 20; the prior's own width hardly counts.
        let prior = Prior::new(&BOUNDS, 50.0);
        let mut posterior = Posterior::default();
        let information = [4.0, 0.0, 100.0, 0.0, 0.0, 25.0];
        let at = [[50.0, 50.0, 10.0]];
        let found =
            posterior.set(&at, &information, &[0.0; 3], &BOUNDS, &prior) + prior.log(&at, None);
        let volume = std::f64::consts::TAU.powf(1.5) * 0.5 * 0.1 * 0.2;
        let expected = (volume / (50.0 * 100.0 * 20.0)).ln();
        assert!((found - expected).abs() < 1e-3, "{found} is not {expected}");
        for (deviation, expected) in posterior.deviations[0].into_iter().zip([0.5, 0.1, 0.2]) {
            assert!((deviation / expected - 1.0).abs() < 1e-3);
        }
    }

    #[test]
    fn a_bound_cuts_the_distribution() {
        let range = (0.0, 10.0);
        assert!((part_inside(5.0, 0.1, 0.0, range) - 1.0).abs() < 1e-12);
        assert!((part_inside(0.0, 0.1, 0.0, range) - 0.5).abs() < 1e-12);
        assert!((part_inside(1.0, 1.0, 0.0, range) - 0.841_344_746).abs() < 1e-8);
        // Against the sum over the half line beyond which the top lies: ∫₀ exp(−s x − x²/2) dx / √2π.
        for slope in [0.5, 3.0, 30.0] {
            let step = 1e-5;
            let sum: f64 = (0..1_000_000)
                .map(|i| (f64::from(i) + 0.5) * step)
                .map(|x| (-slope * x - 0.5 * x * x).exp() * step)
                .sum();
            let expected = sum / std::f64::consts::TAU.sqrt();
            let found = part_inside(10.0, 1.0, slope, range);
            assert!((found / expected - 1.0).abs() < 2e-3, "{slope}: {found} is not {expected}");
            assert_eq!(part_inside(0.0, 1.0, -slope, range).to_bits(), found.to_bits());
        }
    }

    #[test]
    fn a_singular_fit_has_no_evidence() {
        let prior = Prior::new(&BOUNDS, 50.0);
        let mut posterior = Posterior::default();
        let found = posterior.set(&[[1.0; 3]], &[f64::NAN; 6], &[0.0; 3], &BOUNDS, &prior);
        assert!(found.is_infinite() && found < 0.0, "{found}");
        assert!(posterior.deviations[0][0].is_nan());
    }
}
