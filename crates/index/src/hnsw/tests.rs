//! A life of an index that is small enough for an interpreter.

use longbow_kernels::{Bitset, Element, Metric, f16};

use super::*;
use crate::{
    code::Levels,
    coded::Coded,
    params::{Mode, SearchParams},
    store::Store,
};

const DIMENSION: usize = 5;

/// Appends, links, removes, mends and inserts while another thread searches; then every row finds itself.
fn live<S: Points>(element: Element, metric: Metric, bytes: impl Fn(f32) -> Vec<u8>) {
    let params = Params {
        m: 4,
        ef_construction: 8,
        ..Params::new(element, metric, DIMENSION)
    };
    let hnsw = Hnsw::<S>::new(params);
    let value =
        |row: u32, at: usize| ((row as usize * 7 + at * at * 13) % 31) as f32 / 31.0 + row as f32 / 64.0;
    let row = |row: u32| -> Vec<u8> { (0..DIMENSION).flat_map(|at| bytes(value(row, at))).collect() };
    let nearest = |slot: u32, allow: &Bitset, mode: Mode| {
        let query: Vec<f32> = (0..DIMENSION).map(|at| value(slot, at)).collect();
        let params = SearchParams { k: 3, ef: 8, mode };
        let mut out = Vec::new();
        hnsw.search((&query).into(), &params, allow, &|| false, None, &mut out)
            .unwrap();
        assert_eq!(out.len(), 3);
        out[0].slot
    };
    hnsw.append(&(0..30).flat_map(row).collect::<Vec<u8>>()).unwrap();
    let kept: Bitset = (10..30).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for slot in 10..14 {
                assert_eq!(nearest(slot, &kept, Mode::Auto), slot);
            }
        });
        while hnsw.link(7) > 0 {}
        (0..10).for_each(|slot| hnsw.remove(slot));
        while hnsw.vacuum.free() < 10 {
            if hnsw.vacuum(5) == 0 {
                std::thread::yield_now();
            }
        }
        let mut slots = Vec::new();
        for _ in 0..10 {
            // What a slot held before, so that slots are numbers of rows again.
            let slot = hnsw.vacuum.take(1)[0];
            hnsw.vacuum.give_back(&[slot]);
            hnsw.insert(&row(slot), &mut slots).unwrap();
        }
        hnsw.append(&row(30)).unwrap();
        hnsw.link(6);
    });
    let all = Bitset::full(31);
    for (slot, mode) in (0..31).zip([Mode::Auto, Mode::Exact, Mode::FullPrecision].into_iter().cycle()) {
        assert_eq!(nearest(slot, &all, mode), slot);
        let mut bytes = Vec::new();
        assert!(hnsw.vector(slot, &mut bytes));
        assert_eq!(bytes, row(slot));
    }
}

#[test]
fn a_small_index_lives_through_everything() {
    let halves = |x: f32| f16::from_f32(x).to_ne_bytes().to_vec();
    let singles = |x: f32| x.to_ne_bytes().to_vec();
    live::<Store>(Element::F32, Metric::L2, singles);
    live::<Store>(Element::F16, Metric::Cosine, halves);
    live::<Coded<Levels<8>>>(Element::F32, Metric::L2, singles);
    live::<Coded<Levels<4>>>(Element::F16, Metric::Cosine, halves);
}
