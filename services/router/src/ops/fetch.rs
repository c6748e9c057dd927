//! Rows by id.

use std::{
    collections::{BTreeSet, HashMap},
    time::Instant,
};

use arrow::array::RecordBatch;
use bytes::Bytes;
use longbow_query::ids::Ids;
use longbow_types::{Error, ErrorCode, Result, RowId, Schema, limits::FETCH_IDS_MAX};
use longbow_wire::{
    internal::{FetchRowsRequest, FetchRowsResponse, PartitionSet},
    v1,
};

use super::{Core, Open, bytes_of, fanout, freshness::Level, off_thread};
use crate::{
    commands::partition_of,
    ingest::{columns::id_batch, ipc},
    rows::{
        self, Projection,
        ids::id_array,
        read,
        write::{checked_ids, distinct},
    },
};

/// Rows to be fetched.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// Ids, of the dataset's kind.
    pub ids: Vec<RowId>,
    /// Columns.
    pub projection: Projection,
    /// How fresh.
    pub consistency: Option<v1::Consistency>,
}

/// Rows that were fetched.
#[derive(Debug, Clone)]
pub struct Rows {
    open: Open,
    ids: Vec<RowId>,
    batches: Vec<RecordBatch>,
    projection: Projection,
    /// How fresh they are.
    pub freshness: v1::Freshness,
}

impl Rows {
    /// The rows spelt out and how fresh they are. What takes long is done off the threads that serve sockets.
    ///
    /// # Errors
    /// As [`Rows::spelt`].
    pub async fn spell(self) -> Result<(Vec<v1::FoundRow>, v1::Freshness)> {
        let bytes = self.batches.iter().map(bytes_of).fold(0, usize::saturating_add);
        off_thread(bytes, move || Ok((self.spelt()?, self.freshness))).await
    }

    /// The rows spelt out, in the order in which they were first asked for. A row is there once, however often its id
    /// was: else a small request could ask for any amount of memory.
    ///
    /// # Errors
    /// `MALFORMED_ARROW` if a shard's answer lacks what it should hold.
    pub fn spelt(&self) -> Result<Vec<v1::FoundRow>> {
        let schema = &self.open.schema;
        let mut found: HashMap<RowId, v1::FoundRow> = HashMap::new();
        for batch in &self.batches {
            let ids = read::ids(batch, schema)?;
            for (row, spelt) in rows::found_rows(batch, schema, &self.projection)?
                .into_iter()
                .enumerate()
            {
                found.insert(ids.get(row), spelt);
            }
        }
        Ok(self.ids.iter().filter_map(|id| found.remove(id)).collect())
    }
}

impl Core {
    /// Fetches rows by id.
    ///
    /// # Errors
    /// `DATASET_NOT_FOUND`, what can be wrong with ids and columns, those of a fan-out.
    pub async fn fetch(&self, request: &v1::GetRowsRequest, at: Instant) -> Result<Rows> {
        let count = request.ids.len();
        if !(1..=FETCH_IDS_MAX).contains(&count) {
            let code = if count == 0 {
                ErrorCode::MissingField
            } else {
                ErrorCode::TooLarge
            };
            return Err(Error::new(code, format!("{count} ids in one call"))
                .field("ids")
                .limit(format_args!("1 to {FETCH_IDS_MAX}")));
        }
        let open = self.open(&request.dataset, at).await?;
        let found = self.fetch_in(&open, request, at).await;
        match found {
            Err(error) => {
                let newer = self.moved_on(&open, error, at).await?;
                self.fetch_in(&newer, request, at).await
            }
            found => found,
        }
    }

    async fn fetch_in(&self, open: &Open, request: &v1::GetRowsRequest, at: Instant) -> Result<Rows> {
        let fetch = Fetch {
            ids: checked_ids(&request.ids, &open.schema)?,
            projection: Projection::new(&open.schema, &request.columns, request.include_vector)?,
            consistency: request.consistency.clone(),
        };
        self.fetch_open(open, &fetch, at).await
    }

    pub(super) async fn fetch_open(&self, open: &Open, fetch: &Fetch, at: Instant) -> Result<Rows> {
        let level = Level::of(fetch.consistency.as_ref(), open.view.incarnation)?;
        let by_partition = by_partition(&fetch.ids, &open.schema, open.partition_count())?;
        let partitions: Vec<u32> = by_partition
            .keys()
            .copied()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let (answers, freshness) = self
            .read(
                open,
                &partitions,
                level,
                at,
                |mut shard, target: PartitionSet, until| {
                    let ids = ids_of(&by_partition, &target.partitions, &open.schema);
                    let request = ids.map(|ids| FetchRowsRequest {
                        target: Some(target),
                        ids,
                        columns: fetch.projection.columns.clone(),
                        include_vector: fetch.projection.vector.is_some(),
                    });
                    async move {
                        let request =
                            request.map_err(|error| longbow_wire::convert::status::to_status(&error))?;
                        shard.fetch_rows(fanout::request(request, until)).await
                    }
                },
                |answer: &FetchRowsResponse| &answer.states,
            )
            .await?;
        let bytes = answers.iter().map(|answer| answer.answer.arrow_ipc.len()).sum();
        let batches = off_thread(bytes, move || {
            answers
                .into_iter()
                .filter_map(|answer| ipc::read_answer(answer.answer.arrow_ipc).transpose())
                .collect()
        })
        .await?;
        Ok(Rows {
            open: open.clone(),
            ids: fetch.ids.clone(),
            batches,
            projection: fetch.projection.clone(),
            freshness,
        })
    }
}

/// Distinct ids by partition.
fn by_partition(ids: &[RowId], schema: &Schema, partitions: u32) -> Result<HashMap<u32, Vec<RowId>>> {
    let ids: Vec<&RowId> = distinct(ids).into_iter().collect();
    let column = id_array(ids.iter().copied(), schema.id_kind());
    let typed = Ids::new(column.as_ref())?;
    let mut found: HashMap<u32, Vec<RowId>> = HashMap::new();
    for (row, id) in ids.into_iter().enumerate() {
        found
            .entry(partition_of(&typed, row, partitions))
            .or_default()
            .push(id.clone());
    }
    Ok(found)
}

/// Ids of some partitions as an Arrow IPC stream.
fn ids_of(by_partition: &HashMap<u32, Vec<RowId>>, partitions: &[u32], schema: &Schema) -> Result<Bytes> {
    let ids = partitions
        .iter()
        .filter_map(|partition| by_partition.get(partition))
        .flatten();
    ipc::write_stream(&id_batch(id_array(ids, schema.id_kind()), schema)?)
}
