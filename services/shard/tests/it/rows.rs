//! Rows of the tests' dataset: an id, a vector of two elements, a nullable text.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Float32Type, Schema as ArrowSchema, UInt64Type};
use bytes::Bytes;
use longbow_storage::{batch_from_ipc, batch_to_ipc};
use longbow_types::partition::{hash_u64, partition_of};
use longbow_types::schema::vector_type;
use longbow_types::{Metric, Schema, VectorElement};
use longbow_wire::internal::entry_header::Command;
use longbow_wire::internal::{CreateDatasetCommand, PartitionRange, WriteCommand, WriteKind};
use prost::Message as _;

pub const PARTITIONS: u32 = 3;

pub fn schema() -> Schema {
    let fields = vec![
        Field::new("id", DataType::UInt64, false),
        Field::new("vector", vector_type(VectorElement::F32, 2), false),
        Field::new("text", DataType::Utf8, true),
    ];
    Schema::new(fields, "id", Metric::L2).unwrap()
}

pub fn create(name: &str) -> Command {
    let schema = longbow_wire::convert::schema::to_proto(&schema());
    Command::CreateDataset(CreateDatasetCommand {
        name: name.into(),
        schema: schema.encode_to_vec().into(),
        partitions: Vec::new(),
        partition_count: PARTITIONS,
        replication_factor: 0,
        rows_expire: false,
    })
}

/// Rows whose vector is (id, 0) and whose text is `text`, or null for ids that 5 divides.
pub fn upsert(dataset: u64, ids: &[u64], text: &str) -> (Command, Bytes) {
    write(dataset, ids, WriteKind::Upsert, |ids| {
        let DataType::FixedSizeList(item, size) = vector_type(VectorElement::F32, 2) else {
            unreachable!()
        };
        let values = Float32Array::from_iter_values(ids.iter().flat_map(|&id| [id as f32, 0.0]));
        let texts = StringArray::from_iter(ids.iter().map(|id| (id % 5 != 0).then_some(text)));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(ids.to_vec())),
            Arc::new(FixedSizeListArray::new(item, size, Arc::new(values), None)),
            Arc::new(texts),
        ];
        RecordBatch::try_new(schema().arrow().clone(), columns).unwrap()
    })
}

pub fn delete(dataset: u64, ids: &[u64]) -> (Command, Bytes) {
    write(dataset, ids, WriteKind::Delete, id_batch)
}

/// A delete of ids that each ask for a version.
pub fn delete_if(dataset: u64, ids: &[(u64, u64)]) -> (Command, Bytes) {
    let asked: std::collections::BTreeMap<u64, u64> = ids.iter().copied().collect();
    let ids: Vec<u64> = ids.iter().map(|(id, _)| *id).collect();
    write(dataset, &ids, WriteKind::DeleteIf, |ids| {
        let column: ArrayRef = Arc::new(UInt64Array::from_iter_values(ids.iter().map(|id| asked[id])));
        let mut fields: Vec<_> = id_batch(ids).schema().fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new("_if_row_version", DataType::UInt64, false)));
        let columns = vec![Arc::clone(id_batch(ids).column(0)), column];
        RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).unwrap()
    })
}

/// A column of ids.
pub fn id_batch(ids: &[u64]) -> RecordBatch {
    let field = Field::new("id", DataType::UInt64, false);
    let column: ArrayRef = Arc::new(UInt64Array::from(ids.to_vec()));
    RecordBatch::try_new(Arc::new(ArrowSchema::new(vec![field])), vec![column]).unwrap()
}

pub fn partition(id: u64) -> u32 {
    partition_of(hash_u64(id), PARTITIONS)
}

fn write(
    dataset: u64,
    ids: &[u64],
    kind: WriteKind,
    batch: impl Fn(&[u64]) -> RecordBatch,
) -> (Command, Bytes) {
    let (mut body, mut ranges) = (Vec::new(), Vec::new());
    for ordinal in 0..PARTITIONS {
        let mine: Vec<u64> = ids
            .iter()
            .copied()
            .filter(|&id| partition(id) == ordinal)
            .collect();
        if mine.is_empty() {
            continue;
        }
        let part = batch_to_ipc(&batch(&mine)).unwrap();
        ranges.push(PartitionRange {
            partition: ordinal,
            offset: body.len() as u64,
            length: part.len() as u64,
            rows: mine.len() as u32,
        });
        body.extend_from_slice(&part);
    }
    let write = WriteCommand {
        dataset_id: dataset,
        schema_version: 1,
        map_epoch: 1,
        kind: kind as i32,
        ranges,
        filter_semantics: 0,
    };
    (Command::Write(write), body.into())
}

/// The ids of an answer, in its order.
pub fn ids(ipc: &[u8]) -> Vec<u64> {
    let batch = batch_from_ipc(ipc).unwrap();
    batch
        .column_by_name("id")
        .unwrap()
        .as_primitive::<UInt64Type>()
        .values()
        .to_vec()
}

/// The distances of an answer, in its order.
pub fn distances(ipc: &[u8]) -> Vec<f32> {
    let batch = batch_from_ipc(ipc).unwrap();
    batch
        .column_by_name("_distance")
        .unwrap()
        .as_primitive::<Float32Type>()
        .values()
        .to_vec()
}

/// The names of the columns of an answer.
pub fn columns(ipc: &[u8]) -> Vec<String> {
    let schema = batch_from_ipc(ipc).unwrap().schema();
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

/// A query vector as it travels.
pub fn query(x: f32) -> Bytes {
    [x, 0.0]
        .iter()
        .flat_map(|element| element.to_le_bytes())
        .collect::<Vec<u8>>()
        .into()
}
