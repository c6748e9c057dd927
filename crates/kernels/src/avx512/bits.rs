//! Codes of one bit, counted by VPOPCNTDQ.

use std::arch::x86_64::*;

use crate::groups::{self, GROUP, Group};

/// Words in a register.
const WORDS: usize = 8;

/// Products of the planes of a query with codes of 1 bit.
struct Planes<'a, const PLANES: usize> {
    planes: &'a [u64],
}

impl<const PLANES: usize> Group<u64> for Planes<'_, PLANES> {
    type Out = u32;

    #[inline(always)]
    unsafe fn answers<const R: usize>(&mut self, rows: &[*const u64; R]) -> [u32; GROUP] {
        let planes = self.planes.as_ptr();
        let words = self.planes.len() / PLANES;
        // SAFETY: masked lanes are not touched; the others are below the length of a plane and of a row. The caller has
        // the features.
        unsafe {
            let mut sums = [_mm512_setzero_si512(); GROUP];
            let mut at = 0;
            while at < words {
                let mask: __mmask8 = if words - at >= WORDS {
                    u8::MAX
                } else {
                    (1 << (words - at)) - 1
                };
                let rows = rows.map(|row| _mm512_maskz_loadu_epi64(mask, row.add(at).cast()));
                let mut counts = [_mm512_setzero_si512(); R];
                // Horner's rule, from the highest plane down.
                for plane in (0..PLANES).rev() {
                    let q = _mm512_maskz_loadu_epi64(mask, planes.add(plane * words + at).cast());
                    for (count, row) in counts.iter_mut().zip(rows) {
                        let shared = _mm512_popcnt_epi64(_mm512_and_si512(row, q));
                        *count = _mm512_add_epi64(_mm512_add_epi64(*count, *count), shared);
                    }
                }
                for (sum, count) in sums.iter_mut().zip(counts) {
                    *sum = _mm512_add_epi64(*sum, count);
                }
                at += WORDS;
            }
            sum_of_four(sums)
        }
    }
}

/// See [`crate::BitsFn`].
///
/// # Safety
/// As [`crate::BitsFn`], on a machine with AVX-512 F and VPOPCNTDQ.
#[target_feature(enable = "avx512f,avx512vpopcntdq,avx2")]
pub(crate) unsafe fn bits_dot<const PLANES: usize>(planes: &[u64], rows: &[*const u64], out: &mut [u32]) {
    // SAFETY: passed on to the caller; this function has the features.
    unsafe { groups::each(&mut Planes::<PLANES> { planes }, rows, out) };
}

/// The four totals of four registers.
#[inline]
#[target_feature(enable = "avx512f,avx2")]
fn sum_of_four([a, b, c, d]: [__m512i; GROUP]) -> [u32; GROUP] {
    let ab = _mm512_add_epi64(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    let cd = _mm512_add_epi64(_mm512_unpacklo_epi64(c, d), _mm512_unpackhi_epi64(c, d));
    let half = |v| _mm256_add_epi64(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64::<1>(v));
    let two = |v| _mm_add_epi64(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
    let (ab, cd) = (two(half(ab)), two(half(cd)));
    let mut sums = [0; GROUP];
    // Totals fit 32 bits: the lower halves are taken.
    let four = _mm_shuffle_ps::<0b10_00_10_00>(_mm_castsi128_ps(ab), _mm_castsi128_ps(cd));
    // SAFETY: the array has four elements.
    unsafe { _mm_storeu_si128(sums.as_mut_ptr().cast(), _mm_castps_si128(four)) };
    sums
}
