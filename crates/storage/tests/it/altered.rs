//! Random histories in which the schema changes: every row reads as the model says, through replacements, filters and
//! restarts, whatever version it was written under.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Float64Array, Int64Array, RecordBatch,
    StringArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{Float64Type, Int64Type, UInt64Type};
use arrow_schema::{DataType, Field};
use longbow_query::filter::Predicate;
use longbow_storage::compact::{Cursor, Merged};
use longbow_storage::snapshot::{Open, Owner, Snapshots, Verify};
use longbow_storage::{Options, Projection, Replica, View, WriteKind, batch_to_ipc};
use longbow_types::evolution::widens;
use longbow_types::schema::vector_type;
use longbow_types::{DatasetId, DefaultValue, ErrorCode, Metric, Schema, VectorElement};
use longbow_wire::v1::{self, CompareOp, filter::Node, value::Kind};
use proptest::prelude::*;

use crate::many::hold;
use crate::snapshots::disk::MemDisk;
use crate::steps::SIZES;

const TYPES: [DataType; 12] = [
    DataType::Int8,
    DataType::Int16,
    DataType::Int32,
    DataType::Int64,
    DataType::UInt8,
    DataType::UInt16,
    DataType::UInt32,
    DataType::UInt64,
    DataType::Float16,
    DataType::Float32,
    DataType::Float64,
    DataType::Utf8,
];
const IDS: u64 = 12;
const COLUMNS_MAX: usize = 6;

/// A value as anybody would write it.
#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Null,
    Int(i64),
    Float(f64),
    Text(String),
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    data_type: DataType,
    /// Rows that do not tell it hold this; without one they hold a null.
    default: Option<Cell>,
}

impl Column {
    fn field(&self) -> Field {
        Field::new(&self.name, self.data_type.clone(), self.default.is_none())
    }

    /// A value of the column, one for each seed; small enough for every width.
    fn cell(&self, seed: u8) -> Cell {
        let number = i64::from(seed % 100);
        match &self.data_type {
            _ if seed.is_multiple_of(5) && self.default.is_none() => Cell::Null,
            DataType::Utf8 => Cell::Text(format!("text {}", seed % 4)),
            floats if floats.is_floating() => Cell::Float(number as f64 / 4.0 - 10.0),
            integers if integers.is_signed_integer() => Cell::Int(number - 50),
            _ => Cell::Int(number),
        }
    }
}

/// Rows by id, each with what it told when it was written.
#[derive(Debug, Clone, Default)]
struct Model {
    columns: Vec<Column>,
    rows: BTreeMap<u64, BTreeMap<String, Cell>>,
}

impl Model {
    fn cell(&self, row: &BTreeMap<String, Cell>, column: &Column) -> Cell {
        let told = row.get(&column.name).cloned();
        told.or_else(|| column.default.clone()).unwrap_or(Cell::Null)
    }

    fn schema(&self) -> Schema {
        let mut fields = vec![
            Field::new("id", DataType::UInt64, false),
            Field::new("v", vector_type(VectorElement::F32, 2), false),
        ];
        fields.extend(self.columns.iter().map(Column::field));
        let mut schema = Schema::new(fields, "id", Metric::L2).unwrap();
        for column in &self.columns {
            let value = match &column.default {
                None | Some(Cell::Null) => continue,
                Some(Cell::Int(value)) => DefaultValue::Int((*value).into()),
                Some(Cell::Float(value)) => DefaultValue::Float(*value),
                Some(Cell::Text(value)) => DefaultValue::Text(value.clone()),
            };
            schema = schema.with_default(&column.name, value).unwrap();
        }
        schema
    }
}

#[derive(Debug, Clone)]
enum Step {
    Upsert(Vec<(u64, u8)>),
    Delete(Vec<u64>),
    Add { kind: usize, default: bool },
    Widen { column: usize, kind: usize },
    Merge,
    Install,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => proptest::collection::vec((0..IDS, any::<u8>()), 1..8).prop_map(Step::Upsert),
        1 => proptest::collection::vec(0..IDS, 1..4).prop_map(Step::Delete),
        2 => (0..TYPES.len(), any::<bool>()).prop_map(|(kind, default)| Step::Add { kind, default }),
        2 => (0..COLUMNS_MAX, 0..TYPES.len()).prop_map(|(column, kind)| Step::Widen { column, kind }),
        2 => Just(Step::Merge),
        2 => Just(Step::Install),
        1 => Just(Step::Restart),
    ]
}

/// A replica, another that is only fed, and the model of both.
struct Pair {
    replica: Replica,
    twin: Replica,
    model: Model,
    index: u64,
    version: u32,
    disk: MemDisk,
    merged: Option<Merged>,
}

impl Pair {
    fn new() -> Self {
        let columns = [("n", DataType::Int8), ("x", DataType::Float16)].map(|(name, data_type)| Column {
            name: name.to_owned(),
            data_type,
            default: None,
        });
        let model = Model {
            columns: columns.into(),
            ..Model::default()
        };
        Self {
            replica: Replica::new(model.schema(), &Options::default(), 1),
            twin: Replica::new(model.schema(), &Options::default(), 1),
            model,
            index: 1,
            version: 1,
            disk: MemDisk::default(),
            merged: None,
        }
    }

    fn step(&mut self, step: &Step) {
        self.index += 1;
        match step {
            Step::Upsert(rows) => self.upsert(rows),
            Step::Delete(ids) => {
                let column: ArrayRef = Arc::new(UInt64Array::from(ids.clone()));
                let body = RecordBatch::try_from_iter_with_nullable([("id", column, false)]).unwrap();
                self.apply(WriteKind::Delete, &body);
                ids.iter().for_each(|id| drop(self.model.rows.remove(id)));
            }
            Step::Add { kind, default } => {
                let mut column = Column {
                    name: format!("c{}", self.model.columns.len()),
                    data_type: TYPES[*kind].clone(),
                    default: None,
                };
                column.default = default.then(|| column.cell(7));
                let mut next = self.model.clone();
                next.columns.push(column);
                if next.columns.len() <= COLUMNS_MAX {
                    self.alter(next);
                }
            }
            Step::Widen { column, kind } => {
                let mut next = self.model.clone();
                let Some(column) = next.columns.get_mut(*column) else {
                    return;
                };
                let to = TYPES[*kind].clone();
                let allowed = widens(&column.data_type, &to);
                column.data_type = to;
                if allowed {
                    self.alter(next);
                }
            }
            Step::Merge => {
                let view = self.replica.reader().view();
                let plan = view.compaction(&SIZES, &mut Cursor::default());
                self.merged = plan.map(|plan| plan.merge(&|| false).unwrap());
            }
            Step::Install => {
                let _ = self.merged.take().map(|merged| self.replica.install(merged));
            }
            Step::Restart => {
                self.merged = None;
                self.restart();
            }
        }
        self.replica.advance(self.index);
        self.replica.publish();
        self.twin.publish();
    }

    fn apply(&mut self, kind: WriteKind, body: &RecordBatch) {
        let bytes = batch_to_ipc(body).unwrap();
        let rows = body.num_rows() as u32;
        for replica in [&mut self.replica, &mut self.twin] {
            replica.apply(self.index, kind, &bytes, rows).unwrap();
        }
    }

    fn upsert(&mut self, rows: &[(u64, u8)]) {
        // Whole rows, of the version that there is now.
        let schema = self.model.schema();
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|(id, _)| *id))),
            vectors(rows),
        ];
        for column in &self.model.columns {
            let cells: Vec<Cell> = rows.iter().map(|(_, seed)| column.cell(*seed)).collect();
            columns.push(array(&cells, &column.data_type));
        }
        let body = RecordBatch::try_new(schema.arrow().clone(), columns).unwrap();
        self.apply(WriteKind::Upsert, &body);
        for (id, seed) in rows {
            let told = self.model.columns.iter();
            let told = told.map(|column| (column.name.clone(), column.cell(*seed)));
            self.model.rows.insert(*id, told.collect());
        }
    }

    fn alter(&mut self, next: Model) {
        self.version += 1;
        for replica in [&mut self.replica, &mut self.twin] {
            replica.alter(self.index, next.schema(), self.version).unwrap();
        }
        self.model = next;
    }

    fn restart(&mut self) {
        let mut snapshots = Snapshots::new(self.disk.clone(), 2);
        let owner = Owner {
            dataset: DatasetId(4),
            partition: 0,
            schema_version: self.version,
            catalogue: Vec::new(),
        };
        let view = self.replica.reader().view();
        snapshots.write(&view, owner, &|| false).unwrap();
        let how = Open {
            verify: Verify::Everything,
            fall_back: false,
        };
        let schema = self.model.schema();
        let mut again = Snapshots::new(self.disk.clone(), 2);
        let opened = again.open(how, &mut |_| Ok(schema.clone()), &|| false).unwrap();
        self.replica = opened.unwrap().replica;
        assert_eq!(self.replica.reader().view().layout().version(), self.version);
    }

    fn check(&self) {
        let view = self.replica.reader().view();
        assert_eq!(view.rows(), self.model.rows.len());
        assert_eq!(view.digest(), self.twin.reader().view().digest());
        assert_eq!(view.digest(), view.digest_anew());
        let rows = |predicate: Option<&Predicate>| scanned(&view, predicate, &self.model.columns);
        let all = |holds: &dyn Fn(&BTreeMap<String, Cell>) -> bool| -> BTreeMap<u64, Vec<Cell>> {
            let kept = self.model.rows.iter().filter(|(_, row)| holds(row));
            let cells = |row| {
                self.model
                    .columns
                    .iter()
                    .map(|c| self.model.cell(row, c))
                    .collect()
            };
            kept.map(|(id, row)| (*id, cells(row))).collect()
        };
        assert_eq!(rows(None), all(&|_| true));
        let schema = self.model.schema();
        for column in &self.model.columns {
            let null = v1::Filter {
                node: Some(Node::IsNull(column.name.clone())),
            };
            let null = Predicate::compile(&null, &schema).unwrap();
            let is_null = |row: &BTreeMap<String, Cell>| self.model.cell(row, column) == Cell::Null;
            assert_eq!(rows(Some(&null)), all(&is_null), "{column:?} is null");
            let large = [i64::MIN, -70_000, -300, 300, 70_000, 1 << 40];
            let large = large
                .into_iter()
                .filter(|&bound| holds(&column.data_type, bound))
                .map(Cell::Int);
            for bound in [7, 48, 61].map(|seed| column.cell(seed)).into_iter().chain(large) {
                let filter = Predicate::compile(&at_least(&column.name, &bound), &schema).unwrap();
                let is_true = |row: &BTreeMap<String, Cell>| match (self.model.cell(row, column), &bound) {
                    (Cell::Int(value), Cell::Int(bound)) => value >= *bound,
                    (Cell::Float(value), Cell::Float(bound)) => value >= *bound,
                    (Cell::Text(value), Cell::Text(bound)) => value >= *bound,
                    _ => false,
                };
                assert_eq!(rows(Some(&filter)), all(&is_true), "{column:?} >= {bound:?}");
            }
        }
        let ids = UInt64Array::from_iter_values(0..IDS);
        let projection = Projection::new(view.layout(), &["*".into()], false).unwrap();
        let fetched = view.fetch(&ids, &projection).unwrap();
        assert_eq!(cells(&fetched, 2, &self.model.columns), all(&|_| true));
    }
}

/// Whether a column may be compared with a number.
fn holds(data_type: &DataType, number: i64) -> bool {
    let number = i128::from(number);
    let signed = |bits: u32| (-(1 << (bits - 1))..1_i128 << (bits - 1)).contains(&number);
    let unsigned = |bits: u32| (0..1_i128 << bits).contains(&number);
    match data_type {
        DataType::Int8 => signed(8),
        DataType::Int16 => signed(16),
        DataType::Int32 => signed(32),
        DataType::Int64 => signed(64),
        DataType::UInt8 => unsigned(8),
        DataType::UInt16 => unsigned(16),
        DataType::UInt32 => unsigned(32),
        DataType::UInt64 => unsigned(64),
        _ => false,
    }
}

fn vectors(rows: &[(u64, u8)]) -> ArrayRef {
    let DataType::FixedSizeList(item, size) = vector_type(VectorElement::F32, 2) else {
        unreachable!()
    };
    let values = Float32Array::from_iter_values(rows.iter().flat_map(|&(id, seed)| [id as f32, seed.into()]));
    Arc::new(FixedSizeListArray::new(item, size, Arc::new(values), None))
}

fn array(cells: &[Cell], data_type: &DataType) -> ArrayRef {
    if *data_type == DataType::Utf8 {
        let texts = cells.iter().map(|cell| match cell {
            Cell::Text(text) => Some(text.as_str()),
            _ => None,
        });
        return Arc::new(texts.collect::<StringArray>());
    }
    if data_type.is_floating() {
        let floats = cells.iter().map(|cell| match cell {
            Cell::Float(value) => Some(*value),
            _ => None,
        });
        return cast(&floats.collect::<Float64Array>(), data_type).unwrap();
    }
    let integers = cells.iter().map(|cell| match cell {
        Cell::Int(value) => Some(*value),
        _ => None,
    });
    cast(&integers.collect::<Int64Array>(), data_type).unwrap()
}

fn at_least(column: &str, bound: &Cell) -> v1::Filter {
    let kind = match bound {
        Cell::Null => Kind::Null(0),
        Cell::Int(value) => Kind::I64(*value),
        Cell::Float(value) => Kind::F64(*value),
        Cell::Text(value) => Kind::Utf8(value.clone()),
    };
    v1::Filter {
        node: Some(Node::Compare(v1::Comparison {
            column: column.into(),
            op: CompareOp::Ge as i32,
            value: Some(v1::Value { kind: Some(kind) }),
        })),
    }
}

fn scanned(view: &Arc<View>, predicate: Option<&Predicate>, columns: &[Column]) -> BTreeMap<u64, Vec<Cell>> {
    let projection = Projection::new(view.layout(), &["*".into()], false).unwrap();
    let scan = view.scan(predicate, projection, 0, &|| false).unwrap();
    scan.flat_map(|piece| cells(&piece.unwrap(), 1, columns))
        .collect()
}

/// The rows of an answer whose columns begin at a position, which must have the types of the newest schema.
fn cells(batch: &RecordBatch, from: usize, columns: &[Column]) -> BTreeMap<u64, Vec<Cell>> {
    let ids = batch.column(0).as_primitive::<UInt64Type>();
    let of = |row: usize| {
        columns.iter().enumerate().map(move |(at, column)| {
            let array = batch.column(from + at).slice(row, 1);
            assert_eq!(array.data_type(), &column.data_type, "{column:?}");
            if array.is_null(0) {
                return Cell::Null;
            }
            match array.data_type() {
                DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(0).to_owned()),
                floats if floats.is_floating() => {
                    let wide = cast(&array, &DataType::Float64).unwrap();
                    Cell::Float(wide.as_primitive::<Float64Type>().value(0))
                }
                _ => {
                    let wide = cast(&array, &DataType::Int64).unwrap();
                    Cell::Int(wide.as_primitive::<Int64Type>().value(0))
                }
            }
        })
    };
    (0..batch.num_rows())
        .map(|row| (ids.value(row), of(row).collect()))
        .collect()
}

#[test]
fn every_row_reads_as_one_of_the_newest_schema() {
    hold(1_000, &proptest::collection::vec(step(), 1..40), |steps| {
        let mut pair = Pair::new();
        for step in &steps {
            pair.step(step);
            pair.check();
        }
    });
}

#[test]
fn a_change_that_may_not_be_leaves_the_replica_as_it_was() {
    let mut pair = Pair::new();
    pair.step(&Step::Upsert(vec![(1, 7), (2, 8)]));
    let mut narrower = pair.model.clone();
    narrower.columns[1].data_type = DataType::Int8;
    let refused = pair.replica.alter(9, narrower.schema(), 2).unwrap_err();
    assert_eq!(refused.code, ErrorCode::SchemaIncompatible);
    let skipped = pair.replica.alter(9, pair.model.schema(), 3).unwrap_err();
    assert_eq!(skipped.code, ErrorCode::Internal);
    pair.step(&Step::Upsert(vec![(2, 9)]));
    pair.check();
}

/// A change touches no file of columns, and a view taken before it goes on as it was.
#[test]
fn nothing_is_written_again() {
    let mut pair = Pair::new();
    pair.step(&Step::Upsert(vec![(1, 7), (2, 8)]));
    pair.restart();
    let columns = |disk: &MemDisk| -> Vec<String> {
        let names = disk.names().into_iter();
        names.filter(|name| name.contains("columns")).collect()
    };
    let before = columns(&pair.disk);
    let old = pair.replica.reader().view();
    let (old_columns, old_rows) = (pair.model.columns.clone(), pair.model.rows.len());
    pair.step(&Step::Widen { column: 0, kind: 3 });
    pair.step(&Step::Add {
        kind: 11,
        default: true,
    });
    assert_eq!(pair.version, 3);
    assert_eq!(scanned(&old, None, &old_columns).len(), old_rows);
    // The snapshots of one process know what they have written.
    let mut snapshots = Snapshots::new(pair.disk.clone(), 2);
    let schema = pair.model.schema();
    let how = Open {
        verify: Verify::Everything,
        fall_back: false,
    };
    let mut first = Pair::new().model;
    first.columns = old_columns;
    let opened = snapshots
        .open(how, &mut |_| Ok(first.schema()), &|| false)
        .unwrap()
        .unwrap();
    let mut replica = opened.replica;
    replica.alter(8, schema, 2).unwrap();
    replica.publish();
    let owner = Owner {
        schema_version: 2,
        ..opened.manifest.owner
    };
    let view = replica.reader().view();
    snapshots.write(&view, owner, &|| false).unwrap();
    assert_eq!(columns(&pair.disk), before);
    assert_eq!(
        scanned(&view, None, &pair.model.columns),
        scanned(&pair.replica.reader().view(), None, &pair.model.columns)
    );
}
