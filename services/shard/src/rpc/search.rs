//! `SearchPartitions`: the nearest rows in some partitions, merged.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::future::try_join_all;
use longbow_node::rpc::MESSAGE_BYTES_MAX;
use longbow_query::filter::Predicate;
use longbow_query::rank::{least_recall, merge_batches};
use longbow_storage::{Clock, Found, Projection, Query, QueryVector, Searched, View};
use longbow_types::{DatasetId, Error, ErrorCode, Result};
use longbow_wire::internal::{SearchPartitionsRequest, SearchPartitionsResponse};

use super::explain::Observed;
use super::locate::Until;
use super::{Service, answer_to_ipc};
use crate::partition::{Key, Read};
use crate::pool::{Cancel, Lane};

/// Seconds from a search's arrival at the shard to its answer, by dataset.
const LATENCY: &str = "longbow_vector_search_latency_seconds";

/// What the partitions of one search may find together, each its own best rows, before they are merged.
const FOUND_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;

/// A search, checked once and run on each partition.
struct Search {
    searched: Searched,
    vector: Vector,
    k: usize,
    ef: usize,
    recall_target: Option<f32>,
    full_precision: bool,
    exact: bool,
    /// Whether its parts are timed.
    explain: bool,
    predicate: Option<Predicate>,
    projection: Projection,
}

impl Search {
    fn new(request: &SearchPartitionsRequest, view: &View) -> Result<Self> {
        let schema = view.layout().schema();
        let predicate = request
            .filter
            .as_ref()
            .map(|filter| Predicate::compile(filter, schema));
        Ok(Self {
            searched: Searched::new(view.layout(), &request.vector_column)?,
            vector: Vector::of(request)?,
            k: request.k as usize,
            ef: request.ef as usize,
            recall_target: request.recall_target,
            full_precision: request.force_full_precision,
            exact: request.exact,
            explain: request.explain,
            predicate: predicate.transpose()?,
            projection: Projection::new(view.layout(), &request.columns, request.include_vector)?,
        })
    }

    fn run(&self, view: &View, cancel: &Cancel) -> Result<Found> {
        let query = Query {
            searched: self.searched,
            vector: self.vector.as_query(),
            k: self.k,
            ef: self.ef,
            recall_target: self.recall_target,
            full_precision: self.full_precision,
            exact: self.exact,
            predicate: self.predicate.as_ref(),
            projection: &self.projection,
        };
        let began = self.explain.then(Instant::now);
        let elapsed = || since(began);
        let clock = self.explain.then(|| Clock::new(&elapsed));
        view.search_timed(&query, &|| cancel.is_due(), clock)
    }
}

impl Service {
    pub(super) async fn search(
        &self,
        mut request: SearchPartitionsRequest,
        deadline: Option<Instant>,
    ) -> Result<SearchPartitionsResponse> {
        let began = Instant::now();
        let recall_wanted = request.recall_target.is_some();
        let target = request.target.take();
        let dataset = target.as_ref().map(|target| DatasetId(target.dataset_id));
        let located = self.locate(target, Until::Applied, deadline).await?;
        let (waited, explain) = (began.elapsed(), request.explain);
        let views: Vec<Arc<View>> = located.reads.iter().map(|read| Arc::clone(&read.view)).collect();
        let (arrow_ipc, observed) = self.search_views(request, views, deadline).await?;
        if recall_wanted && let Some(dataset) = dataset {
            self.want_recall(dataset, &located.reads);
        }
        metrics::histogram!(LATENCY, "dataset" => located.dataset).record(began.elapsed().as_secs_f64());
        let explained = located.reads.iter().zip(&observed).filter(|_| explain);
        let explanations =
            explained.map(|(read, observed)| observed.spell(&self.state.me, &read.state, waited));
        Ok(SearchPartitionsResponse {
            arrow_ipc,
            expected_recall: least_recall(observed.iter().map(|observed| observed.stats.recall)),
            explanations: explanations.collect(),
            states: located.reads.into_iter().map(|read| read.state).collect(),
        })
    }

    /// Has the builders measure the recall of these partitions, now and whenever they change much.
    fn want_recall(&self, dataset: DatasetId, reads: &[Read]) {
        let partitions = self.state.partitions();
        let mut first = false;
        for read in reads {
            let ordinal = read.state.partition;
            let partition = partitions.get(&Key { dataset, ordinal });
            first |= partition.is_some_and(|partition| partition.want_recall());
        }
        if first {
            self.state.builders.wake();
        }
    }

    /// The best rows of all views as Arrow IPC, and how each view was searched, in their order.
    async fn search_views(
        &self,
        request: SearchPartitionsRequest,
        views: Vec<Arc<View>>,
        deadline: Option<Instant>,
    ) -> Result<(Bytes, Vec<Observed>)> {
        let sent = request.explain.then(Instant::now);
        if let [view] = views.as_slice() {
            let view = Arc::clone(view);
            let work = move |cancel: &Cancel| {
                let queued = since(sent);
                let found = Search::new(&request, &view)?.run(&view, cancel)?;
                Ok((answer_to_ipc(&found.batch)?, vec![Observed::new(&found, queued)]))
            };
            return self.pool.run(Lane::New, deadline, work).await;
        }
        let id = views[0].layout().schema().id_name().to_owned();
        let k = request.k as usize;
        let shared = Arc::new((request, OnceLock::new(), AtomicUsize::new(0)));
        // All partitions at once; the first that fails cancels the others.
        let found = try_join_all(views.into_iter().map(|view| {
            let shared = Arc::clone(&shared);
            let work = move |cancel: &Cancel| {
                let queued = since(sent);
                let (request, search, held) = &*shared;
                // Whichever comes first checks the request for all.
                let search = search.get_or_init(|| Search::new(request, &view));
                let found = search.as_ref().map_err(Error::clone)?.run(&view, cancel)?;
                hold(held, &found.batch)?;
                Ok((Observed::new(&found, queued), found.batch))
            };
            self.pool.run(Lane::New, deadline, work)
        }))
        .await?;
        let merge = move |_: &Cancel| {
            let (observed, batches): (Vec<Observed>, Vec<RecordBatch>) = found.into_iter().unzip();
            let merged = merge_batches(&batches, &id, k)?;
            let ipc = merged.map_or_else(|| Ok(Bytes::new()), |merged| answer_to_ipc(&merged))?;
            Ok((ipc, observed))
        };
        self.pool.run(Lane::Continued, deadline, merge).await
    }
}

/// Time since a moment, if it was noted.
fn since(began: Option<Instant>) -> Duration {
    began.map_or(Duration::ZERO, |began| began.elapsed())
}

/// Counts what the partitions of one search have found, before the best of it is picked.
fn hold(held: &AtomicUsize, batch: &RecordBatch) -> Result<()> {
    let bytes = batch.get_array_memory_size();
    if held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= FOUND_BYTES_MAX {
        return Ok(());
    }
    let message = "the partitions find more than can be merged; ask for fewer rows or columns";
    Err(Error::new(ErrorCode::TooLarge, message)
        .field("columns")
        .limit(format_args!("{FOUND_BYTES_MAX} bytes")))
}

/// A query vector in the width that it came in.
enum Vector {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Vector {
    fn of(request: &SearchPartitionsRequest) -> Result<Self> {
        Ok(if request.vector64.is_empty() {
            Self::F32(elements(&request.vector, "vector", f32::from_le_bytes)?)
        } else {
            Self::F64(elements(&request.vector64, "vector64", f64::from_le_bytes)?)
        })
    }

    fn as_query(&self) -> QueryVector<'_> {
        match self {
            Self::F32(elements) => elements.into(),
            Self::F64(elements) => elements.into(),
        }
    }
}

fn elements<T, const N: usize>(bytes: &[u8], field: &'static str, of: fn([u8; N]) -> T) -> Result<Vec<T>> {
    let (elements, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() {
        let message = format!("a query vector of {} bytes", bytes.len());
        return Err(Error::new(ErrorCode::InvalidVector, message)
            .field(field)
            .limit(format_args!("{N} bytes for each element")));
    }
    Ok(elements.iter().map(|&element| of(element)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, UInt8Array};

    #[test]
    fn a_query_is_as_wide_as_it_was_sent() {
        let narrow = SearchPartitionsRequest {
            vector: Bytes::copy_from_slice(&1.5f32.to_le_bytes()),
            ..Default::default()
        };
        assert!(matches!(Vector::of(&narrow).unwrap(), Vector::F32(elements) if elements == [1.5]));
        let precise = 1_700_000_038_912.5f64;
        let mut wide = SearchPartitionsRequest {
            vector64: Bytes::copy_from_slice(&precise.to_le_bytes()),
            ..narrow
        };
        assert!(matches!(Vector::of(&wide).unwrap(), Vector::F64(elements) if elements == [precise]));
        wide.vector64.truncate(7);
        let error = Vector::of(&wide).err().unwrap();
        assert_eq!(
            (error.code, error.field.as_deref()),
            (ErrorCode::InvalidVector, Some("vector64"))
        );
    }

    #[test]
    fn partitions_share_one_budget() {
        let column: ArrayRef = Arc::new(UInt8Array::from(vec![0; MESSAGE_BYTES_MAX]));
        let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let held = AtomicUsize::new(0);
        for _ in 0..3 {
            hold(&held, &batch).unwrap();
        }
        let error = (0..2).find_map(|_| hold(&held, &batch).err()).unwrap();
        assert_eq!(error.code, ErrorCode::TooLarge);
        assert_eq!(error.limit, Some(format!("{FOUND_BYTES_MAX} bytes").into()));
    }
}
