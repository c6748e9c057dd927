//! An index as storage uses it: readers hold immutable views, and a slot is removed from the index only after every
//! view that shows it is gone.

use std::{
    collections::VecDeque,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use longbow_index::{Bitset, VectorIndex};
use parking_lot::{Mutex, MutexGuard};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::support::bytes;

/// What readers see: which slots are live, and the number of the row that each slot holds.
#[derive(Default)]
pub struct View {
    pub live: Bitset,
    held: Vec<u64>,
    /// Readers that hold it. Counted here, because a sanitizer does not follow the fences of an `Arc`.
    readers: AtomicUsize,
}

impl View {
    /// The row that a live slot holds.
    pub fn held(&self, slot: u32) -> u64 {
        self.held[slot as usize]
    }

    /// A copy to be changed.
    fn next(&self) -> Self {
        Self {
            live: self.live.clone(),
            held: self.held.clone(),
            readers: AtomicUsize::new(0),
        }
    }
}

/// A view in the hands of a reader.
pub struct Shown(Arc<View>);

impl Deref for Shown {
    type Target = View;

    fn deref(&self) -> &View {
        &self.0
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.readers.fetch_sub(1, Ordering::AcqRel);
    }
}

pub struct Table {
    pub index: VectorIndex,
    seed: u64,
    centres: Vec<Vec<f32>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    view: Arc<View>,
    rows: u64,
    /// Views that were replaced, oldest first, with the slots that the next one shows no more.
    replaced: VecDeque<(Arc<View>, Vec<u32>)>,
}

impl Table {
    pub fn new(index: VectorIndex, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let dimension = index.params().dimension;
        let mut centre = || (0..dimension).map(|_| rng.random_range(-1.0f32..1.0)).collect();
        Self {
            centres: (0..60).map(|_| centre()).collect(),
            index,
            seed,
            state: Mutex::default(),
        }
    }

    /// The row of a number: no two are alike.
    pub fn row(&self, number: u64) -> Vec<f32> {
        let mut rng = SmallRng::seed_from_u64(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let centre = &self.centres[rng.random_range(0..self.centres.len())];
        centre
            .iter()
            .map(|x| x + rng.random_range(-0.6f32..0.6))
            .collect()
    }

    pub fn view(&self) -> Shown {
        let state = self.state.lock();
        state.view.readers.fetch_add(1, Ordering::Relaxed);
        Shown(Arc::clone(&state.view))
    }

    /// New rows, into free slots as long as there are some.
    pub fn insert(&self, count: usize) {
        let (first, bytes) = self.rows(count);
        let mut slots = Vec::new();
        self.index.insert(&bytes, &mut slots).unwrap();
        self.show(first, &slots);
    }

    /// New rows in new slots.
    pub fn append(&self, count: usize) {
        let (first, bytes) = self.rows(count);
        let slots: Vec<u32> = self.index.append(&bytes).unwrap().collect();
        self.show(first, &slots);
    }

    fn rows(&self, count: usize) -> (u64, Vec<u8>) {
        let first = {
            let mut state = self.state.lock();
            state.rows += count as u64;
            state.rows - count as u64
        };
        let rows: Vec<Vec<f32>> = (first..).take(count).map(|number| self.row(number)).collect();
        (first, bytes(&rows, self.index.params().element))
    }

    fn show(&self, first: u64, slots: &[u32]) {
        let state = self.state.lock();
        let mut view = state.view.next();
        // Others may have appended more by now.
        let len = slots.iter().map(|&slot| slot as usize + 1).max().unwrap_or(0);
        let len = len.max(view.held.len());
        view.live.resize(len);
        view.held.resize(len, 0);
        for (&slot, number) in slots.iter().zip(first..) {
            assert!(!view.live.get(slot as usize), "slot {slot} was handed out twice");
            view.live.set(slot as usize);
            view.held[slot as usize] = number;
        }
        self.publish(state, view, Vec::new());
    }

    /// Makes some live rows invisible; returns how many.
    pub fn remove(&self, count: usize, rng: &mut SmallRng) -> usize {
        let state = self.state.lock();
        let mut view = state.view.next();
        let mut slots: Vec<u32> = Vec::new();
        // Single ones, or neighbours in number.
        let scattered = rng.random();
        let mut at = rng.random_range(0..view.live.len().max(1));
        while slots.len() < count
            && let Some(slot) = view.live.iter_from(at).next()
        {
            view.live.clear(slot);
            slots.push(slot as u32);
            at = if scattered {
                rng.random_range(0..view.live.len())
            } else {
                slot
            };
        }
        let removed = slots.len();
        self.publish(state, view, slots);
        removed
    }

    fn publish(&self, mut state: MutexGuard<'_, State>, view: View, gone: Vec<u32>) {
        let before = std::mem::replace(&mut state.view, Arc::new(view));
        state.replaced.push_back((before, gone));
        self.forget(state);
    }

    /// Tells the index of slots that no view shows any more.
    fn forget(&self, mut state: MutexGuard<'_, State>) {
        let mut slots = Vec::new();
        while let Some((view, _)) = state.replaced.front()
            && view.readers.load(Ordering::Acquire) == 0
        {
            slots.extend(
                state
                    .replaced
                    .pop_front()
                    .into_iter()
                    .flat_map(|(_, slots)| slots),
            );
        }
        drop(state);
        slots.into_iter().for_each(|slot| self.index.remove(slot));
    }

    /// When no reader holds a view any more.
    pub fn release(&self) {
        self.forget(self.state.lock());
        assert!(self.state.lock().replaced.is_empty());
    }
}
