//! Codes of 8 and 4 bits, multiplied by VNNI: products of unsigned by signed bytes.

use std::arch::x86_64::*;

use super::sum_of_four;
use crate::groups::{self, GROUP, Group};

/// Products of a query with codes of 8 bits.
struct Bytes<'a> {
    query: &'a [i8],
}

impl Group<u8> for Bytes<'_> {
    type Out = i32;

    #[inline(always)]
    unsafe fn answers<const R: usize>(&mut self, rows: &[*const u8; R]) -> [i32; GROUP] {
        // SAFETY: `at + 64` is at most the length, a multiple of 64; query and rows have as many bytes. The caller has the
        // features.
        unsafe {
            let mut sums = [_mm512_setzero_si512(); GROUP];
            for at in (0..self.query.len()).step_by(64) {
                let q = load(self.query.as_ptr().add(at));
                for (sum, row) in sums.iter_mut().zip(rows) {
                    *sum = _mm512_dpbusd_epi32(*sum, load(row.add(at)), q);
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
        // SAFETY: `at + 64` is at most the length of either half, a multiple of 64; a row has as many bytes. The caller has
        // the features.
        unsafe {
            let mask = _mm512_set1_epi8(15);
            let mut sums = [_mm512_setzero_si512(); GROUP];
            for at in (0..self.low.len()).step_by(64) {
                let (a, b) = (load(self.low.as_ptr().add(at)), load(self.high.as_ptr().add(at)));
                for (sum, row) in sums.iter_mut().zip(rows) {
                    let x = load(row.add(at));
                    *sum = _mm512_dpbusd_epi32(*sum, _mm512_and_si512(x, mask), a);
                    *sum = _mm512_dpbusd_epi32(*sum, _mm512_and_si512(_mm512_srli_epi16::<4>(x), mask), b);
                }
            }
            totals(sums)
        }
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
unsafe fn totals(sums: [__m512i; GROUP]) -> [i32; GROUP] {
    let mut four = [0; GROUP];
    // SAFETY: the array has four elements; the caller has the features.
    unsafe { _mm_storeu_si128(four.as_mut_ptr().cast(), sum_of_four(sums)) };
    four
}

/// See [`crate::CodeFn`].
///
/// # Safety
/// As [`crate::CodeFn`], on a machine with AVX-512 F, BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2")]
pub(crate) unsafe fn code_dot(query: &[i8], rows: &[*const u8], out: &mut [i32]) {
    // SAFETY: passed on to the caller; this function has the features.
    unsafe { groups::each(&mut Bytes { query }, rows, out) };
}

/// See [`crate::NibbleFn`].
///
/// # Safety
/// As [`crate::NibbleFn`], on a machine with AVX-512 F, BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2")]
pub(crate) unsafe fn nibble_dot(query: &[i8], rows: &[*const u8], out: &mut [i32]) {
    let (low, high) = query.split_at(query.len() / 2);
    // SAFETY: as above.
    unsafe { groups::each(&mut Nibbles { low, high }, rows, out) };
}
