//! Linking a slot into the graph, beside searches and other insertions.
//!
//! Order of publication: the node's own lists on all its levels, then links to it, then (if it is the highest) the
//! entry. So whoever reaches a node finds it complete.

use longbow_kernels::Metric;

use crate::{
    bits::Bits,
    context::{Batch, Context},
    distinct::{Distinct, is_crowded},
    error::Cancelled,
    graph::{Entry, Graph, LEVEL_MAX},
    key::{Key, distance_of, pack, slot_of},
    mix::{STEP, mix},
    params::Stats,
    queue::Beam,
    select::Twins,
    slack::{Slack, Stop},
    space::{GROUP, Points, Space},
    traverse::Walk,
};

/// What linking is done with.
pub(crate) struct Linker<'a, S: Points> {
    pub(crate) space: &'a S,
    pub(crate) graph: &'a Graph,
    /// Not linked to where there is a choice.
    pub(crate) removed: &'a Bits,
    /// Never linked to.
    pub(crate) gone: &'a Bits,
    /// Learns from what is linked.
    pub(crate) slack: &'a Slack,
    pub(crate) metric: Metric,
    pub(crate) ef: usize,
    pub(crate) m: usize,
}

/// Where a slot is about to be linked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    level: u32,
    /// Where the way there began.
    entry: Entry,
}

/// The level of a slot: geometric, a pure function of seed and slot.
pub(crate) fn level_of(seed: u64, slot: u32, m: usize) -> u32 {
    let x = mix(seed ^ u64::from(slot).wrapping_add(1).wrapping_mul(STEP));
    let uniform = ((x >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let level = -uniform.ln() / (m as f64).ln();
    (level as u32).min(LEVEL_MAX)
}

impl<S: Points> Linker<'_, S> {
    /// Links a slot of the given level. `slots` bounds what may be met. False if there was nothing to link to.
    pub(crate) fn link(&self, slot: u32, level: u32, slots: u32, context: &mut Context<S>) -> bool {
        match self.propose(slot, level, slots, context) {
            Some(place) => self.attach(slot, place, context),
            None => false,
        }
    }

    /// The first half of [`Linker::link`]: finds the links into `context.chosen`, and the candidates of those on the base
    /// level into `context.found`. `None`: the slot is the first of all.
    pub(crate) fn propose(
        &self,
        slot: u32,
        level: u32,
        slots: u32,
        context: &mut Context<S>,
    ) -> Option<Place> {
        let level = self.graph.raise(slot, level);
        let entry = loop {
            match self.graph.entry() {
                Some(entry) => break entry,
                None if self.graph.offer_entry(slot, level) => return None,
                None => {}
            }
        };
        self.space.prepare_slot(slot, &mut context.query);
        context.chosen.clear();
        self.choose(slot, level, entry, slots, context);
        Some(Place { level, entry })
    }

    /// The second half: links the slot to those chosen, and them to it. False if there are none.
    pub(crate) fn attach(&self, slot: u32, place: Place, context: &mut Context<S>) -> bool {
        let Place { level, entry } = place;
        let mut rest = &context.chosen[..];
        let found = rest.last().is_some_and(|&(level, _)| level == 0);
        while let Some(&(level, _)) = rest.first() {
            let count = rest.iter().take_while(|chosen| chosen.0 == level).count();
            context.selector.links.clear();
            context
                .selector
                .links
                .extend(rest[..count].iter().map(|chosen| chosen.1));
            // A pass of the vacuum may be looking through the list of one that is linked anew.
            let guard = self.graph.lock(slot);
            self.graph.write(level, slot, &context.selector.links);
            drop(guard);
            rest = &rest[count..];
        }
        self.link_back_chosen(slot, context);
        if level > entry.level {
            self.graph.offer_entry(slot, level);
        }
        found
    }

    /// Finds the links of a new node, level by level, into `context.chosen`.
    pub(crate) fn choose(&self, slot: u32, level: u32, entry: Entry, slots: u32, context: &mut Context<S>) {
        let mut stats = Stats::default();
        let mut walk = Walk {
            space: self.space,
            graph: self.graph,
            query: &context.query,
            visited: &mut context.visited,
            batch: &mut context.batch,
            stats: &mut stats,
            cancel: &|| false,
        };
        let twins = Twins::own(self_distance(self.space, &context.query, slot));
        // Nothing cancels it.
        let mut start = walk.descend(entry, level).unwrap_or(pack(0.0, entry.slot));
        for level in (0..=level.min(entry.level)).rev() {
            let (beam, found) = (&mut context.sorted, &mut context.found);
            let stop = if level > 0 || Slack::is_due(slot, slots) {
                Stop::at(self.ef)
            } else {
                self.slack.linking(self.metric, self.m, self.ef)
            };
            begin(&mut walk, slots, slot, start, &stop, beam);
            walk_on(&mut walk, level, beam, &stop, found);
            if is_crowded(found) {
                let rows = self.space.rows();
                let beam = &mut Distinct { beam, rows };
                begin(&mut walk, slots, slot, start, &stop, beam);
                walk_on(&mut walk, level, beam, &stop, found);
            }
            start = found[0];
            if level == 0 && Slack::is_due(slot, slots) {
                self.slack.learn(found.len(), |rank| distance_of(found[rank]));
            }
            // One that is linked anew may be met on an upper level, where the way to it was not lost.
            context.found.retain(|&key| slot_of(key) != slot);
            let removed = |&key: &Key| self.removed.get(slot_of(key));
            if context.found.iter().all(removed) {
                context.found.retain(|&key| !self.gone.get(slot_of(key)));
            } else {
                context.found.retain(|key| !removed(key));
            }
            context.selector.select(self.space, &context.found, self.m, twins);
            context
                .chosen
                .extend(context.selector.links.iter().map(|&link| (level, link)));
        }
    }

    /// Links all of `context.chosen` to `new`.
    pub(crate) fn link_back_chosen(&self, new: u32, context: &mut Context<S>) {
        for at in 0..context.chosen.len() {
            let (level, node) = context.chosen[at];
            self.link_back(level, node, new, context);
        }
    }

    /// Links `node` to `new`, choosing anew among its links if its list is full.
    ///
    /// Equal points form a path: those that `node` gives up go to the latest of those it keeps.
    pub(crate) fn link_back(&self, level: u32, node: u32, new: u32, context: &mut Context<S>) {
        let given_up = {
            let _guard = self.graph.lock(node);
            self.link_locked(level, node, new, context)
        };
        if given_up > 0 {
            // Links begin with the equal points kept, the latest one last.
            let latest = context.selector.links[self.graph.capacity(level) / 2 - 1];
            self.inherit(level, latest, &context.found[..given_up]);
        }
    }

    /// Under the node's lock. Returns how many of `context.found`, from the first on, are equal to the node and not
    /// linked to any more.
    fn link_locked(&self, level: u32, node: u32, new: u32, context: &mut Context<S>) -> usize {
        let capacity = self.graph.capacity(level);
        let keys = &mut context.found;
        keys.clear();
        let mut known = false;
        self.graph.neighbors(level, node, |slot| {
            keys.push(pack(0.0, slot));
            known |= slot == new;
        });
        if known {
            return 0;
        }
        if keys.len() < capacity {
            self.graph.append(level, node, keys.len(), new);
            return 0;
        }
        // What is about to be freed must not be handed on to a node that was looked through already.
        keys.retain(|&key| !self.gone.get(slot_of(key)));
        keys.push(pack(0.0, new));
        let equal = self.rank(node, keys, &mut context.query, &mut context.batch);
        let twins = Twins::kept(equal, capacity);
        context.selector.select(self.space, keys, capacity, twins);
        self.graph.write(level, node, &context.selector.links);
        twins.among(keys).saturating_sub(twins.max)
    }

    /// Appends points equal to a node to its list, as far as there is room.
    fn inherit(&self, level: u32, node: u32, equal: &[Key]) {
        let _guard = self.graph.lock(node);
        let (mut links, capacity) = (Vec::new(), self.graph.capacity(level));
        self.graph.neighbors(level, node, |slot| links.push(slot));
        for slot in equal.iter().rev().map(|&key| slot_of(key)) {
            if slot != node && links.len() < capacity && !links.contains(&slot) {
                self.graph.append(level, node, links.len(), slot);
                links.push(slot);
            }
        }
    }

    /// Gives keys of a node's candidates their distances to it, and sorts them. Returns the distance of equal points.
    pub(crate) fn rank(&self, node: u32, keys: &mut [Key], query: &mut S::Query, batch: &mut Batch) -> f32 {
        self.space.prepare_slot(node, query);
        for part in keys.chunks_mut(GROUP) {
            for (place, &key) in batch.slots.iter_mut().zip(part.iter()) {
                *place = slot_of(key);
            }
            let len = part.len();
            self.space
                .distances(query, &batch.slots[..len], &mut batch.distances[..len]);
            batch.len = len;
            part.copy_from_slice(batch.keys());
        }
        keys.sort_unstable();
        self_distance(self.space, query, node)
    }
}

/// Makes a beam ready for the candidates of `slot`, which is none itself, from `start` on.
fn begin<S: Space>(
    walk: &mut Walk<'_, S>,
    slots: u32,
    slot: u32,
    start: Key,
    stop: &Stop,
    beam: &mut impl Beam,
) {
    walk.begin(slots, beam, stop, &mut [start]);
    walk.visited.insert(slot);
}

/// Walks a level and leaves what was found, nearest first, in `found`. Nothing cancels it.
fn walk_on<S: Space>(
    walk: &mut Walk<'_, S>,
    level: u32,
    beam: &mut impl Beam,
    stop: &Stop,
    found: &mut Vec<Key>,
) {
    match walk.beam(level, beam, stop) {
        Ok(()) | Err(Cancelled) => beam.drain(found),
    }
}

/// The distance of a query made of a slot to whatever is equal to it.
fn self_distance<S: Space>(space: &S, query: &S::Query, slot: u32) -> f32 {
    let mut distance = [0.0];
    space.distances(query, &[slot], &mut distance);
    distance[0]
}
