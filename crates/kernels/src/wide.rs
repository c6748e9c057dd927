//! Sums in 64-bit floats of what 32-bit ones do not hold: huge and tiny numbers.
//!
//! Not the twins of [`mod@crate::scalar`], which add up one term after the other, but as exact and several times faster:
//! zero products of sparse vectors come here too. What overflows 64 bits is added up as the twins do it, whose order may
//! keep within bounds what another does not.

use crate::{Complex128, Number, lanes, scalar::cosine_of};

/// Below this, terms that underflowed in 32 bits (2⁻¹²⁶ and less each) may be more than a rounding error of the sum.
const FLOOR: f64 = 1.0 / (1u128 << 90) as f64;

/// From here on, half of what 32 bits hold, a product of two vectors may overflow where neither's square does.
const CEILING: f64 = (1u128 << 127) as f64;

/// Whether nothing was lost in a 32-bit sum but by rounding, nor in that of products of two vectors whose sums of squares
/// are sound. Not so for infinities and NaNs.
#[inline(always)]
pub(crate) fn is_sound(sum: f64) -> bool {
    // Both bounds are powers of two, so exponents tell, in integers: what is smaller than the floor wraps around, and
    // infinities and NaNs have the largest.
    let exponent = |number: f64| (number.to_bits() << 1 >> f64::MANTISSA_DIGITS) as u32;
    exponent(sum).wrapping_sub(exponent(FLOOR)) < exponent(CEILING) - exponent(FLOOR)
}

const LANES: usize = 8;

#[inline(always)]
fn sum<A: Copy, B: Copy>(a: &[A], b: &[B], term: impl Fn(A, B) -> f64) -> f64 {
    let len = a.len().min(b.len());
    let (a, b) = (&a[..len], &b[..len]);
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *sum += term(a, b);
        }
    }
    let in_order = |a: &[A], b: &[B]| -> f64 { a.iter().zip(b).map(|(&a, &b)| term(a, b)).sum() };
    let total = sums.iter().sum::<f64>() + in_order(a_rest, b_rest);
    if total.is_finite() { total } else { in_order(a, b) }
}

/// Squared Euclidean distance.
#[cold]
#[inline(never)]
pub(crate) fn l2<A: Number, B: Number>(a: &[A], b: &[B]) -> f64 {
    sum(a, b, |a, b| {
        let d = a.wide() - b.wide();
        d * d
    })
}

/// Inner product.
#[cold]
#[inline(never)]
pub(crate) fn dot<A: Number, B: Number>(a: &[A], b: &[B]) -> f64 {
    sum(a, b, |a, b| a.wide() * b.wide())
}

/// Cosine distance.
#[cold]
#[inline(never)]
pub(crate) fn cosine<T: Number>(a: &[T], b: &[T]) -> f64 {
    let len = a.len().min(b.len());
    let (a, b) = (&a[..len], &b[..len]);
    cosine_of(dot(a, b), dot(a, a), dot(b, b))
}

/// Hermitian product of complex numbers given as pairs of reals.
#[cold]
#[inline(never)]
pub(crate) fn hermitian<T: Number>(a: &[T], b: &[T]) -> Complex128 {
    let im = |a: [T; 2], b: [T; 2]| a[0].wide() * b[1].wide() - a[1].wide() * b[0].wide();
    Complex128 {
        re: dot(a, b),
        im: sum(a.as_chunks().0, b.as_chunks().0, im),
    }
}

/// A metric whose sum can be done again in 64 bits.
pub(crate) trait Again {
    fn again<Q: Number, T: Number>(query: &[Q], row: &[T]) -> f64;
}

impl Again for lanes::L2 {
    fn again<Q: Number, T: Number>(query: &[Q], row: &[T]) -> f64 {
        l2(query, row)
    }
}

impl Again for lanes::Dot {
    fn again<Q: Number, T: Number>(query: &[Q], row: &[T]) -> f64 {
        dot(query, row)
    }
}

/// Does the sums of rows again that are not finite.
///
/// # Safety
/// As [`crate::RowFn`].
#[cold]
#[inline(never)]
pub(crate) unsafe fn rows_again<M: Again, Q: Number, T: Number>(
    query: &[Q],
    rows: &[*const T],
    out: &mut [f32],
) {
    for (&row, sum) in rows.iter().zip(out).filter(|(_, sum)| !sum.is_finite()) {
        // SAFETY: the caller guarantees `query.len()` readable elements at each row.
        let row = unsafe { std::slice::from_raw_parts(row, query.len()) };
        *sum = M::again(query, row) as f32;
    }
}
