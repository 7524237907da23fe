//! The inner loops of a fit, each once in plain code and once for processors with AVX2.
//!
//! Both are the same lines compiled twice. A loop that maps numbers to numbers has the same bits however many are
//! taken at once; a sum runs over [`LANES`] lanes, channel i into lane i mod 4, which are added up in one order at
//! the end. Nothing is contracted to a fused multiply-add. So the processor changes the speed and not the result.

#![expect(
    clippy::inline_always,
    reason = "the bodies must be compiled for the instructions of their callers"
)]

use super::exponential::exp;

/// The number of partial sums, and what every range of channels is a multiple of.
pub(super) const LANES: usize = 4;

/// Which instructions the loops use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instructions {
    /// What every processor of this architecture has.
    Plain,
    /// AVX2 on x86-64.
    #[cfg(target_arch = "x86_64")]
    Avx2(HasAvx2),
}

/// That the processor has AVX2: only [`Instructions::best`] makes it, when it has found so.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HasAvx2(());

impl Instructions {
    /// The best that this processor has.
    pub(super) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            return Self::Avx2(HasAvx2(()));
        }
        Self::Plain
    }
}

/// Declares a function that calls `body` as compiled for the instructions at hand.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? = $body:ident) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments, reason = "slices of one layout, each by its name")]
        pub(super) fn $name(instructions: Instructions, $($argument: $type),*) $(-> $result)? {
            match instructions {
                Instructions::Plain => $body($($argument),*),
                #[cfg(target_arch = "x86_64")]
                Instructions::Avx2(_) => {
                    #[target_feature(enable = "avx2")]
                    #[allow(clippy::too_many_arguments, reason = "as above")]
                    fn with_avx2($($argument: $type),*) $(-> $result)? {
                        $body($($argument),*)
                    }
                    // SAFETY: the value `Avx2` exists only where the processor has AVX2.
                    unsafe { with_avx2($($argument),*) }
                }
            }
        }
    };
}

kernel! {
    /// Writes the three derivatives of a component (amplitude, mean, sigma) by amplitude, mean and sigma at
    /// `positions`, each times `weights`.
    derivatives(
        component: &[f64; 3], positions: &[f64], weights: &[f64],
        by_amplitude: &mut [f64], by_mean: &mut [f64], by_sigma: &mut [f64]
    ) = derivatives_body
}

#[inline(always)]
fn derivatives_body(
    component: &[f64; 3],
    positions: &[f64],
    weights: &[f64],
    by_amplitude: &mut [f64],
    by_mean: &mut [f64],
    by_sigma: &mut [f64],
) {
    let [amplitude, mean, sigma] = *component;
    let inverse = 1.0 / sigma;
    let factor = amplitude * inverse;
    let n = positions.len();
    let weights = &weights[..n];
    let (by_amplitude, by_mean, by_sigma) =
        (&mut by_amplitude[..n], &mut by_mean[..n], &mut by_sigma[..n]);
    for i in 0..n {
        let z = (positions[i] - mean) * inverse;
        let shape = exp(-0.5 * z * z) * weights[i];
        let slope = factor * shape * z;
        by_amplitude[i] = shape;
        by_mean[i] = slope;
        by_sigma[i] = slope * z;
    }
}

kernel! {
    /// Takes `factor · shape` off `residual`.
    subtract(factor: f64, shape: &[f64], residual: &mut [f64]) = subtract_body
}

#[inline(always)]
fn subtract_body(factor: f64, shape: &[f64], residual: &mut [f64]) {
    for (residual, shape) in residual.iter_mut().zip(shape) {
        *residual -= factor * shape;
    }
}

kernel! {
    /// The scalar product of two columns.
    dot(a: &[f64], b: &[f64]) -> f64 = dot_body
}

#[inline(always)]
fn dot_body(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    total(lanes)
}

kernel! {
    /// By how much the sum of squares of `after` is below that of `before`.
    decrease(before: &[f64], after: &[f64]) -> f64 = decrease_body
}

#[inline(always)]
fn decrease_body(before: &[f64], after: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    for (before, after) in before.chunks_exact(LANES).zip(after.chunks_exact(LANES)) {
        for lane in 0..LANES {
            lanes[lane] += (before[lane] - after[lane]) * (before[lane] + after[lane]);
        }
    }
    total(lanes)
}

kernel! {
    /// The scalar products of each of three columns with each of three others.
    products(a: [&[f64]; 3], b: [&[f64]; 3]) -> [[f64; 3]; 3] = products_body
}

#[inline(always)]
fn products_body(a: [&[f64]; 3], b: [&[f64]; 3]) -> [[f64; 3]; 3] {
    let n = a[0].len();
    let (a, b) = (a.map(|column| &column[..n]), b.map(|column| &column[..n]));
    let mut lanes = [[[0.0; LANES]; 3]; 3];
    for start in (0..n / LANES).map(|block| block * LANES) {
        for (row, a) in lanes.iter_mut().zip(&a) {
            for (lanes, b) in row.iter_mut().zip(&b) {
                for lane in 0..LANES {
                    lanes[lane] += a[start + lane] * b[start + lane];
                }
            }
        }
    }
    lanes.map(|row| row.map(total))
}

kernel! {
    /// The scalar products of three columns among each other, (0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), and
    /// with a fourth.
    own_products(a: [&[f64]; 3], residual: &[f64]) -> ([f64; 6], [f64; 3]) = own_products_body
}

#[inline(always)]
fn own_products_body(a: [&[f64]; 3], residual: &[f64]) -> ([f64; 6], [f64; 3]) {
    let n = residual.len();
    let a = a.map(|column| &column[..n]);
    let (mut among, mut with) = ([[0.0; LANES]; 6], [[0.0; LANES]; 3]);
    for start in (0..n / LANES).map(|block| block * LANES) {
        for lane in 0..LANES {
            let i = start + lane;
            let [x, y, z] = a.map(|column| column[i]);
            let r = residual[i];
            among[0][lane] += x * x;
            among[1][lane] += y * x;
            among[2][lane] += y * y;
            among[3][lane] += z * x;
            among[4][lane] += z * y;
            among[5][lane] += z * z;
            with[0][lane] += x * r;
            with[1][lane] += y * r;
            with[2][lane] += z * r;
        }
    }
    (among.map(total), with.map(total))
}

/// The sum of the lanes, in this order.
#[inline(always)]
fn total(lanes: [f64; LANES]) -> f64 {
    (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])
}

#[cfg(test)]
mod tests {
    use super::super::super::random::{Draws, Purpose};
    use super::*;

    const TEST: Purpose = Purpose::new("kernels test");

    fn column(row: u64, n: usize) -> Vec<f64> {
        let mut draws = Draws::new(1, TEST, row);
        (0..n).map(|_| draws.normal()).collect()
    }

    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    /// Every kernel on `n` channels, as bits.
    fn all(instructions: Instructions, n: usize) -> Vec<u64> {
        let columns: Vec<Vec<f64>> = (0..7).map(|row| column(row, n)).collect();
        let positions: Vec<f64> = (0..n).map(|i| i as f64).collect();
        let [mut a, mut b, mut c] = [(); 3].map(|()| vec![0.0; n]);
        let component = [3.0, n as f64 / 3.0, 0.1 * n as f64 + 0.7];
        derivatives(instructions, &component, &positions, &columns[0], &mut a, &mut b, &mut c);
        let three = [&columns[0][..], &columns[1], &columns[2]];
        let (among, with) = own_products(instructions, three, &columns[3]);
        let cross = products(instructions, three, [&columns[4], &columns[5], &columns[6]]);
        let mut residual = columns[1].clone();
        subtract(instructions, 0.3, &columns[2], &mut residual);
        let mut found = bits(&[a, b, c, residual].concat());
        found.extend(bits(&among));
        found.extend(bits(&with));
        found.extend(bits(&cross.concat()));
        found.push(dot(instructions, &columns[0], &columns[1]).to_bits());
        found.push(decrease(instructions, &columns[0], &columns[1]).to_bits());
        found
    }

    #[test]
    fn the_instructions_do_not_change_a_bit() {
        for n in [0, 4, 8, 12, 52, 140, 424] {
            assert_eq!(all(Instructions::best(), n), all(Instructions::Plain, n), "{n} channels");
        }
    }

    #[test]
    fn sums_run_over_four_lanes() {
        let (a, b) = (column(1, 60), column(2, 60));
        let mut lanes = [0.0; 4];
        for i in 0..60 {
            lanes[i % 4] += a[i] * b[i];
        }
        let expected = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
        assert_eq!(dot(Instructions::best(), &a, &b).to_bits(), expected.to_bits());
        let products = products(Instructions::best(), [&a, &b, &a], [&b, &b, &a]);
        assert_eq!(products[0][0].to_bits(), expected.to_bits());
        let (among, with) = own_products(Instructions::best(), [&a, &b, &b], &b);
        assert_eq!(among[1].to_bits(), expected.to_bits());
        assert_eq!(with[0].to_bits(), expected.to_bits());
    }
}
