//! The loops that convolve: filters and positions in blocks that the registers hold.

#![expect(
    clippy::inline_always,
    reason = "the bodies must be compiled for the instructions of their callers"
)]

use super::{Convolution, Finish};
use crate::network::detector::lanes::{LANES, Register, blocked};

blocked! {
    /// The loops of [`Convolution::forward`].
    ///
    /// # Safety
    ///
    /// The slices behind the pointers are as long as `forward` demands.
    convolve(
        layer: Convolution, weights: *const f32, input: *const f32, finish: Finish<'_>, output: *mut f32, step: usize
    ) = convolve_body, plain 4 x 2, avx2 4 x 3, avx512 8 x 3
}

#[inline(always)]
unsafe fn convolve_body<R: Register, const F: usize, const P: usize>(
    layer: Convolution,
    weights: *const f32,
    input: *const f32,
    finish: Finish,
    output: *mut f32,
    step: usize,
) {
    let stride = layer.inputs * LANES;
    let whole = layer.length / P * P;
    for offset in (0..LANES).step_by(R::WIDTH) {
        // SAFETY: positions, filters and lanes stay within what the caller promises of the pointers.
        unsafe {
            let at = |position: usize| {
                (input.add(position * stride + offset), output.add(position * step + offset))
            };
            for position in (0..whole).step_by(P) {
                let (input, output) = at(position);
                row::<R, F, P>(layer, weights, input, finish, output, step);
            }
            for position in whole..layer.length {
                let (input, output) = at(position);
                row::<R, F, 1>(layer, weights, input, finish, output, step);
            }
        }
    }
}

/// All filters at `P` positions.
#[inline(always)]
unsafe fn row<R: Register, const F: usize, const P: usize>(
    layer: Convolution,
    weights: *const f32,
    input: *const f32,
    finish: Finish,
    output: *mut f32,
    step: usize,
) {
    let mut filter = 0;
    // SAFETY: as in the caller.
    unsafe {
        while filter + F <= layer.filters {
            block::<R, F, P>(layer, filter, weights, input, finish, output, step);
            filter += F;
        }
        while filter + 4 <= layer.filters {
            block::<R, 4, P>(layer, filter, weights, input, finish, output, step);
            filter += 4;
        }
        while filter < layer.filters {
            block::<R, 1, P>(layer, filter, weights, input, finish, output, step);
            filter += 1;
        }
    }
}

#[inline(always)]
unsafe fn block<R: Register, const F: usize, const P: usize>(
    layer: Convolution,
    filter: usize,
    weights: *const f32,
    input: *const f32,
    finish: Finish,
    output: *mut f32,
    step: usize,
) {
    let stride = layer.inputs * LANES;
    // SAFETY: as in the caller; `filter + F` is at most the number of filters.
    unsafe {
        let mut sums = [[R::splat(0.0); F]; P];
        if let Some(bias) = finish.bias {
            for (f, bias) in bias[filter..filter + F].iter().enumerate() {
                for sums in &mut sums {
                    sums[f] = R::splat(*bias);
                }
            }
        }
        let mut weight = weights.add(filter);
        let mut signal = input;
        for _ in 0..layer.kernel * layer.inputs {
            let mut values = [R::splat(0.0); P];
            for (p, value) in values.iter_mut().enumerate() {
                *value = R::load(signal.add(p * stride));
            }
            for f in 0..F {
                let factor = R::splat(*weight.add(f));
                for (value, sums) in values.iter().zip(&mut sums) {
                    sums[f] = value.times_plus(factor, sums[f]);
                }
            }
            // After the last round they point beyond what they may be used for, and nobody uses them.
            weight = weight.wrapping_add(layer.filters);
            signal = signal.wrapping_add(LANES);
        }
        for (p, sums) in sums.iter().enumerate() {
            for (f, sum) in sums.iter().enumerate() {
                let value = if finish.rectify { sum.rectified() } else { *sum };
                value.store(output.add(p * step + (filter + f) * LANES));
            }
        }
    }
}
