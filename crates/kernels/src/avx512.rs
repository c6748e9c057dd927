//! AVX-512 (F, BW, VL, DQ, VNNI) registers.

mod bits;

use std::arch::x86_64::*;

use half::{bf16, f16};

use crate::{
    bytes::Bytes,
    lanes::{Lanes, kernels},
};

pub(crate) use bits::bits_dot;

/// 16 floats of 32 bits.
pub(crate) struct F32;
/// 16 halves, widened.
pub(crate) struct F16;
/// 16 brain floats, widened.
pub(crate) struct Bf16;
/// 8 floats of 64 bits.
pub(crate) struct F64;

macro_rules! ps_lanes {
    ($name:ident, $t:ty, |$from:ident| $load:expr, |$part:ident, $mask:ident| $load_part:expr) => {
        impl Lanes for $name {
            type T = $t;
            type Q = f32;
            type V = __m512;
            const N: usize = 16;
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

ps_lanes!(F32, f32, |from| _mm512_loadu_ps(from), |part, mask| {
    _mm512_maskz_loadu_ps(mask, part)
});
ps_lanes!(
    F16,
    f16,
    |from| _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())),
    |part, mask| _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, part.cast()))
);
ps_lanes!(
    Bf16,
    bf16,
    |from| widen_bf16(_mm256_loadu_si256(from.cast())),
    |part, mask| widen_bf16(_mm256_maskz_loadu_epi16(mask, part.cast()))
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

/// 32 bytes, widened.
pub(crate) struct I8;

impl Bytes for I8 {
    type T = i8;
    type V = __m512i;
    type Sum = __m512i;
    const N: usize = 32;
    #[inline(always)]
    unsafe fn zero() -> __m512i {
        // SAFETY: the caller has the features.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn load(from: *const i8) -> __m512i {
        // SAFETY: 32 elements are readable; the caller has the features.
        unsafe { _mm512_cvtepi8_epi16(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller has the features.
        unsafe { _mm512_sub_epi16(a, b) }
    }
    #[inline(always)]
    unsafe fn multiply_add(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller has the features.
        unsafe { _mm512_dpwssd_epi32(sum, a, b) }
    }
    #[inline(always)]
    unsafe fn total(sum: __m512i) -> i64 {
        // SAFETY: the caller has the features.
        i64::from(unsafe { _mm512_reduce_add_epi32(sum) })
    }
}

/// 32 bytes, widened.
pub(crate) struct U8;

impl Bytes for U8 {
    type T = u8;
    type V = __m512i;
    type Sum = __m512i;
    const N: usize = 32;
    #[inline(always)]
    unsafe fn zero() -> __m512i {
        // SAFETY: the caller has the features.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn load(from: *const u8) -> __m512i {
        // SAFETY: 32 elements are readable; the caller has the features.
        unsafe { _mm512_cvtepu8_epi16(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller has the features.
        unsafe { _mm512_sub_epi16(a, b) }
    }
    #[inline(always)]
    unsafe fn multiply_add(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller has the features.
        unsafe { _mm512_dpwssd_epi32(sum, a, b) }
    }
    #[inline(always)]
    unsafe fn total(sum: __m512i) -> i64 {
        // SAFETY: the caller has the features.
        i64::from(unsafe { _mm512_reduce_add_epi32(sum) })
    }
}

kernels! {
    "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c";
    floats: f32 => F32, f16 => F16, bf16 => Bf16, f64 => F64;
    bytes: i8 => I8, u8 => U8;
    small: i16, i32, u16, u32;
    plain: i64, u64
}

/// See [`crate::CodeFn`].
///
/// # Safety
/// As [`crate::CodeFn`], on a machine with AVX-512 F, BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2")]
pub(crate) unsafe fn code_dot(query: &[i8], rows: &[*const u8], out: &mut [i32]) {
    const GROUP: usize = 4;
    let len = query.len();
    let query = query.as_ptr();
    let (groups, rest) = rows.as_chunks::<GROUP>();
    let (out_groups, out_rest) = out.split_at_mut(rows.len() - rest.len());
    for (rows, out) in groups.iter().zip(out_groups.as_chunks_mut::<GROUP>().0) {
        let mut sums = [_mm512_setzero_si512(); GROUP];
        let mut at = 0;
        while at < len {
            // SAFETY: `at + 64 <= len` because both are multiples of 64, and query and rows have `len` bytes.
            unsafe {
                let q = _mm512_loadu_si512(query.add(at).cast());
                for (sum, row) in sums.iter_mut().zip(rows) {
                    *sum = _mm512_dpbusd_epi32(*sum, _mm512_loadu_si512(row.add(at).cast()), q);
                }
            }
            at += 64;
        }
        let four = sum_of_four(sums);
        // SAFETY: `out` has four elements.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), four) };
    }
    for (row, out) in rest.iter().zip(out_rest) {
        let mut sum = _mm512_setzero_si512();
        let mut at = 0;
        while at < len {
            // SAFETY: as above.
            unsafe {
                let q = _mm512_loadu_si512(query.add(at).cast());
                sum = _mm512_dpbusd_epi32(sum, _mm512_loadu_si512(row.add(at).cast()), q);
            }
            at += 64;
        }
        *out = _mm512_reduce_add_epi32(sum);
    }
}

/// See [`crate::NibbleFn`].
///
/// # Safety
/// As [`crate::NibbleFn`], on a machine with AVX-512 F, BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2")]
pub(crate) unsafe fn nibble_dot(query: &[i8], rows: &[*const u8], out: &mut [i32]) {
    const GROUP: usize = 4;
    let (low, high) = query.split_at(query.len() / 2);
    let mask = _mm512_set1_epi8(15);
    for (rows, out) in rows.chunks(GROUP).zip(out.chunks_mut(GROUP)) {
        // A last group that is not full computes its first row again.
        let mut group = [rows[0]; GROUP];
        group[..rows.len()].copy_from_slice(rows);
        let mut sums = [_mm512_setzero_si512(); GROUP];
        for at in (0..low.len()).step_by(64) {
            // SAFETY: `at + 64` is at most the length of either half, a multiple of 64; a row has as many bytes.
            unsafe {
                let a = _mm512_loadu_si512(low.as_ptr().add(at).cast());
                let b = _mm512_loadu_si512(high.as_ptr().add(at).cast());
                for (sum, row) in sums.iter_mut().zip(group) {
                    let x = _mm512_loadu_si512(row.add(at).cast());
                    *sum = _mm512_dpbusd_epi32(*sum, _mm512_and_si512(x, mask), a);
                    *sum = _mm512_dpbusd_epi32(*sum, _mm512_and_si512(_mm512_srli_epi16::<4>(x), mask), b);
                }
            }
        }
        let mut four = [0; GROUP];
        // SAFETY: the array has four elements.
        unsafe { _mm_storeu_si128(four.as_mut_ptr().cast(), sum_of_four(sums)) };
        out.copy_from_slice(&four[..rows.len()]);
    }
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
