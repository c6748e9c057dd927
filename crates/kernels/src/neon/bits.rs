//! Codes of one bit, counted byte by byte.

use std::arch::aarch64::*;

/// Words in a register.
const WORDS: usize = 2;
/// Planes whose weighted counts fit a byte: 8 · (1 + 2 + 4 + 8) = 120.
const PART: usize = 4;

/// See [`crate::BitsFn`].
///
/// # Safety
/// As [`crate::BitsFn`], on a machine with NEON.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn bits_dot<const PLANES: usize>(planes: &[u64], rows: &[*const u64], out: &mut [u32]) {
    let words = planes.len() / PLANES;
    for (&row, out) in rows.iter().zip(out) {
        let mut sum = vdupq_n_u32(0);
        let mut at = 0;
        while at < words {
            // SAFETY: loads are of words below the length of a plane and of a row.
            unsafe {
                let load = |from: *const u64| {
                    let both = words - at >= WORDS;
                    let high = if both {
                        vld1_u64(from.add(1))
                    } else {
                        vdup_n_u64(0)
                    };
                    vreinterpretq_u8_u64(vcombine_u64(vld1_u64(from), high))
                };
                let x = load(row.add(at));
                // Horner's rule, from the highest plane down: in bytes within a part, then in 32 bits.
                let mut count = vdupq_n_u32(0);
                for part in (0..PLANES.div_ceil(PART)).rev() {
                    let mut bytes = vdupq_n_u8(0);
                    for plane in (part * PART..PLANES.min((part + 1) * PART)).rev() {
                        let q = load(planes.as_ptr().add(plane * words + at));
                        bytes = vaddq_u8(vaddq_u8(bytes, bytes), vcntq_u8(vandq_u8(x, q)));
                    }
                    count = vaddq_u32(
                        vshlq_n_u32::<{ PART as i32 }>(count),
                        vpaddlq_u16(vpaddlq_u8(bytes)),
                    );
                }
                sum = vaddq_u32(sum, count);
            }
            at += WORDS;
        }
        *out = vaddvq_u32(sum);
    }
}
