//! From what is told at each channel to components.

use super::{
    lanes::LANES,
    loss::OUTPUTS,
    model::{CLASSES, TOLD},
};

/// Logits of the heat below this, a probability of a thousandth, are no candidates.
const COLDEST: f32 = -6.9;
/// Two candidates nearer than this many channels, and than [`ALIKE`], are one.
const APART: f64 = 1.0;
/// A difference of ln sigma.
const ALIKE: f64 = 0.4;
/// Logarithms stay within ± this, so that nothing overflows.
const LARGEST_LOGARITHM: f64 = 30.0;

/// What may be a component.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    /// The probability that the network gives it.
    pub(super) heat: f64,
    /// In units of the noise rms.
    pub(super) amplitude: f64,
    /// In channels.
    pub(super) mean: f64,
    /// In channels.
    pub(super) sigma: f64,
}

/// A channel whose heat is above that of its neighbours.
#[derive(Debug, Clone, Copy)]
struct Peak {
    logit: f32,
    channel: usize,
    class: usize,
}

/// Decodes groups, reusing its room.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    peaks: [Vec<Peak>; LANES],
}

impl Decoder {
    /// Finds the peaks in what was told of a group, of which the first `channels` are the spectra's.
    pub(super) fn look(&mut self, told: &[f32], channels: usize) {
        for peaks in &mut self.peaks {
            peaks.clear();
        }
        let told = told.as_chunks::<LANES>().0;
        let at = |channel: usize, class: usize| &told[channel * OUTPUTS + class * TOLD];
        let nothing = [f32::NEG_INFINITY; LANES];
        for channel in 0..channels {
            for class in 0..CLASSES {
                let here = at(channel, class);
                let left = if channel == 0 { &nothing } else { at(channel - 1, class) };
                let right = if channel + 1 == channels { &nothing } else { at(channel + 1, class) };
                let found: [bool; LANES] = std::array::from_fn(|lane| {
                    let edge = if left[lane] > COLDEST { left[lane] } else { COLDEST };
                    // Without a branch: all lanes are compared at once.
                    u8::from(here[lane] > edge) & u8::from(here[lane] >= right[lane]) != 0
                });
                if found == [false; LANES] {
                    continue;
                }
                for (lane, peaks) in self.peaks.iter_mut().enumerate() {
                    if found[lane] {
                        peaks.push(Peak { logit: here[lane], channel, class });
                    }
                }
            }
        }
        for peaks in &mut self.peaks {
            // Ties are told apart by the order in which they were found.
            peaks.sort_by(|a, b| b.logit.total_cmp(&a.logit));
        }
    }

    /// The candidates in the spectrum of `lane`, surest first, at most `most`, after [`look`](Self::look) at `told`.
    pub(super) fn candidates(
        &self,
        told: &[f32],
        lane: usize,
        most: usize,
        candidates: &mut Vec<Candidate>,
    ) {
        candidates.clear();
        for peak in &self.peaks[lane] {
            if candidates.len() == most {
                break;
            }
            let at = (peak.channel * OUTPUTS + peak.class * TOLD) * LANES + lane;
            let [ln_amplitude, offset, ln_sigma] =
                [1, 2, 3].map(|index| f64::from(told[at + index * LANES]));
            let exp = |value: f64| libm::exp(value.clamp(-LARGEST_LOGARITHM, LARGEST_LOGARITHM));
            let candidate = Candidate {
                heat: 1.0 / (1.0 + libm::exp(-f64::from(peak.logit))),
                amplitude: exp(ln_amplitude),
                mean: peak.channel as f64 + offset,
                sigma: exp(ln_sigma),
            };
            let known = candidates.iter().any(|other| {
                (other.mean - candidate.mean).abs() < APART
                    && libm::log(other.sigma / candidate.sigma).abs() < ALIKE
            });
            if !known {
                candidates.push(candidate);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told in lane 3 of a group of `channels` channels: heat, ln amplitude, offset, ln sigma at a channel and class.
    fn told(channels: usize, told: &[(usize, usize, [f32; 4])]) -> Vec<f32> {
        let mut all = vec![-20.0; channels * OUTPUTS * LANES];
        for (channel, class, values) in told {
            for (index, value) in values.iter().enumerate() {
                all[(channel * OUTPUTS + class * TOLD + index) * LANES + 3] = *value;
            }
        }
        all
    }

    fn decoded(told: &[f32], channels: usize, most: usize) -> Vec<Candidate> {
        let mut decoder = Decoder::default();
        let mut candidates = Vec::new();
        decoder.look(told, channels);
        decoder.candidates(told, 3, most, &mut candidates);
        let surest = candidates.clone();
        decoder.candidates(told, 2, most, &mut candidates);
        assert!(candidates.is_empty());
        surest
    }

    #[test]
    fn peaks_are_told_surest_first_and_one_component_once() {
        let told = told(
            12,
            &[
                (2, 0, [1.0, 2.0, 0.25, 0.5]),
                (3, 0, [0.0, 9.0, 9.0, 9.0]),
                // The same as at channel 2, seen by another class.
                (3, 1, [0.5, 2.0, -0.5, 0.6]),
                // As near, but twice as wide.
                (2, 2, [-1.0, 1.0, 0.0, 1.3]),
                (11, 1, [2.0, 0.0, 0.5, 0.0]),
                (7, 1, [-8.0, 0.0, 0.0, 0.0]),
            ],
        );
        let found = decoded(&told, 12, 5);
        let means: Vec<f64> = found.iter().map(|candidate| candidate.mean).collect();
        assert_eq!(means, [11.5, 2.25, 2.0]);
        assert!((found[0].heat - 1.0 / (1.0 + libm::exp(-2.0))).abs() < 1e-12);
        assert!((found[1].amplitude - libm::exp(2.0)).abs() < 1e-12);
        assert!((found[2].sigma - libm::exp(f64::from(1.3f32))).abs() < 1e-12);
        assert_eq!(decoded(&told, 12, 1), found[..1]);
        // Channels beyond the spectrum are not looked at.
        assert_eq!(decoded(&told, 11, 5).len(), 2);
    }
}
