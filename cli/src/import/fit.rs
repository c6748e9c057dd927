//! From the columns of a file to those of a dataset.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, make_array, new_null_array},
    compute::{CastOptions, cast_with_options},
    error::ArrowError,
    record_batch::RecordBatch,
};
use arrow_schema::{DataType, Field, Schema as ArrowSchema, TimeUnit};
use longbow_client::{Error, ErrorCode, Metric, Schema, VectorElement};
use longbow_types::schema::{is_scalar, utf8_item, vector_type};

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
}

/// The schema of a dataset that can hold a file. `list_length` is the length of its vectors, if the type does not say.
pub fn schema(file: &ArrowSchema, list_length: Option<usize>, wishes: &Wishes) -> Result<Schema, Error> {
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
    Schema::new(fields, wishes.id_column, metric)
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
    let dimension = match field.data_type() {
        T::FixedSizeList(_, size) => usize::try_from(*size).ok(),
        _ => length,
    };
    let dimension = dimension.filter(|length| (1..=longbow_types::limits::DIMENSION_MAX).contains(length));
    dimension
        .map(|dimension| vector_type(element, dimension))
        .ok_or_else(|| {
            cannot(
                field,
                "the length of the vectors cannot be told, or is not possible",
            )
        })
}

fn scalar(field: &Field) -> Result<DataType, Error> {
    use DataType as T;
    let kind = plain(field.data_type());
    Ok(match kind {
        T::LargeUtf8 | T::Utf8View => T::Utf8,
        T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::Timestamp(..) | T::Date32 | T::Date64 => T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        T::List(item) | T::LargeList(item)
            if matches!(plain(item.data_type()), T::Utf8 | T::LargeUtf8 | T::Utf8View) =>
        {
            T::List(utf8_item())
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

/// A batch with the columns of the dataset, in its order and types. Nothing is dropped silently.
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
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.arrow().fields().len());
    for field in schema.arrow().fields() {
        columns.push(match batch.column_by_name(field.name()) {
            Some(column) => cast(column, field)?,
            None if field.is_nullable() => new_null_array(field.data_type(), batch.num_rows()),
            None => {
                let message = format!("the file has no column {:?}", field.name());
                return Err(Error::new(ErrorCode::SchemaMismatch, message).field(field.name().clone()));
            }
        });
    }
    RecordBatch::try_new(Arc::clone(schema.arrow()), columns)
        .map_err(|error| Error::new(ErrorCode::SchemaMismatch, error.to_string()))
}

fn cast(column: &ArrayRef, field: &Field) -> Result<ArrayRef, Error> {
    if !field.is_nullable() && column.null_count() > 0 {
        let row = (0..column.len()).find(|&row| column.is_null(row)).unwrap_or(0);
        let message = format!("row {row} of a batch has no {}", field.name());
        return Err(Error::new(ErrorCode::NullNotAllowed, message).field(field.name().clone()));
    }
    if column.data_type() == field.data_type() {
        return Ok(Arc::clone(column));
    }
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let made = match field.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => instants(column, field.data_type(), &options),
        other => cast_with_options(column, other, &options),
    };
    made.map_err(|error| {
        let message = format!(
            "{} cannot become {}: {error}",
            column.data_type(),
            field.data_type()
        );
        Error::new(ErrorCode::TypeMismatch, message).field(field.name().clone())
    })
}

/// Dates and times as instants. Times without a zone are taken for UTC, those with one are instants already; so zones
/// are mere labels here, and no table of zones is needed.
fn instants(column: &ArrayRef, utc: &DataType, options: &CastOptions) -> Result<ArrayRef, ArrowError> {
    let plain = match column.data_type() {
        DataType::Timestamp(unit, Some(_)) => relabelled(column, DataType::Timestamp(*unit, None))?,
        _ => Arc::clone(column),
    };
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    relabelled(&cast_with_options(&plain, &micros, options)?, utc.clone())
}

/// The same numbers under another type of the same width.
fn relabelled(column: &ArrayRef, data_type: DataType) -> Result<ArrayRef, ArrowError> {
    let data = column.to_data().into_builder().data_type(data_type).build()?;
    Ok(make_array(data))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use arrow::{
        array::{
            AsArray, Date32Array, DictionaryArray, Int32Array, LargeStringArray, ListArray, ListBuilder,
            StringBuilder, TimestampSecondArray, UInt16Array,
        },
        datatypes::{Float16Type, Float32Type, Int32Type, TimestampMicrosecondType},
    };

    const WISHES: Wishes = Wishes {
        id_column: "id",
        vector_column: "vector",
        metric: None,
        element: None,
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
        let rows = batch(&file, &schema).unwrap();
        assert_eq!(rows.schema_ref(), schema.arrow());
        assert_eq!(rows["pos"].as_string::<i32>().value(1), "noun");
        assert!(rows["gloss"].is_null(1));
        assert_eq!(
            rows["day"].as_primitive::<TimestampMicrosecondType>().value(1),
            86_400_000_000
        );
        let vector = rows["vector"].as_fixed_size_list().value(1);
        assert_eq!(vector.as_primitive::<Float16Type>().value(2).to_f32(), 1.5);
        assert_eq!(
            rows["lemmas"]
                .as_list::<i32>()
                .value(0)
                .as_string::<i32>()
                .value(1),
            "hound"
        );
    }

    #[test]
    fn times_of_any_zone_become_instants() {
        let at = TimestampSecondArray::from(vec![1_000]).with_timezone("Europe/Berlin");
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(UInt16Array::from(vec![7]))),
            ("vector", vectors(1, 3)),
            ("at", Arc::new(at)),
        ];
        let file = RecordBatch::try_from_iter(columns).unwrap();
        let made = schema(file.schema_ref(), Some(3), &WISHES).unwrap();
        let rows = batch(&file, &made).unwrap();
        assert_eq!(
            rows["at"].as_primitive::<TimestampMicrosecondType>().value(0),
            1_000_000_000
        );
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
        let replaced = |name: &str, array: ArrayRef| {
            let columns = file.schema_ref().fields().iter().map(|field| {
                let old = file.column_by_name(field.name()).unwrap();
                let new = if field.name() == name { &array } else { old };
                (field.name().clone(), Arc::clone(new))
            });
            RecordBatch::try_from_iter(columns).unwrap()
        };
        let cases = [
            (
                replaced("vector", vectors(2, 4)),
                "vector",
                ErrorCode::TypeMismatch,
            ),
            (
                replaced("id", Arc::new(UInt16Array::from(vec![Some(1), None]))),
                "id",
                ErrorCode::NullNotAllowed,
            ),
            (file.project(&[1, 2]).unwrap(), "id", ErrorCode::SchemaMismatch),
        ];
        for (rows, field, code) in cases {
            let error = batch(&rows, &made).unwrap_err();
            assert_eq!(
                (error.field.as_deref(), error.code),
                (Some(field), code),
                "{error}"
            );
        }
        let narrow = schema(file.project(&[0, 1]).unwrap().schema_ref(), Some(3), &WISHES).unwrap();
        let error = batch(&file, &narrow).unwrap_err();
        assert_eq!(error.code, ErrorCode::UnknownColumn);
        assert!(error.message.contains("--columns"), "{error}");
    }

    #[test]
    fn missing_columns_become_null_where_they_may() {
        let file = file();
        let all = file.schema_ref().fields().iter();
        let nullable = ArrowSchema::new(
            all.map(|field| field.as_ref().clone().with_nullable(true))
                .collect::<Vec<_>>(),
        );
        let made = schema(&nullable, Some(3), &WISHES).unwrap();
        let rows = batch(&file.project(&[0, 1]).unwrap(), &made).unwrap();
        assert_eq!(rows["gloss"].null_count(), 2);
        let strict = schema(file.schema_ref(), Some(3), &WISHES).unwrap();
        let error = batch(&file.project(&[0, 1]).unwrap(), &strict).unwrap_err();
        assert_eq!(error.code, ErrorCode::SchemaMismatch);
    }
}
