//! The life of a slot: searches, insertions and removals beside a pass.

use std::sync::Arc;

use longbow_kernels::Bitset;
use loom::thread;

use super::{Index, SLOTS, explore, line, settle, value, walk};
use crate::{
    params::{Mode, SearchParams},
    sync::{AtomicU32, Ordering},
};

/// The rows found in an answer of all that is allowed.
fn search(index: &Index, allow: &Bitset) -> Vec<(u32, f32)> {
    let params = SearchParams {
        k: SLOTS,
        ef: 0,
        mode: Mode::Auto,
    };
    let mut out = Vec::new();
    index
        .search((&[0.0f32]).into(), &params, allow, &|| false, None, &mut out)
        .unwrap();
    out.iter().map(|found| (found.slot, found.distance)).collect()
}

/// What is met from the entry, in order of slots.
fn met(index: &Index) -> Vec<u32> {
    let mut slots = walk(index, 0.0);
    slots.sort_unstable();
    slots
}

/// A slot is written again only when no search that could have met it runs.
#[test]
fn a_slot_is_not_written_while_a_search_may_be_there() {
    explore(2, || {
        let index = Arc::new(line(3));
        index.remove(1);
        let searcher = {
            let index = Arc::clone(&index);
            thread::spawn(move || walk(&index, 10.0))
        };
        for _ in 0..3 {
            index.vacuum(100);
        }
        let mut slots = Vec::new();
        index.insert(&1.0f32.to_ne_bytes(), &mut slots).unwrap();
        let seen = searcher.join().unwrap();
        assert!(seen.contains(&0) && seen.contains(&2), "{seen:?}");
        settle(&index);
        assert!(met(&index).contains(&slots[0]));
    });
}

/// An insertion that chose its links before a slot was removed may still link to it; the pass waits for it.
#[test]
fn no_link_leads_to_a_free_slot() {
    explore(2, || {
        let index = Arc::new(line(2));
        index.append(&value(2)).unwrap();
        let linker = {
            let index = Arc::clone(&index);
            thread::spawn(move || index.link(1))
        };
        index.remove(1);
        for _ in 0..3 {
            index.vacuum(100);
        }
        if index.vacuum.free() == 1 {
            for slot in [0, 2] {
                index.graph.neighbors(0, slot, |link| assert_ne!(link, 1));
            }
        }
        assert_eq!(linker.join().unwrap(), 1);
        settle(&index);
        assert_eq!((met(&index), index.vacuum.free()), (vec![0, 2], 1));
    });
}

/// Searches begun after an insertion find its row, once, whether it waits, is being linked, or is linked.
#[test]
fn a_row_in_a_used_slot_is_found_once_from_the_first_moment() {
    explore(2, || {
        let index = Arc::new(line(3));
        index.remove(1);
        settle(&index);
        assert_eq!(index.vacuum.free(), 1);
        let shown = Arc::new(AtomicU32::new(0));
        let inserter = {
            let (index, shown) = (Arc::clone(&index), Arc::clone(&shown));
            thread::spawn(move || {
                let mut slots = Vec::new();
                index.insert(&1.0f32.to_ne_bytes(), &mut slots).unwrap();
                assert_eq!(slots, [1]);
                shown.store(1, Ordering::Release);
            })
        };
        let linker = {
            let index = Arc::clone(&index);
            thread::spawn(move || index.link(1))
        };
        if shown.load(Ordering::Acquire) == 1 {
            // In this order, as searches look.
            let waits = index.waiting.get(1);
            let meets = met(&index).contains(&1);
            assert!(waits || meets);
            if meets {
                let mut links = 0;
                index.graph.neighbors(0, 1, |_| links += 1);
                assert!(links > 0, "met before it was complete");
            }
            assert_eq!(search(&index, &Bitset::full(3)), [(0, 0.0), (1, 1.0), (2, 400.0)]);
        } else {
            let before: Bitset = [0, 2].into_iter().collect();
            assert_eq!(search(&index, &before), [(0, 0.0), (2, 400.0)]);
        }
        inserter.join().unwrap();
        linker.join().unwrap();
        settle(&index);
        assert_eq!(met(&index), [0, 1, 2]);
    });
}

/// A pass that begins while a slot comes back to life leaves it alive.
#[test]
fn a_slot_that_comes_back_is_not_doomed() {
    explore(2, || {
        let index = Arc::new(line(3));
        index.remove(1);
        settle(&index);
        let inserter = {
            let index = Arc::clone(&index);
            thread::spawn(move || {
                let mut slots = Vec::new();
                index.insert(&1.0f32.to_ne_bytes(), &mut slots).unwrap();
                index.link(1);
                slots
            })
        };
        index.remove(2);
        index.vacuum(1);
        let slot = inserter.join().unwrap()[0];
        settle(&index);
        assert!(!index.removed.get(slot) && !index.gone.get(slot));
        assert_eq!((met(&index), index.vacuum.free()), (vec![0, slot], 1));
    });
}

/// A row that is removed while it waits or is being linked is freed once, and the count of removed ones ends at none.
#[test]
fn a_slot_that_is_removed_at_once_is_freed_once() {
    explore(2, || {
        let index = Arc::new(line(3));
        index.remove(1);
        settle(&index);
        let mut slots = Vec::new();
        index.insert(&1.0f32.to_ne_bytes(), &mut slots).unwrap();
        let linker = {
            let index = Arc::clone(&index);
            thread::spawn(move || index.link(1))
        };
        let remover = {
            let index = Arc::clone(&index);
            thread::spawn(move || index.remove(1))
        };
        index.vacuum(1);
        linker.join().unwrap();
        remover.join().unwrap();
        // Ends only if nothing is counted as removed any more.
        settle(&index);
        assert_eq!((met(&index), index.vacuum.free()), (vec![0, 2], 1));
    });
}

/// The entry goes while another node is linked.
#[test]
fn what_is_linked_while_the_entry_goes_is_met_from_the_next() {
    explore(2, || {
        let index = Arc::new(line(1));
        index.append(&value(1)).unwrap();
        index.remove(0);
        let linker = {
            let index = Arc::clone(&index);
            thread::spawn(move || index.link(1))
        };
        for _ in 0..3 {
            index.vacuum(100);
        }
        index.append(&value(2)).unwrap();
        index.link(1);
        linker.join().unwrap();
        settle(&index);
        assert_eq!((met(&index), index.vacuum.free()), (vec![1, 2], 1));
    });
}
