//! Merging ranked lists equals sorting all of their rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float32Array, Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{Float32Type, UInt64Type};
use longbow_query::rank::{by_distance, least_recall, merge_batches, sort_batch};
use longbow_types::ErrorCode;
use proptest::prelude::*;

fn batch(rows: &[(f32, u64)]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.1)));
    let distances: ArrayRef = Arc::new(Float32Array::from_iter_values(rows.iter().map(|row| row.0)));
    RecordBatch::try_from_iter([("key", ids), ("_distance", distances)]).unwrap()
}

fn rows(batch: &RecordBatch) -> Vec<(f32, u64)> {
    let ids = batch.column(0).as_primitive::<UInt64Type>().values();
    let distances = batch.column(1).as_primitive::<Float32Type>().values();
    distances.iter().copied().zip(ids.iter().copied()).collect()
}

fn distance() -> impl Strategy<Value = f32> {
    prop_oneof![8 => (-3..4_i8).prop_map(f32::from), 1 => Just(-0.0), 1 => Just(f32::INFINITY)]
}

proptest! {
    #[test]
    fn merging_equals_sorting(
        lists in proptest::collection::vec(proptest::collection::vec(distance(), 0..12), 1..6),
        k in 0..40_usize,
    ) {
        let mut all = Vec::new();
        let mut batches = Vec::new();
        for (at, list) in lists.iter().enumerate() {
            // Ids interleave between lists, as partitions by hash do.
            let rows: Vec<(f32, u64)> =
                list.iter().enumerate().map(|(i, &d)| (d, (i * lists.len() + at) as u64)).collect();
            all.extend_from_slice(&rows);
            batches.push(sort_batch(&batch(&rows), "key").unwrap());
        }
        all.sort_by(|a, b| by_distance(a.0, b.0).then(a.1.cmp(&b.1)));
        all.truncate(k);
        prop_assert_eq!(rows(&merge_batches(&batches, "key", k).unwrap().unwrap()), all);
    }
}

#[test]
fn equally_near_rows_order_by_id() {
    let merged = merge_batches(&[batch(&[(1.0, 7)]), batch(&[(1.0, 3), (1.0, 9)])], "key", 3)
        .unwrap()
        .unwrap();
    assert_eq!(rows(&merged), [(1.0, 3), (1.0, 7), (1.0, 9)]);
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["b", "a"]));
    let distances: ArrayRef = Arc::new(Float32Array::from(vec![0.0, -0.0]));
    let batch = RecordBatch::try_from_iter([("key", texts), ("_distance", distances)]).unwrap();
    let sorted = sort_batch(&batch, "key").unwrap();
    assert_eq!(
        sorted.column(0).as_string::<i32>().value(0),
        "a",
        "zeros are equal whatever their sign"
    );
}

#[test]
fn what_is_not_a_number_ranks_last() {
    let sorted = sort_batch(
        &batch(&[(-f32::NAN, 1), (f32::INFINITY, 2), (f32::NAN, 0), (-1.0, 3)]),
        "key",
    )
    .unwrap();
    let ids: Vec<u64> = rows(&sorted).iter().map(|row| row.1).collect();
    assert_eq!(ids, [3, 2, 0, 1]);
}

#[test]
fn unranked_batches_are_refused() {
    let good = batch(&[(1.0, 1)]);
    assert!(merge_batches(&[], "key", 3).unwrap().is_none());
    assert_eq!(
        merge_batches(std::slice::from_ref(&good), "nope", 3)
            .unwrap_err()
            .field
            .as_deref(),
        Some("nope")
    );
    let no_distance = good.project(&[0]).unwrap();
    assert_eq!(
        merge_batches(&[no_distance], "key", 3).unwrap_err().code,
        ErrorCode::MalformedArrow
    );
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let other = RecordBatch::try_from_iter([("key", ids), ("_distance", good.column(1).clone())]).unwrap();
    assert!(merge_batches(&[good, other], "key", 3).is_err());
}

#[test]
fn an_answer_is_expected_to_be_as_complete_as_its_worst_part() {
    assert_eq!(least_recall([Some(0.98), Some(0.95), Some(1.0)]), Some(0.95));
    assert_eq!(least_recall([Some(0.98), None]), None);
    assert_eq!(least_recall([]), Some(1.0));
}
