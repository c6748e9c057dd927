//! The rows of one partition, gathered from a batch by one copy.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, AsArray, FixedSizeListArray, PrimitiveArray, RecordBatch,
        UInt32Array,
    },
    buffer::{NullBuffer, ScalarBuffer},
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
    // Arrow's `take` goes element by element through vectors, and where one is null it says so of each of its elements; whole
    // vectors are copied faster.
    if let DataType::FixedSizeList(..) = column.data_type() {
        let list = column.as_fixed_size_list();
        if list.values().null_count() == 0 {
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
    let valid = || {
        rows.values()
            .iter()
            .map(|&row| list.is_valid(row as usize))
            .collect()
    };
    let nulls: Option<NullBuffer> = (list.null_count() > 0).then(valid);
    let gathered = FixedSizeListArray::try_new_with_length(
        list.value_field().clone(),
        list.value_length(),
        Arc::new(values),
        nulls,
        rows.len(),
    )?;
    Ok(Arc::new(gathered))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::batch_of_all_kinds;
    use arrow::array::Float32Array;
    use arrow::compute::take_record_batch;
    use arrow_schema::Field;
    use proptest::prelude::*;

    /// Else a bit for each element would be written that no estimate counts.
    #[test]
    fn elements_of_a_null_vector_are_not_null() {
        let item = Arc::new(Field::new("item", DataType::Float32, false));
        let values = Float32Array::from_iter_values((0..40).map(|x| x as f32));
        let nulls = NullBuffer::from(vec![true, false, true, false, true]);
        let list = FixedSizeListArray::new(item, 8, Arc::new(values), Some(nulls));
        let batch = RecordBatch::try_from_iter([("v", Arc::new(list) as ArrayRef)]).unwrap();
        let gathered = gather(&batch, &[4, 1, 2]).unwrap();
        let list = gathered.column(0).as_fixed_size_list();
        assert_eq!((list.null_count(), list.values().null_count()), (1, 0));
        assert!(list.is_null(1));
        let first = list.value(0);
        assert_eq!(first.as_primitive::<Float32Type>().value(0), 32.0);
        assert_eq!(gathered, gather(&batch, &[0, 4, 1, 2]).unwrap().slice(1, 3));
    }

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
