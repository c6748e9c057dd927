//! Loops over integers, shaped so that the compiler vectorises them for whatever target features it is given.
//!
//! Up to 16 bits the sums are exact; 32-bit integers are summed as 64-bit floats.

use crate::{Number, scalar::cosine_of};

/// An integer with a way to multiply and add up that neither overflows nor rounds more than stated.
pub(crate) trait Integer: Number {
    /// What products are added up in, for [`Integer::BLOCK`] elements.
    type Sum;
    /// Elements after which a sum must be taken out.
    const BLOCK: usize;
    fn product(a: Self, b: Self) -> Self::Sum;
    fn square_diff(a: Self, b: Self) -> Self::Sum;
    fn total(sum: Self::Sum) -> f64;
    /// Adds up the terms of a block.
    fn add_up(a: &[Self], b: &[Self], term: impl Fn(Self, Self) -> Self::Sum) -> Self::Sum;
}

/// Integer sums may be reordered, so the compiler spreads a plain loop over registers by itself.
#[inline(always)]
fn plain<T: Copy, S: Copy + Default + std::ops::AddAssign>(a: &[T], b: &[T], term: impl Fn(T, T) -> S) -> S {
    let mut sum = S::default();
    for (&a, &b) in a.iter().zip(b) {
        sum += term(a, b);
    }
    sum
}

/// Sums of floats may not, so the lanes are spelt out.
#[inline(always)]
fn lanes<T: Copy>(a: &[T], b: &[T], term: impl Fn(T, T) -> f64) -> f64 {
    const LANES: usize = 32;
    let mut sums = [0.0; LANES];
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *sum += term(a, b);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(&a, &b)| term(a, b)).sum();
    sums.iter().sum::<f64>() + rest
}

macro_rules! integers {
    ($($t:ty, $sum:ty, $block:expr, $how:ident;)*) => {
        $(impl Integer for $t {
            type Sum = $sum;
            const BLOCK: usize = $block;
            #[inline(always)]
            fn product(a: Self, b: Self) -> $sum { <$sum>::from(a) * <$sum>::from(b) }
            #[inline(always)]
            fn square_diff(a: Self, b: Self) -> $sum {
                let d = <$sum>::from(a) - <$sum>::from(b);
                d * d
            }
            #[inline(always)]
            fn total(sum: $sum) -> f64 { sum as f64 }
            #[inline(always)]
            fn add_up(a: &[Self], b: &[Self], term: impl Fn(Self, Self) -> $sum) -> $sum { $how(a, b, term) }
        })*
    };
}

// 255² · 2^15 < 2^31; 65535² · 2^30 < 2^63.
integers! {
    i8, i32, 1 << 15, plain;
    u8, i32, 1 << 15, plain;
    i16, i64, 1 << 30, plain;
    u16, i64, 1 << 30, plain;
    i32, f64, 1 << 30, lanes;
    u32, f64, 1 << 30, lanes;
}

#[inline(always)]
fn sum<T: Integer>(a: &[T], b: &[T], term: impl Fn(T, T) -> T::Sum) -> f64 {
    let len = a.len().min(b.len());
    let blocks = a[..len].chunks(T::BLOCK).zip(b[..len].chunks(T::BLOCK));
    blocks.map(|(a, b)| T::total(T::add_up(a, b, &term))).sum()
}

#[inline(always)]
pub(crate) fn l2<T: Integer>(a: &[T], b: &[T]) -> f64 {
    sum(a, b, T::square_diff)
}

#[inline(always)]
pub(crate) fn dot<T: Integer>(a: &[T], b: &[T]) -> f64 {
    sum(a, b, T::product)
}

#[inline(always)]
pub(crate) fn cosine<T: Integer>(a: &[T], b: &[T]) -> f64 {
    let len = a.len().min(b.len());
    let (a, b) = (&a[..len], &b[..len]);
    cosine_of(dot(a, b), dot(a, a), dot(b, b))
}
