//! The parts alone. Readers are threads of their own: loom lets the first thing that the main one does come first.

use std::sync::Arc;

use loom::thread;

use super::{Cell, explore};
use crate::{
    arena::Arena,
    bits::Bits,
    context::Contexts,
    graph::Graph,
    progress::Progress,
    sync::{AtomicU32, Ordering},
};

#[test]
fn a_context_is_one_threads_at_a_time() {
    #[derive(Default)]
    struct Scratch(Cell);

    explore(3, || {
        let contexts = Arc::new(Contexts::<Scratch>::new());
        let work = |contexts: &Contexts<Scratch>| {
            contexts.with(|scratch| scratch.0.write(scratch.0.read() + 1.0));
        };
        work(&contexts);
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let contexts = Arc::clone(&contexts);
                thread::spawn(move || work(&contexts))
            })
            .collect();
        work(&contexts);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_row_is_there_when_its_number_is_known() {
    explore(3, || {
        let arena = Arc::new(Arena::of::<AtomicU32>(size_of::<AtomicU32>()));
        let len = Arc::new(AtomicU32::new(0));
        arena.ensure(1).unwrap();
        let growers = [2, 5].map(|rows| {
            let (arena, len) = (Arc::clone(&arena), Arc::clone(&len));
            thread::spawn(move || {
                arena.ensure(rows).unwrap();
                len.fetch_max(rows as u32, Ordering::Release);
            })
        });
        let reader = {
            let (arena, len) = (Arc::clone(&arena), Arc::clone(&len));
            thread::spawn(move || {
                let row = len.load(Ordering::Acquire).saturating_sub(1);
                let address = arena.row(row);
                assert!(address as usize > 1 << 16, "row {row} has no memory");
                // SAFETY: that there is memory, made into atomics, is what this is about.
                let word = unsafe { &*address.cast::<AtomicU32>() };
                assert_eq!(word.load(Ordering::Relaxed), 0);
            })
        };
        growers.into_iter().for_each(|grower| grower.join().unwrap());
        reader.join().unwrap();
        assert!(arena.row(4) as usize > 1 << 16);
    });
}

/// The rows and lists of nodes are written before links lead to them.
#[test]
fn whoever_meets_a_node_finds_it_complete() {
    explore(3, || {
        let graph = Arc::new(Graph::new(2));
        graph.ensure(4).unwrap();
        let rows: Arc<[Cell; 4]> = Arc::default();
        let link = |graph: &Graph, rows: &[Cell; 4], slot: u32, height: u32| {
            rows[slot as usize].write(slot as f32);
            assert_eq!(graph.raise(slot, 1), 1);
            graph.write(0, slot, &[0]);
            graph.write(1, slot, &[0]);
            for level in [1, 0] {
                let _guard = graph.lock(0);
                let mut present = 0;
                graph.neighbors(level, 0, |_| present += 1);
                if present < graph.capacity(level) {
                    graph.append(level, 0, present, slot);
                } else {
                    graph.write(level, 0, &[slot]);
                }
            }
            graph.offer_entry(slot, height);
        };
        graph.raise(0, 1);
        graph.offer_entry(0, 0);
        link(&graph, &rows, 3, 1);
        let writers = [1, 2].map(|slot| {
            let (graph, rows) = (Arc::clone(&graph), Arc::clone(&rows));
            thread::spawn(move || link(&graph, &rows, slot, 1 + slot))
        });
        let reader = {
            let (graph, rows) = (Arc::clone(&graph), Arc::clone(&rows));
            thread::spawn(move || {
                let look = |slot: u32| {
                    assert!(slot == 0 || rows[slot as usize].read() == slot as f32);
                    for level in 0..=graph.level(slot) {
                        let mut links = 0;
                        graph.neighbors(level, slot, |_| links += 1);
                        assert!(links > 0, "slot {slot} has no links on level {level}");
                    }
                };
                look(graph.entry().unwrap().slot);
                graph.neighbors(0, 0, look);
            })
        };
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        reader.join().unwrap();
        let mut links = Vec::new();
        graph.neighbors(0, 0, |slot| links.push(slot));
        links.sort_unstable();
        assert_eq!(links, [1, 2, 3], "a link was lost");
    });
}

/// A list that is replaced by a shorter one and grows again leads nowhere else meanwhile.
#[test]
fn no_link_stands_behind_the_end_of_a_list() {
    explore(3, || {
        let graph = Arc::new(Graph::new(2));
        graph.ensure(6).unwrap();
        graph.write(0, 0, &[1, 2, 3]);
        let writer = {
            let graph = Arc::clone(&graph);
            thread::spawn(move || {
                let _guard = graph.lock(0);
                graph.write(0, 0, &[4]);
                graph.append(0, 0, 1, 5);
            })
        };
        let mut links = Vec::new();
        graph.neighbors(0, 0, |slot| links.push(slot));
        // The first may be the old one still.
        if links.get(1) == Some(&5) {
            assert_eq!(links.len(), 2, "{links:?}");
        }
        writer.join().unwrap();
        links.clear();
        graph.neighbors(0, 0, |slot| links.push(slot));
        assert_eq!(links, [4, 5]);
    });
}

#[test]
fn what_is_below_the_mark_is_done() {
    explore(3, || {
        let progress = Arc::new(Progress::default());
        let rows: Arc<[Cell; 3]> = Arc::default();
        let work = |progress: &Progress, rows: &[Cell; 3]| {
            while let Some(slot) = progress.claim(3) {
                rows[slot as usize].write(1.0);
                progress.complete(slot);
            }
        };
        let workers = [0, 1].map(|_| {
            let (progress, rows) = (Arc::clone(&progress), Arc::clone(&rows));
            thread::spawn(move || work(&progress, &rows))
        });
        let reader = {
            let (progress, rows) = (Arc::clone(&progress), Arc::clone(&rows));
            thread::spawn(move || {
                let done = progress.done() as usize;
                assert!(rows[..done].iter().all(|row| row.read() == 1.0));
            })
        };
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        reader.join().unwrap();
        assert_eq!((progress.done(), progress.claim(3)), (3, None));
    });
}

#[test]
fn of_two_that_set_a_bit_one_was_first_and_what_was_done_before_a_clear_is_seen() {
    explore(3, || {
        let bits = Arc::new(Bits::new());
        bits.ensure(2).unwrap();
        bits.set(1);
        let row: Arc<Cell> = Arc::default();
        let setters = [0, 1].map(|_| {
            let bits = Arc::clone(&bits);
            thread::spawn(move || bits.set(0))
        });
        let clearer = {
            let (bits, row) = (Arc::clone(&bits), Arc::clone(&row));
            thread::spawn(move || {
                row.write(1.0);
                bits.clear(1);
            })
        };
        if !bits.get(1) {
            assert_eq!(row.read(), 1.0);
        }
        let first = setters.map(|setter| setter.join().unwrap());
        clearer.join().unwrap();
        assert!(first[0] ^ first[1]);
        assert!(bits.get(0) && !bits.get(1));
    });
}
