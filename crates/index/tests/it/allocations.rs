//! Searching allocates nothing once everything has grown.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use longbow_index::{Bitset, Element, Metric, Mode, Params, Quantization, RangeParams, SearchParams};

use crate::support::{Linked, clustered};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(address, layout) }
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(address, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_warm_search_allocates_nothing() {
    let linked = Linked::new(Element::F16, Metric::Cosine, clustered(30_000, 8, 11));
    // A tail that is not linked, too.
    linked.append(&clustered(100, 8, 12));
    let queries = clustered(20, 8, 13);
    let share = |n: usize| -> Bitset { (0..30_100).filter(|slot| slot % n == 0).collect() };
    let filters = [Bitset::full(30_100), share(2), share(6), share(100)];
    let mut out = Vec::new();
    let mut round = || {
        for query in &queries {
            for allow in &filters {
                for (ef, mode) in [
                    (0, Mode::Auto),
                    (20, Mode::Auto),
                    (1500, Mode::Auto),
                    (0, Mode::Exact),
                ] {
                    let params = SearchParams { k: 10, ef, mode };
                    linked
                        .index
                        .search_into(query, &params, allow, &|| false, &mut out)
                        .unwrap();
                    assert_eq!(out.len(), 10);
                }
            }
        }
    };
    round();
    let before = ALLOCATIONS.get();
    round();
    assert_eq!(ALLOCATIONS.get() - before, 0);
}

#[test]
fn warm_batches_ranges_and_shares_of_scans_allocate_nothing() {
    let params = Params::new(Element::F16, Metric::Cosine, 40);
    let linked = Linked::quantized(params, Quantization::Sq4, clustered(20_000, 40, 14));
    linked.append(&clustered(100, 40, 15));
    let queries = clustered(40, 40, 16);
    let asked: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    let share = |n: usize| -> Bitset { (0..20_100).filter(|slot| slot % n == 0).collect() };
    let filters = [Bitset::full(20_100), share(2), share(50)];
    let (mut answers, mut out) = (Vec::new(), Vec::new());
    let mut round = || {
        for allow in &filters {
            for (ef, mode) in [(20, Mode::Auto), (20, Mode::FullPrecision), (0, Mode::Exact)] {
                let params = SearchParams { k: 10, ef, mode };
                linked
                    .index
                    .search_batch(&asked, &params, allow, &|| false, &mut answers)
                    .unwrap();
                assert!(answers.iter().all(|answer| answer.neighbors.len() == 10));
                let params = RangeParams {
                    radius: 0.3,
                    limit: 50,
                    ef,
                    mode,
                };
                for query in &queries {
                    linked
                        .index
                        .search_range(query, &params, allow, &|| false, &mut out)
                        .unwrap();
                    linked
                        .index
                        .scan(query, 10, 500..1_500, allow, &|| false, &mut out)
                        .unwrap();
                }
            }
        }
    };
    // Each round hands the queries to other contexts; all of them have to have grown.
    (0..4).for_each(|_| round());
    let before = ALLOCATIONS.get();
    round();
    assert_eq!(ALLOCATIONS.get() - before, 0);
}
