//! Which slots are linked: handed out in order, finished in any order.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::sync::{AtomicU32, Mutex, Ordering};

/// Claims and completions of slots.
///
/// Invariant: every slot below `done` was completed.
#[derive(Default)]
pub(crate) struct Progress {
    claimed: AtomicU32,
    done: AtomicU32,
    /// Completed slots at or above `done`: as many as were linked while the slowest was.
    early: Mutex<BinaryHeap<Reverse<u32>>>,
}

impl Progress {
    /// Takes the next slot below `len`, if there is one.
    pub(crate) fn claim(&self, len: u32) -> Option<u32> {
        // Relaxed: the slot's row is seen because `len` was loaded with Acquire.
        let next = |claimed: u32| (claimed < len).then_some(claimed + 1);
        self.claimed
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .ok()
    }

    /// Says that a claimed slot is linked.
    pub(crate) fn complete(&self, slot: u32) {
        let mut early = self.early.lock();
        early.push(Reverse(slot));
        let mut done = self.done.load(Ordering::Relaxed);
        while early.peek() == Some(&Reverse(done)) {
            early.pop();
            done += 1;
        }
        // Release: with the lock, which orders all who complete, it passes on the links of every slot below.
        self.done.store(done, Ordering::Release);
    }

    /// Slots below were claimed.
    pub(crate) fn claimed(&self) -> u32 {
        self.claimed.load(Ordering::Acquire)
    }

    /// Every slot below counts as completed; nothing was claimed before.
    pub(crate) fn resume(&mut self, done: u32) {
        self.claimed.store(done, Ordering::Relaxed);
        self.done.store(done, Ordering::Relaxed);
    }

    /// Every slot below was completed.
    pub(crate) fn done(&self) -> u32 {
        self.done.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_waits_for_the_slowest() {
        let progress = Progress::default();
        let claims: Vec<u32> = std::iter::from_fn(|| progress.claim(4)).collect();
        assert_eq!(claims, [0, 1, 2, 3]);
        for (completed, done) in [(2, 0), (0, 1), (1, 3), (3, 4)] {
            progress.complete(completed);
            assert_eq!(progress.done(), done);
        }
        assert_eq!(progress.claim(4), None);
        assert_eq!(progress.claim(5), Some(4));
    }
}
