//! Applies one entry of the log.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array, UInt64Array};
use longbow_query::ids::Ids;
use longbow_types::{Error, ErrorCode, Result};

use super::{Applied, Replica, WriteKind};
use crate::body::{Rows, decode_ids};
use crate::columns::{Chunk, Chunks, Place, appended, find};
use crate::digest::{self, Digest};
use crate::expiry::instants;
use crate::further::{self, index_error};
use crate::ids::Trace;
use crate::located::Located;
use crate::numbers::Numbers;

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
            WriteKind::Upsert => self.upsert(index, Rows::decode(&self.layout, body, rows)?)?,
            WriteKind::Delete => self.delete(&decode_ids(&self.layout, body, rows)?)?,
            WriteKind::UpsertIf => self.upsert_if(index, body, rows)?,
            WriteKind::DeleteIf => self.delete_if(index, body, rows)?,
            WriteKind::Update => self.update(index, body, rows)?,
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

    pub(super) fn upsert(&mut self, index: u64, decoded: Rows) -> Result<Applied> {
        let layout = Arc::clone(&self.layout);
        if decoded.rows == 0 {
            return Ok(Applied::default());
        }
        let mut columns = decoded.columns.clone();
        let id_column = Arc::clone(&columns[layout.id()]);
        let ids = Ids::new(id_column.as_ref())?;
        let written = match layout.expires() {
            Some(column) => instants(columns[column].as_ref())?.collect(),
            None => Vec::new(),
        };
        let mut placed = Vec::with_capacity(self.further.len());
        for (column, further) in layout.further().iter().zip(&self.further) {
            let slots = further.place(column, &columns[column.stored])?;
            columns[column.stored] = Arc::new(slots.clone());
            placed.push(slots);
        }
        columns.push(Arc::new(UInt64Array::from_value(index, decoded.rows)) as ArrayRef);
        let batch = RecordBatch::try_new(Arc::clone(layout.stored()), columns)
            .map_err(|error| Error::new(ErrorCode::MalformedArrow, error.to_string()))?;

        let mut slots = Vec::with_capacity(decoded.rows);
        let vectors = decoded.vector_bytes();
        self.reader
            .index
            .insert(&vectors, &mut slots)
            .map_err(index_error)?;
        if slots.len() != decoded.rows {
            let message = format!("the index gave {} slots to {} rows", slots.len(), decoded.rows);
            return Err(Error::new(ErrorCode::Internal, message));
        }
        let width = layout.vector_bytes();
        let added = digest::of_rows(&layout, &self.further, &batch, 0..decoded.rows, |row| {
            digest::vector(&vectors[row * width..][..width])
        });
        let first = self.next_key;
        let keys = Numbers::Run(first, decoded.rows);
        // No view shows these slots before they are published, nor do those of the rows that had them before.
        let chunk = Chunk::of(keys, Numbers::of(slots.clone()), batch);
        let chunks = appended(&layout, &self.chunks, chunk)?;
        let mut lost = Vec::new();
        for (row, key) in (first..).enumerate().take(decoded.rows) {
            lost.extend(self.ids.insert(&ids, row, key));
        }
        let retired = self.commit(chunks, (&slots, &placed), added, &lost);
        self.retired.lose(lost);
        self.note_instants(first, written);
        Ok(Applied {
            rows: decoded.rows,
            retired,
        })
    }

    pub(super) fn delete(&mut self, ids: &dyn Array) -> Result<Applied> {
        let ids = Ids::new(ids)?;
        let mut lost: Vec<Trace> = (0..ids.len())
            .filter_map(|row| self.ids.trace(&ids, row, self.next_key))
            .collect();
        // What was deleted before is to be forgotten already.
        lost.retain(|trace| self.rows().live(trace.key).is_some());
        let retired = self.commit(self.chunks.clone(), (&[], &[]), Digest::default(), &lost);
        self.retired.lose(lost);
        Ok(Applied {
            rows: ids.len(),
            retired,
        })
    }

    /// Takes an entry's changes over: new rows in these slots, and in those of each further vector column, with their
    /// digest, and rows that lost their ids. Returns how many of these were live. Nothing can fail once something has
    /// changed: that would be a state of no entry.
    pub(super) fn commit(
        &mut self,
        chunks: Chunks,
        (slots, placed): (&[u32], &[UInt32Array]),
        added: Digest,
        lost: &[Trace],
    ) -> usize {
        let gone = self.gone(&chunks, lost);
        let digest = self.digest.with(added).without(self.digest_of(&chunks, &gone));
        let before = self.live.len();
        self.chunks = chunks;
        // Only the last one can be new.
        if let Some(chunk) = self.chunks.last() {
            chunk.count_in(&self.reader.columns);
        }
        // A copy if a view shows the bitmap, which is once per published state.
        let live = Arc::make_mut(&mut self.live);
        live.resize(before.max(self.reader.index.len() as usize));
        for (key, &slot) in (self.next_key..).zip(slots) {
            if (slot as usize) < before
                && let Some((at, _)) = find(&self.chunks, self.tenants.get(slot))
            {
                self.chunks[at].outlive();
            }
            self.tenants.set(slot, key);
            live.set(slot as usize);
        }
        for (further, placed) in self.further.iter_mut().zip(placed) {
            further.settle(self.next_key, placed);
        }
        self.next_key += slots.len() as u64;
        for &((at, row), slot) in &gone {
            live.clear(slot as usize);
            self.chunks[at].died(1);
            let columns = self.layout.further().iter().zip(&mut self.further);
            for (column, (layout, further)) in columns.enumerate() {
                if let Some(slot) = further::slot(&self.chunks[at].batch, layout.stored, row) {
                    further.leave(slot);
                    self.retired.add_further(column, slot);
                }
            }
        }
        self.live_rows += slots.len();
        self.live_rows -= gone.len();
        self.digest = digest;
        let retired: Vec<u32> = gone.iter().map(|&(_, slot)| slot).collect();
        self.retired.add(&retired);
        gone.len()
    }

    /// Of rows that lost their ids, those that were live, each once, in the order of their places in `chunks`. Of an id
    /// that comes twice in one entry, the earlier row is among them, too.
    fn gone(&self, chunks: &Chunks, lost: &[Trace]) -> Vec<(Place, u32)> {
        let before = Located {
            chunks,
            ..self.rows()
        };
        let gone = lost.iter().filter_map(|trace| {
            if trace.key < self.next_key {
                return before.live(trace.key);
            }
            let (at, row) = find(chunks, trace.key)?;
            Some(((at, row), chunks[at].slots.at(row)))
        });
        let mut gone: Vec<(Place, u32)> = gone.collect();
        gone.sort_unstable();
        gone.dedup();
        gone
    }

    /// The digest of rows in the order of their places.
    fn digest_of(&self, chunks: &Chunks, rows: &[(Place, u32)]) -> Digest {
        let chunked = rows.chunk_by(|((one, _), _), ((other, _), _)| one == other);
        chunked.fold(Digest::default(), |sum, rows| {
            let chunk = &chunks[rows[0].0.0];
            let rows: Vec<usize> = rows.iter().map(|((_, row), _)| *row).collect();
            sum.with(digest::of_stored(
                &self.layout,
                (&self.reader.index, &self.further),
                chunk,
                &rows,
            ))
        })
    }
}
