//! Applies one entry of the log.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use longbow_index::Bitset;
use longbow_query::ids::Ids;
use longbow_types::{Error, ErrorCode, Result};

use super::{Applied, Replica, WriteKind};
use crate::body::{Rows, decode_ids};
use crate::columns::{Chunks, appended};

impl Replica {
    /// Applies a write: this partition's range of the entry's body, with the rows its header tells of.
    ///
    /// An error, or a panic, leaves the state of the entry before; the replica must not be given the entries after
    /// it, which may rest on this one.
    ///
    /// # Errors
    /// `MALFORMED_ARROW`, `SCHEMA_MISMATCH` or `NULL_NOT_ALLOWED` for a body that is not what a router writes;
    /// `TOO_LARGE` or `STORAGE_FAILED` when the index can take no more; `INTERNAL` for an entry out of order.
    pub fn apply(&mut self, index: u64, kind: WriteKind, body: &[u8], rows: u32) -> Result<Applied> {
        self.check_order(index)?;
        let applied = match kind {
            WriteKind::Upsert => self.upsert(index, body, rows)?,
            WriteKind::Delete => self.delete(body, rows)?,
        };
        self.applied_index = index;
        self.touched_index = index;
        Ok(applied)
    }

    pub(super) fn check_order(&self, index: u64) -> Result<()> {
        if index > self.applied_index {
            return Ok(());
        }
        let message = format!("entry {index} comes after entry {}", self.applied_index);
        Err(Error::new(ErrorCode::Internal, message))
    }

    fn upsert(&mut self, index: u64, body: &[u8], rows: u32) -> Result<Applied> {
        let layout = Arc::clone(&self.layout);
        let decoded = Rows::decode(&layout, body, rows)?;
        if decoded.rows == 0 {
            return Ok(Applied::default());
        }
        let mut columns = decoded.columns.clone();
        let id_column = Arc::clone(&columns[layout.id()]);
        let ids = Ids::new(id_column.as_ref())?;
        columns.push(Arc::new(UInt64Array::from_value(index, decoded.rows)) as ArrayRef);
        let batch = RecordBatch::try_new(Arc::clone(layout.stored()), columns)
            .map_err(|error| Error::new(ErrorCode::MalformedArrow, error.to_string()))?;

        let base = slots(&self.live);
        let chunks = appended(&layout, &self.chunks, base, batch)?;
        let range = self
            .reader
            .index
            .append(&decoded.vector_bytes())
            .map_err(index_error)?;
        if range.start != base || range.len() != decoded.rows {
            let message = format!(
                "the index gave slots {range:?} to {} rows at {base}",
                decoded.rows
            );
            return Err(Error::new(ErrorCode::Internal, message));
        }
        // The map shows the new slots to no view before they are published.
        let mut retired = Vec::new();
        for (row, slot) in range.clone().enumerate() {
            retired.extend(self.ids.insert(&ids, row, slot));
        }
        Ok(self.commit(chunks, range.end, retired, decoded.rows))
    }

    fn delete(&mut self, body: &[u8], rows: u32) -> Result<Applied> {
        let layout = Arc::clone(&self.layout);
        let column = decode_ids(&layout, body, rows)?;
        let ids = Ids::new(column.as_ref())?;
        let end = slots(&self.live);
        let retired = (0..ids.len())
            .filter_map(|row| self.ids.get(&ids, row, end))
            .collect();
        Ok(self.commit(self.chunks.clone(), end, retired, ids.len()))
    }

    /// Takes an entry's changes over. Nothing here can fail: a failure halfway would be a state of no entry.
    fn commit(&mut self, chunks: Chunks, end: u32, mut retired: Vec<u32>, rows: usize) -> Applied {
        let before = slots(&self.live);
        // A copy if a view shows the bitmap, which is once per published state.
        let live = Arc::make_mut(&mut self.live);
        live.resize(end as usize);
        (before..end).for_each(|slot| live.set(slot as usize));
        // Of an id that comes twice in one entry, the earlier slot is retired here, too.
        retired.retain(|&slot| {
            let was_live = live.get(slot as usize);
            if was_live {
                live.clear(slot as usize);
            }
            was_live
        });
        self.live_rows += (end - before) as usize;
        self.live_rows -= retired.len();
        self.chunks = chunks;
        self.retired.add(&retired);
        Applied {
            rows,
            retired: retired.len(),
        }
    }
}

/// Slots in use. The index numbers them with 32 bits, so their number fits.
fn slots(live: &Bitset) -> u32 {
    u32::try_from(live.len()).expect("the index refuses slots beyond 32 bits")
}

fn index_error(error: longbow_index::Error) -> Error {
    let code = match error {
        longbow_index::Error::Full { .. } => ErrorCode::TooLarge,
        longbow_index::Error::OutOfMemory { .. } => ErrorCode::StorageFailed,
        _ => ErrorCode::Internal,
    };
    Error::new(code, format!("vector index: {error}"))
}
