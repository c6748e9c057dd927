//! Bytes, multiplied by VNNI without widening.
//!
//! The instruction multiplies unsigned by signed bytes. Flipping the highest bit turns one into the other and adds or
//! takes 128 from each, so that a product is off by 128 times a sum of bytes, which is added up beside and put right
//! at the end. All is exact.

use std::arch::x86_64::*;

use super::sum_of_four;
use crate::{bytes::Products, scalar::cosine_of};

/// Signed bytes.
pub(crate) struct I8;
/// Unsigned bytes.
pub(crate) struct U8;

/// Elements after which sums are taken out: 255² · 2^15 and all that is added on the way stays below 2^31.
const BLOCK: usize = 1 << 15;
/// Bytes in a register.
const N: usize = 64;

/// What is added up of every register of two vectors.
///
/// Functions of a trait, because closures are not always inlined and would then lack the target features.
///
/// # Safety
/// Every function needs AVX-512 F, BW, DQ and VNNI.
trait Steps<const SUMS: usize, const TOTALS: usize> {
    unsafe fn step(sums: &mut [__m512i; SUMS], x: __m512i, y: __m512i);
    /// Totals of the sums, which are of so many bytes, zeros at the end included.
    unsafe fn totals(sums: [__m512i; SUMS], bytes: i32) -> [i32; TOTALS];
}

/// Adds up over both vectors.
///
/// # Safety
/// AVX-512 F, BW, DQ and VNNI, BMI2; `T` is one byte.
#[inline(always)]
unsafe fn walk<S: Steps<SUMS, TOTALS>, T, const SUMS: usize, const TOTALS: usize>(
    a: &[T],
    b: &[T],
) -> [f64; TOTALS] {
    let len = a.len().min(b.len());
    let (a, b) = (a.as_ptr(), b.as_ptr());
    // SAFETY: blocks end at the length at most; the caller has the features.
    unsafe {
        if len <= BLOCK {
            return block::<S, T, SUMS, TOTALS>(a, b, len).map(f64::from);
        }
        let mut totals = [0i64; TOTALS];
        for start in (0..len).step_by(BLOCK) {
            let sums = block::<S, T, SUMS, TOTALS>(a.add(start), b.add(start), BLOCK.min(len - start));
            for (total, sum) in totals.iter_mut().zip(sums) {
                *total += i64::from(sum);
            }
        }
        totals.map(|total| total as f64)
    }
}

/// Totals of at most [`BLOCK`] bytes; the last registers are filled up with zeros.
///
/// # Safety
/// As [`walk`]; `len` readable bytes at `a` and `b`.
#[inline(always)]
unsafe fn block<S: Steps<SUMS, TOTALS>, T, const SUMS: usize, const TOTALS: usize>(
    a: *const T,
    b: *const T,
    len: usize,
) -> [i32; TOTALS] {
    // SAFETY: loads are of bytes below the length, masked where the register reaches beyond; the caller has the
    // features.
    unsafe {
        let mut sums = [_mm512_setzero_si512(); SUMS];
        let mut at = 0;
        // A second chain would take longer to join than it saves a vector of two registers.
        if len >= 2 * N {
            let mut odd = sums;
            while at + 2 * N <= len {
                S::step(&mut sums, load(a.add(at)), load(b.add(at)));
                S::step(&mut odd, load(a.add(at + N)), load(b.add(at + N)));
                at += 2 * N;
            }
            for (sum, odd) in sums.iter_mut().zip(odd) {
                *sum = _mm512_add_epi32(*sum, odd);
            }
        }
        if at + N <= len {
            S::step(&mut sums, load(a.add(at)), load(b.add(at)));
            at += N;
        }
        if at < len {
            let mask = _bzhi_u64(u64::MAX, (len - at) as u32);
            let x = _mm512_maskz_loadu_epi8(mask, a.add(at).cast());
            let y = _mm512_maskz_loadu_epi8(mask, b.add(at).cast());
            S::step(&mut sums, x, y);
        }
        S::totals(sums, len.next_multiple_of(N) as i32)
    }
}

/// # Safety
/// AVX-512 F; 64 readable bytes.
#[inline(always)]
unsafe fn load<T>(from: *const T) -> __m512i {
    // SAFETY: passed on to the caller.
    unsafe { _mm512_loadu_si512(from.cast()) }
}

/// # Safety
/// AVX-512 F.
#[inline(always)]
unsafe fn flip(v: __m512i) -> __m512i {
    // SAFETY: the caller has the features.
    unsafe { _mm512_xor_si512(v, _mm512_set1_epi8(i8::MIN)) }
}

/// Adds unsigned bytes to sums of 64 bits that stay below 2^31.
///
/// # Safety
/// AVX-512 F and BW.
#[inline(always)]
unsafe fn add_bytes(sum: __m512i, v: __m512i) -> __m512i {
    // SAFETY: the caller has the features.
    unsafe { _mm512_add_epi64(sum, _mm512_sad_epu8(v, _mm512_setzero_si512())) }
}

/// 128 times each sum.
///
/// # Safety
/// AVX-512 F.
#[inline(always)]
unsafe fn times_128(v: __m512i) -> __m512i {
    // SAFETY: the caller has the features.
    unsafe { _mm512_slli_epi32::<7>(v) }
}

/// Adds squares of unsigned bytes to the first sum, less 128 times what is added to the second.
///
/// # Safety
/// AVX-512 F, BW and VNNI.
#[inline(always)]
unsafe fn add_squares([squares, bytes]: &mut [__m512i; 2], v: __m512i) {
    // SAFETY: the caller has the features.
    unsafe {
        *squares = _mm512_dpbusd_epi32(*squares, v, flip(v));
        *bytes = add_bytes(*bytes, v);
    }
}

/// Puts right sums of products that are too small by 128 times those of bytes.
///
/// # Safety
/// AVX-512 F.
#[inline(always)]
unsafe fn total([products, bytes]: [__m512i; 2]) -> [i32; 1] {
    // SAFETY: the caller has the features.
    unsafe {
        [_mm512_reduce_add_epi32(_mm512_add_epi32(
            products,
            times_128(bytes),
        ))]
    }
}

/// The sums a·b, a·a, b·b and those of the bytes of `a` and `b`, of one register: `a` and `b` unsigned, `c` and `d` the
/// same signed.
///
/// # Safety
/// AVX-512 F, BW and VNNI.
#[inline(always)]
unsafe fn add_products(sums: &mut [__m512i; 5], [a, b]: [__m512i; 2], [c, d]: [__m512i; 2]) {
    // SAFETY: the caller has the features.
    unsafe {
        sums[0] = _mm512_dpbusd_epi32(sums[0], a, d);
        sums[1] = _mm512_dpbusd_epi32(sums[1], a, c);
        sums[2] = _mm512_dpbusd_epi32(sums[2], b, d);
        sums[3] = add_bytes(sums[3], a);
        sums[4] = add_bytes(sums[4], b);
    }
}

/// # Safety
/// AVX-512 F and DQ.
#[inline(always)]
unsafe fn three_totals(ab: __m512i, aa: __m512i, bb: __m512i) -> [i32; 3] {
    let mut four = [0; 4];
    // SAFETY: the array has four elements; the caller has the features.
    unsafe {
        let sums = sum_of_four([ab, aa, bb, _mm512_setzero_si512()]);
        _mm_storeu_si128(four.as_mut_ptr().cast(), sums);
    }
    [four[0], four[1], four[2]]
}

/// Squared differences of unsigned bytes.
struct L2U8;

impl Steps<2, 1> for L2U8 {
    #[inline(always)]
    unsafe fn step(sums: &mut [__m512i; 2], x: __m512i, y: __m512i) {
        // SAFETY: the caller has the features.
        unsafe {
            add_squares(
                sums,
                _mm512_or_si512(_mm512_subs_epu8(x, y), _mm512_subs_epu8(y, x)),
            );
        }
    }
    #[inline(always)]
    unsafe fn totals(sums: [__m512i; 2], _: i32) -> [i32; 1] {
        // SAFETY: the caller has the features.
        unsafe { total(sums) }
    }
}

/// Squared differences of signed bytes: up to 255, so unsigned.
struct L2I8;

impl Steps<2, 1> for L2I8 {
    #[inline(always)]
    unsafe fn step(sums: &mut [__m512i; 2], x: __m512i, y: __m512i) {
        // SAFETY: the caller has the features.
        unsafe {
            add_squares(
                sums,
                _mm512_sub_epi8(_mm512_max_epi8(x, y), _mm512_min_epi8(x, y)),
            );
        }
    }
    #[inline(always)]
    unsafe fn totals(sums: [__m512i; 2], _: i32) -> [i32; 1] {
        // SAFETY: the caller has the features.
        unsafe { total(sums) }
    }
}

/// Products of unsigned bytes.
struct DotU8;

impl Steps<2, 1> for DotU8 {
    #[inline(always)]
    unsafe fn step(sums: &mut [__m512i; 2], x: __m512i, y: __m512i) {
        // SAFETY: the caller has the features.
        unsafe {
            sums[0] = _mm512_dpbusd_epi32(sums[0], x, flip(y));
            sums[1] = add_bytes(sums[1], x);
        }
    }
    #[inline(always)]
    unsafe fn totals(sums: [__m512i; 2], _: i32) -> [i32; 1] {
        // SAFETY: the caller has the features.
        unsafe { total(sums) }
    }
}

/// Products of signed bytes.
struct DotI8;

impl Steps<2, 1> for DotI8 {
    #[inline(always)]
    unsafe fn step(sums: &mut [__m512i; 2], x: __m512i, y: __m512i) {
        // SAFETY: the caller has the features.
        unsafe {
            sums[0] = _mm512_dpbusd_epi32(sums[0], flip(x), y);
            sums[1] = _mm512_dpbusd_epi32(sums[1], _mm512_set1_epi8(1), y);
        }
    }
    #[inline(always)]
    unsafe fn totals(sums: [__m512i; 2], _: i32) -> [i32; 1] {
        // SAFETY: the caller has the features.
        unsafe {
            [_mm512_reduce_add_epi32(_mm512_sub_epi32(
                sums[0],
                times_128(sums[1]),
            ))]
        }
    }
}

/// Products of unsigned bytes with each other and with themselves.
struct CosineU8;

impl Steps<5, 3> for CosineU8 {
    #[inline(always)]
    unsafe fn step(sums: &mut [__m512i; 5], x: __m512i, y: __m512i) {
        // SAFETY: the caller has the features.
        unsafe {
            add_products(sums, [x, y], [flip(x), flip(y)]);
        }
    }
    #[inline(always)]
    unsafe fn totals(sums: [__m512i; 5], _: i32) -> [i32; 3] {
        // SAFETY: the caller has the features.
        unsafe {
            let [ab, aa, bb, a, b] = sums;
            let (a, b) = (times_128(a), times_128(b));
            three_totals(
                _mm512_add_epi32(ab, a),
                _mm512_add_epi32(aa, a),
                _mm512_add_epi32(bb, b),
            )
        }
    }
}

/// Products of signed bytes with each other and with themselves.
struct CosineI8;

impl Steps<5, 3> for CosineI8 {
    #[inline(always)]
    unsafe fn step(sums: &mut [__m512i; 5], x: __m512i, y: __m512i) {
        // SAFETY: the caller has the features.
        unsafe {
            add_products(sums, [flip(x), flip(y)], [x, y]);
        }
    }
    #[inline(always)]
    unsafe fn totals(sums: [__m512i; 5], bytes: i32) -> [i32; 3] {
        // SAFETY: the caller has the features.
        unsafe {
            let [ab, aa, bb, a, b] = sums;
            let (a, b) = (times_128(a), times_128(b));
            // The bytes' sums are too large by 128 each, so what they take away is too large by 128².
            three_totals(
                _mm512_sub_epi32(ab, b),
                _mm512_sub_epi32(aa, a),
                _mm512_sub_epi32(bb, b),
            )
            .map(|total| total.wrapping_add(bytes << 14))
        }
    }
}

impl Products for U8 {
    type T = u8;

    #[inline(always)]
    unsafe fn l2(a: &[u8], b: &[u8]) -> f64 {
        // SAFETY: the caller has the features.
        let [sum] = unsafe { walk::<L2U8, u8, 2, 1>(a, b) };
        sum
    }

    #[inline(always)]
    unsafe fn dot(a: &[u8], b: &[u8]) -> f64 {
        // SAFETY: the caller has the features.
        let [sum] = unsafe { walk::<DotU8, u8, 2, 1>(a, b) };
        sum
    }

    #[inline(always)]
    unsafe fn cosine(a: &[u8], b: &[u8]) -> f64 {
        // SAFETY: the caller has the features.
        let [ab, aa, bb] = unsafe { walk::<CosineU8, u8, 5, 3>(a, b) };
        cosine_of(ab, aa, bb)
    }
}

impl Products for I8 {
    type T = i8;

    #[inline(always)]
    unsafe fn l2(a: &[i8], b: &[i8]) -> f64 {
        // SAFETY: the caller has the features.
        let [sum] = unsafe { walk::<L2I8, i8, 2, 1>(a, b) };
        sum
    }

    #[inline(always)]
    unsafe fn dot(a: &[i8], b: &[i8]) -> f64 {
        // SAFETY: the caller has the features.
        let [sum] = unsafe { walk::<DotI8, i8, 2, 1>(a, b) };
        sum
    }

    #[inline(always)]
    unsafe fn cosine(a: &[i8], b: &[i8]) -> f64 {
        // SAFETY: the caller has the features.
        let [ab, aa, bb] = unsafe { walk::<CosineI8, i8, 5, 3>(a, b) };
        cosine_of(ab, aa, bb)
    }
}
