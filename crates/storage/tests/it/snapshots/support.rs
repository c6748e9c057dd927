//! What the tests of snapshots share.

use std::sync::Arc;

use longbow_storage::compact::Cursor;
use longbow_storage::snapshot::{Error, Open, Opened, Owner, Snapshots, Verify, Written};
use longbow_storage::{Options, Projection, Query, Replica, Searched, View, WriteKind};
use longbow_types::{DatasetId, IdKind, Metric, VectorElement};

use crate::rows::{Kind, Life, Row};
use crate::steps::compact;

pub const KIND: Kind = Kind {
    id: IdKind::Utf8,
    element: VectorElement::F32,
    metric: Metric::L2,
    life: Life::FOR_EVER,
};

/// The whole file, the newest snapshot and no other.
pub const STRICT: Open = Open {
    verify: Verify::Everything,
    fall_back: false,
};
pub const FALL_BACK: Open = Open {
    verify: Verify::Everything,
    fall_back: true,
};

pub fn never() -> bool {
    false
}

pub fn owner() -> Owner {
    Owner {
        dataset: DatasetId(4),
        partition: 1,
        schema_version: 1,
        catalogue: b"the catalogue of that index".to_vec(),
    }
}

pub fn write(snapshots: &mut Snapshots, replica: &Replica) -> Written {
    let written = snapshots
        .write(&replica.reader().view(), owner(), &never)
        .unwrap();
    assert!(written.unswept.is_none(), "{:?}", written.unswept);
    written
}

pub fn open(snapshots: &mut Snapshots, kind: Kind, how: Open) -> Result<Option<Opened>, Error> {
    snapshots.open(how, &mut |_| Ok(kind.schema()), &never)
}

pub fn row(id: u64, round: u64) -> Row {
    Row {
        id,
        number: (!id.is_multiple_of(3)).then_some(round as i32),
        text: (!id.is_multiple_of(4)).then(|| format!("text {}", id % 7)),
        tags: id.is_multiple_of(2).then(|| vec!["a".to_owned(), "b".to_owned()]),
        vector: [(id % 13) as f32, (id / 13) as f32, round as f32],
        until: None,
    }
}

pub fn upsert(replica: &mut Replica, index: u64, rows: &[Row]) {
    replica
        .apply(index, WriteKind::Upsert, &KIND.upsert(rows), rows.len() as u32)
        .unwrap();
}

pub fn delete(replica: &mut Replica, index: u64, ids: &[u64]) {
    replica
        .apply(index, WriteKind::Delete, &KIND.delete(ids), ids.len() as u32)
        .unwrap();
}

/// A small graph, the same every time.
const OPTIONS: Options = Options {
    m: 4,
    ef_construction: 20,
    seed: 5,
};

/// A replica with rows of every fate: live and linked, replaced, deleted, not linked yet.
pub fn varied() -> Replica {
    let mut replica = Replica::new(KIND.schema(), &OPTIONS, 1);
    upsert(&mut replica, 2, &(0..20).map(|id| row(id, 0)).collect::<Vec<_>>());
    upsert(
        &mut replica,
        3,
        &(15..25).map(|id| row(id, 1)).collect::<Vec<_>>(),
    );
    replica.publish();
    replica.reader().link(26);
    delete(&mut replica, 5, &[3, 4, 16]);
    replica.advance(9);
    replica.publish();
    replica
}

/// One whose rows go by their age, and by instants of their own.
pub const AGED: Kind = Kind {
    life: Life {
        by_age: true,
        by_instant: true,
    },
    ..KIND
};

/// A replica with rows of two ages, and of some that are over.
pub fn aged() -> Replica {
    let mut replica = Replica::new(AGED.schema(), &OPTIONS, 1);
    let write = |replica: &mut Replica, index, ids: std::ops::Range<u64>| {
        let until = |id: u64| id.is_multiple_of(5).then_some(10_400 + 10 * id as i64);
        let rows = ids.map(|id| Row {
            until: until(id),
            ..row(id, index)
        });
        let rows: Vec<Row> = rows.collect();
        let body = AGED.upsert(&rows);
        replica
            .apply(index, WriteKind::Upsert, &body, rows.len() as u32)
            .unwrap();
    };
    write(&mut replica, 2, 0..20);
    replica.tick(3, 10_000).unwrap();
    write(&mut replica, 4, 15..25);
    replica.publish();
    replica.reader().link(26);
    replica.tick(6, 10_500).unwrap();
    replica.publish();
    replica.advance(9);
    replica.publish();
    replica
}

/// What the threads behind a replica do: links, slots to be used again, chunks merged.
pub fn tidy(replica: &mut Replica) {
    while replica.reader().link(100) > 0 {}
    while replica.reader().vacuum(100) > 0 {}
    let mut cursor = Cursor::default();
    while compact(replica, &mut cursor, 1).is_some() {
        replica.publish();
    }
}

/// Leaves a snapshot of which the first file of columns shrank and the second did not, with a row in the slot of another
/// that is dead and still there; and the replica that it is of.
pub fn shrunk(snapshots: &mut Snapshots) -> Replica {
    let mut replica = Replica::new(KIND.schema(), &OPTIONS, 1);
    // Each less than half as large as the one before, so that they stay apart.
    upsert(&mut replica, 2, &(0..20).map(|id| row(id, 0)).collect::<Vec<_>>());
    upsert(
        &mut replica,
        3,
        &(20..29).map(|id| row(id, 1)).collect::<Vec<_>>(),
    );
    replica.publish();
    tidy(&mut replica);
    write(snapshots, &replica);
    delete(&mut replica, 4, &[1, 5, 6, 9, 13, 18, 24]);
    replica.publish();
    replica.advance(5);
    replica.publish();
    tidy(&mut replica);
    // Slots are free when nobody is left who may have seen their rows; other tests search, too.
    while replica.reader().free() < 7 {
        replica.reader().vacuum(100);
        std::thread::yield_now();
    }
    upsert(
        &mut replica,
        6,
        &(30..34).map(|id| row(id, 2)).collect::<Vec<_>>(),
    );
    replica.publish();
    write(snapshots, &replica);
    replica
}

/// What is asked of a view.
pub fn question(exact: bool, projection: &Projection) -> Query<'_> {
    Query {
        searched: Searched::default(),
        // No two rows lie equally far from it, so that there is one answer.
        vector: (&[5.13f32, 1.07, 0.4]).into(),
        k: 12,
        ef: 1_000,
        recall_target: None,
        full_precision: false,
        exact,
        predicate: None,
        projection,
    }
}

/// Everything a view shows: rows in order, and the exact and the graph's answers to a question.
pub fn shown(kind: Kind, view: &Arc<View>) -> (Vec<Row>, Vec<Vec<u64>>) {
    let projection = Projection::new(view.layout(), &["*".into()], true).unwrap();
    let scan = view.scan(None, projection.clone(), 0, &never).unwrap();
    let rows = scan.flat_map(|piece| kind.rows(&piece.unwrap())).collect();
    let answers = [true, false].map(|exact| {
        let query = question(exact, &projection);
        let found = view.search(&query, &never).unwrap().batch;
        kind.numbers(found.column(0))
    });
    (rows, answers.to_vec())
}

/// That two views show the same.
pub fn assert_same(kind: Kind, have: &Arc<View>, want: &Arc<View>) {
    let state = |view: &View| {
        (
            view.applied_index(),
            view.touched_index(),
            view.rows(),
            view.rows_stored(),
        )
    };
    assert_eq!(state(have), state(want));
    assert_eq!(shown(kind, have), shown(kind, want));
}
