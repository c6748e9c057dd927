//! How many bytes of memory does a replica take, for what, and how many do rows to come?
//!
//! Columns are counted as long as anybody holds them: what was merged away stays in memory while an older view shows it.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayData, RecordBatch};
use arrow::buffer::Buffer;

use longbow_index::Bitset;

use crate::Reader;
use crate::layout::vector_bytes;
use crate::tenants::Tenants;

/// Bytes of memory that replicas take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// Vectors, those included that are found by scanning because the graph does not have them yet.
    pub vectors: u64,
    /// Quantized codes of the vectors.
    pub codes: u64,
    /// The graph. Rows that are not in it yet count with the links that they will have.
    pub graph: u64,
    /// Columns, those of views that somebody still holds included.
    pub columns: u64,
    /// Which row has an id, which rows are live, and what became of conditional writes.
    pub ids: u64,
    /// What searches and insertions left for those that come after them.
    pub caches: u64,
}

impl Memory {
    /// Each, with its name.
    pub fn named(&self) -> [(&'static str, u64); 6] {
        let Self {
            vectors,
            codes,
            graph,
            columns,
            ids,
            caches,
        } = *self;
        [
            ("vectors", vectors),
            ("codes", codes),
            ("graph", graph),
            ("columns", columns),
            ("ids", ids),
            ("caches", caches),
        ]
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.named().iter().map(|(_, bytes)| bytes).sum()
    }
}

impl AddAssign for Memory {
    fn add_assign(&mut self, other: Self) {
        self.vectors += other.vectors;
        self.codes += other.codes;
        self.graph += other.graph;
        self.columns += other.columns;
        self.ids += other.ids;
        self.caches += other.caches;
    }
}

/// What rows to come take. Averages over the rows that there are; a guess from the schema where there are few.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Appetite {
    /// So many find a slot of the index that is free.
    pub free_slots: u64,
    /// Bytes that a row has in the log.
    pub logged_bytes: u64,
    /// Bytes of memory that a row takes which finds a free slot.
    pub reused_bytes: u64,
    /// Bytes of memory that any other takes.
    pub fresh_bytes: u64,
}

/// From so many rows on averages tell more than a guess.
const ROWS_MIN: u64 = 256;
/// Bytes of columns and of ids that a row is guessed to take.
const GUESSED_BYTES: u64 = 48;

impl Reader {
    /// Bytes of memory that the replica takes now. Cheap enough to be asked every second.
    pub fn memory(&self) -> Memory {
        let view = self.view();
        // One of the writer, and one of the newest view.
        let of_slots = |live: &Bitset, tenants: &Tenants| 2 * size_of_val(live.words()) + tenants.memory();
        let known = self.outcomes.lock().memory();
        let mut memory = Memory {
            columns: self.columns.load(Ordering::Relaxed) as u64,
            ids: (view.ids.memory() + of_slots(&view.live, &view.tenants) + known) as u64,
            ..Memory::default()
        };
        let further = view.further.iter();
        memory.ids += further
            .map(|further| of_slots(&further.live, &further.tenants) as u64)
            .sum::<u64>();
        for index in self.indexes() {
            let index = index.memory();
            memory.vectors += index.vectors as u64;
            memory.codes += index.codes as u64;
            memory.graph += index.graph as u64;
            memory.caches += index.scratch as u64;
        }
        memory
    }

    /// What rows to come take.
    pub fn appetite(&self) -> Appetite {
        let (index, view) = (self.index.memory(), self.view());
        let (rows, stored) = (view.rows() as u64, view.rows_stored() as u64);
        let average = |bytes: usize, rows: u64| {
            let bytes = (rows >= ROWS_MIN).then(|| (bytes as u64).div_ceil(rows));
            bytes.unwrap_or(GUESSED_BYTES)
        };
        let columns = average(view.chunks.iter().map(|chunk| chunk.bytes).sum(), stored);
        let ids = average(view.ids.memory() + view.tenants.memory(), rows);
        let mut appetite = Appetite {
            free_slots: self.index.free() as u64,
            logged_bytes: view.layout.vector_bytes() as u64 + columns,
            reused_bytes: columns + ids,
            fresh_bytes: columns + ids + index.slot as u64,
        };
        for (column, further) in view.layout.further().iter().zip(&view.further) {
            // The share of rows that have a value there; what is told of none yet may be told of every row to come.
            let share = match rows {
                0 => 1.0,
                rows => further.rows as f64 / rows as f64,
            };
            let of_share = |bytes: usize| (bytes as f64 * share).ceil() as u64;
            let slot = of_share(further.index.memory().slot);
            appetite.logged_bytes += of_share(vector_bytes(&column.vector));
            appetite.fresh_bytes += slot;
            if further.index.free() == 0 {
                appetite.reused_bytes += slot;
            }
        }
        appetite
    }
}

/// The part of a sum that something is, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted {
    bytes: usize,
    sum: Arc<AtomicUsize>,
}

impl Counted {
    pub(crate) fn new(bytes: usize, sum: &Arc<AtomicUsize>) -> Self {
        sum.fetch_add(bytes, Ordering::Relaxed);
        Self {
            bytes,
            sum: Arc::clone(sum),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.sum.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bytes of memory that a batch holds: whole allocations, each once, whatever part of them its columns use.
pub(crate) fn held_by(batch: &RecordBatch) -> usize {
    fn see(data: &ArrayData, seen: &mut BTreeMap<usize, usize>) {
        let mut see_one = |buffer: &Buffer| {
            seen.insert(buffer.data_ptr().as_ptr().addr(), buffer.capacity());
        };
        data.buffers().iter().for_each(&mut see_one);
        if let Some(nulls) = data.nulls() {
            see_one(nulls.buffer());
        }
        data.child_data().iter().for_each(|child| see(child, seen));
    }
    let mut seen = BTreeMap::new();
    batch
        .columns()
        .iter()
        .for_each(|column| see(&column.to_data(), &mut seen));
    seen.values().sum()
}

/// Bytes that an allocation of so many takes.
pub(crate) fn allocated(bytes: usize) -> usize {
    // As common allocators do it: a word before it, and multiples of two.
    (bytes + size_of::<usize>())
        .next_multiple_of(2 * size_of::<usize>())
        .max(4 * size_of::<usize>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, StringArray, UInt64Array};

    #[test]
    fn memory_that_columns_share_is_counted_once_and_whole() {
        let numbers = UInt64Array::from_iter_values(0..1_000);
        let capacity = numbers.values().inner().capacity();
        let columns: [(&str, ArrayRef); 2] = [
            ("a", Arc::new(numbers.slice(0, 10))),
            ("b", Arc::new(numbers.slice(500, 10))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        assert_eq!(held_by(&batch), capacity);
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("some text"), None]));
        let batch = RecordBatch::try_from_iter([("t", texts)]).unwrap();
        // Offsets, text and validity.
        assert!(held_by(&batch) > 3 * 4 + 9, "{}", held_by(&batch));
    }

    #[test]
    fn a_part_counts_as_long_as_it_lives() {
        let sum = Arc::new(AtomicUsize::new(0));
        let (one, other) = (Counted::new(5, &sum), Counted::new(7, &sum));
        assert_eq!(sum.load(Ordering::Relaxed), 12);
        drop(one);
        assert_eq!(sum.load(Ordering::Relaxed), 7);
        drop(other);
        assert_eq!(sum.load(Ordering::Relaxed), 0);
    }
}
