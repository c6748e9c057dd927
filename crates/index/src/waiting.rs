//! Rows in slots that were used before and are not linked yet: searches compare each of them.

use std::collections::VecDeque;

use crate::{
    bits::Bits,
    error::Error,
    scan::Allowed,
    sync::{AtomicUsize, Mutex, Ordering},
};

/// Slots that wait to be linked.
pub(crate) struct Waiting {
    bits: Bits,
    count: AtomicUsize,
    queue: Mutex<Queue>,
}

/// Those that wait, numbered as they came.
#[derive(Default)]
struct Queue {
    slots: VecDeque<u32>,
    /// Number of the front.
    first: u64,
    /// Numbers and slots of those being linked: as many as there are linkers.
    taken: Vec<(u64, u32)>,
}

impl Waiting {
    pub(crate) fn new() -> Self {
        Self {
            bits: Bits::new(),
            count: AtomicUsize::new(0),
            queue: Mutex::new(Queue::default()),
        }
    }

    pub(crate) fn ensure(&self, slots: usize) -> Result<(), Error> {
        self.bits.ensure(slots)
    }

    /// Makes distinct slots below `slots` wait, the first one first; none waited before.
    pub(crate) fn load(&self, queue: Vec<u32>, slots: usize) -> Result<(), Error> {
        self.bits.ensure(slots)?;
        queue.iter().for_each(|&slot| {
            self.bits.set(slot);
        });
        self.count.store(queue.len(), Ordering::Release);
        self.queue.lock().slots = queue.into();
        Ok(())
    }

    /// Bytes of memory that it takes.
    pub(crate) fn memory(&self) -> usize {
        self.bits.memory() + self.queue.lock().slots.capacity() * size_of::<u32>()
    }

    /// Slots waiting, those being linked included. Acquire pairs with every change of the count: whoever reads 0 sees
    /// the links of all that waited.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Slots waiting, unless some are on their way in or out.
    pub(crate) fn settled(&self) -> Option<usize> {
        let queued = self.queue.lock().slots.len();
        (self.count() == queued).then_some(queued)
    }

    /// A row was written to a slot. `revive` runs when searches know of the slot and linkers do not yet.
    pub(crate) fn add(&self, slot: u32, revive: impl FnOnce()) {
        self.bits.set(slot);
        self.count.fetch_add(1, Ordering::AcqRel);
        revive();
        self.queue.lock().slots.push_back(slot);
    }

    /// Takes one to be linked; it goes on waiting until [`Waiting::done`].
    pub(crate) fn take(&self) -> Option<u32> {
        if self.count() == 0 {
            return None;
        }
        let mut queue = self.queue.lock();
        let slot = queue.slots.pop_front()?;
        let number = queue.first;
        queue.first += 1;
        queue.taken.push((number, slot));
        Some(slot)
    }

    /// A slot is linked: whoever does not find it here any more finds it in the graph.
    pub(crate) fn done(&self, slot: u32) {
        self.bits.clear(slot);
        self.count.fetch_sub(1, Ordering::AcqRel);
        self.queue.lock().taken.retain(|&(_, taken)| taken != slot);
    }

    /// How many ever waited.
    pub(crate) fn added(&self) -> u64 {
        let queue = self.queue.lock();
        queue.first + queue.slots.len() as u64
    }

    /// So many of them, in the order they came, wait no more. The lock pairs with that of [`Waiting::done`]: whoever
    /// reads this sees the links of those.
    pub(crate) fn done_before(&self) -> u64 {
        let queue = self.queue.lock();
        let numbers = queue.taken.iter().map(|&(number, _)| number);
        numbers.min().unwrap_or(queue.first)
    }

    pub(crate) fn get(&self, slot: u32) -> bool {
        self.bits.get(slot)
    }

    /// The allowed ones below `end`, in order, into `out`.
    pub(crate) fn allowed(&self, end: u32, allowed: Allowed<'_>, out: &mut Vec<u32>) {
        out.clear();
        if self.count() > 0 {
            self.bits.for_each(end, |slot| {
                if allowed.has(slot) {
                    out.push(slot);
                }
            });
        }
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_those_taken_holds_the_count_back() {
        let waiting = Waiting::new();
        waiting.ensure(64).unwrap();
        for slot in [9, 4, 7] {
            waiting.add(slot, || ());
        }
        let told = |waiting: &Waiting| (waiting.added(), waiting.done_before());
        assert_eq!(told(&waiting), (3, 0));
        let taken: Vec<u32> = std::iter::from_fn(|| waiting.take()).take(2).collect();
        assert_eq!((taken, told(&waiting)), (vec![9, 4], (3, 0)));
        waiting.done(4);
        assert_eq!(told(&waiting), (3, 0), "9 came before");
        waiting.done(9);
        assert_eq!(told(&waiting), (3, 2));
        waiting.add(4, || ());
        assert_eq!(waiting.take(), Some(7));
        waiting.done(7);
        assert_eq!((told(&waiting), waiting.count()), ((4, 3), 1));
    }
}
