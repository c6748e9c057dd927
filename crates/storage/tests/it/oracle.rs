//! Random histories: after every published state, and again long after, a view answers as the model does.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Float32Type, UInt64Type};
use longbow_query::filter::Predicate;
use longbow_storage::compact::Cursor;
use longbow_storage::{Options, Projection, Query, Replica, Searched, View, WriteKind};
use longbow_types::{IdKind, Metric, VectorElement};
use proptest::prelude::*;

use crate::many::hold;
use crate::model::{Condition, Model};
use crate::rows::{DIMENSION, Kind, Life, Row};
use crate::steps::{IDS, Step, apply, condition, learn, step, vector};

pub fn kind() -> impl Strategy<Value = Kind> {
    let id = prop_oneof![Just(IdKind::U64), Just(IdKind::I64), Just(IdKind::Utf8)];
    let element = prop_oneof![
        Just(VectorElement::F16),
        Just(VectorElement::F32),
        Just(VectorElement::F64)
    ];
    let metric = prop_oneof![Just(Metric::L2), Just(Metric::Dot), Just(Metric::Cosine)];
    let life = (any::<bool>(), any::<bool>()).prop_map(|(by_age, by_instant)| Life { by_age, by_instant });
    (id, element, metric, life).prop_map(|(id, element, metric, life)| Kind {
        id,
        element,
        metric,
        life,
    })
}

/// A question to ask of every state.
#[derive(Debug, Clone)]
pub struct Question {
    vector: [f32; DIMENSION],
    k: usize,
    condition: Option<Condition>,
    ids: Vec<u64>,
    limit: u64,
}

pub fn question() -> impl Strategy<Value = Question> {
    let ids = proptest::collection::vec(0..IDS + 4, 0..12);
    (
        vector(),
        1..30_usize,
        proptest::option::of(condition()),
        ids,
        0..12_u64,
    )
        .prop_map(|(vector, k, condition, ids, limit)| Question {
            vector,
            k,
            condition,
            ids,
            limit,
        })
}

fn all(view: &View) -> Projection {
    Projection::new(view.layout(), &["*".into()], true).unwrap()
}

fn never() -> bool {
    false
}

pub fn check(kind: Kind, view: &Arc<View>, model: &Model, question: &Question) {
    assert_eq!(
        (view.applied_index(), view.touched_index(), view.rows()),
        (model.applied, model.touched, model.rows.len())
    );
    assert_eq!(view.digest(), view.digest_anew());
    let condition = question.condition.as_ref();
    let predicate = condition.map(|c| Predicate::compile(&c.filter(), view.layout().schema()).unwrap());
    check_search(kind, view, model, question, predicate.as_ref());
    check_fetch(kind, view, model, &question.ids);

    let scan = view
        .scan(predicate.as_ref(), all(view), question.limit, &never)
        .unwrap();
    let pieces: Vec<RecordBatch> = scan.map(Result::unwrap).collect();
    let mut want = model.scan(condition);
    want.truncate(if question.limit == 0 {
        usize::MAX
    } else {
        question.limit as usize
    });
    let have: Vec<Row> = pieces.iter().flat_map(|piece| kind.rows(piece)).collect();
    assert_eq!(have, want);
}

fn check_search(
    kind: Kind,
    view: &Arc<View>,
    model: &Model,
    question: &Question,
    predicate: Option<&Predicate>,
) {
    let projection = all(view);
    for exact in [true, false] {
        let query = Query {
            searched: Searched::default(),
            vector: (&question.vector).into(),
            k: question.k,
            // Wide enough that a graph of so few rows is searched whole.
            ef: 1_000,
            recall_target: None,
            full_precision: false,
            exact,
            predicate,
            projection: &projection,
        };
        let found = view.search(&query, &never).unwrap().batch;
        let want = model.search(
            kind.metric,
            question.vector,
            question.k,
            question.condition.as_ref(),
        );
        let distances = found
            .column_by_name("_distance")
            .unwrap()
            .as_primitive::<Float32Type>()
            .values();
        assert_eq!(distances.len(), want.len(), "never fewer than k when k match");
        for (have, want) in distances.iter().zip(&want) {
            assert!((have - want.1).abs() < 2e-3, "{have} is not {}", want.1);
        }
        let ids = kind.numbers(found.column(0));
        let versions = found
            .column_by_name("_row_version")
            .unwrap()
            .as_primitive::<UInt64Type>()
            .values();
        if exact && kind.metric != Metric::Cosine {
            // Whole-numbered distances: the order is exact. Of rows as far as the farthest, any may have been taken.
            let farthest = want.last().map(|row| row.1);
            let nearer = |at: &usize| want.get(*at).map(|row| row.1) != farthest;
            let certain = (0..want.len()).take_while(nearer).count();
            let expected: Vec<u64> = want[..certain].iter().map(|row| row.0).collect();
            assert_eq!(ids[..certain], expected);
            assert!(
                ids[certain..].is_sorted_by(|a, b| a < b),
                "the others come by their ids"
            );
        }
        let condition = question.condition.as_ref();
        let distinct: BTreeSet<&u64> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len(), "every row once");
        for (row, (id, version)) in kind.rows(&found).iter().zip(ids.iter().zip(versions)) {
            assert_eq!((row, version), (&model.rows[id].0, &model.rows[id].1));
            assert!(condition.is_none_or(|condition| condition.holds(row)));
        }
    }
}

fn check_fetch(kind: Kind, view: &Arc<View>, model: &Model, ids: &[u64]) {
    let found = view.fetch(kind.ids(ids).as_ref(), &all(view)).unwrap();
    let versions = found
        .column_by_name("_row_version")
        .unwrap()
        .as_primitive::<UInt64Type>()
        .values();
    let mut have: Vec<(Row, u64)> = kind
        .rows(&found)
        .into_iter()
        .zip(versions.iter().copied())
        .collect();
    have.sort_by_key(|(row, _)| row.id);
    let want = model
        .rows
        .iter()
        .filter(|(id, _)| ids.contains(id))
        .map(|(_, row)| row.clone());
    assert_eq!(have, want.collect::<Vec<_>>());
}

fn run(kind: Kind, steps: &[Step], question: &Question) {
    let mut replica = Replica::new(kind.schema(), &Options::default(), 7);
    let mut model = Model::created_at(7).living(kind.life);
    let mut cursor = Cursor::default();
    // Views taken along the way, with what they must show for ever.
    let mut taken: Vec<(Arc<View>, Model)> = vec![(replica.reader().view(), model.clone())];
    for (at, step) in steps.iter().enumerate() {
        let index = 10 + 2 * at as u64;
        let step = &step.resolved(&model);
        apply(kind, &mut replica, &mut cursor, index, step);
        if let Some(outcome) = learn(&mut model, index, step) {
            assert_eq!(replica.reader().outcome(index).unwrap(), outcome);
        }
        if matches!(step, Step::Publish) {
            let view = replica.reader().view();
            check(kind, &view, &model, question);
            taken.push((view, model.clone()));
            // Let some views go, so that the index forgets what they showed.
            if taken.len() > 6 {
                taken.remove(at % 3);
            }
        }
        let (view, then) = taken.last().unwrap();
        check(kind, view, then, question);
    }
    for (view, then) in &taken {
        check(kind, view, then, question);
    }
}

#[test]
fn every_view_answers_as_the_model() {
    let all = (kind(), proptest::collection::vec(step(), 1..40), question());
    hold(4_000, &all, |(kind, steps, question)| {
        run(kind, &steps, &question)
    });
}

#[test]
fn vectors_come_back_bit_by_bit() {
    use arrow::array::{Array, FixedSizeListArray, Float32Array};
    let kind = Kind {
        id: IdKind::U64,
        element: VectorElement::F32,
        metric: Metric::Cosine,
        life: Life::FOR_EVER,
    };
    let odd = [f32::MIN_POSITIVE, -0.0, 1.0e-40, 3.4e38, -1.1, f32::EPSILON];
    let row = |id| Row {
        id,
        number: None,
        text: None,
        tags: None,
        vector: [1.0; 3],
        until: None,
    };
    let batch = kind.batch(&[row(1), row(2)]);
    let (field, size, ..) = batch.column(1).as_fixed_size_list().clone().into_parts();
    let vectors = FixedSizeListArray::new(field, size, Arc::new(Float32Array::from(odd.to_vec())), None);
    let mut columns = batch.columns().to_vec();
    columns[1] = Arc::new(vectors);
    let batch = RecordBatch::try_new(batch.schema(), columns).unwrap();

    let mut replica = Replica::new(kind.schema(), &Options::default(), 1);
    let body = longbow_storage::batch_to_ipc(&batch).unwrap();
    replica.apply(2, WriteKind::Upsert, &body, 2).unwrap();
    replica.publish();
    let view = replica.reader().view();
    let found = view.fetch(batch.column(2).as_ref(), &all(&view)).unwrap();
    assert_eq!(
        found.column_by_name("vector").unwrap().to_data(),
        batch.column(1).to_data()
    );
    let bits = |array: &arrow::array::ArrayRef| {
        let values = array.as_fixed_size_list().values().clone();
        values
            .as_primitive::<Float32Type>()
            .values()
            .iter()
            .map(|v| v.to_bits())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        bits(found.column_by_name("vector").unwrap()),
        bits(batch.column(1))
    );
}

#[test]
fn a_scan_in_pieces_holds_its_view() {
    let kind = Kind {
        id: IdKind::Utf8,
        element: VectorElement::F16,
        metric: Metric::L2,
        life: Life::FOR_EVER,
    };
    let row = |id: u64| Row {
        id,
        number: Some(id as i32),
        text: Some("x".repeat(300)),
        tags: None,
        vector: [1.0, 2.0, 3.0],
        until: None,
    };
    let rows: Vec<Row> = (0..9_000).map(row).collect();
    let mut replica = Replica::new(kind.schema(), &Options::default(), 1);
    replica
        .apply(2, WriteKind::Upsert, &kind.upsert(&rows), 9_000)
        .unwrap();
    replica.publish();
    let view = replica.reader().view();
    let mut scan = view.scan(None, all(&view), 0, &never).unwrap();
    let first = scan.next().unwrap().unwrap();
    assert!(
        first.num_rows() < 9_000,
        "300 bytes a row make more than one piece"
    );

    let ids: Vec<u64> = (0..9_000).collect();
    replica
        .apply(3, WriteKind::Delete, &kind.delete(&ids), 9_000)
        .unwrap();
    replica.publish();
    assert_eq!(replica.reader().view().rows(), 0);
    let mut pieces = vec![first];
    pieces.extend(scan.map(Result::unwrap));
    let whole = concat_batches(&pieces[0].schema(), &pieces).unwrap();
    assert_eq!(kind.rows(&whole), rows);
}

#[test]
fn predicates_hold_across_chunks_of_any_alignment() {
    let kind = Kind {
        id: IdKind::U64,
        element: VectorElement::F32,
        metric: Metric::L2,
        life: Life::FOR_EVER,
    };
    let mut replica = Replica::new(kind.schema(), &Options::default(), 1);
    let mut model = Model::created_at(1);
    // Each less than half of the one before, so that they stay chunks of their own.
    for (index, from, rows) in [(2, 0, 300), (3, 300, 133), (4, 433, 65), (5, 498, 31)] {
        let rows: Vec<Row> = (from..from + rows)
            .map(|id| Row {
                id,
                number: (id % 3 != 0).then_some((id % 7) as i32),
                text: Some((id % 2).to_string()),
                tags: None,
                vector: [id as f32, 0.0, 1.0],
                until: None,
            })
            .collect();
        replica
            .apply(index, WriteKind::Upsert, &kind.upsert(&rows), rows.len() as u32)
            .unwrap();
        model.upsert(index, &rows);
    }
    replica.publish();
    let view = replica.reader().view();
    for condition in [
        Condition::NumberAtLeast(4),
        Condition::NoNumber,
        Condition::TextIs("1".into()),
        Condition::NotTextIs("1".into()),
    ] {
        let question = Question {
            vector: [440.0, 1.0, 1.0],
            k: 500,
            condition: Some(condition),
            ids: vec![299, 300, 432, 433, 528, 529],
            limit: 0,
        };
        check(kind, &view, &model, &question);
    }
}
