//! Schemas, batches and rows that tests of several rooms share.

use std::sync::Arc;

use arrow::{
    array::*,
    datatypes::{Float64Type, i256},
    ipc::writer::StreamWriter,
};
use arrow_schema::{DataType, Field, Fields, TimeUnit};
use bytes::Bytes;
use half::f16;
use longbow_types::{
    Metric, Schema, VectorElement,
    schema::{list_item, utf8_item, vector_type},
};

/// Id `id` (u64), `vector`, and a nullable text column.
pub fn schema_of(element: VectorElement, dimension: usize, metric: Metric) -> Schema {
    let fields = vec![
        Field::new("id", DataType::UInt64, false),
        Field::new("vector", vector_type(element, dimension), false),
        Field::new("text", DataType::Utf8, true),
    ];
    Schema::new(fields, "id", metric).unwrap()
}

/// Vectors as Python lists arrive: a list of doubles.
pub fn vectors_of(rows: &[Vec<f64>]) -> ArrayRef {
    Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(
        rows.iter()
            .map(|row| Some(row.iter().map(|&x| Some(x)).collect::<Vec<_>>())),
    ))
}

/// Text ids, a vector of two floats, a required integer and a nullable column of every kind.
pub fn schema_of_all_kinds() -> Schema {
    use DataType as T;
    let mut fields = vec![
        Field::new("id", T::Utf8, false),
        Field::new("vector", vector_type(VectorElement::F32, 2), false),
        Field::new("required", T::Int64, false),
    ];
    let kinds = [
        ("bool", T::Boolean),
        ("i8", T::Int8),
        ("i16", T::Int16),
        ("i32", T::Int32),
        ("i64", T::Int64),
        ("u8", T::UInt8),
        ("u16", T::UInt16),
        ("u32", T::UInt32),
        ("u64", T::UInt64),
        ("f16", T::Float16),
        ("f32", T::Float32),
        ("f64", T::Float64),
        ("utf8", T::Utf8),
        ("binary", T::Binary),
        ("time", T::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        ("date32", T::Date32),
        ("date64", T::Date64),
        ("time32", T::Time32(TimeUnit::Millisecond)),
        ("time64", T::Time64(TimeUnit::Nanosecond)),
        ("seconds", T::Timestamp(TimeUnit::Second, None)),
        ("nanos", T::Timestamp(TimeUnit::Nanosecond, Some("+01:00".into()))),
        ("duration", T::Duration(TimeUnit::Microsecond)),
        ("decimal", T::Decimal128(10, 2)),
        ("wide", T::Decimal256(60, 3)),
        ("numbers", T::List(list_item(T::Int32))),
        ("struct", T::Struct(children())),
        ("list", T::List(utf8_item())),
    ];
    fields.extend(kinds.into_iter().map(|(name, kind)| Field::new(name, kind, true)));
    Schema::new(fields, "id", Metric::L2).unwrap()
}

/// The children of the column of structs.
fn children() -> Fields {
    use DataType as T;
    let kinds = [
        ("number", T::Int16, false),
        ("text", T::Utf8, true),
        ("numbers", T::List(list_item(T::Int32)), true),
    ];
    let fields = kinds.map(|(name, kind, nullable)| Field::new(name, kind, nullable));
    fields.to_vec().into()
}

/// Rows of [`schema_of_all_kinds`]; every third value is null.
pub fn batch_of_all_kinds(rows: usize) -> RecordBatch {
    fn gaps<T>(rows: usize, value: impl Fn(usize) -> T) -> Vec<Option<T>> {
        (0..rows).map(|row| (row % 3 != 1).then(|| value(row))).collect()
    }
    let schema = schema_of_all_kinds();
    let DataType::FixedSizeList(item, size) = schema.arrow().field(1).data_type().clone() else {
        unreachable!("a vector")
    };
    let elements: Vec<f32> = (0..rows * 2).map(|i| i as f32 + 0.5).collect();
    let vectors = FixedSizeListArray::new(item, size, Arc::new(Float32Array::from(elements)), None);
    let ids: StringArray = (0..rows).map(|row| Some(format!("row-{row}"))).collect();
    let required: Int64Array = (0..rows as i64).map(Some).collect();
    let mut lists = ListBuilder::new(StringBuilder::new()).with_field(utf8_item());
    for row in 0..rows {
        lists.values().append_value(format!("a{row}"));
        lists.values().append_null();
        lists.append(row % 3 != 1);
    }
    let decimals = Decimal128Array::from(gaps(rows, |row| 1_234 - 100 * row as i128));
    let decimals = decimals.with_precision_and_scale(10, 2).unwrap();
    let wide = Decimal256Array::from(gaps(rows, |row| i256::from_parts(row as u128, 5 - row as i128)));
    let wide = wide.with_precision_and_scale(60, 3).unwrap();
    let mut numbers = ListBuilder::new(Int32Builder::new()).with_field(list_item(DataType::Int32));
    for row in 0..rows {
        numbers.values().append_value(row as i32 - 2);
        numbers.values().append_null();
        numbers.append(row % 3 != 1);
    }
    let texts: Vec<Option<String>> = gaps(rows, |row| format!("text {row}"));
    let bytes: Vec<Option<Vec<u8>>> = gaps(rows, |row| vec![row as u8; row % 5]);
    let numbers: ArrayRef = Arc::new(numbers.finish());
    let structs: Vec<ArrayRef> = vec![
        Arc::new(Int16Array::from_iter_values((0..rows).map(|row| 7 - row as i16))),
        Arc::new(
            (0..rows)
                .map(|row| (row % 2 == 0).then(|| format!("t{row}")))
                .collect::<StringArray>(),
        ),
        numbers.clone(),
    ];
    let there: Vec<bool> = (0..rows).map(|row| row % 3 != 1).collect();
    let structs = StructArray::new(children(), structs, Some(there.into()));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ids),
        Arc::new(vectors),
        Arc::new(required),
        Arc::new(BooleanArray::from(gaps(rows, |row| row % 2 == 0))),
        Arc::new(Int8Array::from(gaps(rows, |row| -(row as i8 % 100)))),
        Arc::new(Int16Array::from(gaps(rows, |row| -(row as i16)))),
        Arc::new(Int32Array::from(gaps(rows, |row| -(row as i32)))),
        Arc::new(Int64Array::from(gaps(rows, |row| i64::MIN + row as i64))),
        Arc::new(UInt8Array::from(gaps(rows, |row| row as u8))),
        Arc::new(UInt16Array::from(gaps(rows, |row| row as u16))),
        Arc::new(UInt32Array::from(gaps(rows, |row| row as u32))),
        Arc::new(UInt64Array::from(gaps(rows, |row| u64::MAX - row as u64))),
        Arc::new(Float16Array::from(gaps(rows, |row| {
            f16::from_f32(row as f32 / 4.0)
        }))),
        Arc::new(Float32Array::from(gaps(rows, |row| row as f32 / 3.0))),
        Arc::new(Float64Array::from(gaps(rows, |row| row as f64 / 7.0))),
        Arc::new(StringArray::from(texts)),
        Arc::new(BinaryArray::from_iter(bytes)),
        Arc::new(TimestampMicrosecondArray::from(gaps(rows, |row| row as i64)).with_timezone("UTC")),
        Arc::new(Date32Array::from(gaps(rows, |row| row as i32 - 3))),
        Arc::new(Date64Array::from(gaps(rows, |row| row as i64 * 86_400_000))),
        Arc::new(Time32MillisecondArray::from(gaps(rows, |row| row as i32))),
        Arc::new(Time64NanosecondArray::from(gaps(rows, |row| row as i64))),
        Arc::new(TimestampSecondArray::from(gaps(rows, |row| row as i64))),
        Arc::new(TimestampNanosecondArray::from(gaps(rows, |row| row as i64 - 2)).with_timezone("+01:00")),
        Arc::new(DurationMicrosecondArray::from(gaps(rows, |row| -(row as i64)))),
        Arc::new(decimals),
        Arc::new(wide),
        numbers,
        Arc::new(structs),
        Arc::new(lists.finish()),
    ];
    RecordBatch::try_new(schema.arrow().clone(), columns).unwrap()
}

/// A batch as an Arrow IPC stream.
pub fn encode(batch: &RecordBatch) -> Bytes {
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap().into()
}
