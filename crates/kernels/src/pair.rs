//! One vector against one: a table of kernels per element type.

use half::{bf16, f16};

use crate::{Complex64, Complex128, Simd, complex::reals, scalar};

/// Kernels that compare two vectors of one type.
///
/// Vectors must be of equal length; where they are not, the longer one's rest is ignored.
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
    ($($t:ident),*) => {
        $(impl Paired for $t {
            fn pair_unchecked(simd: Simd) -> Pair<Self> {
                match simd {
                    #[cfg(target_arch = "x86_64")]
                    Simd::Avx512 => crate::avx512::pair::$t(),
                    #[cfg(target_arch = "x86_64")]
                    Simd::Avx2 => crate::avx2::pair::$t(),
                    #[cfg(target_arch = "aarch64")]
                    Simd::Neon => crate::neon::pair::$t(),
                    _ => Pair { l2: scalar::l2, dot: scalar::dot, cosine: scalar::cosine },
                }
            }
        })*
    };
}
paired!(f16, bf16, f32, f64, i8, i16, i32, i64, u8, u16, u32, u64);

macro_rules! paired_complex {
    ($($t:ty => $real:ty),*) => {
        $(impl Paired for $t {
            fn pair_unchecked(simd: Simd) -> Pair<Self> {
                let _ = simd;
                Pair {
                    l2: |a, b| (pair::<$real>().l2)(reals(a), reals(b)),
                    dot: |a, b| (pair::<$real>().dot)(reals(a), reals(b)),
                    cosine: |a, b| (pair::<$real>().cosine)(reals(a), reals(b)),
                }
            }
        })*
    };
}
paired_complex!(Complex64 => f32, Complex128 => f64);
