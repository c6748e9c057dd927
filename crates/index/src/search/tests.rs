//! Searches beside a linker that is slow, and under filters that leave a hole.

use longbow_kernels::{Element, Metric};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::*;
use crate::{params::Params, store::Store};

/// Rows on a circle, so that neighbours are known; slot `slow` stays claimed and unlinked.
fn circle(rows: u32, slow: Option<u32>) -> Hnsw<Store> {
    let hnsw = Hnsw::new(Params::new(Element::F32, Metric::L2, 2));
    let angle = |row: u32| row as f32 / rows as f32 * std::f32::consts::TAU;
    let vectors: Vec<u8> = (0..rows)
        .flat_map(|row| [angle(row).cos(), angle(row).sin()])
        .flat_map(f32::to_ne_bytes)
        .collect();
    hnsw.append(&vectors).unwrap();
    if let Some(slow) = slow {
        hnsw.link(slow as usize);
        assert_eq!(hnsw.claim(), Some(slow));
    }
    while hnsw.link(100) > 0 {}
    hnsw
}

fn search(hnsw: &Hnsw<Store>, query: [f32; 2], allow: &Bitset) -> (Vec<Neighbor>, Stats) {
    let params = SearchParams {
        k: 10,
        ef: 32,
        mode: Mode::Auto,
    };
    let mut out = Vec::new();
    let stats = hnsw
        .search((&query).into(), &params, allow, &|| false, None, &mut out)
        .unwrap();
    (out, stats)
}

#[test]
fn a_slow_linker_does_not_make_searches_scan_what_is_linked() {
    let (rows, slow) = (30_000, 10_000);
    let hnsw = circle(rows, Some(slow));
    assert_eq!(hnsw.linked(), slow);
    let all: Bitset = (0..rows as usize).collect();
    // Near slot 20,000: everything the graph has to say lies in the part that is scanned anyway.
    let angle = 2.0 / 3.0 * std::f32::consts::TAU;
    let (found, stats) = search(&hnsw, [angle.cos(), angle.sin()], &all);
    assert!(
        found.iter().all(|found| found.slot.abs_diff(20_000) <= 6),
        "{found:?}"
    );
    assert!(!stats.exact);
    assert!(stats.distances < u64::from(rows - slow) + 2_000, "{stats:?}");
}

#[test]
fn deleted_rows_round_the_query_cost_a_second_walk_and_no_recall() {
    let rows = 30_000;
    let hnsw = circle(rows, None);
    let gap = 14_980..15_020;
    let allow: Bitset = (0..rows as usize).filter(|row| !gap.contains(row)).collect();
    let (found, stats) = search(&hnsw, [-1.0, 0.0], &allow);
    assert_eq!(found.len(), 10);
    assert!(
        found.iter().all(|found| found.slot.abs_diff(15_000) <= 25),
        "{found:?}"
    );
    assert!(!stats.exact, "{stats:?}");
}

#[test]
fn allowed_nodes_that_do_not_hang_together_are_found_through_the_others() {
    let (rows, dimension) = (20_000, 16);
    let mut params = Params::new(Element::F32, Metric::L2, dimension);
    (params.m, params.ef_construction) = (4, 30);
    let hnsw = Hnsw::<Store>::new(params);
    let mut rng = SmallRng::seed_from_u64(7);
    let mut vector = || -> Vec<f32> { (0..dimension).map(|_| rng.random_range(-1.0..1.0)).collect() };
    let bytes: Vec<u8> = (0..rows)
        .flat_map(|_| vector())
        .flat_map(f32::to_ne_bytes)
        .collect();
    hnsw.append(&bytes).unwrap();
    while hnsw.link(100) > 0 {}
    // Of the nodes one and two links away from one, one or two.
    let allow: Bitset = (0..rows).filter(|row| row * 7919 % rows < rows / 80).collect();
    let manner = |plan| Manner {
        plan,
        hidden: None,
        clock: None,
    };
    let ask = |plan: fn(&Task) -> Plan, query: &[f32]| {
        let (mut out, params) = (
            Vec::new(),
            SearchParams {
                k: 10,
                ef: 120,
                mode: Mode::Auto,
            },
        );
        let stats = hnsw.search_by(manner(plan), query.into(), &params, &allow, &|| false, &mut out);
        (out, stats.unwrap())
    };
    let (mut hits, mut others) = (0, 0);
    for _ in 0..50 {
        let query = vector();
        let (found, stats) = ask(|_| Plan::TwoHop { far: false }, &query);
        let (exact, _) = ask(|_| Plan::Scan, &query);
        others += u32::from(stats.way == Way::Filtered);
        hits += found.iter().filter(|found| exact.contains(found)).count();
    }
    assert!(others > 25, "{others} walks went on through all nodes");
    assert!(hits >= 475, "{hits} of 500");
}
