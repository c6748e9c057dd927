//! One query against many rows, over the registers of [`crate::lanes`].
//!
//! # Error
//! See [`crate::Rows`]. Sums that overflowed on the way are done again in 64 bits, whatever the rows' type: queries may
//! hold numbers that rows cannot. Terms that underflow are lost, which a result of 32 bits does not show.

use std::marker::PhantomData;

use crate::{
    groups::{self, GROUP, Group},
    lanes::{Lanes, Step},
    prefetch::{LINE, prefetch_lines},
    wide::{Again, rows_again},
};

/// Sums of one query's steps with the rows of a group, which is one of a run if so told.
struct Sums<'a, L: Lanes, S, const RUN: bool> {
    query: &'a [L::Q],
    /// NaN once a sum was not finite, for one jump after all.
    lost: [f32; GROUP],
    steps: PhantomData<S>,
}

impl<L: Lanes, S: Step<L>, const RUN: bool> Group<L::T> for Sums<'_, L, S, RUN> {
    type Out = f32;

    #[inline(always)]
    unsafe fn answers<const R: usize>(&mut self, rows: &[*const L::T; R]) -> [f32; GROUP] {
        let len = self.query.len();
        let start = self.query.as_ptr();
        // SAFETY: the caller guarantees `len` readable elements at each row, `len` being a multiple of a cache line's
        // worth and so of a register; the target features are there.
        let sums = unsafe {
            // Two chains for each row: one alone is slower than the memory.
            let (mut even, mut odd) = ([L::zero(); GROUP], [L::zero(); GROUP]);
            let step = |sums: &mut [L::V; GROUP], at: usize| {
                let q = L::load_query(start.add(at));
                for (sum, row) in sums.iter_mut().zip(rows) {
                    *sum = S::step(q, L::load(row.add(at)), *sum);
                }
            };
            let mut at = 0;
            while at + 2 * L::N <= len {
                if RUN && L::RUN_AHEAD > 0 {
                    for row in rows {
                        let ahead = row.add(at).cast::<u8>().wrapping_add(L::RUN_AHEAD);
                        prefetch_lines(ahead, (2 * L::N * size_of::<L::T>()).div_ceil(LINE));
                    }
                }
                step(&mut even, at);
                step(&mut odd, at + L::N);
                at += 2 * L::N;
            }
            if at < len {
                step(&mut even, at);
            }
            for (even, odd) in even.iter_mut().zip(odd) {
                *even = L::add(*even, odd);
            }
            L::sums(even)
        };
        for (lost, sum) in self.lost.iter_mut().zip(sums) {
            *lost += sum * 0.0;
        }
        sums
    }
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
    // SAFETY: passed on to the caller.
    unsafe { by_groups::<L, S, false>(query, rows, out) }
}

/// As [`sums`], of rows that follow each other in memory, one at a time.
///
/// # Safety
/// As [`sums`].
#[inline(always)]
pub(crate) unsafe fn sums_of_run<L: Lanes, S: Step<L> + Again>(
    query: &[L::Q],
    rows: &[*const L::T],
    out: &mut [f32],
) {
    // SAFETY: passed on to the caller.
    unsafe { by_groups::<L, S, true>(query, rows, out) }
}

/// One sum per row, of one after the other or of a few side by side.
///
/// # Safety
/// As [`sums`].
#[inline(always)]
unsafe fn by_groups<L: Lanes, S: Step<L> + Again, const RUN: bool>(
    query: &[L::Q],
    rows: &[*const L::T],
    out: &mut [f32],
) {
    let mut sums = Sums::<L, S, RUN> {
        query,
        lost: [0.0; GROUP],
        steps: PhantomData,
    };
    // SAFETY: passed on to the caller.
    unsafe {
        if RUN && L::RUN_AHEAD > 0 {
            groups::each_of::<_, _, 1>(&mut sums, rows, out);
        } else if RUN {
            groups::each_in_turn(&mut sums, rows, out);
        } else {
            groups::each(&mut sums, rows, out);
        }
        if sums.lost.iter().sum::<f32>().is_nan() {
            rows_again::<S, _, _>(query, rows, out);
        }
    }
}
