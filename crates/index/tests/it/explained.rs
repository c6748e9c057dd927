//! What a search says of itself: what it counted, and by a clock that is handed in how long its parts took.

use std::cell::Cell;
use std::time::Duration;

use longbow_index::{
    Bitset, Clock, Element, Metric, Mode, Neighbor, Params, Quantization, SearchParams, Stats, Times, Way,
};

use crate::support::{Linked, clustered};

/// So many, and so long, that a sixth of them is not scanned.
const ROWS: usize = 13_000;
const UNLINKED: usize = 37;
const DIMENSION: usize = 256;

fn linked(quantization: Quantization) -> Linked {
    let params = Params::new(Element::F32, Metric::L2, DIMENSION);
    let linked = Linked::quantized(params, quantization, clustered(ROWS, DIMENSION, 31));
    linked.append(&clustered(UNLINKED, DIMENSION, 32));
    linked
}

fn ask(linked: &Linked, mode: Mode, allow: &Bitset, clock: Option<Clock<'_>>) -> (Vec<Neighbor>, Stats) {
    let params = SearchParams { k: 10, ef: 10, mode };
    let query = &clustered(1, DIMENSION, 33)[0];
    let mut out = Vec::new();
    let stats = linked
        .index
        .search_timed(query, &params, allow, &|| false, clock, &mut out)
        .unwrap();
    (out, stats)
}

#[test]
fn counts_are_those_of_the_filter_and_of_what_is_not_linked() {
    for quantization in [Quantization::None, Quantization::Sq8] {
        let linked = linked(quantization);
        for (every, planned) in [
            (1, Way::Beam),
            (3, Way::Filtered),
            (6, Way::TwoHop),
            (200, Way::Scan),
        ] {
            // Those not linked yet lie at the end.
            let allow: Bitset = (0..ROWS + UNLINKED).filter(|slot| slot % every == 0).collect();
            let tail = (ROWS..ROWS + UNLINKED).filter(|slot| slot % every == 0).count();
            let (_, stats) = ask(&linked, Mode::FullPrecision, &allow, None);
            assert_eq!(
                (stats.allowed, stats.tail),
                (allow.count(), tail),
                "{every} {stats:?}"
            );
            assert_eq!(stats.planned, planned, "{every} {stats:?}");
            assert_eq!(stats.times, Times::default());
            assert!(stats.repeated || stats.way == planned, "{every} {stats:?}");
            assert!(stats.distances >= tail as u64, "{every} {stats:?}");

            let (_, stats) = ask(&linked, Mode::Exact, &allow, None);
            assert_eq!((stats.planned, stats.way, stats.hops), (Way::Scan, Way::Scan, 0));
            assert_eq!(stats.distances, allow.count() as u64);
            assert_eq!(stats.allowed, allow.count());
        }
    }
}

#[test]
fn a_clock_times_the_parts_and_changes_nothing() {
    let linked = linked(Quantization::Sq8);
    let all = Bitset::full(ROWS + UNLINKED);
    for (mode, refines) in [
        (Mode::Auto, true),
        (Mode::FullPrecision, false),
        (Mode::Exact, false),
    ] {
        // A clock that goes on by a second whenever it is read: each part is as long as it is read for.
        let reads = Cell::new(0u64);
        let read = || {
            reads.set(reads.get() + 1);
            Duration::from_secs(reads.get())
        };
        let (found, stats) = ask(&linked, mode, &all, Some(Clock::new(&read)));
        let (untimed, plain) = ask(&linked, mode, &all, None);
        assert_eq!(found, untimed);
        assert_eq!(
            Stats {
                times: Times::default(),
                ..stats
            },
            plain
        );

        let Times { graph, tail, refine } = stats.times;
        assert!(!graph.is_zero(), "{mode:?} {stats:?}");
        assert_eq!(tail.is_zero(), mode == Mode::Exact, "{mode:?} {stats:?}");
        assert_eq!(refine.is_zero(), !refines, "{mode:?} {stats:?}");
        assert!(graph + tail + refine < Duration::from_secs(reads.get()));
    }
}
