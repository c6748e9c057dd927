//! Readers beside the writer and the graph builders: every view is whole, whatever goes on.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use longbow_storage::{Options, Projection, Query, Reader, Replica, Searched, WriteKind};
use longbow_types::{IdKind, Metric, VectorElement};

use crate::rows::{Kind, Life, Row};

const KIND: Kind = Kind {
    id: IdKind::U64,
    element: VectorElement::F32,
    metric: Metric::L2,
    life: Life::FOR_EVER,
};
const ROWS: u64 = 300;

fn rows(round: u64) -> Vec<Row> {
    let row = |id: u64| Row {
        id,
        number: Some(round as i32),
        text: None,
        tags: None,
        // Rounds move every row, so that old versions and new ones mix in any index that loses track.
        vector: [(id % 17) as f32, (id / 17) as f32, ((round * 7 + id) % 5) as f32],
        until: None,
    };
    (0..ROWS).map(row).collect()
}

/// Reads until told to stop; returns the number of views read.
fn read(reader: &Reader, exact: bool, stop: &AtomicBool) -> usize {
    let mut views = 0;
    while !stop.load(Ordering::Relaxed) {
        let view = reader.view();
        let projection = Projection::new(view.layout(), &["number".into()], false).unwrap();
        let query = Query {
            searched: Searched::default(),
            vector: (&[8.0f32, 8.0, 2.0]).into(),
            k: ROWS as usize,
            ef: 0,
            recall_target: None,
            full_precision: false,
            exact,
            predicate: None,
            projection: &projection,
        };
        let found = view.search(&query, &|| false).unwrap().batch;
        let ids: BTreeSet<u64> = KIND.numbers(found.column(0)).into_iter().collect();
        assert_eq!(
            (ids.len(), found.num_rows()),
            (ROWS as usize, ROWS as usize),
            "each row once, none missing"
        );
        let every: Vec<u64> = (0..ROWS).collect();
        assert_eq!(
            view.fetch(KIND.ids(&every).as_ref(), &projection)
                .unwrap()
                .num_rows(),
            ROWS as usize
        );
        views += 1;
    }
    views
}

#[test]
fn no_row_is_missing_while_all_are_replaced() {
    let mut replica = Replica::new(
        KIND.schema(),
        &Options {
            m: 8,
            ef_construction: 40,
            seed: 1,
        },
        1,
    );
    replica
        .apply(2, WriteKind::Upsert, &KIND.upsert(&rows(0)), ROWS as u32)
        .unwrap();
    replica.publish();
    let (stop, views) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let reader = replica.reader().clone();
        for exact in [true, false] {
            let (reader, stop, views) = (reader.clone(), &stop, &views);
            scope.spawn(move || views.fetch_add(read(&reader, exact, stop), Ordering::Relaxed));
        }
        let stop = &stop;
        let builder = reader.clone();
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if builder.link(16) == 0 {
                    thread::yield_now();
                }
            }
        });
        for round in 1..40 {
            // In pieces, so that views with half a round are published, too.
            for (at, piece) in rows(round).chunks(50).enumerate() {
                let index = 3 + round * 10 + at as u64;
                replica
                    .apply(index, WriteKind::Upsert, &KIND.upsert(piece), piece.len() as u32)
                    .unwrap();
                replica.publish();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(views.into_inner() > 2, "the readers read");
}

#[test]
fn a_cancelled_search_ends_with_a_typed_error() {
    let mut replica = Replica::new(KIND.schema(), &Options::default(), 1);
    replica
        .apply(2, WriteKind::Upsert, &KIND.upsert(&rows(0)), ROWS as u32)
        .unwrap();
    replica.publish();
    let view = replica.reader().view();
    let projection = Projection::new(view.layout(), &[], false).unwrap();
    let query = Query {
        searched: Searched::default(),
        vector: (&[0.0f32; 3]).into(),
        k: 10,
        ef: 0,
        recall_target: None,
        full_precision: false,
        exact: false,
        predicate: None,
        projection: &projection,
    };
    let error = view.search(&query, &|| true).unwrap_err();
    assert_eq!(error.code, longbow_types::ErrorCode::Cancelled);
}

#[test]
fn an_old_view_finds_its_rows_after_all_were_replaced_and_linked() {
    const MANY: u64 = 12_000;
    let row = |id: u64, round: u64| Row {
        id,
        number: Some(round as i32),
        text: None,
        tags: None,
        vector: [(id % 109) as f32, (id / 109) as f32, round as f32],
        until: None,
    };
    let write = |replica: &mut Replica, index: u64, round: u64| {
        let rows: Vec<Row> = (0..MANY).map(|id| row(id, round)).collect();
        replica
            .apply(index, WriteKind::Upsert, &KIND.upsert(&rows), MANY as u32)
            .unwrap();
        replica.publish();
    };
    let options = Options {
        m: 8,
        ef_construction: 40,
        seed: 1,
    };
    let mut replica = Replica::new(KIND.schema(), &options, 1);
    write(&mut replica, 2, 0);
    let old = replica.reader().view();
    write(&mut replica, 3, 1);
    // A later view, so that the one before the last is gone.
    replica.advance(4);
    replica.publish();
    // What the old view shows must not be passed over now.
    while replica.reader().link(1_000) > 0 {}

    let projection = Projection::new(old.layout(), &["number".into()], false).unwrap();
    let (mut hits, mut wanted) = (0, 0);
    for at in (0..MANY).step_by(997) {
        let vector = row(at, 0).vector;
        let ask = |exact: bool, ef: usize| {
            let query = Query {
                searched: Searched::default(),
                vector: (&vector).into(),
                k: 10,
                ef,
                recall_target: None,
                full_precision: false,
                exact,
                predicate: None,
                projection: &projection,
            };
            let found = old.search(&query, &|| false).unwrap();
            (KIND.numbers(found.batch.column(0)), found.stats)
        };
        let (want, _) = ask(true, 0);
        // As many rows lie round about that this view does not show.
        let (have, stats) = ask(false, 64);
        assert!(!stats.exact, "the graph is walked");
        assert_eq!(have.len(), 10, "never fewer than k");
        wanted += want.len();
        hits += have.iter().filter(|id| want.contains(id)).count();
    }
    assert!(hits * 100 >= wanted * 95, "{hits} of {wanted}");
}
