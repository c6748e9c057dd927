//! The rows of one partition, gathered from a batch by one copy.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, AsArray, FixedSizeListArray, PrimitiveArray, RecordBatch,
        UInt32Array,
    },
    buffer::ScalarBuffer,
    compute::take,
    datatypes::{Float16Type, Float32Type, Float64Type},
};
use arrow_schema::{ArrowError, DataType};

/// Rows of a batch, in the order of `rows`.
///
/// # Errors
/// Those of arrow's `take`, such as text of more than 2 GiB in one column.
pub fn gather(batch: &RecordBatch, rows: &[u32]) -> Result<RecordBatch, ArrowError> {
    if let Some(run) = as_run(rows) {
        return Ok(batch.slice(run.start, run.len()));
    }
    let indices = UInt32Array::from(rows.to_vec());
    let columns = batch
        .columns()
        .iter()
        .map(|column| gather_column(column, &indices))
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(batch.schema(), columns)
}

/// Rows that stand side by side need no copy of their own.
fn as_run(rows: &[u32]) -> Option<std::ops::Range<usize>> {
    let (&first, &last) = rows.first().zip(rows.last())?;
    let consecutive = rows.windows(2).all(|pair| pair[1] == pair[0] + 1);
    consecutive.then_some(first as usize..last as usize + 1)
}

fn gather_column(column: &ArrayRef, rows: &UInt32Array) -> Result<ArrayRef, ArrowError> {
    // Arrow's `take` goes element by element through vectors; whole vectors are copied faster.
    if let DataType::FixedSizeList(..) = column.data_type() {
        let list = column.as_fixed_size_list();
        if list.null_count() == 0 && list.values().null_count() == 0 {
            let gathered = match list.value_type() {
                DataType::Float16 => Some(vectors::<Float16Type>(list, rows)),
                DataType::Float32 => Some(vectors::<Float32Type>(list, rows)),
                DataType::Float64 => Some(vectors::<Float64Type>(list, rows)),
                _ => None,
            };
            if let Some(gathered) = gathered {
                return gathered;
            }
        }
    }
    take(column, rows, None)
}

fn vectors<T: ArrowPrimitiveType>(
    list: &FixedSizeListArray,
    rows: &UInt32Array,
) -> Result<ArrayRef, ArrowError> {
    let size = usize::try_from(list.value_length()).unwrap_or(0);
    let values = list.values().as_primitive::<T>().values();
    let mut gathered: Vec<T::Native> = Vec::with_capacity(rows.len() * size);
    for &row in rows.values() {
        let start = list.value_offset_at(row as usize);
        gathered.extend_from_slice(&values[start..start + size]);
    }
    let values = PrimitiveArray::<T>::new(ScalarBuffer::from(gathered), None);
    let gathered = FixedSizeListArray::try_new_with_length(
        list.value_field().clone(),
        list.value_length(),
        Arc::new(values),
        None,
        rows.len(),
    )?;
    Ok(Arc::new(gathered))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::batch_of_all_kinds;
    use arrow::compute::take_record_batch;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn gathers_what_take_takes(start in 0usize..5, rows in proptest::collection::vec(0u32..25, 0..40)) {
            // A slice, so that offsets into the buffers are not zero.
            let batch = batch_of_all_kinds(30).slice(start, 25);
            let want = take_record_batch(&batch, &UInt32Array::from(rows.clone())).unwrap();
            prop_assert_eq!(gather(&batch, &rows).unwrap(), want);
        }
    }
}
