//! One partition's rows as an Arrow IPC stream, and how large that will be.

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    ipc::{
        MetadataVersion,
        writer::{IpcWriteOptions, StreamWriter},
    },
};
use arrow_schema::{ArrowError, DataType, Schema};

/// Bytes that a buffer of a message may be padded with.
const ALIGNMENT: usize = 8;
/// A generous bound on what a record batch message says about one column: nodes, buffers and their padding.
const COLUMN_BYTES: usize = 160;
/// A generous bound on the fixed parts of the messages of a stream.
const STREAM_BYTES: usize = 256;

/// Appends rows to `body` as a stream of their own.
///
/// # Errors
/// Those of arrow's writer.
pub fn stream(batch: &RecordBatch, body: &mut Vec<u8>) -> Result<(), ArrowError> {
    // Vectors need no more than 8-byte alignment on their way, and small partitions no more padding than that.
    let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?;
    let mut writer = StreamWriter::try_new_with_options(&mut *body, batch.schema_ref(), options)?;
    writer.write(batch)?;
    writer.finish()
}

/// Bytes of a stream besides its rows: at least what [`stream`] needs.
pub fn stream_overhead(schema: &Schema) -> Result<usize, ArrowError> {
    let mut bytes = Vec::new();
    let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?;
    StreamWriter::try_new_with_options(&mut bytes, schema, options)?.finish()?;
    Ok(bytes.len() + STREAM_BYTES + COLUMN_BYTES * schema.flattened_fields().len())
}

/// Bytes of each row: at least what the row adds to a stream.
pub fn row_bytes(batch: &RecordBatch) -> Vec<usize> {
    let mut bytes = vec![0usize; batch.num_rows()];
    for column in batch.columns() {
        add_column(column, &mut bytes);
    }
    bytes
}

fn add_column(column: &ArrayRef, bytes: &mut [usize]) {
    match column.data_type() {
        DataType::Utf8 => add_offsets(column.as_string::<i32>().value_offsets(), 5, bytes),
        DataType::Binary => add_offsets(column.as_binary::<i32>().value_offsets(), 5, bytes),
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            let mut items = vec![0usize; list.values().len()];
            add_column(list.values(), &mut items);
            let offsets = list.value_offsets();
            for (row, bytes) in bytes.iter_mut().enumerate() {
                let range = offsets[row] as usize..offsets[row + 1] as usize;
                *bytes += 5 + items[range].iter().sum::<usize>();
            }
        }
        DataType::Struct(_) => {
            bytes.iter_mut().for_each(|bytes| *bytes += 1);
            let children = column.as_struct().columns().iter();
            children.for_each(|child| add_column(child, bytes));
        }
        DataType::FixedSizeList(item, size) => {
            let width = item.data_type().primitive_width().unwrap_or(16);
            let width = 1 + width * usize::try_from(*size).unwrap_or(0);
            bytes.iter_mut().for_each(|bytes| *bytes += width);
        }
        other => {
            let width = 1 + other.primitive_width().unwrap_or(1);
            bytes.iter_mut().for_each(|bytes| *bytes += width);
        }
    }
}

fn add_offsets(offsets: &[i32], fixed: usize, bytes: &mut [usize]) {
    for (pair, bytes) in offsets.windows(2).zip(bytes) {
        *bytes += fixed + (pair[1] - pair[0]) as usize;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::batch_of_all_kinds;

    #[test]
    fn estimates_are_never_too_small_nor_far_off() {
        for rows in [0, 1, 2, 7, 300] {
            let batch = batch_of_all_kinds(rows);
            let estimate =
                stream_overhead(batch.schema_ref()).unwrap() + row_bytes(&batch).iter().sum::<usize>();
            let mut body = Vec::new();
            stream(&batch, &mut body).unwrap();
            assert!(body.len() <= estimate, "{rows} rows: {} > {estimate}", body.len());
            assert!(
                estimate <= body.len() * 2 + 8192,
                "{rows} rows: {estimate} for {}",
                body.len()
            );
        }
    }
}
