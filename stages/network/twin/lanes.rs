//! Spectra as the detector's core has them, in groups whose spectra fill the lanes of registers: for what only the core does.

use crate::network::detector::lanes::LANES;

/// At most a group of `spectra` that lie one after the other, in lanes; those without a spectrum are 0.
pub(super) fn to_lanes(values: &[f32], spectra: usize) -> Vec<f32> {
    let size = values.len() / spectra;
    let mut lanes = vec![0.0; size * LANES];
    for (lane, values) in values.chunks_exact(size).enumerate() {
        for (to, value) in lanes.iter_mut().skip(lane).step_by(LANES).zip(values) {
            *to = *value;
        }
    }
    lanes
}

/// The first of a group's `spectra`, one after the other.
#[cfg(test)]
pub(super) fn from_lanes(lanes: &[f32], spectra: usize) -> Vec<f32> {
    let of = |lane| lanes.iter().skip(lane).step_by(LANES).copied();
    (0..spectra).flat_map(of).collect()
}
