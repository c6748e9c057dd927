//! Complex numbers as pairs of reals, so that the real kernels serve them.

use crate::{Simd, scalar};

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

/// A kernel of the Hermitian product.
pub type HermitianFn<T> = fn(&[T], &[T]) -> Complex128;

/// A complex type that has a kernel for the Hermitian product.
pub trait Hermitian: Sized + 'static {
    /// The kernel of an instruction set; the caller has checked that the machine has it.
    #[doc(hidden)]
    fn hermitian_unchecked(simd: Simd) -> HermitianFn<Self>;
}

/// The Hermitian inner product `Σ conj(a)·b`; the rest of the longer vector is ignored.
pub fn hermitian<T: Hermitian>(a: &[T], b: &[T]) -> Complex128 {
    T::hermitian_unchecked(Simd::active())(a, b)
}

/// The Hermitian product of a given instruction set, where this machine has it.
pub fn hermitian_at<T: Hermitian>(simd: Simd) -> Option<HermitianFn<T>> {
    simd.is_supported().then(|| T::hermitian_unchecked(simd))
}

macro_rules! hermitian {
    ($($t:ident),*) => {
        $(impl Hermitian for $t {
            fn hermitian_unchecked(simd: Simd) -> HermitianFn<Self> {
                match simd {
                    #[cfg(target_arch = "x86_64")]
                    Simd::Avx512 => crate::avx512::hermitian::$t(),
                    #[cfg(target_arch = "x86_64")]
                    Simd::Avx2 => crate::avx2::hermitian::$t(),
                    #[cfg(target_arch = "aarch64")]
                    Simd::Neon => crate::neon::hermitian::$t(),
                    _ => scalar::hermitian,
                }
            }
        })*
    };
}
hermitian!(Complex64, Complex128);
