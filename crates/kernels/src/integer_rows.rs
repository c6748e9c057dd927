//! One query against many rows of integers, shaped so that the compiler vectorises it for whatever target features it
//! is given.
//!
//! Elements are widened to the query's type, whose sums round as those of float rows do, and are done again as theirs
//! are.

use crate::{
    Number, Stored, lanes,
    wide::{Again, rows_again},
};

/// Sums that run side by side: two registers of 64-bit floats, one of 32-bit ones.
const LANES: usize = 16;

/// An element of a query with the arithmetic that sums need.
pub(crate) trait Real: Number + std::ops::Sub<Output = Self> {
    fn mul_add(self, by: Self, plus: Self) -> Self;
}

macro_rules! reals {
    ($($t:ty)*) => {
        $(impl Real for $t {
            #[inline(always)]
            fn mul_add(self, by: Self, plus: Self) -> Self { self.mul_add(by, plus) }
        })*
    };
}
reals!(f32 f64);

/// One sum per row, in the same order wherever the row stands.
///
/// # Safety
/// As [`crate::RowFn`].
#[inline(always)]
unsafe fn sums<T: Stored<Query: Real>, M: Again>(
    query: &[T::Query],
    rows: &[*const T],
    out: &mut [f32],
    term: impl Fn(T::Query, T::Query, T::Query) -> T::Query,
) {
    let (query_lanes, query_rest) = query.as_chunks::<LANES>();
    for (&row, out) in rows.iter().zip(&mut *out) {
        // SAFETY: the caller guarantees `query.len()` readable elements at each row.
        let row = unsafe { std::slice::from_raw_parts(row, query.len()) };
        let (row_lanes, row_rest) = row.as_chunks::<LANES>();
        let mut sums = [T::Query::default(); LANES];
        for (q, x) in query_lanes.iter().zip(row_lanes) {
            for ((sum, &q), &x) in sums.iter_mut().zip(q).zip(x) {
                *sum = term(q, x.to_query(), *sum);
            }
        }
        for ((sum, &q), &x) in sums.iter_mut().zip(query_rest).zip(row_rest) {
            *sum = term(q, x.to_query(), *sum);
        }
        *out = sums.iter().map(|sum| sum.wide()).sum::<f64>() as f32;
    }
    // All are looked at, for one jump.
    if out.iter().fold(false, |lost, sum| lost | !sum.is_finite()) {
        // SAFETY: passed on to the caller.
        unsafe { rows_again::<M, _, _>(query, rows, out) };
    }
}

/// Squared Euclidean distances.
///
/// # Safety
/// As [`crate::RowFn`].
#[inline(always)]
pub(crate) unsafe fn l2<T: Stored<Query: Real>>(query: &[T::Query], rows: &[*const T], out: &mut [f32]) {
    // SAFETY: passed on to the caller.
    unsafe {
        sums::<T, lanes::L2>(query, rows, out, |q, x, sum| {
            let d = q - x;
            d.mul_add(d, sum)
        });
    }
}

/// Inner products.
///
/// # Safety
/// As [`crate::RowFn`].
#[inline(always)]
pub(crate) unsafe fn dot<T: Stored<Query: Real>>(query: &[T::Query], rows: &[*const T], out: &mut [f32]) {
    // SAFETY: passed on to the caller.
    unsafe { sums::<T, lanes::Dot>(query, rows, out, |q, x, sum| q.mul_add(x, sum)) };
}
