//! Where does the row of a slot stand, and how are small batches kept from piling up?
//!
//! Columns are a list of chunks, each an Arrow batch whose first row is slot `base`. A new batch becomes a chunk of
//! its own and is then merged with its predecessor while it is at least half as large, as a binary counter carries:
//! each row is copied O(log n) times in all, and a view holds O(log n) small chunks beside the full ones. Chunks are
//! immutable, so a view is a list of references.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MutableArrayData, RecordBatch, make_array};
use arrow::compute::{concat_batches, interleave};
use arrow_schema::{ArrowError, DataType};
use longbow_types::{Error, ErrorCode, Result};

/// A chunk of this many rows is full.
const CHUNK_ROWS_MAX: usize = 65_536;
/// A chunk of this many bytes is full. Also keeps 32-bit offsets of text far from their end.
const CHUNK_BYTES_MAX: usize = 64 << 20;

/// Consecutive slots.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Slot of the first row.
    pub(crate) base: u32,
    /// The rows.
    pub(crate) batch: RecordBatch,
    /// Bytes of the rows.
    pub(crate) bytes: usize,
}

impl Chunk {
    /// A chunk, and the bytes it holds.
    pub(crate) fn new(base: u32, batch: RecordBatch) -> Self {
        let bytes = (0..batch.num_columns())
            .map(|at| column_bytes(batch.column(at).as_ref(), 0, batch.num_rows()))
            .sum();
        Self { base, batch, bytes }
    }

    fn rows(&self) -> usize {
        self.batch.num_rows()
    }
}

/// All rows of a replica, in slot order. Invariant: chunks are not empty and follow each other without a gap.
pub(crate) type Chunks = Vec<Arc<Chunk>>;

/// The list after a batch was appended, whose columns may share memory with more than themselves.
///
/// `chunks` is not changed, so that a failure leaves nothing behind.
pub(crate) fn appended(chunks: &Chunks, base: u32, batch: RecordBatch) -> Result<Chunks> {
    let mut next = chunks.clone();
    if batch.num_rows() == 0 {
        return Ok(next);
    }
    let mut last = Chunk::new(base, batch);
    let mut owned = false;
    while let Some(previous) = next.last() {
        let full =
            previous.rows() + last.rows() > CHUNK_ROWS_MAX || previous.bytes + last.bytes > CHUNK_BYTES_MAX;
        if full || last.rows() * 2 < previous.rows() {
            break;
        }
        let batch = concat_batches(&last.batch.schema(), [&previous.batch, &last.batch]).map_err(internal)?;
        last = Chunk::new(previous.base, batch);
        owned = true;
        next.pop();
    }
    if !owned {
        last.batch = copied(&last.batch)?;
    }
    next.push(Arc::new(last));
    Ok(next)
}

/// A copy that shares no memory with the original, which may pin a whole log entry.
fn copied(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(|column| {
        let data = column.to_data();
        let mut copy = MutableArrayData::new(vec![&data], false, data.len());
        copy.try_extend(0, 0, data.len()).map_err(internal)?;
        Ok(make_array(copy.freeze()))
    });
    RecordBatch::try_new(batch.schema(), columns.collect::<Result<Vec<_>>>()?).map_err(internal)
}

/// Rows picked by slot, found once and gathered column by column.
pub(crate) struct Picks<'a> {
    chunks: Vec<&'a Chunk>,
    /// (position in `chunks`, row) of each pick.
    rows: Vec<(usize, usize)>,
}

impl<'a> Picks<'a> {
    /// Finds slots. O(slots · log chunks).
    pub(crate) fn new(chunks: &'a Chunks, slots: &[u32]) -> Self {
        // From position in `chunks` to position among those used.
        let mut used = vec![usize::MAX; chunks.len()];
        let mut picks = Picks {
            chunks: Vec::new(),
            rows: Vec::with_capacity(slots.len()),
        };
        for &slot in slots {
            let at = chunks.partition_point(|chunk| chunk.base <= slot) - 1;
            if used[at] == usize::MAX {
                used[at] = picks.chunks.len();
                picks.chunks.push(&chunks[at]);
            }
            picks.rows.push((used[at], (slot - chunks[at].base) as usize));
        }
        picks
    }

    /// One column of the picked rows, in the order of the picks.
    pub(crate) fn gather(&self, column: usize, data_type: &DataType) -> Result<ArrayRef> {
        if self.rows.is_empty() {
            return Ok(arrow::array::new_empty_array(data_type));
        }
        let columns: Vec<&dyn Array> = self
            .chunks
            .iter()
            .map(|chunk| chunk.batch.column(column).as_ref())
            .collect();
        interleave(&columns, &self.rows).map_err(internal)
    }

    /// Bytes of one column of one picked row.
    pub(crate) fn bytes(&self, pick: usize, column: usize) -> usize {
        let (chunk, row) = self.rows[pick];
        column_bytes(self.chunks[chunk].batch.column(column).as_ref(), row, 1)
    }
}

/// Bytes that some rows of a column take in an answer, validity aside.
fn column_bytes(column: &dyn Array, row: usize, rows: usize) -> usize {
    let span = |offsets: &[i32]| usize::try_from(offsets[row + rows] - offsets[row]).unwrap_or(0);
    match column.data_type() {
        DataType::Utf8 => span(column.as_string::<i32>().value_offsets()) + 4 * rows,
        DataType::Binary => span(column.as_binary::<i32>().value_offsets()) + 4 * rows,
        DataType::List(_) => {
            let lists = column.as_list::<i32>();
            let first = usize::try_from(lists.value_offsets()[row]).unwrap_or(0);
            let items = span(lists.value_offsets());
            column_bytes(lists.values().as_ref(), first, items) + 4 * rows
        }
        fixed => fixed.primitive_width().unwrap_or(1) * rows,
    }
}

fn internal(error: ArrowError) -> Error {
    Error::new(ErrorCode::Internal, format!("columns: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ListBuilder, StringBuilder, UInt64Array};
    use arrow::datatypes::UInt64Type;

    fn batch(from: u64, rows: u64) -> RecordBatch {
        let ids: ArrayRef = Arc::new(UInt64Array::from_iter_values(from..from + rows));
        RecordBatch::try_from_iter([("id", ids)]).unwrap()
    }

    #[test]
    fn single_rows_are_merged_like_a_binary_counter() {
        let mut chunks = Chunks::new();
        for slot in 0..1_000_u32 {
            chunks = appended(&chunks, slot, batch(slot.into(), 1)).unwrap();
            assert!(chunks.len() <= 11, "{} chunks after {slot} rows", chunks.len());
        }
        let slots: Vec<u32> = (0..1_000).rev().collect();
        let gathered = Picks::new(&chunks, &slots).gather(0, &DataType::UInt64).unwrap();
        let want: Vec<u64> = (0..1_000).rev().collect();
        assert_eq!(gathered.as_primitive::<UInt64Type>().values(), &want[..]);
    }

    #[test]
    fn full_chunks_are_left_alone() {
        let mut chunks = Chunks::new();
        for at in 0..4 {
            chunks = appended(&chunks, at * 40_000, batch(u64::from(at) * 40_000, 40_000)).unwrap();
        }
        assert_eq!(chunks.len(), 4);
    }

    #[test]
    fn a_chunk_does_not_pin_the_memory_it_came_from() {
        let large = batch(0, 10_000);
        let chunks = appended(&Chunks::new(), 0, large.slice(0, 10)).unwrap();
        assert!(chunks[0].batch.get_array_memory_size() < 2_000);
    }

    #[test]
    fn bytes_are_those_of_the_rows() {
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("abc"), Some("de")]);
        lists.append_value([Some("f")]);
        let lists = lists.finish();
        assert_eq!(column_bytes(&lists, 0, 1), 5 + 2 * 4 + 4);
        assert_eq!(column_bytes(&lists, 1, 1), 1 + 4 + 4);
        assert_eq!(column_bytes(&lists, 0, 2), 6 + 3 * 4 + 2 * 4);
    }
}
