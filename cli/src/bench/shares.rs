//! Filters that match a random share of the rows, with their exact answers.

use longbow_index::Bitset;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::{
    dataset::{Dataset, Filter, Truth},
    exact,
};

/// A filter for each share, the same for the same share.
pub(super) fn filters(dataset: &Dataset, k: usize, shares: &[f64]) -> Vec<Filter> {
    let filter = |&share: &f64| {
        let mut rng = SmallRng::seed_from_u64(share.to_bits());
        let rows = 0..dataset.rows() as u32;
        let matching: Vec<u32> = rows.filter(|_| rng.random_bool(share)).collect();
        let mut allow = Bitset::new(dataset.rows());
        for &row in &matching {
            allow.set(row as usize);
        }
        Filter {
            name: format!("{share}"),
            allow,
            truth: Truth::from_answers(&exact::nearest(dataset, &matching, k)),
        }
    };
    shares.iter().map(filter).collect()
}
