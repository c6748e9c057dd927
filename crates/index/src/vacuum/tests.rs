//! What a pass owes to nodes that its luck, or that of insertions beside it, has left behind.

use std::sync::mpsc;

use longbow_kernels::{Element, Metric};

use super::*;
use crate::{params::Params, store::Store};

const ROWS: u32 = 2_000;

/// Rows on a circle, linked.
fn circle(rows: u32) -> Hnsw<Store> {
    let hnsw = Hnsw::new(Params::new(Element::F32, Metric::L2, 2));
    hnsw.append(&(0..rows).flat_map(row).collect::<Vec<u8>>())
        .unwrap();
    while hnsw.link(100) > 0 {}
    hnsw
}

fn row(slot: u32) -> Vec<u8> {
    let angle = slot as f32 * 0.7;
    [angle.cos(), angle.sin()]
        .into_iter()
        .flat_map(f32::to_ne_bytes)
        .collect()
}

/// Until there is nothing to do; pins of other tests may hold a pass up.
fn vacuum(hnsw: &Hnsw<Store>) {
    while hnsw.vacuum(1_000) > 0 || !matches!(hnsw.vacuum.pass.lock().step, Step::Rest) {
        std::thread::yield_now();
    }
}

/// Slots that cannot be reached from the entry on the base level: the plain way, to hold the pass against.
fn unreachable(hnsw: &Hnsw<Store>) -> Vec<u32> {
    let mut reached = vec![false; hnsw.len() as usize];
    let mut open: Vec<u32> = hnsw.graph.entry().map(|entry| entry.slot).into_iter().collect();
    while let Some(slot) = open.pop() {
        if !std::mem::replace(&mut reached[slot as usize], true) {
            hnsw.graph.neighbors(0, slot, |neighbor| open.push(neighbor));
        }
    }
    (0..hnsw.len())
        .filter(|&slot| !reached[slot as usize] && !hnsw.removed.get(slot))
        .collect()
}

/// Takes away every link to a node on the base level.
fn cut_off(hnsw: &Hnsw<Store>, slot: u32) {
    for other in 0..hnsw.len() {
        let mut links = Vec::new();
        hnsw.graph.neighbors(0, other, |link| links.push(link));
        links.retain(|&link| link != slot);
        hnsw.graph.write(0, other, &links);
    }
}

#[test]
fn a_pass_goes_on_whoever_calls() {
    let hnsw = circle(ROWS);
    (0..200).for_each(|slot| hnsw.remove(slot));
    // Linking one again, which nothing leads to and which loses no link itself, is the last that a call does before the
    // pass waits.
    let keeps_all = |&slot: &u32| {
        let mut keeps = true;
        hnsw.graph.neighbors(0, slot, |link| keeps &= link >= 200);
        keeps
    };
    cut_off(&hnsw, (200..ROWS).rfind(keeps_all).unwrap());
    let (reached, wait) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let hnsw = &hnsw;
        scope.spawn(move || {
            loop {
                hnsw.vacuum(1);
                assert_eq!(hnsw.vacuum.free(), 0, "the pass ended by one thread alone");
                if matches!(hnsw.vacuum.pass.lock().step, Step::Drain(_)) {
                    break;
                }
                std::thread::yield_now();
            }
            reached.send(()).unwrap();
            let _ = ended.recv();
        });
        wait.recv().unwrap();
        vacuum(hnsw);
        let free = hnsw.vacuum.free();
        drop(end);
        assert_eq!(free, 200);
    });
}

#[test]
fn what_was_linked_while_there_was_no_entry_is_linked_to_the_next_one() {
    let hnsw = circle(ROWS);
    hnsw.graph.replace_entry(|_| true, std::iter::empty());
    hnsw.append(&row(ROWS)).unwrap();
    assert_eq!(hnsw.link(10), 1);
    assert_eq!(hnsw.graph.entry().unwrap().slot, ROWS);
    assert_eq!(unreachable(&hnsw).len(), ROWS as usize);
    vacuum(&hnsw);
    assert!(unreachable(&hnsw).is_empty());
}

#[test]
fn a_pass_finds_an_entry_where_there_is_none() {
    let hnsw = circle(ROWS);
    hnsw.graph.replace_entry(|_| true, std::iter::empty());
    (0..200).for_each(|slot| hnsw.remove(slot));
    vacuum(&hnsw);
    assert!(unreachable(&hnsw).is_empty());
    assert!(hnsw.graph.entry().is_some_and(|entry| entry.slot >= 200));
}

#[test]
fn a_node_that_only_upper_levels_lead_to_is_linked_to_others() {
    let hnsw = circle(ROWS);
    let entry = hnsw.graph.entry().unwrap();
    let high: Vec<u32> = (0..ROWS)
        .filter(|&slot| slot != entry.slot && hnsw.graph.level(slot) > 0)
        .collect();
    assert!(high.len() > 50);
    high.iter().for_each(|&slot| cut_off(&hnsw, slot));
    assert!(unreachable(&hnsw).len() >= high.len());
    hnsw.vacuum.unlinked();
    vacuum(&hnsw);
    assert!(unreachable(&hnsw).is_empty());
    for slot in 0..ROWS {
        hnsw.graph.neighbors(0, slot, |link| assert_ne!(link, slot));
    }
}

#[test]
fn removing_twice_counts_once() {
    let hnsw = circle(ROWS);
    (0..3).for_each(|_| hnsw.remove(5));
    assert_eq!(hnsw.vacuum.removed.load(Ordering::Relaxed), 1);
    (0..100).for_each(|slot| hnsw.remove(slot));
    vacuum(&hnsw);
    assert_eq!(hnsw.vacuum.free(), 100);
    assert_eq!(hnsw.vacuum.removed.load(Ordering::Relaxed), 0);
}

#[test]
fn a_slot_that_waits_is_not_freed_before_it_was_its_turn() {
    let hnsw = circle(ROWS);
    hnsw.remove(7);
    (100..200).for_each(|slot| hnsw.remove(slot));
    vacuum(&hnsw);
    let mut slots = Vec::new();
    hnsw.insert(&row(7), &mut slots).unwrap();
    hnsw.remove(slots[0]);
    (200..300).for_each(|slot| hnsw.remove(slot));
    vacuum(&hnsw);
    assert_eq!(hnsw.vacuum.free(), 100 + 100);
    assert_eq!(hnsw.link(10), 1);
    (300..400).for_each(|slot| hnsw.remove(slot));
    vacuum(&hnsw);
    assert_eq!(hnsw.vacuum.free(), 100 + 100 + 1 + 100);
}

#[test]
fn what_is_removed_before_it_is_linked_waits_for_its_turn() {
    let hnsw = Hnsw::<Store>::new(Params::new(Element::F32, Metric::L2, 2));
    hnsw.append(&row(0)).unwrap();
    hnsw.remove(0);
    assert_eq!(hnsw.vacuum(1), 0);
    let hnsw = circle(ROWS);
    hnsw.append(&(0..ROWS).flat_map(row).collect::<Vec<u8>>())
        .unwrap();
    (ROWS..ROWS + 200).for_each(|slot| hnsw.remove(slot));
    assert_eq!(hnsw.vacuum(1_000), 0);
    while hnsw.link(100) > 0 {}
    vacuum(&hnsw);
    assert_eq!(hnsw.vacuum.free(), 200);
}

#[test]
fn a_removed_equal_point_is_not_handed_on_to_a_node_that_was_looked_through() {
    const EQUAL: u32 = 60;
    let equal = row(0).repeat(EQUAL as usize);
    for stop in 1..EQUAL {
        let hnsw = Hnsw::<Store>::new(Params {
            m: 4,
            ..Params::new(Element::F32, Metric::L2, 2)
        });
        hnsw.append(&equal).unwrap();
        while hnsw.link(100) > 0 {}
        (0..EQUAL).step_by(2).for_each(|slot| hnsw.remove(slot));
        while !matches!(hnsw.vacuum.pass.lock().step, Step::Sweep { .. }) {
            hnsw.vacuum(1);
        }
        hnsw.vacuum(stop as usize);
        hnsw.append(&equal[..row(0).len() * 8]).unwrap();
        while hnsw.link(100) > 0 {}
        vacuum(&hnsw);
        for slot in (0..hnsw.len()).filter(|&slot| !hnsw.gone.get(slot)) {
            let leads = |to: u32| assert!(!hnsw.gone.get(to), "{slot} leads to {to}, which is free");
            hnsw.graph.neighbors(0, slot, leads);
        }
    }
}

#[test]
fn a_graph_that_is_to_be_mended_is_not_at_rest() {
    let hnsw = circle(ROWS);
    hnsw.vacuum.unlinked();
    assert!(hnsw.quiet(&hnsw.vacuum.hold()).is_none());
    vacuum(&hnsw);
    assert!(hnsw.quiet(&hnsw.vacuum.hold()).is_some());
}

#[test]
fn removed_rows_are_not_found_by_whoever_allows_them() {
    let hnsw = circle(ROWS);
    (0..ROWS).step_by(2).for_each(|slot| hnsw.remove(slot));
    let all = Bitset::full(ROWS as usize);
    let mut out = Vec::new();
    let stats = hnsw
        .scan((&[1.0f32, 0.0]).into(), 10, 0..ROWS, &all, &|| false, &mut out)
        .unwrap();
    assert!(stats.exact && out.len() == 10);
    assert!(out.iter().all(|found| found.slot % 2 == 1), "{out:?}");
    let mut bytes = Vec::new();
    assert!(!hnsw.vector(2, &mut bytes) && bytes.is_empty());
}
