//! One bit per slot that any thread may set, clear and read.

use longbow_kernels::Bitset;

use crate::{
    arena::Arena,
    error::Error,
    sync::{AtomicU64, Ordering},
};

/// Bits of slots; all clear at first.
pub(crate) struct Bits {
    words: Arena,
}

impl Bits {
    pub(crate) fn new() -> Self {
        Self {
            words: Arena::of::<AtomicU64>(size_of::<AtomicU64>()),
        }
    }

    /// Makes the bits of slots `0..slots` available.
    pub(crate) fn ensure(&self, slots: usize) -> Result<(), Error> {
        self.words.ensure(slots.div_ceil(64))
    }

    /// Bytes of memory that the bits take.
    pub(crate) fn memory(&self) -> usize {
        self.words.memory()
    }

    /// Sets the bits of a set over `slots` slots; all are clear.
    pub(crate) fn load(&self, set: &Bitset, slots: usize) -> Result<(), Error> {
        self.ensure(slots)?;
        for (at, &word) in (0..).zip(set.words()) {
            self.word(at).store(word, Ordering::Release);
        }
        Ok(())
    }

    /// The word of slots `64 * at..64 * (at + 1)`.
    fn word(&self, at: u32) -> &AtomicU64 {
        // SAFETY: `ensure` made the word of every published slot available; it is only used as this atomic.
        unsafe { &*self.words.row(at).cast::<AtomicU64>() }
    }

    /// The bits of slots `64 * at..64 * (at + 1)`, one of which was made available.
    #[inline(always)]
    pub(crate) fn word_of(&self, at: u32) -> u64 {
        self.word(at).load(Ordering::Acquire)
    }

    /// Sets a bit; whether it was clear. What this thread did before is seen by whoever finds it set.
    pub(crate) fn set(&self, slot: u32) -> bool {
        let bit = 1 << (slot % 64);
        self.word(slot / 64).fetch_or(bit, Ordering::AcqRel) & bit == 0
    }

    /// Clears a bit. What this thread did before is seen by whoever finds it clear.
    pub(crate) fn clear(&self, slot: u32) {
        self.word(slot / 64)
            .fetch_and(!(1 << (slot % 64)), Ordering::AcqRel);
    }

    #[inline(always)]
    pub(crate) fn get(&self, slot: u32) -> bool {
        self.word_of(slot / 64) >> (slot % 64) & 1 == 1
    }

    /// Calls `visit` with the slots below `end` whose bit is set, in order.
    pub(crate) fn for_each(&self, end: u32, mut visit: impl FnMut(u32)) {
        for at in 0..end.div_ceil(64) {
            let mut word = self.word_of(at);
            while word != 0 {
                let slot = at * 64 + word.trailing_zeros();
                if slot < end {
                    visit(slot);
                }
                word &= word - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behave_as_a_set(moves in prop::collection::vec((0u32..300, any::<bool>()), 0..80), end in 0u32..300) {
            let bits = Bits::new();
            bits.ensure(300).unwrap();
            let mut set = BTreeSet::new();
            for (slot, insert) in moves {
                if insert {
                    prop_assert_eq!(bits.set(slot), set.insert(slot));
                } else {
                    bits.clear(slot);
                    set.remove(&slot);
                }
                prop_assert_eq!(bits.get(slot), set.contains(&slot));
            }
            let mut seen = Vec::new();
            bits.for_each(end, |slot| seen.push(slot));
            prop_assert_eq!(seen, set.range(..end).copied().collect::<Vec<_>>());
        }
    }
}
