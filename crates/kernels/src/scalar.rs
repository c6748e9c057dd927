//! The scalar twins of pairs: the plain meaning of their kernels, in 64-bit floats.
//!
//! They are the oracle of the property tests and what runs where no vector unit is known.

use crate::{Complex, Complex128, Number, complex::reals};

/// Squared Euclidean distance.
pub fn l2<T: Number>(a: &[T], b: &[T]) -> f64 {
    let mut sum = 0.0;
    for (a, b) in a.iter().zip(b) {
        let d = a.minus(*b);
        sum += d * d;
    }
    sum
}

/// Inner product.
pub fn dot<T: Number>(a: &[T], b: &[T]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a.wide() * b.wide()).sum()
}

/// 1 - cosine similarity; 1 when either vector is zero.
pub fn cosine<T: Number>(a: &[T], b: &[T]) -> f64 {
    let len = a.len().min(b.len());
    let (a, b) = (&a[..len], &b[..len]);
    cosine_of(dot(a, b), dot(a, a), dot(b, b))
}

/// Squared Euclidean distance of complex vectors.
pub fn l2_complex<T: Number>(a: &[Complex<T>], b: &[Complex<T>]) -> f64 {
    l2(reals(a), reals(b))
}

/// Real part of the Hermitian product.
pub fn dot_complex<T: Number>(a: &[Complex<T>], b: &[Complex<T>]) -> f64 {
    hermitian(a, b).re
}

/// 1 - the real part of the Hermitian product of the vectors' directions.
pub fn cosine_complex<T: Number>(a: &[Complex<T>], b: &[Complex<T>]) -> f64 {
    cosine(reals(a), reals(b))
}

/// The Hermitian product `Σ conj(a)·b`.
pub fn hermitian<T: Number>(a: &[Complex<T>], b: &[Complex<T>]) -> Complex128 {
    let mut sum = Complex128::default();
    for (a, b) in a.iter().zip(b) {
        let (ar, ai, br, bi) = (a.re.wide(), a.im.wide(), b.re.wide(), b.im.wide());
        // In the order of the reals, as the other kernels of complex vectors add up.
        sum.re = sum.re + ar * br + ai * bi;
        sum.im += ar * bi - ai * br;
    }
    sum
}

/// Cosine distance from the three products `a·b`, `a·a` and `b·b`.
#[inline(always)]
pub(crate) fn cosine_of(ab: f64, aa: f64, bb: f64) -> f64 {
    // One root where the product keeps its precision.
    let squares = aa * bb;
    let norms = if squares.is_normal() {
        squares.sqrt()
    } else {
        aa.sqrt() * bb.sqrt()
    };
    if norms > 0.0 { 1.0 - ab / norms } else { 1.0 }
}
