//! Puts a merged chunk into the place of those it was merged from.

use std::sync::Arc;

use super::Replica;
use crate::compact::{Merged, Moved};

impl Replica {
    /// Takes over what was merged beside the writer, and says what it was; [`publish`](Self::publish) shows it. `None`,
    /// and nothing changed, if one of the chunks is not there any more.
    pub fn install(&mut self, merged: Merged) -> Option<Moved> {
        let Merged {
            view,
            range,
            chunk,
            moved,
        } = merged;
        let old = &view.chunks[range];
        let at = self.chunks.iter().position(|have| Arc::ptr_eq(have, &old[0]))?;
        let have = self.chunks.get(at..at + old.len())?;
        if !have.iter().zip(old).all(|(have, old)| Arc::ptr_eq(have, old)) {
            return None;
        }
        // The rows that died since the view was taken: the others were left out.
        let dead: u32 = old.iter().map(|chunk| chunk.dead()).sum();
        if let Some(chunk) = &chunk {
            chunk.count_in(&self.reader.columns);
            chunk.died(dead.saturating_sub(u32::try_from(moved.rows_dropped).unwrap_or(u32::MAX)));
        }
        self.chunks.splice(at..at + old.len(), chunk);
        self.is_rearranged = true;
        Some(moved)
    }
}
