//! Which of the rows that wait are written together?
//!
//! A part is bounded by what its rows become in the dataset, so that it costs the same memory whatever was sent.

use arrow::array::RecordBatch;
use longbow_types::{Error, ErrorCode, Result, Schema, limits::FLIGHT_MESSAGE_BYTES_MAX};

use crate::ingest::size;

/// Bytes of rows, as the dataset holds them, that are checked and written at once.
const PART_BYTES: u64 = 64 << 20;

/// Batches as groups of bounded size, in order; batches that are larger are cut. Groups without rows are left out.
///
/// # Errors
/// `TOO_LARGE` if shared values make of the `sent` bytes more than one message could have brought.
pub fn of(batches: Vec<RecordBatch>, sent: usize, schema: &Schema) -> Result<Vec<Vec<RecordBatch>>> {
    let text = batches.iter().map(size::text).fold(0, u64::saturating_add);
    if text.saturating_sub(sent as u64) > FLIGHT_MESSAGE_BYTES_MAX as u64 {
        let message = format!("{sent} bytes of shared values are {text} bytes once every row holds its own");
        return Err(Error::new(ErrorCode::TooLarge, message)
            .field("rows")
            .limit(format_args!("{FLIGHT_MESSAGE_BYTES_MAX} bytes")));
    }
    let mut cut = Vec::new();
    for batch in batches {
        halve(batch, schema, &mut cut);
    }
    let mut parts: Vec<Vec<RecordBatch>> = Vec::new();
    let mut room = 0;
    for (batch, bytes) in cut {
        match parts.last_mut() {
            Some(part) if bytes <= room => part.push(batch),
            _ => {
                parts.push(vec![batch]);
                room = PART_BYTES;
            }
        }
        room = room.saturating_sub(bytes);
    }
    Ok(parts)
}

/// Cuts a batch until every piece is small enough, or a single row.
fn halve(batch: RecordBatch, schema: &Schema, pieces: &mut Vec<(RecordBatch, u64)>) {
    let (rows, bytes) = (batch.num_rows(), size::in_dataset(&batch, schema));
    if rows == 0 {
        return;
    }
    if rows == 1 || bytes <= PART_BYTES {
        pieces.push((batch, bytes));
        return;
    }
    halve(batch.slice(0, rows / 2), schema, pieces);
    halve(batch.slice(rows / 2, rows - rows / 2), schema, pieces);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::schema_of;
    use arrow::array::{ArrayRef, DictionaryArray, Int8Array, StringArray};
    use arrow_schema::{DataType, Field};
    use longbow_types::{Metric, VectorElement, schema::vector_type};
    use std::sync::Arc;

    fn texts(texts: Vec<String>) -> RecordBatch {
        RecordBatch::try_from_iter([("text", Arc::new(StringArray::from(texts)) as ArrayRef)]).unwrap()
    }

    fn rows(parts: &[Vec<RecordBatch>]) -> Vec<Vec<usize>> {
        let rows = |part: &Vec<RecordBatch>| part.iter().map(RecordBatch::num_rows).collect();
        parts.iter().map(rows).collect()
    }

    #[test]
    fn parts_keep_rows_and_order() {
        let schema = schema_of(VectorElement::F32, 2, Metric::L2);
        let small = || texts(vec!["a".to_owned(); 10]);
        let large = texts(vec!["x".repeat(50 << 20), "y".repeat(50 << 20), "z".to_owned()]);
        let batches = vec![small(), small(), large, small().slice(0, 0), small()];
        let parts = of(batches, 100 << 20, &schema).unwrap();
        assert_eq!(rows(&parts), [vec![10, 10, 1], vec![2, 10]]);
        assert!(of(vec![small().slice(0, 0)], 0, &schema).unwrap().is_empty());
    }

    #[test]
    fn columns_left_out_make_more_parts_and_no_refusal() {
        let mut fields = vec![
            Field::new("id", DataType::UInt64, false),
            Field::new("vector", vector_type(VectorElement::F32, 1), false),
        ];
        fields.extend((0..1_000).map(|at| Field::new(format!("c{at}"), DataType::Int64, true)));
        let schema = Schema::new(fields, "id", Metric::L2).unwrap();
        let batch = texts(vec![String::new(); 20_000]);
        let parts = of(vec![batch], 100, &schema).unwrap();
        assert_eq!(rows(&parts).concat().iter().sum::<usize>(), 20_000);
        for part in &parts {
            let bytes: u64 = part.iter().map(|batch| size::in_dataset(batch, &schema)).sum();
            assert!(bytes <= PART_BYTES);
        }
    }

    #[test]
    fn shared_values_are_bounded_over_all_that_waits() {
        let schema = schema_of(VectorElement::F32, 2, Metric::L2);
        let values = Arc::new(StringArray::from(vec!["x".repeat(1 << 20)]));
        let column: ArrayRef = Arc::new(DictionaryArray::new(Int8Array::from(vec![0; 100]), values));
        let batch = RecordBatch::try_from_iter([("text", column)]).unwrap();
        let parts = of(vec![batch.clone(); 5], 2 << 20, &schema).unwrap();
        assert!(parts.len() > 5, "cut as what they become");
        let error = of(vec![batch; 6], 2 << 20, &schema).unwrap_err();
        assert_eq!(
            (error.code, error.limit.as_deref()),
            (ErrorCode::TooLarge, Some("536870912 bytes"))
        );
    }
}
