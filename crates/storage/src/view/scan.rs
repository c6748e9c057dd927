//! All rows, piece by piece.

use std::sync::Arc;

use arrow::array::RecordBatch;
use longbow_index::Bitset;
use longbow_query::filter::Predicate;
use longbow_types::Result;

use super::{View, answer};
use crate::Projection;
use crate::columns::Picks;

/// Most rows in one piece.
const PIECE_ROWS_MAX: usize = 8_192;
/// A piece ends with the row that takes it beyond this many bytes, below the receive limit of stock gRPC clients.
const PIECE_BYTES: usize = 1 << 20;

/// A scan under way: an iterator over pieces. It holds its view, so it reads one state however long it takes.
pub struct Scan {
    view: Arc<View>,
    projection: Projection,
    /// The slots to return.
    slots: Arc<Bitset>,
    next: usize,
    left: u64,
}

impl View {
    /// Starts a scan of the live rows for which a predicate is true, in the order they were written, at most `limit`
    /// of them (0: all). Each piece holds the id, then the columns asked for.
    ///
    /// # Errors
    /// `CANCELLED` while the predicate is evaluated.
    pub fn scan(
        self: &Arc<Self>,
        predicate: Option<&Predicate>,
        projection: Projection,
        limit: u64,
        cancel: &dyn Fn() -> bool,
    ) -> Result<Scan> {
        let slots = match predicate {
            Some(predicate) => Arc::new(self.matching(predicate, cancel)?),
            None => Arc::clone(&self.live),
        };
        Ok(Scan {
            view: Arc::clone(self),
            projection,
            slots,
            next: 0,
            left: if limit == 0 { u64::MAX } else { limit },
        })
    }
}

impl Scan {
    /// A piece without rows, for an answer that has none.
    pub fn empty(&self) -> Result<RecordBatch> {
        self.piece(&[])
    }

    fn piece(&self, slots: &[u32]) -> Result<RecordBatch> {
        let picks = Picks::new(&self.view.layout, &self.view.chunks, slots);
        let mut parts = vec![self.view.stored(&picks, self.view.layout.id())?];
        parts.extend(self.view.projected(&picks, slots, &self.projection)?);
        answer::batch(parts)
    }
}

impl Iterator for Scan {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let want = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(PIECE_ROWS_MAX);
        let mut slots: Vec<u32> = self
            .slots
            .iter_from(self.next)
            .take(want)
            .map(|slot| slot as u32)
            .collect();
        if slots.is_empty() {
            return None;
        }
        let picks = Picks::new(&self.view.layout, &self.view.chunks, &slots);
        let mut bytes = 0;
        let fits = (0..slots.len())
            .take_while(|&pick| {
                let before = bytes;
                bytes += self.view.answer_bytes(&picks, pick, &self.projection);
                before < PIECE_BYTES
            })
            .count();
        slots.truncate(fits);
        self.next = slots.last().map_or(self.next, |&slot| slot as usize + 1);
        self.left -= slots.len() as u64;

        Some(self.piece(&slots))
    }
}
