//! What one search or one insertion needs besides the index, kept for the next one.

use std::ptr;

use crate::{
    key::{Key, distance_of, slot_of},
    kind::Query,
    params::Neighbor,
    queue::{Heaps, Sorted},
    select::Selector,
    space::{GROUP, Points},
    sync::{AtomicPtr, Ordering, is_model},
    topk::TopK,
    visited::Visited,
};

/// Scratch memory of one traversal; grows to what is needed and then stays.
pub(crate) struct Context<S: Points> {
    pub(crate) query: S::Query,
    /// The query for distances to the vectors themselves.
    pub(crate) exact: Query,
    pub(crate) visited: Visited,
    pub(crate) sorted: Sorted,
    pub(crate) heaps: Heaps,
    pub(crate) top: TopK,
    pub(crate) found: Vec<Key>,
    /// What was found before by another way.
    pub(crate) met: Vec<Key>,
    /// Distances to what was refined.
    pub(crate) refined: Vec<f32>,
    /// Allowed slots that wait to be linked, in order.
    pub(crate) waiting: Vec<u32>,
    pub(crate) batch: Batch,
    pub(crate) selector: Selector<S>,
    /// Per level of an insertion, the links chosen: (level, link).
    pub(crate) chosen: Vec<(u32, u32)>,
}

/// Slots awaiting their distances.
pub(crate) struct Batch {
    pub(crate) slots: [u32; GROUP],
    pub(crate) distances: [f32; GROUP],
    pub(crate) keys: [Key; GROUP],
    pub(crate) len: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            slots: [0; GROUP],
            distances: [0.0; GROUP],
            keys: [0; GROUP],
            len: 0,
        }
    }
}

impl<S: Points> Default for Context<S> {
    fn default() -> Self {
        Self {
            query: S::Query::default(),
            exact: Query::default(),
            visited: Visited::default(),
            sorted: Sorted::default(),
            heaps: Heaps::default(),
            top: TopK::default(),
            found: Vec::new(),
            met: Vec::new(),
            refined: Vec::new(),
            waiting: Vec::new(),
            batch: Batch::default(),
            selector: Selector::default(),
            chosen: Vec::new(),
        }
    }
}

impl<S: Points> Context<S> {
    /// What is in `top`, as the answer.
    pub(crate) fn emit(&mut self, out: &mut Vec<Neighbor>) {
        out.clear();
        out.extend(self.top.sorted().iter().map(|&key| Neighbor {
            slot: slot_of(key),
            distance: distance_of(key),
        }));
    }
}

const PLACES: usize = if is_model() { 2 } else { 256 };

/// Contexts at rest; taking and returning one is one atomic exchange.
pub(crate) struct Contexts<C> {
    places: [AtomicPtr<C>; PLACES],
}

impl<C: Default> Contexts<C> {
    pub(crate) fn new() -> Self {
        Self {
            places: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
        }
    }

    /// How many rest.
    pub(crate) fn resting(&self) -> usize {
        let is_there = |place: &&AtomicPtr<C>| !place.load(Ordering::Relaxed).is_null();
        self.places.iter().filter(is_there).count()
    }

    /// Runs `work` with a context of its own.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut C) -> T) -> T {
        let mut context = self.take();
        let answer = work(&mut context);
        self.give(context);
        answer
    }

    /// Takes a context that nobody else has.
    pub(crate) fn take(&self) -> Box<C> {
        let resting = self.places.iter().find_map(|place| {
            if place.load(Ordering::Relaxed).is_null() {
                return None;
            }
            // Acquire: pairs with the exchange that put it there; what its last user wrote is seen.
            let taken = place.swap(ptr::null_mut(), Ordering::Acquire);
            // SAFETY: pointers in `places` come from `Box::into_raw`, and the exchange took this one out.
            (!taken.is_null()).then(|| unsafe { Box::from_raw(taken) })
        });
        resting.unwrap_or_default()
    }

    /// Lets a context rest until somebody takes it.
    pub(crate) fn give(&self, context: Box<C>) {
        let mut returned = Box::into_raw(context);
        for place in &self.places {
            if place.load(Ordering::Relaxed).is_null() {
                returned = place.swap(returned, Ordering::AcqRel);
                if returned.is_null() {
                    return;
                }
            }
        }
        // SAFETY: what the last exchange gave back (or what never found a place) came from `Box::into_raw`.
        drop(unsafe { Box::from_raw(returned) });
    }
}

impl<C> Drop for Contexts<C> {
    fn drop(&mut self) {
        for place in &self.places {
            // Relaxed: whoever drops the whole has been told of all that was done to it.
            let resting = place.load(Ordering::Relaxed);
            if !resting.is_null() {
                // SAFETY: it came from `Box::into_raw` and nobody else can reach it any more.
                drop(unsafe { Box::from_raw(resting) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_reused_and_never_shared() {
        let contexts = Contexts::<Vec<u8>>::new();
        contexts.with(|outer| {
            outer.push(1);
            contexts.with(|inner| assert!(inner.is_empty()));
        });
        let mut lengths: Vec<usize> = Vec::new();
        contexts.with(|a| contexts.with(|b| lengths.extend([a.len(), b.len()])));
        lengths.sort_unstable();
        assert_eq!(lengths, [0, 1]);

        let contexts = Contexts::<Vec<u64>>::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..if cfg!(miri) { 50 } else { 10_000 } {
                        contexts.with(|context| {
                            context.clear();
                            context.push(round);
                            assert_eq!(context.as_slice(), [round]);
                        });
                    }
                });
            }
        });
    }
}
