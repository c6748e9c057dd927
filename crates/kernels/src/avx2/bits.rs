//! Codes of one bit, counted nibble by nibble in a table (Muła 2008).

use std::arch::x86_64::*;

/// Words in a register.
const WORDS: usize = 4;
/// Planes whose weighted counts fit a byte: 8 · (1 + 2 + 4 + 8) = 120.
const PART: usize = 4;

/// See [`crate::BitsFn`].
///
/// # Safety
/// As [`crate::BitsFn`], on a machine with AVX2.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn bits_dot<const PLANES: usize>(planes: &[u64], rows: &[*const u64], out: &mut [u32]) {
    let words = planes.len() / PLANES;
    for (&row, out) in rows.iter().zip(out) {
        let mut sum = _mm256_setzero_si256();
        let mut at = 0;
        while at < words {
            // SAFETY: loads are of words below the length of a plane and of a row; masked lanes are not touched.
            unsafe {
                let mask = first_words(words - at);
                let load = |from: *const u64| _mm256_maskload_epi64(from.cast(), mask);
                let x = load(row.add(at));
                // Horner's rule, from the highest plane down: in bytes within a part, then in 64 bits.
                let mut count = _mm256_setzero_si256();
                for part in (0..PLANES.div_ceil(PART)).rev() {
                    let mut bytes = _mm256_setzero_si256();
                    for plane in (part * PART..PLANES.min((part + 1) * PART)).rev() {
                        let q = load(planes.as_ptr().add(plane * words + at));
                        let shared = counts(_mm256_and_si256(x, q));
                        bytes = _mm256_add_epi8(_mm256_add_epi8(bytes, bytes), shared);
                    }
                    let eights = _mm256_sad_epu8(bytes, _mm256_setzero_si256());
                    count = _mm256_add_epi64(_mm256_slli_epi64::<{ PART as i32 }>(count), eights);
                }
                sum = _mm256_add_epi64(sum, count);
            }
            at += WORDS;
        }
        let two = _mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
        *out = (_mm_cvtsi128_si64(two) + _mm_extract_epi64::<1>(two)) as u32;
    }
}

/// A mask of the first `words` words, at most a register of them.
#[inline]
#[target_feature(enable = "avx2")]
fn first_words(words: usize) -> __m256i {
    let lanes = _mm256_set_epi64x(3, 2, 1, 0);
    _mm256_cmpgt_epi64(_mm256_set1_epi64x(words.min(WORDS) as i64), lanes)
}

/// Set bits of each byte.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn counts(v: __m256i) -> __m256i {
    let table = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    let mask = _mm256_set1_epi8(15);
    let low = _mm256_shuffle_epi8(table, _mm256_and_si256(v, mask));
    let high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16::<4>(v), mask));
    _mm256_add_epi8(low, high)
}
