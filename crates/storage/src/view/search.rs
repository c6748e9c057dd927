//! The rows nearest to a vector.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float32Array, RecordBatch};
use arrow_schema::{DataType, Field};
use longbow_index::{
    Bitset, Clock, Mode, QueryVector, RecallTarget, SearchError, SearchParams, Stats, VectorIndex,
};
use longbow_query::filter::Predicate;
use longbow_query::rank::{DISTANCE_COLUMN, sort_batch};
use longbow_types::limits::{EF_MAX, SHARD_K_MAX};
use longbow_types::recall::check_recall_target;
use longbow_types::{Error, ErrorCode, Metric, Result, VectorColumn, VectorElement};

use super::{View, answer, cancelled};
use crate::columns::{Picks, Place, find};
use crate::tenants::Tenants;
use crate::{Projection, Searched};

/// What is searched for.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Which vectors are searched. Rows that have no value there are not found.
    pub searched: Searched,
    /// Near this vector. 64-bit floats are rounded to the column's width.
    pub vector: QueryVector<'a>,
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
    /// What was done around the index.
    pub profile: Profile,
}

/// What a search did beside asking the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Profile {
    /// Live rows.
    pub rows: usize,
    /// Of those, rows that have a value where is searched and for which the predicate is true: all of them without one.
    pub matching: usize,
    /// How long telling them apart took; nothing, as the next, where no clock was handed in.
    pub filter: Duration,
    /// How long fetching the columns of the answer took.
    pub fetch: Duration,
}

impl View {
    /// The `k` nearest rows; fewer only if fewer match. `cancel` is asked again and again, and ends the search.
    ///
    /// Of rows equally near at the far end of the answer, any are taken.
    ///
    /// # Errors
    /// `DIMENSION_MISMATCH`, `INVALID_VECTOR`, `INVALID_VALUE` or `UNKNOWN_COLUMN` for a bad question, `CANCELLED`,
    /// `TOO_LARGE` for an answer that is.
    pub fn search(&self, query: &Query<'_>, cancel: &dyn Fn() -> bool) -> Result<Found> {
        self.search_timed(query, cancel, None)
    }

    /// As [`View::search`]; by a clock, if there is one, it is told how long the parts of the search took.
    ///
    /// # Errors
    /// As [`View::search`].
    pub fn search_timed(
        &self,
        query: &Query<'_>,
        cancel: &dyn Fn() -> bool,
        clock: Option<Clock<'_>>,
    ) -> Result<Found> {
        self.check(query)?;
        let now = || clock.map_or(Duration::ZERO, Clock::now);
        let began = now();
        let among = self.searched(query.searched);
        let filtered: Bitset;
        let allow: &Bitset = match query.predicate {
            Some(predicate) => {
                filtered = self.matching_in(query.searched, predicate, cancel)?;
                &filtered
            }
            None => among.live,
        };
        let mut profile = Profile {
            rows: self.live_rows,
            matching: allow.count(),
            filter: now().saturating_sub(began),
            fetch: Duration::ZERO,
        };
        let params = params(among.index, query, allow);
        let mut neighbors = Vec::with_capacity(query.k.min(profile.matching));
        let stats = among
            .index
            .search_timed(query.vector, &params, allow, cancel, clock, &mut neighbors)
            .map_err(|error| match error {
                SearchError::Cancelled => cancelled(),
                SearchError::Dimension { expected, found } => mismatch(found, expected),
                SearchError::Ragged { .. } => {
                    Error::new(ErrorCode::InvalidValue, error.to_string()).field("vector")
                }
            })?;

        let began = now();
        let distances = Float32Array::from_iter_values(neighbors.iter().map(|neighbor| neighbor.distance));
        let places = neighbors.iter().map(|neighbor| {
            let slot = neighbor.slot;
            let message = || format!("slot {slot} was found and holds no row");
            find(&self.chunks, among.tenants.get(slot))
                .ok_or_else(|| Error::new(ErrorCode::Internal, message()))
        });
        let places = places.collect::<Result<Vec<Place>>>()?;
        let slots = places.iter().map(|&(at, row)| self.chunks[at].slots.at(row));
        let slots: Vec<u32> = slots.collect();
        let picks = Picks::new(&self.layout, &self.chunks, &places);
        self.check_answer(&picks, slots.len(), query.projection, 0)?;
        let field = Arc::new(Field::new(DISTANCE_COLUMN, DataType::Float32, false));
        let mut parts = vec![
            self.stored(&picks, self.layout.id())?,
            (field, Arc::new(distances) as ArrayRef),
            self.stored(&picks, self.layout.row_version())?,
        ];
        parts.extend(self.projected(&picks, &slots, query.projection)?);
        let batch = sort_batch(&answer::batch(parts)?, self.layout.schema().id_name())?;
        profile.fetch = now().saturating_sub(began);
        Ok(Found {
            batch,
            stats,
            profile,
        })
    }

    /// Where the vectors are that are searched.
    fn searched(&self, searched: Searched) -> Among<'_> {
        match searched.0.map(|at| &self.further[at]) {
            None => Among {
                index: &self.index,
                tenants: &self.tenants,
                live: &self.live,
            },
            Some(further) => Among {
                index: &further.index,
                tenants: &further.tenants,
                live: &further.live,
            },
        }
    }

    /// The slots there, of rows that live, for whose rows a predicate is true.
    fn matching_in(
        &self,
        searched: Searched,
        predicate: &Predicate,
        cancel: &dyn Fn() -> bool,
    ) -> Result<Bitset> {
        let Some(at) = searched.0 else {
            return self.matching(predicate, cancel);
        };
        let place = (self.layout.further()[at].stored, self.further[at].live.len());
        self.located()
            .matching_further(&self.layout, place, predicate, cancel)
    }

    fn check(&self, query: &Query<'_>) -> Result<()> {
        if query.searched.0.is_some_and(|at| at >= self.further.len()) {
            let message = "the column searched is one of a later version of the schema";
            return Err(Error::new(ErrorCode::UnknownColumn, message).field("vector_column"));
        }
        let vector = self.layout.vector(query.searched);
        match query.vector {
            QueryVector::F32(elements) => check_elements(&vector, elements.iter().map(|&x| x.into()))?,
            QueryVector::F64(elements) => check_elements(&vector, elements.iter().copied())?,
            // Rows were checked when they were written.
            QueryVector::Row(_) => {}
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

/// The vectors that a search is among.
struct Among<'a> {
    index: &'a VectorIndex,
    tenants: &'a Tenants,
    live: &'a Bitset,
}

/// How an index is to be searched.
fn params(index: &VectorIndex, query: &Query<'_>, allow: &Bitset) -> SearchParams {
    let mut params = SearchParams {
        k: query.k,
        ef: query.ef,
        mode: if query.exact { Mode::Exact } else { Mode::Auto },
    };
    if let Some(target) = query.recall_target {
        let target = RecallTarget::new(target).expect("`check` refuses what is no share");
        params = index.aim(query.k, target, allow);
    }
    // An exact search compares the vectors as it is.
    if query.full_precision && params.mode == Mode::Auto {
        params.mode = Mode::FullPrecision;
    }
    params
}

fn check_elements(vector: &VectorColumn, elements: impl ExactSizeIterator<Item = f64> + Clone) -> Result<()> {
    if elements.len() != vector.dimension {
        return Err(mismatch(elements.len(), vector.dimension));
    }
    let refuse = |message: String| Error::new(ErrorCode::InvalidVector, message).field("vector");
    // What is finite in 64 bits may not be in the column's width.
    let is_finite = |x: f64| match vector.element {
        VectorElement::F64 => x.is_finite(),
        VectorElement::F32 | VectorElement::F16 => (x as f32).is_finite(),
    };
    if let Some(at) = elements.clone().position(|element| !is_finite(element)) {
        return Err(refuse(format!("element {at} of the query vector is not finite")));
    }
    if vector.metric == Metric::Cosine && elements.clone().all(|element| element == 0.0) {
        return Err(refuse("a zero vector has no direction".to_owned()));
    }
    Ok(())
}

fn mismatch(found: usize, dimension: usize) -> Error {
    let message = format!("a query vector of {found} elements");
    Error::new(ErrorCode::DimensionMismatch, message)
        .field("vector")
        .limit(dimension)
}
