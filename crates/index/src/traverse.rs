//! Walking the graph towards a query.

use longbow_kernels::Bitset;

use crate::{
    context::Batch,
    error::Cancelled,
    graph::{Entry, Graph},
    key::{Key, distance_of, pack, slot_of},
    params::Stats,
    queue::Beam,
    slack::Stop,
    space::{GROUP, Space},
    sync::{AtomicU32, Ordering},
    topk::TopK,
    visited::Visited,
};

/// Most nodes expanded together: their neighbours' memory is waited for once. More of them find no more per distance.
const EXPANSIONS: usize = 3;
/// As [`EXPANSIONS`], of rows of at least [`WIDE_BYTES`]: reading what the nearest one would have shown to be too far
/// away costs more than it saves.
const WIDE_EXPANSIONS: usize = 2;
const WIDE_BYTES: usize = 1024;
/// Links of a list that are looked at together.
const PART: usize = 32;
/// Hops between two questions whether to go on,
const CANCEL_HOPS: u64 = 32;
/// where a row is not longer than this: else every hop is followed by one.
const CANCEL_BYTES: usize = 8 << 10;

/// One traversal in progress.
pub(crate) struct Walk<'a, S: Space> {
    pub(crate) space: &'a S,
    pub(crate) graph: &'a Graph,
    pub(crate) query: &'a S::Query,
    pub(crate) visited: &'a mut Visited,
    pub(crate) batch: &'a mut Batch,
    pub(crate) stats: &'a mut Stats,
    pub(crate) cancel: &'a dyn Fn() -> bool,
}

impl<S: Space> Walk<'_, S> {
    /// Goes greedily from the entry down to the nearest node on the level above `level`, as a start for `level`.
    pub(crate) fn descend(&mut self, entry: Entry, level: u32) -> Result<Key, Cancelled> {
        self.batch.slots[0] = entry.slot;
        self.batch.len = 1;
        self.measure();
        let mut best = pack(self.batch.distances[0], entry.slot);
        for level in (level + 1..=entry.level).rev() {
            loop {
                let from = best;
                let batch = &mut *self.batch;
                batch.len = 0;
                self.graph.neighbors(level, slot_of(from), |slot| {
                    if batch.len < GROUP {
                        batch.slots[batch.len] = slot;
                        batch.len += 1;
                    }
                });
                self.measure();
                best = self.batch.keys().iter().copied().fold(best, Key::min);
                if best == from {
                    break;
                }
                self.ask(self.space.bytes() > CANCEL_BYTES)?;
            }
        }
        Ok(best)
    }

    /// Makes a beam ready that starts from some keys, in a graph of so many slots.
    pub(crate) fn begin<B: Beam>(&mut self, slots: u32, beam: &mut B, stop: &Stop, from: &mut [Key]) {
        self.visited.reset(slots);
        from.iter().for_each(|&key| {
            self.visited.insert(slot_of(key));
        });
        beam.reset(stop.width);
        from.chunks_mut(GROUP).for_each(|keys| beam.push(keys));
    }

    /// Best-first search on a level from what is in the beam already (and marked as visited).
    pub(crate) fn beam<B: Beam>(&mut self, level: u32, beam: &mut B, stop: &Stop) -> Result<(), Cancelled> {
        let together = self.together();
        loop {
            let mut from = [0; EXPANSIONS];
            let mut count = 0;
            let reach = beam.reach(stop);
            while count < together
                && let Some(key) = beam.pop()
            {
                if distance_of(key) > reach {
                    break;
                }
                from[count] = slot_of(key);
                if level == 0 {
                    self.graph.prefetch(from[count]);
                }
                count += 1;
                self.hop()?;
            }
            if count == 0 {
                return Ok(());
            }
            // Whatever is nearer than this will be expanded next.
            let (mut next, mut open) = (Key::MAX, 0);
            beam.upcoming(together, |key| {
                open += 1;
                next = if open == together { key } else { Key::MAX };
            });
            self.batch.len = 0;
            for &slot in &from[..count] {
                for part in self.graph.list(level, slot).chunks(PART) {
                    if self.batch.len + part.len() > GROUP {
                        self.measure();
                        beam.push(self.batch.keys());
                        self.batch.len = 0;
                    }
                    self.gather(part);
                }
            }
            self.measure();
            let (graph, keys) = (self.graph, self.batch.keys());
            if level == 0 {
                // Their lists are needed as soon as the beam has taken them in.
                keys.iter()
                    .filter(|&&key| key < next)
                    .for_each(|&key| graph.prefetch(slot_of(key)));
            }
            beam.push(keys);
        }
    }

    /// Best-first search through all nodes that keeps the allowed ones in `top`; ends when everything left is
    /// farther than the worst of a full `top`. Returns what share of the nodes expanded are allowed.
    pub(crate) fn filtered<B: Beam>(
        &mut self,
        beam: &mut B,
        top: &mut TopK,
        allow: &Bitset,
    ) -> Result<f64, Cancelled> {
        let together = self.together();
        let (mut expanded, mut matching) = (0, 0);
        loop {
            self.batch.len = 0;
            let mut count = 0;
            while count < together
                && self.batch.len + self.graph.capacity(0).min(PART) <= GROUP
                && let Some(key) = beam.pop()
            {
                if key > top.bound() {
                    break;
                }
                count += 1;
                expanded += 1;
                matching += u32::from(allow.get(slot_of(key) as usize));
                self.hop()?;
                for part in self.graph.list(0, slot_of(key)).chunks(PART) {
                    if self.batch.len + part.len() > GROUP {
                        self.take_allowed(beam, top, allow);
                    }
                    self.gather(part);
                }
            }
            if count == 0 {
                return Ok(f64::from(matching) / f64::from(expanded.max(1)));
            }
            beam.upcoming(EXPANSIONS, |key| self.graph.prefetch(slot_of(key)));
            self.take_allowed(beam, top, allow);
        }
    }

    /// Measures the batch and offers it to the beam, and what is allowed of it to `top`.
    fn take_allowed<B: Beam>(&mut self, beam: &mut B, top: &mut TopK, allow: &Bitset) {
        self.measure();
        for &key in self.batch.keys().iter() {
            if key < top.bound() && allow.get(slot_of(key) as usize) {
                top.push(key);
            }
        }
        beam.push(self.batch.keys_below(top.bound()));
        self.batch.len = 0;
    }

    /// Best-first search over allowed nodes alone, reaching through at most one other node between two of them. Whether it
    /// ended because no more was in reach of what it had found.
    pub(crate) fn two_hop<B: Beam>(
        &mut self,
        start: u32,
        beam: &mut B,
        stop: &Stop,
        allow: &Bitset,
    ) -> Result<bool, Cancelled> {
        let mut from = start;
        loop {
            self.hop()?;
            self.reach(from, allow);
            self.measure();
            beam.push(self.batch.keys());
            let reach = beam.reach(stop);
            let Some(key) = beam.pop() else {
                return Ok(true);
            };
            if distance_of(key) > reach {
                return Ok(false);
            }
            from = slot_of(key);
            beam.upcoming(EXPANSIONS, |key| self.graph.prefetch(slot_of(key)));
        }
    }

    /// Measures unseen slots and offers them to the beam.
    pub(crate) fn seed<B: Beam>(&mut self, slots: impl Iterator<Item = u32>, beam: &mut B) {
        self.batch.len = 0;
        for slot in slots.take(GROUP) {
            if self.visited.insert(slot) {
                self.batch.slots[self.batch.len] = slot;
                self.batch.len += 1;
            }
        }
        self.measure();
        beam.push(self.batch.keys());
    }

    /// Fills the batch with unseen allowed nodes one or two links away.
    ///
    /// A node is marked only when its own turn was had: an allowed one when it is measured, another when its list
    /// is read. Whatever is left out here may be reached from elsewhere.
    fn reach(&mut self, slot: u32, allow: &Bitset) {
        let mut bridges = [0; GROUP];
        let mut bridge_count = 0;
        let (graph, visited, batch) = (self.graph, &mut *self.visited, &mut *self.batch);
        batch.len = 0;
        let mut seen = 0;
        graph.neighbors(0, slot, |neighbor| {
            seen += 1;
            if allow.get(neighbor as usize) {
                if batch.len < GROUP && visited.insert(neighbor) {
                    batch.slots[batch.len] = neighbor;
                    batch.len += 1;
                }
            } else if bridge_count < GROUP && !visited.contains(neighbor) {
                graph.prefetch(neighbor);
                bridges[bridge_count] = neighbor;
                bridge_count += 1;
            }
        });
        // Where most neighbours are allowed anyway, the second hop would only bring what the next hops bring.
        if bridge_count * 4 <= seen {
            return;
        }
        let enough = graph.capacity(0).min(GROUP);
        for &bridge in &bridges[..bridge_count] {
            if batch.len >= enough {
                break;
            }
            graph.neighbors(0, bridge, |neighbor| {
                if batch.len < GROUP && allow.get(neighbor as usize) && visited.insert(neighbor) {
                    batch.slots[batch.len] = neighbor;
                    batch.len += 1;
                }
            });
            if batch.len < GROUP {
                visited.insert(bridge);
            }
        }
    }

    /// Puts the unseen neighbours of a list into the batch, which has room for them.
    #[inline(always)]
    fn gather(&mut self, list: &[AtomicU32]) {
        let (visited, batch) = (&mut *self.visited, &mut *self.batch);
        debug_assert!(batch.len + list.len() <= GROUP);
        for link in list {
            // Acquire: see `Graph::neighbors`.
            let Some(slot) = link.load(Ordering::Acquire).checked_sub(1) else {
                break;
            };
            batch.slots[batch.len % GROUP] = slot;
            batch.len += usize::from(visited.insert(slot));
        }
    }

    /// Nodes to expand together.
    fn together(&self) -> usize {
        if self.space.bytes() < WIDE_BYTES {
            EXPANSIONS
        } else {
            WIDE_EXPANSIONS
        }
    }

    #[inline(always)]
    fn measure(&mut self) {
        let Batch {
            slots,
            distances,
            len,
            ..
        } = &mut *self.batch;
        self.space
            .distances(self.query, &slots[..*len], &mut distances[..*len]);
        self.stats.distances += *len as u64;
    }

    #[inline(always)]
    fn hop(&mut self) -> Result<(), Cancelled> {
        self.stats.hops += 1;
        self.ask(self.stats.hops.is_multiple_of(CANCEL_HOPS) || self.space.bytes() > CANCEL_BYTES)
    }

    /// Asks whether to go on, if it is time to.
    #[inline(always)]
    fn ask(&self, is_time: bool) -> Result<(), Cancelled> {
        if is_time && (self.cancel)() {
            return Err(Cancelled);
        }
        Ok(())
    }
}

impl Batch {
    /// The measured slots as keys.
    #[inline(always)]
    pub(crate) fn keys(&mut self) -> &mut [Key] {
        let measured = self.slots[..self.len].iter().zip(&self.distances[..self.len]);
        for (key, (&slot, &distance)) in self.keys.iter_mut().zip(measured) {
            *key = pack(distance, slot);
        }
        &mut self.keys[..self.len]
    }

    /// Those of the keys that are below a bound.
    fn keys_below(&mut self, bound: Key) -> &mut [Key] {
        let mut below = 0;
        self.keys();
        for at in 0..self.len {
            let key = self.keys[at];
            self.keys[below] = key;
            below += usize::from(key < bound);
        }
        &mut self.keys[..below]
    }
}
