//! One against one.

use longbow_kernels::{Complex, Number, Simd, bf16, f16, hermitian, pair_at, scalar};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

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

/// Floats of ordinary size, tiny ones (subnormal in every type) and zeros.
fn floats() -> impl Strategy<Value = f64> {
    prop_oneof![8 => -4.0..4.0f64, 1 => Just(0.0), 1 => -1e-6..1e-6f64, 1 => -1e-40..1e-40f64]
}

/// Integers over the type's whole range, ends included.
fn integers(min: i128, max: i128) -> impl Strategy<Value = i128> {
    prop_oneof![4 => min..=max, 1 => Just(min), 1 => Just(max), 1 => Just(0)]
}

/// Holds every supported instruction set against the twin. `unit` is the rounding unit of the sums; 0 means exact.
fn check<T: longbow_kernels::Paired + Number + std::fmt::Debug>(a: &[T], b: &[T], unit: f64) {
    let n = a.len() as f64;
    let terms: f64 = a.iter().zip(b).map(|(x, y)| (x.wide() * y.wide()).abs()).sum();
    let (l2, dot, cosine) = (scalar::l2(a, b), scalar::dot(a, b), scalar::cosine(a, b));
    let tiny = if unit > 1e-10 {
        n * f64::from(f32::MIN_POSITIVE)
    } else {
        0.0
    };
    let steps = n / 8.0 + 8.0;
    for simd in Simd::ALL {
        let Some(kernels) = pair_at::<T>(simd) else {
            continue;
        };
        let near = |got: f64, twin: f64, size: f64| (got - twin).abs() <= steps * unit * size + tiny;
        let got = (kernels.l2)(a, b);
        assert!(near(got, l2, l2), "{simd:?} l2 {got} {l2} of {n} elements");
        let got = (kernels.dot)(a, b);
        assert!(near(got, dot, terms), "{simd:?} dot {got} {dot} of {n} elements");
        // Squares of tiny floats vanish in 32 bits, and with them the direction.
        let norms = [scalar::dot(a, a), scalar::dot(b, b)];
        if norms.iter().all(|&norm| norm == 0.0 || norm > 1e-20) {
            let got = (kernels.cosine)(a, b);
            assert!(
                (got - cosine).abs() <= 4.0 * steps * unit.max(1e-15),
                "{simd:?} cosine {got} {cosine}"
            );
        }
    }
}

macro_rules! twins {
    ($($name:ident: $t:ty, $values:expr, |$x:ident| $make:expr, $unit:expr;)*) => {
        $(#[test]
        fn $name() {
            let strategy = (lengths(), 0usize..4);
            proptest!(|((len, offset) in strategy, seed in any::<u64>())| {
                let mut runner = TestRunner::new_with_rng(
                    ProptestConfig::default(),
                    proptest::test_runner::TestRng::from_seed(
                        proptest::test_runner::RngAlgorithm::ChaCha,
                        &[seed.to_le_bytes(); 4].concat(),
                    ),
                );
                let mut vector = || -> Vec<$t> {
                    (0..len + offset)
                        .map(|_| { let $x = $values.new_tree(&mut runner).unwrap().current(); $make })
                        .collect()
                };
                // Starting at an odd element leaves the data unaligned.
                check(&vector()[offset..], &vector()[offset..], $unit);
            });
        })*
    };
}

const SINGLE: f64 = 1.0 / (1u64 << 24) as f64;
const DOUBLE: f64 = f64::EPSILON / 2.0;

twins! {
    f16_agrees: f16, floats(), |x| f16::from_f64(x), SINGLE;
    bf16_agrees: bf16, floats(), |x| bf16::from_f64(x), SINGLE;
    f32_agrees: f32, floats(), |x| x as f32, SINGLE;
    f64_agrees: f64, floats(), |x| x, DOUBLE;
    i8_agrees: i8, integers(-128, 127), |x| x as i8, 0.0;
    u8_agrees: u8, integers(0, 255), |x| x as u8, 0.0;
    i16_agrees: i16, integers(-32768, 32767), |x| x as i16, 0.0;
    u16_agrees: u16, integers(0, 65535), |x| x as u16, 0.0;
    i32_agrees: i32, integers(i32::MIN.into(), i32::MAX.into()), |x| x as i32, DOUBLE;
    u32_agrees: u32, integers(0, u32::MAX.into()), |x| x as u32, DOUBLE;
    i64_agrees: i64, integers(i64::MIN.into(), i64::MAX.into()), |x| x as i64, DOUBLE;
    u64_agrees: u64, integers(0, u64::MAX.into()), |x| x as u64, DOUBLE;
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

proptest! {
    #[test]
    fn complex_agrees_with_its_definition(
        values in prop::collection::vec((-4.0..4.0f64, -4.0..4.0f64, -4.0..4.0f64, -4.0..4.0f64), 0..200)
    ) {
        let a: Vec<Complex<f64>> = values.iter().map(|v| Complex { re: v.0, im: v.1 }).collect();
        let b: Vec<Complex<f64>> = values.iter().map(|v| Complex { re: v.2, im: v.3 }).collect();
        let narrow = |v: &[Complex<f64>]| -> Vec<Complex<f32>> {
            v.iter().map(|c| Complex { re: c.re as f32, im: c.im as f32 }).collect()
        };
        let product = hermitian(&a, &b);
        let l2: f64 = a.iter().zip(&b).map(|(a, b)| (a.re - b.re).powi(2) + (a.im - b.im).powi(2)).sum();
        prop_assert!((scalar::l2_complex(&a, &b) - l2).abs() <= 1e-9);
        prop_assert!((scalar::dot_complex(&a, &b) - product.re).abs() <= 1e-9);
        // Swapping the arguments conjugates the product.
        let swapped = hermitian(&b, &a);
        prop_assert!((swapped.re - product.re).abs() <= 1e-9 && (swapped.im + product.im).abs() <= 1e-9);
        for simd in Simd::ALL {
            let (Some(wide), Some(single)) = (pair_at::<Complex<f64>>(simd), pair_at::<Complex<f32>>(simd)) else {
                continue;
            };
            prop_assert!(((wide.l2)(&a, &b) - l2).abs() <= 1e-9);
            prop_assert!(((wide.dot)(&a, &b) - product.re).abs() <= 1e-9);
            prop_assert!(((single.l2)(&narrow(&a), &narrow(&b)) - l2).abs() <= 0.01);
            prop_assert!(((single.dot)(&narrow(&a), &narrow(&b)) - product.re).abs() <= 0.01);
            let cosine = (wide.cosine)(&a, &b);
            prop_assert!((-1e-9..=2.0 + 1e-9).contains(&cosine), "{}", cosine);
        }
    }
}

#[test]
fn cosine_of_a_zero_vector_is_one() {
    for simd in Simd::ALL.into_iter().filter(|simd| simd.is_supported()) {
        let kernels = pair_at::<f32>(simd).unwrap();
        assert_eq!((kernels.cosine)(&[0.0; 40], &[1.0; 40]), 1.0);
        assert_eq!((kernels.cosine)(&[], &[]), 1.0);
    }
}
