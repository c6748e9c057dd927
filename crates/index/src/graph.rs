//! Where links live: inline lists of fixed stride that readers walk without locks.
//!
//! A link is a slot plus one; zero ends a list. Lists are arrays of atomics: a reader that meets a writer sees a mix
//! of old and new links, all of which lead to published nodes. Writers of one node exclude each other by a lock.

use longbow_kernels::prefetch_lines;

use crate::{
    arena::Arena,
    error::Error,
    sync::{AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering, is_model},
};

const LOCKS: usize = if is_model() { 2 } else { 1024 };
pub(crate) const LEVEL_SHIFT: u32 = 27;
/// Highest level a node may have; five bits.
pub(crate) const LEVEL_MAX: u32 = 31;

/// The links of all nodes on all levels.
pub(crate) struct Graph {
    base: Arena,
    /// Per slot: its level in the top five bits, its first block in `upper` in the others.
    nodes: Arena,
    upper: Arena,
    upper_len: AtomicU32,
    /// Level and slot + 1 of the node where searches begin; 0 for an empty graph.
    entry: AtomicU64,
    entry_lock: Mutex<()>,
    locks: Box<[Mutex<()>]>,
    m: usize,
}

/// Where a search begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) slot: u32,
    pub(crate) level: u32,
}

fn list_stride(links: usize) -> usize {
    let bytes = links * size_of::<AtomicU32>();
    if bytes < 64 {
        bytes.next_power_of_two()
    } else {
        bytes.next_multiple_of(64)
    }
}

impl Graph {
    pub(crate) fn new(m: usize) -> Self {
        Self {
            base: Arena::of::<AtomicU32>(list_stride(2 * m)),
            nodes: Arena::of::<AtomicU32>(size_of::<AtomicU32>()),
            upper: Arena::of::<AtomicU32>(list_stride(m)),
            upper_len: AtomicU32::new(0),
            entry: AtomicU64::new(0),
            entry_lock: Mutex::new(()),
            locks: (0..LOCKS).map(|_| Mutex::new(())).collect(),
            m,
        }
    }

    /// Bytes of a list on the base level, and above.
    pub(crate) fn strides(&self) -> (usize, usize) {
        (self.base.stride(), self.upper.stride())
    }

    /// Takes over lists that were checked: every link, and every node's place of its upper lists.
    pub(crate) fn load(&mut self, base: Arena, nodes: Arena, upper: Arena, lists: u32, entry: Option<Entry>) {
        debug_assert_eq!(self.strides(), (base.stride(), upper.stride()));
        let packed = entry.map_or(0, |entry| {
            u64::from(entry.level) << 32 | u64::from(entry.slot + 1)
        });
        // Nobody else knows of this graph yet.
        self.entry.store(packed, Ordering::Relaxed);
        self.upper_len.store(lists, Ordering::Relaxed);
        (self.base, self.nodes, self.upper) = (base, nodes, upper);
    }

    /// Bytes of memory that the lists take.
    pub(crate) fn memory(&self) -> usize {
        self.base.memory() + self.nodes.memory() + self.upper.memory()
    }

    /// Bytes that the lists of one more node take, on average.
    pub(crate) fn node_bytes(&self) -> usize {
        // Of m nodes on a level, one is on the next.
        let upper = self.upper.stride().div_ceil(self.m.saturating_sub(1).max(1));
        self.base.stride() + self.nodes.stride() + upper
    }

    /// Makes room for the base lists of `slots` slots.
    pub(crate) fn ensure(&self, slots: usize) -> Result<(), Error> {
        self.base.ensure(slots)?;
        self.nodes.ensure(slots)
    }

    /// Most links of a node on a level.
    #[inline(always)]
    pub(crate) fn capacity(&self, level: u32) -> usize {
        if level == 0 { 2 * self.m } else { self.m }
    }

    /// The level of a slot that was linked before; 0 for any other.
    pub(crate) fn level(&self, slot: u32) -> u32 {
        self.node(slot).load(Ordering::Acquire) >> LEVEL_SHIFT
    }

    /// Gives a slot its level and lists above the base, unless it has them from an earlier life; fewer levels if
    /// memory is refused.
    pub(crate) fn raise(&self, slot: u32, level: u32) -> u32 {
        let present = self.level(slot);
        if level == 0 || present > 0 {
            return present;
        }
        let first = self.upper_len.fetch_add(level, Ordering::Relaxed);
        let end = first as usize + level as usize;
        if end >= 1 << LEVEL_SHIFT || self.upper.ensure(end).is_err() {
            return 0;
        }
        self.nodes.touch(slot);
        // Release pairs with `list`: the memory of the lists is there.
        self.node(slot)
            .store(level << LEVEL_SHIFT | first, Ordering::Release);
        level
    }

    #[inline(always)]
    fn node(&self, slot: u32) -> &AtomicU32 {
        // SAFETY: `ensure` ran for every slot before it was published; the word is aligned, zero at first, and
        // only ever used as this atomic.
        unsafe { &*self.nodes.row(slot).cast::<AtomicU32>() }
    }

    /// Where the list of a node on a level above the base stands.
    #[inline(always)]
    fn above(&self, level: u32, slot: u32) -> u32 {
        let node = self.node(slot).load(Ordering::Acquire);
        debug_assert!(level <= node >> LEVEL_SHIFT, "slot {slot} has no level {level}");
        (node & ((1 << LEVEL_SHIFT) - 1)) + level - 1
    }

    /// The list of a node is written to.
    fn touch(&self, level: u32, slot: u32) {
        if level == 0 {
            self.base.touch(slot);
        } else {
            self.upper.touch(self.above(level, slot));
        }
    }

    /// The list of a node on a level it has.
    #[inline(always)]
    pub(crate) fn list(&self, level: u32, slot: u32) -> &[AtomicU32] {
        let row = if level == 0 {
            self.base.row(slot)
        } else {
            self.upper.row(self.above(level, slot))
        };
        // SAFETY: rows hold at least `capacity` words, zero at first, used only as atomics, as long as the arena.
        unsafe { std::slice::from_raw_parts(row.cast::<AtomicU32>(), self.capacity(level)) }
    }

    /// Calls `visit` with the neighbours of a node.
    #[inline(always)]
    pub(crate) fn neighbors(&self, level: u32, slot: u32, mut visit: impl FnMut(u32)) {
        for link in self.list(level, slot) {
            // Acquire pairs with the release of whoever linked the neighbour: its vector and lists are visible.
            match link.load(Ordering::Acquire) {
                0 => break,
                link => visit(link - 1),
            }
        }
    }

    /// Asks for the base list of a slot.
    #[inline(always)]
    pub(crate) fn prefetch(&self, slot: u32) {
        prefetch_lines(self.base.row(slot), self.base.stride().div_ceil(64));
    }

    /// Excludes other writers of this node's lists. Never hold two.
    pub(crate) fn lock(&self, slot: u32) -> MutexGuard<'_, ()> {
        self.locks[slot as usize % LOCKS].lock()
    }

    /// Puts a link behind the `present` links of a list with room; the caller holds the node's lock.
    pub(crate) fn append(&self, level: u32, slot: u32, present: usize, link: u32) {
        self.touch(level, slot);
        self.list(level, slot)[present].store(link + 1, Ordering::Release);
    }

    /// Replaces a list; the caller holds the node's lock or is the only one who knows the node.
    pub(crate) fn write(&self, level: u32, slot: u32, links: &[u32]) {
        let list = self.list(level, slot);
        debug_assert!(links.len() <= list.len());
        self.touch(level, slot);
        for (place, &link) in list.iter().zip(links) {
            place.store(link + 1, Ordering::Release);
        }
        // Relaxed: whoever reads an old link here meets a node that was not freed since its pin, and a link appended
        // later is released after these.
        for place in &list[links.len()..] {
            place.store(0, Ordering::Relaxed);
        }
    }

    /// Empties the lists of a node that nobody can reach.
    pub(crate) fn clear(&self, slot: u32) {
        for level in 0..=self.level(slot) {
            self.write(level, slot, &[]);
        }
    }

    /// If the entry is one that goes, or there is none, makes the highest of the others the entry, or none.
    pub(crate) fn replace_entry(&self, goes: impl Fn(u32) -> bool, others: impl Iterator<Item = u32>) {
        let _guard = self.entry_lock.lock();
        if self.entry().is_none_or(|entry| goes(entry.slot)) {
            let highest = others
                .map(|slot| (self.level(slot), slot))
                .max_by_key(|&(level, _)| level);
            let packed = highest.map_or(0, |(level, slot)| u64::from(level) << 32 | u64::from(slot + 1));
            self.entry.store(packed, Ordering::Release);
        }
    }

    /// Where searches begin. Acquire pairs with the release of whoever made it the entry: its row and lists are seen.
    #[inline(always)]
    pub(crate) fn entry(&self) -> Option<Entry> {
        let packed = self.entry.load(Ordering::Acquire);
        let slot = (packed as u32).checked_sub(1)?;
        Some(Entry {
            slot,
            level: (packed >> 32) as u32,
        })
    }

    /// Makes a fully linked node the entry if it is higher than the present one; says whether it is the first.
    pub(crate) fn offer_entry(&self, slot: u32, level: u32) -> bool {
        let _guard = self.entry_lock.lock();
        let present = self.entry();
        if present.is_none_or(|entry| level > entry.level) {
            let packed = u64::from(level) << 32 | u64::from(slot + 1);
            self.entry.store(packed, Ordering::Release);
        }
        present.is_none()
    }
}
