//! The k smallest keys seen: a bounded max-heap.

use crate::key::Key;

/// Keeps the `k` smallest keys pushed.
#[derive(Default)]
pub(crate) struct TopK {
    heap: Vec<Key>,
    k: usize,
    /// Keys above are never kept.
    ceiling: Key,
}

impl TopK {
    /// Forgets everything and takes a new bound.
    pub(crate) fn reset(&mut self, k: usize) {
        self.reset_within(k, Key::MAX);
    }

    /// Forgets everything, and takes a new bound and a key above which nothing is kept.
    pub(crate) fn reset_within(&mut self, k: usize, ceiling: Key) {
        self.heap.clear();
        self.k = k;
        self.ceiling = ceiling;
    }

    /// The key that a new one must beat: the largest kept, or the ceiling while fewer than `k` are kept.
    #[inline(always)]
    pub(crate) fn bound(&self) -> Key {
        if self.heap.len() < self.k || self.k == 0 {
            self.ceiling
        } else {
            self.heap[0]
        }
    }

    /// Whether as many are kept as may be.
    pub(crate) fn is_full(&self) -> bool {
        self.heap.len() == self.k && self.k > 0
    }

    /// Offers a key.
    #[inline(always)]
    pub(crate) fn push(&mut self, key: Key) {
        if self.heap.len() < self.k && key <= self.ceiling {
            self.heap.push(key);
            self.sift_up(self.heap.len() - 1);
        } else if self.heap.len() == self.k && self.k > 0 && key < self.heap[0] {
            self.heap[0] = key;
            self.sift_down(0, self.heap.len());
        }
    }

    /// Sorts what is kept, nearest first. The heap must be reset before the next push.
    pub(crate) fn sorted(&mut self) -> &[Key] {
        self.heap.sort_unstable();
        &self.heap
    }

    fn sift_up(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.heap[parent] >= self.heap[at] {
                break;
            }
            self.heap.swap(parent, at);
            at = parent;
        }
    }

    fn sift_down(&mut self, mut at: usize, len: usize) {
        loop {
            let mut child = 2 * at + 1;
            if child >= len {
                break;
            }
            if child + 1 < len && self.heap[child + 1] > self.heap[child] {
                child += 1;
            }
            if self.heap[at] >= self.heap[child] {
                break;
            }
            self.heap.swap(at, child);
            at = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keeps_the_smallest(keys in prop::collection::vec(0u64..1000, 0..200), k in 0usize..40, ceiling in 0u64..2000) {
            let mut top = TopK::default();
            top.reset_within(k, ceiling);
            for &key in &keys {
                top.push(key);
            }
            let mut expected: Vec<Key> = keys.into_iter().filter(|&key| key <= ceiling).collect();
            expected.sort_unstable();
            expected.truncate(k);
            prop_assert_eq!(top.sorted(), &expected[..]);
        }
    }
}
