//! The rows nearest to a vector.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, RecordBatch};
use arrow_schema::{DataType, Field};
use longbow_index::{Bitset, Mode, RecallTarget, SearchParams, Stats};
use longbow_query::filter::Predicate;
use longbow_query::rank::{DISTANCE_COLUMN, sort_batch};
use longbow_types::limits::{EF_MAX, SHARD_K_MAX};
use longbow_types::recall::check_recall_target;
use longbow_types::{Error, ErrorCode, Metric, Result};

use super::{View, answer, cancelled};
use crate::Projection;
use crate::columns::Picks;

/// What is searched for.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Near this vector.
    pub vector: &'a [f32],
    /// Rows wanted.
    pub k: usize,
    /// Width of the graph search; 0: chosen from k, or from the recall target.
    pub ef: usize,
    /// In place of `ef`: the share of the rows sought that is to be found on average, above 0 and below 1. Until it was
    /// [measured](crate::Reader::calibrate) what finds so much, a wide search is taken.
    pub recall_target: Option<f32>,
    /// Walk the graph on the vectors themselves, whatever the quantization.
    pub full_precision: bool,
    /// Compare with every row.
    pub exact: bool,
    /// Only rows for which this is true.
    pub predicate: Option<&'a Predicate>,
    /// Columns of the answer.
    pub projection: &'a Projection,
}

/// The answer to a search.
#[derive(Debug)]
pub struct Found {
    /// Best first by (distance, id): the id, `_distance`, `_row_version`, then the columns asked for.
    pub batch: RecordBatch,
    /// What the index did. `recall` is that of such searches on average, at least; `None` where it was not measured.
    pub stats: Stats,
}

impl View {
    /// The `k` nearest rows; fewer only if fewer match. `cancel` is asked again and again, and ends the search.
    ///
    /// Of rows equally near at the far end of the answer, those written earlier are taken.
    ///
    /// # Errors
    /// `DIMENSION_MISMATCH`, `INVALID_VECTOR` or `INVALID_VALUE` for a bad question, `CANCELLED`, `TOO_LARGE` for an
    /// answer that is.
    pub fn search(&self, query: &Query<'_>, cancel: &dyn Fn() -> bool) -> Result<Found> {
        self.check(query)?;
        let filtered: Bitset;
        let allow: &Bitset = match query.predicate {
            Some(predicate) => {
                filtered = self.matching(predicate, cancel)?;
                &filtered
            }
            None => &self.live,
        };
        let params = self.params(query, allow);
        let (neighbors, stats) = self
            .index
            .search(query.vector, &params, allow, cancel)
            .map_err(|longbow_index::Cancelled| cancelled())?;

        let slots: Vec<u32> = neighbors.iter().map(|neighbor| neighbor.slot).collect();
        let distances = Float32Array::from_iter_values(neighbors.iter().map(|neighbor| neighbor.distance));
        let picks = Picks::new(&self.chunks, &slots);
        self.check_answer(&picks, slots.len(), query.projection, 0)?;
        let field = Arc::new(Field::new(DISTANCE_COLUMN, DataType::Float32, false));
        let mut parts = vec![
            self.stored(&picks, self.layout.id())?,
            (field, Arc::new(distances) as ArrayRef),
            self.stored(&picks, self.layout.row_version())?,
        ];
        parts.extend(self.projected(&picks, &slots, query.projection)?);
        let batch = sort_batch(&answer::batch(parts)?, self.layout.schema().id_name())?;
        Ok(Found { batch, stats })
    }

    /// How the index is to be searched.
    fn params(&self, query: &Query<'_>, allow: &Bitset) -> SearchParams {
        let mut params = SearchParams {
            k: query.k,
            ef: query.ef,
            mode: if query.exact { Mode::Exact } else { Mode::Auto },
        };
        if let Some(target) = query.recall_target {
            let target = RecallTarget::new(target).expect("`check` refuses what is no share");
            params = self.index.aim(query.k, target, allow);
        }
        // An exact search compares the vectors as it is.
        if query.full_precision && params.mode == Mode::Auto {
            params.mode = Mode::FullPrecision;
        }
        params
    }

    fn check(&self, query: &Query<'_>) -> Result<()> {
        let schema = self.layout.schema();
        let dimension = schema.vector().dimension;
        let refuse = |code, message: String| Error::new(code, message).field("vector");
        if query.vector.len() != dimension {
            let message = format!("a query vector of {} elements", query.vector.len());
            return Err(refuse(ErrorCode::DimensionMismatch, message).limit(dimension));
        }
        if let Some(at) = query.vector.iter().position(|element| !element.is_finite()) {
            let message = format!("element {at} of the query vector is not finite");
            return Err(refuse(ErrorCode::InvalidVector, message));
        }
        if schema.vector().metric == Metric::Cosine && query.vector.iter().all(|&element| element == 0.0) {
            return Err(refuse(
                ErrorCode::InvalidVector,
                "a zero vector has no direction".to_owned(),
            ));
        }
        if !(1..=SHARD_K_MAX).contains(&query.k) {
            let message = format!("k is {}", query.k);
            return Err(Error::new(ErrorCode::InvalidValue, message)
                .field("k")
                .limit(format_args!("1 to {SHARD_K_MAX}")));
        }
        if query.ef > EF_MAX {
            let message = format!("ef is {}", query.ef);
            return Err(Error::new(ErrorCode::InvalidValue, message)
                .field("ef")
                .limit(EF_MAX));
        }
        if let Some(target) = query.recall_target {
            check_recall_target(target, query.ef, query.exact)?;
        }
        Ok(())
    }
}
