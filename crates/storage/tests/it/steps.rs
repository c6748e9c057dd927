//! What may happen to a replica, at random: writes of all kinds, and all that goes on behind them.

use std::thread;

use longbow_query::filter::Predicate;
use longbow_storage::compact::{Cursor, Moved, Sizes};
use longbow_storage::{Outcome, Replica, WriteKind};
use proptest::prelude::*;

use crate::model::{Condition, Model};
use crate::rows::{DIMENSION, Kind, Row};

pub const IDS: u64 = 24;

#[derive(Debug, Clone)]
pub enum Step {
    Upsert(Vec<Row>),
    Delete(Vec<u64>),
    UpsertIf(Vec<(Row, Asked)>),
    DeleteIf(Vec<(u64, Asked)>),
    DeleteWhere(Condition),
    /// Of number and text, and of the vector if so said.
    Update(Vec<(Row, Asked)>, bool),
    /// Log time goes on by so many milliseconds, and is this then.
    Tick {
        by: u64,
        at: u64,
    },
    Advance,
    Publish,
    Link(usize),
    /// Rows that no view shows leave the graph, and their slots are free.
    Vacuum,
    /// Chunks are merged, if there is anything to merge, on so many threads.
    Compact(usize),
}

/// The version that a row of a conditional write asks for.
#[derive(Debug, Clone, Copy)]
pub enum Asked {
    /// That of the row that is there when the step comes, 0 if there is none.
    Current,
    Exactly(u64),
}

impl Step {
    /// Whether it is an entry of the log that rows may change by.
    pub fn is_write(&self) -> bool {
        matches!(
            self,
            Step::Upsert(_)
                | Step::Delete(_)
                | Step::UpsertIf(_)
                | Step::DeleteIf(_)
                | Step::DeleteWhere(_)
                | Step::Update(..)
                | Step::Tick { .. }
        )
    }

    /// The same step, every version that it asks for and log time spelt out.
    pub fn resolved(&self, model: &Model) -> Step {
        let version = |id: u64, asked: Asked| match asked {
            Asked::Current => Asked::Exactly(model.version(id)),
            exactly @ Asked::Exactly(_) => exactly,
        };
        match self {
            Step::UpsertIf(rows) => {
                let rows = rows
                    .iter()
                    .map(|(row, asked)| (model.fit(row), version(row.id, *asked)));
                Step::UpsertIf(rows.collect())
            }
            Step::DeleteIf(ids) => {
                Step::DeleteIf(ids.iter().map(|&(id, asked)| (id, version(id, asked))).collect())
            }
            Step::Update(rows, vector) => {
                let asked = |(row, asked): &(Row, Asked)| match version(row.id, *asked) {
                    // What is not there has no version; nor is it asked for.
                    Asked::Exactly(0) => (row.clone(), Asked::Exactly(u64::MAX)),
                    asked => (row.clone(), asked),
                };
                Step::Update(rows.iter().map(asked).collect(), *vector)
            }
            Step::Upsert(rows) => Step::Upsert(rows.iter().map(|row| model.fit(row)).collect()),
            Step::Tick { by, .. } => Step::Tick {
                by: *by,
                at: model.log_time + by,
            },
            other => other.clone(),
        }
    }
}

/// The versions of a resolved step.
fn exact<T: Clone>(asked: &[(T, Asked)]) -> Vec<(T, u64)> {
    let exactly = |(what, asked): &(T, Asked)| match asked {
        Asked::Exactly(version) => (what.clone(), *version),
        Asked::Current => unreachable!("the step is resolved"),
    };
    asked.iter().map(exactly).collect()
}

/// Carries a step out.
pub fn apply(kind: Kind, replica: &mut Replica, cursor: &mut Cursor, index: u64, step: &Step) {
    let mut write = |what, body: &[u8], rows: usize| {
        replica.apply(index, what, body, rows as u32).unwrap();
    };
    match step {
        Step::Upsert(rows) => write(WriteKind::Upsert, &kind.upsert(rows), rows.len()),
        Step::Delete(ids) => write(WriteKind::Delete, &kind.delete(ids), ids.len()),
        Step::UpsertIf(rows) => write(WriteKind::UpsertIf, &kind.upsert_if(&exact(rows)), rows.len()),
        Step::DeleteIf(ids) => write(WriteKind::DeleteIf, &kind.delete_if(&exact(ids)), ids.len()),
        Step::Update(rows, vector) => {
            write(WriteKind::Update, &kind.update(&exact(rows), *vector), rows.len());
        }
        Step::DeleteWhere(condition) => {
            let schema = replica.layout().schema();
            let predicate = Predicate::compile(&condition.filter(), schema).unwrap();
            replica.delete_where(index, &predicate).unwrap();
        }
        Step::Tick { at, .. } => drop(replica.tick(index, *at).unwrap()),
        Step::Advance => replica.advance(index),
        Step::Publish => replica.publish(),
        Step::Link(max) => drop(replica.reader().link(*max)),
        Step::Vacuum => while replica.reader().vacuum(100) > 0 {},
        Step::Compact(threads) => drop(compact(replica, cursor, *threads)),
    }
}

/// What of it changes rows, in the model; and the outcome, if it has one.
pub fn learn(model: &mut Model, index: u64, step: &Step) -> Option<Outcome> {
    match step {
        Step::Upsert(rows) => model.upsert(index, rows),
        Step::Delete(ids) => model.delete(index, ids),
        Step::UpsertIf(rows) => {
            let matched = model.upsert_if(index, &exact(rows));
            return Some(Outcome::Rows(matched.into()));
        }
        Step::DeleteIf(ids) => {
            let matched = model.delete_if(index, &exact(ids));
            return Some(Outcome::Rows(matched.into()));
        }
        Step::Update(rows, vector) => {
            let matched = model.update(index, &exact(rows), *vector);
            return Some(Outcome::Rows(matched.into()));
        }
        Step::DeleteWhere(condition) => {
            return Some(Outcome::Matched(model.delete_where(index, condition)));
        }
        Step::Tick { at, .. } => model.tick(index, *at),
        Step::Advance => model.advance(index),
        _ => {}
    }
    None
}

/// Small enough that a few rows are much.
pub const SIZES: Sizes = Sizes {
    loose_rows_max: 0,
    rows_max: 20,
    bytes_max: 4_000,
};

/// Merges the next chunks of what readers see, and installs the new one.
pub fn compact(replica: &mut Replica, cursor: &mut Cursor, threads: usize) -> Option<Moved> {
    let plan = replica.reader().view().compaction(&SIZES, cursor)?;
    let merge = plan.begin();
    let work = || merge.work(&|| false);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    replica.install(merge.finish().unwrap())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("")].prop_map(str::to_owned)
}

pub fn vector() -> impl Strategy<Value = [f32; DIMENSION]> {
    proptest::array::uniform3((-3..=3_i8).prop_map(f32::from))
        .prop_filter("cosine has no zero vectors", |vector| {
            vector.iter().any(|&element| element != 0.0)
        })
}

fn row() -> impl Strategy<Value = Row> {
    let tags = proptest::option::of(proptest::collection::vec(text(), 0..3));
    let number = proptest::option::of(-2..3_i32);
    let until = proptest::option::of(0..5_000_i64);
    (
        0..IDS,
        number,
        proptest::option::of(text()),
        tags,
        vector(),
        until,
    )
        .prop_map(|(id, number, text, tags, vector, until)| Row {
            id,
            number,
            text,
            tags,
            vector,
            until,
        })
}

pub fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        (-2..3_i32).prop_map(Condition::NumberAtLeast),
        text().prop_map(Condition::TextIs),
        text().prop_map(Condition::NotTextIs),
        Just(Condition::NoNumber),
    ]
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![
        3 => Just(Asked::Current),
        1 => Just(Asked::Exactly(0)),
        2 => (5..30_u64).prop_map(|version| Asked::Exactly(2 * version)),
    ]
}

pub fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => proptest::collection::vec(row(), 0..12).prop_map(Step::Upsert),
        2 => proptest::collection::vec(0..IDS, 0..6).prop_map(Step::Delete),
        1 => condition().prop_map(Step::DeleteWhere),
        2 => (proptest::collection::vec((row(), asked()), 0..8), any::<bool>())
            .prop_map(|(rows, vector)| Step::Update(rows, vector)),
        3 => proptest::collection::vec((row(), asked()), 0..8).prop_map(Step::UpsertIf),
        1 => proptest::collection::vec((0..IDS, asked()), 0..6).prop_map(Step::DeleteIf),
        3 => (0..800_u64).prop_map(|by| Step::Tick { by, at: 0 }),
        1 => Just(Step::Advance),
        4 => Just(Step::Publish),
        2 => (1..20_usize).prop_map(Step::Link),
        2 => Just(Step::Vacuum),
        3 => (1..3_usize).prop_map(Step::Compact),
    ]
}
