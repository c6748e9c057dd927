//! Codes of 8 and 4 bits, widened to 16 bits: the products of signed by unsigned bytes are an extension of few machines.

use std::arch::aarch64::*;

/// Adds the products of 16 signed and 16 unsigned bytes.
///
/// # Safety
/// NEON.
#[inline]
#[target_feature(enable = "neon")]
fn multiply_add(sums: [int32x4_t; 2], query: int8x16_t, codes: uint8x16_t) -> [int32x4_t; 2] {
    let [low, high] = sums;
    let (q_low, q_high) = (vmovl_s8(vget_low_s8(query)), vmovl_high_s8(query));
    let x_low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(codes)));
    let x_high = vreinterpretq_s16_u16(vmovl_high_u8(codes));
    let low = vmlal_s16(low, vget_low_s16(q_low), vget_low_s16(x_low));
    let high = vmlal_high_s16(high, q_low, x_low);
    let low = vmlal_s16(low, vget_low_s16(q_high), vget_low_s16(x_high));
    [low, vmlal_high_s16(high, q_high, x_high)]
}

/// See [`crate::CodeFn`].
///
/// # Safety
/// As [`crate::CodeFn`], on a machine with NEON.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn code_dot(query: &[i8], rows: &[*const u8], out: &mut [i32]) {
    for (row, out) in rows.iter().zip(out) {
        let mut sums = [vdupq_n_s32(0); 2];
        for at in (0..query.len()).step_by(16) {
            // SAFETY: `at + 16` is at most the length, a multiple of 64; query and row have as many bytes.
            let (q, x) = unsafe { (vld1q_s8(query.as_ptr().add(at)), vld1q_u8(row.add(at))) };
            sums = multiply_add(sums, q, x);
        }
        *out = vaddvq_s32(vaddq_s32(sums[0], sums[1]));
    }
}

/// See [`crate::NibbleFn`].
///
/// # Safety
/// As [`crate::NibbleFn`], on a machine with NEON.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn nibble_dot(query: &[i8], rows: &[*const u8], out: &mut [i32]) {
    let (low, high) = query.split_at(query.len() / 2);
    for (row, out) in rows.iter().zip(out) {
        let mut sums = [vdupq_n_s32(0); 2];
        for at in (0..low.len()).step_by(16) {
            // SAFETY: `at + 16` is at most the length of either half, a multiple of 64; a row has as many bytes.
            let (a, b, x) = unsafe {
                (
                    vld1q_s8(low.as_ptr().add(at)),
                    vld1q_s8(high.as_ptr().add(at)),
                    vld1q_u8(row.add(at)),
                )
            };
            sums = multiply_add(sums, a, vandq_u8(x, vdupq_n_u8(15)));
            sums = multiply_add(sums, b, vshrq_n_u8::<4>(x));
        }
        *out = vaddvq_s32(vaddq_s32(sums[0], sums[1]));
    }
}
