//! DoPut: stores the rows of a stream; its first batch creates the dataset if there is none.
//!
//! Contract: when the call has ended, every row of it is visible to the same client's next search. Small batches are
//! written together; large ones in parts, in order, so that of several rows with one id the last wins.

use std::{collections::BTreeSet, time::Instant};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use arrow_flight::{FlightData, PutResult};
use longbow_types::{Error, ErrorCode, Result, Schema, Token};
use longbow_wire::v1::AckLevel;
use tonic::Streaming;

use super::{info, observe, schema};
use crate::{
    ingest::{Decoded, Decoder},
    ops::{Core, Input, NewDataset, check, deadline_or_default},
};

/// Bytes after which waiting batches are written.
const FLUSH_BYTES: usize = 4 << 20;
/// Bytes of a batch that are checked and written at once.
const PART_BYTES: usize = 64 << 20;

/// Stores a stream.
///
/// # Errors
/// Everything that can be wrong with rows, naming the column; what came before the faulty batch may have been written.
pub async fn do_put(
    core: &Core,
    mut stream: Streaming<FlightData>,
    at: Option<Instant>,
) -> Result<PutResult> {
    let mut put: Option<Put<'_>> = None;
    while let Some(data) = stream
        .message()
        .await
        .map_err(|status| observe::of_stream(&status))?
    {
        let put = match &mut put {
            Some(put) => put,
            None => {
                let descriptor = data.flight_descriptor.as_ref().ok_or_else(|| {
                    Error::new(ErrorCode::MissingField, "the first message has no descriptor")
                        .field("descriptor")
                })?;
                put.insert(Put::new(core, info::dataset_of(descriptor)?, at))
            }
        };
        put.take(data).await?;
    }
    let put =
        put.ok_or_else(|| Error::new(ErrorCode::MissingField, "the stream is empty").field("descriptor"))?;
    put.finish().await
}

/// A stream being stored.
struct Put<'a> {
    core: &'a Core,
    dataset: String,
    at: Option<Instant>,
    decoder: Decoder,
    exists: bool,
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    /// Rows written before those that wait.
    rows: usize,
    /// Covers what was written.
    token: Option<Token>,
    /// Partitions written to.
    partitions: BTreeSet<u32>,
}

impl<'a> Put<'a> {
    fn new(core: &'a Core, dataset: String, at: Option<Instant>) -> Self {
        Self {
            core,
            dataset,
            at,
            decoder: Decoder::new(),
            exists: false,
            waiting: Vec::new(),
            waiting_bytes: 0,
            rows: 0,
            token: None,
            partitions: BTreeSet::new(),
        }
    }

    /// Each write may take as long as a call of its own; the stream as long as its client wants.
    fn deadline(&self) -> Instant {
        deadline_or_default(self.at)
    }

    async fn take(&mut self, data: FlightData) -> Result<()> {
        if data.data_header.is_empty() {
            return Ok(()); // metadata alone
        }
        match self.decoder.message(&data.data_header, data.data_body)? {
            // The dataset is made of the first rows, once they were found fit for it.
            Decoded::Nothing | Decoded::Schema(_) => Ok(()),
            Decoded::Batch(batch) => {
                self.waiting_bytes += batch.get_array_memory_size();
                self.waiting.push(batch);
                if self.waiting_bytes >= FLUSH_BYTES {
                    self.flush().await
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Creates the dataset unless it is there. Rows that would not fit it are refused before.
    async fn ensure(&mut self, stream: &SchemaRef) -> Result<()> {
        self.core.check_latch()?;
        let at = self.deadline();
        if self.core.knows(&self.dataset) {
            self.exists = true;
            return Ok(());
        }
        let schema = match self.fitting(stream).await {
            Ok(schema) => schema,
            // No dataset can be made of it, but one that only other routers know may take its rows.
            Err(error) => {
                self.core.open(&self.dataset, at).await.map_err(|_| error)?;
                self.exists = true;
                return Ok(());
            }
        };
        let new = NewDataset {
            name: self.dataset.clone(),
            schema,
            partitions: 0,
            replication_factor: 0,
            if_not_exists: false,
        };
        match self.core.create_dataset(new, at).await {
            Ok(created) => self.token = Some(created.token),
            // Another stream was faster; whether the rows fit its schema is seen when they are checked.
            Err(error) if error.code == ErrorCode::DatasetExists => {}
            Err(error) => return Err(error),
        }
        self.exists = true;
        Ok(())
    }

    /// The schema for the stream, which the rows that wait fit.
    async fn fitting(&self, stream: &SchemaRef) -> Result<Schema> {
        let first = self.waiting.iter().find(|batch| batch.num_rows() > 0);
        let schema = schema::of_stream(stream, first)?.ok_or_else(|| {
            let message = "the dataset cannot be created: no row tells the length of its vectors";
            Error::new(ErrorCode::InvalidSchema, message)
                .field("vector")
                .limit("a FixedSizeList")
        })?;
        let input = Input::Batches {
            batches: self.waiting.clone(),
            first_row: 0,
        };
        check(input, &schema).await?;
        Ok(schema)
    }

    async fn flush(&mut self) -> Result<()> {
        if !self.exists {
            let stream = self.decoder.schema().cloned().ok_or_else(no_schema)?;
            self.ensure(&stream).await?;
        }
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        for batches in in_parts(waiting) {
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            if rows == 0 {
                continue;
            }
            let input = Input::Batches {
                batches,
                first_row: self.rows,
            };
            let written = self
                .core
                .upsert(&self.dataset, input, AckLevel::Logged, self.deadline())
                .await?;
            self.rows += rows;
            self.token = Some(written.token);
            self.partitions.extend(written.partitions);
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<PutResult> {
        self.flush().await?;
        if let Some(token) = &self.token {
            self.core
                .await_writes(
                    &self.dataset,
                    &self.partitions,
                    token,
                    AckLevel::Applied,
                    self.deadline(),
                )
                .await?;
        }
        let told = serde_json::json!({ "status": "ok", "rows": self.rows });
        Ok(PutResult {
            app_metadata: told.to_string().into(),
        })
    }
}

fn no_schema() -> Error {
    Error::new(ErrorCode::MalformedArrow, "the stream has no schema").field("data_header")
}

/// Batches as groups of bounded size; batches that are larger are cut.
fn in_parts(batches: Vec<RecordBatch>) -> Vec<Vec<RecordBatch>> {
    let mut small = Vec::new();
    let mut parts = Vec::new();
    for batch in batches {
        let bytes = batch.get_array_memory_size();
        if bytes <= PART_BYTES {
            small.push(batch);
            continue;
        }
        parts.push(std::mem::take(&mut small));
        let rows = (batch.num_rows() / bytes.div_ceil(PART_BYTES)).max(1);
        for start in (0..batch.num_rows()).step_by(rows) {
            parts.push(vec![batch.slice(start, rows.min(batch.num_rows() - start))]);
        }
    }
    parts.push(small);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::batch_of_all_kinds;
    use std::sync::Arc;

    #[test]
    fn parts_keep_rows_and_order() {
        let small = batch_of_all_kinds(10);
        let text =
            arrow::array::StringArray::from(vec!["x".repeat(50 << 20), "y".repeat(50 << 20), "z".to_owned()]);
        let large = RecordBatch::try_from_iter([("c", Arc::new(text) as arrow::array::ArrayRef)]).unwrap();
        let parts = in_parts(vec![small.clone(), large, small]);
        let rows: Vec<Vec<usize>> = parts
            .iter()
            .map(|p| p.iter().map(RecordBatch::num_rows).collect())
            .collect();
        assert_eq!(rows, [vec![10], vec![1], vec![1], vec![1], vec![10]]);
    }
}
