//! What the network should tell of spectra.

use super::DetectorDesign;
use crate::network::examples::Examples;

/// Channels from a mean beyond which the heat is expected to be nothing: there t < 4·10⁻⁶.
const REACH: f64 = 5.0;

/// A true component as the network should tell of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::network) struct Target {
    /// Which of the spectra it is in.
    pub(in crate::network) spectrum: usize,
    /// The class of its sigma.
    pub(in crate::network) class: usize,
    /// The channel nearest to its mean.
    pub(in crate::network) channel: usize,
    /// ln amplitude, offset, ln sigma.
    pub(in crate::network) values: [f64; 3],
}

/// Finds the `targets` in the spectra `rows`, continued to `length` channels, and fills `away` with what heat costs where it
/// shouldn't be: (1 − t)⁴, or 0 where a component is told of. `place` says where that of a spectrum, a channel and a class lies.
pub(in crate::network) fn find_targets(
    design: &DetectorDesign,
    examples: &Examples,
    rows: &[usize],
    length: usize,
    targets: &mut Vec<Target>,
    away: &mut [f32],
    place: impl Fn(usize, usize, usize) -> usize,
) {
    targets.clear();
    away.fill(1.0);
    let channels = examples.grid.channels;
    let last = channels.max(2) - 1;
    for (spectrum, &row) in rows.iter().enumerate() {
        for [amplitude, mean, sigma] in examples.natural(row) {
            let (mean, sigma) = (mean * last as f64, sigma * last as f64);
            let class = design.class(sigma);
            let channel = mean.clamp(0.0, channels as f64 - 1.0).round() as usize;
            let reach = (mean - REACH).max(0.0) as usize
                ..((mean + REACH).max(0.0) as usize + 1).min(length);
            for near in reach {
                let distance = near as f64 - mean;
                let t = libm::exp(-0.5 * distance * distance);
                let square = (1.0 - t) * (1.0 - t);
                let away = &mut away[place(spectrum, near, class)];
                *away = away.min((square * square) as f32);
            }
            targets.push(Target {
                spectrum,
                class,
                channel,
                values: [libm::log(amplitude), mean - channel as f64, libm::log(sigma)],
            });
        }
    }
    for target in targets {
        away[place(target.spectrum, target.channel, target.class)] = 0.0;
    }
}
