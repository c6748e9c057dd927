//! Codes of 8 and 4 bits.

use std::arch::x86_64::*;

use crate::groups::{self, GROUP, Group};

/// Products of a query with codes of 8 bits, widened to 16: the byte multiply saturates, and codes must mean the same
/// everywhere.
struct Bytes<'a> {
    query: &'a [i8],
}

impl Group<u8> for Bytes<'_> {
    type Out = i32;

    #[inline(always)]
    unsafe fn answers<const R: usize>(&mut self, rows: &[*const u8; R]) -> [i32; GROUP] {
        // SAFETY: `at + 32` is at most the length, a multiple of 64; query and rows have as many bytes. The caller has the
        // features.
        unsafe {
            let mut sums = [_mm256_setzero_si256(); GROUP];
            for at in (0..self.query.len()).step_by(32) {
                let from = self.query.as_ptr().add(at);
                let a = _mm256_cvtepi8_epi16(half(from));
                let b = _mm256_cvtepi8_epi16(half(from.add(16)));
                for (sum, row) in sums.iter_mut().zip(rows) {
                    let x = _mm256_madd_epi16(_mm256_cvtepu8_epi16(half(row.add(at))), a);
                    let y = _mm256_madd_epi16(_mm256_cvtepu8_epi16(half(row.add(at + 16))), b);
                    *sum = _mm256_add_epi32(*sum, _mm256_add_epi32(x, y));
                }
            }
            totals(sums)
        }
    }
}

/// Products of the halves of a query with codes of 4 bits.
struct Nibbles<'a> {
    low: &'a [i8],
    high: &'a [i8],
}

impl Group<u8> for Nibbles<'_> {
    type Out = i32;

    #[inline(always)]
    unsafe fn answers<const R: usize>(&mut self, rows: &[*const u8; R]) -> [i32; GROUP] {
        // SAFETY: `at + 32` is at most the length of either half, a multiple of 64; a row has as many bytes. The caller has
        // the features.
        unsafe {
            let (mask, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
            let mut sums = [_mm256_setzero_si256(); GROUP];
            for at in (0..self.low.len()).step_by(32) {
                let (a, b) = (
                    whole(self.low.as_ptr().add(at)),
                    whole(self.high.as_ptr().add(at)),
                );
                for (sum, row) in sums.iter_mut().zip(rows) {
                    let x = whole(row.add(at));
                    // Products of 4 by 7 bits: two pairs of them cannot saturate 16 bits.
                    let low = _mm256_maddubs_epi16(_mm256_and_si256(x, mask), a);
                    let high = _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16::<4>(x), mask), b);
                    let four = _mm256_madd_epi16(_mm256_add_epi16(low, high), ones);
                    *sum = _mm256_add_epi32(*sum, four);
                }
            }
            totals(sums)
        }
    }
}

/// # Safety
/// AVX2; 32 readable bytes.
#[inline(always)]
unsafe fn whole<T>(from: *const T) -> __m256i {
    // SAFETY: passed on to the caller.
    unsafe { _mm256_loadu_si256(from.cast()) }
}

/// # Safety
/// AVX2; 16 readable bytes.
#[inline(always)]
unsafe fn half<T>(from: *const T) -> __m128i {
    // SAFETY: passed on to the caller.
    unsafe { _mm_loadu_si128(from.cast()) }
}

/// # Safety
/// AVX2.
#[inline(always)]
unsafe fn totals([a, b, c, d]: [__m256i; GROUP]) -> [i32; GROUP] {
    let mut four = [0; GROUP];
    // SAFETY: the array has four elements; the caller has the features.
    unsafe {
        let abcd = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
        let sum = _mm_add_epi32(_mm256_castsi256_si128(abcd), _mm256_extracti128_si256::<1>(abcd));
        _mm_storeu_si128(four.as_mut_ptr().cast(), sum);
    }
    four
}

/// See [`crate::CodeFn`].
///
/// # Safety
/// As [`crate::CodeFn`], on a machine with AVX2.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn code_dot(query: &[i8], rows: &[*const u8], out: &mut [i32]) {
    // SAFETY: passed on to the caller; this function has the features.
    unsafe { groups::each(&mut Bytes { query }, rows, out) };
}

/// See [`crate::NibbleFn`].
///
/// # Safety
/// As [`crate::NibbleFn`], on a machine with AVX2.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn nibble_dot(query: &[i8], rows: &[*const u8], out: &mut [i32]) {
    let (low, high) = query.split_at(query.len() / 2);
    // SAFETY: as above.
    unsafe { groups::each(&mut Nibbles { low, high }, rows, out) };
}
