//! Random histories of rows with further vectors: added while rows are there, written with and without a value, changed
//! alone, searched, filtered and restarted. Every view answers as a naive model does, and a replica that is only fed the
//! log has the same digest.

mod files;
mod model;
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::{Float32Type, UInt64Type};
use longbow_query::filter::Predicate;
use longbow_storage::{Projection, Query, Searched, View};
use longbow_types::{ErrorCode, Metric};
use proptest::prelude::*;

use crate::many::hold;

use model::{COLUMNS, Cells, Condition, IDS, Model, distance, floats};
use world::World;

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    /// Whole rows; if they tell nothing of further vectors, their columns are not in the write.
    Upsert(Vec<Cells>, bool),
    /// Of rows whose ids are free.
    Insert(Vec<Cells>),
    /// The number, the vector, and each of the further ones, where so said.
    Update(Vec<Cells>, [bool; 2 + COLUMNS]),
    Delete(Vec<u64>),
    DeleteWhere(Condition),
    /// Log time goes on by so many milliseconds.
    Tick(u64),
    AddColumn,
    Publish,
    Link(usize),
    Vacuum,
    Compact,
    Snapshot,
    Restart,
}

fn vector(dimension: usize) -> impl Strategy<Value = Vec<f32>> {
    proptest::collection::vec((-3..=3_i8).prop_map(f32::from), dimension)
}

fn cells() -> impl Strategy<Value = Cells> {
    let further = |at| proptest::option::of(vector(model::dimension(at)));
    (
        0..IDS,
        proptest::option::of(-2..3_i32),
        vector(2),
        further(0),
        further(1),
    )
        .prop_map(|(id, number, vector, first, second)| Cells {
            id,
            number,
            vector,
            further: [first, second],
        })
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        (-2..3_i32).prop_map(Condition::NumberAtLeast),
        (0..COLUMNS).prop_map(Condition::Has),
        (0..COLUMNS).prop_map(Condition::HasNot),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let rows = |most| proptest::collection::vec(cells(), 0..most);
    prop_oneof![
        5 => (rows(10), any::<bool>()).prop_map(|(rows, told)| Step::Upsert(rows, told)),
        1 => rows(6).prop_map(Step::Insert),
        3 => (rows(6), any::<[bool; 2 + COLUMNS]>()).prop_map(|(rows, which)| Step::Update(rows, which)),
        1 => proptest::collection::vec(0..IDS, 0..6).prop_map(Step::Delete),
        1 => condition().prop_map(Step::DeleteWhere),
        2 => (0..800_u64).prop_map(Step::Tick),
        1 => Just(Step::AddColumn),
        4 => Just(Step::Publish),
        2 => (1..20_usize).prop_map(Step::Link),
        2 => Just(Step::Vacuum),
        3 => Just(Step::Compact),
        2 => Just(Step::Snapshot),
        1 => Just(Step::Restart),
    ]
}

/// What is asked of every view.
#[derive(Debug, Clone)]
struct Question {
    near: [Vec<f32>; 1 + COLUMNS],
    k: usize,
    condition: Option<Condition>,
}

fn question() -> impl Strategy<Value = Question> {
    let near = (
        vector(2),
        vector(model::dimension(0)),
        vector(model::dimension(1)),
    );
    (near, 1..12_usize, proptest::option::of(condition())).prop_map(|((a, b, c), k, condition)| Question {
        near: [a, b, c],
        k,
        condition,
    })
}

fn check(view: &Arc<View>, model: &Model, question: &Question) {
    assert_eq!(
        (view.applied_index(), view.rows()),
        (model.applied, model.rows.len())
    );
    assert_eq!(view.digest(), view.digest_anew());
    let condition = question.condition.filter(|condition| condition.is_of(model));
    let predicate = condition.map(|c| Predicate::compile(&c.filter(), view.layout().schema()).unwrap());
    for column in 0..=model.columns {
        for exact in [true, false] {
            search(
                view,
                model,
                question,
                column,
                exact,
                (condition, predicate.as_ref()),
            );
        }
    }
    let names: Vec<String> = (0..model.columns).map(model::name).collect();
    let mut names: Vec<String> = [vec!["*".to_owned()], names].concat();
    names.push("v".to_owned());
    let projection = Projection::new(view.layout(), &names, false).unwrap();
    let ids = UInt64Array::from_iter_values(0..IDS);
    let mut fetched = rows(&view.fetch(&ids, &projection).unwrap(), model.columns);
    fetched.sort_by_key(|row| row.id);
    let want: Vec<Cells> = model.rows.values().cloned().collect();
    assert_eq!(fetched, want);
    let scan = view.scan(predicate.as_ref(), projection, 0, &|| false).unwrap();
    let pieces: Vec<RecordBatch> = scan.map(Result::unwrap).collect();
    let mut scanned: Vec<Cells> = pieces
        .iter()
        .flat_map(|piece| rows(piece, model.columns))
        .collect();
    scanned.sort_by_key(|row| row.id);
    assert_eq!(scanned, model.matching(condition));
}

/// One search, of the vector column of that number: 0 for the one that every row has a value in.
fn search(
    view: &View,
    model: &Model,
    question: &Question,
    column: usize,
    exact: bool,
    (condition, predicate): (Option<Condition>, Option<&Predicate>),
) {
    let name = match column {
        0 => String::new(),
        further => model::name(further - 1),
    };
    let projection = Projection::new(view.layout(), &[], false).unwrap();
    let near = &question.near[column];
    let query = Query {
        searched: Searched::new(view.layout(), &name).unwrap(),
        vector: near.into(),
        k: question.k,
        // Wide enough that a graph of so few rows is searched whole.
        ef: 1_000,
        recall_target: None,
        full_precision: false,
        exact,
        predicate,
        projection: &projection,
    };
    let found = view.search(&query, &|| false).unwrap();
    let metric = if column == 0 {
        Metric::L2
    } else {
        model::metric(column - 1)
    };
    let value = |row: &Cells| match column {
        0 => Some(row.vector.clone()),
        further => row.further[further - 1].clone(),
    };
    let all = model.matching(condition);
    let distances = all
        .iter()
        .filter_map(|row| Some((row.id, distance(metric, near, &value(row)?))));
    let distances: std::collections::BTreeMap<u64, f32> = distances.collect();
    assert_eq!(found.profile.matching, distances.len());
    let mut want: Vec<f32> = distances.values().copied().collect();
    want.sort_by(f32::total_cmp);
    want.truncate(question.k);
    let have = found.batch.column_by_name("_distance").unwrap();
    assert_eq!(
        have.as_primitive::<Float32Type>().values()[..],
        want[..],
        "column {column}"
    );
    let ids = found.batch.column(0).as_primitive::<UInt64Type>().values();
    assert_eq!(
        ids.iter().collect::<BTreeSet<_>>().len(),
        ids.len(),
        "every row once"
    );
    for (id, distance) in ids.iter().zip(&want) {
        assert_eq!(distances[id], *distance);
    }
    let versions = found.batch.column_by_name("_row_version").unwrap();
    for (id, version) in ids.iter().zip(versions.as_primitive::<UInt64Type>().values()) {
        assert_eq!(model.versions[id], *version);
    }
}

/// The rows of an answer that holds all columns.
fn rows(batch: &RecordBatch, columns: usize) -> Vec<Cells> {
    let column = |name: &str| {
        batch
            .column_by_name(name)
            .unwrap_or_else(|| panic!("{name} is returned"))
    };
    let ids = column("id").as_primitive::<UInt64Type>();
    let numbers = column("number").as_primitive::<arrow::datatypes::Int32Type>();
    let vectors = column("v").as_fixed_size_list();
    let further = |at: usize, row: usize| {
        let name = model::name(at);
        let lists = (at < columns).then(|| column(&name).as_fixed_size_list())?;
        lists.is_valid(row).then(|| floats(&lists.value(row)))
    };
    (0..batch.num_rows())
        .map(|row| Cells {
            id: ids.value(row),
            number: numbers.is_valid(row).then(|| numbers.value(row)),
            vector: floats(&vectors.value(row)),
            further: [further(0, row), further(1, row)],
        })
        .collect()
}

fn run(at_first: usize, steps: &[Step], question: &Question) {
    let mut world = World::new(at_first);
    let mut taken: Vec<(Arc<View>, Model)> = vec![(world.view(), world.published.clone())];
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Upsert(rows, told) => world.upsert(rows, *told),
            Step::Insert(rows) => world.insert(rows),
            Step::Update(rows, which) => world.update(rows, *which),
            Step::Delete(ids) => world.delete(ids),
            Step::DeleteWhere(condition) => world.delete_where(*condition),
            Step::Tick(by) => world.tick(*by),
            Step::AddColumn => world.add_column(),
            Step::Publish => world.publish(),
            Step::Link(max) => drop(world.replica.reader().link(*max)),
            Step::Vacuum => while world.replica.reader().vacuum(100) > 0 {},
            Step::Compact => world.compact(),
            Step::Snapshot => world.snapshot(),
            Step::Restart => world.restart(&|view, model| check(view, model, question)),
        }
        if matches!(step, Step::Publish | Step::Restart) {
            taken.push((world.view(), world.published.clone()));
            // Let some views go, so that the indexes forget what they showed.
            if taken.len() > 5 {
                taken.remove(at % 3);
            }
        }
        check(&world.view(), &world.published, question);
    }
    for (view, then) in &taken {
        check(view, then, question);
    }
    world.publish();
    world.twin.publish();
    assert_eq!(world.view().digest(), world.twin.reader().view().digest());
}

#[test]
fn every_view_answers_as_the_model() {
    let all = (0..=COLUMNS, proptest::collection::vec(step(), 1..40), question());
    hold(1_000, &all, |(at_first, steps, question)| {
        run(at_first, &steps, &question)
    });
}

fn row(id: u64, image: Option<[f32; 3]>) -> Cells {
    Cells {
        id,
        number: Some(1),
        vector: vec![id as f32, 0.0],
        further: [image.map(Vec::from), None],
    }
}

#[test]
fn rows_without_a_value_take_no_slot() {
    let mut world = World::new(1);
    let some: Vec<Cells> = (0..1_000)
        .map(|id| row(id, (id % 10 == 0).then_some([1.0, 2.0, 3.0])))
        .collect();
    world.upsert(&some, true);
    world.publish();
    // One for each row, and one for each value.
    assert_eq!(world.replica.reader().unlinked(), 1_100);
    let none: Vec<Cells> = (1_000..1_100).map(|id| row(id, None)).collect();
    world.upsert(&none, false);
    world.publish();
    assert_eq!(world.replica.reader().unlinked(), 1_200);
    let mark = world.replica.reader().mark();
    assert!(!world.replica.reader().passed(&mark));
    let mut linked = 0;
    while let done @ 1.. = world.replica.reader().link(64) {
        linked += done;
    }
    assert_eq!(linked, 1_200);
    assert!(
        world.replica.reader().passed(&mark),
        "all are linked in both graphs"
    );
}

#[test]
fn slots_of_values_that_went_are_used_again() {
    let mut world = World::new(1);
    let rows: Vec<Cells> = (0..100).map(|id| row(id, Some([id as f32, 0.0, 1.0]))).collect();
    for round in 0..30 {
        world.upsert(&rows, true);
        world.publish();
        // One publication to replace the newest view, and one that finds it gone.
        for _ in 0..2 {
            world.advance();
            world.publish();
        }
        while world.replica.reader().link(64) > 0 {}
        while world.replica.reader().vacuum(64) > 0 {}
        let memory = world.replica.reader().memory();
        assert!(round < 2 || memory.vectors > 0);
    }
    // Written twice and never cleaned up after: what one round leaves until the next finds its slots free.
    let mut twice = World::new(1);
    twice.upsert(&rows, true);
    twice.upsert(&rows, true);
    twice.publish();
    let bytes = |world: &World| world.replica.reader().memory().vectors;
    let (have, want) = (bytes(&world), bytes(&twice));
    assert!(
        have <= 2 * want,
        "{have} bytes for what takes {want} when it is written twice"
    );
    // And what further vectors take is accounted for.
    let mut bare = World::new(1);
    bare.upsert(&rows, false);
    bare.publish();
    assert!(bytes(&bare) < bytes(&twice));
}

/// Slots are given to others while searches go on: each finds what its view shows, and all of it.
#[test]
fn no_value_is_missing_or_another_while_all_are_replaced() {
    use std::sync::atomic::{AtomicBool, Ordering};
    const ROWS: u64 = 200;
    let mut world = World::new(1);
    let rows = |round: u64| -> Vec<Cells> {
        let image = |id: u64| [id as f32, (round % 100) as f32, 1.0];
        (0..ROWS).map(|id| row(id, Some(image(id)))).collect()
    };
    world.upsert(&rows(0), true);
    world.publish();
    let reader = world.replica.reader().clone();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let look = || {
            let mut looks = 0;
            while !ended.load(Ordering::Relaxed) || looks == 0 {
                let view = reader.view();
                let projection = Projection::new(view.layout(), &["w0".to_owned()], false).unwrap();
                let near = [7.0_f32, 50.0, 1.0];
                let query = Query {
                    searched: Searched::new(view.layout(), "w0").unwrap(),
                    vector: (&near).into(),
                    k: ROWS as usize,
                    ef: 1_000,
                    recall_target: None,
                    full_precision: false,
                    exact: looks % 2 == 0,
                    predicate: None,
                    projection: &projection,
                };
                let found = view.search(&query, &|| false).unwrap().batch;
                assert_eq!(found.num_rows() as u64, ROWS);
                let distances = found
                    .column_by_name("_distance")
                    .unwrap()
                    .as_primitive::<Float32Type>();
                let ids = found.column_by_name("id").unwrap().as_primitive::<UInt64Type>();
                let values = found.column_by_name("w0").unwrap().as_fixed_size_list();
                let round = floats(&values.value(0))[1];
                for at in 0..found.num_rows() {
                    let value = floats(&values.value(at));
                    assert_eq!(value[..2], [ids.value(at) as f32, round], "all are of one state");
                    assert_eq!(distances.value(at), distance(model::metric(0), &near, &value));
                }
                looks += 1;
            }
        };
        let readers = [scope.spawn(look), scope.spawn(look)];
        for round in 1..150 {
            world.upsert(&rows(round), true);
            world.publish();
            while reader.link(32) > 0 {}
            while reader.vacuum(64) > 0 {}
        }
        ended.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn a_value_is_changed_alone_and_others_stay() {
    let mut world = World::new(2);
    world.upsert(&[row(1, Some([1.0, 1.0, 1.0])), row(2, None)], true);
    world.publish();
    let old = (world.view(), world.published.clone());
    // Only the second further column, of a row that has a value in the first, and of one that has none.
    let mut changed = [row(1, None), row(2, None)];
    for row in &mut changed {
        row.further[1] = Some(vec![2.0, 2.0]);
    }
    world.update(&changed, [false, false, false, true]);
    world.publish();
    let rows = &world.published.rows;
    assert_eq!(rows[&1].further, [Some(vec![1.0; 3]), Some(vec![2.0; 2])]);
    assert_eq!(rows[&2].further, [None, Some(vec![2.0; 2])]);
    let question = Question {
        near: [vec![0.0; 2], vec![0.0; 3], vec![0.0; 2]],
        k: 5,
        condition: None,
    };
    check(&world.view(), &world.published, &question);
    check(&old.0, &old.1, &question);
    // A value goes when a null is told.
    world.update(&[row(1, None)], [false, false, true, false]);
    world.publish();
    assert_eq!(world.published.rows[&1].further, [None, Some(vec![2.0; 2])]);
    check(&world.view(), &world.published, &question);
}

#[test]
fn bad_questions_and_bodies_are_refused_by_name() {
    let mut world = World::new(1);
    world.upsert(&[row(1, Some([1.0, 2.0, 3.0]))], true);
    world.publish();
    let view = world.view();
    for (name, code) in [
        ("number", ErrorCode::TypeMismatch),
        ("w1", ErrorCode::UnknownColumn),
    ] {
        let error = Searched::new(view.layout(), name).unwrap_err();
        assert_eq!((error.code, error.field.as_deref()), (code, Some(name)));
        assert_eq!(error.limit.as_deref(), Some("one of v, w0"));
    }
    let projection = Projection::new(view.layout(), &[], false).unwrap();
    let query = Query {
        searched: Searched::new(view.layout(), "w0").unwrap(),
        vector: (&[1.0_f32, 2.0]).into(),
        k: 1,
        ef: 0,
        recall_target: None,
        full_precision: false,
        exact: true,
        predicate: None,
        projection: &projection,
    };
    let error = view.search(&query, &|| false).unwrap_err();
    assert_eq!(
        (error.code, error.limit.as_deref()),
        (ErrorCode::DimensionMismatch, Some("3"))
    );
    // One of another dimension.
    let mut wrong = row(3, None);
    wrong.further[0] = Some(vec![1.0; 4]);
    let error = world.apply_raw(&world.body_of(&[wrong], &[4])).unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::SchemaMismatch, Some("w0"))
    );
}
