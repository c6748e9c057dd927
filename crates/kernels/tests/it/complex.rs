//! Complex numbers against their definition.

use longbow_kernels::{Complex, Complex128, Hermitian, Number, Paired, Simd, hermitian_at, pair_at, scalar};
use proptest::prelude::*;

const SINGLE: f64 = 1.0 / (1u64 << 24) as f64;
const DOUBLE: f64 = f64::EPSILON / 2.0;

fn size<T: Number>(z: &Complex<T>) -> f64 {
    z.re.wide().hypot(z.im.wide())
}

fn check<T: Number>(a: &[Complex<T>], b: &[Complex<T>], unit: f64)
where
    Complex<T>: Paired + Hermitian,
{
    let n = a.len().min(b.len()) as f64;
    let sizes: f64 = a.iter().zip(b).map(|(a, b)| size(a) * size(b)).sum();
    let near = |got: f64, twin: f64, size: f64| (got - twin).abs() <= (n / 4.0 + 8.0) * 2.0 * unit * size;
    let product = scalar::hermitian(a, b);
    let (l2, cosine) = (scalar::l2_complex(a, b), scalar::cosine_complex(a, b));
    assert_eq!(scalar::dot_complex(a, b), product.re);
    for simd in Simd::ALL {
        let (Some(kernels), Some(hermitian)) =
            (pair_at::<Complex<T>>(simd), hermitian_at::<Complex<T>>(simd))
        else {
            continue;
        };
        let got = hermitian(a, b);
        assert!(near(got.re, product.re, sizes), "{simd:?} {got:?} {product:?}");
        assert!(near(got.im, product.im, sizes), "{simd:?} {got:?} {product:?}");
        // Swapping the arguments conjugates the product.
        let swapped = hermitian(b, a);
        assert!(near(swapped.re, got.re, sizes) && near(swapped.im, -got.im, sizes));
        let got = (kernels.dot)(a, b);
        assert!(near(got, product.re, sizes), "{simd:?} {got} {product:?}");
        let got = (kernels.l2)(a, b);
        assert!(near(got, l2, l2), "{simd:?} {got} {l2}");
        let got = (kernels.cosine)(a, b);
        assert!(near(got, cosine, 4.0), "{simd:?} {got} {cosine}");
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
