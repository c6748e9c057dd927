//! Sums of many numbers, some side by side: one after the other, each addition would wait for the one before.

/// Numbers added side by side.
const LANES: usize = 8;

/// The sum of something about each number.
#[inline(always)]
pub(crate) fn sum<T: Copy>(numbers: &[T], of: impl Fn(T) -> f64) -> f64 {
    let (lanes, rest) = numbers.as_chunks::<LANES>();
    let mut sums = [0.0f64; LANES];
    for lane in lanes {
        for (sum, &x) in sums.iter_mut().zip(lane) {
            *sum += of(x);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|&x| of(x)).sum::<f64>()
}

/// The inner product, as far as both go.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    let len = a.len().min(b.len());
    let (a, a_rest) = a[..len].as_chunks::<LANES>();
    let (b, b_rest) = b[..len].as_chunks::<LANES>();
    let product = |(&a, &b): (&f32, &f32)| f64::from(a) * f64::from(b);
    let mut sums = [0.0f64; LANES];
    for (a, b) in a.iter().zip(b) {
        for (sum, pair) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += product(pair);
        }
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(product).sum::<f64>()
}

/// The largest magnitude.
#[inline(always)]
pub(crate) fn largest(vector: &[f32]) -> f32 {
    let (lanes, rest) = vector.as_chunks::<LANES>();
    let mut largest = [0.0f32; LANES];
    for lane in lanes {
        for (largest, x) in largest.iter_mut().zip(lane) {
            *largest = largest.max(x.abs());
        }
    }
    let all = largest.iter().chain(rest);
    all.fold(0.0, |largest, x| largest.max(x.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_are_summed_once(numbers in prop::collection::vec(-1000i16..1000, 0..40), more in 0usize..9) {
            // Whole numbers, so that no order of additions rounds.
            let a: Vec<f32> = numbers.iter().map(|&x| f32::from(x)).collect();
            let mut b: Vec<f32> = a.iter().rev().copied().collect();
            b.resize(b.len() + more, 7.0);
            let whole = |x: i16| i64::from(x);
            let squares: i64 = numbers.iter().map(|&x| whole(x) * whole(x)).sum();
            prop_assert_eq!(sum(&a, |x| f64::from(x) * f64::from(x)), squares as f64);
            let products: i64 = numbers.iter().zip(numbers.iter().rev()).map(|(&a, &b)| whole(a) * whole(b)).sum();
            prop_assert_eq!(dot(&a, &b), products as f64);
            prop_assert_eq!(dot(&b, &a), products as f64);
            let most = numbers.iter().map(|x| x.abs()).max().unwrap_or(0);
            prop_assert_eq!(largest(&a), f32::from(most));
        }
    }
}
