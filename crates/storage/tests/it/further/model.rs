//! The naive model: a map from id to row.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, FixedSizeListArray, Float16Array, Float32Array, Float64Array};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::Float32Type;
use arrow_schema::{DataType, Field};
use half::f16;
use longbow_types::{Metric, Quantization, Schema, VectorElement, schema::vector_type};
use longbow_wire::v1::{self, CompareOp, Filter, filter::Node, value::Kind};

pub const IDS: u64 = 20;
/// How long rows live.
const TTL_MS: u64 = 1_000;
/// Most further vector columns.
pub const COLUMNS: usize = 2;

/// A row, as it is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Cells {
    pub id: u64,
    pub number: Option<i32>,
    pub vector: Vec<f32>,
    pub further: [Option<Vec<f32>>; COLUMNS],
}

#[derive(Debug, Clone, Copy)]
pub enum Condition {
    NumberAtLeast(i32),
    Has(usize),
    HasNot(usize),
}

impl Condition {
    /// Whether a schema has the column that it looks at.
    pub fn is_of(&self, model: &Model) -> bool {
        match self {
            Condition::NumberAtLeast(_) => true,
            Condition::Has(at) | Condition::HasNot(at) => *at < model.columns,
        }
    }

    pub fn filter(&self) -> Filter {
        let node = match self {
            Condition::NumberAtLeast(n) => Node::Compare(v1::Comparison {
                column: "number".into(),
                op: CompareOp::Ge as i32,
                value: Some(v1::Value {
                    kind: Some(Kind::I64((*n).into())),
                }),
            }),
            Condition::HasNot(at) => Node::IsNull(name(*at)),
            Condition::Has(at) => Node::Not(Box::new(Condition::HasNot(*at).filter())),
        };
        Filter { node: Some(node) }
    }

    pub fn holds(&self, row: &Cells) -> bool {
        match self {
            Condition::NumberAtLeast(n) => row.number.is_some_and(|number| number >= *n),
            Condition::Has(at) => row.further[*at].is_some(),
            Condition::HasNot(at) => row.further[*at].is_none(),
        }
    }
}

#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Further vector columns that there are.
    pub columns: usize,
    pub rows: BTreeMap<u64, Cells>,
    pub versions: BTreeMap<u64, u64>,
    /// Log time of the first tick behind the write of each row.
    pub ages: BTreeMap<u64, u64>,
    pub log_time: u64,
    pub applied: u64,
}

impl Model {
    pub fn write(&mut self, index: u64, row: &Cells) {
        self.rows.insert(row.id, row.clone());
        self.versions.insert(row.id, index);
        self.ages.remove(&row.id);
    }

    /// Rows go that are too old.
    pub fn tick(&mut self, log_time: u64) {
        self.log_time = log_time;
        for id in self.rows.keys() {
            self.ages.entry(*id).or_insert(log_time);
        }
        self.ages.retain(|id, _| self.rows.contains_key(id));
        let ages = &self.ages;
        self.rows.retain(|id, _| ages[id] + TTL_MS > log_time);
    }

    pub fn matching(&self, condition: Option<Condition>) -> Vec<Cells> {
        let rows = self.rows.values();
        let holds = |row: &&Cells| condition.is_none_or(|condition| condition.holds(row));
        rows.filter(holds).cloned().collect()
    }
}

pub fn name(at: usize) -> String {
    format!("w{at}")
}

pub fn dimension(at: usize) -> usize {
    [3, 2][at]
}

pub fn elements(at: usize) -> VectorElement {
    [VectorElement::F16, VectorElement::F64][at]
}

pub fn metric(at: usize) -> Metric {
    [Metric::Dot, Metric::L2][at]
}

/// With so many further vector columns. One of them stands before the id and the vector, if it was there at first.
pub fn schema(at_first: usize, columns: usize) -> Schema {
    let further = |at: usize| Field::new(name(at), vector_type(elements(at), dimension(at)), true);
    let mut fields = vec![
        Field::new("id", DataType::UInt64, false),
        Field::new("v", vector_type(VectorElement::F32, 2), false),
        Field::new("number", DataType::Int32, true),
    ];
    if at_first > 0 {
        fields.insert(0, further(0));
    }
    fields.extend((usize::from(at_first > 0)..columns).map(further));
    let mut schema = Schema::new(fields, "id", Metric::L2).unwrap();
    for at in 0..columns {
        let codes = [Quantization::None, Quantization::Sq8][at];
        schema = schema.with_vector(&name(at), metric(at), codes).unwrap();
    }
    schema.with_ttl(Some(Duration::from_millis(TTL_MS))).unwrap()
}

/// Vectors of the tests have few, small, whole elements, so that distances are exact in every element type.
pub fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f32 {
    let pairs = || a.iter().zip(b);
    match metric {
        Metric::Dot => 0.0 - pairs().map(|(a, b)| a * b).sum::<f32>(),
        _ => pairs().map(|(a, b)| (a - b) * (a - b)).sum(),
    }
}

/// A column of vectors, some of which may be missing.
pub fn lists(element: VectorElement, dimension: usize, vectors: &[Option<Vec<f32>>]) -> ArrayRef {
    let flat = || {
        let zeros = vec![0.0; dimension];
        vectors
            .iter()
            .flat_map(move |vector| vector.clone().unwrap_or_else(|| zeros.clone()))
    };
    let values: ArrayRef = match element {
        VectorElement::F16 => Arc::new(Float16Array::from_iter_values(flat().map(f16::from_f32))),
        VectorElement::F32 => Arc::new(Float32Array::from_iter_values(flat())),
        VectorElement::F64 => Arc::new(Float64Array::from_iter_values(flat().map(f64::from))),
    };
    let DataType::FixedSizeList(item, size) = vector_type(element, dimension) else {
        unreachable!()
    };
    let nulls: NullBuffer = vectors.iter().map(Option::is_some).collect();
    let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
    Arc::new(FixedSizeListArray::try_new_with_length(item, size, values, nulls, vectors.len()).unwrap())
}

pub fn floats(values: &ArrayRef) -> Vec<f32> {
    let wide = cast(values, &DataType::Float32).unwrap();
    wide.as_primitive::<Float32Type>().values().to_vec()
}
