//! Codes of one bit, counted by VPOPCNTDQ.

use std::arch::x86_64::*;

use crate::groups::GROUP;

/// Words in a register.
const WORDS: usize = 8;

/// See [`crate::BitsFn`].
///
/// # Safety
/// As [`crate::BitsFn`], on a machine with AVX-512 F and VPOPCNTDQ.
#[target_feature(enable = "avx512f,avx512vpopcntdq,avx2")]
pub(crate) unsafe fn bits_dot<const PLANES: usize>(planes: &[u64], rows: &[*const u64], out: &mut [u32]) {
    // Spelt out where [`crate::groups::each`] would do: of so few words its way to write sums shows, by three in a hundred.
    let (groups, rest) = rows.as_chunks::<GROUP>();
    let (out_groups, out_rest) = out.split_at_mut(rows.len() - rest.len());
    // SAFETY: passed on to the caller.
    unsafe {
        for (rows, out) in groups.iter().zip(out_groups.as_chunks_mut::<GROUP>().0) {
            *out = sum_of_four(group::<PLANES, GROUP>(planes, rows));
        }
        let sums = match *rest {
            [a] => {
                let [sum, ..] = group::<PLANES, 1>(planes, &[a]);
                out_rest[0] = _mm512_reduce_add_epi64(sum) as u32;
                return;
            }
            [a, b] => group::<PLANES, 2>(planes, &[a, b]),
            [a, b, c] => group::<PLANES, 3>(planes, &[a, b, c]),
            _ => return,
        };
        out_rest.copy_from_slice(&sum_of_four(sums)[..rest.len()]);
    }
}

/// The sums of `R` rows, at most [`GROUP`], in eight parts each.
///
/// # Safety
/// As [`bits_dot`].
#[inline]
#[target_feature(enable = "avx512f,avx512vpopcntdq,avx2")]
unsafe fn group<const PLANES: usize, const R: usize>(
    planes: &[u64],
    rows: &[*const u64; R],
) -> [__m512i; GROUP] {
    let words = planes.len() / PLANES;
    let mut sums = [_mm512_setzero_si512(); GROUP];
    let mut at = 0;
    while at < words {
        let mask: __mmask8 = if words - at >= WORDS {
            u8::MAX
        } else {
            (1 << (words - at)) - 1
        };
        // SAFETY: masked lanes are not touched; the others are below the length of a plane and of a row.
        unsafe {
            let row = |r: usize| _mm512_maskz_loadu_epi64(mask, rows[r].add(at).cast());
            let rows: [__m512i; R] = std::array::from_fn(row);
            let mut counts = [_mm512_setzero_si512(); R];
            // Horner's rule, from the highest plane down.
            for plane in (0..PLANES).rev() {
                let q = _mm512_maskz_loadu_epi64(mask, planes.as_ptr().add(plane * words + at).cast());
                for (count, row) in counts.iter_mut().zip(rows) {
                    let shared = _mm512_popcnt_epi64(_mm512_and_si512(row, q));
                    *count = _mm512_add_epi64(_mm512_add_epi64(*count, *count), shared);
                }
            }
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum = _mm512_add_epi64(*sum, count);
            }
        }
        at += WORDS;
    }
    sums
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
