//! A replica to which everything happens, another that is only fed the log, and the model of both.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, UInt64Array};
use arrow_schema::{DataType, Field, Schema as ArrowSchema};
use longbow_query::filter::Predicate;
use longbow_storage::compact::Cursor;
use longbow_storage::snapshot::{Open, Owner, Snapshots, Verify};
use longbow_storage::{Applied, Options, Replica, View, WriteKind, batch_to_ipc};
use longbow_types::{DatasetId, Result, schema::vector_type};

use super::model::{self, COLUMNS, Cells, Condition, Model};
use crate::snapshots::disk::MemDisk;
use crate::steps::compact;

/// An entry of the log.
#[derive(Clone)]
enum Entry {
    Write(WriteKind, bytes::Bytes, u32),
    DeleteWhere(Condition),
    /// With so many further vector columns from now on.
    Alter(usize),
    /// It is so late.
    Tick(u64),
    Nothing,
}

pub struct World {
    at_first: usize,
    pub replica: Replica,
    pub twin: Replica,
    pub published: Model,
    model: Model,
    log: Vec<(u64, Entry)>,
    cursor: Cursor,
    pub disk: MemDisk,
    snapshots: Snapshots,
    taken: Vec<Model>,
}

const CREATED_AT: u64 = 7;

impl World {
    /// With so many further vector columns.
    pub fn new(at_first: usize) -> Self {
        let replica = || Replica::new(model::schema(at_first, at_first), &Options::default(), CREATED_AT);
        let model = Model {
            columns: at_first,
            applied: CREATED_AT,
            ..Model::default()
        };
        let disk = MemDisk::default();
        Self {
            at_first,
            replica: replica(),
            twin: replica(),
            published: model.clone(),
            model,
            log: Vec::new(),
            cursor: Cursor::default(),
            snapshots: Snapshots::new(disk.clone(), 2),
            disk,
            taken: Vec::new(),
        }
    }

    pub fn view(&self) -> Arc<View> {
        self.replica.reader().view()
    }

    fn schema(&self, columns: usize) -> longbow_types::Schema {
        model::schema(self.at_first, columns)
    }

    fn feed(at_first: usize, replica: &mut Replica, index: u64, entry: &Entry) -> Result<Applied> {
        match entry {
            Entry::Write(kind, body, rows) => replica.apply(index, *kind, body, *rows),
            Entry::DeleteWhere(condition) => {
                let predicate = Predicate::compile(&condition.filter(), replica.layout().schema()).unwrap();
                replica.delete_where(index, &predicate)
            }
            Entry::Alter(columns) => {
                let version = (columns - at_first + 1) as u32;
                replica.alter(index, model::schema(at_first, *columns), version)?;
                Ok(Applied::default())
            }
            Entry::Tick(log_time) => replica.tick(index, *log_time),
            Entry::Nothing => {
                replica.advance(index);
                Ok(Applied::default())
            }
        }
    }

    /// The next entry. Returns its index.
    fn log(&mut self, entry: Entry) -> u64 {
        let index = self.model.applied + 2;
        for replica in [&mut self.replica, &mut self.twin] {
            Self::feed(self.at_first, replica, index, &entry).unwrap();
        }
        self.log.push((index, entry));
        self.model.applied = index;
        index
    }

    /// Rows as the body of a write has them.
    pub fn body(&self, rows: &[Cells], told: bool) -> RecordBatch {
        let dimensions: Vec<usize> = (0..self.model.columns).map(model::dimension).collect();
        let which = [true, true, told, told];
        self.columns(rows, which, &dimensions, None)
    }

    /// The same, with vectors of other dimensions than the columns have.
    pub fn body_of(&self, rows: &[Cells], dimensions: &[usize]) -> RecordBatch {
        self.columns(rows, [true; 2 + COLUMNS], dimensions, None)
    }

    fn columns(
        &self,
        rows: &[Cells],
        which: [bool; 2 + COLUMNS],
        dimensions: &[usize],
        versions: Option<Vec<u64>>,
    ) -> RecordBatch {
        let schema = self.schema(self.model.columns);
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for field in schema.arrow().fields() {
            let further = (0..COLUMNS).find(|&at| model::name(at) == *field.name());
            let (is_told, column, field): (bool, ArrayRef, Field) = match (field.name().as_str(), further) {
                ("id", _) => {
                    let ids = UInt64Array::from_iter_values(rows.iter().map(|row| row.id));
                    (true, Arc::new(ids), Field::clone(field))
                }
                ("number", _) => {
                    let numbers = Int32Array::from_iter(rows.iter().map(|row| row.number));
                    (which[0], Arc::new(numbers), Field::clone(field))
                }
                (_, Some(at)) => {
                    let vectors: Vec<_> = rows.iter().map(|row| row.further[at].clone()).collect();
                    let (element, dimension) = (model::elements(at), dimensions[at]);
                    let lists = model::lists(element, dimension, &vectors);
                    let field = Field::new(field.name(), vector_type(element, dimension), true);
                    (which[2 + at], lists, field)
                }
                _ => {
                    let vectors: Vec<_> = rows.iter().map(|row| Some(row.vector.clone())).collect();
                    let lists = model::lists(schema.vector().element, 2, &vectors);
                    (which[1], lists, Field::clone(field))
                }
            };
            if is_told {
                fields.push(field);
                columns.push(column);
            }
        }
        if let Some(versions) = versions {
            fields.push(Field::new("_if_row_version", DataType::UInt64, false));
            columns.push(Arc::new(UInt64Array::from(versions)));
        }
        RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).unwrap()
    }

    fn write(&mut self, kind: WriteKind, body: &RecordBatch) -> u64 {
        let bytes = batch_to_ipc(body).unwrap();
        self.log(Entry::Write(kind, bytes, body.num_rows() as u32))
    }

    /// The row as it is kept, where there are so many columns.
    fn kept(&self, row: &Cells, told: bool) -> Cells {
        let mut row = row.clone();
        for at in 0..COLUMNS {
            if !told || at >= self.model.columns {
                row.further[at] = None;
            }
        }
        row
    }

    pub fn upsert(&mut self, rows: &[Cells], told: bool) {
        let body = self.body(rows, told);
        let index = self.write(WriteKind::Upsert, &body);
        for row in rows {
            let kept = self.kept(row, told);
            self.model.write(index, &kept);
        }
    }

    pub fn insert(&mut self, rows: &[Cells]) {
        // Conditions are judged one by one, so that no id comes twice.
        let mut once: Vec<Cells> = Vec::new();
        for row in rows {
            if once.iter().all(|other| other.id != row.id) {
                once.push(row.clone());
            }
        }
        let dimensions: Vec<usize> = (0..self.model.columns).map(model::dimension).collect();
        let body = self.columns(&once, [true; 2 + COLUMNS], &dimensions, Some(vec![0; once.len()]));
        let index = self.write(WriteKind::UpsertIf, &body);
        for row in &once {
            if !self.model.rows.contains_key(&row.id) {
                let kept = self.kept(row, true);
                self.model.write(index, &kept);
            }
        }
    }

    pub fn update(&mut self, rows: &[Cells], which: [bool; 2 + COLUMNS]) {
        let mut once: Vec<Cells> = Vec::new();
        for row in rows {
            if once.iter().all(|other| other.id != row.id) {
                once.push(row.clone());
            }
        }
        let dimensions: Vec<usize> = (0..self.model.columns).map(model::dimension).collect();
        let body = self.columns(&once, which, &dimensions, Some(vec![u64::MAX; once.len()]));
        let index = self.write(WriteKind::Update, &body);
        for row in &once {
            let Some(mut changed) = self.model.rows.get(&row.id).cloned() else {
                continue;
            };
            if which[0] {
                changed.number = row.number;
            }
            if which[1] {
                changed.vector.clone_from(&row.vector);
            }
            for at in (0..self.model.columns).filter(|at| which[2 + at]) {
                changed.further[at].clone_from(&row.further[at]);
            }
            self.model.write(index, &changed);
        }
    }

    pub fn delete(&mut self, ids: &[u64]) {
        let column: ArrayRef = Arc::new(UInt64Array::from(ids.to_vec()));
        let body = RecordBatch::try_from_iter_with_nullable([("id", column, false)]).unwrap();
        self.write(WriteKind::Delete, &body);
        ids.iter().for_each(|id| drop(self.model.rows.remove(id)));
    }

    pub fn delete_where(&mut self, condition: Condition) {
        if condition.is_of(&self.model) {
            self.log(Entry::DeleteWhere(condition));
            self.model.rows.retain(|_, row| !condition.holds(row));
        }
    }

    pub fn add_column(&mut self) {
        if self.model.columns < COLUMNS {
            self.log(Entry::Alter(self.model.columns + 1));
            self.model.columns += 1;
        }
    }

    pub fn tick(&mut self, by: u64) {
        let log_time = self.model.log_time + by;
        self.log(Entry::Tick(log_time));
        self.model.tick(log_time);
    }

    pub fn advance(&mut self) {
        self.log(Entry::Nothing);
    }

    pub fn apply_raw(&mut self, body: &RecordBatch) -> Result<Applied> {
        let bytes = batch_to_ipc(body).unwrap();
        let index = self.model.applied + 1;
        self.replica
            .apply(index, WriteKind::Upsert, &bytes, body.num_rows() as u32)
    }

    pub fn publish(&mut self) {
        self.replica.publish();
        self.published = self.model.clone();
    }

    pub fn compact(&mut self) {
        // What is merged is shown at once.
        if compact(&mut self.replica, &mut self.cursor, 1).is_some() {
            self.publish();
        }
    }

    pub fn snapshot(&mut self) {
        let owner = Owner {
            dataset: DatasetId(4),
            partition: 0,
            schema_version: (self.published.columns - self.at_first + 1) as u32,
            catalogue: vec![self.published.columns as u8],
        };
        let written = self.snapshots.write(&self.view(), owner, &|| false).unwrap();
        assert!(written.unswept.is_none());
        self.taken.push(self.published.clone());
    }

    /// The process ends and starts again, from its newest snapshot and the log.
    pub fn restart(&mut self, check: &dyn Fn(&Arc<View>, &Model)) {
        self.snapshots = Snapshots::new(self.disk.clone(), 2);
        let how = Open {
            verify: Verify::Everything,
            fall_back: false,
        };
        let at_first = self.at_first;
        let mut schema_of = |manifest: &longbow_storage::snapshot::Manifest| {
            Ok(model::schema(at_first, manifest.owner.catalogue[0].into()))
        };
        let opened = self.snapshots.open(how, &mut schema_of, &|| false).unwrap();
        let (mut replica, then) = match opened {
            Some(opened) => {
                let is_it = |model: &&Model| model.applied == opened.manifest.applied_index;
                (opened.replica, self.taken.iter().rfind(is_it).unwrap().clone())
            }
            None => {
                let first = Model {
                    columns: at_first,
                    applied: CREATED_AT,
                    ..Model::default()
                };
                let replica = Replica::new(self.schema(at_first), &Options::default(), CREATED_AT);
                (replica, first)
            }
        };
        check(&replica.reader().view(), &then);
        for (index, entry) in self.log.iter().filter(|(index, _)| *index > then.applied) {
            Self::feed(at_first, &mut replica, *index, entry).unwrap();
        }
        self.replica = replica;
        self.publish();
    }
}
