//! Columns and live rows as Arrow IPC files of one batch each, which any Arrow library opens.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::ipc::convert::try_fb_to_schema;
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::root_as_footer;
use arrow::ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema as ArrowSchema, SchemaRef};
use longbow_index::Bitset;

/// Name of the one column of a file of live rows.
const LIVE_COLUMN: &str = "_live";
/// Bytes of the footer's length and the magic behind it.
const TAIL_BYTES: usize = 10;

/// Writes a batch as a file.
pub(super) fn write_batch(batch: &RecordBatch, out: &mut dyn Write) -> io::Result<()> {
    let write = || -> Result<(), ArrowError> {
        let mut writer = FileWriter::try_new(out, batch.schema_ref())?;
        writer.write(batch)?;
        writer.finish()
    };
    write().map_err(|error| match error {
        ArrowError::IoError(_, source) => source,
        other => io::Error::other(other),
    })
}

/// Reads the one batch of a file, used where it lies. Its lengths and offsets are checked; nothing in it is trusted.
pub(super) fn read_batch(bytes: &Buffer) -> Result<RecordBatch, String> {
    // The decoder checks what it reads, but is not written to survive every lie: some end in an assertion.
    match catch_unwind(AssertUnwindSafe(|| decode(bytes))) {
        Ok(Ok(batch)) => Ok(batch),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it contradicts itself".to_owned()),
    }
}

fn decode(bytes: &Buffer) -> Result<RecordBatch, ArrowError> {
    let wrong = |reason: &str| ArrowError::IpcError(reason.to_owned());
    let (rest, tail) = bytes
        .split_last_chunk::<TAIL_BYTES>()
        .ok_or_else(|| wrong("it is too short"))?;
    let footer_bytes = read_footer_length(*tail)?;
    let start = rest
        .len()
        .checked_sub(footer_bytes)
        .ok_or_else(|| wrong("its footer is longer than the file"))?;
    let footer = root_as_footer(&rest[start..]).map_err(|error| wrong(&error.to_string()))?;
    let schema = footer.schema().ok_or_else(|| wrong("it has no schema"))?;
    if !schema.endianness().equals_to_target_endianness() {
        return Err(wrong("it has the other byte order"));
    }
    let schema = Arc::new(try_fb_to_schema(schema)?);
    let blocks = footer.recordBatches().ok_or_else(|| wrong("it has no batches"))?;
    if blocks.len() != 1 || footer.dictionaries().is_some_and(|all| !all.is_empty()) {
        return Err(wrong("it is not one batch"));
    }
    let block = blocks.get(0);
    let whole = |number: i64| usize::try_from(number).map_err(|_| wrong("a length is negative"));
    let (offset, metadata, body) = (
        whole(block.offset())?,
        whole(block.metaDataLength().into())?,
        whole(block.bodyLength())?,
    );
    let end = metadata.checked_add(body).and_then(|len| len.checked_add(offset));
    if end.is_none_or(|end| end > start) {
        return Err(wrong("its batch reaches beyond its end"));
    }
    let buffer = bytes.slice_with_length(offset, metadata + body);
    FileDecoder::new(schema, footer.version())
        .read_record_batch(block, &buffer)?
        .ok_or_else(|| wrong("its batch is empty"))
}

/// Which rows are live, as a column.
pub(super) fn batch_of_live(live: &Bitset) -> RecordBatch {
    let words = Buffer::from_vec(live.words().to_vec());
    let bits = BooleanBuffer::new(words, 0, live.len());
    let column: ArrayRef = Arc::new(BooleanArray::new(bits, None));
    RecordBatch::try_new(live_schema(), vec![column]).expect("the one column is of the one field's type")
}

/// Undoes [`batch_of_live`].
pub(super) fn live_of_batch(batch: &RecordBatch) -> Option<Bitset> {
    if batch.schema() != live_schema() {
        return None;
    }
    let column = batch.column(0).as_boolean();
    let words = column.values().bit_chunks().iter_padded().collect();
    (column.null_count() == 0).then(|| Bitset::from_words(words, column.len()))
}

fn live_schema() -> SchemaRef {
    Arc::new(ArrowSchema::new(vec![Field::new(
        LIVE_COLUMN,
        DataType::Boolean,
        false,
    )]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::StringArray;

    fn file() -> Vec<u8> {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("bcd")]));
        let batch = RecordBatch::try_from_iter([("text", texts)]).unwrap();
        let mut bytes = Vec::new();
        write_batch(&batch, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_file_that_lies_never_panics() {
        let bytes = file();
        let whole = read_batch(&Buffer::from(bytes.clone())).unwrap();
        assert_eq!(whole.num_rows(), 3);
        for at in 0..bytes.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                let _ = read_batch(&Buffer::from(changed));
            }
            let _ = read_batch(&Buffer::from(bytes[..at].to_vec()));
        }
    }

    #[test]
    fn live_rows_come_back() {
        for len in [0, 1, 63, 64, 65, 1_000] {
            let mut live = Bitset::full(len);
            (0..len).step_by(3).for_each(|at| live.clear(at));
            let mut bytes = Vec::new();
            write_batch(&batch_of_live(&live), &mut bytes).unwrap();
            let read = live_of_batch(&read_batch(&Buffer::from(bytes)).unwrap()).unwrap();
            assert_eq!((read.len(), read.words()), (live.len(), live.words()));
        }
    }
}
