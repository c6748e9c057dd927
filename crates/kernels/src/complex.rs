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
pub fn reals<T>(numbers: &[Complex<T>]) -> &[T] {
    // SAFETY: `Complex` is `repr(C)` with two fields of one type, so n of them are 2n of that type without padding.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), numbers.len() * 2) }
}

/// A kernel of the Hermitian product.
pub type HermitianFn<T> = fn(&[T], &[T]) -> Complex128;

/// A complex type that has a kernel for the Hermitian product.
pub trait Hermitian: Sized + 'static {
    /// The kernel of an instruction set.
    ///
    /// # Safety
    /// As [`crate::Paired::pair_unchecked`].
    #[doc(hidden)]
    unsafe fn hermitian_unchecked(simd: Simd) -> HermitianFn<Self>;
}

/// The Hermitian inner product `Σ conj(a)·b`; the rest of the longer vector is ignored.
pub fn hermitian<T: Hermitian>(a: &[T], b: &[T]) -> Complex128 {
    // SAFETY: the instruction set in use is one that the machine has.
    let kernel = unsafe { T::hermitian_unchecked(Simd::active()) };
    kernel(a, b)
}

/// The Hermitian product of a given instruction set, where this machine has it.
pub fn hermitian_at<T: Hermitian>(simd: Simd) -> Option<HermitianFn<T>> {
    // SAFETY: only where the machine has it.
    simd.is_supported()
        .then(|| unsafe { T::hermitian_unchecked(simd) })
}

macro_rules! hermitian {
    ($($t:ident),*) => {
        $(impl Hermitian for $t {
            unsafe fn hermitian_unchecked(simd: Simd) -> HermitianFn<Self> {
                match simd {
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: the caller knows that the machine has the instruction set.
                    Simd::Avx512 => unsafe { crate::avx512::hermitian::$t() },
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: as above.
                    Simd::Avx2 => unsafe { crate::avx2::hermitian::$t() },
                    #[cfg(target_arch = "aarch64")]
                    // SAFETY: as above.
                    Simd::Neon => unsafe { crate::neon::hermitian::$t() },
                    _ => scalar::hermitian,
                }
            }
        })*
    };
}
hermitian!(Complex64, Complex128);
