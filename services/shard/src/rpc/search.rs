//! `SearchPartitions`: the nearest rows in some partitions, merged.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::future::try_join_all;
use longbow_query::filter::Predicate;
use longbow_query::rank::merge_batches;
use longbow_storage::{Projection, Query, View, batch_to_ipc};
use longbow_types::{Error, ErrorCode, Result};
use longbow_wire::internal::{SearchPartitionsRequest, SearchPartitionsResponse};

use super::Service;
use super::locate::Until;
use crate::pool::{Cancel, Lane};

/// Seconds from a search's arrival at the shard to its answer, by dataset.
const LATENCY: &str = "longbow_vector_search_latency_seconds";

/// A search, checked once and run on each partition.
struct Search {
    vector: Vec<f32>,
    k: usize,
    ef: usize,
    exact: bool,
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
            vector: floats(&request.vector)?,
            k: request.k as usize,
            ef: request.ef as usize,
            exact: request.exact,
            predicate: predicate.transpose()?,
            projection: Projection::new(view.layout(), &request.columns, request.include_vector)?,
        })
    }

    fn run(&self, view: &View, cancel: &Cancel) -> Result<RecordBatch> {
        let query = Query {
            vector: &self.vector,
            k: self.k,
            ef: self.ef,
            exact: self.exact,
            predicate: self.predicate.as_ref(),
            projection: &self.projection,
        };
        view.search(&query, &|| cancel.is_due()).map(|found| found.batch)
    }
}

impl Service {
    pub(super) async fn search(
        &self,
        mut request: SearchPartitionsRequest,
        deadline: Option<Instant>,
    ) -> Result<SearchPartitionsResponse> {
        let began = Instant::now();
        let located = self
            .locate(request.target.take(), Until::Applied, deadline)
            .await?;
        let search = Arc::new(Search::new(&request, &located.reads[0].view)?);
        let views: Vec<Arc<View>> = located.reads.iter().map(|read| Arc::clone(&read.view)).collect();
        let arrow_ipc = self.search_views(search, views, deadline).await?;
        metrics::histogram!(LATENCY, "dataset" => located.dataset).record(began.elapsed().as_secs_f64());
        Ok(SearchPartitionsResponse {
            arrow_ipc,
            states: located.reads.into_iter().map(|read| read.state).collect(),
        })
    }

    async fn search_views(
        &self,
        search: Arc<Search>,
        views: Vec<Arc<View>>,
        deadline: Option<Instant>,
    ) -> Result<Bytes> {
        if let [view] = views.as_slice() {
            let view = Arc::clone(view);
            let work = move |cancel: &Cancel| batch_to_ipc(&search.run(&view, cancel)?);
            return self.pool.run(Lane::New, deadline, work).await;
        }
        let id = views[0].layout().schema().id_name().to_owned();
        let k = search.k;
        // All partitions at once; the first that fails cancels the others.
        let batches = try_join_all(views.into_iter().map(|view| {
            let search = Arc::clone(&search);
            self.pool
                .run(Lane::New, deadline, move |cancel| search.run(&view, cancel))
        }))
        .await?;
        let merge = move |_: &Cancel| {
            let merged = merge_batches(&batches, &id, k)?;
            merged.map_or_else(|| Ok(Bytes::new()), |merged| batch_to_ipc(&merged))
        };
        self.pool.run(Lane::Continued, deadline, merge).await
    }
}

fn floats(bytes: &[u8]) -> Result<Vec<f32>> {
    let (elements, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        let message = format!("a query vector of {} bytes", bytes.len());
        return Err(Error::new(ErrorCode::InvalidVector, message)
            .field("vector")
            .limit("4 bytes for each element"));
    }
    Ok(elements
        .iter()
        .map(|element| f32::from_le_bytes(*element))
        .collect())
}
