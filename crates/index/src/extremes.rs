//! Distances that 32 bits do not hold: one by one, whatever the size of the numbers.
//!
//! Queues compare distances as 32-bit floats, which end where those between rows of 64 bits do not. So a distance of
//! such rows below 2⁻¹⁰⁰ or above 2¹⁰⁰ is kept as a number in the outer range of the 32-bit floats that grows with its
//! logarithm ([`squeezed`]): a 65,536th of a doubling apart at most, distances keep their order, however small or large,
//! with nothing to be known of the data beforehand. Those between, which is nearly all there ever are, stay what they are.
//! Whoever asked is told what a 32-bit float can say ([`told`]).
//!
//! The sums here are written for range and precision, not for speed: kernels come first, and only what they cannot tell
//! is done again.

use longbow_kernels::Number;

use crate::lanes;

/// Exponent from which on distances are kept by their logarithms.
const OUTER: i32 = 100;
/// The distances between which nothing is done to one.
const LEAST: f32 = 1.0 / (1u128 << OUTER) as f32;
const MOST: f32 = (1u128 << OUTER) as f32;
/// Numbers per doubling of an outer distance: with them all 4,300 doublings between the squares of 64-bit floats fit.
const STEPS: f64 = 65536.0;
/// Cosine distances below are done again where rows have more than 32 bits: subtracted from 1 nothing is left of them.
pub(crate) const NEAR: f32 = 1.0 / 1024.0;

/// Whether a kernel's sum of rows of 64 bits is as good as it has to be.
#[inline(always)]
pub(crate) fn is_told(sum: f32) -> bool {
    (LEAST..=MOST).contains(&sum.abs())
}

/// Whether rows of this length can be compared by kernels, and its reciprocal be a factor.
pub(crate) fn is_usual(length: f64) -> bool {
    (f64::from(LEAST)..=f64::from(MOST)).contains(&length)
}

/// Length of a vector: a number times a power of two, which is 1 unless the sum of squares would overflow or vanish.
fn length_of(values: impl Iterator<Item = f64> + Clone) -> (f64, i32) {
    let plain = values.clone().map(|x| x * x).sum::<f64>().sqrt();
    if is_usual(plain) || plain.is_nan() {
        return (plain, 0);
    }
    scaled_length_of(values)
}

/// As [`length_of`], where the sum of squares overflows or vanishes.
fn scaled_length_of(values: impl Iterator<Item = f64> + Clone) -> (f64, i32) {
    let exponent = values.clone().map(exponent_of).max().unwrap_or(0);
    let sum: f64 = values.map(|x| times_power(x, -exponent).powi(2)).sum();
    (sum.sqrt(), exponent)
}

/// Length of a row.
pub(crate) fn length(row: &[f64]) -> f64 {
    let plain = lanes::sum(row, |x| x * x).sqrt();
    if is_usual(plain) || plain.is_nan() {
        return plain;
    }
    let (length, exponent) = scaled_length_of(row.iter().copied());
    times_power(length, exponent)
}

/// What brings a vector to unit length, and one of zeros to itself.
pub(crate) struct Unit {
    exponent: i32,
    scale: f64,
}

impl Unit {
    pub(crate) fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let (length, exponent) = length_of(values);
        Self {
            exponent: -exponent,
            scale: if length > 0.0 { 1.0 / length } else { 0.0 },
        }
    }

    #[inline(always)]
    pub(crate) fn times(&self, x: f64) -> f64 {
        if self.exponent == 0 {
            x * self.scale
        } else {
            times_power(x, self.exponent) * self.scale
        }
    }
}

/// Squared Euclidean distance of pairs of elements, squeezed.
pub(crate) fn l2<N: Number>(pairs: impl Iterator<Item = (N, N)> + Clone) -> f32 {
    let apart = pairs.clone().map(|(a, b)| a.minus(b));
    // Only 64-bit floats can be that far apart.
    let halved = apart.clone().any(f64::is_infinite);
    let apart = pairs.map(|(a, b)| {
        if halved {
            a.wide() / 2.0 - b.wide() / 2.0
        } else {
            a.minus(b)
        }
    });
    let exponent = apart.clone().map(exponent_of).max().unwrap_or(0);
    let sum: f64 = apart.map(|x| times_power(x, -exponent).powi(2)).sum();
    squeezed(sum, 2 * (exponent + i32::from(halved)))
}

/// Inner product of pairs of elements, squeezed.
pub(crate) fn dot<N: Number>(pairs: impl Iterator<Item = (N, N)> + Clone) -> f32 {
    let exponents = pairs
        .clone()
        .map(|(a, b)| (exponent_of(a.wide()), exponent_of(b.wide())));
    let a_exponent = exponents.clone().map(|of| of.0).max().unwrap_or(0);
    let b_exponent = exponents.map(|of| of.1).max().unwrap_or(0);
    let products =
        pairs.map(|(a, b)| times_power(a.wide(), -a_exponent) * times_power(b.wide(), -b_exponent));
    squeezed(products.sum(), a_exponent + b_exponent)
}

/// Cosine distance of pairs of elements, the first ones of a vector of unit length, squeezed; 1 if either is all zeros.
///
/// Half the squared distance of unit vectors: of what lies in nearly the same direction no digit is lost.
pub(crate) fn cosine<N: Number>(pairs: impl Iterator<Item = (N, N)> + Clone) -> f32 {
    let exponent = pairs
        .clone()
        .map(|(_, b)| exponent_of(b.wide()))
        .max()
        .unwrap_or(0);
    let pairs = pairs.map(|(a, b)| (a.wide(), times_power(b.wide(), -exponent)));
    let length = pairs.clone().map(|(_, b)| b * b).sum::<f64>().sqrt();
    if length == 0.0 || pairs.clone().all(|(a, _)| a == 0.0) {
        return 1.0;
    }
    squeezed(pairs.map(|(a, b)| (a - b / length).powi(2)).sum::<f64>() / 2.0, 0)
}

/// `number · 2^exponent` as a 32-bit float that orders as it does, and is it unless it is very small or very large.
fn squeezed(number: f64, exponent: i32) -> f32 {
    if number == 0.0 || !number.is_finite() {
        return number as f32;
    }
    let own = exponent_of(number);
    // From 1 to below 2.
    let fraction = times_power(number.abs(), -own);
    let exponent = exponent + own;
    let magnitude = if (-OUTER..OUTER).contains(&exponent) {
        times_power(fraction, exponent) as f32
    } else {
        let (from, end) = if exponent < 0 {
            (LEAST, -OUTER)
        } else {
            (MOST, OUTER)
        };
        let doublings = f64::from(exponent - end) + (fraction - 1.0);
        let bits = f64::from(from.to_bits()) + (doublings * STEPS).round();
        f32::from_bits(bits as u32)
    };
    magnitude.copysign(number as f32)
}

/// A radius as distances are kept.
pub(crate) fn radius(radius: f32) -> f32 {
    squeezed(f64::from(radius), 0)
}

/// The 32-bit float nearest to a distance that was squeezed.
pub(crate) fn told(distance: f32) -> f32 {
    let size = distance.abs();
    if is_told(distance) || size == 0.0 || !size.is_finite() {
        return distance;
    }
    let (from, end) = if size < LEAST {
        (LEAST, -OUTER)
    } else {
        (MOST, OUTER)
    };
    let doublings = (f64::from(size.to_bits()) - f64::from(from.to_bits())) / STEPS;
    let fraction = doublings - doublings.floor() + 1.0;
    (times_power(fraction, doublings.floor() as i32 + end) as f32).copysign(distance)
}

/// The power of two that is not above a number; that of the least number for 0, something for what is not finite.
fn exponent_of(x: f64) -> i32 {
    let biased = |x: f64| (x.to_bits() << 1 >> 53) as i32;
    if biased(x) > 0 {
        biased(x) - 1023
    } else {
        (biased(x * power(64)) - 1023 - 64).max(-1074)
    }
}

/// 2 to a power that a 64-bit float has at full precision.
fn power(exponent: i32) -> f64 {
    f64::from_bits(((exponent.clamp(-1022, 1023) + 1023) as u64) << 52)
}

/// `x · 2^exponent`, rounded once at most unless it is below the least normal number.
fn times_power(x: f64, exponent: i32) -> f64 {
    let mut rest = exponent.clamp(-3000, 3000);
    let mut x = x;
    while rest != 0 {
        let step = rest.clamp(-1022, 1023);
        x *= power(step);
        rest -= step;
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Finite floats of every size.
    fn floats() -> impl Strategy<Value = f64> {
        any::<u64>()
            .prop_map(f64::from_bits)
            .prop_filter("finite", |x| x.is_finite())
    }

    proptest! {
        #[test]
        fn squeezing_keeps_the_order(a in floats(), b in floats(), scale in -1200i32..1200) {
            let (squeezed_a, squeezed_b) = (squeezed(a, scale), squeezed(b, scale));
            prop_assert!(squeezed_a.is_finite() && squeezed_b.is_finite());
            prop_assert!((a < b) <= (squeezed_a <= squeezed_b));
            // Told apart unless they are as good as equal.
            if (a - b).abs() > a.abs().max(b.abs()) / 30_000.0 {
                prop_assert!((a < b) == (squeezed_a < squeezed_b), "{a} {b} {squeezed_a} {squeezed_b}");
            }
        }

        #[test]
        fn what_is_told_is_the_nearest_there_is(x in floats()) {
            let (told, real) = (told(squeezed(x, 0)), x as f32);
            let slack = if (1e-30..1e30).contains(&x.abs()) { 0.0 } else { x.abs() / 30_000.0 + 1e-44 };
            prop_assert!(told == real || (f64::from(told) - x).abs() <= slack || told.is_infinite() && x.abs() > 3.4e38);
        }

        #[test]
        fn radii_are_distances(radius in 0.0f32..f32::MAX) {
            prop_assert_eq!(super::radius(radius), squeezed(f64::from(radius), 0));
        }

        #[test]
        fn scaled_vectors_have_scaled_distances(
            pairs in prop::collection::vec((-1.0f64..1.0, -1.0f64..1.0), 1..40),
            exponent in prop_oneof![Just(0), Just(-900), Just(900), Just(-500), Just(1000)],
        ) {
            let scaled = pairs.iter().map(|&(a, b)| (times_power(a, exponent), times_power(b, exponent)));
            let plain: f64 = pairs.iter().map(|(a, b)| (a - b).powi(2)).sum();
            let near = |a: f32, b: f32| (a - b).abs() <= a.abs() * 1e-4;
            prop_assert!(near(l2(scaled.clone()), squeezed(plain, 2 * exponent)));
            let product: f64 = pairs.iter().map(|(a, b)| a * b).sum();
            prop_assert!(product.abs() < 1e-3 || near(dot(scaled.clone()), squeezed(product, 2 * exponent)));
            let own = length(&pairs.iter().map(|of| of.0).collect::<Vec<_>>());
            let other = length(&pairs.iter().map(|of| of.1).collect::<Vec<_>>());
            prop_assume!(own > 0.1 && other > 0.1);
            let angle = cosine(pairs.iter().map(|&(a, b)| (a / own, times_power(b, exponent))));
            prop_assert!((f64::from(angle) - (1.0 - product / own / other)).abs() < 3e-7);
            let row: Vec<f64> = scaled.map(|of| of.1).collect();
            prop_assert!((length(&row) / times_power(other, exponent) - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn the_ends_have_answers() {
        let far = |a: f64, b: f64| l2([(a, b)].into_iter());
        assert_eq!(far(1.0, 1.0), 0.0);
        assert!(far(f64::MAX, f64::MIN).is_finite() && far(f64::MAX, f64::MIN) > far(f64::MAX, 0.0));
        assert!(far(5e-324, 0.0) > 0.0 && far(5e-324, 0.0) < far(1e-323, 0.0));
        assert!(far(f64::INFINITY, 0.0).is_nan() || far(f64::INFINITY, 0.0) == f32::INFINITY);
        assert!(far(f64::NAN, 0.0).is_nan());
        assert_eq!(dot([(1e300, 1e300), (1e300, -1e300)].into_iter()), 0.0);
        assert_eq!(cosine([(0.0, 1.0)].into_iter()), 1.0);
        assert_eq!(cosine([(1.0, 0.0)].into_iter()), 1.0);
        assert_eq!(cosine([(1.0, f64::MAX)].into_iter()), 0.0);
        assert_eq!(cosine([(1.0, -5e-324)].into_iter()), 2.0);
        assert!(cosine([(1.0, f64::INFINITY), (0.0, 1.0)].into_iter()).is_nan());
        assert_eq!(length(&[]), 0.0);
        assert_eq!(length(&[0.0, 0.0]), 0.0);
        assert_eq!(length(&[3e300, 4e300]), 5e300);
        assert_eq!(length(&[f64::INFINITY]), f64::INFINITY);
        assert!(length(&[f64::NAN, 1.0]).is_nan());
        for end in [f32::INFINITY, f32::NEG_INFINITY, 0.0] {
            assert_eq!((told(end), radius(end)), (end, end));
        }
        assert!(radius(f32::NAN).is_nan());
        assert!(radius(f32::MAX) < squeezed(1e39, 0));
    }
}
