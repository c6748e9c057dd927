//! Taking removed slots out of the graph, and giving them back for new rows.
//!
//! A pass goes through these steps, a piece at a time, beside searches and insertions:
//!
//! 1. The slots removed so far are *doomed*: from now on nothing new is linked to them. Insertions that began before
//!    may still do so; the pass waits for them.
//! 2. Every node's links to removed ones are replaced. Afterwards no list leads to a doomed slot.
//! 3. Live nodes that cannot be reached from the entry any more are linked anew.
//! 4. Searches that began before may still hold doomed slots; the pass waits for them. Then the slots are free.
//!
//! Waiting is for epochs (crossbeam): a search or an insertion pins one, and what was deferred runs when all that
//! were pinned before are gone.

use std::sync::Arc;

use longbow_kernels::Bitset;

use crate::{
    context::Context,
    hnsw::Hnsw,
    reach::Reach,
    space::Points,
    sync::{AtomicBool, AtomicUsize, Mutex, MutexGuard, Ordering, epoch},
};

/// A pass begins when at least one of so many linked slots was removed.
const DUE: usize = 32;
/// Tries to move the epoch on before a call gives up; two moves are needed.
const EPOCH_TRIES: usize = 4;

/// How far the pass is.
#[derive(Default)]
enum Step {
    #[default]
    Rest,
    Settle(Arc<AtomicBool>),
    Sweep {
        next: u32,
    },
    Reach(Reach),
    Relink,
    Drain(Arc<AtomicBool>),
}

/// The state of one pass.
#[derive(Default)]
pub(crate) struct Pass {
    step: Step,
    doomed: Vec<u32>,
    lost: Vec<u32>,
    /// Slots below were linked when the step began.
    end: u32,
}

impl Pass {
    /// Slots that are out of the graph or on their way out, and not free yet.
    pub(crate) fn doomed(&self) -> &[u32] {
        &self.doomed
    }

    /// Whether it has nothing to mend.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.step, Step::Rest)
    }
}

/// Removed slots on their way to new rows.
#[derive(Default)]
pub(crate) struct Vacuum {
    pass: Mutex<Pass>,
    /// Slots removed and not doomed yet.
    removed: AtomicUsize,
    /// A node could not be linked: whatever the share of removed ones, a pass is due.
    urgent: AtomicBool,
    free: Mutex<Vec<u32>>,
    /// Slots doomed or free.
    gone: AtomicUsize,
}

impl Vacuum {
    /// A slot is about to be removed: counted before it can be doomed, so that the count never lags behind.
    pub(crate) fn removing(&self) {
        self.removed.fetch_add(1, Ordering::Relaxed);
    }

    /// It had been removed before.
    pub(crate) fn removed_already(&self) {
        self.removed.fetch_sub(1, Ordering::Relaxed);
    }

    /// A node was left without links.
    pub(crate) fn unlinked(&self) {
        self.urgent.store(true, Ordering::Relaxed);
    }

    /// Whether a node was left without links and no pass has begun since.
    pub(crate) fn is_urgent(&self) -> bool {
        self.urgent.load(Ordering::Relaxed)
    }

    /// Keeps the pass where it is as long as this is held: no slot is freed.
    pub(crate) fn hold(&self) -> MutexGuard<'_, Pass> {
        self.pass.lock()
    }

    /// Begins with free slots, and others that are only removed.
    pub(crate) fn resume(&mut self, free: Vec<u32>, removed: usize) {
        self.removed.store(removed, Ordering::Relaxed);
        self.gone.store(free.len(), Ordering::Relaxed);
        *self.free.lock() = free;
    }

    /// Takes up to `max` free slots.
    pub(crate) fn take(&self, max: usize) -> Vec<u32> {
        let mut free = self.free.lock();
        let keep = free.len() - max.min(free.len());
        free.split_off(keep)
    }

    /// Slots taken are rows again.
    pub(crate) fn reused(&self, slots: usize) {
        self.gone.fetch_sub(slots, Ordering::Relaxed);
    }

    /// Slots that are out of the graph, or will be as soon as the pass has mended it.
    pub(crate) fn gone(&self) -> usize {
        self.gone.load(Ordering::Relaxed)
    }

    /// Gives back what was taken and not used.
    pub(crate) fn give_back(&self, slots: &[u32]) {
        self.free.lock().extend_from_slice(slots);
    }

    /// Slots ready for new rows.
    pub(crate) fn free(&self) -> usize {
        self.free.lock().len()
    }

    /// Bytes of memory that the free slots take.
    pub(crate) fn memory(&self) -> usize {
        self.free.lock().capacity() * size_of::<u32>()
    }

    fn is_due(&self, linked: u32) -> bool {
        self.removed.load(Ordering::Relaxed) * DUE >= (linked as usize).max(1)
    }
}

/// A flag that is set when everything pinned now is gone.
pub(crate) fn deferred() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    let pin = epoch::pin();
    pin.defer(move || set.store(true, Ordering::Release));
    // Or it would wait until this very thread comes back.
    pin.flush();
    flag
}

/// Whether a flag is set, after trying to get there.
pub(crate) fn is_set(flag: &AtomicBool) -> bool {
    (0..EPOCH_TRIES).any(|_| {
        epoch::pin().flush();
        flag.load(Ordering::Acquire)
    })
}

impl<S: Points> Hnsw<S> {
    /// Looks at up to `max` nodes for the pass under way, or begins one if it is due. Returns how many; 0 means that
    /// there is nothing to do now.
    pub(crate) fn vacuum(&self, max: usize) -> usize {
        let Some(mut pass) = self.vacuum.pass.try_lock() else {
            return 0;
        };
        let mut left = max;
        self.contexts.with(
            |context| {
                while left > 0 && self.advance(&mut pass, &mut left, context) {}
            },
        );
        max - left
    }

    /// One step or a part of it; false if there is nothing to do now.
    fn advance(&self, pass: &mut Pass, left: &mut usize, context: &mut Context<S>) -> bool {
        let (step, goes_on) = match std::mem::take(&mut pass.step) {
            Step::Rest => self
                .doom_due(pass)
                .map_or((Step::Rest, false), |begun| (begun, true)),
            Step::Settle(settled) if !is_set(&settled) => (Step::Settle(settled), false),
            Step::Settle(_) => {
                // Beyond what counts as linked, because of one slow linker, there may be nodes with links.
                pass.end = self.len();
                (Step::Sweep { next: 0 }, true)
            }
            Step::Sweep { next } => (self.sweep(next, pass, left, context), true),
            Step::Reach(reach) => (self.reach(reach, pass, left), true),
            Step::Relink => (self.relink(pass, left, context), true),
            Step::Drain(drained) if !is_set(&drained) => (Step::Drain(drained), false),
            Step::Drain(_) => {
                self.vacuum.free.lock().append(&mut pass.doomed);
                (Step::Rest, true)
            }
        };
        pass.step = step;
        goes_on
    }

    /// Step 1, if a pass is due.
    fn doom_due(&self, pass: &mut Pass) -> Option<Step> {
        let urgent = self.vacuum.urgent.swap(false, Ordering::Relaxed);
        if !urgent && !self.vacuum.is_due(self.linked()) {
            return None;
        }
        self.doom(pass);
        // What was removed may be still to be linked: its turn comes first.
        (urgent || !pass.doomed.is_empty()).then(|| Step::Settle(deferred()))
    }

    /// A part of step 2.
    fn sweep(&self, next: u32, pass: &mut Pass, left: &mut usize, context: &mut Context<S>) -> Step {
        let max = u32::try_from(*left).unwrap_or(u32::MAX);
        let stop = pass.end.min(next.saturating_add(max));
        pass.lost
            .extend((next..stop).filter(|&slot| !self.mend(slot, context)));
        *left -= (stop - next) as usize;
        if stop < pass.end {
            return Step::Sweep { next: stop };
        }
        pass.end = self.linked();
        self.graph.replace_entry(
            |entry| self.removed.get(entry),
            (0..pass.end).filter(|&slot| self.is_live(slot)),
        );
        Step::Reach(Reach::of(&self.graph, pass.end))
    }

    /// A part of the look for nodes that step 3 is for.
    fn reach(&self, mut reach: Reach, pass: &mut Pass, left: &mut usize) -> Step {
        *left -= reach.expand(&self.graph, *left);
        if !reach.is_over() {
            return Step::Reach(reach);
        }
        pass.lost
            .extend(reach.missed().filter(|&slot| self.is_live(slot)));
        pass.lost.sort_unstable();
        pass.lost.dedup();
        Step::Relink
    }

    /// A part of step 3.
    fn relink(&self, pass: &mut Pass, left: &mut usize, context: &mut Context<S>) -> Step {
        while *left > 0
            && let Some(slot) = pass.lost.pop()
        {
            *left -= 1;
            if self.is_live(slot) {
                let _pin = epoch::pin();
                if !self.linker().relink(slot, self.len(), context) {
                    self.vacuum.unlinked();
                }
            }
        }
        if pass.lost.is_empty() {
            Step::Drain(deferred())
        } else {
            Step::Relink
        }
    }

    /// Of so many slots, those that hold no row: out of the graph, and not on their way out as those of a pass are.
    pub(crate) fn free_slots(&self, pass: &Pass, len: u32) -> Bitset {
        let mut free = Bitset::new(len as usize);
        for slot in (0..len).filter(|&slot| self.gone.get(slot)) {
            free.set(slot as usize);
        }
        for &slot in pass.doomed() {
            free.clear(slot as usize);
        }
        free
    }

    /// Linked, and nobody said that it goes.
    fn is_live(&self, slot: u32) -> bool {
        !self.removed.get(slot) && !self.waiting.get(slot)
    }

    /// Step 1: what was removed so far.
    fn doom(&self, pass: &mut Pass) {
        self.removed.for_each(self.linked(), |slot| {
            if !self.gone.set(slot) {
                return;
            }
            // Looked at again now that it cannot be doomed twice: what was read above may be of an earlier life. One
            // that waits to be linked is somebody's who will see that it was removed.
            if self.removed.get(slot) && !self.waiting.get(slot) {
                pass.doomed.push(slot);
            } else {
                self.gone.clear(slot);
            }
        });
        let doomed = pass.doomed.len();
        self.vacuum.gone.fetch_add(doomed, Ordering::Relaxed);
        self.vacuum.removed.fetch_sub(doomed, Ordering::Relaxed);
    }

    /// Step 2 for one node; false if it has no link left.
    fn mend(&self, slot: u32, context: &mut Context<S>) -> bool {
        // One that was removed meanwhile is still passed through: it must not lead to what is freed.
        if self.gone.get(slot) {
            return true;
        }
        let _pin = epoch::pin();
        let linker = self.linker();
        for level in (1..=self.graph.level(slot)).rev() {
            linker.repair(level, slot, context);
        }
        linker.repair(0, slot, context)
    }
}

#[cfg(test)]
mod tests;
