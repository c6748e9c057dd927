//! Traversal finds nearly all of what exact search finds, and the same every time.

use std::cell::Cell;

use longbow_index::{Bitset, Element, Metric, Mode, Params, SearchError, SearchParams, VectorIndex};

use crate::support::{Linked, SCALE, bytes, clustered, search};

const ROWS: usize = 6_000;

#[test]
fn recall_is_high_for_every_type_and_metric() {
    for (element, metric) in [
        (Element::F32, Metric::Cosine),
        (Element::F16, Metric::L2),
        (Element::BF16, Metric::Cosine),
        (Element::F64, Metric::L2),
    ] {
        let linked = Linked::new(element, metric, clustered(ROWS, 24, 1));
        let queries = clustered(50, 24, 2);
        let recall = linked.recall(&queries, 10, 0, &Bitset::full(ROWS));
        assert!(recall >= 0.98, "{element:?} {metric:?}: {recall}");
        let params = SearchParams {
            k: 10,
            ef: 0,
            mode: Mode::Auto,
        };
        let all = Bitset::full(ROWS);
        let (_, stats) = linked
            .index
            .search(&queries[0], &params, &all, &|| false)
            .unwrap();
        assert!(
            !stats.exact && stats.hops > 10 && stats.distances < ROWS as u64 / 2,
            "{stats:?}"
        );
    }
}

#[test]
fn every_other_type_is_searched_like_the_floats() {
    let scaled = |rows: &[Vec<f32>]| -> Vec<Vec<f32>> {
        rows.iter()
            .map(|row| row.iter().map(|x| x * SCALE).collect())
            .collect()
    };
    for element in [
        Element::I8,
        Element::I16,
        Element::I32,
        Element::I64,
        Element::U8,
        Element::U16,
        Element::U32,
        Element::U64,
    ] {
        for metric in [Metric::L2, Metric::Cosine] {
            let mut rows = clustered(4_000, 24, 14);
            // Nothing negative for types that have none; nor for the others, so that all see the same rows.
            rows.iter_mut().flatten().for_each(|x| *x = x.abs());
            let linked = Linked::new(element, metric, rows);
            let mut queries = clustered(30, 24, 15);
            queries.iter_mut().flatten().for_each(|x| *x = x.abs());
            let recall = linked.recall_of_walks(&scaled(&queries), 10, 24, &Bitset::full(4_000));
            assert!(recall >= 0.93, "{element:?} {metric:?}: {recall}");
        }
    }
}

#[test]
fn complex_vectors_are_compared_by_both_parts() {
    for (element, bytes_each) in [(Element::Complex64, 8), (Element::Complex128, 16)] {
        let params = Params::new(element, Metric::Dot, 6);
        let rows = clustered(3_000, 12, 16);
        let linked = Linked::with(params, rows.clone());
        let mut bytes = Vec::new();
        linked.index.vector(5, &mut bytes);
        assert_eq!(bytes.len(), 6 * bytes_each);
        let (found, _) = linked
            .index
            .search(
                &rows[7],
                &SearchParams {
                    k: 1,
                    ef: 0,
                    mode: Mode::Exact,
                },
                &Bitset::full(3_000),
                &|| false,
            )
            .unwrap();
        // The real part of the Hermitian product is the sum of the products of the parts.
        let product = |row: &[f32]| -> f32 {
            let pairs =
                |v: &[f32]| -> Vec<(f32, f32)> { v.as_chunks().0.iter().map(|&[re, im]| (re, im)).collect() };
            pairs(&rows[7])
                .iter()
                .zip(pairs(row))
                .map(|(a, b)| a.0 * b.0 + a.1 * b.1)
                .sum()
        };
        let best = rows.iter().map(|row| product(row)).fold(f32::MIN, f32::max);
        assert!((found[0].distance + best).abs() < 1e-3, "{found:?} {best}");
    }
}

#[test]
fn long_beams_find_what_short_ones_find_and_more() {
    let linked = Linked::new(Element::F32, Metric::L2, clustered(40_000, 8, 3));
    let queries = clustered(10, 8, 4);
    let all = Bitset::full(40_000);
    let (short, long) = (
        linked.recall(&queries, 10, 16, &all),
        linked.recall(&queries, 10, 1_200, &all),
    );
    assert!(short >= 0.8 && long >= 0.999, "{short} {long}");
    assert!(linked.recall(&queries, 500, 0, &all) >= 0.98);
}

#[test]
fn narrow_and_wide_graphs_work() {
    for (m, least) in [(2, 0.3), (5, 0.9), (40, 0.99), (128, 0.99)] {
        let params = Params {
            m,
            ef_construction: 150,
            ..Params::new(Element::F32, Metric::L2, 12)
        };
        let linked = Linked::with(params, clustered(ROWS, 12, 12));
        let recall = linked.recall(&clustered(50, 12, 13), 10, 0, &Bitset::full(ROWS));
        assert!(recall >= least, "{m}: {recall}");
    }
}

#[test]
fn parameters_are_told_as_they_are_used() {
    for ((m, ef_construction), used) in [
        ((16, 200), (16, 200)),
        ((0, 0), (2, 2)),
        ((64, 20), (64, 64)),
        ((1_000, 1_000_000), (128, 10_000)),
    ] {
        let params = Params {
            m,
            ef_construction,
            ..Params::new(Element::F32, Metric::L2, 4)
        };
        let told = *longbow_index::VectorIndex::new(params).params();
        assert_eq!((told.m, told.ef_construction), used);
    }
}

#[test]
fn one_thread_and_one_seed_build_one_graph() {
    let rows = clustered(ROWS, 16, 5);
    let params = Params {
        seed: 9,
        ..Params::new(Element::F16, Metric::Cosine, 16)
    };
    let (a, b) = (Linked::with(params, rows.clone()), Linked::with(params, rows));
    let search = SearchParams {
        k: 10,
        ef: 10,
        mode: Mode::Auto,
    };
    let all = Bitset::full(ROWS);
    for query in clustered(50, 16, 6) {
        let answers = [&a, &b].map(|linked| linked.index.search(&query, &search, &all, &|| false).unwrap());
        assert_eq!(answers[0], answers[1]);
    }
}

#[test]
fn every_row_finds_itself() {
    let linked = Linked::new(Element::F32, Metric::L2, clustered(ROWS, 24, 7));
    let all = Bitset::full(ROWS);
    let rows = linked.rows.lock().unwrap();
    let lost = (0..ROWS).filter(|&row| {
        let params = SearchParams {
            k: 1,
            ef: 64,
            mode: Mode::Auto,
        };
        let (found, _) = linked.index.search(&rows[row], &params, &all, &|| false).unwrap();
        found[0].slot as usize != row
    });
    assert!(lost.count() * 1000 <= ROWS);
}

#[test]
fn rows_are_found_before_they_are_linked() {
    let rows = clustered(ROWS + 500, 16, 8);
    let linked = Linked::new(Element::F32, Metric::Cosine, rows[..ROWS].to_vec());
    linked.append(&rows[ROWS..]);
    let all = Bitset::full(ROWS + 500);
    let finds_itself =
        |row: usize| search(&linked.index, &rows[row], 1, Mode::Auto, &all)[0].slot as usize == row;
    assert_eq!(
        (linked.index.len(), linked.index.linked()),
        (ROWS as u32 + 500, ROWS as u32)
    );
    assert!((ROWS..ROWS + 500).all(finds_itself));
    assert_eq!(linked.index.link(100), 100);
    assert_eq!(linked.index.linked(), ROWS as u32 + 100);
    assert!((ROWS..ROWS + 500).all(finds_itself));
    // What lies beyond the bitmap is not visible yet.
    let before = Bitset::full(ROWS);
    let found = search(&linked.index, &rows[ROWS + 499], 10, Mode::Auto, &before);
    assert!(found.len() == 10 && found.iter().all(|neighbor| (neighbor.slot as usize) < ROWS));
}

#[test]
fn identical_rows_are_all_found() {
    let rows = vec![vec![0.5, -1.0, 2.0]; 3_000];
    let linked = Linked::new(Element::F32, Metric::L2, rows);
    let all = Bitset::full(3_000);
    assert_eq!(linked.recall_of_walks(&[vec![0.0; 3]], 10, 10, &all), 1.0);
    for (k, ef) in [(100, 0), (3_000, 0), (5_000, 0)] {
        assert_eq!(linked.recall(&[vec![0.0; 3]], k, ef, &all), 1.0);
    }
}

#[test]
fn a_search_stops_soon_after_it_is_told() {
    let linked = Linked::new(Element::F32, Metric::L2, clustered(ROWS, 24, 9));
    for mode in [Mode::Auto, Mode::Exact] {
        let asked = Cell::new(0);
        let cancel = || {
            asked.set(asked.get() + 1);
            asked.get() > 1
        };
        let params = SearchParams { k: 10, ef: 200, mode };
        let answer = linked
            .index
            .search(&[0.0; 24], &params, &Bitset::full(ROWS), &cancel);
        assert_eq!((answer.unwrap_err(), asked.get()), (SearchError::Cancelled, 2));
    }
}

#[test]
fn removed_rows_are_not_linked_to() {
    let rows = clustered(ROWS, 16, 10);
    let index = VectorIndex::new(Params::new(Element::F32, Metric::L2, 16));
    index.append(&bytes(&rows, Element::F32)).unwrap();
    while index.link(ROWS / 2) > 0 && index.linked() < ROWS as u32 / 2 {}
    // Every second row goes, linked or not.
    let live: Bitset = (0..ROWS).filter(|row| row % 2 == 0).collect();
    (0..ROWS as u32)
        .filter(|row| row % 2 == 1)
        .for_each(|row| index.remove(row));
    index.remove(u32::MAX);
    while index.link(1000) > 0 {}
    assert_eq!(index.linked(), ROWS as u32);
    let linked = Linked {
        index,
        rows: rows.into(),
    };
    let recall = linked.recall(&clustered(50, 16, 11), 10, 0, &live);
    assert!(recall >= 0.97, "{recall}");
}
