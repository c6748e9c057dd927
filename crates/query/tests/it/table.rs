//! A table with a column of every kind, spelt out as values, and the same as an Arrow batch.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use half::f16;
use longbow_types::schema::{list_item, utf8_item, vector_type};
use longbow_types::{Metric, VectorElement};
use longbow_wire::v1::value::Kind;

/// A filterable column.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: &'static str,
    pub data_type: DataType,
    pub nullable: bool,
}

/// The cells of a row, in the order of its columns.
pub type Row = Vec<Option<Kind>>;

/// A column of every type; all but the id may be null.
pub fn columns() -> Vec<Column> {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    [
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
        ("time", utc),
        ("date32", DataType::Date32),
        ("date64", DataType::Date64),
        ("time32", DataType::Time32(TimeUnit::Millisecond)),
        ("time64", DataType::Time64(TimeUnit::Nanosecond)),
        ("seconds", DataType::Timestamp(TimeUnit::Second, None)),
        (
            "nanos",
            DataType::Timestamp(TimeUnit::Nanosecond, Some("+01:00".into())),
        ),
        ("duration", DataType::Duration(TimeUnit::Millisecond)),
        ("list", DataType::List(utf8_item())),
        ("decimal", DataType::Decimal128(5, 2)),
        ("numbers", DataType::List(list_item(DataType::Int16))),
        ("floats", DataType::List(list_item(DataType::Float32))),
        ("bits", DataType::List(list_item(DataType::Boolean))),
        ("blobs", DataType::List(list_item(DataType::Binary))),
        ("prices", DataType::List(list_item(DataType::Decimal128(5, 2)))),
        ("wide", DataType::Decimal256(50, 2)),
        ("wides", DataType::List(list_item(DataType::Decimal256(50, 2)))),
        // Children of a struct, which is null where all of them are.
        ("s.number", DataType::Int32),
        ("s.text", DataType::Utf8),
        ("s.texts", DataType::List(utf8_item())),
    ]
    .into_iter()
    .map(|(name, data_type)| Column {
        name,
        data_type,
        nullable: name != "id",
    })
    .collect()
}

pub fn schema() -> longbow_types::Schema {
    schema_of(&columns())
}

/// The schema of some columns and a vector.
pub fn schema_of(columns: &[Column]) -> longbow_types::Schema {
    let mut fields = fields(columns);
    fields.insert(1, Field::new("vector", vector_type(VectorElement::F32, 2), false));
    longbow_types::Schema::new(fields, "id", Metric::L2).unwrap()
}

fn fields(columns: &[Column]) -> Vec<Field> {
    let plain = |name: &str, column: &Column| Field::new(name, column.data_type.clone(), column.nullable);
    let mut fields: Vec<Field> = Vec::new();
    for column in columns {
        let Some((parent, _)) = column.name.split_once('.') else {
            fields.push(plain(column.name, column));
            continue;
        };
        if fields.iter().any(|field| field.name() == parent) {
            continue;
        }
        let children: Vec<Field> = children(columns, parent)
            .map(|(_, name, column)| plain(name, column))
            .collect();
        let nullable = children.iter().all(Field::is_nullable);
        fields.push(Field::new(parent, DataType::Struct(children.into()), nullable));
    }
    fields
}

/// The columns that are children of one, with their places and own names.
fn children<'a>(
    columns: &'a [Column],
    parent: &'a str,
) -> impl Iterator<Item = (usize, &'a str, &'a Column)> {
    columns.iter().enumerate().filter_map(move |(at, column)| {
        let (of, name) = column.name.split_once('.')?;
        (of == parent).then_some((at, name, column))
    })
}

/// Rows of every column as a batch.
pub fn batch(rows: &[Row]) -> RecordBatch {
    batch_of(&columns(), rows)
}

/// Rows as a batch, without the vector, as shards keep them.
pub fn batch_of(columns: &[Column], rows: &[Row]) -> RecordBatch {
    let of = |at: usize| {
        let cells: Vec<Option<&Kind>> = rows.iter().map(|row| row[at].as_ref()).collect();
        array(&columns[at].data_type, &cells)
    };
    let fields = fields(columns);
    let arrays = fields.iter().map(|field| -> ArrayRef {
        let DataType::Struct(own) = field.data_type() else {
            return of(columns
                .iter()
                .position(|column| column.name == field.name())
                .unwrap());
        };
        let places: Vec<usize> = children(columns, field.name()).map(|(at, ..)| at).collect();
        let there = rows.iter().map(|row| places.iter().any(|&at| row[at].is_some()));
        let nulls = field.is_nullable().then(|| there.collect());
        let values = places.iter().map(|&at| of(at)).collect();
        Arc::new(StructArray::new(own.clone(), values, nulls))
    });
    let arrays = arrays.collect();
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
        DataType::Date32 | DataType::Time32(_) => {
            let days = array(&DataType::Int32, cells);
            arrow::compute::cast(&days, data_type).unwrap()
        }
        DataType::Date64 | DataType::Time64(_) | DataType::Duration(_) | DataType::Timestamp(_, None) => {
            let numbers = array(&DataType::Int64, cells);
            arrow::compute::cast(&numbers, data_type).unwrap()
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            Arc::new(TimestampNanosecondArray::from_iter(pick!(I64, v => *v)).with_timezone_opt(zone.clone()))
        }
        DataType::Timestamp(_, zone) => Arc::new(
            TimestampMicrosecondArray::from_iter(pick!(I64, v => *v)).with_timezone_opt(zone.clone()),
        ),
        DataType::Decimal128(precision, scale) => {
            let units = cells
                .iter()
                .map(|cell| cell.map(|cell| i128::from(crate::oracle::hundredths(cell))));
            let units = units.collect::<Decimal128Array>();
            Arc::new(units.with_precision_and_scale(*precision, *scale).unwrap())
        }
        DataType::Decimal256(precision, scale) => {
            let units = cells.iter().map(|cell| cell.map(crate::oracle::wide_hundredths));
            let units = units.collect::<Decimal256Array>();
            Arc::new(units.with_precision_and_scale(*precision, *scale).unwrap())
        }
        DataType::List(item) if *item.data_type() != DataType::Utf8 => {
            let (mut items, mut lengths) = (Vec::new(), Vec::new());
            for cell in cells {
                let before = items.len();
                if let Some(Kind::List(list)) = cell {
                    items.extend(list.values.iter().map(|value| crate::oracle::non_null(value)));
                }
                lengths.push(items.len() - before);
            }
            let nulls = cells.iter().map(Option::is_some).collect::<Vec<_>>();
            Arc::new(ListArray::new(
                item.clone(),
                arrow::buffer::OffsetBuffer::from_lengths(lengths),
                array(item.data_type(), &items),
                Some(nulls.into()),
            ))
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
