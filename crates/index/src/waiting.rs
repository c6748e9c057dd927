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
    queue: Mutex<VecDeque<u32>>,
}

impl Waiting {
    pub(crate) fn new() -> Self {
        Self {
            bits: Bits::new(),
            count: AtomicUsize::new(0),
            queue: Mutex::new(VecDeque::new()),
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
        *self.queue.lock() = queue.into();
        Ok(())
    }

    /// Slots waiting, those being linked included. Acquire pairs with every change of the count: whoever reads 0 sees
    /// the links of all that waited.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Slots waiting, unless some are on their way in or out.
    pub(crate) fn settled(&self) -> Option<usize> {
        let queued = self.queue.lock().len();
        (self.count() == queued).then_some(queued)
    }

    /// A row was written to a slot. `revive` runs when searches know of the slot and linkers do not yet.
    pub(crate) fn add(&self, slot: u32, revive: impl FnOnce()) {
        self.bits.set(slot);
        self.count.fetch_add(1, Ordering::AcqRel);
        revive();
        self.queue.lock().push_back(slot);
    }

    /// Takes one to be linked; it goes on waiting until [`Waiting::done`].
    pub(crate) fn take(&self) -> Option<u32> {
        if self.count() == 0 {
            return None;
        }
        self.queue.lock().pop_front()
    }

    /// A slot is linked: whoever does not find it here any more finds it in the graph.
    pub(crate) fn done(&self, slot: u32) {
        self.bits.clear(slot);
        self.count.fetch_sub(1, Ordering::AcqRel);
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
