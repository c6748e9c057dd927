//! Rows that go by themselves: by their age, by an instant of their own, and whatever is changed about that meanwhile.

use std::time::Duration;

use longbow_storage::compact::Cursor;
use longbow_storage::{Options, Replica, WriteKind};

use crate::rows::{Kind, Life, Row};
use crate::snapshots::support::{AGED, KIND, row};
use crate::steps::compact;

const BY_AGE: Kind = Kind {
    life: Life {
        by_age: true,
        by_instant: false,
    },
    ..KIND
};

fn new(kind: Kind) -> Replica {
    Replica::new(kind.schema(), &Options::default(), 1)
}

fn until(id: u64, until: Option<i64>) -> Row {
    Row { until, ..row(id, 0) }
}

fn upsert(kind: Kind, replica: &mut Replica, index: u64, rows: &[Row]) {
    let body = kind.upsert(rows);
    replica
        .apply(index, WriteKind::Upsert, &body, rows.len() as u32)
        .unwrap();
}

/// Lets time go on, and says how many rows went.
fn tick(replica: &mut Replica, index: u64, log_time: u64) -> usize {
    let gone = replica.tick(index, log_time).unwrap().retired;
    replica.publish();
    let view = replica.reader().view();
    assert_eq!(view.digest(), view.digest_anew());
    assert_eq!(view.applied_index(), index);
    gone
}

#[test]
fn a_write_renews_a_row_and_so_does_a_change_of_some_columns() {
    let mut replica = new(BY_AGE);
    upsert(BY_AGE, &mut replica, 2, &[row(1, 0), row(2, 0), row(3, 0)]);
    assert_eq!(tick(&mut replica, 3, 10_000), 0);
    upsert(BY_AGE, &mut replica, 4, &[row(1, 1)]);
    let body = BY_AGE.update(&[(row(2, 1), u64::MAX)], false);
    replica.apply(5, WriteKind::Update, &body, 1).unwrap();
    assert_eq!(tick(&mut replica, 6, 10_600), 0);
    assert_eq!(tick(&mut replica, 7, 11_000), 1, "the one that was not renewed");
    assert_eq!(tick(&mut replica, 8, 11_599), 0);
    assert_eq!(tick(&mut replica, 9, 11_600), 2);
}

#[test]
fn conditions_find_nothing_where_a_row_went() {
    let mut replica = new(BY_AGE);
    upsert(BY_AGE, &mut replica, 2, &[row(1, 0)]);
    tick(&mut replica, 3, 10_000);
    let insert = BY_AGE.upsert_if(&[(row(1, 1), 0)]);
    let written = |replica: &mut Replica, index| {
        replica.apply(index, WriteKind::UpsertIf, &insert, 1).unwrap();
        replica.reader().outcome(index).unwrap().matched()
    };
    assert_eq!(written(&mut replica, 4), 0, "it is there");
    tick(&mut replica, 5, 11_000);
    assert_eq!(written(&mut replica, 6), 1);
}

#[test]
fn an_instant_of_its_own_goes_before_the_age_of_a_row() {
    let mut replica = new(AGED);
    let rows = [until(1, Some(10_300)), until(2, Some(90_000)), until(3, None)];
    upsert(AGED, &mut replica, 2, &rows);
    assert_eq!(tick(&mut replica, 3, 10_000), 0);
    assert_eq!(tick(&mut replica, 4, 10_299), 0);
    assert_eq!(tick(&mut replica, 5, 10_300), 1);
    assert_eq!(tick(&mut replica, 6, 11_000), 1, "the one without");
    // Its time is changed, once later and once earlier than it was.
    upsert(AGED, &mut replica, 7, &[until(2, Some(99_000))]);
    assert_eq!(tick(&mut replica, 8, 98_999), 0);
    upsert(AGED, &mut replica, 9, &[until(2, Some(5))]);
    assert_eq!(tick(&mut replica, 10, 98_999), 1, "a time that is over already");
}

#[test]
fn many_rows_go_at_once_whatever_became_of_their_chunks() {
    let mut replica = new(BY_AGE);
    for round in 0..40_u64 {
        let rows: Vec<Row> = (0..20).map(|id| row(20 * round + id, round)).collect();
        upsert(BY_AGE, &mut replica, 2 + 2 * round, &rows);
        tick(&mut replica, 3 + 2 * round, 10_000 + 100 * round);
        let left = 200.min(20 * (round + 1));
        assert_eq!(replica.reader().view().rows() as u64, left);
        if round % 7 == 0 {
            while compact(&mut replica, &mut Cursor::default(), 1).is_some() {
                replica.publish();
            }
        }
    }
    assert_eq!(tick(&mut replica, 100, 1_000_000), 200);
    assert_eq!(
        replica.reader().view().digest(),
        longbow_storage::Digest::default()
    );
}

#[test]
fn when_rows_go_may_be_changed() {
    let mut replica = new(KIND);
    upsert(KIND, &mut replica, 2, &[row(1, 0), row(2, 0)]);
    assert_eq!(tick(&mut replica, 3, 5_000_000), 0, "rows stay for ever");
    let schema = |ms: Option<u64>| {
        let ttl = ms.map(Duration::from_millis);
        KIND.schema().with_ttl(ttl).unwrap()
    };
    // They begin to age when they are to.
    replica.alter(4, schema(Some(5_000)), 2).unwrap();
    assert_eq!(tick(&mut replica, 5, 5_000_100), 0);
    upsert(KIND, &mut replica, 6, &[row(2, 1), row(3, 1)]);
    assert_eq!(tick(&mut replica, 7, 5_002_000), 0);
    // A longer life holds for those that are there, and so does a shorter one.
    replica.alter(8, schema(Some(9_000)), 3).unwrap();
    assert_eq!(tick(&mut replica, 9, 5_009_099), 0);
    assert_eq!(tick(&mut replica, 10, 5_009_100), 1);
    replica.alter(11, schema(Some(2_000)), 4).unwrap();
    assert_eq!(tick(&mut replica, 12, 5_009_101), 2);
    // No life at all, and one again: nothing is known of the time between.
    upsert(KIND, &mut replica, 13, &[row(4, 0)]);
    assert_eq!(tick(&mut replica, 14, 5_010_000), 0);
    replica.alter(15, schema(None), 5).unwrap();
    assert_eq!(tick(&mut replica, 16, 5_020_000), 0);
    replica.alter(17, schema(Some(2_000)), 6).unwrap();
    assert_eq!(tick(&mut replica, 18, 5_021_000), 0);
    assert_eq!(tick(&mut replica, 19, 5_023_000), 1);
}

#[test]
fn a_column_may_begin_and_cease_to_tell_when_rows_go() {
    let told = AGED.schema();
    let untold = told.clone().with_expires_column(None).unwrap();
    let mut replica = Replica::new(untold.clone(), &Options::default(), 1);
    let rows = [until(1, Some(10_200)), until(2, Some(20_000)), until(3, None)];
    upsert(AGED, &mut replica, 2, &rows);
    assert_eq!(tick(&mut replica, 3, 10_000), 0);
    replica.alter(4, told, 2).unwrap();
    // Instants that were there count at once, and ages from now on.
    assert_eq!(tick(&mut replica, 5, 10_500), 1);
    assert_eq!(tick(&mut replica, 6, 11_499), 0);
    assert_eq!(tick(&mut replica, 7, 11_500), 1);
    replica.alter(8, untold, 3).unwrap();
    assert_eq!(tick(&mut replica, 9, 21_000), 0, "its instant counts no more");
    assert_eq!(tick(&mut replica, 10, 22_000), 1, "its age does");
}

#[test]
fn a_tick_comes_in_its_place() {
    let mut replica = new(BY_AGE);
    assert_eq!(tick(&mut replica, 5, 10_000), 0);
    let error = replica.tick(5, 10_000).unwrap_err();
    assert_eq!(error.code, longbow_types::ErrorCode::Internal);
}
