//! A beam that equal points do not crowd out.
//!
//! Where a text occurs a thousand times, the two hundred points nearest to it are one point, and a node linked only to
//! that has no way on. So when a node is linked, few of many equal points are looked at.

use crate::{
    error::Cancelled,
    key::{Key, slot_of},
    queue::{Beam, Sorted},
    slack::Stop,
    space::Space,
    store::Store,
    traverse::Walk,
};

/// Equal points in the beam.
const EQUAL_MAX: usize = 2;
/// At most one in so many neighbouring keys may have equal distances before the beam counts as crowded.
const CROWDED: usize = 4;

/// Whether many of the keys, in order, have the same distances.
pub(crate) fn is_crowded(keys: &[Key]) -> bool {
    let equal = keys.windows(2).filter(|pair| pair[0] >> 32 == pair[1] >> 32);
    equal.count() * CROWDED > keys.len()
}

/// Looks past the equal points that a beam of `slots` slots was full of, in `found`: with few of each, and where that
/// met nearer ones, on from everything met.
pub(crate) fn past_crowd<P: Space>(
    walk: &mut Walk<'_, P>,
    start: Key,
    stop: &Stop,
    slots: u32,
    mut distinct: Distinct<'_>,
    met: &mut Vec<Key>,
    found: &mut Vec<Key>,
) -> Result<(), Cancelled> {
    std::mem::swap(met, found);
    walk.begin(slots, &mut distinct, stop, &mut [start]);
    walk.beam(0, &mut distinct, stop)?;
    distinct.drain(found);
    let wanted = met[..stop.rank.min(met.len())].last().copied();
    let is_new = |key: &Key| met.binary_search(key).is_err();
    if !found.iter().take_while(|&&key| Some(key) < wanted).any(is_new) {
        std::mem::swap(met, found);
        return Ok(());
    }
    found.append(met);
    found.sort_unstable();
    found.dedup();
    walk.begin(slots, distinct.beam, stop, found);
    walk.beam(0, distinct.beam, stop)?;
    distinct.beam.drain(found);
    Ok(())
}

/// A sorted beam that takes few of many equal points.
pub(crate) struct Distinct<'a> {
    pub(crate) beam: &'a mut Sorted,
    pub(crate) rows: &'a Store,
}

impl Distinct<'_> {
    fn takes(&self, key: Key) -> bool {
        let bytes = self.rows.bytes(slot_of(key));
        let equal = self.beam.as_far_as(key).iter();
        let equal = equal.filter(|&&other| self.rows.bytes(slot_of(other)) == bytes);
        equal.count() < EQUAL_MAX
    }
}

impl Beam for Distinct<'_> {
    fn reset(&mut self, capacity: usize) {
        self.beam.reset(capacity);
    }

    fn push(&mut self, keys: &mut [Key]) {
        // One by one: they may equal each other.
        for key in keys {
            if self.takes(*key) {
                self.beam.push(std::slice::from_mut(key));
            }
        }
    }

    fn pop(&mut self) -> Option<Key> {
        self.beam.pop()
    }

    fn upcoming(&self, count: usize, visit: impl FnMut(Key)) {
        self.beam.upcoming(count, visit);
    }

    fn bound(&self) -> Key {
        self.beam.bound()
    }

    fn reach(&mut self, stop: &Stop) -> f32 {
        self.beam.reach(stop)
    }

    fn drain(&mut self, out: &mut Vec<Key>) {
        self.beam.drain(out);
    }
}
