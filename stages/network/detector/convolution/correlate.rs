//! The loops that correlate inputs with gradients, to the gradient of the weights.

#![expect(
    clippy::inline_always,
    reason = "the bodies must be compiled for the instructions of their callers"
)]

use super::Convolution;
use crate::network::detector::lanes::{LANES, Register, blocked, total};

blocked! {
    /// The loops of [`Convolution::backward`].
    ///
    /// # Safety
    ///
    /// The slices behind the pointers are as long as `backward` demands.
    correlate(
        layer: Convolution, input: *const f32, gradient: *const f32, lanes: usize, weight_gradient: *mut f32
    ) = correlate_body, plain 5 x 2, avx2 5 x 2, avx512 5 x 4
}

/// Takes `I` windows' entries and `F` filters at a time: taps of one input where there are several, so that the same
/// numbers are met again at the next position, else inputs.
#[inline(always)]
unsafe fn correlate_body<R: Register, const I: usize, const F: usize>(
    layer: Convolution,
    input: *const f32,
    gradient: *const f32,
    lanes: usize,
    weight_gradient: *mut f32,
) {
    let (runs, entries, stride) = if layer.kernel == 1 {
        (1, layer.inputs, 1)
    } else {
        (layer.inputs, layer.kernel, layer.inputs)
    };
    let mut filter = 0;
    while filter < layer.filters {
        let wide = filter + F <= layer.filters;
        for run in 0..runs {
            let mut entry = 0;
            while entry < entries {
                let first = run + entry * stride;
                let long = entry + I <= entries;
                // SAFETY: entries and filters stay below their numbers.
                unsafe {
                    match (long, wide) {
                        (true, true) => patch::<R, I, F>(
                            layer,
                            first,
                            stride,
                            filter,
                            input,
                            gradient,
                            lanes,
                            weight_gradient,
                        ),
                        (true, false) => patch::<R, I, 1>(
                            layer,
                            first,
                            stride,
                            filter,
                            input,
                            gradient,
                            lanes,
                            weight_gradient,
                        ),
                        (false, true) => patch::<R, 1, F>(
                            layer,
                            first,
                            stride,
                            filter,
                            input,
                            gradient,
                            lanes,
                            weight_gradient,
                        ),
                        (false, false) => patch::<R, 1, 1>(
                            layer,
                            first,
                            stride,
                            filter,
                            input,
                            gradient,
                            lanes,
                            weight_gradient,
                        ),
                    }
                }
                entry += if long { I } else { 1 };
            }
        }
        filter += if wide { F } else { 1 };
    }
}

/// The gradient of `I` entries, `stride` apart, of `F` filters.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "where the block lies, and what it is computed from")]
unsafe fn patch<R: Register, const I: usize, const F: usize>(
    layer: Convolution,
    first: usize,
    stride: usize,
    filter: usize,
    input: *const f32,
    gradient: *const f32,
    lanes: usize,
    weight_gradient: *mut f32,
) {
    let mut found = [[[0f32; LANES]; F]; I];
    for offset in (0..LANES).step_by(R::WIDTH) {
        // SAFETY: as in the caller.
        unsafe {
            let mut sums = [[R::splat(0.0); F]; I];
            let mut signal = input.add(first * LANES + offset);
            let mut slope = gradient.add(filter * LANES + offset);
            for _ in 0..layer.length {
                let mut slopes = [R::splat(0.0); F];
                for (f, value) in slopes.iter_mut().enumerate() {
                    *value = R::load(slope.add(f * LANES));
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let value = R::load(signal.add(i * stride * LANES));
                    for (sum, slope) in sums.iter_mut().zip(&slopes) {
                        *sum = value.times_plus(*slope, *sum);
                    }
                }
                // After the last round they point beyond what they may be used for, and nobody uses them.
                signal = signal.wrapping_add(layer.inputs * LANES);
                slope = slope.wrapping_add(layer.filters * LANES);
            }
            for (i, sums) in sums.iter().enumerate() {
                for (f, sum) in sums.iter().enumerate() {
                    sum.store(found[i][f].as_mut_ptr().add(offset));
                }
            }
        }
    }
    for (i, found) in found.iter().enumerate() {
        for (f, found) in found.iter().enumerate() {
            // SAFETY: the entry and the filter are below their numbers.
            unsafe {
                let place = (first + i * stride) * layer.filters + filter + f;
                *weight_gradient.add(place) += total(found, lanes);
            }
        }
    }
}
