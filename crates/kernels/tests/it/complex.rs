//! Complex numbers against their definition.

use longbow_kernels::{Complex, Complex128, Hermitian, Number, Paired, Simd, hermitian_at, pair_at, scalar};
use proptest::prelude::*;

use crate::{
    pair,
    twin::{DOUBLE, SINGLE, agrees, all_finite},
};

/// The sizes of all that either part of a product is made of.
fn size<T: Number>((a, b): (&Complex<T>, &Complex<T>)) -> f64 {
    let parts = |z: &Complex<T>| [z.re.wide(), z.im.wide()];
    let products = parts(a).map(|x| parts(b).map(|y| (x * y).abs()));
    products.as_flattened().iter().sum()
}

/// The real and imaginary parts in turn.
fn reals<T: Number>(numbers: &[Complex<T>]) -> Vec<T> {
    numbers.iter().flat_map(|z| [z.re, z.im]).collect()
}

pub fn check<T: Number>(a: &[Complex<T>], b: &[Complex<T>], unit: f64)
where
    Complex<T>: Paired + Hermitian,
{
    let len = a.len().min(b.len());
    let n = len as f64;
    let sizes: f64 = a.iter().zip(b).map(size).sum();
    let product = scalar::hermitian(a, b);
    let (l2, cosine) = (scalar::l2_complex(a, b), scalar::cosine_complex(a, b));
    let (a_reals, b_reals) = (reals(&a[..len]), reals(&b[..len]));
    let dot = scalar::dot(&a_reals, &b_reals);
    let (aa, bb) = (scalar::dot(&a_reals, &a_reals), scalar::dot(&b_reals, &b_reals));
    assert!(product.re == dot || product.re.is_nan() && dot.is_nan());
    let all_finite = all_finite(&a_reals) && all_finite(&b_reals);
    let sums_are_finite = [dot, aa, bb].iter().all(|sum| sum.is_finite());
    // Where sums have 64 bits the twin rounds as often: two terms for each number.
    let steps = (n / 4.0 + 8.0 + if unit == DOUBLE { 2.0 * n } else { 0.0 }) * 2.0;
    let slack = if unit == DOUBLE {
        2.0 * n * f64::from_bits(1)
    } else {
        0.0
    };
    for simd in Simd::ALL {
        let (Some(kernels), Some(hermitian)) =
            (pair_at::<Complex<T>>(simd), hermitian_at::<Complex<T>>(simd))
        else {
            continue;
        };
        let near = |what: &str, got: f64, twin: f64, bound: f64| {
            assert!(
                agrees(got, twin, bound, all_finite),
                "{simd:?} {what} of {n} numbers: {got} {twin} {bound}"
            );
        };
        let bound = steps * unit * sizes + slack;
        let got = hermitian(a, b);
        near("real part", got.re, product.re, bound);
        near("imaginary part", got.im, product.im, bound);
        // Swapping the arguments conjugates the product.
        let swapped = hermitian(b, a);
        near("swapped real part", swapped.re, product.re, bound);
        near("swapped imaginary part", -swapped.im, product.im, bound);
        near("dot", (kernels.dot)(a, b), product.re, bound);
        near("l2", (kernels.l2)(a, b), l2, steps * unit * l2 + slack);
        if sums_are_finite || !all_finite {
            let bound = 4.0 * steps * unit + pair::cosine_slack(slack, aa, bb);
            near("cosine", (kernels.cosine)(a, b), cosine, bound);
        }
    }
}

proptest! {
    #[test]
    fn kernels_agree_with_the_definition(
        values in prop::collection::vec((-4.0..4.0f64, -4.0..4.0f64, -4.0..4.0f64, -4.0..4.0f64), 0..200),
        scale in prop_oneof![Just(1.0), Just(1e30), Just(1e-30), Just(1e18)],
        cut in 0usize..200,
        real in any::<bool>(),
    ) {
        let im = if real { 0.0 } else { 1.0 };
        let a: Vec<Complex128> = values.iter().map(|v| Complex { re: v.0 * scale, im: v.1 * im * scale }).collect();
        let b: Vec<Complex128> = values.iter().map(|v| Complex { re: v.2, im: v.3 * im }).collect();
        let narrow = |v: &[Complex128]| -> Vec<Complex<f32>> {
            v.iter().map(|c| Complex { re: c.re as f32, im: c.im as f32 }).collect()
        };
        let (x, y) = (narrow(&a), narrow(&b));
        let cut = cut.min(a.len());
        check(&a, &b, DOUBLE);
        check(&a[..cut], &b, DOUBLE);
        check(&x, &y, SINGLE);
        check(&x, &x, SINGLE);
        check(&x, &y[..cut], SINGLE);
    }
}

#[test]
fn the_twin_conjugates_its_first_argument() {
    let (a, b) = ([Complex { re: 1.0, im: 2.0 }], [Complex { re: 3.0, im: 5.0 }]);
    assert_eq!(scalar::hermitian(&a, &b), Complex { re: 13.0, im: -1.0 });
}
