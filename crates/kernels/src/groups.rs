//! Rows taken a few at a time, so that what they are compared with is loaded once for them and their sums run together.

/// Rows of a whole group.
pub(crate) const GROUP: usize = 4;

/// What is computed of the rows of a group at once.
pub(crate) trait Group<T> {
    /// The answer for a row.
    type Out: Copy;

    /// The answers for `R` rows, at most [`GROUP`], and zeros. A row's does not depend on its place.
    ///
    /// # Safety
    /// As the kernel's that this is part of, and the target features that it is written for.
    unsafe fn answers<const R: usize>(&mut self, rows: &[*const T; R]) -> [Self::Out; GROUP];
}

/// Writes an answer for each row: of whole groups, and of one that is not.
///
/// # Safety
/// As [`Group::answers`]; `out` must be as long as `rows`.
#[inline(always)]
pub(crate) unsafe fn each<T, G: Group<T>>(group: &mut G, rows: &[*const T], out: &mut [G::Out]) {
    let (rows, rest) = rows.split_at(rows.len() / GROUP * GROUP);
    let (out, out_rest) = out.split_at_mut(rows.len());
    // SAFETY: passed on to the caller.
    unsafe {
        each_of::<T, G, GROUP>(group, rows, out);
        match rest.len() {
            1 => each_of::<T, G, 1>(group, rest, out_rest),
            2 => each_of::<T, G, 2>(group, rest, out_rest),
            3 => each_of::<T, G, 3>(group, rest, out_rest),
            _ => {}
        }
    }
}

/// As [`each`], one row at a time, of the first half and of the second in turn.
///
/// # Safety
/// As [`each`].
#[inline(always)]
pub(crate) unsafe fn each_in_turn<T, G: Group<T>>(group: &mut G, rows: &[*const T], out: &mut [G::Out]) {
    let half = rows.len().div_ceil(2);
    for turn in 0..rows.len() {
        let at = turn / 2 + turn % 2 * half;
        // SAFETY: passed on to the caller.
        unsafe { each_of::<T, G, 1>(group, &rows[at..=at], &mut out[at..=at]) };
    }
}

/// # Safety
/// As [`each`].
#[inline(always)]
pub(crate) unsafe fn each_of<T, G: Group<T>, const R: usize>(
    group: &mut G,
    rows: &[*const T],
    out: &mut [G::Out],
) {
    for (rows, out) in rows.as_chunks::<R>().0.iter().zip(out.as_chunks_mut::<R>().0) {
        // SAFETY: passed on to the caller.
        let answers = unsafe { group.answers::<R>(rows) };
        out.copy_from_slice(&answers[..R]);
    }
}
