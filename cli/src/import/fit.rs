//! From the columns of a file to those of a dataset.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::{CastOptions, cast_with_options},
    datatypes::{Date64Type, TimestampMillisecondType},
    record_batch::RecordBatch,
};
use arrow_schema::{DataType, Field, Schema as ArrowSchema};
use longbow_client::{Error, ErrorCode, Metric, Quantization, Schema, VectorElement};
use longbow_types::{
    limits::DIMENSION_MAX,
    schema::{is_scalar, list_item, path, utf8_item, vector_type},
};

/// Key of a file's metadata that names the metric.
const METRIC_KEY: &str = "longbow.metric";

/// What the caller wants of a new dataset.
#[derive(Debug)]
pub struct Wishes<'a> {
    /// Column of ids.
    pub id_column: &'a str,
    /// Column of vectors.
    pub vector_column: &'a str,
    /// Distance, if not the file's.
    pub metric: Option<Metric>,
    /// Element type, if not the file's.
    pub element: Option<VectorElement>,
    /// What the search graph is walked on.
    pub quantization: Quantization,
}

/// The schema of a dataset that can hold a file. `list_length` is the length of its vectors, if the type does not say.
pub fn schema(file: &ArrowSchema, list_length: Option<usize>, wishes: &Wishes) -> Result<Schema, Error> {
    required(file, wishes.id_column, "ids", "--id-column")?;
    required(file, wishes.vector_column, "vectors", "--vector-column")?;
    let mut fields = Vec::with_capacity(file.fields().len());
    for field in file.fields() {
        let name = field.name();
        let is_id = name == wishes.id_column;
        let is_vector = name == wishes.vector_column;
        let data_type = if is_id {
            id_type(field)?
        } else if is_vector {
            vector(field, list_length, wishes.element)?
        } else {
            scalar(field)?
        };
        fields.push(Field::new(
            name,
            data_type,
            field.is_nullable() && !is_id && !is_vector,
        ));
    }
    let metric = match wishes.metric {
        Some(metric) => metric,
        None => file_metric(file)?,
    };
    Ok(Schema::new(fields, wishes.id_column, metric)?.with_quantization(wishes.quantization))
}

fn required(file: &ArrowSchema, name: &str, what: &str, option: &'static str) -> Result<(), Error> {
    if file.index_of(name).is_ok() {
        return Ok(());
    }
    let known: Vec<&str> = file.fields().iter().map(|field| field.name().as_str()).collect();
    let message = format!("no column {name:?} for the {what}; say which one it is with {option}");
    Err(Error::new(ErrorCode::UnknownColumn, message)
        .field(name.to_owned())
        .limit(format_args!("one of {}", known.join(", "))))
}

fn file_metric(file: &ArrowSchema) -> Result<Metric, Error> {
    match file.metadata().get(METRIC_KEY).map(String::as_str) {
        None | Some("cosine") => Ok(Metric::Cosine),
        Some("euclidean" | "l2") => Ok(Metric::L2),
        Some("dot_product" | "dot") => Ok(Metric::Dot),
        Some(other) => Err(Error::new(
            ErrorCode::InvalidSchema,
            format!("the file's metric is {other:?}"),
        )
        .field(METRIC_KEY)
        .limit("cosine, l2 or dot; say which with --metric")),
    }
}

fn id_type(field: &Field) -> Result<DataType, Error> {
    use DataType as T;
    match plain(field.data_type()) {
        T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => Ok(T::UInt64),
        T::Int8 | T::Int16 | T::Int32 | T::Int64 => Ok(T::Int64),
        T::Utf8 | T::LargeUtf8 | T::Utf8View => Ok(T::Utf8),
        other => Err(cannot(field, &format!("ids cannot be {other}"))),
    }
}

fn vector(field: &Field, length: Option<usize>, wish: Option<VectorElement>) -> Result<DataType, Error> {
    use DataType as T;
    let (T::FixedSizeList(item, _) | T::List(item) | T::LargeList(item)) = field.data_type() else {
        return Err(cannot(
            field,
            &format!("vectors are lists of numbers, not {}", field.data_type()),
        ));
    };
    let element = match (wish, item.data_type()) {
        (Some(wish), kind) if kind.is_numeric() => wish,
        (_, T::Float16) => VectorElement::F16,
        (_, T::Float32) => VectorElement::F32,
        (_, T::Float64) => VectorElement::F64,
        (_, other) => {
            let message = format!("vectors of {other}; say how to keep them with --element");
            return Err(cannot(field, &message));
        }
    };
    let length = match field.data_type() {
        T::FixedSizeList(_, size) => usize::try_from(*size).ok(),
        _ => length,
    };
    let wrong = |why: String| {
        Error::new(ErrorCode::InvalidSchema, why)
            .field(field.name().clone())
            .limit(format_args!("1 to {DIMENSION_MAX} elements"))
    };
    let dimension = length.ok_or_else(|| {
        wrong(
            "no row of the file tells the length of the vectors; `longbow dataset create` can be told"
                .to_owned(),
        )
    })?;
    if !(1..=DIMENSION_MAX).contains(&dimension) {
        return Err(wrong(format!("vectors of {dimension} elements")));
    }
    Ok(vector_type(element, dimension))
}

fn scalar(field: &Field) -> Result<DataType, Error> {
    use DataType as T;
    let kind = plain(field.data_type());
    Ok(match kind {
        T::LargeUtf8 | T::Utf8View => T::Utf8,
        T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::List(item) | T::LargeList(item)
            if matches!(plain(item.data_type()), T::Utf8 | T::LargeUtf8 | T::Utf8View) =>
        {
            T::List(utf8_item())
        }
        T::Decimal32(precision, scale) | T::Decimal64(precision, scale) | T::Decimal256(precision, scale) => {
            let kept = longbow_types::decimal::data_type(*precision, *scale);
            kept.ok_or_else(|| cannot(field, &format!("columns of {kind} cannot be kept")))?
        }
        T::List(item) | T::LargeList(item) => {
            let list = T::List(list_item(scalar(item)?));
            if !is_scalar(&list) {
                return Err(cannot(field, &format!("columns of {kind} cannot be kept")));
            }
            list
        }
        T::Struct(children) => {
            let kept = children.iter().map(|child| {
                let named = child.as_ref().clone().with_name(path(field.name(), child.name()));
                Ok(Field::new(child.name(), scalar(&named)?, child.is_nullable()))
            });
            let structs = T::Struct(kept.collect::<Result<Vec<_>, Error>>()?.into());
            if !is_scalar(&structs) {
                return Err(cannot(field, &format!("columns of {kind} cannot be kept")));
            }
            structs
        }
        other if is_scalar(other) => other.clone(),
        other => return Err(cannot(field, &format!("columns of {other} cannot be kept"))),
    })
}

/// The type of a dictionary's values.
fn plain(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => values,
        other => other,
    }
}

fn cannot(field: &Field, why: &str) -> Error {
    Error::new(ErrorCode::InvalidSchema, why.to_owned())
        .field(field.name().clone())
        .limit("leave the column out with --columns, or write it otherwise")
}

/// A batch with columns of the dataset, as the cluster takes them. Only what cannot change a value is done here; whether
/// a number, a time or a vector is one that the dataset can keep, the router judges, as it does for every client.
pub fn batch(batch: &RecordBatch, schema: &Schema) -> Result<RecordBatch, Error> {
    let file = batch.schema_ref();
    for field in file.fields() {
        // Names the columns that there are.
        schema.column(field.name()).map_err(|error| Error {
            message: format!(
                "{}; leave it out with --columns",
                error.message.replace("there is", "the dataset has")
            )
            .into(),
            ..error
        })?;
    }
    for (position, field) in schema.arrow().fields().iter().enumerate() {
        if !field.is_nullable()
            && schema.default_of(position).is_none()
            && file.index_of(field.name()).is_err()
        {
            let message = format!("the file has no column {:?}", field.name());
            return Err(Error::new(ErrorCode::SchemaMismatch, message).field(field.name().clone()));
        }
    }
    let mut fields = Vec::with_capacity(file.fields().len());
    let mut columns = Vec::with_capacity(file.fields().len());
    for (field, column) in file.fields().iter().zip(batch.columns()) {
        let (_, kept) = schema.column(field.name())?;
        let column = match (column.data_type(), kept.data_type()) {
            (DataType::Date32 | DataType::Date64, DataType::Date32 | DataType::Date64) => Arc::clone(column),
            _ => spelt_out(column, field.name())?,
        };
        fields.push(Field::new(
            field.name(),
            column.data_type().clone(),
            field.is_nullable(),
        ));
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns)
        .map_err(|error| Error::new(ErrorCode::SchemaMismatch, error.to_string()))
}

/// The same values without dictionaries and views, whose slices would carry what they share again and again; dates as
/// times, unless the dataset has dates.
fn spelt_out(column: &ArrayRef, name: &str) -> Result<ArrayRef, Error> {
    use DataType as T;
    let target = match column.data_type() {
        T::Dictionary(_, values) => {
            let values = converted(column, values, name)?;
            return spelt_out(&values, name);
        }
        T::Utf8View => T::Utf8,
        T::BinaryView => T::Binary,
        T::List(item) | T::LargeList(item) if is_shared_text(item.data_type()) => T::List(utf8_item()),
        // Milliseconds hold every date there is.
        T::Date32 | T::Date64 => {
            let date = converted(column, &T::Date64, name)?;
            let millis = date.as_primitive::<Date64Type>();
            return Ok(Arc::new(millis.reinterpret_cast::<TimestampMillisecondType>()));
        }
        _ => return Ok(Arc::clone(column)),
    };
    converted(column, &target, name)
}

fn is_shared_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8View => true,
        DataType::Dictionary(_, values) => {
            matches!(
                **values,
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
            )
        }
        _ => false,
    }
}

/// A cast between two encodings of the same values.
fn converted(column: &ArrayRef, target: &DataType, name: &str) -> Result<ArrayRef, Error> {
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(column, target, &strict).map_err(|error| {
        let message = format!("{} cannot become {target}: {error}", column.data_type());
        Error::new(ErrorCode::TypeMismatch, message).field(name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use arrow::{
        array::{
            Date32Array, DictionaryArray, Int32Array, LargeStringArray, ListArray, ListBuilder,
            StringBuilder, StringDictionaryBuilder, StringViewArray, UInt16Array,
        },
        datatypes::{Float32Type, Int32Type},
    };

    const WISHES: Wishes = Wishes {
        id_column: "id",
        vector_column: "vector",
        metric: None,
        element: None,
        quantization: Quantization::None,
    };

    fn vectors(rows: usize, length: usize) -> ArrayRef {
        let rows = (0..rows).map(|row| Some(vec![Some(row as f32 + 0.5); length]));
        Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(rows))
    }

    fn file() -> RecordBatch {
        let mut lemmas = ListBuilder::new(StringBuilder::new());
        lemmas.append_value([Some("dog"), Some("hound")]);
        lemmas.append_value([Some("cat")]);
        let pos: DictionaryArray<Int32Type> = ["noun", "noun"].into_iter().collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(UInt16Array::from(vec![7, 8]))),
            ("vector", vectors(2, 3)),
            ("pos", Arc::new(pos)),
            ("gloss", Arc::new(LargeStringArray::from(vec![Some("a"), None]))),
            ("lemmas", Arc::new(lemmas.finish())),
            ("day", Arc::new(Date32Array::from(vec![0, 1]))),
            ("count", Arc::new(Int32Array::from(vec![1, 2]))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn a_file_becomes_a_dataset_and_its_rows_fit() {
        let file = file();
        let wishes = Wishes {
            element: Some(VectorElement::F16),
            ..WISHES
        };
        let schema = schema(file.schema_ref(), Some(3), &wishes).unwrap();
        assert_eq!(schema.vector().element, VectorElement::F16);
        assert_eq!(schema.vector().quantization, Quantization::None);
        let rows = batch(&file, &schema).unwrap();
        assert_eq!(rows["pos"].as_string::<i32>().value(1), "noun");
        assert!(rows["gloss"].is_null(1));
        // What may change a value is left to the router.
        for name in ["id", "vector", "lemmas", "day", "count"] {
            assert_eq!(&rows[name], &file[name], "{name}");
        }
    }

    #[test]
    fn times_keep_their_unit_and_zone_and_dates_are_dates() {
        use arrow_schema::TimeUnit;
        let kept = |data_type: DataType| scalar(&Field::new("at", data_type, true));
        for unit in [
            TimeUnit::Second,
            TimeUnit::Millisecond,
            TimeUnit::Microsecond,
            TimeUnit::Nanosecond,
        ] {
            for zone in [None, Some("UTC"), Some("Europe/Berlin")] {
                let time = DataType::Timestamp(unit, zone.map(Into::into));
                assert_eq!(kept(time.clone()), Ok(time.clone()));
                let times = DataType::List(list_item(time));
                assert_eq!(kept(times.clone()), Ok(times));
            }
        }
        for date in [DataType::Date32, DataType::Date64] {
            assert_eq!(kept(date.clone()), Ok(date));
        }
        let nowhere = DataType::Timestamp(TimeUnit::Second, Some("".into()));
        assert_eq!(kept(nowhere).unwrap_err().field.as_deref(), Some("at"));

        // A dataset made otherwise, that keeps instants, takes a file's dates.
        let fields = vec![
            Field::new("id", DataType::UInt64, false),
            Field::new("vector", vector_type(VectorElement::F32, 3), false),
            Field::new("day", DataType::Timestamp(TimeUnit::Second, None), true),
        ];
        let instants = Schema::new(fields, "id", Metric::Cosine).unwrap();
        let rows = batch(&file().project(&[0, 1, 5]).unwrap(), &instants).unwrap();
        assert_eq!(
            rows["day"].as_primitive::<TimestampMillisecondType>().value(1),
            86_400_000
        );
    }

    #[test]
    fn every_date_and_shared_text_keep_their_values() {
        let mut shared = ListBuilder::new(StringDictionaryBuilder::<Int32Type>::new());
        shared.append_value([Some("a"), None]);
        shared.append_null();
        let days = Date32Array::from(vec![i32::MIN, i32::MAX]);
        let views = StringViewArray::from(vec![Some("text that is too long for a view"), None]);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("day", Arc::new(days)),
            ("view", Arc::new(views)),
            ("shared", Arc::new(shared.finish())),
        ];
        let spelt = |name: &str, column: &ArrayRef| spelt_out(column, name).unwrap();
        let made: Vec<_> = columns.iter().map(|(name, column)| spelt(name, column)).collect();
        let millis = made[0].as_primitive::<TimestampMillisecondType>();
        assert_eq!(
            millis.values()[..],
            [i64::from(i32::MIN), i64::from(i32::MAX)].map(|day| day * 86_400_000)
        );
        assert_eq!(
            made[1].as_string::<i32>().value(0),
            "text that is too long for a view"
        );
        assert_eq!(made[2].data_type(), &DataType::List(utf8_item()));
        assert!(made[2].is_null(1) && made[2].as_list::<i32>().value(0).is_null(1));
    }

    #[test]
    fn the_columns_that_must_be_there_are_asked_for() {
        let file = file();
        let told = |keep: &[usize], length| {
            let part = file.project(keep).unwrap();
            schema(part.schema_ref(), length, &WISHES).unwrap_err()
        };
        let error = told(&[1, 2], Some(3));
        assert_eq!(error.code, ErrorCode::UnknownColumn);
        assert!(error.message.contains("--id-column"), "{error}");
        assert_eq!(error.limit.as_deref(), Some("one of vector, pos"));
        assert!(told(&[0, 2], Some(3)).message.contains("--vector-column"));
        assert!(told(&[0, 1], None).message.contains("dataset create"));
        assert!(told(&[0, 1], Some(0)).message.contains("0 elements"));
    }

    #[test]
    fn the_files_metric_counts_unless_told_otherwise() {
        let with = |metric: &str| {
            let metadata = HashMap::from([(METRIC_KEY.to_owned(), metric.to_owned())]);
            let file = file().schema_ref().as_ref().clone().with_metadata(metadata);
            schema(&file, Some(3), &WISHES).map(|schema| schema.vector().metric)
        };
        assert_eq!(with("euclidean"), Ok(Metric::L2));
        assert_eq!(with("dot_product"), Ok(Metric::Dot));
        assert!(with("hamming").is_err());
        let wishes = Wishes {
            metric: Some(Metric::Dot),
            ..WISHES
        };
        let made = schema(file().schema_ref(), Some(3), &wishes).unwrap();
        assert_eq!(made.vector().metric, Metric::Dot);
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let file = file();
        let made = schema(file.schema_ref(), Some(3), &WISHES).unwrap();
        let error = batch(&file.project(&[1, 2]).unwrap(), &made).unwrap_err();
        assert_eq!(
            (error.field.as_deref(), error.code),
            (Some("id"), ErrorCode::SchemaMismatch)
        );
        let narrow = schema(file.project(&[0, 1]).unwrap().schema_ref(), Some(3), &WISHES).unwrap();
        let error = batch(&file, &narrow).unwrap_err();
        assert_eq!(error.code, ErrorCode::UnknownColumn);
        assert!(error.message.contains("--columns"), "{error}");
    }

    #[test]
    fn columns_may_be_missing_where_null_may_be() {
        let file = file();
        let all = file.schema_ref().fields().iter();
        let nullable = ArrowSchema::new(
            all.map(|field| field.as_ref().clone().with_nullable(true))
                .collect::<Vec<_>>(),
        );
        let made = schema(&nullable, Some(3), &WISHES).unwrap();
        let rows = batch(&file.project(&[0, 1]).unwrap(), &made).unwrap();
        assert_eq!(rows.num_columns(), 2);
        let strict = schema(file.schema_ref(), Some(3), &WISHES).unwrap();
        let error = batch(&file.project(&[0, 1]).unwrap(), &strict).unwrap_err();
        assert_eq!(error.code, ErrorCode::SchemaMismatch);
    }
}
