//! Where does the row of a slot stand, and how are small batches kept from piling up?
//!
//! Columns are a list of chunks, each an Arrow batch whose first row is slot `base`. A new batch becomes a chunk of
//! its own and is then merged with its predecessor while it is at least half as large, as a binary counter carries:
//! each row is copied O(log n) times in all, and a view holds O(log n) small chunks beside the full ones. Chunks are
//! immutable, so a view is a list of references. One that was written under an earlier version of the schema stays as
//! it is until it is merged: see `versions`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MutableArrayData, RecordBatch, make_array};
use arrow::compute::{concat_batches, interleave};
use arrow_schema::{ArrowError, DataType};
use longbow_types::{Error, ErrorCode, Result};

use crate::Layout;
use crate::versions::{self, Source};

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

/// The list after a batch of the layout was appended, whose columns may share memory with more than themselves.
///
/// `chunks` is not changed, so that a failure leaves nothing behind.
pub(crate) fn appended(layout: &Layout, chunks: &Chunks, base: u32, batch: RecordBatch) -> Result<Chunks> {
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
        let before = versions::upgraded(layout, &previous.batch)?;
        let batch = concat_batches(&last.batch.schema(), [before.as_ref(), &last.batch]).map_err(internal)?;
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
    layout: &'a Layout,
    chunks: Vec<&'a Chunk>,
    /// (position in `chunks`, row) of each pick.
    rows: Vec<(usize, usize)>,
}

impl<'a> Picks<'a> {
    /// Finds slots. O(slots · log chunks).
    pub(crate) fn new(layout: &'a Layout, chunks: &'a Chunks, slots: &[u32]) -> Self {
        // From position in `chunks` to position among those used.
        let mut used = vec![usize::MAX; chunks.len()];
        let mut picks = Picks {
            layout,
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

    /// One stored column of the picked rows, in the order of the picks.
    pub(crate) fn gather(&self, column: usize) -> Result<ArrayRef> {
        if self.rows.is_empty() {
            let data_type = self.layout.stored().field(column).data_type();
            return Ok(arrow::array::new_empty_array(data_type));
        }
        let (mut columns, mut is_current) = (Vec::with_capacity(self.chunks.len()), true);
        for chunk in &self.chunks {
            let source = versions::source(self.layout, &chunk.batch, column);
            is_current &= matches!(source, Source::Same(_));
            columns.push(source);
        }
        if !is_current {
            return self.gather_across(column, &columns);
        }
        let columns: Vec<&dyn Array> = columns
            .iter()
            .map(|(Source::Same(array) | Source::Narrow(array) | Source::Absent(array))| array.as_ref())
            .collect();
        interleave(&columns, &self.rows).map_err(internal)
    }

    /// The same, of chunks some of which are of earlier versions.
    fn gather_across(&self, column: usize, sources: &[Source<'_>]) -> Result<ArrayRef> {
        let mut rows = self.rows.clone();
        let mut arrays = Vec::with_capacity(sources.len());
        for (at, source) in sources.iter().enumerate() {
            let picks = rows.iter_mut().filter(|(chunk, _)| *chunk == at);
            arrays.push(match source {
                Source::Same(array) => Arc::clone(array),
                Source::Absent(one) => {
                    picks.for_each(|(_, row)| *row = 0);
                    Arc::clone(one)
                }
                Source::Narrow(array) => {
                    let mut wanted = Vec::new();
                    for (_, row) in picks {
                        let place = wanted.len();
                        wanted.push(u32::try_from(std::mem::replace(row, place)).map_err(|_| long())?);
                    }
                    versions::widened(array, wanted, self.layout, column)?
                }
            });
        }
        let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
        interleave(&arrays, &rows).map_err(internal)
    }

    /// Bytes of one stored column of one picked row.
    pub(crate) fn bytes(&self, pick: usize, column: usize) -> usize {
        let (chunk, row) = self.rows[pick];
        match versions::source(self.layout, &self.chunks[chunk].batch, column) {
            Source::Same(array) => column_bytes(array.as_ref(), row, 1),
            Source::Absent(one) => column_bytes(one.as_ref(), 0, 1),
            Source::Narrow(_) => {
                let data_type = self.layout.stored().field(column).data_type();
                data_type.primitive_width().unwrap_or(1)
            }
        }
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

fn long() -> Error {
    Error::new(ErrorCode::Internal, "a chunk has more rows than there are slots")
}

fn internal(error: ArrowError) -> Error {
    Error::new(ErrorCode::Internal, format!("columns: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ListBuilder, StringBuilder, UInt64Array};
    use arrow::datatypes::UInt64Type;
    use arrow_schema::Field;
    use longbow_types::schema::vector_type;
    use longbow_types::{Metric, Schema, VectorElement};

    fn layout() -> Layout {
        let fields = vec![
            Field::new("id", DataType::UInt64, false),
            Field::new("v", vector_type(VectorElement::F32, 2), false),
        ];
        Layout::new(Schema::new(fields, "id", Metric::L2).unwrap())
    }

    fn batch(from: u64, rows: u64) -> RecordBatch {
        let ids: ArrayRef = Arc::new(UInt64Array::from_iter_values(from..from + rows));
        let versions: ArrayRef = Arc::new(UInt64Array::from_value(1, rows as usize));
        RecordBatch::try_new(Arc::clone(layout().stored()), vec![ids, versions]).unwrap()
    }

    #[test]
    fn single_rows_are_merged_like_a_binary_counter() {
        let mut chunks = Chunks::new();
        for slot in 0..1_000_u32 {
            chunks = appended(&layout(), &chunks, slot, batch(slot.into(), 1)).unwrap();
            assert!(chunks.len() <= 11, "{} chunks after {slot} rows", chunks.len());
        }
        let slots: Vec<u32> = (0..1_000).rev().collect();
        let layout = layout();
        let gathered = Picks::new(&layout, &chunks, &slots).gather(0).unwrap();
        let want: Vec<u64> = (0..1_000).rev().collect();
        assert_eq!(gathered.as_primitive::<UInt64Type>().values(), &want[..]);
    }

    #[test]
    fn full_chunks_are_left_alone() {
        let mut chunks = Chunks::new();
        for at in 0..4 {
            chunks = appended(
                &layout(),
                &chunks,
                at * 40_000,
                batch(u64::from(at) * 40_000, 40_000),
            )
            .unwrap();
        }
        assert_eq!(chunks.len(), 4);
    }

    #[test]
    fn a_chunk_does_not_pin_the_memory_it_came_from() {
        let large = batch(0, 10_000);
        let chunks = appended(&layout(), &Chunks::new(), 0, large.slice(0, 10)).unwrap();
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
