//! One against one.

use std::any::TypeId;

use longbow_kernels::{Number, Paired, Simd, bf16, f16, pair_at, scalar};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::twin::{DOUBLE, SINGLE, agrees, all_finite};

/// Lengths around register and unroll boundaries, and arbitrary ones.
fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(15),
        Just(16),
        Just(17),
        Just(63),
        Just(64),
        Just(65),
        0usize..700
    ]
}

/// Floats of ordinary size, subnormal ones and zeros; whole vectors of them are huge or tiny by `scales`.
fn floats() -> impl Strategy<Value = f64> {
    prop_oneof![8 => -4.0..4.0f64, 1 => Just(0.0), 1 => -1e-6..1e-6f64, 1 => -1e-40..1e-40f64]
}

/// Factors that take squares out of the range of 32-bit floats, at either end, and ones that nearly do.
const SCALES: &[f64] = &[1.0, 1.0, 1e30, 1e-30, 1e18, 1e-16, 5e37];
/// What 16-bit floats can bear.
const HALF_SCALES: &[f64] = &[1.0, 1.0, 1e4, 1e-4];

/// Integers over the type's whole range, ends included.
fn integers(min: i128, max: i128) -> impl Strategy<Value = i128> {
    prop_oneof![4 => min..=max, 1 => Just(min), 1 => Just(max), 1 => Just(0)]
}

/// The sizes of the products of elements, and of those products that a kernel of brain floats may leave out: of elements
/// below what is a normal number.
fn sizes<T: Number>(a: &[T], b: &[T]) -> (f64, f64) {
    let tiny = |x: f64| x.abs() < f64::from(f32::MIN_POSITIVE);
    let (mut all, mut lost) = (0.0, 0.0);
    for (x, y) in a.iter().zip(b).map(|(x, y)| (x.wide(), y.wide())) {
        let size = (x * y).abs();
        all += size;
        if TypeId::of::<T>() == TypeId::of::<bf16>() && (tiny(x) || tiny(y)) {
            lost += size;
        }
    }
    (all, lost)
}

/// How far the cosine distance moves when what it is made of moves by `slack`.
pub fn cosine_slack(slack: f64, aa: f64, bb: f64) -> f64 {
    if aa > 0.0 && bb > 0.0 {
        slack / aa + slack / bb + slack / (aa.sqrt() * bb.sqrt())
    } else {
        0.0
    }
}

/// Holds every supported instruction set against the twin, within the error that [`longbow_kernels::Pair`] states. `unit`
/// is the rounding unit of the sums; 0 means exact.
pub fn check<T: Paired + Number>(a: &[T], b: &[T], unit: f64) {
    let len = a.len().min(b.len());
    let n = len as f64;
    let (size, lost) = sizes(a, b);
    let (l2, dot, cosine) = (scalar::l2(a, b), scalar::dot(a, b), scalar::cosine(a, b));
    let (aa, bb) = (
        scalar::dot(&a[..len], &a[..len]),
        scalar::dot(&b[..len], &b[..len]),
    );
    // Where sums have 64 bits the twin rounds as often.
    let steps = n / 8.0 + 8.0 + if unit == DOUBLE { n } else { 0.0 };
    let slack = if unit == DOUBLE {
        n * f64::from_bits(1)
    } else {
        0.0
    };
    let sums_are_finite = [dot, aa, bb].iter().all(|sum| sum.is_finite());
    let all_finite = all_finite(&a[..len]) && all_finite(&b[..len]);
    for simd in Simd::ALL {
        let Some(kernels) = pair_at::<T>(simd) else {
            continue;
        };
        let near = |metric: &str, got: f64, twin: f64, bound: f64| {
            assert!(
                agrees(got, twin, bound, all_finite),
                "{simd:?} {metric} of {n} elements: {got} {twin} {bound}"
            );
        };
        near("l2", (kernels.l2)(a, b), l2, steps * unit * l2 + slack);
        near(
            "dot",
            (kernels.dot)(a, b),
            dot,
            steps * unit * size + lost + slack,
        );
        if sums_are_finite || !all_finite {
            let bound = 4.0 * steps * unit + cosine_slack(slack, aa, bb);
            near("cosine", (kernels.cosine)(a, b), cosine, bound);
        }
    }
}

fn scaled<V: std::ops::Mul>(value: V, scale: V) -> V::Output {
    value * scale
}

macro_rules! twins {
    ($($name:ident: $t:ty, $values:expr, $scales:expr, |$x:ident| $make:expr, $unit:expr;)*) => {
        $(#[test]
        fn $name() {
            let strategy = (lengths(), 0usize..4, lengths(), 0..$scales.len(), 0..$scales.len());
            proptest!(|((len, offset, other, scale, scale_other) in strategy, seed in any::<u64>())| {
                let mut runner = TestRunner::new_with_rng(
                    ProptestConfig::default(),
                    proptest::test_runner::TestRng::from_seed(
                        proptest::test_runner::RngAlgorithm::ChaCha,
                        &[seed.to_le_bytes(); 4].concat(),
                    ),
                );
                let mut vector = |scale: usize| -> Vec<$t> {
                    (0..len + offset)
                        .map(|_| {
                            let $x = scaled($values.new_tree(&mut runner).unwrap().current(), $scales[scale]);
                            $make
                        })
                        .collect()
                };
                // Starting at an odd element leaves the data unaligned.
                let (a, b) = (vector(scale), vector(scale_other));
                let (a, b) = (&a[offset..], &b[offset..]);
                check(a, b, $unit);
                check(a, a, $unit);
                // Only as far as both reach.
                check(&a[..other.min(len)], b, $unit);
                check(a, &b[..other.min(len)], $unit);
            });
        })*
    };
}

twins! {
    f16_agrees: f16, floats(), HALF_SCALES, |x| f16::from_f64(x), SINGLE;
    bf16_agrees: bf16, floats(), SCALES, |x| bf16::from_f64(x), SINGLE;
    f32_agrees: f32, floats(), SCALES, |x| x as f32, SINGLE;
    f64_agrees: f64, floats(), SCALES, |x| x, DOUBLE;
    i8_agrees: i8, integers(-128, 127), &[1i128], |x| x as i8, 0.0;
    u8_agrees: u8, integers(0, 255), &[1i128], |x| x as u8, 0.0;
    i16_agrees: i16, integers(-32768, 32767), &[1i128], |x| x as i16, 0.0;
    u16_agrees: u16, integers(0, 65535), &[1i128], |x| x as u16, 0.0;
    i32_agrees: i32, integers(i32::MIN.into(), i32::MAX.into()), &[1i128], |x| x as i32, DOUBLE;
    u32_agrees: u32, integers(0, u32::MAX.into()), &[1i128], |x| x as u32, DOUBLE;
    i64_agrees: i64, integers(i64::MIN.into(), i64::MAX.into()), &[1i128], |x| x as i64, DOUBLE;
    u64_agrees: u64, integers(0, u64::MAX.into()), &[1i128], |x| x as u64, DOUBLE;
}

#[test]
fn long_vectors_of_extreme_bytes_do_not_overflow() {
    let (high, low) = (vec![i8::MIN; 1 << 18], vec![i8::MAX; 1 << 18]);
    let (ones, zeros) = (vec![u8::MAX; 1 << 18], vec![0u8; 1 << 18]);
    check(&high, &low, 0.0);
    check(&high, &high, 0.0);
    check(&ones, &zeros, 0.0);
    check(&ones, &ones, 0.0);
}

#[test]
fn sixty_four_bit_integers_keep_small_differences() {
    let (a, b) = ([u64::MAX, i64::MAX as u64], [u64::MAX - 3, i64::MAX as u64 - 4]);
    assert_eq!((longbow_kernels::pair::<u64>().l2)(&a, &b), 25.0);
}

#[test]
fn cosine_of_a_zero_vector_is_one() {
    for simd in Simd::ALL.into_iter().filter(|simd| simd.is_supported()) {
        let kernels = pair_at::<f32>(simd).unwrap();
        assert_eq!((kernels.cosine)(&[0.0; 40], &[1.0; 40]), 1.0);
        assert_eq!((kernels.cosine)(&[], &[]), 1.0);
    }
}

/// A product may round to more than either of two squares that just fit.
#[test]
fn cosine_of_vectors_whose_squares_just_fit_is_finite() {
    let mut rng = SmallRng::seed_from_u64(6);
    for _ in 0..100_000 {
        let len = [2usize, 4, 8][rng.random_range(0..3)];
        let near = (f32::MAX / len as f32).sqrt().to_bits();
        let a: Vec<f32> = (0..len)
            .map(|_| f32::from_bits(near - 8 + rng.random_range(0..16)))
            .collect();
        let mut b = a.clone();
        b.rotate_left(1);
        check(&a, &b, SINGLE);
    }
}
