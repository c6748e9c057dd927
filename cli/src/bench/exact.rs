//! Exact answers from the vectors alone, with no part of the index: what its answers are judged by.

use std::num::NonZero;

use super::dataset::Dataset;

/// Rows that every query is compared with before the next are read: they stay in the cache meanwhile.
const BLOCK: usize = 64;
/// Sums that a product is added up in; the compiler makes registers of them.
const LANES: usize = 16;

/// The `k` rows of largest cosine among some, in ascending order, for every query: nearest first, of equals the first.
pub(super) fn nearest(dataset: &Dataset, rows: &[u32], k: usize) -> Vec<Vec<u32>> {
    let base = Base {
        vectors: &dataset.base,
        dimension: dataset.dimension,
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let part = dataset.queries.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let parts = dataset.queries.chunks(part);
        let threads: Vec<_> = parts
            .map(|queries| scope.spawn(move || base.nearest(queries, rows, k)))
            .collect();
        let answers = threads.into_iter().flat_map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        answers.collect()
    })
}

#[derive(Clone, Copy)]
struct Base<'a> {
    vectors: &'a [f32],
    dimension: usize,
}

impl Base<'_> {
    fn row(&self, row: u32) -> &[f32] {
        &self.vectors[row as usize * self.dimension..][..self.dimension]
    }

    fn nearest(&self, queries: &[Vec<f32>], rows: &[u32], k: usize) -> Vec<Vec<u32>> {
        // The length of a query changes no order.
        let mut best: Vec<Vec<(f32, u32)>> = vec![Vec::with_capacity(k + 1); queries.len()];
        for block in rows.chunks(BLOCK) {
            let lengths: Vec<f32> = block.iter().map(|&row| length(self.row(row))).collect();
            for (query, best) in queries.iter().zip(&mut best) {
                for (&row, &length) in block.iter().zip(&lengths) {
                    let score = dot(query, self.row(row)) / length;
                    let place = best.iter().rposition(|&(other, _)| other >= score);
                    best.insert(place.map_or(0, |place| place + 1), (score, row));
                    best.truncate(k);
                }
            }
        }
        let ids = |best: Vec<(f32, u32)>| best.into_iter().map(|(_, row)| row).collect();
        best.into_iter().map(ids).collect()
    }
}

/// Not zero, so that a row of zeros has a cosine.
fn length(row: &[f32]) -> f32 {
    dot(row, row).sqrt().max(f32::MIN_POSITIVE)
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::SmallRng};

    #[test]
    fn answers_are_those_of_sorting_all_cosines() {
        let mut rng = SmallRng::seed_from_u64(5);
        for (dimension, count) in [(3, 200), (16, 130), (37, 65)] {
            let mut vectors = |count: usize| -> Vec<f32> {
                let numbers = (0..count * dimension).map(|_| rng.random_range(-1.0..1.0));
                numbers.collect()
            };
            let vectors_of = vectors(count);
            let queries: Vec<Vec<f32>> = vectors(7).chunks(dimension).map(<[f32]>::to_vec).collect();
            let rows: Vec<u32> = (0..count as u32).filter(|row| row % 3 != 1).collect();
            let base = Base {
                vectors: &vectors_of,
                dimension,
            };
            for (query, found) in queries.iter().zip(base.nearest(&queries, &rows, 10)) {
                let cosine = |row: u32| {
                    let wide = |a: &[f32], b: &[f32]| -> f64 {
                        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
                    };
                    wide(query, base.row(row)) / wide(base.row(row), base.row(row)).sqrt()
                };
                let mut expected = rows.clone();
                expected.sort_by(|&a, &b| cosine(b).total_cmp(&cosine(a)));
                assert_eq!(found, expected[..10]);
            }
        }
    }

    #[test]
    fn fewer_rows_than_asked_for_are_all_found() {
        let base = Base {
            vectors: &[1.0, 0.0, 0.0, 0.0, 1.0, 1.0],
            dimension: 2,
        };
        let found = base.nearest(&[vec![1.0, 0.2]], &[0, 1, 2], 10);
        assert_eq!(found, [[0, 2, 1]]);
    }
}
