//! Scans: distances to many slots one after the other, memory asked for a tile ahead of its use.

use std::ops::Range;

use longbow_kernels::Bitset;

use crate::{
    bits::Bits,
    error::Cancelled,
    key::{distance_of, pack},
    params::Stats,
    space::{GROUP, Space},
    topk::TopK,
};

/// Distances computed between two questions whether to go on,
const CANCEL_DISTANCES: usize = 4096;
/// and bytes read for them.
const CANCEL_BYTES: usize = 8 << 20;

/// Distances between two questions whether to go on, each of which reads so many bytes.
pub(crate) fn unasked_max(bytes: usize) -> usize {
    (CANCEL_BYTES / bytes.max(1)).clamp(1, CANCEL_DISTANCES)
}

/// Compares every allowed slot of a range.
pub(crate) fn scan<S: Space>(
    space: &S,
    query: &S::Query,
    range: Range<u32>,
    allowed: Allowed<'_>,
    cancel: &dyn Fn() -> bool,
    top: &mut TopK,
    stats: &mut Stats,
) -> Result<(), Cancelled> {
    compare(space, query, allowed.within(range), cancel, top, stats)
}

/// Slots that may be compared: allowed, and not removed. While an epoch is pinned none that is found here is written
/// again.
#[derive(Clone, Copy)]
pub(crate) struct Allowed<'a> {
    pub(crate) allow: &'a Bitset,
    pub(crate) removed: &'a Bits,
}

impl<'a> Allowed<'a> {
    pub(crate) fn has(self, slot: u32) -> bool {
        self.allow.get(slot as usize) && !self.removed.get(slot)
    }

    /// Those in a range of slots that were appended, in order.
    pub(crate) fn within(self, range: Range<u32>) -> Within<'a> {
        let mut within = Within {
            allowed: self,
            at: range.start / u64::BITS,
            word: 0,
            end: range.end,
        };
        if range.start < range.end {
            within.word = self.word(within.at) & (u64::MAX << (range.start % u64::BITS));
        }
        within
    }

    /// Which of slots `64 * at..64 * (at + 1)`, one of them appended.
    fn word(self, at: u32) -> u64 {
        let allow = self.allow.words().get(at as usize).copied().unwrap_or(0);
        if allow == 0 {
            return 0;
        }
        allow & !self.removed.word_of(at)
    }
}

/// Allowed slots of a range, looked at 64 at a time.
pub(crate) struct Within<'a> {
    allowed: Allowed<'a>,
    at: u32,
    word: u64,
    end: u32,
}

impl Iterator for Within<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        while self.word == 0 {
            self.at += 1;
            if u64::from(self.at) * u64::from(u64::BITS) >= self.end.into() {
                return None;
            }
            self.word = self.allowed.word(self.at);
        }
        let slot = self.at * u64::BITS + self.word.trailing_zeros();
        self.word &= self.word - 1;
        (slot < self.end).then_some(slot)
    }
}

/// Compares slots.
pub(crate) fn compare<S: Space>(
    space: &S,
    query: &S::Query,
    all: impl Iterator<Item = u32>,
    cancel: &dyn Fn() -> bool,
    top: &mut TopK,
    stats: &mut Stats,
) -> Result<(), Cancelled> {
    let mut distances = [0.0; GROUP];
    let (unasked_max, mut unasked) = (unasked_max(space.bytes()), 0);
    tiles(space.stretch(), all, |slots, ahead| {
        let distances = &mut distances[..slots.len()];
        space.stream(query, slots, ahead, distances);
        take(slots, distances, top);
        stats.distances += slots.len() as u64;
        unasked += slots.len();
        if unasked >= unasked_max {
            unasked %= unasked_max;
            if cancel() {
                return Err(Cancelled);
            }
        }
        Ok(())
    })
}

/// Hands out slots in tiles of at most `tile`, each together with the next one.
pub(crate) fn tiles<E>(
    tile: usize,
    mut all: impl Iterator<Item = u32>,
    mut each: impl FnMut(&[u32], &[u32]) -> Result<(), E>,
) -> Result<(), E> {
    let mut fill = |slots: &mut [u32; GROUP]| {
        let mut count = 0;
        for (place, slot) in slots[..tile.min(GROUP)].iter_mut().zip(&mut all) {
            *place = slot;
            count += 1;
        }
        count
    };
    let (mut one, mut other) = ([0; GROUP], [0; GROUP]);
    let (mut now, mut next) = (&mut one, &mut other);
    let mut count = fill(now);
    while count > 0 {
        let ahead = fill(next);
        each(&now[..count], &next[..ahead])?;
        std::mem::swap(&mut now, &mut next);
        count = ahead;
    }
    Ok(())
}

/// Offers slots with their distances; few of them are near enough.
#[inline(always)]
pub(crate) fn take(slots: &[u32], distances: &[f32], top: &mut TopK) {
    let mut worst = distance_of(top.bound());
    for (&slot, &distance) in slots.iter().zip(distances) {
        // NaN, which counts as infinitely far, is not above anything: the top decides.
        if distance > worst {
            continue;
        }
        top.push(pack(distance, slot));
        worst = distance_of(top.bound());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn allowed_slots_of_a_range_are_those_that_are_not_removed(
            allow in prop::collection::btree_set(0usize..400, 0..200),
            removed in prop::collection::btree_set(0u32..300, 0..200),
            start in 0u32..300, end in 0u32..=300,
        ) {
            // More slots may be allowed than were appended.
            let (set, bits): (Bitset, _) = (allow.iter().copied().collect(), Bits::new());
            bits.ensure(300).unwrap();
            removed.iter().for_each(|&slot| { bits.set(slot); });
            let allowed = Allowed { allow: &set, removed: &bits };
            let expected: Vec<u32> = (start..end).filter(|&slot| allowed.has(slot)).collect();
            prop_assert_eq!(allowed.within(start..end).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn tiles_are_all_of_it_in_order(count in 0u32..1000, tile in 1usize..200) {
            let (mut seen, mut expected) = (Vec::new(), Vec::new());
            tiles(tile, 0..count, |slots, ahead| {
                assert!(expected.is_empty() || slots == expected);
                expected = ahead.to_vec();
                seen.extend_from_slice(slots);
                Ok::<(), ()>(())
            }).unwrap();
            prop_assert!(expected.is_empty());
            prop_assert_eq!(seen, (0..count).collect::<Vec<_>>());
        }

        #[test]
        fn taking_is_pushing_every_key(
            distances in prop::collection::vec(
                prop_oneof![4 => -2.0f32..2.0, 1 => Just(f32::NAN), 1 => Just(f32::INFINITY), 1 => Just(0.0)], 0..100),
            k in 0usize..12,
        ) {
            let slots: Vec<u32> = (0..distances.len() as u32).rev().collect();
            let (mut taken, mut pushed) = (TopK::default(), TopK::default());
            taken.reset(k);
            pushed.reset(k);
            take(&slots, &distances, &mut taken);
            for (&slot, &distance) in slots.iter().zip(&distances) {
                pushed.push(pack(distance, slot));
            }
            prop_assert_eq!(taken.sorted(), pushed.sorted());
        }
    }
}
