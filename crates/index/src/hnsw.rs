//! The index of one kind of points: rows, graph, and what is on its way into the graph or out of it.

use std::{ops::Range, thread};

use crate::{
    bits::Bits,
    calibrate::Calibration,
    context::{Context, Contexts},
    error::Error,
    fit::Fit,
    graph::Graph,
    key::{distance_of, slot_of},
    link::{Linker, level_of},
    params::Params,
    progress::Progress,
    slack::Slack,
    space::{Points, Space},
    store::Store,
    sync::{Mutex, epoch},
    vacuum::{Pass, Vacuum},
    waiting::Waiting,
};

/// Until so many slots are linked, they are linked one after the other, lest the graph begin in pieces.
const SERIAL_SLOTS: u32 = 256;

/// Candidates of a slot, the nearest, whose estimates are compared with the distances to the vectors, where need be.
const LOOKED_AT: usize = 32;
const LOOKED_AT_MIN: usize = 8;
/// Deviations between the nearest candidate and the farthest from which on estimates tell them apart, however the error is
/// spread.
const CLEAR: f32 = 6.0;

/// See the module. What a slot is, in this order:
///
/// appended (at or above `linked`) or written again (`waiting`) → linked → `removed` → `gone` (nothing new is linked
/// to it) → free, in `vacuum` → written again.
pub(crate) struct Hnsw<S: Points> {
    pub(crate) points: S,
    pub(crate) graph: Graph,
    pub(crate) progress: Progress,
    pub(crate) waiting: Waiting,
    /// No search allows these.
    pub(crate) removed: Bits,
    /// Of the removed, those whose links a pass takes away or has taken away.
    pub(crate) gone: Bits,
    pub(crate) vacuum: Vacuum,
    serial: Mutex<()>,
    pub(crate) contexts: Contexts<Context<S>>,
    /// For links that are chosen on vectors because codes do not tell.
    pub(crate) exact_contexts: Contexts<Context<Store>>,
    pub(crate) calibration: Calibration,
    pub(crate) slack: Slack,
    pub(crate) params: Params,
}

/// What says whether links changed between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Activity {
    claimed: u32,
    waiting: usize,
    free: usize,
}

impl<S: Points> Hnsw<S> {
    pub(crate) fn new(params: Params) -> Self {
        let params = params.used();
        Self {
            points: S::new(&params),
            graph: Graph::new(params.m),
            progress: Progress::default(),
            waiting: Waiting::new(),
            removed: Bits::new(),
            gone: Bits::new(),
            vacuum: Vacuum::default(),
            serial: Mutex::new(()),
            contexts: Contexts::new(),
            exact_contexts: Contexts::new(),
            calibration: Calibration::new(),
            slack: Slack::default(),
            params,
        }
    }

    pub(crate) fn append(&self, vectors: &[u8]) -> Result<Range<u32>, Error> {
        let prepare = |slots: usize| {
            self.waiting.ensure(slots)?;
            self.removed.ensure(slots)?;
            self.gone.ensure(slots)?;
            self.graph.ensure(slots)
        };
        let slots = self.points.append(vectors, prepare, |_| ())?;
        self.calibration.changed(slots.len());
        Ok(slots)
    }

    pub(crate) fn insert(&self, vectors: &[u8], out: &mut Vec<u32>) -> Result<(), Error> {
        let row_bytes = self.points.rows().row_bytes();
        let slots = self.vacuum.take(self.points.rows().count(vectors)?);
        let (reused, new) = vectors.split_at(slots.len() * row_bytes);
        match self.append(new) {
            Ok(appended) => {
                for (&slot, row) in slots.iter().zip(reused.chunks_exact(row_bytes)) {
                    // SAFETY: the slot came from the free ones: no list leads to it, every search and insertion that
                    // could have met it has ended, and it was taken out for this call alone.
                    unsafe { self.points.overwrite(slot, row) };
                    self.graph.clear(slot);
                    // In this order: whoever finds it not gone finds it not removed, or waiting.
                    self.waiting.add(slot, || {
                        self.removed.clear(slot);
                        self.gone.clear(slot);
                    });
                }
                self.vacuum.reused(slots.len());
                self.calibration.changed(slots.len());
                out.extend_from_slice(&slots);
                out.extend(appended);
                Ok(())
            }
            Err(error) => {
                self.vacuum.give_back(&slots);
                Err(error)
            }
        }
    }

    pub(crate) fn free(&self) -> usize {
        self.vacuum.free()
    }

    pub(crate) fn retrain(&self, max: usize) -> usize {
        self.points.retrain(max, &|slot| !self.removed.get(slot))
    }

    pub(crate) fn len(&self) -> u32 {
        self.points.rows().len()
    }

    pub(crate) fn linked(&self) -> u32 {
        self.progress.done()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.count()
    }

    pub(crate) fn queued(&self) -> u64 {
        self.waiting.added()
    }

    pub(crate) fn unqueued(&self) -> u64 {
        self.waiting.done_before()
    }

    pub(crate) fn vector(&self, slot: u32, out: &mut Vec<u8>) -> bool {
        // What is not removed now is not written again before this is unpinned.
        let _pin = epoch::pin();
        let row = self.points.rows().bytes(slot);
        let live = !self.removed.get(slot);
        if live {
            out.extend_from_slice(row);
        }
        live
    }

    pub(crate) fn holds(&self, slot: u32) -> bool {
        slot < self.len() && !self.removed.get(slot)
    }

    pub(crate) fn remove(&self, slot: u32) {
        if slot < self.len() {
            self.vacuum.removing();
            if self.removed.set(slot) {
                self.points.removed(1);
                self.calibration.changed(1);
            } else {
                self.vacuum.removed_already();
            }
        }
    }

    pub(crate) fn linker(&self) -> Linker<'_, S> {
        self.linker_on(&self.points)
    }

    fn linker_on<'a, P: Points>(&'a self, space: &'a P) -> Linker<'a, P> {
        Linker {
            space,
            graph: &self.graph,
            removed: &self.removed,
            gone: &self.gone,
            slack: &self.slack,
            metric: self.params.metric,
            ef: self.params.ef_construction,
            m: self.params.m,
        }
    }

    pub(crate) fn link(&self, max: usize) -> usize {
        self.contexts.with(|context| {
            for taken in 0..max {
                // What was met and may be linked to stays what it is until this is unpinned.
                let pin = epoch::pin();
                if let Some(slot) = self.waiting.take() {
                    self.link_slot(slot, context);
                    self.waiting.done(slot);
                } else if let Some(slot) = self.progress.claim(self.len()) {
                    let _serial = (slot < SERIAL_SLOTS).then(|| self.serial.lock());
                    self.link_slot(slot, context);
                    self.progress.complete(slot);
                } else {
                    return taken;
                }
                drop(pin);
                // A search that waits for a core need not wait for the rest of the rows.
                thread::yield_now();
            }
            max
        })
    }

    fn link_slot(&self, slot: u32, context: &mut Context<S>) {
        if self.removed.get(slot) {
            return;
        }
        let level = level_of(self.params.seed, slot, self.params.m);
        let (linker, slots) = (self.linker(), self.len());
        let linked = match linker.propose(slot, level, slots, context) {
            // Links stay when codes are made anew: they must not be what codes for other rows said.
            Some(_) if S::LINKED_BY_ESTIMATE && self.are_estimates_flat(slot, context) => {
                if Slack::is_due(slot, slots) {
                    self.slack.unlearn();
                }
                let exact = self.linker_on(self.points.rows());
                self.exact_contexts
                    .with(|context| exact.link(slot, level, slots, context))
            }
            Some(place) => linker.attach(slot, place, context),
            None => false,
        };
        // The first of all has nothing to be linked to.
        if !linked && self.linked() > 0 {
            self.vacuum.unlinked();
        }
    }

    /// Whether the distances of a slot's candidates, in `context.found`, have little to do with what they were chosen by.
    fn are_estimates_flat(&self, slot: u32, context: &mut Context<S>) -> bool {
        let Context {
            found, exact, batch, ..
        } = context;
        // Of those that are farther away nothing becomes a link as a rule, and there may be others among them from which
        // codes tell these.
        let found = &found[..found.len().min(LOOKED_AT)];
        let [nearest, .., farthest] = found else {
            return false;
        };
        let apart = distance_of(*farthest) - distance_of(*nearest);
        let deviation = self.points.deviation_between(slot, slot_of(*nearest));
        if found.len() < LOOKED_AT_MIN || apart > CLEAR * deviation {
            return false;
        }
        let slots = &mut batch.slots[..found.len()];
        let distances = &mut batch.distances[..found.len()];
        for (place, &key) in slots.iter_mut().zip(found) {
            *place = slot_of(key);
        }
        let rows = self.points.rows();
        rows.prepare_slot(slot, exact);
        rows.distances(exact, slots, distances);
        let estimates = found.iter().map(|&key| distance_of(key));
        let fit: Fit = estimates.zip(distances.iter().copied()).collect();
        fit.is_flat()
    }

    /// Nothing while something is being linked or a pass is under way. If two looks while the pass is held say the same,
    /// no link changed between them.
    pub(crate) fn quiet(&self, pass: &Pass) -> Option<Activity> {
        let activity = Activity {
            claimed: self.progress.claimed(),
            waiting: self.waiting.settled()?,
            free: self.vacuum.free(),
        };
        // A slot that was taken out of the free ones and does not wait yet is still counted as gone.
        let is_mended = pass.is_over() && !self.vacuum.is_urgent();
        let is_quiet = is_mended && self.vacuum.gone() == activity.free && self.linked() == activity.claimed;
        is_quiet.then_some(activity)
    }

    /// Takes the next slot and leaves it unlinked, as a linker that is slow.
    #[cfg(test)]
    pub(crate) fn claim(&self) -> Option<u32> {
        self.progress.claim(self.len())
    }
}

#[cfg(test)]
mod tests;
