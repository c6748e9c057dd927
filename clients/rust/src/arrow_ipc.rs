//! Arrow batches as IPC streams, in pieces that fit a message.

use arrow::{error::ArrowError, ipc::writer::StreamWriter, record_batch::RecordBatch};
use bytes::Bytes;
use longbow_types::{Error, ErrorCode, Result, limits::WRITE_ROWS_MAX};

/// Bytes aimed at in one message: large enough to amortise the call, one or two log commands.
pub(crate) const MESSAGE_BYTES: usize = 8 << 20;

/// One message's worth of rows.
pub(crate) struct Piece {
    pub rows: usize,
    pub stream: Bytes,
}

/// Cuts batches into pieces of at most [`MESSAGE_BYTES`] (a single larger row stays whole, for the server to judge)
/// and the limit of rows. Small batches of one schema share a piece. Lazy: one piece is in memory at a time.
pub(crate) fn pieces(batches: Vec<RecordBatch>) -> impl Iterator<Item = Result<Piece>> {
    let mut slices = batches.into_iter().flat_map(slices).peekable();
    std::iter::from_fn(move || {
        let first = slices.next()?;
        let (mut rows, mut bytes) = (first.num_rows(), size_of(&first));
        let mut group = vec![first];
        while let Some(next) = slices.next_if(|next| {
            next.schema_ref() == group[0].schema_ref()
                && rows + next.num_rows() <= WRITE_ROWS_MAX
                && bytes + size_of(next) <= MESSAGE_BYTES
        }) {
            rows += next.num_rows();
            bytes += size_of(&next);
            group.push(next);
        }
        Some(encode(&group).map_err(|error| {
            Error::new(
                ErrorCode::MalformedArrow,
                format!("the batch cannot be encoded: {error}"),
            )
        }))
    })
}

/// Halves of a batch until each fits. Empty batches vanish.
fn slices(batch: RecordBatch) -> Vec<RecordBatch> {
    let rows = batch.num_rows();
    if rows == 0 {
        return Vec::new();
    }
    let parts = size_of(&batch)
        .div_ceil(MESSAGE_BYTES)
        .max(rows.div_ceil(WRITE_ROWS_MAX));
    if parts <= 1 || rows == 1 {
        return vec![batch];
    }
    let left = rows / 2;
    let mut all = slices(batch.slice(0, left));
    all.extend(slices(batch.slice(left, rows - left)));
    all
}

/// Bytes of the rows of a batch, not of the buffers that it may share with others.
fn size_of(batch: &RecordBatch) -> usize {
    batch
        .columns()
        .iter()
        .map(|column| column.to_data().get_slice_memory_size().unwrap_or(MESSAGE_BYTES))
        .sum()
}

fn encode(batches: &[RecordBatch]) -> Result<Piece, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), batches[0].schema_ref())?;
    for batch in batches {
        writer.write(batch)?;
    }
    Ok(Piece {
        rows: batches.iter().map(RecordBatch::num_rows).sum(),
        stream: writer.into_inner()?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::{
        array::{ArrayRef, StringArray, UInt64Array},
        ipc::reader::StreamReader,
    };
    use std::sync::Arc;

    fn batch(range: std::ops::Range<u64>, text_bytes: usize) -> RecordBatch {
        let texts = range.clone().map(|_| "x".repeat(text_bytes));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(UInt64Array::from_iter_values(range.clone()))),
            ("text", Arc::new(StringArray::from_iter_values(texts))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn ids(stream: &Bytes) -> Vec<u64> {
        let reader = StreamReader::try_new(&stream[..], None).unwrap();
        let column = |batch: RecordBatch| {
            let ids = batch.column(0).as_any().downcast_ref::<UInt64Array>().unwrap();
            ids.values().to_vec()
        };
        reader.flat_map(|batch| column(batch.unwrap())).collect()
    }

    #[test]
    fn every_row_goes_out_once_in_order_in_bounded_pieces() {
        let batches = vec![
            batch(0..3, 10),
            batch(3..3, 10),
            batch(3..40_000, 1000),
            batch(40_000..40_001, 1),
        ];
        let pieces: Vec<Piece> = pieces(batches).map(Result::unwrap).collect();
        assert!(pieces.len() > 4);
        assert!(
            pieces
                .iter()
                .all(|piece| piece.stream.len() < MESSAGE_BYTES + (1 << 20))
        );
        let all: Vec<u64> = pieces.iter().flat_map(|piece| ids(&piece.stream)).collect();
        assert_eq!(all, (0..40_001).collect::<Vec<_>>());
    }

    #[test]
    fn many_rows_are_cut_even_if_small() {
        let rows = WRITE_ROWS_MAX as u64 + 1;
        assert_eq!(pieces(vec![batch(0..rows, 0)]).count(), 2);
    }

    #[test]
    fn nothing_gives_nothing() {
        assert_eq!(pieces(vec![batch(0..0, 1)]).count(), 0);
    }
}
