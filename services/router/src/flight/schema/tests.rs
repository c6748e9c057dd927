//! What do existing clients send, and what becomes of it?

use arrow_schema::TimeUnit;

use super::*;
use crate::testing::vectors_of;

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

fn structs(child: DataType) -> DataType {
    DataType::Struct(vec![Field::new("a", child, true)].into())
}

fn stream(id: DataType, vector: DataType, others: Vec<Field>) -> ArrowSchema {
    let mut fields = vec![Field::new("id", id, true), Field::new("vector", vector, true)];
    fields.extend(others);
    ArrowSchema::new(fields)
}

#[test]
fn what_pandas_sends_becomes_a_dataset() {
    let times = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let schema = stream(
        DataType::Int64,
        list(DataType::Float64),
        vec![
            Field::new("timestamp", times, true),
            Field::new("text", DataType::LargeUtf8, true),
            Field::new("none", DataType::Null, true),
            Field::new("tags", list(DataType::Utf8), true),
        ],
    );
    assert_eq!(
        of_stream(&schema, None).unwrap(),
        None,
        "the dimension is not known yet"
    );
    let ids: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![1]));
    let batch = RecordBatch::try_from_iter([("id", ids), ("vector", vectors_of(&[vec![1.0, 2.0]]))]).unwrap();
    let made = of_stream(&schema, Some(&batch)).unwrap().unwrap();
    assert_eq!(made.id_kind(), longbow_types::IdKind::I64);
    assert_eq!(
        (made.vector().dimension, made.vector().element),
        (2, VectorElement::F64)
    );
    assert_eq!(made.vector().metric, Metric::L2);
    let types: Vec<String> = made.arrow().fields()[2..]
        .iter()
        .map(|f| f.data_type().to_string())
        .collect();
    assert_eq!(types[1..3], ["Utf8", "Utf8"]);
    assert!(made.arrow().fields()[2..].iter().all(|field| field.is_nullable()));
}

#[test]
fn metadata_of_schema_or_field_is_heeded_and_given_back() {
    let fixed = vector_type(VectorElement::F64, 3);
    let notes = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|&(k, v)| (k.to_owned(), v.to_owned()))
            .collect::<HashMap<_, _>>()
    };
    let of_schema = stream(DataType::UInt8, fixed.clone(), vec![])
        .with_metadata(notes(&[(METRIC, "cosine"), (VECTOR_TYPE, "float16")]));
    let made = of_stream(&of_schema, None).unwrap().unwrap();
    assert_eq!(
        (made.vector().metric, made.vector().element),
        (Metric::Cosine, VectorElement::F16)
    );
    let field = Field::new("embedding", fixed, true).with_metadata(notes(&[(METRIC, "dot_product")]));
    let of_field = ArrowSchema::new(vec![Field::new("id", DataType::Utf8, true), field]);
    let made = of_stream(&of_field, None).unwrap().unwrap();
    assert_eq!(
        (made.vector().metric, made.vector_name()),
        (Metric::Dot, "embedding")
    );
    assert_eq!(of_dataset(&made).metadata()[METRIC], "dot_product");
}

#[test]
fn other_lists_of_a_fixed_size_are_further_vectors() {
    let image = Field::new("image", vector_type(VectorElement::F16, 5), true);
    let noted = |metric: &str| {
        let notes = HashMap::from([(METRIC.to_owned(), metric.to_owned())]);
        image.clone().with_metadata(notes)
    };
    let of = |image: Field| stream(DataType::UInt64, vector_type(VectorElement::F32, 3), vec![image]);
    let made = of_stream(&of(image.clone()), None).unwrap().unwrap();
    assert_eq!((made.vector_name(), made.vector().metric), ("vector", Metric::L2));
    let further = made.vector_named("image").unwrap();
    assert_eq!(
        (further.dimension, further.element, further.metric),
        (5, VectorElement::F16, Metric::L2)
    );
    let made = of_stream(&of(noted("cosine")), None).unwrap().unwrap();
    assert_eq!(made.vector_named("image").unwrap().metric, Metric::Cosine);
    assert_eq!(made.vector().metric, Metric::L2);
    // What is told of a dataset makes the same one again.
    let again = of_stream(&of_dataset(&made), None).unwrap().unwrap();
    assert_eq!(again, made);
    check_metric(&of(image.clone()), &made).unwrap();
    let error = check_metric(&of(noted("euclidean")), &made).unwrap_err();
    assert_eq!(
        (error.code, error.limit.as_deref()),
        (ErrorCode::SchemaMismatch, Some("cosine"))
    );
    let integers = DataType::FixedSizeList(Arc::new(Field::new("item", DataType::Int32, true)), 2);
    let error = of_stream(&of(Field::new("image", integers, true)), None).unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::Unsupported, Some("image"))
    );
}

#[test]
fn the_index_of_a_frame_is_not_stored() {
    let names = [
        "id",
        "__index_level_0__",
        "vector",
        "__index_level_x__",
        "__index_level_12__",
    ];
    let fields: Vec<Field> = names.map(|name| Field::new(name, DataType::Int64, true)).into();
    assert_eq!(kept(&ArrowSchema::new(fields)), [0, 2, 3]);
}

#[test]
fn a_stream_cannot_mean_another_metric() {
    let fixed = vector_type(VectorElement::F32, 3);
    let named = |name: &str| {
        stream(DataType::Int64, fixed.clone(), vec![])
            .with_metadata(HashMap::from([(METRIC.to_owned(), name.to_owned())]))
    };
    let dataset = of_stream(&named("cosine"), None).unwrap().unwrap();
    check_metric(&named("cosine"), &dataset).unwrap();
    check_metric(&named(""), &dataset).unwrap();
    check_metric(&stream(DataType::Int64, fixed.clone(), vec![]), &dataset).unwrap();
    let error = check_metric(&named("euclidean"), &dataset).unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref(), error.limit.as_deref()),
        (ErrorCode::SchemaMismatch, Some(METRIC), Some("cosine"))
    );
    let error = check_metric(&named("taxicab"), &dataset).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidValue);
}

#[test]
fn every_width_of_a_type_is_kept_in_one_form() {
    let fixed = DataType::FixedSizeList(Arc::new(Field::new("item", DataType::Float32, true)), 2);
    let large = DataType::LargeList(Arc::new(Field::new("element", DataType::Int8, true)));
    let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::LargeUtf8));
    for (sent, kept) in [
        (DataType::Decimal32(5, 1), DataType::Decimal128(5, 1)),
        (DataType::Decimal256(38, 2), DataType::Decimal128(38, 2)),
        (DataType::Decimal256(76, 2), DataType::Decimal256(76, 2)),
        (large, DataType::List(list_item(DataType::Int8))),
        (
            list(DataType::Utf8View),
            DataType::List(list_item(DataType::Utf8)),
        ),
        (dictionary, DataType::Utf8),
        (DataType::BinaryView, DataType::Binary),
        (structs(DataType::LargeUtf8), structs(DataType::Utf8)),
    ] {
        let column = vec![Field::new("c", sent.clone(), true)];
        let schema = of_stream(&stream(DataType::Int64, fixed.clone(), column), None).unwrap();
        assert_eq!(schema.unwrap().arrow().field(2).data_type(), &kept, "{sent}");
    }
}

#[test]
fn times_keep_their_unit_and_zone() {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    let fixed = vector_type(VectorElement::F32, 3);
    let units = [Second, Millisecond, Microsecond, Nanosecond];
    let zones = [None, Some("UTC"), Some("Europe/Berlin"), Some("+05:30")];
    for (unit, zone) in units.into_iter().flat_map(|unit| zones.map(|zone| (unit, zone))) {
        let time = DataType::Timestamp(unit, zone.map(Into::into));
        let lists = DataType::List(list_item(time.clone()));
        let columns = [("t", &time), ("l", &lists)];
        let columns = columns.map(|(name, sent)| Field::new(name, sent.clone(), true));
        let made = of_stream(&stream(DataType::Int64, fixed.clone(), columns.into()), None);
        let made = made.unwrap().unwrap();
        assert_eq!(made.arrow().field(2).data_type(), &time);
        assert_eq!(made.arrow().field(3).data_type(), &lists);
    }
    let nowhere = DataType::Timestamp(Second, Some("".into()));
    let column = vec![Field::new("t", nowhere, true)];
    let error = of_stream(&stream(DataType::Int64, fixed, column), None).unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::InvalidSchema, Some("t"))
    );
}

#[test]
fn what_cannot_be_a_dataset_is_refused_by_name() {
    let fixed = || vector_type(VectorElement::F32, 3);
    let complex = stream(DataType::Int64, fixed(), vec![])
        .with_metadata(HashMap::from([(COMPLEX.to_owned(), "true".to_owned())]));
    let cases = [
        (
            ArrowSchema::new(vec![Field::new("id", DataType::Int64, false)]),
            "vector",
        ),
        (stream(DataType::Float32, fixed(), vec![]), "id"),
        (stream(DataType::Int64, DataType::Float32, vec![]), "vector"),
        (stream(DataType::Int64, list(DataType::Int8), vec![]), "vector"),
        (
            stream(
                DataType::Int64,
                fixed(),
                vec![Field::new("d", DataType::Decimal256(76, -2), true)],
            ),
            "d",
        ),
        (
            stream(
                DataType::Int64,
                fixed(),
                vec![Field::new("l", list(list(DataType::Int8)), true)],
            ),
            "l",
        ),
        (
            stream(
                DataType::Int64,
                fixed(),
                vec![Field::new("__index_level__", DataType::Int64, true)],
            ),
            "__index_level__",
        ),
        (
            stream(
                DataType::Int64,
                fixed(),
                vec![Field::new("s", structs(structs(DataType::Int8)), true)],
            ),
            "s.a",
        ),
        (
            stream(
                DataType::Int64,
                fixed(),
                vec![Field::new("l", list(structs(DataType::Int8)), true)],
            ),
            "l",
        ),
        (complex, COMPLEX),
    ];
    let ids: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![1]));
    let batch = RecordBatch::try_from_iter([("id", ids), ("vector", vectors_of(&[vec![1.0, 2.0]]))]).unwrap();
    for (schema, field) in cases {
        let error = of_stream(&schema, Some(&batch)).unwrap_err();
        assert_eq!(error.field.as_deref(), Some(field), "{error}");
    }
}
