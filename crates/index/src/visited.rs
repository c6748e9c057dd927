//! Which slots a traversal has seen: bits stamped with an epoch, so that forgetting them costs nothing.

/// 16 slots per word; the upper half of a word says in which epoch the lower half was written.
///
/// Two bits per slot keep the set of a hundred thousand slots inside the first-level cache.
#[derive(Default)]
pub(crate) struct Visited {
    words: Vec<u32>,
    epoch: u32,
    hidden: Option<u32>,
}

const SLOTS_LOG: u32 = 4;
const EPOCH_MAX: u32 = 0xffff;

impl Visited {
    /// Forgets everything and covers `len` slots. Allocates only when `len` is larger than ever before.
    pub(crate) fn reset(&mut self, len: u32) {
        let words = (len as usize >> SLOTS_LOG) + 1;
        if self.words.len() < words {
            // Room to grow, because appends between searches are the rule.
            self.words.resize(words + words / 4, 0);
        }
        if self.epoch == EPOCH_MAX {
            self.words.fill(0);
            self.epoch = 0;
        }
        self.epoch += 1;
        if let Some(slot) = self.hidden {
            self.insert(slot);
        }
    }

    /// Bytes of memory that it takes once it covers `len` slots.
    pub(crate) const fn bytes(len: u32) -> usize {
        (len as usize >> SLOTS_LOG) * size_of::<u32>()
    }

    /// From now on one slot, or none, is seen from the beginning.
    pub(crate) fn hide(&mut self, slot: Option<u32>) {
        self.hidden = slot;
    }

    /// Marks a slot; whether it was new. Slots that were appended after the reset are never new.
    #[inline(always)]
    pub(crate) fn insert(&mut self, slot: u32) -> bool {
        let Some(word) = self.words.get_mut((slot >> SLOTS_LOG) as usize) else {
            return false;
        };
        let bit = 1 << (slot & ((1 << SLOTS_LOG) - 1));
        let current = if *word >> 16 == self.epoch {
            *word
        } else {
            self.epoch << 16
        };
        *word = current | bit;
        current & bit == 0
    }

    /// Whether [`Visited::insert`] would say that the slot is not new.
    #[inline(always)]
    pub(crate) fn contains(&self, slot: u32) -> bool {
        let bit = 1 << (slot & ((1 << SLOTS_LOG) - 1));
        self.words
            .get((slot >> SLOTS_LOG) as usize)
            .is_none_or(|&word| word >> 16 == self.epoch && word & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn behaves_as_a_set(rounds in prop::collection::vec(prop::collection::vec(0u32..200, 0..50), 0..8)) {
            let mut visited = Visited::default();
            for slots in rounds {
                visited.reset(200);
                let mut seen = HashSet::new();
                for slot in slots {
                    prop_assert_eq!(visited.contains(slot), seen.contains(&slot));
                    prop_assert_eq!(visited.insert(slot), seen.insert(slot));
                    prop_assert!(visited.contains(slot));
                }
            }
        }
    }

    #[test]
    fn what_is_hidden_is_never_new() {
        let mut visited = Visited::default();
        visited.hide(Some(7));
        for _ in 0..3 {
            visited.reset(20);
            assert!(visited.contains(7) && !visited.insert(7) && visited.insert(6));
        }
        visited.hide(None);
        visited.reset(20);
        assert!(visited.insert(7));
    }

    #[test]
    fn survives_the_wrap_of_its_epoch() {
        let mut visited = Visited::default();
        for _ in 0..=2 * EPOCH_MAX + 3 {
            visited.reset(20);
            assert!(visited.insert(3) && !visited.insert(3) && visited.insert(19));
        }
        assert!(!visited.insert(1_000_000) && visited.contains(1_000_000));
    }
}
