//! The beam of a traversal: the nearest keys found, and which of them were expanded.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::{
    key::{Key, distance_of, pack_ceiling},
    slack::Stop,
    topk::TopK,
};

/// Keeps the nearest `capacity` keys pushed and hands out the unexpanded ones, nearest first.
pub(crate) trait Beam {
    fn reset(&mut self, capacity: usize);
    /// Offers keys that were never offered before; may reorder them.
    fn push(&mut self, keys: &mut [Key]);
    /// The nearest key not handed out yet, unless it fell out of the nearest `capacity`.
    fn pop(&mut self) -> Option<Key>;
    /// Some keys that are about to be handed out, as far as known.
    fn upcoming(&self, count: usize, visit: impl FnMut(Key));
    /// Keys at or above this are not taken.
    fn bound(&self) -> Key;
    /// Distance beyond which nothing is expanded from here on; such keys need not be taken.
    fn reach(&mut self, _stop: &Stop) -> f32 {
        f32::INFINITY
    }
    /// The keys kept, nearest first, into `out`; the beam must be reset before its next use.
    fn drain(&mut self, out: &mut Vec<Key>);
}

/// One sorted array: for beams that fit the first-level cache, moving keys beats two heaps.
#[derive(Default)]
pub(crate) struct Sorted {
    /// As long as the capacity; the first `len` are kept, ascending. The lowest bit says that a key was expanded.
    keys: Vec<Key>,
    len: usize,
    /// No unexpanded key lies before.
    cursor: usize,
    /// Above, keys are only taken until half of the capacity is kept.
    limit: Key,
}

const EXPANDED: Key = 1;

impl Sorted {
    /// Merges sorted keys into the kept ones from behind, dropping the largest of all beyond the capacity.
    fn merge(&mut self, fresh: &[Key]) {
        let kept = |keys: &[Key], at: usize| if at > 0 { keys[at - 1] } else { 0 };
        let total = (self.len + fresh.len()).min(self.keys.len());
        let (mut old, mut new) = (self.len, fresh.len());
        for _ in total..self.len + fresh.len() {
            let drop_old = kept(&self.keys, old) > kept(fresh, new);
            old -= usize::from(drop_old);
            new -= usize::from(!drop_old);
        }
        let mut to = total;
        while new > 0 {
            let (a, b) = (kept(&self.keys, old), fresh[new - 1]);
            let take_old = a > b;
            to -= 1;
            self.keys[to] = if take_old { a } else { b };
            old -= usize::from(take_old);
            new -= usize::from(!take_old);
        }
        self.len = total;
        self.cursor = self.cursor.min(to);
    }

    /// The keys kept whose distance is that of a key.
    pub(crate) fn as_far_as(&self, key: Key) -> &[Key] {
        let kept = &self.keys[..self.len];
        let start = kept.partition_point(|kept| kept >> 32 < key >> 32);
        let end = kept.partition_point(|kept| kept >> 32 <= key >> 32);
        &kept[start..end]
    }

    #[inline(always)]
    fn skip_expanded(&mut self) {
        while self.cursor < self.len && self.keys[self.cursor] & EXPANDED != 0 {
            self.cursor += 1;
        }
    }
}

impl Beam for Sorted {
    fn reset(&mut self, capacity: usize) {
        self.keys.resize(capacity, 0);
        self.len = 0;
        self.cursor = 0;
        self.limit = Key::MAX;
    }

    #[inline(always)]
    fn push(&mut self, keys: &mut [Key]) {
        let bound = self.bound();
        let mut near = 0;
        for at in 0..keys.len() {
            let key = keys[at];
            keys[near] = key;
            near += usize::from(key < bound);
        }
        if near > 0 {
            keys[..near].sort_unstable();
            self.merge(&keys[..near]);
            self.skip_expanded();
        }
    }

    #[inline(always)]
    fn pop(&mut self) -> Option<Key> {
        let key = *self.keys[..self.len].get(self.cursor)?;
        self.keys[self.cursor] |= EXPANDED;
        self.skip_expanded();
        Some(key)
    }

    #[inline(always)]
    fn upcoming(&self, count: usize, visit: impl FnMut(Key)) {
        let open = self.keys[self.cursor..self.len].iter().copied();
        open.filter(|key| key & EXPANDED == 0).take(count).for_each(visit);
    }

    #[inline(always)]
    fn bound(&self) -> Key {
        match self.keys.last() {
            Some(&last) if self.len == self.keys.len() => last.min(self.limit),
            Some(_) if self.len * 2 >= self.keys.len() => self.limit,
            Some(_) => Key::MAX,
            None => 0,
        }
    }

    #[inline(always)]
    fn reach(&mut self, stop: &Stop) -> f32 {
        let Some(&key) = self.keys[..self.len].get(stop.rank - 1) else {
            return f32::INFINITY;
        };
        let reach = stop.reach(distance_of(key));
        self.limit = pack_ceiling(reach);
        reach
    }

    fn drain(&mut self, out: &mut Vec<Key>) {
        out.clear();
        out.extend(self.keys[..self.len].iter().map(|key| key & !EXPANDED));
    }
}

/// Two heaps: for beams too long to move about.
#[derive(Default)]
pub(crate) struct Heaps {
    best: TopK,
    open: BinaryHeap<Reverse<Key>>,
}

impl Heaps {
    /// The nearest keys, and those not expanded yet.
    pub(crate) fn parts(&mut self) -> (&mut TopK, &mut BinaryHeap<Reverse<Key>>) {
        (&mut self.best, &mut self.open)
    }
}

impl Beam for Heaps {
    fn reset(&mut self, capacity: usize) {
        self.best.reset(capacity);
        self.open.clear();
    }

    fn push(&mut self, keys: &mut [Key]) {
        for &mut key in keys {
            if key < self.best.bound() {
                self.best.push(key);
                self.open.push(Reverse(key));
            }
        }
    }

    fn pop(&mut self) -> Option<Key> {
        let Reverse(key) = self.open.pop()?;
        // A full beam whose largest key is this very one still holds it.
        (key <= self.best.bound()).then_some(key)
    }

    fn upcoming(&self, count: usize, visit: impl FnMut(Key)) {
        self.open
            .iter()
            .map(|&Reverse(key)| key)
            .take(count)
            .for_each(visit);
    }

    fn bound(&self) -> Key {
        self.best.bound()
    }

    fn drain(&mut self, out: &mut Vec<Key>) {
        out.clear();
        out.extend_from_slice(self.best.sorted());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::pack;
    use proptest::prelude::*;

    fn keys(at: usize, distances: &[u32]) -> Vec<Key> {
        let slot = |part: usize| ((at * 100 + part) as u64) << 1;
        distances
            .iter()
            .enumerate()
            .map(|(part, &d)| u64::from(d) << 32 | slot(part))
            .collect()
    }

    /// Pushes and pops as told; returns what was popped, then what was kept.
    fn play<B: Beam + Default>(capacity: usize, moves: &[Option<Vec<u32>>]) -> (Vec<Key>, Vec<Key>) {
        let mut beam = B::default();
        beam.reset(capacity);
        let (mut popped, mut kept) = (Vec::new(), Vec::new());
        for (at, step) in moves.iter().enumerate() {
            match step {
                Some(distances) => beam.push(&mut keys(at, distances)),
                None => popped.extend(beam.pop()),
            }
        }
        beam.drain(&mut kept);
        (popped, kept)
    }

    /// What is popped within reach; with `limit`, what lies beyond need not have been taken.
    fn within_reach(capacity: usize, limit: bool, moves: &[Option<Vec<u32>>]) -> Vec<Key> {
        let stop = Stop::for_test(capacity.div_ceil(2), 7.0 * f32::MIN_POSITIVE);
        let (mut beam, mut popped) = (Sorted::default(), Vec::new());
        beam.reset(capacity);
        for (at, step) in moves.iter().enumerate() {
            let reach = beam.reach(&stop);
            if !limit {
                beam.limit = Key::MAX;
            }
            match step {
                Some(distances) => {
                    let pack = |(part, &d): (usize, &u32)| {
                        pack(d as f32 * f32::MIN_POSITIVE, (at * 100 + part) as u32)
                    };
                    let mut keys: Vec<Key> = distances.iter().enumerate().map(pack).collect();
                    beam.push(&mut keys);
                }
                None => popped.extend(beam.pop().filter(|&key| distance_of(key) <= reach)),
            }
        }
        popped
    }

    proptest! {
        #[test]
        fn both_beams_are_the_same_beam(
            capacity in 1usize..20,
            moves in prop::collection::vec(
                prop::option::of(prop::collection::vec(0u32..50, 0..30)), 0..60),
        ) {
            let (popped, kept) = play::<Sorted>(capacity, &moves);
            prop_assert_eq!(&(popped, kept.clone()), &play::<Heaps>(capacity, &moves));
            let mut pushed: Vec<Key> = moves.iter().enumerate()
                .flat_map(|(at, step)| keys(at, step.as_deref().unwrap_or_default()))
                .collect();
            pushed.sort_unstable();
            pushed.truncate(capacity);
            prop_assert_eq!(kept, pushed);
        }

        #[test]
        fn what_is_beyond_reach_is_not_missed(
            capacity in 1usize..20,
            moves in prop::collection::vec(
                prop::option::of(prop::collection::vec(0u32..50, 0..30)), 0..60),
        ) {
            prop_assert_eq!(within_reach(capacity, true, &moves), within_reach(capacity, false, &moves));
        }
    }
}
