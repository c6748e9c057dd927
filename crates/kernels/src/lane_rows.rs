//! One query against many rows, over the registers of [`crate::lanes`].
//!
//! # Error
//! See [`crate::Rows`]. Sums that overflowed on the way are done again in 64 bits, whatever the rows' type: queries may
//! hold numbers that rows cannot. Terms that underflow are lost, which a result of 32 bits does not show.

use crate::{
    Number,
    lanes::{self, GROUP, Lanes, Step},
    wide,
};

/// A metric whose sum can be done again in 64 bits.
pub(crate) trait Again {
    fn again<Q: Number, T: Number>(query: &[Q], row: &[T]) -> f64;
}

impl Again for lanes::L2 {
    fn again<Q: Number, T: Number>(query: &[Q], row: &[T]) -> f64 {
        wide::l2(query, row)
    }
}

impl Again for lanes::Dot {
    fn again<Q: Number, T: Number>(query: &[Q], row: &[T]) -> f64 {
        wide::dot(query, row)
    }
}

/// One sum for each of `R` rows, at most [`GROUP`], the same bits however many there are.
///
/// # Safety
/// As [`crate::RowFn`], and the target features of `L`.
#[inline(always)]
unsafe fn group_sums<L: Lanes, S: Step<L> + Again, const R: usize>(
    query: &[L::Q],
    rows: &[*const L::T; R],
) -> [f32; GROUP] {
    let len = query.len();
    let start = query.as_ptr();
    // SAFETY: the caller guarantees `len` readable elements at each row, `len` being a multiple of a cache line's
    // worth and so of a register; the target features are there.
    let mut sums = unsafe {
        let mut sums = [L::zero(); GROUP];
        let mut at = 0;
        while at < len {
            let q = L::load_query(start.add(at));
            for (sum, row) in sums.iter_mut().zip(rows) {
                *sum = S::step(q, L::load(row.add(at)), *sum);
            }
            at += L::N;
        }
        L::sums(sums)
    };
    if !sums.iter().all(|sum| sum.is_finite()) {
        for (sum, &row) in sums.iter_mut().zip(rows).filter(|(sum, _)| !sum.is_finite()) {
            // SAFETY: the caller guarantees `len` readable elements at each row.
            let row = unsafe { std::slice::from_raw_parts(row, len) };
            *sum = S::again(query, row) as f32;
        }
    }
    sums
}

/// One sum per row. A row's sum does not depend on its place: equal rows are equally far.
///
/// # Safety
/// As [`crate::RowFn`], and the target features of `L`.
#[inline(always)]
pub(crate) unsafe fn sums<L: Lanes, S: Step<L> + Again>(
    query: &[L::Q],
    rows: &[*const L::T],
    out: &mut [f32],
) {
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
