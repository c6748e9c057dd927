//! Sums in 64-bit floats of what 32-bit ones do not hold: huge and tiny numbers.
//!
//! Not the twins of [`mod@crate::scalar`], which add up one term after the other, but as exact and several times faster:
//! zero products of sparse vectors come here too.

use crate::{Complex128, Number, scalar::cosine_of};

/// Below this, terms that underflowed in 32 bits (2⁻¹²⁶ and less each) may be more than a rounding error of the sum.
const FLOOR: f64 = 1.0 / (1u128 << 90) as f64;

/// Whether nothing was lost in a 32-bit sum but by rounding. Not so for infinities and NaNs.
#[inline(always)]
pub(crate) fn is_sound(sum: f64) -> bool {
    // One comparison of bits: numbers below the floor turn negative, and NaNs have larger bits than any number.
    (sum.abs() - FLOOR).to_bits() < f64::INFINITY.to_bits()
}

const LANES: usize = 8;

#[inline(always)]
fn sum<A: Copy, B: Copy>(a: &[A], b: &[B], term: impl Fn(A, B) -> f64) -> f64 {
    let len = a.len().min(b.len());
    let (a, b) = (&a[..len], &b[..len]);
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *sum += term(a, b);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(&a, &b)| term(a, b)).sum();
    sums.iter().sum::<f64>() + rest
}

/// Squared Euclidean distance.
#[cold]
#[inline(never)]
pub(crate) fn l2<A: Number, B: Number>(a: &[A], b: &[B]) -> f64 {
    sum(a, b, |a, b| {
        let d = a.wide() - b.wide();
        d * d
    })
}

/// Inner product.
#[cold]
#[inline(never)]
pub(crate) fn dot<A: Number, B: Number>(a: &[A], b: &[B]) -> f64 {
    sum(a, b, |a, b| a.wide() * b.wide())
}

/// Cosine distance.
#[cold]
#[inline(never)]
pub(crate) fn cosine<T: Number>(a: &[T], b: &[T]) -> f64 {
    let len = a.len().min(b.len());
    let (a, b) = (&a[..len], &b[..len]);
    cosine_of(dot(a, b), dot(a, a), dot(b, b))
}

/// Hermitian product of complex numbers given as pairs of reals.
#[cold]
#[inline(never)]
pub(crate) fn hermitian<T: Number>(a: &[T], b: &[T]) -> Complex128 {
    let (a, b) = (a.as_chunks::<2>().0, b.as_chunks::<2>().0);
    let im = sum(a, b, |a, b| a[0].wide() * b[1].wide() - a[1].wide() * b[0].wide());
    Complex128 {
        re: sum(a, b, |a, b| a[0].wide() * b[0].wide() + a[1].wide() * b[1].wide()),
        im,
    }
}
