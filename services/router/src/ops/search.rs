//! The k rows nearest to a vector or to a row.

use std::{sync::Arc, time::Instant};

use arrow::{
    array::{BooleanArray, RecordBatch},
    compute::filter_record_batch,
};
use bytes::Bytes;
use longbow_query::rank;
use longbow_types::{
    Error, ErrorCode, Metric, Result, RowId, Schema,
    limits::{EF_MAX, K_MAX},
    recall::check_recall_target,
};
use longbow_wire::{
    internal::{SearchPartitionsRequest, SearchPartitionsResponse},
    v1,
};

use super::{
    Core, Near, Open, Vector, bytes_of, check_filter,
    explain::Explaining,
    fanout::{self, Answer},
    freshness::Level,
    off_thread,
};
use crate::{
    ingest::ipc,
    rows::{self, Projection},
};

/// A search, not yet checked.
pub type Search = v1::SearchRequest;

/// What a search found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The dataset searched.
    pub open: Open,
    /// How far vectors are apart in the column searched.
    pub metric: Metric,
    /// Rows, best first: the id, `_distance`, `_row_version`, then the columns. None if no partition holds a row.
    pub batch: Option<RecordBatch>,
    /// The columns asked for.
    pub projection: Projection,
    /// How fresh the answer is.
    pub freshness: v1::Freshness,
    /// The recall of such searches, if every replica asked has measured it.
    pub expected_recall: Option<f32>,
    /// How the search was carried out, if that was asked for.
    pub explanation: Option<v1::Explanation>,
}

impl Found {
    /// The rows spelt out and how fresh they are. What takes long is done off the threads that serve sockets.
    ///
    /// # Errors
    /// As [`Found::hits`].
    pub async fn spell(self) -> Result<(Vec<v1::Hit>, v1::Freshness)> {
        let bytes = self.batch.as_ref().map_or(0, bytes_of);
        off_thread(bytes, move || Ok((self.hits()?, self.freshness))).await
    }

    /// The rows spelt out.
    ///
    /// # Errors
    /// `MALFORMED_ARROW` if a shard's answer lacks what it should hold.
    pub fn hits(&self) -> Result<Vec<v1::Hit>> {
        let batch = self.batch.as_ref();
        batch.map_or(Ok(Vec::new()), |batch| {
            rows::hits(batch, &self.open.schema, self.metric, &self.projection)
        })
    }
}

impl Core {
    /// Finds the nearest rows.
    ///
    /// # Errors
    /// Everything that can be wrong with a search, naming the field; those of a fan-out.
    pub async fn search(&self, search: &Search, at: Instant) -> Result<Found> {
        check_bounds(search)?;
        let open = self.open(&search.dataset, at).await?;
        let started = Instant::now();
        let mut found = self.search_open(&open, search, at).await;
        if let Err(error) = found {
            found = match self.moved_on(&open, error, at).await {
                Ok(newer) => self.search_open(&newer, search, at).await,
                Err(error) => Err(error),
            };
        }
        // How long each shard took is the shards' to tell, `longbow_vector_search_latency_seconds`.
        metrics::histogram!("longbow_global_search_duration_seconds").record(started.elapsed().as_secs_f64());
        found
    }

    async fn search_open(&self, open: &Open, search: &Search, at: Instant) -> Result<Found> {
        let projection = Projection::new(&open.schema, &search.columns, search.include_vector)?;
        check_filter(search.filter.as_ref(), &open.schema).await?;
        let level = Level::of(search.consistency.as_ref(), open.view.incarnation)?;
        let mut explaining = search.explain.then(Explaining::begin);
        let column = open.schema.vector_named(&search.vector_column);
        let column = column.map_err(|error| error.field("vector_column"))?;
        let consistency = search.consistency.as_ref();
        let near = self
            .near(open, &column, search.query.as_ref(), consistency, at)
            .await?;
        if let Some(explaining) = &mut explaining {
            explaining.near();
        }
        let request = shard_request(search, &projection, &near);

        let partitions = open.all_partitions();
        let (mut answers, mut freshness) = self
            .read(
                open,
                &partitions,
                level,
                at,
                |mut shard, target, until| {
                    let message = SearchPartitionsRequest {
                        target: Some(target),
                        ..request.clone()
                    };
                    async move { shard.search_partitions(fanout::request(message, until)).await }
                },
                |answer: &SearchPartitionsResponse| &answer.states,
            )
            .await?;
        if let Some(explaining) = &mut explaining {
            explaining.scattered(&mut answers);
        }
        // Where the vector was read from what may be old, the answer may be too.
        freshness.degraded |= near.freshness.degraded;
        let (schema, k) = (open.schema.clone(), search.k as usize);
        let expected_recall = rank::least_recall(answers.iter().map(|answer| answer.answer.expected_recall));
        let batch = merge(answers, schema, near.row, k).await?;
        Ok(Found {
            open: open.clone(),
            metric: column.metric,
            batch,
            projection,
            freshness,
            expected_recall,
            explanation: explaining.map(Explaining::merged),
        })
    }
}

fn check_bounds(search: &Search) -> Result<()> {
    let out_of_range = |field: &'static str, value: u32, limit: String| {
        Err(Error::new(ErrorCode::InvalidValue, format!("{field} = {value}"))
            .field(field)
            .limit(limit))
    };
    if !(1..=K_MAX).contains(&(search.k as usize)) {
        return out_of_range("k", search.k, format!("1 to {K_MAX}"));
    }
    if search.ef as usize > EF_MAX {
        return out_of_range("ef", search.ef, format!("0 to {EF_MAX}"));
    }
    if let Some(target) = search.recall_target {
        check_recall_target(target, search.ef as usize, search.exact)?;
    }
    Ok(())
}

/// What every shard is asked, but for the partitions.
fn shard_request(search: &Search, projection: &Projection, near: &Near) -> SearchPartitionsRequest {
    let (vector, vector64): (Vec<u8>, Vec<u8>) = match &near.vector {
        Vector::F32(values) => (values.iter().flat_map(|x| x.to_le_bytes()).collect(), Vec::new()),
        Vector::F64(values) => (
            // For shards that know of no other.
            values.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect(),
            values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ),
    };
    // The row itself is asked for and dropped, which is cheaper than a filter.
    let k = search.k + u32::from(near.row.is_some());
    SearchPartitionsRequest {
        target: None,
        vector: Bytes::from(vector),
        vector64: Bytes::from(vector64),
        k,
        ef: search.ef,
        filter: search.filter.clone(),
        columns: projection.columns.clone(),
        include_vector: projection.vector.is_some(),
        exact: search.exact,
        recall_target: search.recall_target,
        force_full_precision: search.force_full_precision,
        explain: search.explain,
        vector_column: search.vector_column.clone(),
    }
}

/// One ranked list of those of the shards.
async fn merge(
    answers: Vec<Answer<SearchPartitionsResponse>>,
    schema: Arc<Schema>,
    leave_out: Option<RowId>,
    k: usize,
) -> Result<Option<RecordBatch>> {
    let bytes = answers.iter().map(|answer| answer.answer.arrow_ipc.len()).sum();
    off_thread(bytes, move || {
        let mut batches = Vec::with_capacity(answers.len());
        for answer in answers {
            // One answer is one list; it may have been written as several batches.
            let list = ipc::read_answer(answer.answer.arrow_ipc)?;
            if let Some(list) = list.filter(|list| list.num_rows() > 0) {
                batches.push(rank::sort_batch(&list, schema.id_name())?);
            }
        }
        let spare = usize::from(leave_out.is_some());
        let Some(merged) = rank::merge_batches(&batches, schema.id_name(), k + spare)? else {
            return Ok(None);
        };
        let Some(id) = leave_out else {
            return Ok(Some(merged));
        };
        let ids = rows::read::ids(&merged, &schema)?;
        let others: BooleanArray = (0..merged.num_rows())
            .map(|row| Some(ids.get(row) != id))
            .collect();
        let others = filter_record_batch(&merged, &others)
            .map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))?;
        Ok(Some(others.slice(0, k.min(others.num_rows()))))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k_and_ef_have_bounds() {
        let check = |k, ef| {
            check_bounds(&Search {
                k,
                ef,
                ..Search::default()
            })
        };
        check(1, 0).unwrap();
        check(10_000, 100_000).unwrap();
        for (k, ef, field) in [
            (0, 0, "k"),
            (10_001, 0, "k"),
            (u32::MAX, 0, "k"),
            (1, 100_001, "ef"),
        ] {
            let error = check(k, ef).unwrap_err();
            assert_eq!(
                (error.code, error.field.as_deref()),
                (ErrorCode::InvalidValue, Some(field))
            );
            assert!(error.limit.is_some());
        }
    }

    #[test]
    fn a_recall_target_is_checked_before_anything_is_asked() {
        let check = |recall_target, ef| {
            check_bounds(&Search {
                k: 10,
                ef,
                recall_target,
                ..Search::default()
            })
        };
        check(Some(0.95), 0).unwrap();
        for (target, ef) in [(0.0, 0), (1.0, 0), (f32::NAN, 0), (0.95, 64)] {
            let error = check(Some(target), ef).unwrap_err();
            assert_eq!(
                (error.code, error.field.as_deref()),
                (ErrorCode::InvalidValue, Some("recall_target"))
            );
            assert!(error.limit.is_some());
        }
    }
}
