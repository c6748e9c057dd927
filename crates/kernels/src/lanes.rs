//! The kernels' loops, written once over whatever registers an instruction set has.
//!
//! Everything here is `inline(always)` and lands in the per-ISA functions that carry the target features; see
//! [`kernels!`].

use crate::{Number, scalar::cosine_of};

/// A register of numbers widened from elements of type `T`.
///
/// # Safety
/// Every function needs the implementor's target features; loads need the stated number of readable elements.
pub(crate) trait Lanes {
    /// Stored element.
    type T: Number;
    /// Element of a query: what `T` is widened to.
    type Q: Number;
    /// The register.
    type V: Copy;
    /// Numbers in a register.
    const N: usize;

    unsafe fn zero() -> Self::V;
    /// Loads `N` elements.
    unsafe fn load(from: *const Self::T) -> Self::V;
    /// Loads `n < N` elements, the rest zero.
    unsafe fn load_part(from: *const Self::T, n: usize) -> Self::V;
    /// Loads `N` elements of a query.
    unsafe fn load_query(from: *const Self::Q) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn sum(v: Self::V) -> f64;
    /// Four sums at once.
    #[inline(always)]
    unsafe fn sums(v: [Self::V; GROUP]) -> [f32; GROUP] {
        // SAFETY: the caller has the target features.
        v.map(|v| unsafe { Self::sum(v) } as f32)
    }
}

/// Rows whose sums run together, so that the query is loaded once for them.
const GROUP: usize = 4;

/// What one step adds to an accumulator.
pub(crate) trait Step<L: Lanes> {
    unsafe fn step(a: L::V, b: L::V, sum: L::V) -> L::V;
}

/// Squared difference.
pub(crate) struct L2;
/// Product.
pub(crate) struct Dot;

impl<L: Lanes> Step<L> for L2 {
    #[inline(always)]
    unsafe fn step(a: L::V, b: L::V, sum: L::V) -> L::V {
        // SAFETY: the caller has the target features.
        unsafe {
            let d = L::sub(a, b);
            L::fma(d, d, sum)
        }
    }
}

impl<L: Lanes> Step<L> for Dot {
    #[inline(always)]
    unsafe fn step(a: L::V, b: L::V, sum: L::V) -> L::V {
        // SAFETY: the caller has the target features.
        unsafe { L::fma(a, b, sum) }
    }
}

/// One sum over a pair of vectors of any length, with four accumulators.
///
/// # Safety
/// The target features of `L`.
#[inline(always)]
pub(crate) unsafe fn pair_sum<L: Lanes, S: Step<L>>(a: &[L::T], b: &[L::T]) -> f64 {
    let len = a.len().min(b.len());
    let (a, b) = (a.as_ptr(), b.as_ptr());
    // SAFETY: every load is of elements below `len`; the caller has the target features.
    unsafe {
        let mut sums = [L::zero(); 4];
        let mut at = 0;
        while at + 4 * L::N <= len {
            for (lane, sum) in sums.iter_mut().enumerate() {
                let at = at + lane * L::N;
                *sum = S::step(L::load(a.add(at)), L::load(b.add(at)), *sum);
            }
            at += 4 * L::N;
        }
        while at + L::N <= len {
            sums[0] = S::step(L::load(a.add(at)), L::load(b.add(at)), sums[0]);
            at += L::N;
        }
        if at < len {
            let (x, y) = (
                L::load_part(a.add(at), len - at),
                L::load_part(b.add(at), len - at),
            );
            sums[1] = S::step(x, y, sums[1]);
        }
        L::sum(L::add(L::add(sums[0], sums[1]), L::add(sums[2], sums[3])))
    }
}

/// Cosine distance of a pair of vectors of any length, in one pass.
///
/// # Safety
/// The target features of `L`.
#[inline(always)]
pub(crate) unsafe fn pair_cosine<L: Lanes>(a: &[L::T], b: &[L::T]) -> f64 {
    let len = a.len().min(b.len());
    let (a, b) = (a.as_ptr(), b.as_ptr());
    // SAFETY: every load is of elements below `len`; the caller has the target features.
    unsafe {
        let mut sums = [[L::zero(); 2]; 3];
        let mut at = 0;
        while at < len {
            for lane in [0, 1] {
                let at = at + lane * L::N;
                let (x, y) = if at + L::N <= len {
                    (L::load(a.add(at)), L::load(b.add(at)))
                } else if at < len {
                    (
                        L::load_part(a.add(at), len - at),
                        L::load_part(b.add(at), len - at),
                    )
                } else {
                    break;
                };
                sums[0][lane] = L::fma(x, y, sums[0][lane]);
                sums[1][lane] = L::fma(x, x, sums[1][lane]);
                sums[2][lane] = L::fma(y, y, sums[2][lane]);
            }
            at += 2 * L::N;
        }
        let [ab, aa, bb] = sums.map(|[low, high]| L::sum(L::add(low, high)));
        cosine_of(ab, aa, bb)
    }
}

/// One sum for each of `R` rows, at most [`GROUP`], the same bits however many there are.
///
/// # Safety
/// As [`crate::RowFn`], and the target features of `L`.
#[inline(always)]
unsafe fn group_sums<L: Lanes, S: Step<L>, const R: usize>(
    query: &[L::Q],
    rows: &[*const L::T; R],
) -> [f32; GROUP] {
    let len = query.len();
    let query = query.as_ptr();
    // SAFETY: the caller guarantees `len` readable elements at each row, `len` being a multiple of a cache line's
    // worth and so of a register; the target features are there.
    unsafe {
        let mut sums = [L::zero(); GROUP];
        let mut at = 0;
        while at < len {
            let q = L::load_query(query.add(at));
            for (sum, row) in sums.iter_mut().zip(rows) {
                *sum = S::step(q, L::load(row.add(at)), *sum);
            }
            at += L::N;
        }
        L::sums(sums)
    }
}

/// One sum per row. A row's sum does not depend on its place: equal rows are equally far.
///
/// # Safety
/// As [`crate::RowFn`], and the target features of `L`.
#[inline(always)]
pub(crate) unsafe fn row_sums<L: Lanes, S: Step<L>>(query: &[L::Q], rows: &[*const L::T], out: &mut [f32]) {
    let (groups, rest) = rows.as_chunks::<GROUP>();
    let (out_groups, out_rest) = out.split_at_mut(rows.len() - rest.len());
    // SAFETY: passed on to the caller.
    unsafe {
        for (rows, out) in groups.iter().zip(out_groups.as_chunks_mut::<GROUP>().0) {
            *out = group_sums::<L, S, GROUP>(query, rows);
        }
        let sums = match *rest {
            [a] => group_sums::<L, S, 1>(query, &[a]),
            [a, b] => group_sums::<L, S, 2>(query, &[a, b]),
            [a, b, c] => group_sums::<L, S, 3>(query, &[a, b, c]),
            _ => return,
        };
        out_rest.copy_from_slice(&sums[..rest.len()]);
    }
}

/// Makes functions that fill the tables of one-to-many kernels.
macro_rules! rows_of {
    ($features:literal; |$query:ident, $rows:ident, $out:ident| $($t:ident: $l2:expr, $dot:expr;)*) => {
        $(pub(crate) fn $t() -> Rows<$t> {
            /// # Safety
            /// As [`crate::RowFn`].
            #[target_feature(enable = $features)]
            unsafe fn l2($query: &[<$t as Stored>::Query], $rows: &[*const $t], $out: &mut [f32]) {
                // SAFETY: passed on to the caller; this function has the features.
                unsafe { $l2 }
            }
            /// # Safety
            /// As [`crate::RowFn`].
            #[target_feature(enable = $features)]
            unsafe fn dot($query: &[<$t as Stored>::Query], $rows: &[*const $t], $out: &mut [f32]) {
                // SAFETY: passed on to the caller; this function has the features.
                unsafe { $dot }
            }
            Rows { l2, dot }
        })*
    };
}

/// Makes the functions `pair::$t` and `rows::$t` that fill the dispatch tables of one instruction set.
macro_rules! kernels {
    ($features:literal; floats: $($t:ident => $lanes:ty),*; $(bytes: $($b:ident => $bytes:ty),*;)? small: $($s:ident),*; plain: $($p:ident),*) => {
        pub(crate) mod pair {
            use half::{bf16, f16};
            use crate::{Pair, integer, lanes, scalar};
            use super::*;

            $(pub(crate) fn $t() -> Pair<$t> {
                #[target_feature(enable = $features)]
                fn l2(a: &[$t], b: &[$t]) -> f64 {
                    // SAFETY: this function has the features.
                    unsafe { lanes::pair_sum::<$lanes, lanes::L2>(a, b) }
                }
                #[target_feature(enable = $features)]
                fn dot(a: &[$t], b: &[$t]) -> f64 {
                    // SAFETY: this function has the features.
                    unsafe { lanes::pair_sum::<$lanes, lanes::Dot>(a, b) }
                }
                #[target_feature(enable = $features)]
                fn cosine(a: &[$t], b: &[$t]) -> f64 {
                    // SAFETY: this function has the features.
                    unsafe { lanes::pair_cosine::<$lanes>(a, b) }
                }
                // SAFETY (each): tables of an instruction set are handed out only where the machine has it.
                Pair {
                    // SAFETY: see above.
                    l2: |a, b| unsafe { l2(a, b) },
                    // SAFETY: see above.
                    dot: |a, b| unsafe { dot(a, b) },
                    // SAFETY: see above.
                    cosine: |a, b| unsafe { cosine(a, b) },
                }
            })*
            $($(pub(crate) fn $b() -> Pair<$b> {
                #[target_feature(enable = $features)]
                fn l2(a: &[$b], b: &[$b]) -> f64 {
                    // SAFETY: this function has the features.
                    unsafe { crate::bytes::l2::<$bytes>(a, b) }
                }
                #[target_feature(enable = $features)]
                fn dot(a: &[$b], b: &[$b]) -> f64 {
                    // SAFETY: this function has the features.
                    unsafe { crate::bytes::dot::<$bytes>(a, b) }
                }
                #[target_feature(enable = $features)]
                fn cosine(a: &[$b], b: &[$b]) -> f64 {
                    // SAFETY: this function has the features.
                    unsafe { crate::bytes::cosine::<$bytes>(a, b) }
                }
                Pair {
                    // SAFETY: tables of an instruction set are handed out only where the machine has it.
                    l2: |a, b| unsafe { l2(a, b) },
                    // SAFETY: as above.
                    dot: |a, b| unsafe { dot(a, b) },
                    // SAFETY: as above.
                    cosine: |a, b| unsafe { cosine(a, b) },
                }
            })*)?
            $(pub(crate) fn $s() -> Pair<$s> {
                #[target_feature(enable = $features)]
                fn l2(a: &[$s], b: &[$s]) -> f64 { integer::l2(a, b) }
                #[target_feature(enable = $features)]
                fn dot(a: &[$s], b: &[$s]) -> f64 { integer::dot(a, b) }
                #[target_feature(enable = $features)]
                fn cosine(a: &[$s], b: &[$s]) -> f64 { integer::cosine(a, b) }
                Pair {
                    // SAFETY: tables of an instruction set are handed out only where the machine has it.
                    l2: |a, b| unsafe { l2(a, b) },
                    // SAFETY: as above.
                    dot: |a, b| unsafe { dot(a, b) },
                    // SAFETY: as above.
                    cosine: |a, b| unsafe { cosine(a, b) },
                }
            })*
            $(pub(crate) fn $p() -> Pair<$p> {
                Pair { l2: scalar::l2, dot: scalar::dot, cosine: scalar::cosine }
            })*
        }
        pub(crate) mod rows {
            use half::{bf16, f16};
            use crate::{Rows, Stored, integer_rows, lanes};
            use super::*;

            crate::lanes::rows_of! { $features; |query, rows, out|
                $($t: lanes::row_sums::<$lanes, lanes::L2>(query, rows, out),
                    lanes::row_sums::<$lanes, lanes::Dot>(query, rows, out);)*
                $($($b: integer_rows::l2(query, rows, out), integer_rows::dot(query, rows, out);)*)?
                $($s: integer_rows::l2(query, rows, out), integer_rows::dot(query, rows, out);)*
                $($p: integer_rows::l2(query, rows, out), integer_rows::dot(query, rows, out);)*
            }
        }
    };
}
pub(crate) use {kernels, rows_of};
