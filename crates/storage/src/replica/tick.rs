//! Applies a tick: rows whose time is over by log time go, as if they were deleted by this entry. See `expiry`.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::UInt64Type;
use longbow_query::ids::Ids;
use longbow_types::Result;

use super::{Applied, Replica};
use crate::Layout;
use crate::columns::Chunk;
use crate::digest::Digest;
use crate::expiry::{Instants, Stamp, instants};
use crate::ids::Trace;
use crate::located::Located;
use crate::tenants::Key;
use crate::versions::{self, Source};

impl Replica {
    /// Applies a tick that tells log time. O(rows that go · log rows), and now and then a look at each row that has come to
    /// the age at which rows go.
    ///
    /// # Errors
    /// `INTERNAL` for an entry out of order. The state is that of the entry before.
    pub fn tick(&mut self, index: u64, log_time_ms: u64) -> Result<Applied> {
        self.check_order(index)?;
        let mut lost = self.come(log_time_ms)?;
        let mut ages = Arc::clone(&self.ages);
        let mut passed = self.passed;
        if let Some(ttl) = self.layout.schema().ttl() {
            let tick = Stamp {
                before: index,
                time_ms: log_time_ms,
            };
            if let Some(over) = Arc::make_mut(&mut ages).tick(tick, self.touched_index, ttl) {
                passed = self.too_old(over, &mut lost)?;
            }
        }
        let mut retired = 0;
        if !lost.is_empty() {
            retired = self.commit(self.chunks.clone(), (&[], &[]), Digest::default(), &lost);
            self.retired.lose(lost);
            self.touched_index = index;
        }
        (self.ages, self.passed) = (ages, passed);
        self.applied_index = index;
        Ok(Applied {
            rows: retired,
            retired,
        })
    }

    /// Rows whose own instant has come.
    fn come(&mut self, log_time_ms: u64) -> Result<Vec<Trace>> {
        let keys = self.instants.come(log_time_ms);
        let located = self.rows();
        let mut lost = Vec::with_capacity(keys.len());
        for key in keys {
            // Others were replaced or deleted meanwhile.
            if let Some(((at, row), _)) = located.live(key) {
                lost.extend(self.trace_of(&self.chunks[at], row)?);
            }
        }
        Ok(lost)
    }

    /// Rows of entries before this one, which have no instant of their own. Returns the first key that was not looked at.
    fn too_old(&self, over: u64, lost: &mut Vec<Trace>) -> Result<Key> {
        let located = self.rows();
        let behind = |chunk: &Arc<Chunk>| chunk.first() <= self.passed;
        let first = self.chunks.partition_point(behind).saturating_sub(1);
        for chunk in &self.chunks[first..] {
            let versions = chunk.batch.columns()[chunk.batch.num_columns() - 1].as_primitive::<UInt64Type>();
            for row in row_of(chunk, self.passed)..chunk.rows() {
                if versions.value(row) >= over {
                    return Ok(chunk.keys.at(row));
                }
                if located.slot(chunk, row).is_some() && !self.has_instant(chunk, row) {
                    lost.extend(self.trace_of(chunk, row)?);
                }
            }
        }
        Ok(self.next_key)
    }

    /// Whether a row has an instant of its own.
    fn has_instant(&self, chunk: &Chunk, row: usize) -> bool {
        let Some(column) = self.layout.expires() else {
            return false;
        };
        match versions::source(&self.layout, &chunk.batch, column) {
            Source::Same(array) | Source::Narrow(array) => array.is_valid(row),
            Source::Absent(one) => one.is_valid(0),
        }
    }

    fn trace_of(&self, chunk: &Chunk, row: usize) -> Result<Option<Trace>> {
        let ids = Ids::new(chunk.batch.column(self.layout.id()).as_ref())?;
        Ok(self.ids.trace(&ids, row, self.next_key))
    }

    /// Rows with consecutive keys were written, with these instants of their own.
    pub(super) fn note_instants(&mut self, first: Key, written: Vec<Option<i64>>) {
        for (key, instant) in (first..).zip(written) {
            if let Some(instant) = instant {
                self.instants.add(instant, key);
            }
        }
        let located = Located {
            chunks: &self.chunks,
            live: &self.live,
            tenants: &self.tenants,
        };
        self.instants.thin(self.live_rows, located);
    }

    /// The instants of all rows that live, in the column that a layout names. O(rows).
    pub(super) fn instants_anew(&self, layout: &Layout) -> Result<Instants> {
        let mut all = Instants::default();
        let Some(column) = layout.expires() else {
            return Ok(all);
        };
        let located = self.rows();
        for chunk in &self.chunks {
            let column = versions::whole(layout, &chunk.batch, column)?;
            for (row, instant) in instants(column.as_ref())?.enumerate() {
                if let Some(instant) = instant
                    && located.slot(chunk, row).is_some()
                {
                    all.add(instant, chunk.keys.at(row));
                }
            }
        }
        Ok(all)
    }
}

/// The first row of a chunk that has a key, or a later one.
fn row_of(chunk: &Chunk, key: Key) -> usize {
    let (mut low, mut high) = (0, chunk.rows());
    while low < high {
        let middle = low.midpoint(high);
        if chunk.keys.at(middle) < key {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
