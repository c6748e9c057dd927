//! Merges beside a writer, readers and the graph's threads: rows are what a naive model says, whatever is under way.

use std::collections::BTreeSet;
use std::sync::Arc;

use longbow_storage::compact::{Cursor, Merged, Plan, Sizes};
use longbow_storage::{Options, Projection, Replica, View, WriteKind};
use longbow_types::{ErrorCode, IdKind, Metric, VectorElement};
use proptest::prelude::*;

use crate::model::Model;
use crate::oracle::{Question, check, kind, question};
use crate::rows::{Kind, Life, Row};
use crate::steps::{SIZES, Step, apply, learn, step};

const KIND: Kind = Kind {
    id: IdKind::U64,
    element: VectorElement::F32,
    metric: Metric::L2,
    life: Life::FOR_EVER,
};

fn never() -> bool {
    false
}

fn row(id: u64, round: u64) -> Row {
    Row {
        id,
        number: (!id.is_multiple_of(3)).then_some(round as i32),
        text: Some(format!("text {} of {round}", id % 7)),
        tags: id.is_multiple_of(2).then(|| vec!["a".to_owned(), "b".to_owned()]),
        vector: [(id % 41) as f32, (id / 41) as f32, round as f32],
        until: None,
    }
}

fn upsert(replica: &mut Replica, index: u64, rows: &[Row]) {
    let applied = replica.apply(index, WriteKind::Upsert, &KIND.upsert(rows), rows.len() as u32);
    applied.unwrap();
    replica.publish();
}

fn delete(replica: &mut Replica, index: u64, ids: &[u64]) {
    let applied = replica.apply(index, WriteKind::Delete, &KIND.delete(ids), ids.len() as u32);
    applied.unwrap();
    replica.publish();
}

fn settle(replica: &mut Replica, sizes: &Sizes) {
    let mut cursor = Cursor::default();
    while let Some(plan) = replica.reader().view().compaction(sizes, &mut cursor) {
        replica.install(plan.merge(&never).unwrap()).unwrap();
        replica.publish();
    }
}

fn ids(view: &Arc<View>) -> Vec<u64> {
    let projection = Projection::new(view.layout(), &[], false).unwrap();
    let pieces = view.scan(None, projection, 0, &never).unwrap();
    pieces
        .flat_map(|piece| KIND.numbers(piece.unwrap().column(0)))
        .collect()
}

/// What goes on beside a merge: a plan is made, carried out and installed at three moments of the history.
#[derive(Debug, Clone)]
enum Event {
    Step(Step),
    Plan,
    Merge,
    Install,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => step().prop_map(Event::Step),
        2 => Just(Event::Plan),
        2 => Just(Event::Merge),
        2 => Just(Event::Install),
    ]
}

fn run(kind: Kind, events: &[Event], question: &Question) {
    let mut replica = Replica::new(kind.schema(), &Options::default(), 7);
    let (mut model, mut published) = (
        Model::created_at(7).living(kind.life),
        Model::created_at(7).living(kind.life),
    );
    let mut cursor = Cursor::default();
    // As many as are under way at once; only the first install of the same chunks can succeed.
    let (mut plans, mut merged): (Vec<Plan>, Vec<Merged>) = (Vec::new(), Vec::new());
    let mut held: Vec<(Arc<View>, Model)> = Vec::new();
    for (at, event) in events.iter().enumerate() {
        let index = 10 + 2 * at as u64;
        match event {
            Event::Step(step) => {
                let step = step.resolved(&model);
                apply(kind, &mut replica, &mut cursor, index, &step);
                learn(&mut model, index, &step);
                if matches!(step, Step::Publish) {
                    published = model.clone();
                    held.push((replica.reader().view(), model.clone()));
                    if held.len() > 3 {
                        held.remove(at % 3);
                    }
                }
            }
            Event::Plan => plans.extend(replica.reader().view().compaction(&SIZES, &mut cursor)),
            Event::Merge => {
                let plan = (!plans.is_empty()).then(|| plans.remove(0));
                merged.extend(plan.map(|plan| plan.merge(&never).unwrap()));
            }
            Event::Install => {
                let first = (!merged.is_empty()).then(|| merged.remove(0));
                first.map(|merged| replica.install(merged));
            }
        }
        check(kind, &replica.reader().view(), &published, question);
    }
    replica.publish();
    check(kind, &replica.reader().view(), &model, question);
    for (view, then) in &held {
        check(kind, view, then, question);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_is_lost_and_nothing_comes_back_while_chunks_are_merged(
        kind in kind(),
        events in proptest::collection::vec(event(), 1..80),
        question in question(),
    ) {
        run(kind, &events, &question);
    }
}

#[test]
fn dead_rows_go_and_the_others_stay_where_views_find_them() {
    let mut replica = Replica::new(KIND.schema(), &Options::default(), 1);
    for batch in 0..12 {
        let rows: Vec<Row> = (batch * 3_000..(batch + 1) * 3_000)
            .map(|id| row(id, 0))
            .collect();
        upsert(&mut replica, 2 + batch, &rows);
    }
    let before = replica.reader().view();
    assert_eq!((before.chunks(), before.rows_stored()), (12, 36_000));
    let gone: Vec<u64> = (0..36_000).filter(|id| id % 4 == 1).collect();
    delete(&mut replica, 20, &gone);
    settle(&mut replica, &Sizes::default());
    let after = replica.reader().view();
    assert_eq!(
        (after.chunks(), after.rows_stored(), after.rows()),
        (1, 27_000, 27_000)
    );
    let left: Vec<u64> = (0..36_000).filter(|id| id % 4 != 1).collect();
    assert_eq!(ids(&after), left, "in the order in which they were written");
    assert_eq!(
        ids(&before),
        (0..36_000).collect::<Vec<_>>(),
        "an old view is as it was"
    );
    let all = Projection::new(after.layout(), &["*".into()], true).unwrap();
    let some = KIND.ids(&[0, 1, 2, 35_999]);
    let found = after.fetch(some.as_ref(), &all).unwrap();
    assert_eq!(KIND.rows(&found), [row(0, 0), row(2, 0), row(35_999, 0)]);
}

#[test]
fn a_merge_that_was_overtaken_changes_nothing() {
    let mut replica = Replica::new(KIND.schema(), &Options::default(), 1);
    upsert(&mut replica, 2, &[row(1, 0), row(2, 0)]);
    delete(&mut replica, 3, &[1]);
    let plan = || {
        let view = replica.reader().view();
        view.compaction(&SIZES, &mut Cursor::default())
            .unwrap()
            .merge(&never)
            .unwrap()
    };
    let (first, second, third) = (plan(), plan(), plan());
    // The writer merges so small a chunk with the next rows.
    upsert(&mut replica, 4, &[row(3, 0)]);
    assert_eq!(replica.install(first), None);
    assert_eq!(ids(&replica.reader().view()), [2, 3]);
    drop((second, third));

    settle(&mut replica, &SIZES);
    delete(&mut replica, 5, &[2]);
    let view = replica.reader().view();
    let plan = || {
        view.compaction(&SIZES, &mut Cursor::default())
            .unwrap()
            .merge(&never)
            .unwrap()
    };
    let twins = [plan(), plan()];
    let moved = twins.map(|merged| replica.install(merged));
    assert_eq!(
        moved[0].map(|moved| (moved.rows, moved.rows_dropped)),
        Some((1, 1))
    );
    assert_eq!(moved[1], None);
}

#[test]
fn a_merge_can_be_given_up() {
    let mut replica = Replica::new(KIND.schema(), &Options::default(), 1);
    for batch in 0..4 {
        let rows: Vec<Row> = (batch * 3_000..(batch + 1) * 3_000)
            .map(|id| row(id, 0))
            .collect();
        upsert(&mut replica, 2 + batch, &rows);
    }
    let view = replica.reader().view();
    let plan = view
        .compaction(&Sizes::default(), &mut Cursor::default())
        .unwrap();
    let merge = plan.begin();
    merge.work(&|| true);
    // One that is given up is not finished by another thread.
    merge.work(&never);
    assert_eq!(
        merge.finish().err().map(|error| error.code),
        Some(ErrorCode::Cancelled)
    );
    assert_eq!(view.chunks(), replica.reader().view().chunks());
}

#[test]
fn slots_chunks_and_what_ids_need_stay_bounded_however_often_rows_are_replaced() {
    let options = Options {
        m: 6,
        ef_construction: 30,
        seed: 3,
    };
    let mut replica = Replica::new(KIND.schema(), &options, 1);
    let mut largest = 0;
    // Every tenth of the rows in turn; nobody reads.
    for round in 0..100_u64 {
        let rows: Vec<Row> = (0..4_000)
            .filter(|id| round == 0 || id % 10 == round % 10)
            .map(|id| row(id, round))
            .collect();
        upsert(&mut replica, 2 + round, &rows);
        while replica.reader().link(1_000) > 0 {}
        while replica.reader().vacuum(100_000) > 0 {}
        settle(
            &mut replica,
            &Sizes {
                loose_rows_max: 0,
                rows_max: 1_500,
                ..Sizes::default()
            },
        );
        let view = replica.reader().view();
        assert_eq!(view.rows(), 4_000);
        assert!(
            view.rows_stored() <= 4_000 * 4 / 3 + 1,
            "{} rows stored",
            view.rows_stored()
        );
        assert!(view.chunks() <= 12, "{} chunks", view.chunks());
        largest = largest.max(view.slots());
    }
    // Those replaced are freed one round later, and a pass begins when one of 32 is gone.
    assert!(largest <= 4_000 + 3 * 400, "{largest} slots for 4,000 rows");
    let view = replica.reader().view();
    assert_eq!(ids(&view).into_iter().collect::<BTreeSet<_>>().len(), 4_000);
}
