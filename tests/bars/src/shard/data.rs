//! Rows around centres, and questions about them, for what is measured on a replica in this process.

use std::{collections::HashSet, sync::Arc};

use anyhow::{Context, Result, bail};
use arrow::{
    array::{
        ArrayRef, AsArray, FixedSizeListArray, Float32Array, Int32Array, RecordBatch, StringArray,
        UInt64Array,
    },
    datatypes::{DataType, Field, UInt64Type},
};
use longbow_storage::{Projection, Query, Searched, View, batch_to_ipc};
use longbow_types::{Metric, Schema, VectorElement, schema::vector_type};
use rand::{Rng, SeedableRng, rngs::SmallRng};

pub(super) const DIMENSION: usize = 96;
const K: usize = 10;
const CENTRES: usize = 500;

pub(super) fn schema() -> Result<Schema> {
    let fields = vec![
        Field::new("id", DataType::UInt64, false),
        Field::new("vector", vector_type(VectorElement::F32, DIMENSION), false),
        Field::new("number", DataType::Int32, true),
        Field::new("text", DataType::Utf8, true),
    ];
    Ok(Schema::new(fields, "id", Metric::L2)?)
}

/// An entry of the log with these rows, by id and vector.
pub(super) fn body<'a>(
    schema: &Schema,
    rows: impl Iterator<Item = (u64, &'a [f32])> + Clone,
) -> Result<bytes::Bytes> {
    let DataType::FixedSizeList(item, size) = vector_type(VectorElement::F32, DIMENSION) else {
        bail!("vectors are lists");
    };
    let ids = || rows.clone().map(|(id, _)| id);
    let elements =
        Float32Array::from_iter_values(rows.clone().flat_map(|(_, vector)| vector.iter().copied()));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt64Array::from_iter_values(ids())),
        Arc::new(FixedSizeListArray::new(item, size, Arc::new(elements), None)),
        Arc::new(Int32Array::from_iter(
            ids().map(|id| (id % 5 > 0).then_some(id as i32)),
        )),
        Arc::new(StringArray::from_iter_values(
            ids().map(|id| format!("the text of row {id}")),
        )),
    ];
    let batch = RecordBatch::try_new(schema.arrow().clone(), columns).context("columns of the schema")?;
    Ok(batch_to_ipc(&batch)?)
}

/// Near one of some centres.
pub(super) fn vector(rng: &mut SmallRng) -> Vec<f32> {
    let mut centre = SmallRng::seed_from_u64(1_000 + rng.random_range(0..CENTRES as u64));
    (0..DIMENSION)
        .map(|_| centre.random_range(-1.0..1.0) + rng.random_range(-0.6..0.6))
        .collect()
}

/// The ids nearest to a vector.
pub(super) fn ask(view: &View, query: &[f32], exact: bool) -> Result<HashSet<u64>> {
    let projection = Projection::new(view.layout(), &[], false)?;
    let query = Query {
        searched: Searched::default(),
        vector: query.into(),
        k: K,
        ef: 0,
        recall_target: None,
        full_precision: false,
        exact,
        predicate: None,
        projection: &projection,
    };
    let found = view.search(&query, &|| false)?.batch;
    Ok(found
        .column(0)
        .as_primitive::<UInt64Type>()
        .values()
        .iter()
        .copied()
        .collect())
}

/// Share of the nearest rows that searches of a view find.
pub(super) fn recall(view: &View, queries: &[Vec<f32>]) -> Result<f64> {
    let mut hits = 0;
    for query in queries {
        let exact = ask(view, query, true)?;
        hits += ask(view, query, false)?.intersection(&exact).count();
    }
    Ok(hits as f64 / (queries.len() * K) as f64)
}
