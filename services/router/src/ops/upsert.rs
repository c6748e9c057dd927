//! Inserts rows or replaces those with the same id.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::{array::RecordBatch, compute::concat_batches};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use longbow_types::{DatasetId, Error, ErrorCode, Lsn, Result, Schema, Token, limits::WRITE_ROWS_MAX};
use longbow_wire::{
    internal::entry_header,
    v1::{self, AckLevel},
};
use prost::Message;

use super::{Core, Open, off_thread};
use crate::{
    commands::{self, Command, Target},
    ingest::{self, size},
    rows::{batch_from_rows, write::check_count},
};

/// Commands of one call under way at once.
const COMMANDS_AT_ONCE: usize = 4;
/// How long a newer catalogue is waited for after the log said that ours is old.
const REFRESH: Duration = Duration::from_secs(2);

/// Rows from outside, not yet looked at.
#[derive(Debug, Clone)]
pub enum Input {
    /// Rows spelt out.
    Rows(Vec<v1::Row>),
    /// An Arrow IPC stream.
    ArrowIpc(Bytes),
    /// Batches that were decoded already, the first of which starts with this row of its call.
    Batches {
        /// Batches of one schema.
        batches: Vec<RecordBatch>,
        /// Row of the call that they start with.
        first_row: usize,
    },
}

/// What became of a write.
#[derive(Debug, Clone)]
pub struct Written {
    /// Covers the write.
    pub token: Token,
    /// How far it has come.
    pub ack: AckLevel,
    /// Rows written, after duplicates were folded.
    pub rows: u64,
    /// Ordinals of the partitions touched.
    pub partitions: BTreeSet<u32>,
}

impl Input {
    /// Roughly how many bytes have to be gone through.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Input::Rows(rows) => rows.iter().map(Message::encoded_len).sum(),
            Input::ArrowIpc(bytes) => bytes.len(),
            Input::Batches { batches, .. } => batches.iter().map(RecordBatch::get_array_memory_size).sum(),
        }
    }

    /// Row of the call that these start with.
    fn first_row(&self) -> usize {
        match self {
            Input::Rows(_) | Input::ArrowIpc(_) => 0,
            Input::Batches { first_row, .. } => *first_row,
        }
    }
}

impl Core {
    /// Checks rows whole, writes them, and waits until they have come as far as asked.
    ///
    /// # Errors
    /// Everything that can be wrong with rows, before anything is written; `LATCH_TRIPPED`; those of an append.
    pub async fn upsert(&self, dataset: &str, input: Input, ack: AckLevel, at: Instant) -> Result<Written> {
        let bytes = input.bytes();
        let input = Arc::new(input);
        self.write(dataset, bytes, ack, at, move |schema, target| {
            let batch = checked(&input, schema)?;
            commands::upsert(&batch, id_in(&batch, schema)?, input.first_row(), target)
        })
        .await
    }

    /// Writes what `prepare` makes of a dataset's schema and map, and waits until it has come as far as asked.
    pub(super) async fn write<P>(
        &self,
        dataset: &str,
        bytes: usize,
        ack: AckLevel,
        at: Instant,
        prepare: P,
    ) -> Result<Written>
    where
        P: Fn(&Schema, Target) -> Result<Vec<Command>> + Clone + Send + 'static,
    {
        let (open, commands, lsn) = self.log(dataset, bytes, at, prepare).await?;
        self.settle(&open, &commands, lsn, ack, at).await
    }

    /// Appends what `prepare` makes of a dataset's schema and map; makes it anew, once, if those turn out to be old. Gives
    /// the dataset as it was then, what was made, and its last position.
    pub(super) async fn log<P, C>(
        &self,
        dataset: &str,
        bytes: usize,
        at: Instant,
        prepare: P,
    ) -> Result<(Open, C, Lsn)>
    where
        P: Fn(&Schema, Target) -> Result<C> + Clone + Send + 'static,
        C: AsRef<[Command]> + Send + 'static,
    {
        self.check_latch()?;
        let mut open = self.open(dataset, at).await?;
        let mut refreshed = false;
        loop {
            let (schema, target, work) = (open.schema.clone(), open.target(), prepare.clone());
            let prepared = off_thread(bytes, move || work(&schema, target)).await?;
            let commands = prepared.as_ref().to_vec();
            match self.append_all(commands, &open, at).await {
                Ok(lsn) => return Ok((open, prepared, lsn)),
                Err(error) if is_stale(&error) && !refreshed => {
                    refreshed = true;
                    open = self.reopen(&open, at).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Appends commands and gives the position of the last.
    async fn append_all(&self, commands: Vec<Command>, open: &Open, at: Instant) -> Result<Lsn> {
        let nothing = Lsn {
            group: 0,
            incarnation: open.view.incarnation,
            index: 0,
        };
        // No id is in two commands, so their order does not matter.
        let appends: Vec<_> = commands
            .into_iter()
            .map(|command| self.append(entry_header::Command::Write(command.write), command.body, at))
            .collect();
        stream::iter(appends)
            .buffer_unordered(COMMANDS_AT_ONCE)
            .try_fold(nothing, |last, lsn| async move { Ok(last.max(lsn)) })
            .await
    }

    async fn settle(
        &self,
        open: &Open,
        commands: &[Command],
        lsn: Lsn,
        ack: AckLevel,
        at: Instant,
    ) -> Result<Written> {
        let touched: BTreeSet<u32> = commands.iter().flat_map(Command::partitions).collect();
        let ack = if ack == AckLevel::Unspecified {
            AckLevel::Logged
        } else {
            ack
        };
        self.wait_for(open, &touched, lsn.index, ack, at).await?;
        let rows = commands.iter().map(|command| command.rows).sum();
        Ok(Written {
            token: Token::of(lsn),
            ack,
            rows,
            partitions: touched,
        })
    }

    /// The dataset as a newer catalogue has it.
    pub(super) async fn reopen(&self, old: &Open, at: Instant) -> Result<Open> {
        let patience = at.min(Instant::now() + REFRESH);
        let newer = old.view.catalogue.applied_index() + 1;
        // In vain only if the log is wrong about us; then the second refusal is the caller's.
        let _ = self.0.watch.wait_for_index(newer, Some(patience)).await;
        // That may have been news of other datasets.
        self.open_newest(&old.dataset.name, at).await
    }
}

/// Checks rows against a schema that no dataset has yet.
///
/// # Errors
/// Everything that can be wrong with rows.
pub async fn check(input: Input, schema: &Schema) -> Result<()> {
    let (bytes, schema) = (input.bytes(), schema.clone());
    off_thread(bytes, move || {
        let batch = checked(&input, &schema)?;
        let nowhere = Target {
            dataset: DatasetId(0),
            schema_version: 1,
            map_epoch: 1,
            partitions: 1,
        };
        commands::upsert(&batch, id_in(&batch, &schema)?, input.first_row(), nowhere).map(drop)
    })
    .await
}

/// Rows from outside as one batch of the dataset's schema.
pub(super) fn checked(input: &Input, schema: &Schema) -> Result<RecordBatch> {
    let batches = match input {
        Input::Rows(rows) => {
            let left_out = |name: &str| rows.iter().filter(|row| !row.columns.contains_key(name)).count();
            let is_told = |name: &str| rows.iter().any(|row| row.columns.contains_key(name));
            let fixed = size::fixed(rows.len(), schema, is_told);
            size::check(fixed.saturating_add(size::defaults(schema, left_out)))?;
            return batch_from_rows(rows, schema);
        }
        Input::ArrowIpc(bytes) => {
            let (_, batches) = ingest::read_stream(bytes.clone(), WRITE_ROWS_MAX)?;
            check_count(batches.iter().map(RecordBatch::num_rows).sum(), "rows")?;
            batches
        }
        Input::Batches { batches, .. } => batches.clone(),
    };
    // Before the first column is built: what is left out or shared takes no room until then.
    size::check(
        batches
            .iter()
            .map(|batch| size::in_dataset(batch, schema))
            .fold(0, u64::saturating_add),
    )?;
    let mut row = input.first_row();
    let mut adapted = Vec::with_capacity(batches.len());
    for batch in &batches {
        adapted.push(ingest::adapt(batch, schema, row)?);
        row += batch.num_rows();
    }
    match <[RecordBatch; 1]>::try_from(adapted) {
        Ok([batch]) => Ok(batch),
        Err(several) => {
            // All are of one schema, as what they were made of.
            let schema = several
                .first()
                .map_or_else(|| schema.arrow().clone(), RecordBatch::schema);
            concat_batches(&schema, &several).map_err(|error| {
                Error::new(
                    ErrorCode::TooLarge,
                    format!("the batches do not fit together: {error}"),
                )
                .field("arrow_ipc")
            })
        }
    }
}

/// Where the id stands among the columns of a batch that may lack some of the dataset's.
pub(super) fn id_in(batch: &RecordBatch, schema: &Schema) -> Result<usize> {
    let found = batch.schema_ref().index_of(schema.id_name());
    found.map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))
}

/// The log refused a write because the router's catalogue is old: it was checked against what is no more.
fn is_stale(error: &Error) -> bool {
    matches!(
        error.code,
        ErrorCode::SchemaVersionStale | ErrorCode::MapEpochStale | ErrorCode::DatasetNotFound
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{encode, vectors_of};
    use arrow::array::{ArrayRef, DictionaryArray, Int32Array, StringArray, UInt64Array};
    use arrow_schema::{DataType, Field};
    use longbow_types::{Metric, VectorElement, schema::vector_type};

    fn schema(others: impl IntoIterator<Item = Field>) -> Schema {
        let mut fields = vec![
            Field::new("id", DataType::UInt64, false),
            Field::new("vector", vector_type(VectorElement::F32, 1), false),
        ];
        fields.extend(others);
        Schema::new(fields, "id", Metric::L2).unwrap()
    }

    fn refused(input: Input, schema: &Schema) {
        let error = checked(&input, schema).unwrap_err();
        assert_eq!(
            (error.code, error.limit.as_deref()),
            (ErrorCode::TooLarge, Some("268435456 bytes")),
            "{error}"
        );
    }

    #[test]
    fn columns_left_out_cannot_make_a_small_write_huge() {
        let wide = schema((0..1_022).map(|at| Field::new(format!("c{at}"), DataType::Int64, true)));
        let rows = WRITE_ROWS_MAX;
        let vectors = vectors_of(&vec![vec![1.0]; rows]);
        let ids: ArrayRef = Arc::new(UInt64Array::from_iter_values(0..rows as u64));
        let batch = RecordBatch::try_from_iter([("id", ids), ("vector", vectors)]).unwrap();
        refused(Input::ArrowIpc(encode(&batch)), &wide);
        refused(Input::Rows(vec![v1::Row::default(); rows]), &wide);
        let few = Input::ArrowIpc(encode(&batch.slice(0, 100)));
        assert_eq!(checked(&few, &wide).unwrap().num_columns(), 1_024);
    }

    #[test]
    fn further_vectors_take_room_where_they_are_told() {
        let image = Field::new("image", vector_type(VectorElement::F32, 32_768), true);
        let schema = schema([image]);
        let rows = 10_000;
        let vectors = vectors_of(&vec![vec![1.0]; rows]);
        let ids: ArrayRef = Arc::new(UInt64Array::from_iter_values(0..rows as u64));
        let batch = RecordBatch::try_from_iter([("id", ids), ("vector", vectors)]).unwrap();
        // Told of none: nothing but ids and vectors is written.
        let batch_of = |batch: &RecordBatch| Input::ArrowIpc(encode(batch));
        assert_eq!(checked(&batch_of(&batch), &schema).unwrap().num_columns(), 2);
        let bare = |id: u64| v1::Row {
            id: Some(v1::RowId {
                kind: Some(v1::row_id::Kind::U64(id)),
            }),
            vector: Some(v1::Vector { values: vec![1.0] }),
            ..v1::Row::default()
        };
        let mut spelt: Vec<v1::Row> = (0..rows as u64).map(bare).collect();
        let read = checked(&Input::Rows(spelt.clone()), &schema).unwrap();
        assert_eq!(read.num_columns(), 2);
        // Told of one, each row has room for it, which is too much.
        let null = v1::Value {
            kind: Some(v1::value::Kind::Null(0)),
        };
        spelt[7].columns.insert("image".into(), null);
        refused(Input::Rows(spelt), &schema);
        let mut lists = arrow::array::ListBuilder::new(arrow::array::Float32Builder::new());
        (0..rows).for_each(|_| lists.append_null());
        let nulls: ArrayRef = Arc::new(lists.finish());
        let columns = [
            ("id", batch.column(0).clone()),
            ("vector", batch.column(1).clone()),
            ("image", nulls),
        ];
        let told = RecordBatch::try_from_iter_with_nullable(
            columns.map(|(name, column)| (name, column, name == "image")),
        );
        refused(batch_of(&told.unwrap()), &schema);
    }

    #[test]
    fn shared_values_are_counted_over_all_batches() {
        let schema = schema([Field::new("text", DataType::Utf8, true)]);
        let value = Arc::new(StringArray::from(vec!["x".repeat(1 << 20)]));
        let batch = |start: u64| {
            let ids: ArrayRef = Arc::new(UInt64Array::from_iter_values(start..start + 100));
            let keys = Int32Array::from(vec![0; 100]);
            let text: ArrayRef = Arc::new(DictionaryArray::new(keys, value.clone()));
            let vectors = vectors_of(&vec![vec![1.0]; 100]);
            RecordBatch::try_from_iter([("id", ids), ("vector", vectors), ("text", text)]).unwrap()
        };
        let of = |count: u64| Input::Batches {
            batches: (0..count).map(|at| batch(at * 100)).collect(),
            first_row: 0,
        };
        refused(of(3), &schema);
        assert_eq!(checked(&of(2), &schema).unwrap().num_rows(), 200);
    }
}
