//! What the kernels' loops are written over: whatever registers an instruction set has.
//!
//! Everything here is `inline(always)` and lands in the per-ISA functions that carry the target features; see
//! [`crate::tables`].

use crate::{Number, groups::GROUP};

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
    /// Whether the register's numbers hold products of any two `T`, and sums of them, as well as the twin's do, so that
    /// nothing but infinities and NaNs in a result need be looked at. Of queries, which may be larger, it says nothing.
    const HOLDS: bool;
    /// How far ahead of its use the memory of a run of rows is asked for, in bytes: processors with such registers stop
    /// asking by themselves wherever a row's sum is taken. With 0 nothing is asked for, and rows are read from two places
    /// in turn: processors that have no wider registers are slowed down by the one and keep more under way by the other.
    const RUN_AHEAD: usize = 1536;

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
    // A closure given to `map` would be called from a function without the target features, and so never inlined.
    /// Four sums at once.
    #[inline(always)]
    unsafe fn sums([a, b, c, d]: [Self::V; GROUP]) -> [f32; GROUP] {
        // SAFETY: the caller has the target features.
        let sums = unsafe { [Self::sum(a), Self::sum(b), Self::sum(c), Self::sum(d)] };
        [sums[0] as f32, sums[1] as f32, sums[2] as f32, sums[3] as f32]
    }
    /// Three sums at once.
    #[inline(always)]
    unsafe fn three_sums([a, b, c]: [Self::V; 3]) -> [f64; 3] {
        // SAFETY: the caller has the target features.
        unsafe { [Self::sum(a), Self::sum(b), Self::sum(c)] }
    }
}

/// Registers that hold complex numbers, real and imaginary parts alternating.
///
/// # Safety
/// As [`Lanes`].
pub(crate) trait Twins: Lanes {
    /// Exchanges the numbers of each pair.
    unsafe fn swap(v: Self::V) -> Self::V;
    /// Sum of the first numbers of pairs minus that of the second ones.
    unsafe fn alternating_sum(v: Self::V) -> f64;
}

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
