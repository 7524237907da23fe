//! Where another component may be: what a matched filter finds in the residual, and halves of what is there.

use super::channels::Channels;
use super::kernels::{Instructions, LANES, derivatives, dot};
use super::least_squares::{Bounds, Parameters};
use super::whitening::Whitening;

/// The ratio of the sigmas of neighbouring templates.
const RATIO: f64 = 1.6;
/// No template is narrower than this, in channels: one is enough for all lines of about a channel.
const NARROWEST: f64 = 0.8;
/// A template is cut beyond this many sigma.
const CUT: f64 = 3.0;
/// The most channels that are kept of a template's whitened tail.
const TAIL: usize = 24;
/// From this channel on, whitening no longer remembers its start.
const SETTLED: usize = 256;

/// A Gaussian of unit amplitude, whitened.
#[derive(Debug, Clone)]
struct Template {
    sigma: f64,
    /// Channels from its beginning to its mean.
    centre: usize,
    /// Channels from one place where it is tried to the next.
    stride: usize,
    values: Vec<f64>,
    norm: f64,
}

/// How many spectra wide, in sigmas, a template is at most.
const MOST_SPECTRA: f64 = 4.0;

/// Gaussians of several widths, to be found in residuals.
///
/// For noise of covariance C, a line of shape g stands out by gᵀ C⁻¹ r / √(gᵀ C⁻¹ g), the signal-to-noise ratio of the
/// best linear detector (Kay 1998, §4.4). In whitened channels these are plain scalar products.
#[derive(Debug, Clone, Default)]
pub(super) struct MatchedFilter {
    templates: Vec<Template>,
    /// What the templates were made for: the narrowest and the widest sigma and the correlation of the noise.
    made_for: Option<[u64; 3]>,
    padded: Vec<f64>,
}

impl MatchedFilter {
    /// Makes the templates for these bounds and this noise, if they aren't there.
    pub(super) fn set(&mut self, bounds: &Bounds, channels: &Channels) {
        let correlation = channels.correlation;
        // A line much wider than the spectrum looks like any other that is.
        let widest = MOST_SPECTRA * channels.count as f64;
        let (low, high) = (bounds.low[2], bounds.high[2].min(widest.max(NARROWEST)));
        let made_for = Some([low, high, correlation].map(f64::to_bits));
        if self.made_for == made_for {
            return;
        }
        self.made_for = made_for;
        self.templates.clear();
        let mut whitening = Whitening::default();
        let mut sigma = low.max(NARROWEST).min(high);
        loop {
            let reach = (CUT * sigma).ceil() as usize;
            let span = 2 * reach + 1;
            let length = (span + if correlation == 0.0 { 0 } else { TAIL }).next_multiple_of(LANES);
            whitening.set(std::iter::repeat_n(true, SETTLED + length), correlation);
            let positions: Vec<f64> = (0..length).map(|channel| channel as f64).collect();
            let [mut values, mut b, mut c] = [(); 3].map(|()| vec![0.0; length]);
            let (component, weights) = ([1.0, reach as f64, sigma], vec![1.0; length]);
            let plain = Instructions::Plain;
            derivatives(plain, &component, &positions, &weights, &mut values, &mut b, &mut c);
            values[span..].fill(0.0);
            whitening.apply(SETTLED, [&mut values, &mut b, &mut c]);
            let norm = dot(plain, &values, &values).sqrt();
            let stride = ((0.5 * sigma) as usize).max(1);
            self.templates.push(Template { sigma, centre: reach, stride, values, norm });
            if sigma >= high {
                break;
            }
            sigma = (sigma * RATIO).min(high);
        }
    }

    /// The component that stands out most in a whitened residual, with its signal-to-noise ratio.
    pub(super) fn best(
        &mut self,
        instructions: Instructions,
        channels: &Channels,
        residual: &[f64],
        absorption: bool,
    ) -> Option<(Parameters, f64)> {
        let widest = self.templates.last()?;
        let margin = widest.centre.next_multiple_of(LANES);
        self.padded.clear();
        self.padded.resize(margin, 0.0);
        self.padded.extend_from_slice(&residual[..channels.padded]);
        self.padded.resize(margin + channels.padded + widest.values.len(), 0.0);
        let mut best: Option<(Parameters, f64)> = None;
        for template in &self.templates {
            let n = template.values.len();
            for mean in (0..channels.count).step_by(template.stride) {
                let from = margin + mean - template.centre;
                let product = dot(instructions, &template.values, &self.padded[from..from + n]);
                let signal = if absorption { product.abs() } else { product } / template.norm;
                if signal > best.map_or(0.0, |(_, found)| found) {
                    let amplitude = product / (template.norm * template.norm);
                    best = Some(([amplitude, mean as f64, template.sigma], signal));
                }
            }
        }
        best
    }
}

/// Two components in place of one: two like ones side by side, and a narrow one on a wide one.
pub(super) fn halves([amplitude, mean, sigma]: &Parameters) -> [[Parameters; 2]; 2] {
    [
        [
            [0.65 * amplitude, mean - 0.75 * sigma, 0.7 * sigma],
            [0.65 * amplitude, mean + 0.75 * sigma, 0.7 * sigma],
        ],
        [[0.5 * amplitude, *mean, 0.5 * sigma], [0.6 * amplitude, *mean, 1.4 * sigma]],
    ]
}

#[cfg(test)]
mod tests {
    use super::super::channels::NoiseModel;
    use super::*;

    const BOUNDS: Bounds = Bounds { low: [0.0, 0.0, 0.7], high: [1e3, 199.0, 25.0] };

    /// What stands out most in a line without noise.
    fn found(amplitude: f64, mean: f64, sigma: f64, correlation: f64) -> Option<(Parameters, f64)> {
        let spectrum: Vec<f32> = (0..200)
            .map(|i| {
                let z = (f64::from(i) - mean) / sigma;
                (amplitude * libm::exp(-0.5 * z * z)) as f32
            })
            .collect();
        let instructions = Instructions::best();
        let mut channels = Channels::default();
        assert!(channels.set(&spectrum, NoiseModel { rms: 1.0, correlation }, instructions));
        let mut filter = MatchedFilter::default();
        filter.set(&BOUNDS, &channels);
        let residual = channels.whitened.clone();
        filter.best(instructions, &channels, &residual, false)
    }

    #[test]
    fn a_line_is_found_where_and_as_wide_as_it_is() {
        for (mean, sigma) in [(100.0, 0.8), (3.0, 2.1), (196.0, 5.0), (120.0, 22.0)] {
            for correlation in [0.0, 0.4, -0.3] {
                let ([amplitude, at, width], _) = found(7.0, mean, sigma, correlation).unwrap();
                assert!((at - mean).abs() <= sigma.max(1.0), "{mean} {sigma}: {at}");
                assert!((0.6..1.7).contains(&(width / sigma)), "{mean} {sigma}: {width}");
                assert!((0.7..1.4).contains(&(amplitude / 7.0)), "{mean} {sigma}: {amplitude}");
            }
        }
    }

    #[test]
    fn the_signal_is_that_of_the_best_detector() {
        // Σ g² = √π sigma channels; the power of correlated noise is 1 + 2ρ where a wide line has its own.
        let expected = 7.0 * (std::f64::consts::PI.sqrt() * 13.0).sqrt();
        let (_, white) = found(7.0, 100.0, 13.0, 0.0).unwrap();
        assert!((white / expected - 1.0).abs() < 0.03, "{white} is not {expected}");
        let (_, correlated) = found(7.0, 100.0, 13.0, 0.4).unwrap();
        assert!((white / correlated / 1.8_f64.sqrt() - 1.0).abs() < 0.03, "{correlated}");
    }

    #[test]
    fn nothing_stands_out_of_nothing() {
        assert_eq!(found(0.0, 100.0, 3.0, 0.0), None);
        assert_eq!(found(-5.0, 100.0, 3.0, 0.0).map(|(_, signal)| signal > 1.0), None);
    }
}
