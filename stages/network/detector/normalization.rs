//! Normalisation and `ReLU` of a group's signals on their way to where they are read next: as they are, halved by the
//! greater of two neighbours, or doubled by repetition. And the way back of the gradient.

#![expect(
    clippy::inline_always,
    reason = "the bodies must be compiled for the instructions of their callers"
)]

use super::lanes::{LANES, looped, total};
use crate::network::normalization::{Normalization, NormalizationGradient, Sums};

/// How the positions of a signal become those of the layer that reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) enum Way {
    /// One for one.
    Copy,
    /// The greater of each two.
    Pool,
    /// Each twice.
    Repeat,
}

looped! {
    /// The sums of values and of squares over all positions and the first `lanes` spectra of `values` (length × features).
    moments(values: &[f32], features: usize, lanes: usize) -> Sums = moments_body
}

#[inline(always)]
fn moments_body(values: &[f32], features: usize, lanes: usize) -> Sums {
    let mut first = vec![[0f32; LANES]; features];
    let mut second = vec![[0f32; LANES]; features];
    for position in values.as_chunks::<LANES>().0.chunks_exact(features) {
        for ((value, first), second) in position.iter().zip(&mut first).zip(&mut second) {
            for lane in 0..LANES {
                first[lane] += value[lane];
                second[lane] += value[lane] * value[lane];
            }
        }
    }
    folded(&first, &second, lanes)
}

fn folded(first: &[[f32; LANES]], second: &[[f32; LANES]], lanes: usize) -> Sums {
    let fold = |sums: &[[f32; LANES]]| -> Vec<f64> {
        sums.iter().map(|sum| f64::from(total(sum, lanes))).collect()
    };
    Sums { first: fold(first), second: fold(second) }
}

looped! {
    /// Normalises and rectifies `values` (length × features) and sends them along `way`: features of position p of the
    /// result go to `output[p · step..]`.
    normalize(by: &Normalization, way: Way, values: &[f32], output: &mut [f32], step: usize) = normalize_body
}

#[inline(always)]
fn normalize_body(by: &Normalization, way: Way, values: &[f32], output: &mut [f32], step: usize) {
    let features = by.scale.len();
    let values = values.as_chunks::<LANES>().0;
    let step = step / LANES;
    let output = output.as_chunks_mut::<LANES>().0;
    let constants = || by.scale.iter().zip(&by.shift);
    match way {
        Way::Copy => {
            for (position, values) in values.chunks_exact(features).enumerate() {
                let output = &mut output[position * step..][..features];
                for ((value, result), (scale, shift)) in values.iter().zip(output).zip(constants())
                {
                    for lane in 0..LANES {
                        result[lane] = rectified(value[lane] * scale + shift);
                    }
                }
            }
        }
        Way::Pool => {
            for (position, pair) in values.chunks_exact(2 * features).enumerate() {
                let (left, right) = pair.split_at(features);
                let output = &mut output[position * step..][..features];
                let pairs = left.iter().zip(right).zip(output).zip(constants());
                for (((left, right), result), (scale, shift)) in pairs {
                    for lane in 0..LANES {
                        let (a, b) = (left[lane] * scale + shift, right[lane] * scale + shift);
                        result[lane] = rectified(if b > a { b } else { a });
                    }
                }
            }
        }
        Way::Repeat => {
            for (position, values) in values.chunks_exact(features).enumerate() {
                let (once, twice) = output[2 * position * step..].split_at_mut(step);
                let both = once[..features].iter_mut().zip(&mut twice[..features]);
                for ((value, (once, twice)), (scale, shift)) in
                    values.iter().zip(both).zip(constants())
                {
                    for lane in 0..LANES {
                        let result = rectified(value[lane] * scale + shift);
                        once[lane] = result;
                        twice[lane] = result;
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn rectified(value: f32) -> f32 {
    if value > 0.0 { value } else { 0.0 }
}

looped! {
    /// Adds what came back along `way` to the `gradient` of the rectified values (length × features). Position p of what
    /// came back lies at `back[p · step..]`.
    receive_gradient(by: &Normalization, way: Way, values: &[f32], back: &[f32], step: usize, gradient: &mut [f32]) = receive_gradient_body
}

#[inline(always)]
fn receive_gradient_body(
    by: &Normalization,
    way: Way,
    values: &[f32],
    back: &[f32],
    step: usize,
    gradient: &mut [f32],
) {
    let features = by.scale.len();
    let values = values.as_chunks::<LANES>().0;
    let step = step / LANES;
    let back = back.as_chunks::<LANES>().0;
    let gradient = gradient.as_chunks_mut::<LANES>().0;
    match way {
        Way::Copy => {
            for (position, gradient) in gradient.chunks_exact_mut(features).enumerate() {
                for (gradient, back) in gradient.iter_mut().zip(&back[position * step..]) {
                    for lane in 0..LANES {
                        gradient[lane] += back[lane];
                    }
                }
            }
        }
        Way::Pool => {
            let pairs =
                gradient.chunks_exact_mut(2 * features).zip(values.chunks_exact(2 * features));
            for (position, (gradient, values)) in pairs.enumerate() {
                let (to_left, to_right) = gradient.split_at_mut(features);
                let (left, right) = values.split_at(features);
                let back = &back[position * step..][..features];
                for f in 0..features {
                    let (scale, shift) = (by.scale[f], by.shift[f]);
                    for lane in 0..LANES {
                        let a = left[f][lane] * scale + shift;
                        let b = right[f][lane] * scale + shift;
                        to_left[f][lane] += if b > a { 0.0 } else { back[f][lane] };
                        to_right[f][lane] += if b > a { back[f][lane] } else { 0.0 };
                    }
                }
            }
        }
        Way::Repeat => {
            for (position, gradient) in gradient.chunks_exact_mut(features).enumerate() {
                let (once, twice) = back[2 * position * step..].split_at(step);
                for ((gradient, once), twice) in gradient.iter_mut().zip(once).zip(twice) {
                    for lane in 0..LANES {
                        gradient[lane] += once[lane] + twice[lane];
                    }
                }
            }
        }
    }
}

looped! {
    /// Makes `gradient` that of the normalised values, before they were rectified, and sums it, and it times the value
    /// that it belongs to, over all positions and the first `lanes` spectra.
    rectify_back(by: &Normalization, values: &[f32], gradient: &mut [f32], lanes: usize) -> Sums = rectify_back_body
}

#[inline(always)]
fn rectify_back_body(
    by: &Normalization,
    values: &[f32],
    gradient: &mut [f32],
    lanes: usize,
) -> Sums {
    let features = by.scale.len();
    let mut first = vec![[0f32; LANES]; features];
    let mut second = vec![[0f32; LANES]; features];
    let values = values.as_chunks::<LANES>().0;
    let gradient = gradient.as_chunks_mut::<LANES>().0;
    for (values, gradient) in values.chunks_exact(features).zip(gradient.chunks_exact_mut(features))
    {
        for f in 0..features {
            let (scale, shift) = (by.scale[f], by.shift[f]);
            let (mean, inverse) = (by.mean[f], by.inverse[f]);
            for lane in 0..LANES {
                let value = values[f][lane];
                let slope = if value * scale + shift > 0.0 { gradient[f][lane] } else { 0.0 };
                gradient[f][lane] = slope;
                first[f][lane] += slope;
                second[f][lane] += slope * ((value - mean) * inverse);
            }
        }
    }
    folded(&first, &second, lanes)
}

looped! {
    /// Writes the gradient of `values`, given that of the normalised ones.
    normalize_back(through: &NormalizationGradient, values: &[f32], gradient: &[f32], result: &mut [f32])
        = normalize_back_body
}

#[inline(always)]
fn normalize_back_body(
    through: &NormalizationGradient,
    values: &[f32],
    gradient: &[f32],
    result: &mut [f32],
) {
    let features = through.scale.len();
    let values = values.as_chunks::<LANES>().0.chunks_exact(features);
    let gradient = gradient.as_chunks::<LANES>().0.chunks_exact(features);
    let result = result.as_chunks_mut::<LANES>().0.chunks_exact_mut(features);
    for ((values, gradient), result) in values.zip(gradient).zip(result) {
        for f in 0..features {
            let (scale, slope, offset) = (through.scale[f], through.slope[f], through.offset[f]);
            for lane in 0..LANES {
                result[f][lane] = scale * gradient[f][lane] + slope * values[f][lane] + offset;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{
        detector::lanes::Instructions,
        difference::{check_gradient, dot, noise},
    };

    const FEATURES: usize = 3;
    const LENGTH: usize = 6;
    const SIZE: usize = LENGTH * FEATURES * LANES;
    const SPECTRA: usize = 11;

    fn normalization(values: &[f32], weight: &[f32], bias: &[f32]) -> Normalization {
        let sums = moments(Instructions::best(), values, FEATURES, SPECTRA);
        Normalization::of_batch(&sums, LENGTH * SPECTRA, weight, bias)
    }

    fn length(way: Way) -> usize {
        match way {
            Way::Copy => LENGTH,
            Way::Pool => LENGTH / 2,
            Way::Repeat => LENGTH * 2,
        }
    }

    /// Values away from a tie and from zero, where the functions have no derivative.
    fn values() -> Vec<f32> {
        let mut values: Vec<f32> =
            noise(SIZE, 11).iter().map(|v| v.signum() * (0.3 + v.abs())).collect();
        for pair in values.chunks_exact_mut(2 * FEATURES * LANES) {
            for f in 0..FEATURES * LANES {
                if (pair[f] - pair[f + FEATURES * LANES]).abs() < 0.2 {
                    pair[f] += 0.4 * pair[f].signum();
                }
            }
        }
        values
    }

    #[test]
    fn only_counted_spectra_enter_the_moments() {
        let mut values = noise(SIZE, 1);
        let before = moments(Instructions::Plain, &values, FEATURES, SPECTRA);
        for position in values.chunks_exact_mut(LANES) {
            position[SPECTRA..].fill(1e9);
        }
        for instructions in Instructions::available() {
            assert_eq!(moments(instructions, &values, FEATURES, SPECTRA), before);
        }
        let sum: f64 = (0..LENGTH)
            .flat_map(|p| (0..SPECTRA).map(move |l| (p * FEATURES + 1) * LANES + l))
            .map(|index| f64::from(values[index]))
            .sum();
        assert!((before.first[1] - sum).abs() < 1e-5);
    }

    #[test]
    fn gradients_equal_differences_on_every_way() {
        let best = Instructions::best();
        let (values, weight, bias) = (values(), [1.0, -0.7, 1.5], [0.05, 0.02, 0.03]);
        let step = (FEATURES + 2) * LANES;
        for way in [Way::Copy, Way::Pool, Way::Repeat] {
            let upstream: Vec<f32> = noise(length(way) * step, 12)
                .iter()
                .enumerate()
                .map(|(index, value)| if index % LANES < SPECTRA { *value } else { 0.0 })
                .collect();
            let value = |v: &[f32], w: &[f32], b: &[f32]| {
                let mut output = vec![0.0; length(way) * step];
                normalize(best, &normalization(v, w, b), way, v, &mut output, step);
                dot(&output, &upstream)
            };
            let by = normalization(&values, &weight, &bias);
            let mut gradient = vec![0.0; SIZE];
            receive_gradient(best, &by, way, &values, &upstream, step, &mut gradient);
            let sums = rectify_back(best, &by, &values, &mut gradient, SPECTRA);
            let through = by.backward(&sums, LENGTH * SPECTRA);
            let mut dx = vec![0.0; SIZE];
            normalize_back(best, &through, &values, &gradient, &mut dx);
            // Spectra that aren't counted have no part in the value.
            for lanes in dx.chunks_exact_mut(LANES) {
                lanes[SPECTRA..].fill(0.0);
            }
            let single = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<f32>>();
            check_gradient(&values, &dx, |v| value(v, &weight, &bias));
            check_gradient(&weight, &single(&sums.second), |w| value(&values, w, &bias));
            check_gradient(&bias, &single(&sums.first), |b| value(&values, &weight, b));
        }
    }
}
