//! The noise of a spectrum, measured where there is no line.

/// Channels beyond this many rms count as not being noise.
const CLIP: f64 = 3.0;

/// The ratio of the rms about zero of a standard normal deviate cut at ±[`CLIP`] to that of a
/// whole one, √(1 − 2kφ(k) / (2Φ(k) − 1)) at k = 3 (the variance of the truncated normal
/// distribution; Johnson, Kotz & Balakrishnan 1994, §10.1).
const CLIPPED_RMS: f64 = 0.986_578_392_558_108_6;

/// The median of the absolute value of a standard normal deviate, Φ⁻¹(3/4).
const MEDIAN_OF_NORMAL: f64 = 0.674_489_750_196_081_7;

/// The widths, in channels, of the running means in which lines are looked for besides the
/// channels themselves. A line that never reaches [`CLIP`] in a single channel still shows in
/// the mean of several.
const WIDTHS: [usize; 3] = [3, 7, 15];

/// Running means beyond this many of their own standard deviations belong to a line.
const SMOOTHED_CLIP: f64 = 3.5;

/// The fewest line-free channels from which an rms is worth having.
pub(super) const FEWEST: usize = 8;

/// The noise of one spectrum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    /// The rms about zero of the line-free channels, in the spectrum's unit.
    pub rms: f64,
    /// The correlation of neighbouring line-free channels, −1 to 1; about 0 for white noise.
    pub correlation: f64,
    /// The number of line-free channels it was measured on; 0 where lines leave too few, and the
    /// rms comes from the differences of neighbouring channels.
    pub channels: usize,
}

impl Noise {
    /// Measures the noise of `spectrum`, which has its baseline at zero and lines in emission.
    ///
    /// The first estimate is the median of the moduli of the *negative* channels divided by
    /// Φ⁻¹(3/4): noise is symmetric about zero, lines are not negative, so they can only take
    /// channels away from this estimate and not raise it. Then, until nothing changes: channels
    /// above +3 rms and stretches whose running mean over 3, 7 or 15 channels is significant are lines and
    /// are masked, each with as many neighbours on both sides as half its length (2 at least), which
    /// takes the wings along; lone channels below −3 rms (spikes) are masked without neighbours;
    /// and the rms about zero of what is left is the next estimate.
    ///
    /// Cutting a normal distribution at ±3 takes 0.27 % of the channels but 1.3 % of the rms:
    /// each estimate is divided by that factor. The significance of a running mean over w channels uses its
    /// standard deviation under the measured lag-1 correlation ρ, rms · √((1 + 2ρ(1 − 1/w)) / w), so that
    /// correlated noise isn't taken for lines.
    ///
    /// Where lines leave fewer than a tenth of the channels (eight at least), the rms is that of second
    /// differences, which smooth lines hardly enter but which is too low for correlated noise. NaNs are
    /// ignored. `None` if fewer than eight channels are usable or they hold no noise at all.
    pub fn measure(spectrum: &[f32]) -> Option<Self> {
        let start = negative_side(spectrum).or_else(|| differences(spectrum))?;
        let usable = spectrum.iter().filter(|v| v.is_finite()).count();
        let fewest = FEWEST.max(usable / 10);
        let mut noise = Self { rms: start, correlation: 0.0, channels: usable };
        let mut free = Vec::new();
        for _ in 0..20 {
            let next = line_free(spectrum, &noise);
            if next == free {
                break;
            }
            free = next;
            match Self::of_channels(spectrum, &free) {
                Some(found) if found.channels >= fewest => noise = found,
                _ => {
                    return differences(spectrum).map(|rms| Self {
                        rms,
                        correlation: 0.0,
                        channels: 0,
                    });
                }
            }
        }
        Some(noise)
    }

    /// The noise of the channels that are `free` of lines.
    fn of_channels(spectrum: &[f32], free: &[bool]) -> Option<Self> {
        let value = |i: usize| free[i].then(|| f64::from(spectrum[i]));
        let (mut squares, mut channels) = (0.0, 0_usize);
        let (mut products, mut pairs) = (0.0, 0_usize);
        for i in 0..spectrum.len() {
            let Some(here) = value(i) else { continue };
            squares += here * here;
            channels += 1;
            if let Some(next) = (i + 1 < spectrum.len()).then(|| value(i + 1)).flatten() {
                products += here * next;
                pairs += 1;
            }
        }
        let square = squares / channels as f64;
        let rms = square.sqrt() / CLIPPED_RMS;
        (rms.is_finite() && rms > 0.0).then(|| Self {
            rms,
            correlation: if pairs > 0 {
                (products / pairs as f64 / square).clamp(-1.0, 1.0)
            } else {
                0.0
            },
            channels,
        })
    }
}

/// Which channels of `spectrum` hold noise only, given its `noise`; `false` for missing ones.
pub fn line_free(spectrum: &[f32], noise: &Noise) -> Vec<bool> {
    let mut free: Vec<bool> = spectrum.iter().map(|v| v.is_finite()).collect();
    let mut lines = vec![false; spectrum.len()];
    for (i, &value) in spectrum.iter().enumerate() {
        let value = f64::from(value);
        lines[i] = value > CLIP * noise.rms;
        if value < -CLIP * noise.rms {
            free[i] = false;
        }
    }
    for width in WIDTHS {
        // A running sum: `total` of the `width` channels that end at `i`, of which `present` aren't missing.
        let (mut total, mut present) = (0.0, 0_usize);
        for i in 0..spectrum.len() {
            if spectrum[i].is_finite() {
                total += f64::from(spectrum[i]);
                present += 1;
            }
            if i >= width && spectrum[i - width].is_finite() {
                total -= f64::from(spectrum[i - width]);
                present -= 1;
            }
            if i + 1 < width || present == 0 {
                continue;
            }
            let n = present as f64;
            let spread = (1.0 + 2.0 * noise.correlation.clamp(0.0, 1.0) * (1.0 - 1.0 / n)) * n;
            if total > SMOOTHED_CLIP * noise.rms * spread.sqrt() {
                lines[i + 1 - width..=i].fill(true);
            }
        }
    }
    let mut i = 0;
    while i < lines.len() {
        if !lines[i] {
            i += 1;
            continue;
        }
        let end = (i..lines.len()).find(|&j| !lines[j]).unwrap_or(lines.len());
        let margin = ((end - i) / 2).max(2);
        free[i.saturating_sub(margin)..(end + margin).min(lines.len())].fill(false);
        i = end;
    }
    free
}

/// The rms from the moduli of the negative channels, if there are enough of them.
fn negative_side(spectrum: &[f32]) -> Option<f64> {
    let negative = spectrum.iter().filter(|v| v.is_finite() && **v < 0.0);
    robust_rms(negative.map(|v| -f64::from(*v)).collect())
}

/// The rms from the second differences v₋ − 2v + v₊, which for white noise have √6 times its rms.
fn differences(spectrum: &[f32]) -> Option<f64> {
    let differences = spectrum.windows(3).filter_map(|w| {
        let [before, here, after] = [w[0], w[1], w[2]].map(f64::from);
        let difference = (before - 2.0 * here + after).abs();
        difference.is_finite().then_some(difference)
    });
    robust_rms(differences.collect()).map(|rms| rms / 6.0_f64.sqrt())
}

/// The rms of a normal distribution about zero whose moduli these are, from their median.
pub(super) fn robust_rms(mut moduli: Vec<f64>) -> Option<f64> {
    if moduli.len() < FEWEST {
        return None;
    }
    moduli.sort_unstable_by(f64::total_cmp);
    let middle = moduli.len() / 2;
    let median = if moduli.len() % 2 == 1 {
        moduli[middle]
    } else {
        0.5 * (moduli[middle - 1] + moduli[middle])
    };
    (median > 0.0).then_some(median / MEDIAN_OF_NORMAL)
}

#[cfg(test)]
mod tests {
    use super::super::random::{Draws, Purpose};
    use super::*;

    const TEST: Purpose = Purpose::new("noise test");

    /// White noise of unit rms, or with a correlation of neighbours of `b / (1 + b²)`.
    fn noise(row: u64, channels: usize, b: f64) -> Vec<f64> {
        let mut draws = Draws::new(1, TEST, row);
        let white: Vec<f64> = (0..=channels).map(|_| draws.normal()).collect();
        let norm = (1.0 + b * b).sqrt();
        white.windows(2).map(|w| (w[1] + b * w[0]) / norm).collect()
    }

    fn line(values: &mut [f64], amplitude: f64, mean: f64, sigma: f64) {
        for (i, value) in values.iter_mut().enumerate() {
            let z = (i as f64 - mean) / sigma;
            *value += amplitude * libm::exp(-0.5 * z * z);
        }
    }

    /// The mean rms and correlation that are measured on 300 such spectra.
    fn mean(channels: usize, b: f64, lines: &[(f64, f64, f64)]) -> (f64, f64) {
        let (mut rms, mut correlation) = (0.0, 0.0);
        for row in 0..300 {
            let mut values = noise(row, channels, b);
            for &(amplitude, mean, sigma) in lines {
                line(&mut values, amplitude, mean, sigma);
            }
            let spectrum: Vec<f32> = values.iter().map(|&v| (0.1 * v) as f32).collect();
            let noise = Noise::measure(&spectrum).expect("there is noise");
            rms += noise.rms / 0.1 / 300.0;
            correlation += noise.correlation / 300.0;
        }
        (rms, correlation)
    }

    #[test]
    fn white_noise_is_measured_without_bias() {
        for channels in [140, 424, 2_000] {
            let (rms, correlation) = mean(channels, 0.0, &[]);
            assert!((rms - 1.0).abs() < 0.01, "{channels} channels: {rms}");
            assert!(correlation.abs() < 0.03, "{channels} channels: {correlation}");
        }
    }

    #[test]
    fn lines_do_not_raise_it() {
        for lines in [
            &[(50.0, 200.0, 8.0), (20.0, 230.0, 5.0)][..],
            &[(5.0, 100.0, 3.0), (4.0, 300.0, 6.0), (8.0, 320.0, 4.0)],
            &[(2.0, 200.0, 15.0)],
            &[(500.0, 210.0, 12.0)],
        ] {
            let (rms, _) = mean(424, 0.0, lines);
            assert!((rms - 1.0).abs() < 0.02, "{lines:?}: {rms}");
        }
    }

    #[test]
    fn correlated_noise_is_not_taken_for_lines() {
        let (rms, correlation) = mean(424, 0.45, &[(20.0, 200.0, 8.0)]);
        assert!((rms - 1.0).abs() < 0.02, "{rms}");
        assert!((correlation - 0.374).abs() < 0.03, "{correlation}");
    }

    #[test]
    fn a_crowded_spectrum_still_has_an_rms() {
        let (rms, _) = mean(140, 0.0, &[(10.0, 40.0, 20.0), (10.0, 100.0, 20.0)]);
        assert!((rms - 1.0).abs() < 0.1, "{rms}");
    }

    #[test]
    fn missing_channels_and_spikes_are_ignored() {
        let mut spectrum: Vec<f32> = noise(3, 424, 0.0).iter().map(|&v| v as f32).collect();
        let clean = Noise::measure(&spectrum).unwrap();
        spectrum[100] = -80.0;
        spectrum[50..60].fill(f32::NAN);
        let spoiled = Noise::measure(&spectrum).unwrap();
        assert!((spoiled.rms / clean.rms - 1.0).abs() < 0.03);
        assert!(spoiled.channels <= clean.channels - 10);
    }

    #[test]
    fn nothing_to_measure_is_none() {
        assert_eq!(Noise::measure(&[]), None);
        assert_eq!(Noise::measure(&[f32::NAN; 100]), None);
        assert_eq!(Noise::measure(&[0.0; 100]), None);
        assert_eq!(Noise::measure(&[1.0; 7]), None);
    }

    #[test]
    fn the_line_is_what_is_masked() {
        let mut values = noise(5, 424, 0.0);
        line(&mut values, 30.0, 200.0, 6.0);
        let spectrum: Vec<f32> = values.iter().map(|&v| v as f32).collect();
        let noise = Noise::measure(&spectrum).unwrap();
        let free = line_free(&spectrum, &noise);
        assert!(free[180..=220].iter().all(|f| !f), "three sigma on both sides");
        assert!(free[..150].iter().filter(|f| **f).count() > 140);
    }
}
