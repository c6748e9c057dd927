//! Codes made for other data tell next to nothing, so searches compare vectors until codes are made anew, beside
//! everything else. What codes are made for is what is held, not what is gone or stands far apart.

use std::sync::atomic::{AtomicBool, Ordering};

use longbow_index::{Bitset, Element, Metric, Mode, Params, Quantization, SearchParams};

use crate::support::{Linked, Stop, bytes, check, clustered, gaussian, image, opened, search};

const FIRST: usize = 5_000;
const EF: usize = 40;

/// Clustered rows around a common mean.
fn around(mean: f32, rows: usize, dimension: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut rows = clustered(rows, dimension, seed);
    rows.iter_mut().flatten().for_each(|x| *x += mean);
    rows
}

fn retrain(linked: &Linked) -> usize {
    std::iter::from_fn(|| Some(linked.index.retrain(100)).filter(|&done| done > 0)).sum()
}

#[test]
fn drift_costs_no_recall_before_and_after_codes_are_made_anew() {
    for (metric, mean, codes, least) in [
        (Metric::L2, 300.0, Quantization::Sq8, 0.95),
        (Metric::L2, 300.0, Quantization::Sq4, 0.95),
        // Here codes still tell clusters apart, and hardly the rows of one.
        (Metric::Cosine, 7.0, Quantization::Sq4, 0.8),
    ] {
        let params = Params::new(Element::F32, metric, 40);
        let linked = Linked::quantized(params, codes, around(0.0, FIRST, 40, 71));
        assert_eq!(retrain(&linked), 0, "nothing has drifted");
        // Written over the first rows, as rows that are replaced are.
        for slot in 0..FIRST as u32 {
            linked.index.remove(slot);
        }
        while linked.index.vacuum(1000) > 0 || linked.index.free() == 0 {}
        let rows = around(mean, FIRST, 40, 72);
        let mut slots = Vec::new();
        linked
            .index
            .insert(&bytes(&rows, Element::F32), &mut slots)
            .unwrap();
        let mut ordered = linked.rows.lock().unwrap();
        for (&slot, row) in slots.iter().zip(rows) {
            ordered[slot as usize] = row;
        }
        drop(ordered);
        let queries = around(mean, 40, 40, 73);
        let all = Bitset::full(FIRST);
        let before = linked.recall(&queries, 10, EF, &all);
        assert!(retrain(&linked) >= FIRST);
        assert_eq!(retrain(&linked), 0, "once is enough");
        let scanned = linked.recall(&queries, 10, EF, &all);
        while linked.index.link(100) > 0 {}
        let linked = linked.recall(&queries, 10, EF, &all);
        assert!(
            before > least && scanned > 0.99 && linked > 0.9,
            "{metric:?} {codes:?}: {before} {scanned} {linked}"
        );
    }
}

#[test]
fn codes_do_not_depend_on_how_rows_are_cut_into_batches() {
    let rows = around(3.0, 3_000, 40, 74);
    let of = |batch: usize| {
        let params = Params::new(Element::F32, Metric::L2, 40);
        let linked = Linked::quantized(params, Quantization::Sq4, rows[..1].to_vec());
        rows[1..].chunks(batch).for_each(|rows| linked.append(rows));
        while linked.index.link(100) > 0 {}
        retrain(&linked);
        linked
    };
    let (one, other) = (of(3_000), of(7));
    let all = Bitset::full(rows.len());
    for query in &around(3.0, 20, 40, 75) {
        let ask = |linked: &Linked| {
            let params = SearchParams {
                k: 10,
                ef: EF,
                mode: Mode::Auto,
            };
            linked.index.search(query, &params, &all, &|| false).unwrap()
        };
        // The way through the graph is the same, step by step.
        assert_eq!(ask(&one), ask(&other));
    }
}

#[test]
fn codes_are_made_anew_beside_searches_and_writers() {
    let dimension = 24;
    let params = Params::new(Element::F32, Metric::L2, dimension);
    let linked = Linked::quantized(params, Quantization::Sq8, around(0.0, FIRST, dimension, 76));
    let (stop, retrained) = (AtomicBool::new(false), AtomicBool::new(false));
    let queries = around(20.0, 50, dimension, 77);
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        let worker = || {
            while !stop.load(Ordering::Acquire) {
                let coded = linked.index.retrain(37);
                if coded > 0 {
                    retrained.store(true, Ordering::Release);
                }
                if coded + linked.index.link(16) + linked.index.vacuum(64) == 0 {
                    std::thread::yield_now();
                }
            }
        };
        let searcher = || {
            while !stop.load(Ordering::Acquire) {
                for query in &queries {
                    let all = Bitset::full(linked.index.len() as usize);
                    let found = search(&linked.index, query, 10, Mode::Auto, &all);
                    assert_eq!(found.len(), 10);
                    check(&found, &all);
                }
            }
        };
        let threads = [scope.spawn(worker), scope.spawn(worker), scope.spawn(searcher)];
        // Rows whose mean wanders off, some into slots used before.
        for round in 0..40 {
            let rows = around(round as f32, 250, dimension, 100 + round);
            let slots: Vec<u32> = (0..100).map(|at| round as u32 * 100 + at).collect();
            slots.iter().for_each(|&slot| linked.index.remove(slot));
            let mut written = Vec::new();
            linked
                .index
                .insert(&bytes(&rows, Element::F32), &mut written)
                .unwrap();
            assert_eq!(written.len(), rows.len());
            // A row is found as soon as it is written, whichever codes are in use.
            let all = Bitset::full(linked.index.len() as usize);
            let found = search(&linked.index, &rows[0], 1, Mode::Auto, &all);
            assert_eq!(found[0].distance, 0.0);
        }
        stop.store(true, Ordering::Release);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    assert!(retrained.load(Ordering::Acquire));
}

/// An index of rows around one mean and then as many around another, all linked.
fn two_crowds(quantization: Quantization, metric: Metric, rows: usize, far: f32) -> Linked {
    let params = Params::new(Element::F32, metric, 40);
    let linked = Linked::quantized(params, quantization, around(0.0, rows, 40, 81));
    linked.append(&around(far, rows, 40, 82));
    while linked.index.link(100) > 0 {}
    linked
}

const CROWD: usize = 4_000;

#[test]
fn each_of_two_crowds_is_told_apart() {
    for quantization in [Quantization::Sq8, Quantization::Sq4, Quantization::Bit1] {
        let linked = two_crowds(quantization, Metric::L2, CROWD, 500.0);
        retrain(&linked);
        let all = Bitset::full(2 * CROWD);
        for (mean, seed) in [(0.0, 83), (500.0, 84)] {
            let queries = around(mean, 60, 40, seed);
            let recall = linked.recall_of_walks(&queries, 10, EF, &all);
            let params = *linked.index.params();
            let alone = Linked::quantized(params, quantization, around(mean, CROWD, 40, seed - 2));
            let of_alone = alone.recall_of_walks(&queries, 10, EF, &Bitset::full(CROWD));
            assert!(
                recall > of_alone - 0.05,
                "{quantization:?} around {mean}: {recall}, alone {of_alone}"
            );
            let one = linked.recall(&queries, 1, EF, &all);
            assert!(one > 0.85, "{quantization:?} around {mean}, the nearest: {one}");
        }
    }
}

#[test]
fn rows_that_are_gone_are_forgotten() {
    for quantization in [Quantization::Sq8, Quantization::Sq4] {
        for saved in [false, true] {
            let mut linked = two_crowds(quantization, Metric::L2, CROWD, 500.0);
            (0..CROWD as u32).for_each(|slot| linked.index.remove(slot));
            if saved {
                linked.index = opened(&image(&linked.index));
            }
            while linked.index.vacuum(1_000) > 0 || linked.index.free() == 0 {}
            assert!(retrain(&linked) >= CROWD, "{quantization:?} {saved}");
            assert_eq!(retrain(&linked), 0);
            let live: Bitset = (CROWD..2 * CROWD).collect();
            let queries = around(500.0, 60, 40, 85);
            let recall = linked.recall_of_walks(&queries, 10, EF, &live);
            let rows = linked.rows.lock().unwrap()[CROWD..].to_vec();
            let fresh = Linked::quantized(*linked.index.params(), quantization, rows);
            let of_fresh = fresh.recall_of_walks(&queries, 10, EF, &Bitset::full(CROWD));
            assert!(
                recall > of_fresh - 0.02 && recall > 0.9,
                "{quantization:?} {saved}: {recall}, fresh {of_fresh}"
            );
            // On codes alone: nothing of it was done again on vectors.
            let params = SearchParams {
                k: 10,
                ef: EF,
                mode: Mode::Auto,
            };
            for query in &queries {
                let ask = |linked: &Linked, allow: &Bitset| {
                    let (_, stats) = linked.index.search(query, &params, allow, &|| false).unwrap();
                    stats.distances
                };
                let (distances, of_fresh) = (ask(&linked, &live), ask(&fresh, &Bitset::full(CROWD)));
                assert!(
                    distances < 2 * of_fresh,
                    "{quantization:?}: {distances}, fresh {of_fresh}"
                );
            }
        }
    }
}

#[test]
fn a_row_far_from_all_others_costs_them_nothing() {
    const ROWS: usize = 5_000;
    for far in [1e4, 1e9] {
        for quantization in [Quantization::Sq8, Quantization::Sq4] {
            for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
                let params = Params::new(Element::F32, metric, 32);
                let mut rows = gaussian(ROWS + 60, 32, 86);
                rows.iter_mut().flatten().for_each(|x| *x += 2.0);
                let queries = rows.split_off(ROWS);
                let plain = Linked::quantized(params, quantization, rows.clone());
                for (at, sign) in [(11, 1.0), (40, -1.0), (4_321, 1.0)] {
                    rows[at].iter_mut().for_each(|x| *x *= sign * far);
                }
                let linked = Linked::quantized(params, quantization, rows);
                let recall = |linked: &Linked| linked.recall_of_walks(&queries, 10, 64, &Bitset::full(ROWS));
                let (with, without) = (recall(&linked), recall(&plain));
                assert!(
                    with > without - 0.03,
                    "{quantization:?} {metric:?}: {with}, without it {without}"
                );
            }
        }
    }
}
