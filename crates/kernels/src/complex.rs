//! Complex numbers as pairs of reals, so that the real kernels serve them.

use crate::Number;

/// A complex number: real part, then imaginary part, with no padding.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Complex<T> {
    /// Real part.
    pub re: T,
    /// Imaginary part.
    pub im: T,
}

/// Two 32-bit floats.
pub type Complex64 = Complex<f32>;
/// Two 64-bit floats.
pub type Complex128 = Complex<f64>;

/// The reals of complex numbers, real and imaginary parts alternating.
pub(crate) fn reals<T>(numbers: &[Complex<T>]) -> &[T] {
    // SAFETY: `Complex` is `repr(C)` with two fields of one type, so n of them are 2n of that type without padding.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), numbers.len() * 2) }
}

/// The Hermitian inner product `Σ conj(a)·b`.
///
/// # Panics
/// If the lengths differ.
pub fn hermitian<T: Number>(a: &[Complex<T>], b: &[Complex<T>]) -> Complex128 {
    assert_eq!(a.len(), b.len(), "vectors of different lengths");
    let mut sum = Complex128::default();
    for (a, b) in a.iter().zip(b) {
        let (ar, ai, br, bi) = (a.re.wide(), a.im.wide(), b.re.wide(), b.im.wide());
        sum.re += ar * br + ai * bi;
        sum.im += ar * bi - ai * br;
    }
    sum
}
