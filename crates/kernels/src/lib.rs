//! Distance and bitset kernels, one file per instruction set.
//!
//! Slices in, numbers out: no I/O, no threads, no Arrow. Which instruction set runs is decided once per process by
//! [`Simd::active`]. Tests hold every instruction set against a plain twin, which also runs where no vector unit is known:
//! twins of pairs are in [`mod@scalar`], those of rows, codes, bits and words beside their tables; a rotation's is the same
//! loop compiled for no instruction set in particular, which gives the same bits.
//!
//! Conventions: `l2` is the *squared* Euclidean distance, `dot` the plain inner product (larger is nearer), `cosine`
//! is `1 - cosine similarity`, and 1 when either vector is zero. For complex types `dot` is the real part of the
//! Hermitian product `Σ conj(a)·b`; [`hermitian`] gives both parts.

mod bits;
pub mod bitset;
#[cfg(target_arch = "x86_64")]
mod bytes;
mod codes;
mod complex;
mod dispatch;
mod element;
mod groups;
mod integer;
mod integer_rows;
mod lane_pairs;
mod lane_rows;
mod lanes;
mod pair;
mod prefetch;
mod rotate;
mod rows;
pub mod scalar;
mod split;
mod tables;
mod vectorize;
mod wide;
mod words;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

pub use bits::{Bits, BitsFn, bits, bits_at};
pub use bitset::Bitset;
pub use codes::{CODE_LANE, CodeFn, Codes, NibbleFn, codes, codes_at};
pub use complex::{Complex, Complex64, Complex128, Hermitian, HermitianFn, hermitian, hermitian_at, reals};
pub use dispatch::{SIMD_ENV, Simd, UnknownSimd};
pub use element::{Element, Metric, Number};
pub use half::{bf16, f16};
pub use pair::{Pair, Paired, pair, pair_at};
pub use prefetch::{prefetch_line, prefetch_lines};
pub use rotate::{rotate, rotate_at};
pub use rows::{ROW_ALIGN, RowFn, Rows, Stored, rows, rows_at};
pub use split::Split;
pub use vectorize::{Vectorize, vectorize};
