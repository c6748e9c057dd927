//! One vector against one: a table of kernels per element type.

use half::{bf16, f16};

use crate::{Complex64, Complex128, Simd, scalar};

/// Kernels that compare two vectors of one type.
///
/// Vectors must be of equal length; where they are not, the longer one's rest is ignored.
///
/// # Error
/// Against the scalar twin, whatever the size of the numbers, as long as the twin's own sums stay finite: 8- and 16-bit
/// integers exactly; others by at most `(n/8 + 8) · u · Σ|term|` for a sum of `n` terms and `(n/2 + 32) · u` for a cosine,
/// where the unit `u` is 2⁻²⁴ for f16, bf16, f32 and complex64, 2⁻⁵³ for f64, complex128 and wider integers. Products of
/// bf16 vectors (dot and cosine) that are not themselves tiny may count elements below 2⁻¹²⁶ as zero.
pub struct Pair<T: 'static> {
    /// Squared Euclidean distance.
    pub l2: fn(&[T], &[T]) -> f64,
    /// Inner product (complex: real part of the Hermitian product).
    pub dot: fn(&[T], &[T]) -> f64,
    /// 1 - cosine similarity.
    pub cosine: fn(&[T], &[T]) -> f64,
}

impl<T> Clone for Pair<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Pair<T> {}

/// A type that has kernels for pairs.
pub trait Paired: Sized + 'static {
    /// The kernels of an instruction set; the caller has checked that the machine has it.
    #[doc(hidden)]
    fn pair_unchecked(simd: Simd) -> Pair<Self>;
}

/// The kernels of the instruction set in use.
pub fn pair<T: Paired>() -> Pair<T> {
    T::pair_unchecked(Simd::active())
}

/// The kernels of a given instruction set, where this machine has it.
pub fn pair_at<T: Paired>(simd: Simd) -> Option<Pair<T>> {
    simd.is_supported().then(|| T::pair_unchecked(simd))
}

macro_rules! paired {
    ($($t:ident: $avx512:ident::$table:ident, $l2:path, $dot:path, $cosine:path;)*) => {
        $(impl Paired for $t {
            fn pair_unchecked(simd: Simd) -> Pair<Self> {
                match simd {
                    #[cfg(target_arch = "x86_64")]
                    Simd::Avx512 => crate::avx512::$avx512::$table(),
                    #[cfg(target_arch = "x86_64")]
                    Simd::Avx2 => crate::avx2::pair::$t(),
                    #[cfg(target_arch = "aarch64")]
                    Simd::Neon => crate::neon::pair::$t(),
                    _ => Pair { l2: $l2, dot: $dot, cosine: $cosine },
                }
            }
        })*
    };
}

macro_rules! paired_reals {
    ($($t:ident),*) => { paired! { $($t: pair::$t, scalar::l2, scalar::dot, scalar::cosine;)* } };
}
paired_reals!(f16, f32, f64, i8, i16, i32, i64, u8, u16, u32, u64);

paired! {
    bf16: brain::pair, scalar::l2, scalar::dot, scalar::cosine;
    Complex64: pair::Complex64, scalar::l2_complex, scalar::dot_complex, scalar::cosine_complex;
    Complex128: pair::Complex128, scalar::l2_complex, scalar::dot_complex, scalar::cosine_complex;
}
