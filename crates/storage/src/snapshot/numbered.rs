//! How are rows numbered in the files? As they stand in the columns, one after the other, and the index with them.

use longbow_index::{Bitset, HOLE};

use super::error::{Error, Result};
use crate::View;

/// The rows of a view as files have them.
pub(super) struct Numbered {
    /// How many they are, dead ones included.
    pub(super) rows: u32,
    /// Which are live.
    pub(super) live: Bitset,
    /// The slot of each; a hole for a dead one whose slot is another's. Nothing if every row is in the slot of its number.
    pub(super) order: Option<Vec<u32>>,
}

impl Numbered {
    /// # Errors
    /// `TooManyRows` if 32 bits do not number them.
    pub(super) fn of(view: &View) -> Result<Self> {
        let located = view.located();
        let rows = view.rows_stored();
        let count = u32::try_from(rows).map_err(|_| Error::TooManyRows {
            rows,
            limit: u32::MAX,
        })?;
        let mut live = Bitset::new(rows);
        let mut base = 0;
        let mut is_in_order = true;
        for chunk in &view.chunks {
            for row in (0..chunk.rows()).filter(|&row| located.slot(chunk, row).is_some()) {
                live.set(base + row);
            }
            is_in_order &= !chunk.is_outlived() && chunk.slots.run() == u32::try_from(base).ok();
            base += chunk.rows();
        }
        let slots = view.chunks.iter().flat_map(|chunk| {
            chunk.slots.iter().enumerate().map(|(row, slot)| {
                // A dead row in its own slot stays there: paths of the graph lead through it.
                if located.is_tenant(chunk, row, slot) {
                    slot
                } else {
                    HOLE
                }
            })
        });
        Ok(Self {
            rows: count,
            live,
            order: (!is_in_order).then(|| slots.collect()),
        })
    }
}
