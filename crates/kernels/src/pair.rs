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
/// where the unit `u` is 2⁻²⁴ for f16, bf16, f32 and complex64, 2⁻⁵³ for f64, complex128 and wider integers. Where it is
/// 2⁻⁵³ the twin rounds as well: by `n` units more, and in each term by 2⁻¹⁰⁷⁴, which shows in sums that are hardly more.
/// Inner products of bf16 vectors that are not themselves tiny may count elements below 2⁻¹²⁶ as zero.
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
    /// The kernels of an instruction set.
    ///
    /// # Safety
    /// The machine must have it ([`Simd::is_supported`]): the kernels themselves are safe to call, and do not ask again.
    #[doc(hidden)]
    unsafe fn pair_unchecked(simd: Simd) -> Pair<Self>;
}

/// The kernels of the instruction set in use.
pub fn pair<T: Paired>() -> Pair<T> {
    // SAFETY: the instruction set in use is one that the machine has.
    unsafe { T::pair_unchecked(Simd::active()) }
}

/// The kernels of a given instruction set, where this machine has it.
pub fn pair_at<T: Paired>(simd: Simd) -> Option<Pair<T>> {
    // SAFETY: only where the machine has it.
    simd.is_supported().then(|| unsafe { T::pair_unchecked(simd) })
}

macro_rules! paired {
    ($($t:ident: $avx512:ident::$table:ident, $l2:path, $dot:path, $cosine:path;)*) => {
        $(impl Paired for $t {
            unsafe fn pair_unchecked(simd: Simd) -> Pair<Self> {
                match simd {
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: the caller knows that the machine has the instruction set.
                    Simd::Avx512 => unsafe { crate::avx512::$avx512::$table() },
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: as above.
                    Simd::Avx2 => unsafe { crate::avx2::pair::$t() },
                    #[cfg(target_arch = "aarch64")]
                    // SAFETY: as above.
                    Simd::Neon => unsafe { crate::neon::pair::$t() },
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
