//! What estimates are worth: how the distances of a few rows depend on their estimates.
//!
//! Least squares of distances on estimates, not the other way round: rows were chosen by their estimates, which are
//! too small for those chosen, and what a distance is for an estimate does not depend on which estimates are looked at.
//! Where estimates err little the line has slope 1, and where errors outweigh the differences there are, it is flat: of a
//! share `s` of the variance that is error, `1 - s`.

/// Deviations of a distance from what its estimate says within which one may lie, where that says nothing: of all the rows
/// that were not looked at. The more it says, the fewer they are.
const DEVIATIONS: f64 = 5.0;
/// Slope below which links are not chosen by estimates.
const CHOOSING: f64 = 0.85;

/// Estimates and the distances that they stand for.
#[derive(Debug, Default)]
pub(crate) struct Fit {
    count: f64,
    estimate: f64,
    distance: f64,
    /// Sums of squares and of products of what is off the means.
    estimates: f64,
    products: f64,
    distances: f64,
    /// Estimates that are no number where the distance is one.
    broken: bool,
}

impl FromIterator<(f32, f32)> for Fit {
    /// Of estimates, each with its distance.
    fn from_iter<I: IntoIterator<Item = (f32, f32)>>(pairs: I) -> Self {
        let mut fit = Self::default();
        for (estimate, distance) in pairs {
            fit.add(estimate, distance);
        }
        fit
    }
}

impl Fit {
    fn add(&mut self, estimate: f32, distance: f32) {
        if !distance.is_finite() {
            return;
        }
        if !estimate.is_finite() {
            self.broken = true;
            return;
        }
        self.count += 1.0;
        let off_estimate = f64::from(estimate) - self.estimate;
        let off_distance = f64::from(distance) - self.distance;
        self.estimate += off_estimate / self.count;
        self.distance += off_distance / self.count;
        let rest = (self.count - 1.0) / self.count;
        self.estimates += off_estimate * off_estimate * rest;
        self.products += off_estimate * off_distance * rest;
        self.distances += off_distance * off_distance * rest;
    }

    /// How much farther away a row is whose estimate is larger by 1; 1 where all are equally far.
    fn slope(&self) -> f64 {
        if self.distances <= 0.0 {
            1.0
        } else if self.estimates <= 0.0 {
            0.0
        } else {
            self.products / self.estimates
        }
    }

    /// Variance of distances around what their estimates say.
    fn variance(&self) -> f64 {
        let told = self.slope() * self.products;
        (self.distances - told).max(0.0) / (self.count - 2.0).max(1.0)
    }

    /// Whether rows whose estimate is `cut` and more, which were not looked at, may well be nearer than `bound`, the
    /// farthest of the answers. From a slope of `telling` on estimates are taken to tell near from far.
    pub(crate) fn is_blind(&self, telling: f64, cut: f32, bound: f32) -> bool {
        if self.broken {
            return true;
        }
        let slope = self.slope();
        let told = self.distance + slope * (f64::from(cut) - self.estimate);
        let deviations = DEVIATIONS * (1.0 - slope.max(0.0));
        slope < telling && told - deviations * self.variance().sqrt() < f64::from(bound)
    }

    /// Whether links chosen by such estimates would lead nowhere in particular.
    pub(crate) fn is_flat(&self) -> bool {
        if self.count < 3.0 || self.estimates <= 0.0 {
            return self.broken || self.distances > 0.0;
        }
        self.broken || self.slope() < CHOOSING
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::SmallRng};

    use super::*;

    /// Of `rows` rows whose distances vary by about 1 around 100, the 40 nearest by estimates with an error.
    fn of(rows: usize, error: f32, offset: f32) -> (Fit, f32, f32) {
        let mut rng = SmallRng::seed_from_u64(7);
        let mut normal = || (0..12).map(|_| rng.random_range(-0.5f32..0.5)).sum::<f32>();
        let mut all: Vec<(f32, f32)> = (0..rows)
            .map(|_| {
                let distance = 100.0 + normal();
                (distance + error * normal() + offset, distance)
            })
            .collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut fit = Fit::default();
        let mut distances: Vec<f32> = Vec::new();
        for &(estimate, distance) in &all[..40] {
            fit.add(estimate, distance);
            distances.push(distance);
        }
        distances.sort_by(f32::total_cmp);
        (fit, all[39].0, distances[9])
    }

    #[test]
    fn estimates_are_worth_what_their_error_leaves() {
        for offset in [0.0, 50.0, -50.0] {
            for (rows, error) in [(4_000, 0.0), (4_000, 0.1), (300, 0.3)] {
                let (fit, cut, bound) = of(rows, error, offset);
                assert!(!fit.is_blind(0.8, cut, bound), "{error} {offset} {fit:?}");
                assert!(!fit.is_flat(), "{error} {offset} {fit:?}");
            }
            for (rows, error) in [(4_000, 1.0), (100_000, 2.0), (4_000, 7.0)] {
                let (fit, cut, bound) = of(rows, error, offset);
                assert!(fit.is_blind(0.8, cut, bound), "{error} {offset} {fit:?}");
                assert!(error < 7.0 || fit.is_flat(), "{error} {offset} {fit:?}");
            }
        }
    }

    #[test]
    fn what_is_equally_far_needs_no_telling() {
        let mut fit = Fit::default();
        assert!(!fit.is_blind(0.8, 1.0, 1.0) && !fit.is_flat());
        (0..20).for_each(|_| fit.add(0.5, 0.25));
        assert!(!fit.is_blind(0.8, 0.5, 0.25) && !fit.is_flat());
        // Farther away than 32 bits say, as their estimates are.
        fit.add(f32::INFINITY, f32::INFINITY);
        assert!(!fit.is_blind(0.8, 0.5, 0.25) && !fit.is_flat());
    }

    #[test]
    fn estimates_that_are_all_the_same_tell_nothing() {
        let mut fit = Fit::default();
        (0..20).for_each(|at| fit.add(0.5, at as f32));
        assert!(fit.is_blind(0.8, 0.5, 9.0) && fit.is_flat());
        let mut fit = Fit::default();
        (0..20).for_each(|at| fit.add(f32::NAN, at as f32));
        assert!(fit.is_blind(0.8, 0.5, 9.0) && fit.is_flat());
    }
}
