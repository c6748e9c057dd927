//! A table with a column of every kind, spelt out as values, and the same as an Arrow batch.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use half::f16;
use longbow_types::schema::{utf8_item, vector_type};
use longbow_types::{Metric, VectorElement};
use longbow_wire::v1::value::Kind;
use proptest::prelude::*;

/// Every filterable column, by name and type.
pub fn columns() -> Vec<(&'static str, DataType)> {
    vec![
        ("id", DataType::UInt64),
        ("bool", DataType::Boolean),
        ("i8", DataType::Int8),
        ("i16", DataType::Int16),
        ("i32", DataType::Int32),
        ("i64", DataType::Int64),
        ("u8", DataType::UInt8),
        ("u16", DataType::UInt16),
        ("u32", DataType::UInt32),
        ("u64", DataType::UInt64),
        ("f16", DataType::Float16),
        ("f32", DataType::Float32),
        ("f64", DataType::Float64),
        ("utf8", DataType::Utf8),
        ("binary", DataType::Binary),
        (
            "time",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ),
        ("list", DataType::List(utf8_item())),
    ]
}

pub fn schema() -> longbow_types::Schema {
    let mut fields: Vec<Field> = columns()
        .into_iter()
        .map(|(name, data_type)| Field::new(name, data_type, name != "id"))
        .collect();
    fields.insert(1, Field::new("vector", vector_type(VectorElement::F32, 2), false));
    longbow_types::Schema::new(fields, "id", Metric::L2).unwrap()
}

/// A value that can stand in a column of the type. Few distinct ones, so that comparisons hit.
pub fn value(data_type: &DataType) -> BoxedStrategy<Kind> {
    let signed = |low: i64, high: i64| {
        prop_oneof![4 => -2..=2_i64, 1 => Just(low), 1 => Just(high)]
            .prop_map(Kind::I64)
            .boxed()
    };
    let unsigned = |high: u64| {
        prop_oneof![4 => 0..=3_u64, 1 => Just(high)]
            .prop_map(Kind::U64)
            .boxed()
    };
    let text = prop_oneof![Just(""), Just("a"), Just("ab"), Just("b"), Just("ä")];
    match data_type {
        DataType::Boolean => any::<bool>().prop_map(Kind::Bool).boxed(),
        DataType::Int8 => signed(i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => signed(i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => signed(i32::MIN.into(), i32::MAX.into()),
        DataType::Int64 | DataType::Timestamp(..) => signed(i64::MIN, i64::MAX),
        DataType::UInt8 => unsigned(u8::MAX.into()),
        DataType::UInt16 => unsigned(u16::MAX.into()),
        DataType::UInt32 => unsigned(u32::MAX.into()),
        DataType::UInt64 => unsigned(u64::MAX),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => prop_oneof![
            6 => prop_oneof![Just(-1.5), Just(0.1), Just(1.0), Just(2.0)],
            1 => Just(0.0),
            1 => Just(-0.0),
            1 => Just(f64::NAN),
            1 => Just(f64::INFINITY),
        ]
        .prop_map(Kind::F64)
        .boxed(),
        DataType::Utf8 => text.prop_map(|t| Kind::Utf8(t.into())).boxed(),
        DataType::Binary => text.prop_map(|t| Kind::Binary(t.into())).boxed(),
        DataType::List(_) => proptest::collection::vec(text, 0..3)
            .prop_map(|values| {
                let values = values.into_iter().map(str::to_owned).collect();
                Kind::Utf8List(longbow_wire::v1::Utf8List { values })
            })
            .boxed(),
        other => panic!("no values of {other}"),
    }
}

/// A cell: a value or, except in the id, a null.
pub fn cell(name: &str, data_type: &DataType) -> BoxedStrategy<Option<Kind>> {
    let value = value(data_type);
    if name == "id" {
        value.prop_map(Some).boxed()
    } else {
        proptest::option::weighted(0.8, value).boxed()
    }
}

/// Rows of cells, in the order of [`columns`].
pub fn rows(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<Option<Kind>>>> {
    let row: Vec<_> = columns()
        .iter()
        .map(|(name, data_type)| cell(name, data_type))
        .collect();
    proptest::collection::vec(row, count)
}

/// The rows as a batch, without the vector, as shards keep them.
pub fn batch(rows: &[Vec<Option<Kind>>]) -> RecordBatch {
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for (at, (name, data_type)) in columns().into_iter().enumerate() {
        let cells: Vec<Option<&Kind>> = rows.iter().map(|row| row[at].as_ref()).collect();
        arrays.push(array(&data_type, &cells));
        fields.push(Field::new(name, data_type, name != "id"));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn array(data_type: &DataType, cells: &[Option<&Kind>]) -> ArrayRef {
    macro_rules! ints {
        ($array:ty, $variant:ident) => {
            Arc::new(<$array>::from_iter(cells.iter().map(|cell| match cell {
                Some(Kind::$variant(v)) => Some((*v).try_into().unwrap()),
                _ => None,
            })))
        };
    }
    macro_rules! pick {
        ($variant:ident, $v:ident => $value:expr) => {
            cells.iter().map(|cell| match cell {
                Some(Kind::$variant($v)) => Some($value),
                _ => None,
            })
        };
    }
    match data_type {
        DataType::Boolean => Arc::new(BooleanArray::from_iter(pick!(Bool, v => *v))),
        DataType::Int8 => ints!(Int8Array, I64),
        DataType::Int16 => ints!(Int16Array, I64),
        DataType::Int32 => ints!(Int32Array, I64),
        DataType::Int64 => ints!(Int64Array, I64),
        DataType::UInt8 => ints!(UInt8Array, U64),
        DataType::UInt16 => ints!(UInt16Array, U64),
        DataType::UInt32 => ints!(UInt32Array, U64),
        DataType::UInt64 => ints!(UInt64Array, U64),
        DataType::Float16 => Arc::new(Float16Array::from_iter(pick!(F64, v => f16::from_f64(*v)))),
        DataType::Float32 => Arc::new(Float32Array::from_iter(pick!(F64, v => *v as f32))),
        DataType::Float64 => Arc::new(Float64Array::from_iter(pick!(F64, v => *v))),
        DataType::Utf8 => Arc::new(StringArray::from_iter(pick!(Utf8, v => v.as_str()))),
        DataType::Binary => Arc::new(BinaryArray::from_iter(pick!(Binary, v => &v[..]))),
        DataType::Timestamp(..) => {
            Arc::new(TimestampMicrosecondArray::from_iter(pick!(I64, v => *v)).with_timezone("UTC"))
        }
        DataType::List(_) => {
            let mut builder = ListBuilder::new(StringBuilder::new());
            for cell in cells {
                match cell {
                    Some(Kind::Utf8List(list)) => builder.append_value(list.values.iter().map(Some)),
                    _ => builder.append_null(),
                }
            }
            Arc::new(builder.finish())
        }
        other => panic!("no array of {other}"),
    }
}
