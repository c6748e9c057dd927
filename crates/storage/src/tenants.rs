//! Which row stands in a slot of the vector index?
//!
//! Slots are used again, so one table says for each which row stands there: by its key. It is shared by the writer and by
//! the views of every age. A slot gets another row only when no view shows the row that it had; so for every slot that
//! is live in a view, the table says the same for as long as the view lives. Of other slots it may say anything.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of a row in the order in which rows were written.
pub(crate) type Key = u64;

/// No row was ever written to the slot.
const NOBODY: Key = u64::MAX;
/// Slots of the first block; each of the others has as many as all before it.
const BLOCK: usize = 1 << 10;
/// Blocks for every slot that 32 bits can number.
const BLOCKS: usize = 23;

/// The keys of the rows in all slots.
pub(crate) struct Tenants {
    blocks: [OnceLock<Box<[AtomicU64]>>; BLOCKS],
}

impl Tenants {
    /// A table in which row n stands in slot n, for so many rows.
    pub(crate) fn in_order(rows: u32) -> Self {
        let tenants = Self {
            blocks: [const { OnceLock::new() }; BLOCKS],
        };
        (0..rows).for_each(|slot| tenants.set(slot, slot.into()));
        tenants
    }

    /// Puts a row into a slot. Only the writer does, before it publishes a view that shows the row.
    pub(crate) fn set(&self, slot: u32, key: Key) {
        let (block, at) = place(slot);
        let rows = if block == 0 { BLOCK } else { BLOCK << (block - 1) };
        let cells = self.blocks[block].get_or_init(|| (0..rows).map(|_| AtomicU64::new(NOBODY)).collect());
        // Relaxed: who may rely on it learns of it by the view.
        cells[at].store(key, Ordering::Relaxed);
    }

    /// Bytes of memory that it takes.
    pub(crate) fn memory(&self) -> usize {
        let blocks = self.blocks.iter().filter_map(OnceLock::get);
        blocks.map(|cells| size_of_val(&**cells)).sum()
    }

    /// The row in a slot.
    #[inline]
    pub(crate) fn get(&self, slot: u32) -> Key {
        let (block, at) = place(slot);
        let cells = self.blocks[block].get();
        cells.map_or(NOBODY, |cells| cells[at].load(Ordering::Relaxed))
    }
}

/// Block of a slot, and where in it.
#[inline]
fn place(slot: u32) -> (usize, usize) {
    let slot = slot as usize;
    if slot < BLOCK {
        return (0, slot);
    }
    let block = (slot / BLOCK).ilog2() as usize;
    (block + 1, slot - (BLOCK << block))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_a_place_of_its_own() {
        let mut expected = (0, 0);
        for slot in 0..70_000 {
            let here = place(slot);
            assert!(here == expected || here == (expected.0 + 1, 0), "{slot}");
            expected = (here.0, here.1 + 1);
        }
        let (block, at) = place(u32::MAX);
        assert_eq!((block, at), (BLOCKS - 1, (BLOCK << (BLOCKS - 2)) - 1));
    }

    #[test]
    fn slots_are_given_to_others() {
        let tenants = Tenants::in_order(3);
        assert_eq!(
            [0, 2, 3, 5_000].map(|slot| tenants.get(slot)),
            [0, 2, NOBODY, NOBODY]
        );
        tenants.set(1, 3);
        tenants.set(5_000, 4);
        assert_eq!([1, 4_999, 5_000].map(|slot| tenants.get(slot)), [3, NOBODY, 4]);
    }
}
