//! All rows, piece by piece.

use std::sync::Arc;

use arrow::array::RecordBatch;
use longbow_index::Bitset;
use longbow_query::filter::Predicate;
use longbow_types::Result;

use super::{View, answer};
use crate::Projection;
use crate::columns::{Picks, Place};
use crate::located::Located;

/// Most rows in one piece.
const PIECE_ROWS_MAX: usize = 8_192;
/// A piece ends with the row that takes it beyond this many bytes, below the receive limit of stock gRPC clients.
const PIECE_BYTES: usize = 1 << 20;

/// A scan under way: an iterator over pieces. It holds its view, so it reads one state however long it takes.
pub struct Scan {
    view: Arc<View>,
    projection: Projection,
    /// The slots whose rows are to be returned.
    slots: Arc<Bitset>,
    /// Where the next row is looked for.
    next: Place,
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
            next: (0, 0),
            left: if limit == 0 { u64::MAX } else { limit },
        })
    }
}

impl Scan {
    /// A piece without rows, for an answer that has none.
    pub fn empty(&self) -> Result<RecordBatch> {
        self.piece(&[], &[])
    }

    fn piece(&self, places: &[Place], slots: &[u32]) -> Result<RecordBatch> {
        let picks = Picks::new(&self.view.layout, &self.view.chunks, places);
        let mut parts = vec![self.view.stored(&picks, self.view.layout.id())?];
        parts.extend(self.view.projected(&picks, slots, &self.projection)?);
        answer::batch(parts)
    }

    /// Up to `want` of the next rows and their slots.
    fn rows(&self, want: usize) -> (Vec<Place>, Vec<u32>) {
        let (mut places, mut slots) = (Vec::new(), Vec::new());
        let rows = Located {
            live: &self.slots,
            ..self.view.located()
        };
        let (first, mut row) = self.next;
        for (at, chunk) in self.view.chunks.iter().enumerate().skip(first) {
            for row in row..chunk.rows() {
                if places.len() == want {
                    return (places, slots);
                }
                if let Some(slot) = rows.slot(chunk, row) {
                    places.push((at, row));
                    slots.push(slot);
                }
            }
            row = 0;
        }
        (places, slots)
    }
}

impl Iterator for Scan {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let want = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(PIECE_ROWS_MAX);
        let (mut places, mut slots) = self.rows(want);
        let &(at, row) = places.last()?;
        self.next = (at, row + 1);
        let picks = Picks::new(&self.view.layout, &self.view.chunks, &places);
        let mut bytes = 0;
        let fits = (0..places.len())
            .take_while(|&pick| {
                let before = bytes;
                bytes += self.view.answer_bytes(&picks, pick, &self.projection);
                before < PIECE_BYTES
            })
            .count();
        if fits < places.len() {
            self.next = places[fits];
            places.truncate(fits);
            slots.truncate(fits);
        }
        self.left -= places.len() as u64;
        Some(self.piece(&places, &slots))
    }
}
