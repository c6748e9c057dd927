//! The graph of an image: only links between slots that are linked in it.

use std::io;

use longbow_kernels::Bitset;

use crate::{
    context::Context,
    graph::{Entry, Graph, LEVEL_MAX, LEVEL_SHIFT},
    hnsw::{Activity, Hnsw},
    image::{
        Image, ImageError, Saver, Tag,
        format::Trailer,
        save::{ImageSummary, Slots},
    },
    space::Points,
    sync::epoch,
};

/// The graph on its way into an image.
///
/// What is linked is decided once. Links change meanwhile: those to slots linked later are left out, and whoever opens
/// the image looks for nodes that lost the way to them.
pub(crate) struct Links<'a, S: Points> {
    hnsw: &'a Hnsw<S>,
    /// See [`Slots::places`].
    places: Option<Vec<u32>>,
    /// Slots of the index that are linked in the image if they are in it.
    pub(crate) linked: Bitset,
    /// Slots of the image below are linked, free, or wait.
    pub(crate) mark: u32,
    /// What went on when `linked` was decided.
    pub(crate) began: Option<Activity>,
    entry: Option<Entry>,
    upper_lists: u32,
    dropped: u64,
}

impl<'a, S: Points> Links<'a, S> {
    /// `free` and the order are those of `slots`; the index has `all` slots.
    pub(crate) fn of(hnsw: &'a Hnsw<S>, began: Option<Activity>, slots: &Slots<'_>, all: u32) -> Self {
        let places = slots.places(all);
        // In this order: what waits now may be below the mark.
        let done = hnsw.linked().min(if places.is_some() { all } else { slots.len });
        let mut linked = Bitset::new(all as usize);
        for slot in 0..done {
            if !slots.is_free(slot) && !hnsw.waiting.get(slot) {
                linked.set(slot as usize);
            }
        }
        let mark = (0..slots.len)
            .rev()
            .find(|&slot| slots.of(slot).is_none_or(|of| of < done));
        let mut links = Self {
            hnsw,
            places,
            linked,
            mark: mark.map_or(0, |last| last + 1),
            began,
            entry: None,
            upper_lists: 0,
            dropped: 0,
        };
        let heights = (0..slots.len).map(|slot| links.level_of(slots, slot));
        links.upper_lists = heights.sum();
        links.entry = links.entry(slots);
        links
    }

    /// The level in the image of a slot of the index.
    fn level(&self, slot: u32) -> u32 {
        if self.linked.get(slot as usize) {
            self.hnsw.graph.level(slot)
        } else {
            0
        }
    }

    /// The level of a slot of the image.
    fn level_of(&self, slots: &Slots<'_>, slot: u32) -> u32 {
        slots.of(slot).map_or(0, |of| self.level(of))
    }

    /// Where the image has a slot of the index, if it is linked there.
    fn place(&self, slot: u32) -> Option<u32> {
        if !self.linked.get(slot as usize) {
            return None;
        }
        match &self.places {
            None => Some(slot),
            Some(places) => places[slot as usize].checked_sub(1),
        }
    }

    /// The index's entry; if the image has not got it, the highest live node.
    fn entry(&self, slots: &Slots<'_>) -> Option<Entry> {
        let of_index = self.hnsw.graph.entry().and_then(|entry| {
            let slot = self.place(entry.slot)?;
            Some(Entry { slot, ..entry })
        });
        of_index.or_else(|| {
            let is_live = |slot: u32| self.linked.get(slot as usize) && !self.hnsw.removed.get(slot);
            let live = (0..slots.len).filter(|&slot| slots.of(slot).is_some_and(is_live));
            let entries = live.map(|slot| Entry {
                slot,
                level: self.level_of(slots, slot),
            });
            entries.max_by_key(|entry| (entry.level, std::cmp::Reverse(entry.slot)))
        })
    }

    /// Writes the sections.
    pub(crate) fn save(&mut self, saver: &mut Saver<'_>) -> io::Result<()> {
        let hnsw = self.hnsw;
        hnsw.contexts.with(|context| self.save_with(saver, context))
    }

    fn save_with(&mut self, saver: &mut Saver<'_>, context: &mut Context<S>) -> io::Result<()> {
        let (base, upper) = self.hnsw.graph.strides();
        let len = saver.slots.len;
        saver.begin(Tag::BASE, u64::from(len) * base as u64)?;
        for slot in 0..len {
            let of = saver.slots.of(slot);
            self.save_list(0, of, base, saver, context)?;
        }
        saver.end()?;
        saver.begin(Tag::NODES, u64::from(len) * 4)?;
        let mut first = 0;
        for slot in 0..len {
            let level = self.level_of(&saver.slots, slot);
            let node = if level > 0 {
                level << LEVEL_SHIFT | first
            } else {
                0
            };
            saver.push(&node.to_le_bytes())?;
            first += level;
        }
        saver.end()?;
        saver.begin(Tag::UPPER, u64::from(self.upper_lists) * upper as u64)?;
        for slot in 0..len {
            let of = saver.slots.of(slot);
            for level in 1..=self.level_of(&saver.slots, slot) {
                self.save_list(level, of, upper, saver, context)?;
            }
        }
        saver.end()
    }

    /// Instead of links to slots that the image has not got, others are written as where a node was removed.
    fn save_list(
        &mut self,
        level: u32,
        slot: Option<u32>,
        stride: usize,
        saver: &mut Saver<'_>,
        context: &mut Context<S>,
    ) -> io::Result<()> {
        // As long as the longest list with its padding.
        let mut list = [0; 4 * 256];
        let mut dropped = 0;
        if let Some(slot) = slot.filter(|&slot| self.linked.get(slot as usize)) {
            // What codes are compared by stays until this is unpinned.
            let _pin = epoch::pin();
            let graph = &self.hnsw.graph;
            let _guard = graph.lock(slot);
            let has = |slot| self.place(slot).is_some();
            let may_come = |slot| has(slot) && !self.hnsw.removed.get(slot);
            let linker = self.hnsw.linker();
            if linker.replace(level, slot, has, may_come, context) {
                graph.neighbors(level, slot, |neighbor| dropped += u64::from(!has(neighbor)));
            }
            let places = context.selector.links.iter().filter_map(|&link| self.place(link));
            for (word, place) in list.chunks_exact_mut(4).zip(places) {
                word.copy_from_slice(&(place + 1).to_le_bytes());
            }
        }
        self.dropped += dropped;
        saver.push(&list[..stride])
    }

    pub(crate) fn summary(&self, slots: &Slots<'_>) -> ImageSummary {
        let count = |is: &dyn Fn(u32) -> bool| (0..slots.len).filter(|&slot| is(slot)).count() as u32;
        let free = count(&|slot| slots.held(slot).is_none());
        let linked = count(&|slot| slots.of(slot).is_some_and(|of| self.linked.get(of as usize)));
        ImageSummary {
            slots: slots.len,
            linked,
            unlinked: slots.len - linked - free,
            free,
            links_dropped: self.dropped,
            ..ImageSummary::default()
        }
    }

    /// All but the table of sections.
    pub(crate) fn trailer(&self) -> Trailer {
        let (level, slot) = self.entry.map_or((0, 0), |entry| (entry.level, entry.slot + 1));
        Trailer {
            linked: self.mark,
            entry_level: level,
            entry_slot_plus_one: slot,
            upper_lists: self.upper_lists,
            unsettled: self.dropped > 0,
            ..Trailer::default()
        }
    }
}

/// Which slots of an image are linked.
pub(super) struct Linked<'a> {
    pub(super) mark: u32,
    pub(super) free: &'a Bitset,
    pub(super) waiting: &'a Bitset,
}

impl Linked<'_> {
    fn has(&self, slot: u32) -> bool {
        slot < self.mark && !self.free.get(slot as usize) && !self.waiting.get(slot as usize)
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|&word| u32::from_le_bytes(word))
}

/// The graph of an image, after every link and every place of a list was looked at: they are followed without
/// questions later.
pub(super) fn load(image: &Image, m: usize, linked: &Linked<'_>) -> Result<Graph, ImageError> {
    let mut graph = Graph::new(m);
    let (base, upper) = graph.strides();
    let trailer = image.trailer();
    let slots = image.slots() as usize;
    let lists = trailer.upper_lists as usize;
    let (base_bytes, node_bytes, upper_bytes) = (
        image.rows(Tag::BASE, base, slots)?,
        image.rows(Tag::NODES, 4, slots)?,
        image.rows(Tag::UPPER, upper, lists)?,
    );
    let levels = check_nodes(image, node_bytes, linked, lists)?;
    let check = Check {
        image,
        linked,
        levels: &levels,
    };
    for (slot, list) in (0..).zip(base_bytes.chunks_exact(base)) {
        let list = &list[..4 * graph.capacity(0)];
        check.list(Tag::BASE, slot as usize * base, slot, 0, list)?;
    }
    let mut at = 0;
    for (slot, &highest) in (0..).zip(&levels) {
        for level in 1..=u32::from(highest) {
            let list = &upper_bytes[at..at + 4 * graph.capacity(level)];
            check.list(Tag::UPPER, at, slot, level, list)?;
            at += upper;
        }
    }
    let entry = trailer.entry_slot_plus_one.checked_sub(1).map(|slot| Entry {
        slot,
        level: trailer.entry_level,
    });
    let is_node =
        |entry: Entry| linked.has(entry.slot) && u32::from(levels[entry.slot as usize]) == entry.level;
    if entry.is_some_and(|entry| !is_node(entry)) {
        return Err(image.damaged_at(Tag::NODES, 0, "the entry is not a linked node of its level"));
    }
    graph.load(
        image.arena(Tag::BASE, base, slots)?,
        image.arena(Tag::NODES, 4, slots)?,
        image.arena(Tag::UPPER, upper, lists)?,
        trailer.upper_lists,
        entry,
    );
    Ok(graph)
}

/// Checks levels and places of upper lists; returns the levels.
fn check_nodes(
    image: &Image,
    nodes: &[u8],
    linked: &Linked<'_>,
    lists: usize,
) -> Result<Vec<u8>, ImageError> {
    let mut levels = Vec::with_capacity(nodes.len() / 4);
    let mut first = 0usize;
    for (slot, node) in (0u32..).zip(words(nodes)) {
        let level = node >> LEVEL_SHIFT;
        let expected = if level > 0 {
            u64::from(level) << LEVEL_SHIFT | first as u64
        } else {
            0
        };
        let is_right = u64::from(node) == expected && level <= LEVEL_MAX && (level == 0 || linked.has(slot));
        if !is_right {
            return Err(image.damaged_at(Tag::NODES, slot as usize * 4, "a node's lists are not its own"));
        }
        first += level as usize;
        levels.push(level as u8);
    }
    if first != lists || lists >= 1 << LEVEL_SHIFT {
        return Err(image.damaged_at(Tag::NODES, 0, "the nodes have other lists than there are"));
    }
    Ok(levels)
}

struct Check<'a> {
    image: &'a Image,
    linked: &'a Linked<'a>,
    levels: &'a [u8],
}

impl Check<'_> {
    fn list(&self, tag: Tag, offset: usize, slot: u32, level: u32, list: &[u8]) -> Result<(), ImageError> {
        let mut ended = false;
        for link in words(list) {
            let Some(to) = link.checked_sub(1) else {
                ended = true;
                continue;
            };
            let leads = !ended
                && to != slot
                && self.linked.has(to)
                && u32::from(self.levels[to as usize]) >= level
                && self.linked.has(slot);
            if !leads {
                let reason = "a link leads where no link may lead";
                return Err(self.image.damaged_at(tag, offset, reason));
            }
        }
        Ok(())
    }
}
