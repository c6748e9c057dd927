//! One vector against one, over the registers of [`crate::lanes`].
//!
//! # Error
//! See [`crate::Pair`]. Sums that overflowed, and sums of 32 bits that are so small that what underflowed could count, are
//! done again in 64 bits; so are norms below a cosine.

use crate::{
    Complex128, Number,
    lanes::{Lanes, Step, Twins},
    scalar::cosine_of,
    wide::{self, is_sound},
};

/// Registers that are added to in turn, so that one addition need not wait for the last.
const CHAINS: usize = 4;

/// Calls `step` with every register of both vectors and the chain to add to; the last is filled up with zeros.
///
/// # Safety
/// The target features of `L`; `len` readable elements at `a` and `b`.
#[inline(always)]
unsafe fn walk<L: Lanes>(
    a: *const L::T,
    b: *const L::T,
    len: usize,
    mut step: impl FnMut(usize, L::V, L::V),
) {
    // SAFETY: every load is of elements below `len`; the caller has the target features.
    unsafe {
        let mut at = 0;
        while at + CHAINS * L::N <= len {
            for chain in 0..CHAINS {
                let at = at + chain * L::N;
                step(chain, L::load(a.add(at)), L::load(b.add(at)));
            }
            at += CHAINS * L::N;
        }
        // Each register has a chain that is known here: one chosen as the program runs would live in memory.
        for chain in 0..CHAINS - 1 {
            if at + L::N <= len {
                step(chain, L::load(a.add(at)), L::load(b.add(at)));
                at += L::N;
            }
        }
        if at < len {
            let rest = len - at;
            step(
                CHAINS - 1,
                L::load_part(a.add(at), rest),
                L::load_part(b.add(at), rest),
            );
        }
    }
}

/// # Safety
/// The target features of `L`.
#[inline(always)]
unsafe fn join<L: Lanes>([a, b, c, d]: [L::V; CHAINS]) -> L::V {
    // SAFETY: the caller has the target features.
    unsafe { L::add(L::add(a, b), L::add(c, d)) }
}

/// One sum over a pair of vectors of any length.
///
/// # Safety
/// The target features of `L`.
#[inline(always)]
unsafe fn sum<L: Lanes, S: Step<L>>(a: &[L::T], b: &[L::T]) -> f64 {
    // SAFETY: as many elements as the shorter vector has; the caller has the target features.
    unsafe {
        let mut sums = [L::zero(); CHAINS];
        walk::<L>(a.as_ptr(), b.as_ptr(), a.len().min(b.len()), |chain, x, y| {
            sums[chain] = S::step(x, y, sums[chain]);
        });
        L::sum(join::<L>(sums))
    }
}

/// Whether nothing was lost in a sum but by rounding.
#[inline(always)]
fn holds<L: Lanes>(sum: f64) -> bool {
    if L::HOLDS { sum.is_finite() } else { is_sound(sum) }
}

/// Squared Euclidean distance.
///
/// # Safety
/// The target features of `L`.
#[inline(always)]
pub(crate) unsafe fn l2<L: Lanes>(a: &[L::T], b: &[L::T]) -> f64 {
    // SAFETY: passed on to the caller.
    let sum = unsafe { sum::<L, crate::lanes::L2>(a, b) };
    if holds::<L>(sum) { sum } else { wide::l2(a, b) }
}

/// Inner product.
///
/// # Safety
/// The target features of `L`.
#[inline(always)]
pub(crate) unsafe fn dot<L: Lanes>(a: &[L::T], b: &[L::T]) -> f64 {
    // SAFETY: passed on to the caller.
    let sum = unsafe { sum::<L, crate::lanes::Dot>(a, b) };
    if holds::<L>(sum) { sum } else { wide::dot(a, b) }
}

/// Cosine distance, in one pass.
///
/// # Safety
/// The target features of `L`.
#[inline(always)]
pub(crate) unsafe fn cosine<L: Lanes>(a: &[L::T], b: &[L::T]) -> f64 {
    // SAFETY: as many elements as the shorter vector has; the caller has the target features.
    let [ab, aa, bb] = unsafe {
        let mut sums = [[L::zero(); 2]; 3];
        walk::<L>(a.as_ptr(), b.as_ptr(), a.len().min(b.len()), |chain, x, y| {
            let chain = chain % 2;
            sums[0][chain] = L::fma(x, y, sums[0][chain]);
            sums[1][chain] = L::fma(x, x, sums[1][chain]);
            sums[2][chain] = L::fma(y, y, sums[2][chain]);
        });
        let [[a, b], [c, d], [e, f]] = sums;
        L::three_sums([L::add(a, b), L::add(c, d), L::add(e, f)])
    };
    checked_cosine::<L::T>(L::HOLDS, a, b, [ab, aa, bb])
}

/// The cosine distance of sums that may have left their range.
#[inline(always)]
pub(crate) fn checked_cosine<T: Number>(holds: bool, a: &[T], b: &[T], [ab, aa, bb]: [f64; 3]) -> f64 {
    if holds && (ab + aa + bb).is_finite() {
        cosine_of(ab, aa, bb)
    } else if !holds && is_sound(aa) && is_sound(bb) {
        // As `cosine_of`, which has less to check here: a·b is finite where the squares are, and sums of 32 bits have
        // products of ordinary size.
        1.0 - ab / (aa * bb).sqrt()
    } else {
        wide::cosine(a, b)
    }
}

/// The Hermitian product `Σ conj(a)·b` of complex numbers given as pairs of reals.
///
/// # Safety
/// The target features of `L`.
#[inline(always)]
pub(crate) unsafe fn hermitian<L: Twins>(a: &[L::T], b: &[L::T]) -> Complex128 {
    // SAFETY: as many elements as the shorter vector has; the caller has the target features.
    let (re, im) = unsafe {
        let mut re = [L::zero(); 2];
        let mut im = [L::zero(); 2];
        walk::<L>(a.as_ptr(), b.as_ptr(), a.len().min(b.len()), |chain, x, y| {
            let chain = chain % 2;
            re[chain] = L::fma(x, y, re[chain]);
            im[chain] = L::fma(x, L::swap(y), im[chain]);
        });
        (
            L::sum(L::add(re[0], re[1])),
            L::alternating_sum(L::add(im[0], im[1])),
        )
    };
    // One part may vanish by itself, as that of real vectors does; what it lost is measured by the other.
    if (L::HOLDS || is_sound(re.abs().max(im.abs()))) && (re + im).is_finite() {
        Complex128 { re, im }
    } else {
        wide::hermitian(a, b)
    }
}
