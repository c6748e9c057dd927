//! Values that kernels trip over, for every type, metric and instruction set.

use longbow_kernels::{Complex, Number, ROW_ALIGN, Stored, bf16, f16};
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};

use crate::{
    complex, pair, rows,
    twin::{DOUBLE, SINGLE},
};

/// Numbers at the ends of what a type, its squares and sums of them can hold.
trait Hostile: Number {
    const VALUES: &[Self];
}

macro_rules! hostile {
    ($($t:ty: $from:expr, [$($value:expr),*];)*) => {
        $(impl Hostile for $t {
            const VALUES: &[Self] = &[$($from($value)),*];
        })*
    };
}

const fn same<T: Copy>(x: T) -> T {
    x
}

// The last three of floats are not finite.
hostile! {
    f16: f16::from_bits, [
        0x0000, 0x8000, 0x3c00, 0xbc00, 0x4240, 0x0001, 0x83ff, 0x0400, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00
    ];
    // As the 32-bit ones.
    bf16: bf16::from_f32_const, [
        0.0, -0.0, 1.0, -1.0, 3.0, 1e-45, -1e-39, f32::MIN_POSITIVE, 1e-23, 1e-19, -1e-12, 1e13, 1.8e19, -1.9e19, 1e38,
        -1e38, 3.3e38, -3.3e38, f32::INFINITY, f32::NEG_INFINITY, f32::NAN
    ];
    f32: same, [
        0.0, -0.0, 1.0, -1.0, 3.0, 1e-45, -1e-39, f32::MIN_POSITIVE, 1e-23, 1e-19, -1e-12, 1e13, 1.8e19, -1.9e19, 1e38,
        -1e38, f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY, f32::NAN
    ];
    f64: same, [
        0.0, -0.0, 1.0, -1.0, 0.1, 5e-324, -1e-310, f64::MIN_POSITIVE, 1e-162, 1e-154, -1e-45, 1e38, -1e39, 1e154,
        -1.3e154, 1e200, -1e200, f64::MAX, f64::MIN, f64::INFINITY, f64::NEG_INFINITY, f64::NAN
    ];
    i8: same, [0, 1, -1, i8::MIN, i8::MAX, i8::MIN + 1];
    u8: same, [0, 1, 127, 128, u8::MAX];
    i16: same, [0, 1, -1, i16::MIN, i16::MAX, i16::MIN + 1];
    u16: same, [0, 1, 32767, 32768, u16::MAX];
    i32: same, [0, 1, -1, i32::MIN, i32::MAX, i32::MIN + 1];
    u32: same, [0, 1, 1 << 31, u32::MAX];
    i64: same, [0, 1, -1, i64::MIN, i64::MAX, i64::MIN + 1, (1 << 53) + 1];
    u64: same, [0, 1, 1 << 63, u64::MAX, (1 << 53) + 1];
}

/// A vector of few different values, or of any finite ones, or of any, in an allocation that ends where it ends.
///
/// Values that take turns add up to little in the twin's order, and to much where every register's number has its own sum.
fn vector<T: Hostile>(len: usize, rng: &mut SmallRng) -> Vec<T> {
    let finite: Vec<T> = T::VALUES
        .iter()
        .copied()
        .filter(|x| x.wide().is_finite())
        .collect();
    let few = rng.random_range(1..3);
    let palette: Vec<T> = match rng.random_range(0..8) {
        0 => T::VALUES.to_vec(),
        1 => finite,
        2 => T::VALUES.choose_multiple(rng, few).copied().collect(),
        _ => finite.choose_multiple(rng, few).copied().collect(),
    };
    if rng.random() {
        (0..len).map(|i| palette[i % palette.len()]).collect()
    } else {
        (0..len).map(|_| *palette.choose(rng).unwrap()).collect()
    }
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![0usize..6, 0usize..140, 0usize..700]
}

macro_rules! pairs {
    ($($name:ident: $t:ty, $unit:expr;)*) => {
        $(#[test]
        fn $name() {
            proptest!(|(len in lengths(), offset in 0usize..4, cut in lengths(), seed in any::<u64>())| {
                let mut rng = SmallRng::seed_from_u64(seed);
                let (a, b) = (vector::<$t>(len + offset, &mut rng), vector::<$t>(len + offset, &mut rng));
                // Starting at an odd element leaves the data unaligned.
                let (a, b) = (&a[offset..], &b[offset..]);
                pair::check(a, b, $unit);
                pair::check(a, a, $unit);
                pair::check(a, &b[..cut.min(len)], $unit);
            });
        })*
    };
}

pairs! {
    pairs_of_f16: f16, SINGLE;
    pairs_of_bf16: bf16, SINGLE;
    pairs_of_f32: f32, SINGLE;
    pairs_of_f64: f64, DOUBLE;
    pairs_of_i8: i8, 0.0;
    pairs_of_u8: u8, 0.0;
    pairs_of_i16: i16, 0.0;
    pairs_of_u16: u16, 0.0;
    pairs_of_i32: i32, DOUBLE;
    pairs_of_u32: u32, DOUBLE;
    pairs_of_i64: i64, DOUBLE;
    pairs_of_u64: u64, DOUBLE;
}

macro_rules! complex_pairs {
    ($($name:ident: $t:ty, $unit:expr;)*) => {
        $(#[test]
        fn $name() {
            proptest!(|(len in lengths(), cut in lengths(), seed in any::<u64>())| {
                let mut rng = SmallRng::seed_from_u64(seed);
                let mut numbers = || -> Vec<Complex<$t>> {
                    let reals = vector::<$t>(2 * len, &mut rng);
                    reals.as_chunks::<2>().0.iter().map(|&[re, im]| Complex { re, im }).collect()
                };
                let (a, b) = (numbers(), numbers());
                complex::check(&a, &b, $unit);
                complex::check(&a, &a, $unit);
                complex::check(&a[..cut.min(len)], &b, $unit);
            });
        })*
    };
}

complex_pairs! {
    pairs_of_complex64: f32, SINGLE;
    pairs_of_complex128: f64, DOUBLE;
}

fn many_rows<T: Hostile + Stored<Query: Hostile>>() {
    proptest!(|(lines in 0usize..7, count in 0usize..10, seed in any::<u64>())| {
        let mut rng = SmallRng::seed_from_u64(seed);
        let len = lines * ROW_ALIGN / size_of::<T>();
        let rows: Vec<_> = (0..count).map(|_| rows::Row::new(&vector::<T>(len, &mut rng))).collect();
        rows::check(&vector::<T::Query>(len, &mut rng), &rows);
    });
}

/// As [`many_rows`], where queries are made of numbers that no caller has.
fn many_split_rows<T: Hostile + Stored>() {
    proptest!(|(lines in 0usize..7, count in 0usize..10, seed in any::<u64>())| {
        let mut rng = SmallRng::seed_from_u64(seed);
        let len = lines * ROW_ALIGN / size_of::<T>();
        let rows: Vec<_> = (0..count).map(|_| rows::Row::new(&vector::<T>(len, &mut rng))).collect();
        let floats: Vec<_> = vector::<f64>(len, &mut rng).into_iter().map(T::query_from_f64).collect();
        rows::check(&floats, &rows);
        let own: Vec<_> = vector::<T>(len, &mut rng).into_iter().map(T::to_query).collect();
        rows::check(&own, &rows);
    });
}

macro_rules! rows_of {
    ($($name:ident: $many:ident::<$t:ty>;)*) => {
        $(#[test]
        fn $name() {
            $many::<$t>();
        })*
    };
}

rows_of! {
    rows_of_f16: many_rows::<f16>;
    rows_of_bf16: many_rows::<bf16>;
    rows_of_f32: many_rows::<f32>;
    rows_of_f64: many_rows::<f64>;
    rows_of_i8: many_rows::<i8>;
    rows_of_u8: many_rows::<u8>;
    rows_of_i16: many_rows::<i16>;
    rows_of_u16: many_rows::<u16>;
    rows_of_i32: many_rows::<i32>;
    rows_of_u32: many_rows::<u32>;
    rows_of_i64: many_split_rows::<i64>;
    rows_of_u64: many_split_rows::<u64>;
}
