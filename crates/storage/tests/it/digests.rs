//! Digests: equal for equal rows, whatever became of them, and for no others.

use std::collections::BTreeSet;

use longbow_storage::compact::Cursor;
use longbow_storage::{Digest, Options, Replica, WriteKind};

use crate::rows::{Kind, Row};
use crate::snapshots::support::{KIND, row};
use crate::steps::compact;

fn upsert(replica: &mut Replica, index: u64, rows: &[Row]) {
    let body = KIND.upsert(rows);
    replica
        .apply(index, WriteKind::Upsert, &body, rows.len() as u32)
        .unwrap();
}

fn digest(replica: &mut Replica) -> Digest {
    replica.publish();
    let view = replica.reader().view();
    assert_eq!(view.digest(), view.digest_anew());
    view.digest()
}

fn of(index: u64, rows: &[Row]) -> Digest {
    let mut replica = Replica::new(KIND.schema(), &Options::default(), 1);
    upsert(&mut replica, index, rows);
    digest(&mut replica)
}

#[test]
fn whatever_differs_in_a_row_makes_another_digest() {
    let rows = [row(2, 1), row(5, 1)];
    let changed = |change: &dyn Fn(&mut Row)| {
        let mut rows = rows.clone();
        change(&mut rows[1]);
        of(2, &rows)
    };
    let digests = [
        of(2, &rows),
        of(3, &rows),
        of(2, &rows[..1]),
        Digest::default(),
        changed(&|row| row.id = 6),
        changed(&|row| row.number = None),
        changed(&|row| row.number = Some(2)),
        changed(&|row| row.text = Some(String::new())),
        changed(&|row| row.text = None),
        changed(&|row| row.tags = Some(Vec::new())),
        changed(&|row| row.tags = Some(vec!["a".into()])),
        changed(&|row| row.vector[2] += 1.0),
        changed(&|row| row.vector.swap(0, 1)),
    ];
    let distinct: BTreeSet<String> = digests.iter().map(ToString::to_string).collect();
    assert_eq!(distinct.len(), digests.len());
    // What one row holds is not what the other holds.
    let mut swapped = rows.clone();
    (swapped[0].vector, swapped[1].vector) = (rows[1].vector, rows[0].vector);
    assert_ne!(of(2, &swapped), of(2, &rows));
}

#[test]
fn rows_that_come_and_go_leave_no_trace() {
    let mut replica = Replica::new(KIND.schema(), &Options::default(), 1);
    // An id that comes twice in one entry, rows that are replaced, deleted twice, and of other slots and chunks.
    upsert(&mut replica, 2, &[row(1, 0), row(2, 0), row(1, 1), row(3, 0)]);
    upsert(
        &mut replica,
        3,
        &(10..80).map(|id| row(id, 1)).collect::<Vec<_>>(),
    );
    let all: Vec<u64> = (0..80).filter(|&id| id != 2).collect();
    for index in [4, 5] {
        let body = KIND.delete(&[&all[..], &all[..3]].concat());
        let rows = all.len() as u32 + 3;
        replica.apply(index, WriteKind::Delete, &body, rows).unwrap();
        replica.publish();
        compact(&mut replica, &mut Cursor::default(), 1);
        while replica.reader().vacuum(100) > 0 {}
    }
    upsert(&mut replica, 6, &[row(4, 2)]);
    let left = digest(&mut replica);
    let mut other = Replica::new(KIND.schema(), &Options::default(), 1);
    upsert(&mut other, 2, &[row(2, 0)]);
    upsert(&mut other, 6, &[row(4, 2)]);
    assert_eq!(left, digest(&mut other));
}

#[test]
fn rows_with_negative_ids_come_and_go() {
    let negative = Kind {
        id: longbow_types::IdKind::I64,
        ..KIND
    };
    let mut replica = Replica::new(negative.schema(), &Options::default(), 1);
    let body = negative.upsert(&[row(3, 0), row(13, 0)]);
    replica.apply(2, WriteKind::Upsert, &body, 2).unwrap();
    let body = negative.delete(&[3]);
    replica.apply(3, WriteKind::Delete, &body, 1).unwrap();
    assert_ne!(digest(&mut replica), Digest::default());
    let body = negative.delete(&[13]);
    replica.apply(4, WriteKind::Delete, &body, 1).unwrap();
    assert_eq!(digest(&mut replica), Digest::default());
}
