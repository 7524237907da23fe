//! Sixteen spectra at a time: how they lie in memory, and the registers that hold them.
//!
//! The detector's signals belong to a *group* of [`LANES`] spectra. They lie position by position, feature by feature, and
//! innermost spectrum by spectrum, so that one number of each spectrum of a group fills the lanes of a register: no layer
//! mixes lanes, any number of features and positions is as good as any other, and a spectrum's bits do not depend on its
//! company.
//!
//! Products are fused with sums where the processor can, and sums over positions run in order in each lane. So a result
//! has the same bits with AVX2 as with AVX-512, and other ones only where there is no fused multiply-add.

#![expect(
    clippy::inline_always,
    reason = "the bodies must be compiled for the instructions of their callers"
)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, __m512, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_set1_ps,
    _mm256_storeu_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_max_ps, _mm512_set1_ps,
    _mm512_storeu_ps,
};

/// Spectra in a group.
pub(in crate::network) const LANES: usize = 16;

/// Which instructions the loops use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) enum Instructions {
    /// What every processor of this architecture has.
    Plain,
    /// AVX2 and FMA on x86-64.
    #[cfg(target_arch = "x86_64")]
    Avx2(HasAvx2),
    /// AVX-512F on x86-64.
    #[cfg(target_arch = "x86_64")]
    Avx512(HasAvx512),
}

/// That the processor has AVX2 and FMA: only [`Instructions::available`] makes it, when it has found so.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) struct HasAvx2(());

/// That the processor has AVX-512F. Likewise.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) struct HasAvx512(());

impl Instructions {
    /// What this processor has, best last.
    pub(in crate::network) fn available() -> Vec<Self> {
        let mut all = vec![Self::Plain];
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx2")
                && std::arch::is_x86_feature_detected!("fma")
            {
                all.push(Self::Avx2(HasAvx2(())));
                if std::arch::is_x86_feature_detected!("avx512f") {
                    all.push(Self::Avx512(HasAvx512(())));
                }
            }
        }
        all
    }

    /// The best that this processor has.
    pub(in crate::network) fn best() -> Self {
        Self::available().pop().unwrap_or(Self::Plain)
    }
}

/// A register of some lanes.
///
/// # Safety
///
/// The methods may be called only where the processor has the register's instructions, and pointers must be good for
/// `WIDTH` numbers.
pub(super) unsafe trait Register: Copy {
    /// Lanes; a divisor of [`LANES`].
    const WIDTH: usize;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// `self · by + to`.
    unsafe fn times_plus(self, by: Self, to: Self) -> Self;
    /// The greater of `self` and 0.
    unsafe fn rectified(self) -> Self;
}

/// Four lanes in plain code, which the compiler turns into whatever every processor of the architecture has.
#[derive(Clone, Copy)]
pub(super) struct Four([f32; 4]);

// SAFETY: needs no instructions beyond the architecture's own.
unsafe impl Register for Four {
    const WIDTH: usize = 4;
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 4])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: good for four numbers, as the caller promises; arrays have the alignment of their elements.
        Self(unsafe { from.cast::<[f32; 4]>().read() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as for `load`.
        unsafe { to.cast::<[f32; 4]>().write(self.0) }
    }
    #[inline(always)]
    unsafe fn times_plus(self, by: Self, to: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] * by.0[lane] + to.0[lane]))
    }
    #[inline(always)]
    unsafe fn rectified(self) -> Self {
        Self(self.0.map(|value| if value > 0.0 { value } else { 0.0 }))
    }
}

#[cfg(target_arch = "x86_64")]
macro_rules! register {
    ($type:ty, $width:expr, $splat:ident, $load:ident, $store:ident, $fused:ident, $max:ident) => {
        // SAFETY: the instructions are those of the type, which the caller of each method promises.
        unsafe impl Register for $type {
            const WIDTH: usize = $width;
            #[inline(always)]
            unsafe fn splat(value: f32) -> Self {
                // SAFETY: the processor has the instruction.
                unsafe { $splat(value) }
            }
            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                // SAFETY: the processor has the instruction, and the pointer is good.
                unsafe { $load(from) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                // SAFETY: as for `load`.
                unsafe { $store(to, self) }
            }
            #[inline(always)]
            unsafe fn times_plus(self, by: Self, to: Self) -> Self {
                // SAFETY: the processor has the instruction.
                unsafe { $fused(self, by, to) }
            }
            #[inline(always)]
            unsafe fn rectified(self) -> Self {
                // SAFETY: the processor has the instructions. A NaN becomes 0, as in plain code.
                unsafe { $max(self, $splat(0.0)) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
register!(
    __m256,
    8,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_fmadd_ps,
    _mm256_max_ps
);
#[cfg(target_arch = "x86_64")]
register!(
    __m512,
    16,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_fmadd_ps,
    _mm512_max_ps
);

/// Declares a function that calls `body`, made of register operations, for the instructions at hand; the numbers are the
/// sides of the block of results that it keeps in registers.
macro_rules! blocked {
    (
        $(#[$doc:meta])*
        $name:ident($($argument:ident: $type:ty),* $(,)?) = $body:ident,
        plain $a:literal x $b:literal, avx2 $c:literal x $d:literal, avx512 $e:literal x $f:literal
    ) => {
        $(#[$doc])*
        pub(super) unsafe fn $name(
            instructions: $crate::network::detector::lanes::Instructions,
            $($argument: $type),*
        ) {
            use $crate::network::detector::lanes::Instructions;
            match instructions {
                // SAFETY: the caller's promise.
                Instructions::Plain => unsafe {
                    $body::<$crate::network::detector::lanes::Four, $a, $b>($($argument),*);
                },
                #[cfg(target_arch = "x86_64")]
                Instructions::Avx2(_) => {
                    #[target_feature(enable = "avx2,fma")]
                    unsafe fn wide($($argument: $type),*) {
                        // SAFETY: the caller's promise.
                        unsafe { $body::<std::arch::x86_64::__m256, $c, $d>($($argument),*) }
                    }
                    // SAFETY: the value exists only where the processor has these instructions.
                    unsafe { wide($($argument),*) }
                }
                #[cfg(target_arch = "x86_64")]
                Instructions::Avx512(_) => {
                    #[target_feature(enable = "avx512f")]
                    unsafe fn wide($($argument: $type),*) {
                        // SAFETY: the caller's promise.
                        unsafe { $body::<std::arch::x86_64::__m512, $e, $f>($($argument),*) }
                    }
                    // SAFETY: the value exists only where the processor has these instructions.
                    unsafe { wide($($argument),*) }
                }
            }
        }
    };
}

/// Declares a function that calls `body`, plain loops over lanes, as compiled for the instructions at hand. The bits are
/// the same for all: nothing is contracted to a fused multiply-add.
macro_rules! looped {
    (
        $(#[$doc:meta])*
        $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? = $body:ident
    ) => {
        $(#[$doc])*
        pub(in crate::network) fn $name(
            instructions: $crate::network::detector::lanes::Instructions,
            $($argument: $type),*
        ) $(-> $result)? {
            use $crate::network::detector::lanes::Instructions;
            match instructions {
                Instructions::Plain => $body($($argument),*),
                #[cfg(target_arch = "x86_64")]
                Instructions::Avx2(_) => {
                    #[target_feature(enable = "avx2")]
                    fn wide($($argument: $type),*) $(-> $result)? {
                        $body($($argument),*)
                    }
                    // SAFETY: the value exists only where the processor has these instructions.
                    unsafe { wide($($argument),*) }
                }
                #[cfg(target_arch = "x86_64")]
                Instructions::Avx512(_) => {
                    #[target_feature(enable = "avx512f")]
                    fn wide($($argument: $type),*) $(-> $result)? {
                        $body($($argument),*)
                    }
                    // SAFETY: the value exists only where the processor has these instructions.
                    unsafe { wide($($argument),*) }
                }
            }
        }
    };
}

pub(super) use {blocked, looped};

/// The sum over the first `lanes`, always in the same tree.
#[inline(always)]
pub(super) fn total(values: &[f32; LANES], lanes: usize) -> f32 {
    let mut sums = *values;
    for (lane, value) in sums.iter_mut().enumerate() {
        *value = if lane < lanes { *value } else { 0.0 };
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}
