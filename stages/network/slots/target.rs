//! The space in which the network's parameter head works, and how to leave it.
//!
//! Amplitudes are taken relative to the spectrum's noise rms, means and sigmas as fractions of the axis; each is then brought
//! to about mean 0 and variance 1, linearly or in its logarithm, by constants fitted on the training rows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::network::examples::Examples;
use crate::network::grid::Grid;

/// Whether a quantity is standardised itself or in its logarithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Space {
    /// The quantity itself: errors count alike wherever they are made, so the head predicts conditional means.
    Linear,
    /// Its natural logarithm: relative errors count alike, and the quantity is positive by construction.
    Logarithmic,
}

/// One quantity's way between its natural value and the head's: `natural = offset + scale · head`, or `exp` of that.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Linear or logarithmic.
    pub space: Space,
    /// What the head's 0 stands for.
    pub offset: f64,
    /// What the head's unit stands for; positive.
    pub scale: f64,
    /// The least natural value; what the head says below it is raised to it.
    pub least: f64,
}

/// Logarithms of natural values stay within ± this, so that nothing overflows.
pub(in crate::network) const LARGEST_LOGARITHM: f64 = 30.0;

impl Link {
    /// Fits offset and scale to mean and standard deviation of `values`, in their order.
    fn fit(space: Space, least: f64, values: impl Iterator<Item = f64> + Clone) -> Self {
        let mapped = values.map(|value| match space {
            Space::Linear => value,
            Space::Logarithmic => libm::log(value.max(f64::MIN_POSITIVE)),
        });
        let count = mapped.clone().count().max(1) as f64;
        let offset = mapped.clone().sum::<f64>() / count;
        let variance = mapped.map(|v| (v - offset) * (v - offset)).sum::<f64>() / count;
        // Without spread (all the same, or no component at all) any positive scale serves.
        let scale = if variance > 1e-18 { variance.sqrt() } else { 1.0 };
        Self { space, offset, scale, least }
    }

    /// The head's value for a natural one.
    pub fn encode(&self, natural: f64) -> f64 {
        let mapped = match self.space {
            Space::Linear => natural,
            Space::Logarithmic => libm::log(natural.max(f64::MIN_POSITIVE)),
        };
        (mapped - self.offset) / self.scale
    }

    /// The natural value for the head's, and its derivative; where the value is held at a bound the derivative is 0.
    pub fn decode(&self, head: f64) -> (f64, f64) {
        let mapped = self.offset + self.scale * head;
        let (value, slope) = match self.space {
            Space::Linear => (mapped, self.scale),
            Space::Logarithmic => {
                let held = mapped.clamp(-LARGEST_LOGARITHM, LARGEST_LOGARITHM);
                let value = libm::exp(held);
                let inside = mapped.abs() <= LARGEST_LOGARITHM;
                (value, if inside { value * self.scale } else { 0.0 })
            }
        };
        if value < self.least { (self.least, 0.0) } else { (value, slope) }
    }

    fn is_usable(&self) -> bool {
        // A bound may be minus infinity in memory, never in a document: JSON has no infinity.
        self.offset.is_finite()
            && self.scale.is_finite()
            && self.scale > 0.0
            && !self.least.is_nan()
    }
}

/// The links of a component's three parameters, in the order of the parameter head.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetTransform {
    /// Amplitude over noise rms.
    pub amplitude: Link,
    /// Mean as a fraction of the axis: 0 at the first channel, 1 at the last.
    pub mean: Link,
    /// Sigma as a fraction of the axis.
    pub sigma: Link,
}

/// The lowest fraction that a mean may take: far off the axis.
const LEAST_MEAN: f64 = -100.0;
/// The least sigma, in channels: a narrower component would fall between two.
const LEAST_SIGMA: f64 = 0.1;

impl TargetTransform {
    /// Fits the links to the components of the given rows.
    pub(in crate::network) fn fit(
        amplitude: Space,
        sigma: Space,
        examples: &Examples,
        rows: &[usize],
    ) -> Self {
        let components = || rows.iter().flat_map(|&row| examples.natural(row));
        Self {
            amplitude: Link::fit(amplitude, 0.0, components().map(|c| c[0])),
            mean: Link::fit(Space::Linear, LEAST_MEAN, components().map(|c| c[1])),
            sigma: Link::fit(
                sigma,
                LEAST_SIGMA / examples.grid.channels.max(2) as f64,
                components().map(|c| c[2]),
            ),
        }
    }

    /// The three links.
    pub(in crate::network) fn links(&self) -> [&Link; 3] {
        [&self.amplitude, &self.mean, &self.sigma]
    }

    /// Amplitude, mean and sigma in physical units from the head's three values, for a spectrum of the given noise rms.
    pub fn physical(&self, head: [f32; 3], noise: f64, grid: &Grid) -> [f64; 3] {
        let [amplitude, mean, sigma] =
            [0, 1, 2].map(|i| self.links()[i].decode(f64::from(head[i])).0);
        [amplitude * noise, grid.position(mean), sigma * grid.extent().abs()]
    }

    /// Whether all constants are numbers that can be worked with.
    pub(in crate::network) fn is_usable(&self) -> bool {
        self.links().iter().all(|link| link.is_usable())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_undoes_encode_and_its_slope_is_the_derivative() {
        for space in [Space::Linear, Space::Logarithmic] {
            let link = Link::fit(space, 0.0, [1.0, 4.0, 9.0].into_iter());
            for natural in [0.5, 3.0, 20.0] {
                let head = link.encode(natural);
                let (value, slope) = link.decode(head);
                assert!((value - natural).abs() < 1e-12 * natural);
                let h = 1e-5;
                let difference = (link.decode(head + h).0 - link.decode(head - h).0) / (2.0 * h);
                assert!((slope - difference).abs() < 1e-6 * slope);
            }
        }
    }

    #[test]
    fn fitted_link_standardises_and_bounds_hold() {
        let link = Link::fit(Space::Linear, 0.0, [1.0, 3.0].into_iter());
        assert!((link.encode(1.0) + 1.0).abs() < 1e-12 && (link.encode(3.0) - 1.0).abs() < 1e-12);
        assert_eq!(link.decode(-5.0), (0.0, 0.0));
        let flat = Link::fit(Space::Logarithmic, 0.0, [2.0, 2.0].into_iter());
        assert!((flat.scale - 1.0).abs() < 1e-12);
        assert!(flat.decode(1e9).0.is_finite());
        let none = Link::fit(Space::Linear, 0.0, std::iter::empty());
        assert!(none.is_usable());
    }
}
