//! AVX-512 (F, BW, VL, DQ, VNNI) registers.

mod bits;
pub(crate) mod brain;
mod bytes;
mod codes;
mod words;

use std::arch::x86_64::*;

use half::{bf16, f16};

use crate::{
    lanes::{Lanes, Twins},
    tables::kernels,
};

pub(crate) use bits::bits_dot;
use bytes::{I8, U8};
pub(crate) use codes::{code_dot, nibble_dot};
pub(crate) use words::words;

/// 16 floats of 32 bits.
pub(crate) struct F32;
/// 16 halves, widened.
pub(crate) struct F16;
/// 16 brain floats, widened.
pub(crate) struct Bf16;
/// 16 signed bytes, widened.
pub(crate) struct WideI8;
/// 16 unsigned bytes, widened.
pub(crate) struct WideU8;
/// 8 floats of 64 bits.
pub(crate) struct F64;

macro_rules! ps_lanes {
    ($name:ident, $t:ty, $holds:literal, |$from:ident| $load:expr, |$part:ident, $mask:ident| $load_part:expr) => {
        impl Lanes for $name {
            type T = $t;
            type Q = f32;
            type V = __m512;
            const N: usize = 16;
            const HOLDS: bool = $holds;
            #[inline(always)]
            unsafe fn zero() -> __m512 {
                // SAFETY: the caller has the features.
                unsafe { _mm512_setzero_ps() }
            }
            #[inline(always)]
            unsafe fn load($from: *const $t) -> __m512 {
                // SAFETY: 16 elements are readable; the caller has the features.
                unsafe { $load }
            }
            #[inline(always)]
            unsafe fn load_part($part: *const $t, n: usize) -> __m512 {
                let $mask = (1u16 << n) - 1;
                // SAFETY: masked lanes are not touched; the caller has the features.
                unsafe { $load_part }
            }
            #[inline(always)]
            unsafe fn load_query(from: *const f32) -> __m512 {
                // SAFETY: 16 elements are readable; the caller has the features.
                unsafe { _mm512_loadu_ps(from) }
            }
            #[inline(always)]
            unsafe fn sub(a: __m512, b: __m512) -> __m512 {
                // SAFETY: the caller has the features.
                unsafe { _mm512_sub_ps(a, b) }
            }
            #[inline(always)]
            unsafe fn add(a: __m512, b: __m512) -> __m512 {
                // SAFETY: the caller has the features.
                unsafe { _mm512_add_ps(a, b) }
            }
            #[inline(always)]
            unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
                // SAFETY: the caller has the features.
                unsafe { _mm512_fmadd_ps(a, b, c) }
            }
            #[inline(always)]
            unsafe fn sum(v: __m512) -> f64 {
                // SAFETY: the caller has the features.
                f64::from(unsafe { _mm512_reduce_add_ps(v) })
            }
            #[inline(always)]
            unsafe fn three_sums([a, b, c]: [__m512; 3]) -> [f64; 3] {
                // SAFETY: the caller has the features.
                let [a, b, c, _] = unsafe { Self::sums([a, b, c, Self::zero()]) };
                [a, b, c].map(f64::from)
            }
            #[inline(always)]
            unsafe fn sums(v: [__m512; 4]) -> [f32; 4] {
                // SAFETY: the caller has the features; the array has four elements.
                unsafe {
                    let mut out = [0.0; 4];
                    _mm_storeu_ps(out.as_mut_ptr(), float_sum_of_four(v));
                    out
                }
            }
        }
    };
}

ps_lanes!(F32, f32, false, |from| _mm512_loadu_ps(from), |part, mask| {
    _mm512_maskz_loadu_ps(mask, part)
});
ps_lanes!(
    F16,
    f16,
    true,
    |from| _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())),
    |part, mask| _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, part.cast()))
);
ps_lanes!(
    Bf16,
    bf16,
    false,
    |from| widen_bf16(_mm256_loadu_si256(from.cast())),
    |part, mask| widen_bf16(_mm256_maskz_loadu_epi16(mask, part.cast()))
);

ps_lanes!(
    WideI8,
    i8,
    true,
    |from| _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))),
    |part, mask| _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, part)))
);
ps_lanes!(
    WideU8,
    u8,
    true,
    |from| _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))),
    |part, mask| _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, part.cast())))
);

/// As [`sum_of_four`].
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn float_sum_of_four([a, b, c, d]: [__m512; 4]) -> __m128 {
    let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
    let abcd = _mm512_add_ps(
        _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
        _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)),
    );
    let half = _mm256_add_ps(_mm512_castps512_ps256(abcd), _mm512_extractf32x8_ps::<1>(abcd));
    _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps::<1>(half))
}

/// # Safety
/// AVX-512 F.
#[inline(always)]
unsafe fn widen_bf16(halves: __m256i) -> __m512 {
    // SAFETY: the caller has the features.
    unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves))) }
}

impl Lanes for F64 {
    type T = f64;
    type Q = f64;
    type V = __m512d;
    const N: usize = 8;
    const HOLDS: bool = true;
    #[inline(always)]
    unsafe fn zero() -> __m512d {
        // SAFETY: the caller has the features.
        unsafe { _mm512_setzero_pd() }
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> __m512d {
        // SAFETY: 8 elements are readable; the caller has the features.
        unsafe { _mm512_loadu_pd(from) }
    }
    #[inline(always)]
    unsafe fn load_part(from: *const f64, n: usize) -> __m512d {
        // SAFETY: masked lanes are not touched; the caller has the features.
        unsafe { _mm512_maskz_loadu_pd((1u8 << n) - 1, from) }
    }
    #[inline(always)]
    unsafe fn load_query(from: *const f64) -> __m512d {
        // SAFETY: 8 elements are readable; the caller has the features.
        unsafe { _mm512_loadu_pd(from) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512d, b: __m512d) -> __m512d {
        // SAFETY: the caller has the features.
        unsafe { _mm512_sub_pd(a, b) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512d, b: __m512d) -> __m512d {
        // SAFETY: the caller has the features.
        unsafe { _mm512_add_pd(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512d, b: __m512d, c: __m512d) -> __m512d {
        // SAFETY: the caller has the features.
        unsafe { _mm512_fmadd_pd(a, b, c) }
    }
    #[inline(always)]
    unsafe fn sum(v: __m512d) -> f64 {
        // SAFETY: the caller has the features.
        unsafe { _mm512_reduce_add_pd(v) }
    }
}

impl Twins for F32 {
    #[inline(always)]
    unsafe fn swap(v: __m512) -> __m512 {
        // SAFETY: the caller has the features.
        unsafe { _mm512_permute_ps::<0b10_11_00_01>(v) }
    }
    #[inline(always)]
    unsafe fn alternating_sum(v: __m512) -> f64 {
        // SAFETY: the caller has the features.
        unsafe { Self::sum(_mm512_xor_ps(v, _mm512_castsi512_ps(_mm512_set1_epi64(i64::MIN)))) }
    }
}

impl Twins for F64 {
    #[inline(always)]
    unsafe fn swap(v: __m512d) -> __m512d {
        // SAFETY: the caller has the features.
        unsafe { _mm512_permute_pd::<0b0101_0101>(v) }
    }
    #[inline(always)]
    unsafe fn alternating_sum(v: __m512d) -> f64 {
        // SAFETY: the caller has the features.
        unsafe { Self::sum(_mm512_mask_sub_pd(v, 0b1010_1010, _mm512_setzero_pd(), v)) }
    }
}

kernels! {
    "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c,bmi2";
    floats: f32 => F32, f16 => F16, bf16 => Bf16, f64 => F64;
    complex: Complex64 => F32, Complex128 => F64;
    bytes: i8 => (I8, WideI8), u8 => (U8, WideU8);
    small: i16, i32, u16, u32;
    plain: i64, u64
}

/// The four totals of four registers: transposing while adding costs a third of four separate sums.
#[inline]
#[target_feature(enable = "avx512f")]
fn sum_of_four([a, b, c, d]: [__m512i; 4]) -> __m128i {
    let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    let abcd = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let half = _mm256_add_epi32(_mm512_castsi512_si256(abcd), _mm512_extracti64x4_epi64::<1>(abcd));
    _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
}
