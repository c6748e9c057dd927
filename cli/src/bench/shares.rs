//! Filters that match a random share of the rows, with their exact answers.

use anyhow::Result;
use longbow_index::{Bitset, Mode, SearchParams, VectorIndex};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::dataset::{Dataset, Filter, Truth};

/// A filter for each share, the same for the same share.
pub(super) fn filters(
    index: &VectorIndex,
    dataset: &Dataset,
    k: usize,
    shares: &[f64],
) -> Result<Vec<Filter>> {
    let filter = |&share: &f64| {
        let mut rng = SmallRng::seed_from_u64(share.to_bits());
        let mut allow = Bitset::new(dataset.rows());
        for row in 0..dataset.rows() {
            if rng.random_bool(share) {
                allow.set(row);
            }
        }
        let truth = exact(index, dataset, k, &allow)?;
        let name = format!("{share}");
        Ok(Filter { name, allow, truth })
    };
    shares.iter().map(filter).collect()
}

fn exact(index: &VectorIndex, dataset: &Dataset, k: usize, allow: &Bitset) -> Result<Truth> {
    let params = SearchParams {
        k,
        ef: 0,
        mode: Mode::Exact,
    };
    let answer = |query: &Vec<f32>| {
        let (found, _) = index.search(query, &params, allow, &|| false)?;
        Ok(found.iter().map(|neighbor| neighbor.slot).collect())
    };
    let answers: Result<Vec<Vec<u32>>> = dataset.queries.iter().map(answer).collect();
    Ok(Truth::from_answers(&answers?))
}
