//! Filters that match a random share of the rows, with their exact answers.

use longbow_client::{Error, ErrorCode};
use longbow_index::Bitset;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::{
    answers::Truth,
    dataset::{Dataset, Filter},
    exact,
};

/// Matching rows on average that make it sure that there is one.
const ROWS_SURE: f64 = 10.0;

/// A filter for each share, the same for the same share. Refuses a share that comes to no row of the data set.
pub(super) fn filters(dataset: &Dataset, k: usize, shares: &[f64]) -> Result<Vec<Filter>, Error> {
    let filter = |&share: &f64| {
        let mut rng = SmallRng::seed_from_u64(share.to_bits());
        let rows = 0..dataset.rows() as u32;
        let matching: Vec<u32> = rows.filter(|_| rng.random_bool(share)).collect();
        if matching.is_empty() {
            return Err(no_row(share, dataset.rows()));
        }
        let mut allow = Bitset::new(dataset.rows());
        for &row in &matching {
            allow.set(row as usize);
        }
        Ok(Filter {
            name: format!("{share}"),
            allow,
            truth: Truth::from_answers(&exact::nearest(dataset, &matching, k)),
        })
    };
    shares.iter().map(filter).collect()
}

fn no_row(share: f64, rows: usize) -> Error {
    let message = format!("--share {share} matches none of the {rows} rows");
    let sure = (ROWS_SURE / rows as f64).min(1.0);
    Error::new(ErrorCode::InvalidValue, message)
        .field("--share")
        .limit(format_args!("a share that matches a row, as {sure} is sure to"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::made;

    #[test]
    fn a_share_matches_a_row_or_is_refused() {
        let dataset = made::dataset((0..200).map(|x| (x as f32).cos()).collect(), 2);
        let all = filters(&dataset, 3, &[0.5, 1.0]).unwrap();
        assert_eq!(all[1].allow.count(), 100);
        assert!((20..80).contains(&all[0].allow.count()));
        let error = filters(&dataset, 3, &[0.5, 1e-9]).err().unwrap();
        assert_eq!(
            (error.code, error.field.as_deref()),
            (ErrorCode::InvalidValue, Some("--share"))
        );
        assert!(error.message.contains("0.000000001"), "{error}");
        assert!(error.limit.unwrap().contains("0.1"));
    }
}
