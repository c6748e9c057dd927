//! Rotations.

use longbow_kernels::{Simd, rotate, rotate_at};
use rand::{Rng, SeedableRng, rngs::SmallRng};

#[test]
fn rotations_keep_products_and_are_the_same_everywhere() {
    let mut rng = SmallRng::seed_from_u64(4);
    for len in [64, 128, 192, 384, 512, 1536] {
        let signs: Vec<f32> = (0..4 * len)
            .map(|_| if rng.random() { 1.0 } else { -1.0 })
            .collect();
        let mut vector = || -> Vec<f32> { (0..len).map(|_| rng.random_range(-1.0..1.0)).collect() };
        let (a, b) = (vector(), vector());
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let (mut x, mut y) = (a.clone(), b.clone());
        rotate(&mut x, &signs);
        rotate(&mut y, &signs);
        assert!((dot(&x, &y) - dot(&a, &b)).abs() < 1e-3);
        assert!((dot(&x, &x) - dot(&a, &a)).abs() < 1e-3);
        assert!(x.iter().zip(&a).filter(|(x, a)| (*x - *a).abs() < 1e-3).count() < len / 10);
        for simd in Simd::ALL.into_iter().filter(|simd| simd.is_supported()) {
            let mut z = a.clone();
            rotate_at(simd, &mut z, &signs);
            assert_eq!(z, x, "{simd:?} {len}");
        }
    }
}
