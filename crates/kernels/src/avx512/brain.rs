//! Brain floats: pairs multiplied by AVX512-BF16 where the machine has it; differences of widened ones.

use std::arch::x86_64::*;

use half::bf16;

use super::float_sum_of_four;
use crate::{
    lane_pairs::checked_cosine,
    tables::pair_of,
    wide::{self, is_sound},
};

/// Elements in a register.
const N: usize = 32;

/// What is added up of every register of two vectors.
///
/// Functions of a trait, because closures are not always inlined and would then lack the target features.
///
/// # Safety
/// AVX-512 F, BW and BF16.
trait Steps<const SUMS: usize> {
    unsafe fn step(sums: &mut [__m512; SUMS], x: __m512i, y: __m512i);
}

/// Adds up over both vectors: in two chains where they are long, which take time to join. The last registers are filled up
/// with zeros.
///
/// # Safety
/// AVX-512 F, BW and BF16, BMI2.
#[inline(always)]
unsafe fn walk<S: Steps<SUMS>, const SUMS: usize>(a: &[bf16], b: &[bf16]) -> [__m512; SUMS] {
    const LONG: usize = 4 * N;
    let len = a.len().min(b.len());
    let (a, b) = (a.as_ptr(), b.as_ptr());
    // SAFETY: every load is of elements below `len`, masked where the register reaches beyond; the caller has the
    // features.
    unsafe {
        let mut sums = [_mm512_setzero_ps(); SUMS];
        let mut at = 0;
        if len >= LONG {
            let mut odd = sums;
            while at + 2 * N <= len {
                S::step(&mut sums, load(a.add(at)), load(b.add(at)));
                S::step(&mut odd, load(a.add(at + N)), load(b.add(at + N)));
                at += 2 * N;
            }
            for (sum, odd) in sums.iter_mut().zip(odd) {
                *sum = _mm512_add_ps(*sum, odd);
            }
        }
        while at + N <= len {
            S::step(&mut sums, load(a.add(at)), load(b.add(at)));
            at += N;
        }
        if at < len {
            let mask = _bzhi_u32(u32::MAX, (len - at) as u32);
            let x = _mm512_maskz_loadu_epi16(mask, a.add(at).cast());
            let y = _mm512_maskz_loadu_epi16(mask, b.add(at).cast());
            S::step(&mut sums, x, y);
        }
        sums
    }
}

/// # Safety
/// AVX-512 F; 32 readable elements.
#[inline(always)]
unsafe fn load(from: *const bf16) -> __m512i {
    // SAFETY: passed on to the caller.
    unsafe { _mm512_loadu_si512(from.cast()) }
}

/// Adds the products of neighbouring pairs.
///
/// # Safety
/// AVX512-BF16.
#[inline(always)]
unsafe fn multiply_add(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
    // SAFETY: registers of any type have the same bits; the caller has the features.
    unsafe {
        _mm512_dpbf16_ps(
            sum,
            std::mem::transmute::<__m512i, __m512bh>(a),
            std::mem::transmute::<__m512i, __m512bh>(b),
        )
    }
}

/// Products.
struct Dot;
/// Products with each other and with themselves.
struct Cosine;
/// Squared differences, apart for even and odd elements: `x` is widened by a shift or a mask, and the multiplication adds
/// `-1 · y`, in one rounding, which takes two instructions less than widening `y` as well.
struct L2;

impl Steps<1> for Dot {
    #[inline(always)]
    unsafe fn step([sum]: &mut [__m512; 1], x: __m512i, y: __m512i) {
        // SAFETY: the caller has the features.
        unsafe { *sum = multiply_add(*sum, x, y) };
    }
}

impl Steps<3> for Cosine {
    #[inline(always)]
    unsafe fn step([ab, aa, bb]: &mut [__m512; 3], x: __m512i, y: __m512i) {
        // SAFETY: the caller has the features.
        unsafe {
            *ab = multiply_add(*ab, x, y);
            *aa = multiply_add(*aa, x, x);
            *bb = multiply_add(*bb, y, y);
        }
    }
}

impl Steps<2> for L2 {
    #[inline(always)]
    unsafe fn step([evens, odds]: &mut [__m512; 2], x: __m512i, y: __m512i) {
        // SAFETY: the caller has the features.
        unsafe {
            let even = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(x));
            let odd = _mm512_castsi512_ps(_mm512_and_si512(x, of_pairs(0, 0xFFFF)));
            let even = multiply_add(even, y, of_pairs(MINUS_ONE, 0));
            let odd = multiply_add(odd, y, of_pairs(0, MINUS_ONE));
            *evens = _mm512_fmadd_ps(even, even, *evens);
            *odds = _mm512_fmadd_ps(odd, odd, *odds);
        }
    }
}

/// The bits of -1.
const MINUS_ONE: u16 = 0xBF80;

/// The same even and odd elements all over.
///
/// # Safety
/// AVX-512 F.
#[inline(always)]
unsafe fn of_pairs(even: u16, odd: u16) -> __m512i {
    // SAFETY: the caller has the features.
    unsafe { _mm512_set1_epi32((u32::from(odd) << 16 | u32::from(even)) as i32) }
}

/// # Safety
/// AVX512-BF16, BMI2.
#[inline(always)]
unsafe fn product(a: &[bf16], b: &[bf16]) -> f64 {
    // SAFETY: the caller has the features.
    let sum = unsafe {
        let [sum] = walk::<Dot, 1>(a, b);
        f64::from(_mm512_reduce_add_ps(sum))
    };
    if is_sound(sum) { sum } else { wide::dot(a, b) }
}

/// # Safety
/// AVX512-BF16, BMI2.
#[inline(always)]
unsafe fn angle(a: &[bf16], b: &[bf16]) -> f64 {
    let mut four = [0.0f32; 4];
    // SAFETY: the array has four elements; the caller has the features.
    unsafe {
        let [ab, aa, bb] = walk::<Cosine, 3>(a, b);
        _mm_storeu_ps(
            four.as_mut_ptr(),
            float_sum_of_four([ab, aa, bb, _mm512_setzero_ps()]),
        );
    }
    let [ab, aa, bb, _] = four;
    checked_cosine(false, a, b, [ab.into(), aa.into(), bb.into()])
}

/// # Safety
/// AVX512-BF16, BMI2.
#[inline(always)]
unsafe fn distance(a: &[bf16], b: &[bf16]) -> f64 {
    // SAFETY: the caller has the features.
    let sum = unsafe {
        let [evens, odds] = walk::<L2, 2>(a, b);
        f64::from(_mm512_reduce_add_ps(_mm512_add_ps(evens, odds)))
    };
    if is_sound(sum) { sum } else { wide::l2(a, b) }
}

pair_of! { "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,bmi2"; extended, bf16; |a, b|
    distance(a, b), product(a, b), angle(a, b)
}

/// The kernels of pairs.
///
/// # Safety
/// The machine must have the instruction set.
pub(crate) unsafe fn pair() -> crate::Pair<bf16> {
    // SAFETY: the extension has been looked for; the rest is passed on to the caller.
    unsafe {
        if crate::dispatch::has_bf16() {
            extended()
        } else {
            super::pair::bf16()
        }
    }
}
