//! How do checked rows become log commands?
//!
//! Rows with one id are folded, ids are hashed to partitions, rows are gathered once and cut into commands that fit the
//! log. From here on their bytes are never encoded again.

mod by_filter;
mod conditional;
mod encode;
mod fold;
mod gather;
mod split;

pub use by_filter::delete_where;
pub use conditional::{Conditional, conditional};
#[cfg(test)]
pub use encode::row_bytes;

use arrow::array::RecordBatch;
use bytes::Bytes;
use longbow_query::ids::Ids;
use longbow_types::{DatasetId, Result, partition};
use longbow_wire::internal::{WriteCommand, WriteKind};

/// What a write is checked against and aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Dataset written to.
    pub dataset: DatasetId,
    /// Schema version that the rows were checked against.
    pub schema_version: u32,
    /// Map epoch of the partitions.
    pub map_epoch: u64,
    /// Number of partitions.
    pub partitions: u32,
}

/// One log command: it is written whole or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// What goes into the entry's header.
    pub write: WriteCommand,
    /// The entry's body.
    pub body: Bytes,
    /// Rows in it.
    pub rows: u64,
}

impl AsRef<[Command]> for Command {
    fn as_ref(&self) -> &[Command] {
        std::slice::from_ref(self)
    }
}

impl Command {
    /// Ordinals of the partitions touched.
    pub fn partitions(&self) -> impl Iterator<Item = u32> {
        self.write.ranges.iter().map(|range| range.partition)
    }
}

/// Commands that write the rows of a batch; of several rows with one id the last. `first_row` is the row of the call
/// that the batch starts with.
///
/// # Errors
/// `TOO_LARGE` naming `rows[i]` for a row that fits no command.
pub fn upsert(
    batch: &RecordBatch,
    id_column: usize,
    first_row: usize,
    target: Target,
) -> Result<Vec<Command>> {
    commands(batch, id_column, first_row, target, WriteKind::Upsert)
}

/// Commands that delete the ids of a batch of ids.
///
/// # Errors
/// None that ids within their limits could cause.
pub fn delete(ids: &RecordBatch, target: Target) -> Result<Vec<Command>> {
    commands(ids, 0, 0, target, WriteKind::Delete)
}

fn commands(
    batch: &RecordBatch,
    id_column: usize,
    first_row: usize,
    target: Target,
    kind: WriteKind,
) -> Result<Vec<Command>> {
    let ids = Ids::new(batch.column(id_column).as_ref())?;
    let mut placed: Vec<(u32, u32)> = fold::last_of_each(&ids)
        .into_iter()
        .map(|row| (partition_of(&ids, row as usize, target.partitions), row))
        .collect();
    // Rows of a partition stand together, in the order they came.
    placed.sort_unstable();
    split::into_commands(batch, &placed, first_row, target, kind)
}

/// The partition of an id.
pub fn partition_of(ids: &Ids<'_>, row: usize, partitions: u32) -> u32 {
    let hash = match ids {
        Ids::U64(ids) => partition::hash_u64(ids.value(row)),
        Ids::I64(ids) => partition::hash_i64(ids.value(row)),
        Ids::Utf8(ids) => partition::hash_utf8(ids.value(row)),
    };
    partition::partition_of(hash, partitions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ingest::{columns::id_batch, read_stream},
        testing::{batch_of_all_kinds, schema_of, schema_of_all_kinds},
    };
    use arrow::array::{ArrayRef, StringArray, UInt64Array};
    use arrow::compute::{concat_batches, take_record_batch};
    use longbow_types::{ErrorCode, Metric, VectorElement, limits::COMMAND_BYTES_MAX};
    use longbow_wire::internal::{EntryHeader, entry_header};
    use proptest::prelude::*;
    use prost::Message;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn target(partitions: u32) -> Target {
        Target {
            dataset: DatasetId(7),
            schema_version: 1,
            map_epoch: 3,
            partitions,
        }
    }

    /// Reads commands back the way a shard does: every range for itself.
    fn read_back(commands: &[Command], schema: &arrow_schema::SchemaRef) -> BTreeMap<u32, Vec<RecordBatch>> {
        let mut found: BTreeMap<u32, Vec<RecordBatch>> = BTreeMap::new();
        for command in commands {
            let header = EntryHeader {
                command: Some(entry_header::Command::Write(command.write.clone())),
                ..EntryHeader::default()
            };
            assert!(header.encoded_len() + command.body.len() + 64 <= COMMAND_BYTES_MAX);
            let (mut end, mut last, mut rows) = (0, None, 0);
            for range in &command.write.ranges {
                assert!(last < Some(range.partition), "sorted by partition");
                assert_eq!(range.offset, end, "disjoint and complete");
                (last, end) = (Some(range.partition), range.offset + range.length);
                let bytes = command.body.slice(range.offset as usize..end as usize);
                let (read, batches) = read_stream(bytes, usize::MAX).unwrap();
                assert_eq!(read.fields(), schema.fields());
                assert_eq!(
                    batches.iter().map(RecordBatch::num_rows).sum::<usize>(),
                    range.rows as usize
                );
                rows += u64::from(range.rows);
                found.entry(range.partition).or_default().extend(batches);
            }
            assert_eq!(end as usize, command.body.len());
            assert_eq!(rows, command.rows);
        }
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn nothing_is_lost_and_the_last_row_wins(
            picks in proptest::collection::vec(0u32..40, 1..120),
            partitions in 1u32..9,
        ) {
            // Rows of 40 ids in any order, many of them more than once, told apart by `required`.
            let source = batch_of_all_kinds(40);
            let mut batch = take_record_batch(&source, &arrow::array::UInt32Array::from(picks.clone())).unwrap();
            let mut columns = batch.columns().to_vec();
            columns[2] = Arc::new(arrow::array::Int64Array::from_iter_values(0..picks.len() as i64));
            batch = RecordBatch::try_new(batch.schema(), columns).unwrap();

            let mut want: BTreeMap<String, RecordBatch> = BTreeMap::new();
            for (row, pick) in picks.iter().enumerate() {
                want.insert(format!("row-{pick}"), batch.slice(row, 1));
            }
            let commands = upsert(&batch, 0, 0, target(partitions)).unwrap();
            let mut seen = 0;
            for (partition, batches) in read_back(&commands, batch.schema_ref()) {
                let all = concat_batches(batch.schema_ref(), &batches).unwrap();
                for row in 0..all.num_rows() {
                    let ids = Ids::new(all.column(0).as_ref()).unwrap();
                    prop_assert_eq!(partition_of(&ids, row, partitions), partition);
                    prop_assert_eq!(&want[&ids.get(row).to_string()], &all.slice(row, 1));
                    seen += 1;
                }
            }
            prop_assert_eq!(seen, want.len());
        }
    }

    #[test]
    fn large_writes_are_cut_into_commands_that_fit() {
        let schema = schema_of(VectorElement::F32, 1024, Metric::L2);
        let rows = 5_000usize;
        let elements = vec![0.25f32; rows * 1024];
        let vectors = crate::ingest::vectors::wrap(
            crate::ingest::vectors::from_f32(elements, VectorElement::F32),
            &schema,
        )
        .unwrap();
        let texts: StringArray = (0..rows)
            .map(|row| Some("x".repeat(if row % 500 == 0 { 1 << 20 } else { 3 })))
            .collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from_iter_values(0..rows as u64)),
            vectors,
            Arc::new(texts),
        ];
        let batch = RecordBatch::try_new(schema.arrow().clone(), columns).unwrap();
        let commands = upsert(&batch, 0, 0, target(4)).unwrap();
        // 20 MB of vectors and 10 MB of text.
        assert!((4..12).contains(&commands.len()), "{}", commands.len());
        let found = read_back(&commands, batch.schema_ref());
        let total: usize = found.values().flatten().map(RecordBatch::num_rows).sum();
        assert_eq!((total, found.len()), (rows, 4));
        let by_bytes = commands
            .iter()
            .filter(|c| c.body.len() > COMMAND_BYTES_MAX / 2)
            .count();
        assert!(by_bytes + 1 >= commands.len(), "commands are filled");
    }

    #[test]
    fn a_row_that_fits_no_command_is_named() {
        let schema = schema_of(VectorElement::F32, 2, Metric::L2);
        let vectors = crate::ingest::vectors::wrap(
            crate::ingest::vectors::from_f32(vec![1.0; 4], VectorElement::F32),
            &schema,
        )
        .unwrap();
        let texts = StringArray::from(vec!["small".to_owned(), "x".repeat(COMMAND_BYTES_MAX)]);
        let columns: Vec<ArrayRef> = vec![Arc::new(UInt64Array::from(vec![1, 2])), vectors, Arc::new(texts)];
        let batch = RecordBatch::try_new(schema.arrow().clone(), columns).unwrap();
        // The row is that of the call, of which the batch may be a later part.
        for (first_row, named) in [(0, "rows[1]"), (70, "rows[71]")] {
            let error = upsert(&batch, 0, first_row, target(4)).unwrap_err();
            assert_eq!(
                (error.code, error.field.as_deref()),
                (ErrorCode::TooLarge, Some(named))
            );
        }
    }

    #[test]
    fn many_partitions_with_many_columns_still_fit() {
        let schema = schema_of_all_kinds();
        let batch = batch_of_all_kinds(3_000);
        let commands = upsert(&batch, schema.id_position(), 0, target(1_024)).unwrap();
        let found = read_back(&commands, batch.schema_ref());
        assert_eq!(
            found.values().flatten().map(RecordBatch::num_rows).sum::<usize>(),
            3_000
        );
    }

    #[test]
    fn deletes_hold_ids_alone() {
        let schema = schema_of_all_kinds();
        let ids: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "a"]));
        let batch = id_batch(ids, &schema).unwrap();
        let commands = delete(&batch, target(2)).unwrap();
        assert_eq!(commands.len(), 1);
        assert_eq!(commands[0].rows, 2);
        assert_eq!(commands[0].write.kind(), WriteKind::Delete);
        read_back(&commands, batch.schema_ref());
    }
}
