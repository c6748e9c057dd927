//! What codes are made for: when is a centre worth subtracting, and has the data drifted from it?
//!
//! A look takes a sample of the rows that are held. What lies far away from where most of it lies is left out of the
//! centre and counts as that far and no farther: a row of 10⁹ among rows of length 1 would be all that a mean says, and
//! would take from all others what its own code cannot use. Nothing is kept from one look to the next, so rows that are
//! gone are forgotten, whichever way they went.

use std::sync::atomic::{AtomicU64, Ordering};

use longbow_kernels::Metric;

use crate::{extremes::length, mix::mix};

/// Rows after which the first codes are looked at again at once, in the writer's own time; later on it is done in
/// passes beside everything else.
pub(crate) const EARLY: [u64; 5] = [16, 64, 256, 1024, 4096];
/// Drift is looked for when at least one of so many rows came or went since the last look.
const LOOK_SHARE: u64 = 16;
/// Rows of a sample: their mean has one in so many parts of the residuals' energy.
const SAMPLES: usize = 512;
/// Fewer where rows are long, so that a sample is 8 MiB, but no fewer than these.
const SAMPLES_MIN: usize = 16;
const NUMBERS: usize = 1 << 20;
/// Slots looked at for one of a sample, where most are free.
const TRIES: usize = 64;
/// Squared distance from the middle, in those of the median row, beyond which a row is left out. A Gaussian has none of
/// them but in one dimension, where it has one in 150.
const OUTLYING: f64 = 16.0;
/// A new centre is taken if it leaves less than this share of the residuals' energy: a tenth of the error.
const GAIN: f64 = 0.8;
/// Directions are centred if this share or less of their energy is left: factors cost some speed.
const CENTRED_MAX: f64 = 0.75;
/// Centred directions are coded as they are again if more than this share is left.
const CENTRED_END: f64 = 0.85;

/// Rows that came and went.
#[derive(Default)]
pub(crate) struct Changes {
    written: AtomicU64,
    removed: AtomicU64,
    /// How many it were at the last look.
    looked: AtomicU64,
}

impl Changes {
    /// So many rows are there from the beginning.
    pub(crate) fn begin(&mut self, rows: u64) {
        *self = Self {
            written: rows.into(),
            removed: 0.into(),
            looked: rows.into(),
        };
    }

    pub(crate) fn written(&self, rows: u64) {
        self.written.fetch_add(rows, Ordering::Relaxed);
    }

    pub(crate) fn removed(&self, rows: u64) {
        self.removed.fetch_add(rows, Ordering::Relaxed);
    }

    /// Whether enough changed to look for drift; asking again says no.
    pub(crate) fn look(&self) -> bool {
        let written = self.written.load(Ordering::Relaxed);
        let removed = self.removed.load(Ordering::Relaxed);
        let changes = written.wrapping_add(removed);
        let since = changes.wrapping_sub(self.looked.load(Ordering::Relaxed));
        let due = since.saturating_mul(LOOK_SHARE) >= written.saturating_sub(removed).max(LOOK_SHARE);
        if due {
            self.looked.store(changes, Ordering::Relaxed);
        }
        due
    }
}

/// Slots for a sample of rows of a dimension: of those below `end` that are held, spread evenly, each at random in its
/// part. All that are held, where there are few slots.
pub(crate) fn spread(end: u32, dimension: usize, is_held: impl Fn(u32) -> bool) -> impl Iterator<Item = u32> {
    let most = (NUMBERS / dimension.max(1)).clamp(SAMPLES_MIN, SAMPLES) as u64;
    let (end, parts) = (u64::from(end), most.min(end.into()));
    (0..parts).filter_map(move |part| {
        let (start, stop) = (part * end / parts, (part + 1) * end / parts);
        let first = start + mix(part) % (stop - start);
        let slots = (first..stop).chain(start..first).map(|slot| slot as u32);
        slots.take(TRIES).find(|&slot| is_held(slot))
    })
}

/// Rows, or for the cosine metric their directions, one after the other.
pub(crate) struct Sample {
    metric: Metric,
    dimension: usize,
    values: Vec<f64>,
}

impl Sample {
    pub(crate) fn new(metric: Metric, dimension: usize) -> Self {
        let values = Vec::new();
        Self {
            metric,
            dimension: dimension.max(1),
            values,
        }
    }

    /// Takes a row whose elements `read` appends; one that has no size says nothing.
    pub(crate) fn add(&mut self, read: impl FnOnce(&mut Vec<f64>)) {
        let start = self.values.len();
        read(&mut self.values);
        let row = &mut self.values[start..];
        let norm = length(row);
        if !has_size(norm) {
            self.values.truncate(start);
        } else if self.metric == Metric::Cosine {
            let scale = 1.0 / norm;
            row.iter_mut().for_each(|x| *x *= scale);
        }
    }

    fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.dimension)
    }

    /// The centre that codes should be made for instead of `present`, if it is worth the work. Empty: none.
    pub(crate) fn better(&self, present: &[f32]) -> Option<Vec<f32>> {
        let (middle, limit) = self.middle()?;
        let best = self.mean(&middle, limit);
        let energy = |centre: &[f64]| -> f64 {
            let squares = self.rows().map(|row| square(row, centre).min(limit));
            squares.sum()
        };
        let (whole, rest) = (energy(&vec![0.0; self.dimension]), energy(&best));
        let left = if present.is_empty() {
            whole
        } else {
            energy(&present.iter().map(|&c| f64::from(c)).collect::<Vec<_>>())
        };
        let is_better = match self.metric {
            Metric::Cosine if present.is_empty() => rest < CENTRED_MAX * whole,
            Metric::Cosine if rest > CENTRED_END * whole => return Some(Vec::new()),
            _ => rest < GAIN * left,
        };
        let centre: Vec<f32> = best.iter().map(|&c| c as f32).collect();
        (is_better && centre.iter().all(|c| c.is_finite())).then_some(centre)
    }

    /// Where most rows lie, the median of each coordinate, and the squared distance from there beyond which they are left
    /// out. Nothing if there are no rows.
    fn middle(&self) -> Option<(Vec<f64>, f64)> {
        let mut column = Vec::new();
        let mut median = |values: &mut dyn Iterator<Item = f64>| {
            column.clear();
            column.extend(values);
            let at = column.len().checked_sub(1)? / 2;
            Some(*column.select_nth_unstable_by(at, f64::total_cmp).1)
        };
        let coordinate = |at: usize| {
            self.values[at.min(self.values.len())..]
                .iter()
                .step_by(self.dimension)
        };
        let middle: Vec<f64> = (0..self.dimension)
            .map(|at| median(&mut coordinate(at).copied()))
            .collect::<Option<_>>()?;
        // Rows that lie just there, as many equal ones may, say nothing of how far apart the others are.
        let mut apart = self.rows().map(|row| square(row, &middle)).filter(|&x| x > 0.0);
        let limit = median(&mut apart).map_or(f64::INFINITY, |usual| OUTLYING * usual);
        Some((middle, limit))
    }

    /// The mean of the rows that are not left out.
    fn mean(&self, middle: &[f64], limit: f64) -> Vec<f64> {
        let (mut sum, mut rows) = (vec![0.0; self.dimension], 0.0);
        for row in self.rows().filter(|row| square(row, middle) <= limit) {
            rows += 1.0;
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        sum.iter_mut().for_each(|sum| *sum /= f64::max(rows, 1.0));
        sum
    }
}

/// Whether a row of this length says anything. Squares of larger ones would not leave room for others; smaller ones have no
/// reciprocal.
fn has_size(norm: f64) -> bool {
    norm > 1e-300 && norm < 1e100
}

/// Squared distance.
fn square(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

/// Sums over rows as images have held them since their first version: the number of rows that have a size, the sum of
/// their squares, and that of each coordinate. Nothing is read of them any more.
pub(crate) struct Sums {
    metric: Metric,
    rows: f64,
    squares: f64,
    sum: Vec<f64>,
}

impl Sums {
    pub(crate) fn new(metric: Metric, dimension: usize) -> Self {
        Self {
            metric,
            rows: 0.0,
            squares: 0.0,
            sum: vec![0.0; dimension],
        }
    }

    pub(crate) fn add(&mut self, row: &[f64]) {
        let norm = length(row);
        if !has_size(norm) {
            return;
        }
        let scale = if self.metric == Metric::Cosine {
            1.0 / norm
        } else {
            1.0
        };
        self.rows += 1.0;
        self.squares += (norm * scale).powi(2);
        for (sum, x) in self.sum.iter_mut().zip(row) {
            *sum += scale * x;
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let numbers = [self.rows, self.squares]
            .into_iter()
            .chain(self.sum.iter().copied());
        numbers.flat_map(f64::to_le_bytes).collect()
    }

    /// Bytes of the sums of rows of a dimension.
    pub(crate) fn bytes(dimension: usize) -> usize {
        (dimension + 2) * size_of::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(metric: Metric, rows: &[[f64; 2]]) -> Sample {
        let mut sample = Sample::new(metric, 2);
        for row in rows {
            sample.add(|values| values.extend(row));
        }
        sample
    }

    fn around(x: f64) -> Vec<[f64; 2]> {
        vec![[x + 1.0, 1.0], [x - 1.0, 1.0], [x, -1.0], [x, -1.0]]
    }

    #[test]
    fn a_centre_is_taken_where_it_pays() {
        for metric in [Metric::L2, Metric::Dot] {
            assert_eq!(of(metric, &around(0.0)).better(&[]), None);
            assert_eq!(of(metric, &around(5.0)).better(&[]), Some(vec![5.0, 0.0]));
            assert_eq!(of(metric, &around(5.0)).better(&[5.1, 0.1]), None);
            assert_eq!(of(metric, &around(5.0)).better(&[9.0, 0.0]), Some(vec![5.0, 0.0]));
        }
        assert_eq!(of(Metric::Cosine, &around(0.0)).better(&[]), None);
        let centre = of(Metric::Cosine, &around(5.0)).better(&[]).unwrap();
        assert!((0.9..1.0).contains(&centre[0]));
        assert_eq!(of(Metric::Cosine, &around(0.0)).better(&centre), Some(Vec::new()));
    }

    #[test]
    fn rows_without_a_size_say_nothing() {
        let rows = [[f64::NAN, 1.0], [f64::INFINITY, 0.0], [0.0, 0.0], [1e200, 0.0]];
        assert_eq!(of(Metric::L2, &rows).better(&[]), None);
        // Nor do those that lie where no centre of 32 bits does.
        assert_eq!(of(Metric::L2, &[[1e60, 0.0]; 3]).better(&[]), None);
    }

    #[test]
    fn rows_far_from_all_others_move_nothing() {
        for far in [1e3, 1e9, 1e38, 1e99] {
            let mut rows: Vec<[f64; 2]> = (0..25).flat_map(|_| around(5.0)).collect();
            rows.insert(3, [far, -far]);
            rows.push([-far, 0.0]);
            assert_eq!(of(Metric::L2, &rows).better(&[]), Some(vec![5.0, 0.0]), "{far}");
            assert_eq!(of(Metric::L2, &rows).better(&[5.0, 0.0]), None, "{far}");
        }
        // However many are equal to each other.
        let mut rows = vec![[5.0, 0.0]; 80];
        rows.extend((0..5).flat_map(|_| around(5.0)));
        rows.push([1e9, 1e9]);
        assert_eq!(of(Metric::L2, &rows).better(&[]), Some(vec![5.0, 0.0]));
        assert_eq!(of(Metric::L2, &[[5.0, 0.0]; 9]).better(&[]), Some(vec![5.0, 0.0]));
    }

    #[test]
    fn two_crowds_do_not_pass_the_centre_to_and_fro() {
        let crowds = |first: usize| -> Vec<[f64; 2]> {
            let of = |at: usize| if at < first { 0.0 } else { 1000.0 };
            (0..100).flat_map(|at| around(of(at))).collect()
        };
        let (here, there) = (of(Metric::L2, &crowds(51)), of(Metric::L2, &crowds(49)));
        assert_eq!(here.better(&[]), None);
        assert_eq!(there.better(&[]), None, "the other one has hardly more");
        assert_eq!(there.better(&[1000.0, 0.0]), None);
        assert_eq!(here.better(&[1000.0, 0.0]), None);
        assert_eq!(of(Metric::L2, &crowds(20)).better(&[]), Some(vec![1000.0, 0.0]));
    }

    #[test]
    fn samples_are_spread_over_what_is_held() {
        let all: Vec<u32> = spread(100, 64, |_| true).collect();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        assert_eq!(spread(100, 64, |slot| slot % 2 == 0).count(), 50);
        assert_eq!(spread(0, 64, |_| true).count(), 0);
        let some: Vec<u32> = spread(1_000_000, 64, |slot| slot >= 500_000).collect();
        assert_eq!(some.len(), SAMPLES / 2);
        assert!(some.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(spread(1_000_000, 1 << 20, |_| true).count(), SAMPLES_MIN);
    }

    #[test]
    fn rows_that_go_are_as_much_of_a_reason_to_look_as_those_that_come() {
        let mut changes = Changes::default();
        changes.begin(1_000);
        assert!(!changes.look());
        changes.removed(50);
        assert!(!changes.look());
        changes.written(50);
        assert!(changes.look() && !changes.look());
        changes.removed(900);
        changes.look();
        // Of a hundred that are left.
        changes.written(8);
        assert!(changes.look());
    }
}
