//! AVX2 registers, with FMA and F16C.

mod bits;
mod codes;
mod words;

use std::arch::x86_64::*;

use half::{bf16, f16};

use crate::{
    bytes::Bytes,
    lanes::{Lanes, Twins},
    tables::kernels,
};

pub(crate) use bits::bits_dot;
pub(crate) use codes::{code_dot, nibble_dot};
pub(crate) use words::words;

/// 8 floats of 32 bits.
pub(crate) struct F32;
/// 8 halves, widened.
pub(crate) struct F16;
/// 8 brain floats, widened.
pub(crate) struct Bf16;
/// 8 signed bytes, widened.
pub(crate) struct WideI8;
/// 8 unsigned bytes, widened.
pub(crate) struct WideU8;
/// 4 floats of 64 bits.
pub(crate) struct F64;

macro_rules! ps_lanes {
    ($name:ident, $t:ty, $holds:literal, |$from:ident| $load:expr) => {
        impl Lanes for $name {
            type T = $t;
            type Q = f32;
            type V = __m256;
            const N: usize = 8;
            const HOLDS: bool = $holds;
            const RUN_AHEAD: usize = 0;
            #[inline(always)]
            unsafe fn zero() -> __m256 {
                // SAFETY: the caller has the features.
                unsafe { _mm256_setzero_ps() }
            }
            #[inline(always)]
            unsafe fn load($from: *const $t) -> __m256 {
                // SAFETY: 8 elements are readable; the caller has the features.
                unsafe { $load }
            }
            #[inline(always)]
            unsafe fn load_part(from: *const $t, n: usize) -> __m256 {
                let mut whole = [<$t>::default(); 8];
                // SAFETY: `n < 8` elements are readable, and the copy has eight.
                unsafe {
                    std::ptr::copy_nonoverlapping(from, whole.as_mut_ptr(), n);
                    Self::load(whole.as_ptr())
                }
            }
            #[inline(always)]
            unsafe fn load_query(from: *const f32) -> __m256 {
                // SAFETY: 8 elements are readable; the caller has the features.
                unsafe { _mm256_loadu_ps(from) }
            }
            #[inline(always)]
            unsafe fn sub(a: __m256, b: __m256) -> __m256 {
                // SAFETY: the caller has the features.
                unsafe { _mm256_sub_ps(a, b) }
            }
            #[inline(always)]
            unsafe fn add(a: __m256, b: __m256) -> __m256 {
                // SAFETY: the caller has the features.
                unsafe { _mm256_add_ps(a, b) }
            }
            #[inline(always)]
            unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
                // SAFETY: the caller has the features.
                unsafe { _mm256_fmadd_ps(a, b, c) }
            }
            #[inline(always)]
            unsafe fn sum(v: __m256) -> f64 {
                // SAFETY: the caller has the features.
                unsafe {
                    let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
                    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                    f64::from(_mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two))))
                }
            }
            #[inline(always)]
            unsafe fn sums(v: [__m256; 4]) -> [f32; 4] {
                // SAFETY: the caller has the features; the array has four elements.
                unsafe {
                    let mut out = [0.0; 4];
                    _mm_storeu_ps(out.as_mut_ptr(), sum_of_four(v));
                    out
                }
            }
            #[inline(always)]
            unsafe fn three_sums([a, b, c]: [__m256; 3]) -> [f64; 3] {
                // SAFETY: the caller has the features.
                let [a, b, c, _] = unsafe { Self::sums([a, b, c, c]) };
                [f64::from(a), f64::from(b), f64::from(c)]
            }
        }
    };
}

/// The sums of four registers.
#[inline]
#[target_feature(enable = "avx2")]
fn sum_of_four([a, b, c, d]: [__m256; 4]) -> __m128 {
    let abcd = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    _mm_add_ps(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps::<1>(abcd))
}

ps_lanes!(F32, f32, false, |from| _mm256_loadu_ps(from));
ps_lanes!(F16, f16, true, |from| _mm256_cvtph_ps(_mm_loadu_si128(
    from.cast()
)));
ps_lanes!(Bf16, bf16, false, |from| {
    let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
});

ps_lanes!(WideI8, i8, true, |from| {
    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast())))
});
ps_lanes!(WideU8, u8, true, |from| {
    _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast())))
});

impl Lanes for F64 {
    type T = f64;
    type Q = f64;
    type V = __m256d;
    const N: usize = 4;
    const HOLDS: bool = true;
    const RUN_AHEAD: usize = 0;
    #[inline(always)]
    unsafe fn zero() -> __m256d {
        // SAFETY: the caller has the features.
        unsafe { _mm256_setzero_pd() }
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> __m256d {
        // SAFETY: 4 elements are readable; the caller has the features.
        unsafe { _mm256_loadu_pd(from) }
    }
    #[inline(always)]
    unsafe fn load_part(from: *const f64, n: usize) -> __m256d {
        let mut whole = [0.0; 4];
        // SAFETY: `n < 4` elements are readable, and the copy has four.
        unsafe {
            std::ptr::copy_nonoverlapping(from, whole.as_mut_ptr(), n);
            Self::load(whole.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn load_query(from: *const f64) -> __m256d {
        // SAFETY: 4 elements are readable; the caller has the features.
        unsafe { _mm256_loadu_pd(from) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m256d, b: __m256d) -> __m256d {
        // SAFETY: the caller has the features.
        unsafe { _mm256_sub_pd(a, b) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256d, b: __m256d) -> __m256d {
        // SAFETY: the caller has the features.
        unsafe { _mm256_add_pd(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m256d, b: __m256d, c: __m256d) -> __m256d {
        // SAFETY: the caller has the features.
        unsafe { _mm256_fmadd_pd(a, b, c) }
    }
    #[inline(always)]
    unsafe fn sum(v: __m256d) -> f64 {
        // SAFETY: the caller has the features.
        unsafe {
            let two = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd::<1>(v));
            _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
        }
    }
}

/// 16 signed bytes, widened.
pub(crate) struct I8;
/// 16 unsigned bytes, widened.
pub(crate) struct U8;

macro_rules! wide_bytes {
    ($name:ident, $t:ty, $widen:ident) => {
        impl Bytes for $name {
            type T = $t;
            type V = __m256i;
            type Sum = __m256i;
            const N: usize = 16;
            #[inline(always)]
            unsafe fn zero() -> __m256i {
                // SAFETY: the caller has the features.
                unsafe { _mm256_setzero_si256() }
            }
            #[inline(always)]
            unsafe fn load(from: *const $t) -> __m256i {
                // SAFETY: 16 elements are readable; the caller has the features.
                unsafe { $widen(_mm_loadu_si128(from.cast())) }
            }
            #[inline(always)]
            unsafe fn sub(a: __m256i, b: __m256i) -> __m256i {
                // SAFETY: the caller has the features.
                unsafe { _mm256_sub_epi16(a, b) }
            }
            #[inline(always)]
            unsafe fn multiply_add(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
                // SAFETY: the caller has the features.
                unsafe { _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)) }
            }
            #[inline(always)]
            unsafe fn total(sum: __m256i) -> i64 {
                // SAFETY: the caller has the features.
                i64::from(unsafe { sum_of_one(sum) })
            }
        }
    };
}

wide_bytes!(I8, i8, _mm256_cvtepi8_epi16);
wide_bytes!(U8, u8, _mm256_cvtepu8_epi16);

impl Twins for F32 {
    #[inline(always)]
    unsafe fn swap(v: __m256) -> __m256 {
        // SAFETY: the caller has the features.
        unsafe { _mm256_permute_ps::<0b10_11_00_01>(v) }
    }
    #[inline(always)]
    unsafe fn alternating_sum(v: __m256) -> f64 {
        // SAFETY: the caller has the features.
        unsafe {
            Self::sum(_mm256_xor_ps(
                v,
                _mm256_castsi256_ps(_mm256_set1_epi64x(i64::MIN)),
            ))
        }
    }
}

impl Twins for F64 {
    #[inline(always)]
    unsafe fn swap(v: __m256d) -> __m256d {
        // SAFETY: the caller has the features.
        unsafe { _mm256_permute_pd::<0b0101>(v) }
    }
    #[inline(always)]
    unsafe fn alternating_sum(v: __m256d) -> f64 {
        // SAFETY: the caller has the features.
        unsafe { Self::sum(_mm256_xor_pd(v, _mm256_setr_pd(0.0, -0.0, 0.0, -0.0))) }
    }
}

kernels! {
    "avx2,fma,f16c";
    floats: f32 => F32, f16 => F16, bf16 => Bf16, f64 => F64;
    complex: Complex64 => F32, Complex128 => F64;
    bytes: i8 => (I8, WideI8), u8 => (U8, WideU8);
    small: i16, i32, u16, u32;
    plain: i64, u64
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum_of_one(sum: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<1>(two)))
}
