//! DoPut: stores the rows of a stream; its first batch creates the dataset if there is none.
//!
//! Contract: when the call has ended, every row of it is visible to the same client's next search. Small batches are
//! written together; large ones in parts, in order, so that of several rows with one id the last wins. Where the log
//! has no room the stream waits and tells its client so; rows are refused only when waiting did not help.

mod parts;
mod pressure;

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use arrow_flight::{FlightData, PutResult};
use futures::{
    StreamExt,
    channel::mpsc,
    stream::{self, PollNext, select_with_strategy},
};
use longbow_types::{Error, ErrorCode, Result, Schema, Token};
use longbow_wire::v1::AckLevel;
use tonic::Streaming;

use super::{Answers, info, observe, schema};
use crate::{
    ingest::{Decoded, Decoder},
    ops::{Core, Input, NewDataset, Written, check, deadline_or_default, off_thread},
};

/// Bytes sent after which waiting batches are written.
const FLUSH_BYTES: usize = 4 << 20;

/// Stores a stream. Its answers: that it is slowed down, whenever it is and the client listens; at its end what was stored.
///
/// Errors are everything that can be wrong with rows, naming the column; what came before the faulty batch may have
/// been written.
pub fn do_put(core: Core, stream: Streaming<FlightData>, at: Option<Instant>) -> Answers<PutResult> {
    // A client that does not listen is told once and not again.
    let (tell, told) = mpsc::channel(0);
    let stored = stream::once(observe::stream("DoPut", at, store(core, stream, at, tell)));
    select_with_strategy(told.map(Ok), stored, |_: &mut ()| PollNext::Left).boxed()
}

async fn store(
    core: Core,
    mut stream: Streaming<FlightData>,
    at: Option<Instant>,
    tell: mpsc::Sender<PutResult>,
) -> Result<PutResult> {
    let mut put = None;
    let mut tell = Some(tell);
    while let Some(data) = stream
        .message()
        .await
        .map_err(|status| observe::of_stream(&status))?
    {
        if let Some(tell) = tell.take() {
            let descriptor = data.flight_descriptor.as_ref().ok_or_else(|| {
                Error::new(ErrorCode::MissingField, "the first message has no descriptor").field("descriptor")
            })?;
            put = Some(Put::new(core.clone(), info::dataset_of(descriptor)?, at, tell));
        }
        if let Some(put) = &mut put {
            put.take(data).await?;
        }
    }
    let put =
        put.ok_or_else(|| Error::new(ErrorCode::MissingField, "the stream is empty").field("descriptor"))?;
    put.finish().await
}

/// A stream being stored.
struct Put {
    core: Core,
    dataset: String,
    at: Option<Instant>,
    tell: mpsc::Sender<PutResult>,
    decoder: Decoder,
    /// The stream's schema, as far as it is stored.
    stream: Option<SchemaRef>,
    /// The dataset's schema, once the dataset is there.
    schema: Option<Arc<Schema>>,
    waiting: Vec<RecordBatch>,
    /// Bytes that the waiting batches were sent as, dictionaries included.
    waiting_bytes: usize,
    /// Rows written before those that wait.
    rows: usize,
    /// Covers what was written.
    token: Option<Token>,
    /// Partitions written to.
    partitions: BTreeSet<u32>,
}

impl Put {
    fn new(core: Core, dataset: String, at: Option<Instant>, tell: mpsc::Sender<PutResult>) -> Self {
        Self {
            core,
            dataset,
            at,
            tell,
            decoder: Decoder::new(),
            stream: None,
            schema: None,
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
        // All that a message brings is held until it is written, so all of it counts.
        let bytes = data.data_header.len() + data.data_body.len();
        self.waiting_bytes += bytes;
        let mut decoder = std::mem::take(&mut self.decoder);
        let (decoder, decoded) = off_thread(bytes, move || {
            let decoded = decoder.message(&data.data_header, data.data_body)?;
            Ok((decoder, decoded))
        })
        .await?;
        self.decoder = decoder;
        match decoded {
            Decoded::Nothing => Ok(()),
            // The dataset is made of the first rows, once they were found fit for it.
            Decoded::Schema(stream) => {
                let kept = stream.project(&schema::kept(&stream)).map_err(internal)?;
                self.stream = Some(Arc::new(kept));
                Ok(())
            }
            Decoded::Batch(batch) => {
                let kept = schema::kept(batch.schema_ref());
                self.waiting.push(batch.project(&kept).map_err(internal)?);
                if self.waiting_bytes >= FLUSH_BYTES {
                    self.flush().await
                } else {
                    Ok(())
                }
            }
        }
    }

    /// The schema of the dataset, which is created unless this router knows it; `anew` if what it knows is no more.
    async fn ensure(&mut self, anew: bool) -> Result<Arc<Schema>> {
        let stream = self.stream.clone().ok_or_else(no_schema)?;
        self.core.check_latch()?;
        // Rows find out whether the dataset is still there; where there are none only the log can tell.
        let has_rows = self.waiting.iter().any(|batch| batch.num_rows() > 0);
        let known = !anew && has_rows && self.core.knows(&self.dataset);
        let schema = match if known { None } else { self.create(&stream).await? } {
            Some(created) => created,
            None => self.core.open(&self.dataset, self.deadline()).await?.schema,
        };
        schema::check_metric(&stream, &schema)?;
        self.schema = Some(schema.clone());
        Ok(schema)
    }

    /// Creates the dataset; `None` if it is there. Rows that would not fit it are refused before.
    async fn create(&mut self, stream: &SchemaRef) -> Result<Option<Arc<Schema>>> {
        let at = self.deadline();
        let schema = match self.fitting(stream).await {
            Ok(schema) => schema,
            // No dataset can be made of it, but one that only other routers know may take its rows.
            Err(error) => {
                self.core.open(&self.dataset, at).await.map_err(|_| error)?;
                return Ok(None);
            }
        };
        let new = NewDataset {
            name: self.dataset.clone(),
            schema,
            partitions: 0,
            replication_factor: 0,
            if_not_exists: false,
        };
        let (core, tell) = (&self.core, &mut self.tell);
        let created = pressure::patiently(
            at,
            || pressure::tell(tell),
            || core.create_dataset(new.clone(), at),
        )
        .await;
        match created {
            Ok(created) => {
                self.token = Some(created.token);
                Ok(Some(created.open.schema))
            }
            // Another stream was faster; whether the rows fit its schema is seen when they are checked.
            Err(error) if error.code == ErrorCode::DatasetExists => Ok(None),
            Err(error) => Err(error),
        }
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
        let mut first_row = 0;
        for batches in self.parts(Arc::new(schema.clone())).await? {
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            check(Input::Batches { batches, first_row }, &schema).await?;
            first_row += rows;
        }
        Ok(schema)
    }

    /// What waits, as parts that are written one after the other.
    async fn parts(&self, schema: Arc<Schema>) -> Result<Vec<Vec<RecordBatch>>> {
        let (waiting, bytes) = (self.waiting.clone(), self.waiting_bytes);
        off_thread(bytes, move || parts::of(waiting, bytes, &schema)).await
    }

    async fn flush(&mut self) -> Result<()> {
        let schema = match &self.schema {
            Some(schema) => schema.clone(),
            None => self.ensure(false).await?,
        };
        let parts = self.parts(schema).await?;
        for batches in parts {
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            let mut written = self.write(&batches).await;
            if self.rows == 0
                && let Err(error) = &written
                && error.code == ErrorCode::DatasetNotFound
            {
                // It was dropped on another router before this one heard of it: the stream comes to no dataset.
                self.ensure(true).await?;
                written = self.write(&batches).await;
            }
            let written = written?;
            self.rows += rows;
            self.token = Some(written.token);
            self.partitions.extend(written.partitions);
        }
        self.waiting.clear();
        self.waiting_bytes = 0;
        Ok(())
    }

    async fn write(&mut self, batches: &[RecordBatch]) -> Result<Written> {
        let (at, first_row) = (self.deadline(), self.rows);
        let (core, dataset, tell) = (&self.core, &self.dataset, &mut self.tell);
        let attempt = || {
            let input = Input::Batches {
                batches: batches.to_vec(),
                first_row,
            };
            core.upsert(dataset, input, AckLevel::Logged, at)
        };
        // Some of its commands may have been written by an attempt before: the same rows once more change nothing.
        pressure::patiently(at, || pressure::tell(tell), attempt).await
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

fn internal(error: arrow_schema::ArrowError) -> Error {
    Error::new(ErrorCode::Internal, error.to_string())
}
