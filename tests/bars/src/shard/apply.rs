//! How many rows a second one core applies: decoding, columns, ids, vectors, publication; no graph.

use std::{sync::Arc, time::Instant};

use anyhow::{Context, Result};
use arrow::{
    array::{ArrayRef, FixedSizeListArray, Float16Array, Int32Array, RecordBatch, StringArray, UInt64Array},
    datatypes::{DataType, Field},
};
use half::f16;
use longbow_storage::{Options, Replica, WriteKind, batch_to_ipc};
use longbow_types::{Metric, Schema, VectorElement, schema::vector_type};

use crate::{
    ShardArgs,
    report::{Report, Required::AtLeast},
};

const DIMENSION: usize = 384;
/// Rows of a log entry, below its 8 MiB.
const BATCH_ROWS: usize = 8_000;
const BATCHES: usize = 25;

pub(super) fn bars(report: &mut Report, _: &ShardArgs) {
    report.bar(
        "shard-apply-384d-f16-rows-per-second-per-core",
        AtLeast(200_000.0),
        rows_per_second,
    );
}

fn rows_per_second() -> Result<f64> {
    let fields = vec![
        Field::new("id", DataType::UInt64, false),
        Field::new("vector", vector_type(VectorElement::F16, DIMENSION), false),
        Field::new("number", DataType::Int32, true),
        Field::new("text", DataType::Utf8, true),
    ];
    let schema = Schema::new(fields, "id", Metric::Cosine)?;
    let bodies = (0..BATCHES).map(|batch| body(&schema, batch * BATCH_ROWS));
    let bodies = bodies.collect::<Result<Vec<_>>>()?;
    let mut replica = Replica::new(schema, &Options::default(), 1);
    let began = Instant::now();
    for (index, body) in (2..).zip(&bodies) {
        replica.apply(index, WriteKind::Upsert, body, BATCH_ROWS as u32)?;
        replica.publish();
    }
    Ok((BATCHES * BATCH_ROWS) as f64 / began.elapsed().as_secs_f64())
}

fn body(schema: &Schema, first: usize) -> Result<bytes::Bytes> {
    let rows = first..first + BATCH_ROWS;
    let DataType::FixedSizeList(item, size) = vector_type(VectorElement::F16, DIMENSION) else {
        anyhow::bail!("vectors are lists");
    };
    let elements = (0..BATCH_ROWS * DIMENSION).map(|at| f16::from_f32((at % 251) as f32 - 125.5));
    let vectors = FixedSizeListArray::new(
        item,
        size,
        Arc::new(Float16Array::from_iter_values(elements)),
        None,
    );
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt64Array::from_iter_values(rows.clone().map(|row| row as u64))),
        Arc::new(vectors),
        Arc::new(Int32Array::from_iter(
            rows.clone().map(|row| (row % 5 > 0).then_some(row as i32)),
        )),
        Arc::new(StringArray::from_iter_values(
            rows.map(|row| format!("the text of row {row}")),
        )),
    ];
    let batch = RecordBatch::try_new(schema.arrow().clone(), columns).context("columns of the schema")?;
    Ok(batch_to_ipc(&batch)?)
}
