//! The moments of a line of sight, of its components rather than of its channels.

use super::Component;

/// Moments of a sum of components: with areas Wₖ = aₖ σₖ √(2π), means μₖ and sigmas σₖ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// The area, Σ Wₖ, in intensity times axis units; 0 without components.
    pub integral: f64,
    /// The first moment, c = Σ Wₖ μₖ / Σ Wₖ, in axis units; NaN without components, and where emission and absorption
    /// are mixed.
    pub centroid: f64,
    /// The root of the second central moment, √(Σ Wₖ (σₖ² + (μₖ − c)²) / Σ Wₖ), in axis units; NaN where the centroid
    /// is.
    pub width: f64,
}

impl Moments {
    /// The moments of these components.
    pub fn of(components: &[Component]) -> Self {
        let integral: f64 = components.iter().map(Component::integral).sum();
        let alike = components.iter().all(|component| component.integral() * integral > 0.0);
        if components.is_empty() || !alike {
            let integral = if components.is_empty() { 0.0 } else { integral };
            return Self { integral, centroid: f64::NAN, width: f64::NAN };
        }
        let weighted = |value: &dyn Fn(&Component) -> f64| -> f64 {
            let sum: f64 =
                components.iter().map(|component| component.integral() * value(component)).sum();
            sum / integral
        };
        let centroid = weighted(&|component| component.mean);
        let variance = weighted(&|component| {
            let apart = component.mean - centroid;
            component.sigma * component.sigma + apart * apart
        });
        Self { integral, centroid, width: variance.sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(amplitude: f64, mean: f64, sigma: f64) -> Component {
        Component { amplitude, mean, sigma }
    }

    #[test]
    fn moments_are_those_of_the_curve() {
        let found = [component(2.0, 3.0, 0.5), component(0.5, 6.0, 1.5)];
        let moments = Moments::of(&found);
        // The same by adding up the curve itself.
        let xs: Vec<f64> = (-20_000..40_000).map(|i| f64::from(i) * 1e-3).collect();
        let y = |x: f64| found.iter().map(|component| component.value(x)).sum::<f64>();
        let integral: f64 = xs.iter().map(|x| y(*x) * 1e-3).sum();
        let centroid: f64 = xs.iter().map(|x| x * y(*x) * 1e-3).sum::<f64>() / integral;
        let variance: f64 =
            xs.iter().map(|x| (x - centroid).powi(2) * y(*x) * 1e-3).sum::<f64>() / integral;
        assert!((moments.integral - integral).abs() < 1e-9);
        assert!((moments.centroid - centroid).abs() < 1e-9);
        assert!((moments.width - variance.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn what_has_no_centroid_has_none() {
        let none = Moments::of(&[]);
        assert!(none.integral.to_bits() == 0 && none.centroid.is_nan() && none.width.is_nan());
        let mixed = Moments::of(&[component(2.0, 3.0, 1.0), component(-1.0, 5.0, 1.0)]);
        assert!(mixed.integral > 0.0 && mixed.centroid.is_nan());
        let dark = Moments::of(&[component(-2.0, 3.0, 1.0)]);
        assert!(dark.integral < 0.0);
        assert!((dark.centroid - 3.0).abs() < 1e-12 && (dark.width - 1.0).abs() < 1e-12);
    }
}
