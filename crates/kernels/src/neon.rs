//! NEON registers (AArch64).

mod bits;
mod codes;
mod words;

use std::arch::aarch64::*;

use half::{bf16, f16};

use crate::{
    Number,
    lanes::{Lanes, Twins},
    tables::kernels,
};

pub(crate) use bits::bits_dot;
pub(crate) use codes::{code_dot, nibble_dot};
pub(crate) use words::words;

/// 4 floats of 32 bits.
pub(crate) struct F32;
/// 4 halves, widened.
pub(crate) struct F16;
/// 4 brain floats, widened.
pub(crate) struct Bf16;
/// 2 floats of 64 bits.
pub(crate) struct F64;

macro_rules! neon_lanes {
    ($name:ident, $t:ty, $q:ty, $v:ty, $n:literal, $holds:literal, |$from:ident| $load:expr,
     $dup:ident, $ldq:ident, $sub:ident, $add:ident, $fma:ident, $sum:ident) => {
        impl Lanes for $name {
            type T = $t;
            type Q = $q;
            type V = $v;
            const N: usize = $n;
            const HOLDS: bool = $holds;
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
    false,
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
    false,
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
    true,
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
    true,
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

impl Twins for F32 {
    #[inline(always)]
    unsafe fn swap(v: float32x4_t) -> float32x4_t {
        // SAFETY: the caller has the features.
        unsafe { vrev64q_f32(v) }
    }
    #[inline(always)]
    unsafe fn alternating_sum(v: float32x4_t) -> f64 {
        // SAFETY: the caller has the features.
        unsafe {
            Self::sum(vreinterpretq_f32_u32(veorq_u32(
                vreinterpretq_u32_f32(v),
                vreinterpretq_u32_u64(vdupq_n_u64(1 << 63)),
            )))
        }
    }
}

impl Twins for F64 {
    #[inline(always)]
    unsafe fn swap(v: float64x2_t) -> float64x2_t {
        // SAFETY: the caller has the features.
        unsafe { vextq_f64::<1>(v, v) }
    }
    #[inline(always)]
    unsafe fn alternating_sum(v: float64x2_t) -> f64 {
        // SAFETY: the caller has the features.
        unsafe { Self::sum(vsetq_lane_f64::<1>(-vgetq_lane_f64::<1>(v), v)) }
    }
}

kernels! {
    "neon";
    floats: f32 => F32, f16 => F16, bf16 => Bf16, f64 => F64;
    complex: Complex64 => F32, Complex128 => F64;
    small: i8, i16, i32, u8, u16, u32;
    plain: i64, u64
}
