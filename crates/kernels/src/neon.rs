//! NEON registers (AArch64).

mod bits;

use std::arch::aarch64::*;

use half::{bf16, f16};

use crate::{
    Number,
    lanes::{Lanes, kernels},
};

pub(crate) use bits::bits_dot;

/// 4 floats of 32 bits.
pub(crate) struct F32;
/// 4 halves, widened.
pub(crate) struct F16;
/// 4 brain floats, widened.
pub(crate) struct Bf16;
/// 2 floats of 64 bits.
pub(crate) struct F64;

macro_rules! neon_lanes {
    ($name:ident, $t:ty, $q:ty, $v:ty, $n:literal, |$from:ident| $load:expr,
     $dup:ident, $ldq:ident, $sub:ident, $add:ident, $fma:ident, $sum:ident) => {
        impl Lanes for $name {
            type T = $t;
            type Q = $q;
            type V = $v;
            const N: usize = $n;
            #[inline(always)]
            unsafe fn zero() -> $v {
                // SAFETY: the caller has the features.
                unsafe { $dup(0.0) }
            }
            #[inline(always)]
            unsafe fn load($from: *const $t) -> $v {
                // SAFETY: the elements are readable; the caller has the features.
                unsafe { $load }
            }
            #[inline(always)]
            unsafe fn load_part(from: *const $t, n: usize) -> $v {
                let mut whole = [<$t>::default(); $n];
                // SAFETY: `n < N` elements are readable, and the copy has N.
                unsafe {
                    std::ptr::copy_nonoverlapping(from, whole.as_mut_ptr(), n);
                    Self::load(whole.as_ptr())
                }
            }
            #[inline(always)]
            unsafe fn load_query(from: *const $q) -> $v {
                // SAFETY: the elements are readable; the caller has the features.
                unsafe { $ldq(from) }
            }
            #[inline(always)]
            unsafe fn sub(a: $v, b: $v) -> $v {
                // SAFETY: the caller has the features.
                unsafe { $sub(a, b) }
            }
            #[inline(always)]
            unsafe fn add(a: $v, b: $v) -> $v {
                // SAFETY: the caller has the features.
                unsafe { $add(a, b) }
            }
            #[inline(always)]
            unsafe fn fma(a: $v, b: $v, c: $v) -> $v {
                // SAFETY: the caller has the features.
                unsafe { $fma(c, a, b) }
            }
            #[inline(always)]
            unsafe fn sum(v: $v) -> f64 {
                // SAFETY: the caller has the features.
                unsafe { $sum(v) }.wide()
            }
        }
    };
}

neon_lanes!(
    F32,
    f32,
    f32,
    float32x4_t,
    4,
    |from| vld1q_f32(from),
    vdupq_n_f32,
    vld1q_f32,
    vsubq_f32,
    vaddq_f32,
    vfmaq_f32,
    vaddvq_f32
);
neon_lanes!(
    Bf16,
    bf16,
    f32,
    float32x4_t,
    4,
    |from| vreinterpretq_f32_u32(vshlq_n_u32::<16>(vmovl_u16(vld1_u16(from.cast())))),
    vdupq_n_f32,
    vld1q_f32,
    vsubq_f32,
    vaddq_f32,
    vfmaq_f32,
    vaddvq_f32
);
neon_lanes!(
    F16,
    f16,
    f32,
    float32x4_t,
    4,
    |from| widen_f16(from),
    vdupq_n_f32,
    vld1q_f32,
    vsubq_f32,
    vaddq_f32,
    vfmaq_f32,
    vaddvq_f32
);
neon_lanes!(
    F64,
    f64,
    f64,
    float64x2_t,
    2,
    |from| vld1q_f64(from),
    vdupq_n_f64,
    vld1q_f64,
    vsubq_f64,
    vaddq_f64,
    vfmaq_f64,
    vaddvq_f64
);

/// Widens four halves with the base instruction set's converter.
///
/// # Safety
/// Four readable halves; NEON.
#[inline(always)]
unsafe fn widen_f16(from: *const f16) -> float32x4_t {
    // SAFETY: `fcvtl` only reads its operand; the caller has four readable halves.
    unsafe {
        let halves = vld1_u16(from.cast());
        let wide: float32x4_t;
        std::arch::asm!(
            "fcvtl {wide:v}.4s, {halves:v}.4h",
            wide = lateout(vreg) wide,
            halves = in(vreg) halves,
            options(pure, nomem, nostack, preserves_flags)
        );
        wide
    }
}

kernels! {
    "neon";
    floats: f32 => F32, f16 => F16, bf16 => Bf16, f64 => F64;
    small: i8, i16, i32, u8, u16, u32;
    plain: i64, u64
}
