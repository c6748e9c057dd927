//! Distance and bitset kernels, one file per instruction set.
//!
//! Slices in, numbers out: no I/O, no threads, no Arrow. Which instruction set runs is decided once per process by
//! [`Simd::active`]; every vectorised kernel has a scalar twin in [`mod@scalar`] that tests hold it against.
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
mod integer;
mod integer_rows;
mod lanes;
mod pair;
mod prefetch;
mod rotate;
mod rows;
pub mod scalar;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

pub use bits::{Bits, BitsFn, bits, bits_at};
pub use bitset::Bitset;
pub use codes::{CODE_LANE, CodeFn, Codes, NibbleFn, codes, codes_at};
pub use complex::{Complex, Complex64, Complex128, hermitian};
pub use dispatch::{SIMD_ENV, Simd};
pub use element::{Element, Metric, Number};
pub use half::{bf16, f16};
pub use pair::{Pair, Paired, pair, pair_at};
pub use prefetch::{prefetch_line, prefetch_lines};
pub use rotate::{rotate, rotate_at};
pub use rows::{ROW_ALIGN, RowFn, Rows, Stored, rows, rows_at};
