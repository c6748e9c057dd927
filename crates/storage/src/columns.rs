//! Where does a row stand, and how are small batches kept from piling up?
//!
//! Columns are a list of chunks, each an Arrow batch whose rows have ascending keys. Chunks are immutable, so a view is a
//! list of references. A new batch becomes a chunk of its own; very small ones are merged with their predecessors at
//! once, as a binary counter carries, and everything else is left to [compaction](crate::compact), which also leaves
//! out rows that are dead. If that is far behind, chunks of any size are merged here, so that their number stays small
//! whatever happens: each row is then copied O(log n) times in all. Chunks that were written under an
//! earlier version of the schema stay as they are until they are merged: see `versions`.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, MutableArrayData, RecordBatch, make_array};
use arrow::compute::{concat_batches, interleave};
use arrow_schema::{ArrowError, DataType};
use longbow_types::{Error, ErrorCode, Result};

use crate::Layout;
use crate::memory::{Counted, held_by};
use crate::numbers::Numbers;
use crate::tenants::Key;
use crate::versions::{self, Source};

/// A chunk of this many rows is full.
pub(crate) const CHUNK_ROWS_MAX: usize = 65_536;
/// A chunk of this many bytes is full. Also keeps 32-bit offsets of text far from their end.
pub(crate) const CHUNK_BYTES_MAX: usize = 64 << 20;
/// Chunks of at most so many rows may be merged with what is appended to them: some microseconds of work.
pub(crate) const LOOSE_ROWS_MAX: usize = 2_048;
/// If there are so many chunks, any may be.
const CHUNKS_MAX: usize = 512;

/// Consecutive rows, and what is known of them.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Keys of the rows, ascending.
    pub(crate) keys: Numbers<Key>,
    /// Slot of each row in the vector index; of a dead row, the one that it had.
    pub(crate) slots: Numbers<u32>,
    /// The rows.
    pub(crate) batch: RecordBatch,
    /// Bytes of the rows.
    pub(crate) bytes: usize,
    /// Rows that are dead in the writer's state.
    dead: AtomicU32,
    /// Whether the slot of a dead row was given to another.
    outlived: AtomicBool,
    /// Its part of the memory of a replica that has it, or had it.
    counted: OnceLock<Counted>,
}

impl Chunk {
    /// A chunk whose rows have keys and slots from `base` on.
    pub(crate) fn new(base: u32, batch: RecordBatch) -> Self {
        let rows = batch.num_rows();
        Self::of(Numbers::Run(base.into(), rows), Numbers::Run(base, rows), batch)
    }

    /// A chunk, and the bytes it holds.
    pub(crate) fn of(keys: Numbers<Key>, slots: Numbers<u32>, batch: RecordBatch) -> Self {
        let bytes = (0..batch.num_columns())
            .map(|at| column_bytes(batch.column(at).as_ref(), 0, batch.num_rows()))
            .sum();
        debug_assert!(keys.len() == batch.num_rows() && slots.len() == batch.num_rows());
        Self {
            keys,
            slots,
            batch,
            bytes,
            dead: AtomicU32::new(0),
            outlived: AtomicBool::new(false),
            counted: OnceLock::new(),
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// Counts its memory in a sum, once, for as long as anybody holds the chunk.
    pub(crate) fn count_in(&self, sum: &Arc<AtomicUsize>) {
        self.counted.get_or_init(|| {
            let bytes = held_by(&self.batch) + self.keys.held() + self.slots.held();
            Counted::new(bytes, sum)
        });
    }

    /// The key of the first row.
    pub(crate) fn first(&self) -> Key {
        self.keys.at(0)
    }

    /// Rows that are dead in the writer's state.
    pub(crate) fn dead(&self) -> u32 {
        self.dead.load(Ordering::Relaxed)
    }

    /// So many rows more are dead. Only the writer says so.
    pub(crate) fn died(&self, rows: u32) {
        self.dead.fetch_add(rows, Ordering::Relaxed);
    }

    /// The slot of one of the rows, which is dead, was given to another. Only the writer says so, before it publishes
    /// a view in which the slot is live again.
    pub(crate) fn outlive(&self) {
        self.outlived.store(true, Ordering::Relaxed);
    }

    /// Whether a slot may be that of another row.
    pub(crate) fn is_outlived(&self) -> bool {
        self.outlived.load(Ordering::Relaxed)
    }

    /// The rows of both, this one's first.
    fn and(&self, layout: &Layout, next: &Self) -> Result<Self> {
        let before = versions::upgraded(layout, &self.batch)?;
        let batch = concat_batches(&next.batch.schema(), [before.as_ref(), &next.batch]).map_err(internal)?;
        let keys = Numbers::of(self.keys.iter().chain(next.keys.iter()).collect());
        let slots = Numbers::of(self.slots.iter().chain(next.slots.iter()).collect());
        let both = Self::of(keys, slots, batch);
        both.died(self.dead() + next.dead());
        if self.is_outlived() || next.is_outlived() {
            both.outlive();
        }
        Ok(both)
    }
}

/// All rows of a replica, in the order of their keys. Invariant: no chunk is empty.
pub(crate) type Chunks = Vec<Arc<Chunk>>;

/// Where a row stands: which chunk, and which row of it.
pub(crate) type Place = (usize, usize);

/// The place of a row; nothing if it was left out of its chunk because it is dead. O(log rows).
pub(crate) fn find(chunks: &[Arc<Chunk>], key: Key) -> Option<Place> {
    let at = chunks
        .partition_point(|chunk| chunk.first() <= key)
        .checked_sub(1)?;
    Some((at, chunks[at].keys.find(key)?))
}

/// The list after rows were appended as the layout has them, whose columns may share memory with more than themselves.
///
/// `chunks` is not changed, so that a failure leaves nothing behind.
pub(crate) fn appended(layout: &Layout, chunks: &Chunks, rows: Chunk) -> Result<Chunks> {
    let mut next = chunks.clone();
    let mut last = rows;
    let mut owned = false;
    while let Some(previous) = next.last() {
        let is_loose =
            previous.rows() <= LOOSE_ROWS_MAX && previous.rows() + last.rows() <= 2 * LOOSE_ROWS_MAX;
        let fits =
            previous.rows() + last.rows() <= CHUNK_ROWS_MAX && previous.bytes + last.bytes <= CHUNK_BYTES_MAX;
        let may_grow = fits && (is_loose || next.len() >= CHUNKS_MAX);
        if !may_grow || last.rows() * 2 < previous.rows() {
            break;
        }
        last = previous.and(layout, &last)?;
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

/// Rows picked by their places, gathered column by column.
pub(crate) struct Picks<'a> {
    layout: &'a Layout,
    chunks: Vec<&'a Chunk>,
    /// (position in `chunks`, row) of each pick.
    rows: Vec<Place>,
}

impl<'a> Picks<'a> {
    /// Picks rows. O(rows + chunks).
    pub(crate) fn new(layout: &'a Layout, chunks: &'a Chunks, places: &[Place]) -> Self {
        // From position in the list to position among those used.
        let mut used = vec![usize::MAX; chunks.len()];
        let mut picks = Picks {
            layout,
            chunks: Vec::new(),
            rows: Vec::with_capacity(places.len()),
        };
        for &(at, row) in places {
            if used[at] == usize::MAX {
                used[at] = picks.chunks.len();
                picks.chunks.push(&chunks[at]);
            }
            picks.rows.push((used[at], row));
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
            Source::Narrow(array) => {
                let data_type = self.layout.stored().field(column).data_type();
                let width = match data_type {
                    // Of children that were added some nulls.
                    DataType::Struct(children) => 16 * children.len(),
                    other => other.primitive_width().unwrap_or(1),
                };
                width.max(column_bytes(array.as_ref(), row, 1))
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
        DataType::Struct(_) => {
            let children = column.as_struct().columns().iter();
            children
                .map(|child| column_bytes(child.as_ref(), row, rows))
                .sum()
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

    fn append(chunks: &Chunks, base: u32, batch: RecordBatch) -> Chunks {
        appended(&layout(), chunks, Chunk::new(base, batch)).unwrap()
    }

    fn ids(chunks: &Chunks, keys: impl Iterator<Item = u64>) -> Vec<u64> {
        let places: Vec<Place> = keys.map(|key| find(chunks, key).unwrap()).collect();
        let gathered = Picks::new(&layout(), chunks, &places).gather(0).unwrap();
        gathered.as_primitive::<UInt64Type>().values().to_vec()
    }

    #[test]
    fn single_rows_are_merged_like_a_binary_counter() {
        let mut chunks = Chunks::new();
        for slot in 0..1_000_u32 {
            chunks = append(&chunks, slot, batch(slot.into(), 1));
            assert!(chunks.len() <= 11, "{} chunks after {slot} rows", chunks.len());
        }
        assert_eq!(
            ids(&chunks, (0..1_000).rev()),
            (0..1_000).rev().collect::<Vec<u64>>()
        );
        assert_eq!(find(&chunks, 1_000), None);
    }

    #[test]
    fn chunks_of_some_size_are_left_alone() {
        let mut chunks = Chunks::new();
        for at in 0..4 {
            chunks = append(&chunks, at * 4_000, batch(u64::from(at) * 4_000, 4_000));
        }
        assert_eq!(chunks.len(), 4);
    }

    /// As many batches again as there may be chunks.
    #[test]
    fn many_chunks_of_any_size_are_merged_until_they_are_full() {
        let rows = LOOSE_ROWS_MAX as u32 + 1;
        let mut chunks = Chunks::new();
        for at in 0..2 * CHUNKS_MAX as u32 {
            chunks = append(&chunks, at * rows, batch((at * rows).into(), rows.into()));
            // Full ones stay, and before the last there are a few on their way.
            let full = 2 * (at * rows) as usize / CHUNK_ROWS_MAX;
            assert!(chunks.len() <= CHUNKS_MAX + full + 6, "{} chunks", chunks.len());
            assert!(chunks.iter().all(|chunk| chunk.rows() <= CHUNK_ROWS_MAX));
        }
        let keys = || (0..2 * CHUNKS_MAX as u64 * u64::from(rows)).step_by(997);
        assert_eq!(ids(&chunks, keys()), keys().collect::<Vec<_>>());
    }

    #[test]
    fn what_is_known_of_rows_is_kept_when_they_are_merged() {
        let chunk = |keys: Vec<u64>, slots: Vec<u32>| {
            let rows = keys.len() as u64;
            Chunk::of(Numbers::of(keys), Numbers::of(slots), batch(0, rows))
        };
        let chunks = appended(&layout(), &Chunks::new(), chunk(vec![3, 5], vec![0, 9])).unwrap();
        chunks[0].died(1);
        chunks[0].outlive();
        let chunks = appended(&layout(), &chunks, chunk(vec![6], vec![2])).unwrap();
        let both = &chunks[0];
        assert_eq!((chunks.len(), both.dead(), both.is_outlived()), (1, 1, true));
        assert_eq!(both.keys.iter().collect::<Vec<_>>(), [3, 5, 6]);
        assert_eq!(both.slots.iter().collect::<Vec<_>>(), [0, 9, 2]);
        assert_eq!(
            [2, 3, 4, 5, 6, 7].map(|key| find(&chunks, key)),
            [None, Some((0, 0)), None, Some((0, 1)), Some((0, 2)), None]
        );
    }

    #[test]
    fn a_chunk_does_not_pin_the_memory_it_came_from() {
        let large = batch(0, 10_000);
        let chunks = append(&Chunks::new(), 0, large.slice(0, 10));
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
