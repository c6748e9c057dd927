//! Arrow IPC streams in memory: out as answers, in as bodies that are not trusted.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, SchemaRef};
use bytes::Bytes;
use longbow_types::{Error, ErrorCode, Result};

/// Writes one batch as an IPC stream of its own.
pub fn batch_to_ipc(batch: &RecordBatch) -> Result<Bytes> {
    let internal = |error: ArrowError| Error::new(ErrorCode::Internal, format!("writing Arrow IPC: {error}"));
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).map_err(internal)?;
    writer.write(batch).map_err(internal)?;
    writer.into_inner().map(Bytes::from).map_err(internal)
}

/// Reads the one batch of a stream written by [`batch_to_ipc`], or by a stock Arrow library; a stream of several
/// batches becomes one, one of none an empty batch.
///
/// # Errors
/// `MALFORMED_ARROW`, whatever is wrong with the bytes.
pub fn batch_from_ipc(bytes: &[u8]) -> Result<RecordBatch> {
    let (schema, batches) = batches_from_ipc(bytes)?;
    match batches.len() {
        0 => Ok(RecordBatch::new_empty(schema)),
        1 => Ok(batches.into_iter().next().expect("there is one")),
        _ => arrow::compute::concat_batches(&schema, &batches).map_err(|error| malformed(&error.to_string())),
    }
}

/// Reads a whole stream. Its lengths and offsets are checked; nothing in it is trusted.
pub(crate) fn batches_from_ipc(bytes: &[u8]) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let read = || -> Result<_, ArrowError> {
        let reader = StreamReader::try_new(bytes, None)?;
        let schema = reader.schema();
        Ok((schema, reader.collect::<Result<Vec<_>, _>>()?))
    };
    // The reader checks what it reads, but is not written to survive every lie: some end in an assertion.
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(malformed(&error.to_string())),
        Err(_) => Err(malformed("the stream contradicts itself")),
    }
}

pub(crate) fn malformed(why: &str) -> Error {
    Error::new(
        ErrorCode::MalformedArrow,
        format!("not a usable Arrow IPC stream: {why}"),
    )
}
