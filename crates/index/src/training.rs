//! What codes are made for: when is a centre worth subtracting, and has the data drifted from it?
//!
//! Sums over the rows are kept up with every write, so asking costs one pass over the dimensions.

use longbow_kernels::Metric;

/// Rows after which the first codes are looked at again at once, in the writer's own time; later on it is done in
/// passes beside everything else.
pub(crate) const EARLY: [u64; 5] = [16, 64, 256, 1024, 4096];
/// Drift is looked for when at least one of so many rows was written since the last look.
const LOOK_SHARE: u64 = 16;
/// A new centre is taken if it leaves less than this share of the residuals' energy: a tenth of the error.
const GAIN: f64 = 0.8;
/// Directions are centred if this share or less of their energy is left: factors cost some speed.
const CENTRED_MAX: f64 = 0.75;
/// Centred directions are coded as they are again if more than this share is left.
const CENTRED_END: f64 = 0.85;

/// Sums over the rows that are stored.
#[derive(Clone)]
pub(crate) struct Moments {
    metric: Metric,
    rows: u64,
    sum: Vec<f64>,
    squares: f64,
    /// Rows that the sums are of: those with a size.
    summed: u64,
    /// Rows written since drift was looked for.
    written: u64,
}

impl Moments {
    pub(crate) fn new(metric: Metric, dimension: usize) -> Self {
        Self {
            metric,
            rows: 0,
            sum: vec![0.0; dimension],
            squares: 0.0,
            summed: 0,
            written: 0,
        }
    }

    pub(crate) fn dimension(&self) -> usize {
        self.sum.len()
    }

    /// The sums as an image holds them.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let numbers = [self.summed as f64, self.squares]
            .into_iter()
            .chain(self.sum.iter().copied());
        numbers.flat_map(f64::to_le_bytes).collect()
    }

    /// The sums of an image of so many slots; nothing if they cannot be.
    pub(crate) fn from_bytes(metric: Metric, dimension: usize, slots: u32, bytes: &[u8]) -> Option<Self> {
        let (numbers, rest) = bytes.as_chunks::<8>();
        let ([summed, squares], sum) = numbers.split_first_chunk()?;
        let summed = f64::from_le_bytes(*summed);
        let fit = sum.len() == dimension && (0.0..=f64::from(slots)).contains(&summed);
        (rest.is_empty() && fit).then(|| Self {
            metric,
            rows: u64::from(slots),
            sum: sum.iter().map(|&x| f64::from_le_bytes(x)).collect(),
            squares: f64::from_le_bytes(*squares),
            summed: summed as u64,
            written: 0,
        })
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// A row was written; `norm` is its own, and one that has none is left out.
    pub(crate) fn add(&mut self, row: &[f64], norm: f64) {
        self.change(row, norm, 1.0);
        self.rows += 1;
        self.written += 1;
    }

    /// A row is about to be written over.
    pub(crate) fn remove(&mut self, row: &[f64], norm: f64) {
        self.change(row, norm, -1.0);
        self.rows = self.rows.saturating_sub(1);
    }

    fn change(&mut self, row: &[f64], norm: f64, sign: f64) {
        // Squares of larger ones would not leave room for others; smaller ones have no reciprocal.
        if !(norm > 1e-300 && norm < 1e100) {
            return;
        }
        let scale = if self.metric == Metric::Cosine {
            1.0 / norm
        } else {
            1.0
        };
        self.summed = self.summed.saturating_add_signed(sign as i64);
        self.squares += sign * (norm * scale).powi(2);
        for (sum, x) in self.sum.iter_mut().zip(row) {
            *sum += sign * scale * x;
        }
    }

    /// Whether enough was written to look for drift; asking again says no.
    pub(crate) fn look(&mut self) -> bool {
        let due = self.written * LOOK_SHARE >= self.rows.max(LOOK_SHARE);
        if due {
            self.written = 0;
        }
        due
    }

    /// The centre that codes should be made for instead of `present`, if it is worth the work. Empty: none.
    pub(crate) fn better(&self, present: &[f32]) -> Option<Vec<f32>> {
        let rows = self.summed.max(1) as f64;
        let energy = self.squares / rows;
        let mean = |sum: &f64| sum / rows;
        let of_mean: f64 = self.sum.iter().map(|sum| mean(sum).powi(2)).sum();
        let best = (energy - of_mean).max(0.0);
        let left = if present.is_empty() {
            energy
        } else {
            let pairs = self.sum.iter().zip(present);
            pairs.fold(energy, |left, (sum, &c)| {
                left + f64::from(c) * (f64::from(c) - 2.0 * mean(sum))
            })
        };
        let cosine = self.metric == Metric::Cosine;
        let centre = || Some(self.sum.iter().map(|sum| mean(sum) as f32).collect());
        if cosine && present.is_empty() {
            return (best < CENTRED_MAX * energy).then(centre)?;
        }
        if cosine && best > CENTRED_END * energy {
            return Some(Vec::new());
        }
        (best < GAIN * left).then(centre)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(metric: Metric, rows: &[[f64; 2]]) -> Moments {
        let mut moments = Moments::new(metric, 2);
        for row in rows {
            moments.add(row, row[0].hypot(row[1]));
        }
        moments
    }

    #[test]
    fn a_centre_is_taken_where_it_pays() {
        let around = |x: f64| [[x + 1.0, 1.0], [x - 1.0, 1.0], [x, -1.0], [x, -1.0]];
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
        let moments = of(Metric::L2, &rows);
        assert_eq!(moments.better(&[]), None);
        assert_eq!(moments.rows(), 4);
    }

    #[test]
    fn an_image_has_a_mean_of_its_rows_alone() {
        let mut moments = of(Metric::L2, &[[5.0, 1.0], [5.0, -1.0], [0.0, 0.0]]);
        let mean = moments.better(&[]);
        assert_eq!(mean, Some(vec![5.0, 0.0]));
        // Of eight slots, most are free.
        let mut read = Moments::from_bytes(Metric::L2, 2, 8, &moments.to_bytes()).unwrap();
        assert_eq!(read.better(&[]), mean);
        for moments in [&mut moments, &mut read] {
            moments.remove(&[0.0, 0.0], 0.0);
            moments.add(&[5.0, 0.0], 5.0);
        }
        assert_eq!(read.better(&[5.0, 0.0]), None);
        assert_eq!(read.better(&[]), moments.better(&[]));
        assert!(
            Moments::from_bytes(Metric::L2, 2, 2, &of(Metric::L2, &[[1.0, 0.0]; 3]).to_bytes()).is_none()
        );
    }

    #[test]
    fn what_is_written_over_does_not_count() {
        let mut moments = of(Metric::L2, &[[9.0, 0.0], [8.0, 1.0], [1.0, 0.0], [-1.0, 0.0]]);
        moments.remove(&[9.0, 0.0], 9.0);
        moments.remove(&[8.0, 1.0], 65f64.sqrt());
        assert_eq!(moments.better(&[]), None);
        assert!(moments.look() && !moments.look());
    }
}
