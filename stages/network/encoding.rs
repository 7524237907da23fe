//! How a scaled spectrum is shown to the network.
//!
//! Each channel value `x` becomes two planes, `x / scale` and `asinh(x) / 2`: the first keeps strong components linear, the
//! second keeps weak ones visible beside them. `scale` is the root mean square of the training spectra. A missing channel
//! is 0 in both planes, as in the scaled spectrum.

/// Planes of the network's input.
pub(super) const PLANES: usize = 2;

/// Writes the planes of `spectrum` (C values) to `planes` (C × 2).
pub(super) fn encode(spectrum: &[f32], scale: f32, planes: &mut [f32]) {
    let factor = 1.0 / scale;
    for (pair, &x) in planes.chunks_exact_mut(PLANES).zip(spectrum) {
        let x = if x.is_finite() { x } else { 0.0 };
        pair[0] = x * factor;
        pair[1] = 0.5 * libm::asinhf(x);
    }
}

/// The root mean square over the given `rows` of `spectra` (N × C); 1 where that is zero.
pub(super) fn scale(spectra: &[f32], channels: usize, rows: &[usize]) -> f32 {
    let mut total = 0.0;
    for &row in rows {
        let spectrum = &spectra[row * channels..(row + 1) * channels];
        total += spectrum.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    }
    let mean = total / (rows.len().max(1) * channels) as f64;
    if mean > 0.0 { mean.sqrt() as f32 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_are_linear_and_compressed() {
        let mut planes = [9.0; 6];
        encode(&[0.0, 10.0, f32::NAN], 5.0, &mut planes);
        assert_eq!(planes[0..2], [0.0, 0.0]);
        assert!((planes[2] - 2.0).abs() < 1e-6);
        assert!((f64::from(planes[3]) - 0.5 * 10f64.asinh()).abs() < 1e-6);
        assert_eq!(planes[4..6], [0.0, 0.0]);
    }

    #[test]
    fn scale_is_the_root_mean_square_of_the_chosen_rows() {
        let spectra = [100.0, 100.0, 3.0, 4.0, 3.0, 4.0];
        assert!((scale(&spectra, 2, &[1, 2]) - 12.5f32.sqrt()).abs() < 1e-6);
        assert!((scale(&[0.0; 4], 2, &[0, 1]) - 1.0).abs() < 1e-9);
    }
}
