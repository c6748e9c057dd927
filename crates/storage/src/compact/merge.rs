//! Copies the live rows of neighbouring chunks of a view into one.

use std::num::NonZero;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, RecordBatch};
use longbow_types::{Error, ErrorCode, Result};
use parking_lot::Mutex;

use super::Sizes;
use super::blocks::{self, Run};
use super::policy::{self, Piece};
use crate::View;
use crate::columns::Chunk;
use crate::numbers::Numbers;
use crate::tenants::Key;
use crate::versions::{self, Source};

/// Less than this is not worth other threads.
const PARALLEL_BYTES_MIN: usize = 1 << 20;

/// Where the search for work goes on, so that every chunk has its turn.
#[derive(Debug, Default)]
pub struct Cursor(Key);

/// Chunks of a view that are to be merged. It holds the view.
pub struct Plan {
    view: Arc<View>,
    range: Range<usize>,
}

/// A chunk that is to take the place of others. It holds the view.
pub struct Merged {
    pub(crate) view: Arc<View>,
    /// Chunks of the view.
    pub(crate) range: Range<usize>,
    /// Nothing if none of their rows is live.
    pub(crate) chunk: Option<Arc<Chunk>>,
    pub(crate) moved: Moved,
}

/// What a merge did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    /// Chunks merged.
    pub chunks: usize,
    /// Live rows copied.
    pub rows: u64,
    /// Bytes copied.
    pub bytes: u64,
    /// Dead rows left out.
    pub rows_dropped: u64,
}

impl View {
    /// The next chunks to be merged, if any: see `policy`. Cheap: it looks at chunks, not at rows.
    pub fn compaction(self: &Arc<Self>, sizes: &Sizes, cursor: &mut Cursor) -> Option<Plan> {
        // Those behind the last one that is large enough may be merged by the writer at any moment.
        let is_settled = |chunk: &Arc<Chunk>| chunk.rows() > sizes.loose_rows_max;
        let settled = self.chunks.iter().rposition(is_settled)? + 1;
        let chunks = &self.chunks[..settled];
        let pieces = chunks.iter().map(|chunk| Piece {
            rows: chunk.rows() as u64,
            dead: u64::from(chunk.dead()).min(chunk.rows() as u64),
            bytes: chunk.bytes as u64,
        });
        let from = chunks.partition_point(|chunk| chunk.first() < cursor.0);
        let range = policy::plan(&pieces.collect::<Vec<_>>(), &sizes.limits(), from)?;
        cursor.0 = chunks.get(range.end).map_or(0, |chunk| chunk.first());
        Some(Plan {
            view: Arc::clone(self),
            range,
        })
    }
}

impl Plan {
    /// Bytes of the rows that are to be merged, at most as many as are copied.
    pub fn bytes(&self) -> u64 {
        let chunks = &self.view.chunks[self.range.clone()];
        chunks.iter().map(|chunk| chunk.bytes as u64).sum()
    }

    /// Finds the rows that live, whose columns are then copied by [`Merge::work`].
    pub fn begin(self) -> Merge {
        let Plan { view, range } = self;
        let located = view.located();
        let chunks = &view.chunks[range.clone()];
        let (mut runs, mut keys, mut slots) = (Vec::new(), Vec::new(), Vec::new());
        for (source, chunk) in chunks.iter().enumerate() {
            for rows in located.runs(chunk) {
                keys.extend(rows.clone().map(|row| chunk.keys.at(row)));
                slots.extend(rows.clone().map(|row| chunk.slots.at(row)));
                runs.push(Run {
                    source,
                    start: rows.start,
                    len: rows.len(),
                });
            }
        }
        let stored: usize = chunks.iter().map(|chunk| chunk.rows()).sum();
        let moved = Moved {
            chunks: chunks.len(),
            rows: keys.len() as u64,
            bytes: 0,
            rows_dropped: (stored - keys.len()) as u64,
        };
        let batches: Vec<RecordBatch> = chunks.iter().map(|chunk| chunk.batch.clone()).collect();
        let width = view.layout.stored().fields().len();
        let bytes_of = |column: usize| -> usize {
            let of = |batch| match versions::source(&view.layout, batch, column) {
                Source::Same(array) | Source::Narrow(array) => array.get_array_memory_size(),
                Source::Absent(_) => 0,
            };
            batches.iter().map(of).sum()
        };
        // The largest first, so that threads end together.
        let mut order: Vec<usize> = (0..width).collect();
        order.sort_by_cached_key(|&column| std::cmp::Reverse(bytes_of(column)));
        Merge {
            order,
            next: AtomicUsize::new(0),
            copied: Mutex::new(vec![None; width]),
            failure: Mutex::new(None),
            batches,
            view,
            range,
            runs,
            keys,
            slots,
            moved,
        }
    }

    /// The whole merge on this thread.
    ///
    /// # Errors
    /// Those of [`Merge::finish`].
    pub fn merge(self, cancel: &dyn Fn() -> bool) -> Result<Merged> {
        let merge = self.begin();
        merge.work(cancel);
        merge.finish()
    }
}

/// A merge under way, to which any number of threads may lend a hand.
pub struct Merge {
    view: Arc<View>,
    range: Range<usize>,
    /// Of each chunk.
    batches: Vec<RecordBatch>,
    runs: Vec<Run>,
    keys: Vec<Key>,
    slots: Vec<u32>,
    moved: Moved,
    /// Columns in the order in which they are taken.
    order: Vec<usize>,
    next: AtomicUsize,
    copied: Mutex<Vec<Option<ArrayRef>>>,
    /// The first one.
    failure: Mutex<Option<Error>>,
}

impl Merge {
    /// Of so many threads, how many are worth it.
    pub fn threads(&self, most: NonZero<usize>) -> usize {
        let bytes: usize = self.view.chunks[self.range.clone()]
            .iter()
            .map(|chunk| chunk.bytes)
            .sum();
        if bytes < PARALLEL_BYTES_MIN {
            1
        } else {
            most.get().min(self.order.len())
        }
    }

    /// Copies one column after the other until none is left that nobody has taken. `cancel` is asked again and again.
    pub fn work(&self, cancel: &dyn Fn() -> bool) {
        if self.runs.is_empty() {
            return;
        }
        while let Some(&column) = self.order.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            match self.copy(column, cancel) {
                Ok(copy) => self.copied.lock()[column] = Some(copy),
                Err(error) => {
                    self.failure.lock().get_or_insert(error);
                    // What others copy is of no use any more.
                    self.next.store(self.order.len(), Ordering::Relaxed);
                    return;
                }
            }
        }
    }

    /// One column of the view's version of the schema, whatever those of the chunks are.
    fn copy(&self, column: usize, cancel: &dyn Fn() -> bool) -> Result<ArrayRef> {
        let of = |batch| versions::whole(&self.view.layout, batch, column);
        let columns = self.batches.iter().map(of).collect::<Result<Vec<_>>>()?;
        let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
        blocks::copy(&columns, &self.runs, cancel)
    }

    /// The merged chunk, when every thread's [`Self::work`] has ended.
    ///
    /// # Errors
    /// `CANCELLED` if `cancel` said so; `INTERNAL` if columns cannot be copied, or if a thread that copied one panicked.
    /// Nothing changed then.
    pub fn finish(self) -> Result<Merged> {
        if let Some(error) = self.failure.into_inner() {
            return Err(error);
        }
        let mut moved = self.moved;
        let mut chunk = None;
        if !self.runs.is_empty() {
            let columns = self
                .copied
                .into_inner()
                .into_iter()
                .collect::<Option<Vec<ArrayRef>>>();
            let columns =
                columns.ok_or_else(|| Error::new(ErrorCode::Internal, "a column was not copied"))?;
            let schema = Arc::clone(self.view.layout.stored());
            let batch = RecordBatch::try_new(schema, columns).map_err(blocks::failed)?;
            let merged = Chunk::of(Numbers::of(self.keys), Numbers::of(self.slots), batch);
            moved.bytes = merged.bytes as u64;
            chunk = Some(Arc::new(merged));
        }
        Ok(Merged {
            view: self.view,
            range: self.range,
            chunk,
            moved,
        })
    }
}
