//! Numbers that neither a 64-bit float nor a 64-bit integer holds: what queries against 64-bit integers are made of.

use std::ops::Sub;

use crate::{Number, integer_rows::Real};

/// A number as the sum of two 64-bit floats, so that every 64-bit integer and every float is one exactly.
///
/// Differences of neighbours far from zero (times in nanoseconds, identifiers) are then those of the integers, where
/// rounding to 53 bits first would leave nothing of them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Split {
    high: f64,
    low: f64,
}

/// What an integer's upper half counts.
const UNIT: f64 = (1u64 << 32) as f64;

impl From<f64> for Split {
    #[inline(always)]
    fn from(x: f64) -> Self {
        Self { high: x, low: 0.0 }
    }
}

impl From<i64> for Split {
    #[inline(always)]
    fn from(x: i64) -> Self {
        Self {
            high: (x >> 32) as f64 * UNIT,
            low: f64::from(x as u32),
        }
    }
}

impl From<u64> for Split {
    #[inline(always)]
    fn from(x: u64) -> Self {
        Self {
            high: (x >> 32) as f64 * UNIT,
            low: f64::from(x as u32),
        }
    }
}

impl Number for Split {
    #[inline(always)]
    fn wide(self) -> f64 {
        self.high + self.low
    }

    #[inline(always)]
    fn minus(self, other: Self) -> f64 {
        // The halves' differences are exact where numbers are near each other, which is where it matters.
        (self.high - other.high) + (self.low - other.low)
    }
}

impl Sub for Split {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.minus(other).into()
    }
}

impl Real for Split {
    #[inline(always)]
    fn mul_add(self, by: Self, plus: Self) -> Self {
        self.wide().mul_add(by.wide(), plus.high).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_are_held_exactly(a: i64, b: u64, near in -1000i64..1000) {
            prop_assert_eq!(Split::from(a).wide(), a as f64);
            prop_assert_eq!(Split::from(b).wide(), b as f64);
            let moved = a.saturating_add(near);
            prop_assert_eq!(Split::from(moved).minus(Split::from(a)), (i128::from(moved) - i128::from(a)) as f64);
            let moved = b.saturating_add_signed(near);
            prop_assert_eq!((Split::from(moved) - Split::from(b)).wide(), (i128::from(moved) - i128::from(b)) as f64);
        }

        #[test]
        fn a_float_is_as_far_from_an_integer_as_it_is(x in -1i64 << 53..1 << 53, by in -1000.0f64..1000.0) {
            let moved = x as f64 + by;
            prop_assert_eq!(Split::from(moved).minus(Split::from(x)), moved - x as f64);
        }
    }
}
