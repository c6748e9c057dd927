//! Random histories of a column of structs whose children become more and wider: every row reads as the model says, whatever
//! version it was written under, through merges and restarts, and two replicas agree.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StructArray,
    UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{Int64Type, UInt64Type};
use arrow_schema::{DataType, Field, Fields};
use longbow_query::filter::Predicate;
use longbow_storage::compact::Cursor;
use longbow_storage::snapshot::{Open, Owner, Snapshots, Verify};
use longbow_storage::{Options, Projection, Replica, WriteKind, batch_to_ipc};
use longbow_types::schema::vector_type;
use longbow_types::{DatasetId, ErrorCode, Metric, Schema, VectorElement};
use longbow_wire::v1::{self, CompareOp, filter::Node, value::Kind};
use proptest::prelude::*;

use crate::snapshots::disk::MemDisk;
use crate::steps::SIZES;

const WIDTHS: [DataType; 4] = [DataType::Int8, DataType::Int16, DataType::Int32, DataType::Int64];
const CHILDREN_MAX: usize = 4;
const IDS: u64 = 10;

/// A struct, or none; a child that was not there yet is null.
type Cell = Option<Vec<Option<i64>>>;

#[derive(Debug, Clone)]
enum Step {
    Upsert(Vec<(u64, Cell)>),
    AddChild,
    WidenChild(usize),
    Compact,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let children = proptest::collection::vec(proptest::option::weighted(0.7, -100..100_i64), CHILDREN_MAX);
    let row = (0..IDS, proptest::option::weighted(0.8, children));
    prop_oneof![
        5 => proptest::collection::vec(row, 1..6).prop_map(Step::Upsert),
        1 => Just(Step::AddChild),
        2 => (0..CHILDREN_MAX).prop_map(Step::WidenChild),
        2 => Just(Step::Compact),
        1 => Just(Step::Restart),
    ]
}

/// The struct's children by their places among the widths.
fn children(widths: &[usize]) -> Fields {
    let child = |(at, &width): (usize, &usize)| Field::new(format!("c{at}"), WIDTHS[width].clone(), true);
    widths.iter().enumerate().map(child).collect()
}

fn schema(widths: &[usize]) -> Schema {
    let fields = vec![
        Field::new("id", DataType::UInt64, false),
        Field::new("v", vector_type(VectorElement::F32, 2), false),
        Field::new("s", DataType::Struct(children(widths)), true),
    ];
    Schema::new(fields, "id", Metric::L2).unwrap()
}

struct Pair {
    replica: Replica,
    twin: Replica,
    widths: Vec<usize>,
    rows: BTreeMap<u64, Cell>,
    index: u64,
    version: u32,
    disk: MemDisk,
}

impl Pair {
    fn new() -> Self {
        let widths = vec![0];
        Self {
            replica: Replica::new(schema(&widths), &Options::default(), 1),
            twin: Replica::new(schema(&widths), &Options::default(), 1),
            widths,
            rows: BTreeMap::new(),
            index: 1,
            version: 1,
            disk: MemDisk::default(),
        }
    }

    fn step(&mut self, step: &Step) {
        self.index += 1;
        match step {
            Step::Upsert(rows) => self.upsert(rows),
            Step::AddChild if self.widths.len() < CHILDREN_MAX => {
                self.widths.push(0);
                self.alter();
            }
            Step::WidenChild(at) if self.widths.get(*at).is_some_and(|&width| width < 3) => {
                self.widths[*at] += 1;
                self.alter();
            }
            Step::Compact => {
                let view = self.replica.reader().view();
                if let Some(plan) = view.compaction(&SIZES, &mut Cursor::default()) {
                    self.replica.install(plan.merge(&|| false).unwrap());
                }
            }
            Step::Restart => self.restart(),
            Step::AddChild | Step::WidenChild(_) => {}
        }
        self.replica.advance(self.index);
        self.replica.publish();
        self.twin.publish();
    }

    fn alter(&mut self) {
        self.version += 1;
        for replica in [&mut self.replica, &mut self.twin] {
            replica
                .alter(self.index, schema(&self.widths), self.version)
                .unwrap();
        }
    }

    fn upsert(&mut self, rows: &[(u64, Cell)]) {
        let schema = schema(&self.widths);
        let columns = children(&self.widths);
        let values = columns.iter().enumerate().map(|(at, child)| {
            let cells = rows
                .iter()
                .map(|(_, cell)| cell.as_ref().and_then(|cell| cell[at]));
            cast(&cells.collect::<Int64Array>(), child.data_type()).unwrap()
        });
        let values: Vec<ArrayRef> = values.collect();
        let there: Vec<bool> = rows.iter().map(|(_, cell)| cell.is_some()).collect();
        let DataType::FixedSizeList(item, size) = vector_type(VectorElement::F32, 2) else {
            unreachable!()
        };
        let vectors = Float32Array::from_iter_values(rows.iter().flat_map(|(id, _)| [*id as f32, 1.0]));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|(id, _)| *id))),
            Arc::new(FixedSizeListArray::new(item, size, Arc::new(vectors), None)),
            Arc::new(StructArray::new(columns, values, Some(there.into()))),
        ];
        let body = batch_to_ipc(&RecordBatch::try_new(schema.arrow().clone(), columns).unwrap()).unwrap();
        for replica in [&mut self.replica, &mut self.twin] {
            replica
                .apply(self.index, WriteKind::Upsert, &body, rows.len() as u32)
                .unwrap();
        }
        for (id, cell) in rows {
            let told = cell.as_ref().map(|cell| cell[..self.widths.len()].to_vec());
            self.rows.insert(*id, told);
        }
    }

    fn restart(&mut self) {
        let owner = Owner {
            dataset: DatasetId(4),
            partition: 0,
            schema_version: self.version,
            catalogue: Vec::new(),
        };
        let view = self.replica.reader().view();
        let mut snapshots = Snapshots::new(self.disk.clone(), 2);
        snapshots.write(&view, owner, &|| false).unwrap();
        let how = Open {
            verify: Verify::Everything,
            fall_back: false,
        };
        let mut again = Snapshots::new(self.disk.clone(), 2);
        let schema = schema(&self.widths);
        let opened = again.open(how, &mut |_| Ok(schema.clone()), &|| false).unwrap();
        self.replica = opened.unwrap().replica;
    }

    /// What the model says of a child of a row.
    fn child(cell: &Cell, at: usize) -> Option<i64> {
        cell.as_ref().and_then(|cell| cell.get(at).copied().flatten())
    }

    fn check(&self) {
        let view = self.replica.reader().view();
        assert_eq!(view.digest(), self.twin.reader().view().digest());
        assert_eq!(view.digest(), view.digest_anew());
        let want = |holds: &dyn Fn(&Cell) -> bool| -> BTreeMap<u64, Cell> {
            let whole = |cell: &Cell| {
                let children = || (0..self.widths.len()).map(|at| Self::child(cell, at)).collect();
                cell.as_ref().map(|_| children())
            };
            let kept = self.rows.iter().filter(|(_, cell)| holds(cell));
            kept.map(|(id, cell)| (*id, whole(cell))).collect()
        };
        let have = |filter: Option<v1::Filter>| -> BTreeMap<u64, Cell> {
            let predicate = filter.map(|filter| Predicate::compile(&filter, &schema(&self.widths)).unwrap());
            let projection = Projection::new(view.layout(), &["s".into()], false).unwrap();
            let scan = view.scan(predicate.as_ref(), projection, 0, &|| false).unwrap();
            scan.flat_map(|batch| self.cells(&batch.unwrap())).collect()
        };
        assert_eq!(have(None), want(&|_| true));
        assert_eq!(have(Some(is_null("s"))), want(&|cell| cell.is_none()));
        for at in 0..self.widths.len() {
            let path = format!("s.c{at}");
            let null = have(Some(is_null(&path)));
            assert_eq!(null, want(&|cell| Self::child(cell, at).is_none()), "{path}");
            let least = have(Some(at_least(&path, 3)));
            assert_eq!(least, want(&|cell| Self::child(cell, at) >= Some(3)), "{path}");
        }
    }

    /// The rows of an answer, which must have the types of the newest schema.
    fn cells(&self, batch: &RecordBatch) -> Vec<(u64, Cell)> {
        let ids = batch.column(0).as_primitive::<UInt64Type>();
        let structs = batch.column_by_name("s").unwrap().as_struct();
        assert_eq!(structs.fields(), &children(&self.widths));
        let columns: Vec<ArrayRef> = structs
            .columns()
            .iter()
            .map(|column| cast(column, &DataType::Int64).unwrap())
            .collect();
        let cell = |row: usize| {
            let child = |column: &ArrayRef| {
                column
                    .is_valid(row)
                    .then(|| column.as_primitive::<Int64Type>().value(row))
            };
            structs.is_valid(row).then(|| columns.iter().map(child).collect())
        };
        (0..batch.num_rows())
            .map(|row| (ids.value(row), cell(row)))
            .collect()
    }
}

fn is_null(path: &str) -> v1::Filter {
    v1::Filter {
        node: Some(Node::IsNull(path.to_owned())),
    }
}

fn at_least(path: &str, bound: i64) -> v1::Filter {
    v1::Filter {
        node: Some(Node::Compare(v1::Comparison {
            column: path.to_owned(),
            op: CompareOp::Ge as i32,
            value: Some(v1::Value {
                kind: Some(Kind::I64(bound)),
            }),
        })),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn every_struct_reads_as_one_of_the_newest_schema(steps in proptest::collection::vec(step(), 1..40)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.step(step);
            pair.check();
        }
    }
}

#[test]
fn children_are_not_dropped_nor_narrowed() {
    let mut pair = Pair::new();
    pair.step(&Step::AddChild);
    pair.step(&Step::WidenChild(1));
    for narrower in [vec![0], vec![0, 0]] {
        let error = pair.replica.alter(9, schema(&narrower), 4).unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref()),
            (ErrorCode::SchemaIncompatible, Some("s.c1")),
            "{error}"
        );
    }
}
