//! Rows of a small dataset, spelt out and as the bodies of log entries.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::*;
use arrow::datatypes::*;
use half::f16;
use longbow_storage::batch_to_ipc;
use longbow_types::schema::{utf8_item, vector_type};
use longbow_types::{IdKind, Metric, Schema, VectorElement};

pub const DIMENSION: usize = 3;

/// Which dataset.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub id: IdKind,
    pub element: VectorElement,
    pub metric: Metric,
    pub life: Life,
}

/// When its rows go by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Life {
    /// A second after they were written.
    pub by_age: bool,
    /// When they tell.
    pub by_instant: bool,
}

impl Life {
    pub const FOR_EVER: Self = Self {
        by_age: false,
        by_instant: false,
    };
    /// How long they live by their age.
    pub const TTL_MS: u64 = 1_000;
}

/// A row. The id is a number here; text ids are made from it so that they sort alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub id: u64,
    pub number: Option<i32>,
    pub text: Option<String>,
    pub tags: Option<Vec<String>>,
    pub vector: [f32; DIMENSION],
    /// When it goes, where rows tell that.
    pub until: Option<i64>,
}

/// A body with the versions that its rows ask for.
fn with_versions(batch: &RecordBatch, versions: Vec<u64>) -> bytes::Bytes {
    let mut fields: Vec<FieldRef> = batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("_if_row_version", DataType::UInt64, false)));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(UInt64Array::from(versions)));
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    batch_to_ipc(&RecordBatch::try_new(schema, columns).unwrap()).unwrap()
}

impl Kind {
    pub fn schema(self) -> Schema {
        let id = match self.id {
            IdKind::U64 => DataType::UInt64,
            IdKind::I64 => DataType::Int64,
            IdKind::Utf8 => DataType::Utf8,
        };
        let mut fields = vec![
            Field::new("number", DataType::Int32, true),
            Field::new("vector", vector_type(self.element, DIMENSION), false),
            Field::new("key", id, false),
            Field::new("text", DataType::Utf8, true),
            Field::new("tags", DataType::List(utf8_item()), true),
        ];
        if self.life.by_instant {
            let at = DataType::Timestamp(TimeUnit::Millisecond, None);
            fields.push(Field::new("until", at, true));
        }
        let ttl = self.life.by_age.then(|| Duration::from_millis(Life::TTL_MS));
        Schema::new(fields, "key", self.metric)
            .unwrap()
            .with_ttl(ttl)
            .unwrap()
            .with_expires_column(self.life.by_instant.then_some("until"))
            .unwrap()
    }

    pub fn ids(self, ids: &[u64]) -> ArrayRef {
        match self.id {
            IdKind::U64 => Arc::new(UInt64Array::from(ids.to_vec())),
            IdKind::I64 => Arc::new(Int64Array::from_iter_values(ids.iter().map(|&id| id as i64 - 8))),
            IdKind::Utf8 => Arc::new(StringArray::from_iter_values(
                ids.iter().map(|id| format!("key-{id:04}")),
            )),
        }
    }

    /// Undoes [`Kind::ids`].
    pub fn numbers(self, ids: &ArrayRef) -> Vec<u64> {
        match self.id {
            IdKind::U64 => ids.as_primitive::<UInt64Type>().values().to_vec(),
            IdKind::I64 => ids
                .as_primitive::<Int64Type>()
                .values()
                .iter()
                .map(|id| (id + 8) as u64)
                .collect(),
            IdKind::Utf8 => ids
                .as_string::<i32>()
                .iter()
                .map(|id| id.unwrap()[4..].parse().unwrap())
                .collect(),
        }
    }

    pub fn vectors(self, rows: &[Row]) -> ArrayRef {
        let flat = || rows.iter().flat_map(|row| row.vector);
        let values: ArrayRef = match self.element {
            VectorElement::F16 => Arc::new(Float16Array::from_iter_values(flat().map(f16::from_f32))),
            VectorElement::F32 => Arc::new(Float32Array::from_iter_values(flat())),
            VectorElement::F64 => Arc::new(Float64Array::from_iter_values(flat().map(f64::from))),
        };
        let DataType::FixedSizeList(item, size) = vector_type(self.element, DIMENSION) else {
            unreachable!()
        };
        Arc::new(FixedSizeListArray::new(item, size, values, None))
    }

    pub fn batch(self, rows: &[Row]) -> RecordBatch {
        let ids: Vec<u64> = rows.iter().map(|row| row.id).collect();
        let mut tags = ListBuilder::new(StringBuilder::new());
        for row in rows {
            match &row.tags {
                Some(values) => tags.append_value(values.iter().map(Some)),
                None => tags.append_null(),
            }
        }
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_iter(rows.iter().map(|row| row.number))),
            self.vectors(rows),
            self.ids(&ids),
            Arc::new(StringArray::from_iter(rows.iter().map(|row| row.text.clone()))),
            Arc::new(tags.finish()),
        ];
        if self.life.by_instant {
            let until = rows.iter().map(|row| row.until);
            columns.push(Arc::new(TimestampMillisecondArray::from_iter(until)));
        }
        RecordBatch::try_new(self.schema().arrow().clone(), columns).unwrap()
    }

    /// The body of an upsert.
    pub fn upsert(self, rows: &[Row]) -> bytes::Bytes {
        batch_to_ipc(&self.batch(rows)).unwrap()
    }

    /// The body of an upsert of rows that each ask for a version.
    pub fn upsert_if(self, rows: &[(Row, u64)]) -> bytes::Bytes {
        let (rows, versions): (Vec<Row>, Vec<u64>) = rows.iter().cloned().unzip();
        with_versions(&self.batch(&rows), versions)
    }

    /// The body of an update of number and text, and of the vector if so said, of rows that each ask for a version.
    pub fn update(self, rows: &[(Row, u64)], vector: bool) -> bytes::Bytes {
        let (rows, versions): (Vec<Row>, Vec<u64>) = rows.iter().cloned().unzip();
        let columns: &[usize] = if vector { &[0, 1, 2, 3] } else { &[0, 2, 3] };
        with_versions(&self.batch(&rows).project(columns).unwrap(), versions)
    }

    /// The body of a delete of ids that each ask for a version.
    pub fn delete_if(self, ids: &[(u64, u64)]) -> bytes::Bytes {
        let (ids, versions): (Vec<u64>, Vec<u64>) = ids.iter().copied().unzip();
        with_versions(&self.id_batch(&ids), versions)
    }

    /// The body of a delete.
    pub fn delete(self, ids: &[u64]) -> bytes::Bytes {
        batch_to_ipc(&self.id_batch(ids)).unwrap()
    }

    fn id_batch(self, ids: &[u64]) -> RecordBatch {
        let schema = self.schema();
        let field = schema.arrow().field(schema.id_position()).clone();
        let batch = RecordBatch::try_new(
            Arc::new(arrow::datatypes::Schema::new(vec![field])),
            vec![self.ids(ids)],
        );
        batch.unwrap()
    }

    /// Reads rows back from an answer that holds all columns and the vector.
    pub fn rows(self, batch: &RecordBatch) -> Vec<Row> {
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .unwrap_or_else(|| panic!("{name} is returned"))
        };
        let ids = self.numbers(column("key"));
        let (numbers, texts) = (
            column("number").as_primitive::<Int32Type>(),
            column("text").as_string::<i32>(),
        );
        let (tags, vectors) = (
            column("tags").as_list::<i32>(),
            column("vector").as_fixed_size_list(),
        );
        let until = self
            .life
            .by_instant
            .then(|| column("until").as_primitive::<TimestampMillisecondType>());
        (0..batch.num_rows())
            .map(|at| Row {
                id: ids[at],
                number: numbers.is_valid(at).then(|| numbers.value(at)),
                text: texts.is_valid(at).then(|| texts.value(at).to_owned()),
                tags: tags.is_valid(at).then(|| {
                    let values = tags.value(at);
                    values
                        .as_string::<i32>()
                        .iter()
                        .map(|value| value.unwrap().to_owned())
                        .collect()
                }),
                vector: self.floats(&vectors.value(at)).try_into().unwrap(),
                until: until
                    .filter(|until| until.is_valid(at))
                    .map(|until| until.value(at)),
            })
            .collect()
    }

    fn floats(self, values: &ArrayRef) -> Vec<f32> {
        match self.element {
            VectorElement::F16 => values
                .as_primitive::<Float16Type>()
                .values()
                .iter()
                .map(|v| v.to_f32())
                .collect(),
            VectorElement::F32 => values.as_primitive::<Float32Type>().values().to_vec(),
            VectorElement::F64 => values
                .as_primitive::<Float64Type>()
                .values()
                .iter()
                .map(|&v| v as f32)
                .collect(),
        }
    }
}
