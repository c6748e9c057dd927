//! Which schemas may follow each other, and are the others refused by name?

use super::*;
use crate::schema::{utf8_item, vector_type};
use crate::{DefaultValue, Metric, Quantization, VectorElement};
use arrow_schema::TimeUnit;

fn base() -> Vec<Field> {
    vec![
        Field::new("id", DataType::UInt64, false),
        Field::new("vector", vector_type(VectorElement::F32, 4), false),
    ]
}

fn schema(more: impl IntoIterator<Item = Field>) -> Schema {
    let mut columns = base();
    columns.extend(more);
    Schema::new(columns, "id", Metric::L2).unwrap()
}

fn column(data_type: DataType) -> Field {
    Field::new("c", data_type, true)
}

fn every_type() -> Vec<DataType> {
    use DataType as T;
    let mut types = vec![
        T::Boolean,
        T::Int8,
        T::Int16,
        T::Int32,
        T::Int64,
        T::UInt8,
        T::UInt16,
        T::UInt32,
        T::UInt64,
        T::Float16,
        T::Float32,
        T::Float64,
        T::Utf8,
        T::Binary,
        T::Date32,
        T::Date64,
        T::Time32(TimeUnit::Second),
        T::Time32(TimeUnit::Millisecond),
        T::Time64(TimeUnit::Microsecond),
        T::Time64(TimeUnit::Nanosecond),
        T::List(utf8_item()),
        T::Decimal128(9, 2),
        T::Decimal128(10, 2),
    ];
    for unit in [
        TimeUnit::Second,
        TimeUnit::Millisecond,
        TimeUnit::Microsecond,
        TimeUnit::Nanosecond,
    ] {
        types.push(T::Duration(unit));
        types.push(T::Timestamp(unit, None));
        types.push(T::Timestamp(unit, Some("UTC".into())));
    }
    types
}

/// What a type holds: the lowest and highest integer, or the digits of a float.
#[derive(PartialEq)]
enum Holds {
    Integers(i128, i128),
    Float(u32),
}

fn holds(data_type: &DataType) -> Option<Holds> {
    use DataType as T;
    let signed = |bits: u32| Some(Holds::Integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1));
    let unsigned = |bits: u32| Some(Holds::Integers(0, (1 << bits) - 1));
    match data_type {
        T::Int8 => signed(8),
        T::Int16 => signed(16),
        T::Int32 => signed(32),
        T::Int64 => signed(64),
        T::UInt8 => unsigned(8),
        T::UInt16 => unsigned(16),
        T::UInt32 => unsigned(32),
        T::UInt64 => unsigned(64),
        T::Float16 => Some(Holds::Float(11)),
        T::Float32 => Some(Holds::Float(24)),
        T::Float64 => Some(Holds::Float(53)),
        _ => None,
    }
}

#[test]
fn every_pair_of_types() {
    let mut widened = 0;
    for from in every_type() {
        for to in every_type() {
            let lossless = match (holds(&from), holds(&to)) {
                (Some(Holds::Integers(a, b)), Some(Holds::Integers(c, d))) => c <= a && b <= d,
                (Some(Holds::Float(a)), Some(Holds::Float(b))) => a <= b,
                _ => false,
            };
            let found = changes(&schema([column(from.clone())]), &schema([column(to.clone())]));
            if from == to {
                assert_eq!(found.unwrap(), [], "{from}");
            } else if lossless {
                widened += 1;
                let change = Change::Widened {
                    column: "c".into(),
                    from: from.clone(),
                    to,
                };
                assert_eq!(found.unwrap(), [change]);
            } else {
                let error = found.unwrap_err();
                assert_eq!(
                    (error.code, error.field.as_deref()),
                    (ErrorCode::SchemaIncompatible, Some("c"))
                );
                let pair = format!("from {from} to {to}: ");
                assert!(error.message.contains(&pair), "{error}");
            }
        }
    }
    // 3+2+1 signed, 3+2+1 unsigned, 3+2+1 unsigned to signed, 2+1 floats.
    assert_eq!(widened, 21);
}

#[test]
fn columns_are_added_at_the_end() {
    let old = schema([column(DataType::Utf8)]);
    let required = Field::new("n", DataType::Int32, false);
    let more = schema([
        column(DataType::Utf8),
        Field::new("x", DataType::Float32, true),
        required.clone(),
    ]);
    let error = changes(&old, &more).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("n"));
    assert!(error.message.contains("nullable or has a default"), "{error}");
    let more = more.with_default("n", DefaultValue::Int(7)).unwrap();
    let added = |column: &str| Change::Added {
        column: column.into(),
    };
    assert_eq!(changes(&old, &more).unwrap(), [added("x"), added("n")]);
    assert_eq!(changes(&more, &more).unwrap(), []);
}

/// A spoilt schema, the column at fault, from, to and a part of why.
type Case = (Schema, &'static str, &'static str, &'static str, &'static str);

#[test]
fn what_is_refused_names_column_from_to_and_why() {
    let b = || Field::new("b", DataType::Int32, true);
    let old = schema([column(DataType::Utf8), b()]);
    let with = |element, dimension, id: DataType, id_name: &str, metric| {
        let columns = vec![
            Field::new(id_name, id, false),
            Field::new("vector", vector_type(element, dimension), false),
            column(DataType::Utf8),
            b(),
        ];
        Schema::new(columns, id_name, metric).unwrap()
    };
    let (f32, u64) = (VectorElement::F32, DataType::UInt64);
    let renamed = || Field::new("d", DataType::Utf8, true);
    let cases: Vec<Case> = vec![
        (schema([b()]), "c", "Utf8", "nothing", "not dropped"),
        (
            schema([column(DataType::Utf8)]),
            "b",
            "Int32",
            "nothing",
            "not dropped",
        ),
        (schema([renamed(), b()]), "c", "c", "d", "not renamed"),
        (
            schema([b(), column(DataType::Utf8)]),
            "c",
            "column 3",
            "column 4",
            "keep their places",
        ),
        (
            schema([column(DataType::Utf8), Field::new("b", DataType::Int16, true)]),
            "b",
            "Int32",
            "Int16",
            "not narrowed",
        ),
        (
            schema([column(DataType::Utf8), Field::new("b", DataType::Float64, true)]),
            "b",
            "Int32",
            "Float64",
            "wider integer",
        ),
        (
            schema([column(DataType::Utf8), b().with_nullable(false)]),
            "b",
            "nullable",
            "not null",
            "fixed when it is added",
        ),
        (
            old.clone().with_default("b", DefaultValue::Int(1)).unwrap(),
            "b",
            "no default",
            "the default 1",
            "fixed when its column is added",
        ),
        (
            with(f32, 8, u64.clone(), "id", Metric::L2),
            "vector",
            "dimension 4",
            "dimension 8",
            "graph",
        ),
        (
            with(VectorElement::F64, 4, u64.clone(), "id", Metric::L2),
            "vector",
            "element float32",
            "element float64",
            "graph",
        ),
        (
            with(f32, 4, u64.clone(), "id", Metric::Dot),
            "vector",
            "metric l2",
            "metric dot",
            "graph",
        ),
        (
            old.clone().with_quantization(Quantization::Sq4),
            "vector",
            "quantization sq8",
            "quantization sq4",
            "graph",
        ),
        (
            with(f32, 4, DataType::Int64, "id", Metric::L2),
            "id",
            "UInt64",
            "Int64",
            "type of the ids",
        ),
        (
            with(f32, 4, u64, "key", Metric::L2),
            "id",
            "the id",
            "key",
            "the id column stays",
        ),
    ];
    for (new, field, from, to, why) in cases {
        let error = changes(&old, &new).unwrap_err();
        assert_eq!(error.code, ErrorCode::SchemaIncompatible);
        assert_eq!(error.field.as_deref(), Some(field), "{error}");
        let told = format!("cannot go from {from} to {to}: ");
        assert!(
            error.message.contains(&told) && error.message.contains(why),
            "{error}"
        );
    }
}

#[test]
fn the_vector_does_not_become_another_column() {
    let old = schema([column(DataType::Utf8)]);
    let columns = vec![
        Field::new("id", DataType::UInt64, false),
        Field::new("vector", DataType::List(utf8_item()), true),
        column(DataType::Utf8),
        Field::new("v2", vector_type(VectorElement::F32, 4), false),
    ];
    let new = Schema::new(columns, "id", Metric::L2).unwrap();
    let error = changes(&old, &new).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("vector"), "{error}");
}

#[test]
fn when_rows_go_may_be_told_anew() {
    let at = || column(DataType::Timestamp(TimeUnit::Second, None));
    let (day, column) = (Some(Duration::from_secs(86_400)), Some("c".to_owned()));
    let plain = schema([at()]);
    let aged = plain.clone().with_ttl(day).unwrap();
    let told = aged.clone().with_expires_column(Some("c")).unwrap();
    let ttl = |from, to| Change::Ttl { from, to };
    let by = |from, to| Change::ExpiresColumn { from, to };
    assert_eq!(changes(&plain, &aged).unwrap(), [ttl(None, day)]);
    assert_eq!(changes(&aged, &told).unwrap(), [by(None, column.clone())]);
    let all = [ttl(day, None), by(column, None)];
    assert_eq!(changes(&told, &plain).unwrap(), all);
}

#[test]
fn a_widened_default_is_the_same() {
    let of = |data_type: DataType| {
        schema([column(data_type)])
            .with_default("c", DefaultValue::Float(f64::from(0.1f32)))
            .unwrap()
    };
    let widened = changes(&of(DataType::Float32), &of(DataType::Float64)).unwrap();
    assert_eq!(widened.len(), 1);
}

/// A dataset with a further vector column, searched so.
fn further(element: VectorElement, dimension: usize, metric: Metric, quantization: Quantization) -> Schema {
    schema([
        column(DataType::Utf8),
        Field::new("image", vector_type(element, dimension), true),
    ])
    .with_vector("image", metric, quantization)
    .unwrap()
}

#[test]
fn a_vector_column_may_be_added_and_stays_what_it_is() {
    let before = schema([column(DataType::Utf8)]);
    let after = further(VectorElement::F16, 8, Metric::Dot, Quantization::Sq4);
    let added = Change::Added {
        column: "image".into(),
    };
    assert_eq!(changes(&before, &after).unwrap(), [added]);
    assert_eq!(changes(&after, &after).unwrap(), []);
    let dropped = changes(&after, &before).unwrap_err();
    let renamed = schema([
        column(DataType::Utf8),
        Field::new("picture", vector_type(VectorElement::F16, 8), true),
    ]);
    let scalar = schema([
        column(DataType::Utf8),
        Field::new("image", DataType::Binary, true),
    ]);
    let cases = [
        (dropped, "not dropped"),
        (changes(&after, &renamed).unwrap_err(), "not renamed"),
        (changes(&after, &scalar).unwrap_err(), "from a vector to Binary"),
        (
            changes(
                &after,
                &further(VectorElement::F16, 9, Metric::Dot, Quantization::Sq4),
            )
            .unwrap_err(),
            "from dimension 8 to dimension 9",
        ),
        (
            changes(
                &after,
                &further(VectorElement::F32, 8, Metric::Dot, Quantization::Sq4),
            )
            .unwrap_err(),
            "from element float16 to element float32",
        ),
        (
            changes(
                &after,
                &further(VectorElement::F16, 8, Metric::L2, Quantization::Sq4),
            )
            .unwrap_err(),
            "from metric dot to metric l2",
        ),
        (
            changes(
                &after,
                &further(VectorElement::F16, 8, Metric::Dot, Quantization::None),
            )
            .unwrap_err(),
            "from quantization sq4 to quantization none",
        ),
    ];
    for (error, told) in cases {
        assert_eq!(error.code, ErrorCode::SchemaIncompatible);
        assert_eq!(error.field.as_deref(), Some("image"), "{error}");
        assert!(error.message.contains(told), "{error}");
    }
    // Nor does a column of another type become one of vectors.
    let vectors = schema([Field::new("c", vector_type(VectorElement::F32, 4), true)]);
    let error = changes(&before, &vectors).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("c"), "{error}");
}

#[test]
fn vectors_that_every_row_has_stay_the_same_ones() {
    let old = further(VectorElement::F32, 4, Metric::L2, Quantization::Sq8);
    let mut fields: Vec<Field> = old.arrow().fields().iter().map(|f| Field::clone(f)).collect();
    fields[1] = fields[1].clone().with_nullable(true);
    fields[3] = fields[3].clone().with_nullable(false);
    let new = Schema::new(fields, "id", Metric::L2).unwrap();
    let error = changes(&old, &new).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("vector"), "{error}");
    assert!(error.message.contains("from not null to nullable"), "{error}");
}
