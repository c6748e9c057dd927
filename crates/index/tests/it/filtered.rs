//! Filters never cost results, whatever their share and wherever the matching rows lie.

use std::sync::OnceLock;

use longbow_index::{Bitset, Element, Metric, Mode, SearchParams};

use crate::support::{Linked, clustered};

const ROWS: usize = 40_000;
const DIMENSION: usize = 8;

/// One index for all tests here.
fn linked() -> &'static Linked {
    static LINKED: OnceLock<Linked> = OnceLock::new();
    LINKED.get_or_init(|| Linked::new(Element::F32, Metric::L2, clustered(ROWS, DIMENSION, 21)))
}

/// Scattered rows.
fn scattered(share: f64) -> Bitset {
    (0..ROWS)
        .filter(|row| ((row * 7919 % ROWS) as f64) < share * ROWS as f64)
        .collect()
}

#[test]
fn recall_holds_at_every_share() {
    let queries = clustered(25, DIMENSION, 22);
    for share in [0.0001, 0.001, 0.01, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.9, 0.999] {
        for (ef, least) in [(0, 0.97), (20, 0.7)] {
            let recall = linked().recall(&queries, 10, ef, &scattered(share));
            assert!(recall >= least, "{share} with ef {ef}: {recall}");
        }
    }
}

#[test]
fn every_way_of_searching_is_taken() {
    let query = &clustered(1, DIMENSION, 25)[0];
    // (share, k, ef, whether all allowed rows are compared)
    for (share, k, ef, exact) in [
        (0.05, 10, 10, true),
        (0.19, 1, 1, false),
        (0.5, 10, 10, false),
        (0.15, 10, 0, true),
    ] {
        let params = SearchParams {
            k,
            ef,
            mode: Mode::Auto,
        };
        let (_, stats) = linked()
            .index
            .search(query, &params, &scattered(share), &|| false)
            .unwrap();
        assert_eq!(stats.exact, exact, "{share} {ef} {stats:?}");
        assert!(
            exact || stats.distances < (share * ROWS as f64) as u64,
            "{share} {ef} {stats:?}"
        );
    }
}

#[test]
fn recall_holds_where_all_matches_are_far_away() {
    let linked = linked();
    let queries = clustered(10, DIMENSION, 23);
    for query in &queries {
        let rows = linked.rows.lock().unwrap();
        let mut by_distance: Vec<usize> = (0..ROWS).collect();
        let distance =
            |row: usize| -> f32 { rows[row].iter().zip(query).map(|(a, b)| (a - b).powi(2)).sum() };
        by_distance.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)));
        drop(rows);
        for share in [0.02, 0.15, 0.4] {
            let far = &by_distance[ROWS - (share * ROWS as f64) as usize..];
            let allow: Bitset = far.iter().copied().collect();
            let recall = linked.recall(std::slice::from_ref(query), 10, 0, &allow);
            assert!(recall >= 0.9, "{share}: {recall}");
        }
    }
}

#[test]
fn never_fewer_than_k_while_k_are_allowed() {
    let linked = linked();
    let query = &clustered(1, DIMENSION, 24)[0];
    for allowed in [0, 1, 9, 10, 11, 500, 3_000, 19_999] {
        let allow: Bitset = (0..allowed).map(|row| ROWS - 1 - row).collect();
        for k in [1, 10, 1_000, 30_000] {
            for (ef, mode) in [(1, Mode::Auto), (0, Mode::Auto), (0, Mode::Exact)] {
                let params = SearchParams { k, ef, mode };
                let (found, _) = linked.index.search(query, &params, &allow, &|| false).unwrap();
                assert_eq!(found.len(), k.min(allowed), "{allowed} {k} {ef} {mode:?}");
            }
        }
    }
}

#[test]
fn a_few_deleted_rows_change_nothing_about_the_cost() {
    let queries = clustered(20, DIMENSION, 26);
    let cost = |allow: &Bitset| -> u64 {
        let params = SearchParams {
            k: 10,
            ef: 0,
            mode: Mode::Auto,
        };
        queries
            .iter()
            .map(|query| {
                linked()
                    .index
                    .search(query, &params, allow, &|| false)
                    .unwrap()
                    .1
                    .distances
            })
            .sum()
    };
    let all = cost(&scattered(1.0));
    let most = cost(&scattered(0.97));
    assert!(
        most * 10 <= all * 12,
        "{all} distances without deletes, {most} with"
    );
}
