//! Which rows are live, and in which slots and chunks do they stand?
//!
//! A row is live if its slot is, and if it is the row that stands there: slots of dead rows are given to others.

use std::ops::Range;
use std::sync::Arc;

use longbow_index::Bitset;
use longbow_query::filter::Predicate;
use longbow_types::Result;

use crate::columns::{Chunk, Place, find};
use crate::tenants::{Key, Tenants};
use crate::view::cancelled;
use crate::{Layout, further, versions};

/// The rows of one state.
#[derive(Clone, Copy)]
pub(crate) struct Located<'a> {
    pub(crate) chunks: &'a [Arc<Chunk>],
    /// One bit per slot.
    pub(crate) live: &'a Bitset,
    pub(crate) tenants: &'a Tenants,
}

impl<'a> Located<'a> {
    /// The place and the slot of a row, if it is live.
    pub(crate) fn live(&self, key: Key) -> Option<(Place, u32)> {
        let (at, row) = find(self.chunks, key)?;
        let slot = self.slot(&self.chunks[at], row)?;
        Some(((at, row), slot))
    }

    /// The slot of a row, if it is live.
    #[inline]
    pub(crate) fn slot(&self, chunk: &Chunk, row: usize) -> Option<u32> {
        let slot = chunk.slots.at(row);
        let is_live = self.live.get(slot as usize) && self.is_tenant(chunk, row, slot);
        is_live.then_some(slot)
    }

    /// Whether a row stands in a slot that it was given.
    #[inline]
    pub(crate) fn is_tenant(&self, chunk: &Chunk, row: usize, slot: u32) -> bool {
        !chunk.is_outlived() || self.tenants.get(slot) == chunk.keys.at(row)
    }

    /// The slots of a further vector column for whose rows, which live, a predicate is true: of `slots` that there are.
    pub(crate) fn matching_further(
        &self,
        layout: &Layout,
        (stored, slots): (usize, usize),
        predicate: &Predicate,
        cancel: &dyn Fn() -> bool,
    ) -> Result<Bitset> {
        let mut matching = Bitset::new(slots);
        let columns = predicate.columns();
        for chunk in self.chunks {
            if cancel() {
                return Err(cancelled());
            }
            if further::slots(&chunk.batch, stored).is_none() {
                continue;
            }
            let batch = versions::for_predicate(layout, &chunk.batch, &columns)?;
            let bits = predicate.evaluate(&batch)?;
            for row in bits.set_indices() {
                if let Some(slot) = further::slot(&chunk.batch, stored, row)
                    && self.slot(chunk, row).is_some()
                {
                    matching.set(slot as usize);
                }
            }
        }
        Ok(matching)
    }

    /// The live slots for whose rows a predicate is true.
    pub(crate) fn matching(
        &self,
        layout: &Layout,
        predicate: &Predicate,
        cancel: &dyn Fn() -> bool,
    ) -> Result<Bitset> {
        let mut words = vec![0_u64; self.live.words().len() + 1];
        let columns = predicate.columns();
        for chunk in self.chunks {
            if cancel() {
                return Err(cancelled());
            }
            let batch = versions::for_predicate(layout, &chunk.batch, &columns)?;
            let bits = predicate.evaluate(&batch)?;
            let Some(base) = chunk.slots.run().filter(|_| !chunk.is_outlived()) else {
                for row in bits.set_indices() {
                    let slot = chunk.slots.at(row);
                    if self.is_tenant(chunk, row, slot) {
                        words[slot as usize / 64] |= 1 << (slot % 64);
                    }
                }
                continue;
            };
            let (first, shift) = (base as usize / 64, base as usize % 64);
            for (at, word) in bits.bit_chunks().iter_padded().enumerate() {
                let at = first + at;
                // Padding may reach past the last word; it is zero there.
                if word == 0 {
                    continue;
                }
                words[at] |= word << shift;
                if shift > 0 {
                    words[at + 1] |= word >> (64 - shift);
                }
            }
        }
        let mut matching = Bitset::from_words(words, self.live.len());
        matching.and_with(self.live);
        Ok(matching)
    }

    /// The live rows of a chunk as ranges of rows, in order.
    pub(crate) fn runs(&self, chunk: &Chunk) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for row in (0..chunk.rows()).filter(|&row| self.slot(chunk, row).is_some()) {
            match runs.last_mut() {
                Some(run) if run.end == row => run.end += 1,
                _ => runs.push(row..row + 1),
            }
        }
        runs
    }

    /// Dead rows of each chunk.
    pub(crate) fn dead(&self) -> impl Iterator<Item = (&'a Chunk, u32)> {
        let located = *self;
        located.chunks.iter().map(move |chunk| {
            let live = (0..chunk.rows()).filter(|&row| located.slot(chunk, row).is_some());
            (chunk.as_ref(), (chunk.rows() - live.count()) as u32)
        })
    }
}
