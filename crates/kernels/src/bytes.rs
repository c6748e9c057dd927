//! Loops over 8-bit integers, widened to 16 bits in registers; the sums are exact.

use crate::scalar::cosine_of;

/// Registers of widened bytes and of 32-bit sums.
pub(crate) trait Bytes {
    /// Stored element, one byte.
    type T: Copy + Default;
    /// `N` elements of 16 bits.
    type V: Copy;
    /// Sums.
    type Sum: Copy;
    /// Elements in a register.
    const N: usize;

    unsafe fn zero() -> Self::Sum;
    /// Loads `N` elements.
    unsafe fn load(from: *const Self::T) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// Adds the products of neighbouring pairs to the sums.
    unsafe fn multiply_add(sum: Self::Sum, a: Self::V, b: Self::V) -> Self::Sum;
    unsafe fn total(sum: Self::Sum) -> i64;
}

/// Elements after which sums are taken out: the total of a register's sums, 255² · 2^15, stays below 2^31.
const BLOCK: usize = 1 << 15;

/// Runs `step` over registers of both vectors; the last ones are filled up with zeros, which add nothing.
///
/// # Safety
/// The target features of `B`.
#[inline(always)]
unsafe fn walk<B: Bytes, const SUMS: usize>(
    a: &[B::T],
    b: &[B::T],
    step: impl Fn([B::Sum; SUMS], B::V, B::V) -> [B::Sum; SUMS],
) -> [f64; SUMS] {
    let len = a.len().min(b.len());
    let (a, b) = (&a[..len], &b[..len]);
    // SAFETY: the caller has the features.
    unsafe {
        if len <= BLOCK {
            return block::<B, SUMS>(a, b, &step).map(|total| total as f64);
        }
        let mut totals = [0; SUMS];
        for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
            for (total, sum) in totals.iter_mut().zip(block::<B, SUMS>(a, b, &step)) {
                *total += sum;
            }
        }
        totals.map(|total| total as f64)
    }
}

/// The sums of at most [`BLOCK`] elements, as many of either vector.
///
/// # Safety
/// The target features of `B`.
#[inline(always)]
unsafe fn block<B: Bytes, const SUMS: usize>(
    a: &[B::T],
    b: &[B::T],
    step: &impl Fn([B::Sum; SUMS], B::V, B::V) -> [B::Sum; SUMS],
) -> [i64; SUMS] {
    // SAFETY: loads are of `N` elements below the length, or of a copy; the caller has the features.
    unsafe {
        let mut sums = [B::zero(); SUMS];
        let whole = a.len() / B::N * B::N;
        for at in (0..whole).step_by(B::N) {
            sums = step(sums, B::load(a.as_ptr().add(at)), B::load(b.as_ptr().add(at)));
        }
        if whole < a.len() {
            let mut rest = [[B::T::default(); 64]; 2];
            rest[0][..a.len() - whole].copy_from_slice(&a[whole..]);
            rest[1][..a.len() - whole].copy_from_slice(&b[whole..]);
            sums = step(sums, B::load(rest[0].as_ptr()), B::load(rest[1].as_ptr()));
        }
        let mut totals = [0; SUMS];
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total = B::total(sum);
        }
        totals
    }
}

/// The kernels of bytes of one instruction set.
///
/// # Safety
/// Every function needs the implementor's target features.
pub(crate) trait Products {
    /// Stored element, one byte.
    type T;
    unsafe fn l2(a: &[Self::T], b: &[Self::T]) -> f64;
    unsafe fn dot(a: &[Self::T], b: &[Self::T]) -> f64;
    unsafe fn cosine(a: &[Self::T], b: &[Self::T]) -> f64;
}

impl<B: Bytes> Products for B {
    type T = B::T;

    #[inline(always)]
    unsafe fn l2(a: &[B::T], b: &[B::T]) -> f64 {
        // SAFETY: the caller has the features.
        let [sum] = unsafe {
            walk::<B, 1>(a, b, |[sum], x, y| {
                let d = B::sub(x, y);
                [B::multiply_add(sum, d, d)]
            })
        };
        sum
    }

    #[inline(always)]
    unsafe fn dot(a: &[B::T], b: &[B::T]) -> f64 {
        // SAFETY: the caller has the features.
        let [sum] = unsafe { walk::<B, 1>(a, b, |[sum], x, y| [B::multiply_add(sum, x, y)]) };
        sum
    }

    #[inline(always)]
    unsafe fn cosine(a: &[B::T], b: &[B::T]) -> f64 {
        // SAFETY: the caller has the features.
        let [ab, aa, bb] = unsafe {
            walk::<B, 3>(a, b, |[ab, aa, bb], x, y| {
                [
                    B::multiply_add(ab, x, y),
                    B::multiply_add(aa, x, x),
                    B::multiply_add(bb, y, y),
                ]
            })
        };
        cosine_of(ab, aa, bb)
    }
}
