//! Synthetic spectra: Gaussian components on a linear axis with white Gaussian noise.

use serde::{Deserialize, Serialize};

use super::random::{Draws, Purpose};
use super::{Axis, Component};

const COUNT: Purpose = Purpose::new("synthesis count");
const COMPONENTS: Purpose = Purpose::new("synthesis components");
const LEVEL: Purpose = Purpose::new("synthesis noise level");
const NOISE: Purpose = Purpose::new("synthesis noise");

/// A closed range of real numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// The smallest value.
    pub min: f64,
    /// The largest value; equal to `min` for a constant.
    pub max: f64,
}

/// Where the noise rms of a spectrum comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum NoiseLevel {
    /// Uniform between two values, in the spectrum's unit.
    Uniform(Range),
    /// One of the values observed elsewhere, such as the rms of each spectrum of a cube, in the
    /// spectrum's unit; each is equally likely.
    Observed(Vec<f64>),
}

/// What amplitudes are measured in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amplitudes {
    /// In the spectrum's unit.
    Absolute(Range),
    /// In units of the spectrum's own noise rms.
    SignalToNoise(Range),
}

/// What synthetic spectra look like: the ranges their parameters are drawn from.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// The spectral axis.
    pub axis: Axis,
    /// The smallest number of components, which may be zero.
    pub min_components: usize,
    /// The largest number of components; every number in between is equally likely.
    pub max_components: usize,
    /// Amplitudes.
    pub amplitude: Amplitudes,
    /// Means, in axis units.
    pub mean: Range,
    /// Sigmas, in axis units; positive.
    pub sigma: Range,
    /// Noise rms, in the spectrum's unit.
    pub noise: NoiseLevel,
    /// The correlation of the noise of neighbouring channels, −½ to ½: 0 for white noise. Channels
    /// further apart don't correlate.
    pub correlation: f64,
}

/// One synthetic spectrum with its truth.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticSpectrum {
    /// The noisy intensity of every channel.
    pub values: Vec<f32>,
    /// The true components, sorted by mean; their means are exact, not rounded to channels.
    pub components: Vec<Component>,
    /// The true noise rms.
    pub rms: f64,
}

/// Why a recipe can't be followed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RecipeError {
    /// The axis has no channels, or its start or step isn't a usable number.
    #[error(
        "the axis needs at least one channel, a finite start and a finite step other than zero"
    )]
    Axis,
    /// `min_components` is larger than `max_components`.
    #[error("min_components ({min}) is larger than max_components ({max})")]
    Components {
        /// The smallest number asked for.
        min: usize,
        /// The largest number asked for.
        max: usize,
    },
    /// A range is empty, or has a bound that isn't finite.
    #[error("the range of `{name}` ({min} to {max}) needs finite bounds, the smaller first")]
    Range {
        /// Which range.
        name: &'static str,
        /// Its lower bound.
        min: f64,
        /// Its upper bound.
        max: f64,
    },
    /// A value that must be positive isn't.
    #[error("`{name}` must be positive, and {value} is not")]
    NotPositive {
        /// Which value.
        name: &'static str,
        /// The value.
        value: f64,
    },
    /// The noise rms is negative.
    #[error("noise rms must not be negative, and {value} is")]
    NegativeNoise {
        /// The value.
        value: f64,
    },
    /// No noise can have this correlation of neighbours only.
    #[error("the noise correlation must lie between -0.5 and 0.5, and {value} does not")]
    Correlation {
        /// The value.
        value: f64,
    },
    /// There is no observed noise rms to choose from.
    #[error("the list of observed noise rms holds no finite positive value")]
    NoObservedNoise,
}

impl Range {
    /// The range from `min` to `max`.
    pub const fn new(min: f64, max: f64) -> Self {
        Self { min, max }
    }

    fn check(self, name: &'static str) -> Result<(), RecipeError> {
        let Self { min, max } = self;
        if min.is_finite() && max.is_finite() && min <= max && (max - min).is_finite() {
            Ok(())
        } else {
            Err(RecipeError::Range { name, min, max })
        }
    }

    fn draw(self, draws: &mut Draws) -> f64 {
        draws.uniform(self.min, self.max)
    }
}

impl Recipe {
    /// Whether spectra can be made after this recipe.
    ///
    /// # Errors
    ///
    /// Names the first value that can't be used. Of a list of observed noise rms, values that aren't finite and
    /// positive (blank pixels) are passed over, and only a list without any other is an error.
    pub fn check(&self) -> Result<(), RecipeError> {
        let axis = &self.axis;
        if axis.channels == 0
            || axis.step == 0.0
            || !axis.start.is_finite()
            || !axis.step.is_finite()
        {
            return Err(RecipeError::Axis);
        }
        if self.min_components > self.max_components {
            return Err(RecipeError::Components {
                min: self.min_components,
                max: self.max_components,
            });
        }
        match self.amplitude {
            Amplitudes::Absolute(range) => range.check("amplitude")?,
            Amplitudes::SignalToNoise(range) => range.check("signal-to-noise")?,
        }
        self.mean.check("mean")?;
        self.sigma.check("sigma")?;
        if self.sigma.min <= 0.0 {
            return Err(RecipeError::NotPositive { name: "sigma", value: self.sigma.min });
        }
        if !(-0.5..=0.5).contains(&self.correlation) {
            return Err(RecipeError::Correlation { value: self.correlation });
        }
        match &self.noise {
            NoiseLevel::Uniform(range) => {
                range.check("noise rms")?;
                if range.min < 0.0 {
                    return Err(RecipeError::NegativeNoise { value: range.min });
                }
            }
            NoiseLevel::Observed(levels) => {
                if !levels.iter().copied().any(is_level) {
                    return Err(RecipeError::NoObservedNoise);
                }
            }
        }
        Ok(())
    }

    /// The synthetic spectrum of `row`: a pure function of the recipe, the seed and the row.
    ///
    /// The number of components, their parameters, the noise rms and the noise come from streams
    /// of their own, so that one more component or another noise level leaves the rest of the
    /// row as it was. The recipe must have passed [`Recipe::check`].
    pub fn row(&self, seed: u64, row: u64) -> SyntheticSpectrum {
        let span = self.max_components.saturating_sub(self.min_components) as u64;
        let count = self.min_components + Draws::new(seed, COUNT, row).index(span + 1) as usize;

        let rms = self.noise.draw(&mut Draws::new(seed, LEVEL, row));
        let (amplitude, unit) = match self.amplitude {
            Amplitudes::Absolute(range) => (range, 1.0),
            Amplitudes::SignalToNoise(range) => (range, rms),
        };
        let mut draws = Draws::new(seed, COMPONENTS, row);
        let mut components: Vec<Component> = (0..count)
            .map(|_| Component {
                amplitude: amplitude.draw(&mut draws) * unit,
                mean: self.mean.draw(&mut draws),
                sigma: self.sigma.draw(&mut draws),
            })
            .collect();
        components.sort_by(|a, b| a.mean.total_cmp(&b.mean));

        let mut noise = NoiseChannels::new(Draws::new(seed, NOISE, row), self.correlation);
        let values = (0..self.axis.channels)
            .map(|channel| {
                let x = self.axis.value(channel as f64);
                let signal: f64 = components.iter().map(|c| c.value(x)).sum();
                (signal + rms * noise.next()) as f32
            })
            .collect();
        SyntheticSpectrum { values, components, rms }
    }
}

/// Gaussian noise of unit rms, channel after channel.
///
/// Correlated noise is a moving average of white noise w: (wᵢ + b wᵢ₋₁) / √(1 + b²), whose
/// neighbours correlate by b / (1 + b²).
struct NoiseChannels {
    draws: Draws,
    weight: f64,
    last: f64,
}

impl NoiseChannels {
    fn new(mut draws: Draws, correlation: f64) -> Self {
        if correlation == 0.0 {
            return Self { draws, weight: 0.0, last: 0.0 };
        }
        let root = (1.0 - 4.0 * correlation * correlation).max(0.0).sqrt();
        let last = draws.normal();
        Self { draws, weight: (1.0 - root) / (2.0 * correlation), last }
    }

    fn next(&mut self) -> f64 {
        let white = self.draws.normal();
        let value = (white + self.weight * self.last) / (1.0 + self.weight * self.weight).sqrt();
        self.last = white;
        value
    }
}

impl NoiseLevel {
    fn draw(&self, draws: &mut Draws) -> f64 {
        match self {
            Self::Uniform(range) => range.draw(draws),
            // Blank pixels are rare: trying again is cheaper than keeping a second list.
            Self::Observed(levels) if levels.iter().copied().any(is_level) => loop {
                let level = levels[draws.index(levels.len() as u64) as usize];
                if is_level(level) {
                    break level;
                }
            },
            Self::Observed(_) => 0.0,
        }
    }
}

/// Whether an observed noise rms can be used.
fn is_level(rms: f64) -> bool {
    rms.is_finite() && rms > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe {
            axis: Axis { start: 1204.0, step: 5.0, channels: 140, unit: String::new() },
            min_components: 0,
            max_components: 3,
            amplitude: Amplitudes::Absolute(Range::new(0.002, 0.05)),
            mean: Range::new(1250.0, 1850.0),
            sigma: Range::new(5.0, 30.0),
            noise: NoiseLevel::Uniform(Range::new(0.0007, 0.0008)),
            correlation: 0.0,
        }
    }

    #[test]
    fn a_row_is_pinned() {
        let row = recipe().row(42, 2);
        assert_eq!(row.components.len(), 2);
        assert_eq!(row.components[0].mean.to_bits(), 0x4097_5345_78b5_1a95);
        assert_eq!(row.rms.to_bits(), 0x3f49_79c3_a4a7_0f3d);
        assert_eq!(row.values[0].to_bits(), 0xba4a_0a79);
        assert_eq!(row.values[139].to_bits(), 0x3846_a595);
    }

    #[test]
    fn parameters_stay_in_their_ranges_and_counts_are_uniform() {
        let recipe = recipe();
        let mut counts = [0_u32; 4];
        for row in 0..8_000 {
            let spectrum = recipe.row(1, row);
            counts[spectrum.components.len()] += 1;
            assert!((0.0007..=0.0008).contains(&spectrum.rms));
            assert!(spectrum.components.is_sorted_by(|a, b| a.mean <= b.mean));
            for c in &spectrum.components {
                assert!((0.002..=0.05).contains(&c.amplitude));
                assert!((1250.0..=1850.0).contains(&c.mean));
                assert!((5.0..=30.0).contains(&c.sigma));
            }
        }
        assert!(counts.iter().all(|&n| n.abs_diff(2_000) < 200), "{counts:?}");
    }

    /// The mean square of the residuals over the stated rms, and the correlation of neighbours.
    fn residuals(recipe: &Recipe) -> (f64, f64) {
        let (mut square, mut product, mut n) = (0.0, 0.0, 0.0);
        for row in 0..500 {
            let spectrum = recipe.row(9, row);
            let residual: Vec<f64> = spectrum
                .values
                .iter()
                .enumerate()
                .map(|(i, &v)| {
                    let x = recipe.axis.value(i as f64);
                    let signal: f64 = spectrum.components.iter().map(|c| c.value(x)).sum();
                    (f64::from(v) - signal) / spectrum.rms
                })
                .collect();
            square += residual.iter().map(|r| r * r).sum::<f64>();
            product += residual.windows(2).map(|w| w[0] * w[1]).sum::<f64>();
            n += residual.len() as f64;
        }
        (square / n, product / square)
    }

    #[test]
    fn the_residual_is_noise_of_the_stated_rms_and_correlation() {
        for correlation in [0.0, 0.37, -0.2, 0.5] {
            let (square, found) = residuals(&Recipe { correlation, ..recipe() });
            assert!((square - 1.0).abs() < 0.02, "{square} at {correlation}");
            assert!((found - correlation).abs() < 0.02, "{found} at {correlation}");
        }
    }

    #[test]
    fn amplitudes_may_follow_the_noise() {
        let mut recipe = recipe();
        recipe.amplitude = Amplitudes::SignalToNoise(Range::new(3.0, 5.0));
        for row in 0..200 {
            let spectrum = recipe.row(1, row);
            for c in &spectrum.components {
                assert!((3.0..=5.0).contains(&(c.amplitude / spectrum.rms)));
            }
        }
    }

    #[test]
    fn the_noise_level_does_not_change_the_components() {
        let quiet = recipe().row(3, 17);
        let mut loud = recipe();
        loud.noise = NoiseLevel::Uniform(Range::new(0.1, 0.2));
        assert_eq!(loud.row(3, 17).components, quiet.components);
    }

    #[test]
    fn observed_levels_are_drawn_evenly_and_blank_ones_passed_over() {
        let mut recipe = recipe();
        recipe.noise = NoiseLevel::Observed(vec![0.1, f64::NAN, 0.3]);
        recipe.check().expect("two levels are usable");
        let tenths = (0..2_000).filter(|&row| (recipe.row(0, row).rms - 0.1).abs() < 1e-12).count();
        assert!(tenths.abs_diff(1_000) < 100, "{tenths}");
        recipe.noise = NoiseLevel::Observed(vec![f64::NAN, 0.0]);
        assert_eq!(recipe.check(), Err(RecipeError::NoObservedNoise));
    }

    #[test]
    fn impossible_recipes_are_refused() {
        let mut bad = recipe();
        bad.sigma = Range::new(0.0, 1.0);
        assert!(matches!(bad.check(), Err(RecipeError::NotPositive { .. })));
        let mut bad = recipe();
        bad.mean = Range::new(2.0, 1.0);
        assert!(matches!(bad.check(), Err(RecipeError::Range { name: "mean", .. })));
        let mut bad = recipe();
        bad.min_components = 4;
        assert!(matches!(bad.check(), Err(RecipeError::Components { .. })));
        let mut bad = recipe();
        bad.correlation = 0.6;
        assert!(matches!(bad.check(), Err(RecipeError::Correlation { .. })));
        let mut bad = recipe();
        bad.axis.step = 0.0;
        assert_eq!(bad.check(), Err(RecipeError::Axis));
        assert_eq!(recipe().check(), Ok(()));
    }
}
