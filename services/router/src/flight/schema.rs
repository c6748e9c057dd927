//! Arrow schemas of existing clients and the schemas of datasets.
//!
//! Contract: an `id` of any integer type or text, a `vector` (FixedSizeList, or List of constant length), any other
//! columns; `longbow.metric` and `longbow.vector_type` in the metadata of the schema or of the vector's field. Other
//! columns of fixed-size lists are further vectors, with their own of these in the metadata of their fields.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, FixedSizeListArray, RecordBatch},
    datatypes::SchemaRef,
};
use arrow_schema::{ArrowError, DataType, Field, Schema as ArrowSchema};
use longbow_types::{
    Error, ErrorCode, Metric, Quantization, Result, Schema, VectorColumn, VectorElement,
    schema::{list_item, path, vector_type},
};

const ID: &str = "id";
const VECTOR: &str = "vector";
const METRIC: &str = "longbow.metric";
const VECTOR_TYPE: &str = "longbow.vector_type";
const COMPLEX: &str = "longbow.complex";

/// The schema that a dataset gets from a stream that creates it.
///
/// `first` is the stream's first batch, which tells the length of vectors that come as plain lists; without it and
/// with such vectors the answer is `None`.
///
/// # Errors
/// `INVALID_SCHEMA`, `UNSUPPORTED` or `INVALID_VALUE`, naming the column or key.
pub fn of_stream(schema: &ArrowSchema, first: Option<&RecordBatch>) -> Result<Option<Schema>> {
    let vector = vector_field(schema)?;
    let note = |key: &str| {
        let of_field = vector.metadata().get(key);
        of_field
            .or_else(|| schema.metadata().get(key))
            .map(String::as_str)
    };
    if note(COMPLEX).is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        let message = "complex vectors are not supported by this version";
        return Err(Error::new(ErrorCode::Unsupported, message).field(COMPLEX));
    }
    let metric = metric(note(METRIC))?;
    let column = first.and_then(|batch| batch.column_by_name(vector.name()));
    let Some(dimension) = dimension(vector, column)? else {
        return Ok(None);
    };
    let kept_as = element(note(VECTOR_TYPE), vector)?;
    let mut further = Vec::new();
    let fields = schema
        .fields()
        .iter()
        .map(|field| {
            if field.name() == ID {
                Ok(Field::new(ID, id_type(field)?, false))
            } else if field.name() == vector.name() {
                Ok(Field::new(field.name(), vector_type(kept_as, dimension), false))
            } else if let DataType::FixedSizeList(..) = field.data_type() {
                // Of the stream's metric, unless it says so itself.
                let own = field.metadata().get(METRIC).map(String::as_str);
                further.push((
                    field.name(),
                    own.map_or(Ok(metric), |own| self::metric(Some(own)))?,
                ));
                further_vector(field)
            } else {
                // Later streams may leave a column out, so it may always be null.
                Ok(Field::new(
                    field.name(),
                    scalar_type(field.data_type(), field.name())?,
                    true,
                ))
            }
        })
        .collect::<Result<Vec<_>>>()?;
    let mut made = Schema::new(fields, ID, metric)?;
    for (name, metric) in further {
        made = made.with_vector(name, metric, Quantization::default())?;
    }
    Ok(Some(made))
}

/// A column of vectors beside the one that every row has a value in.
fn further_vector(field: &Field) -> Result<Field> {
    let own = field.metadata().get(VECTOR_TYPE).map(String::as_str);
    let dimension = dimension(field, None)?.unwrap_or(0);
    Ok(Field::new(
        field.name(),
        vector_type(element(own, field)?, dimension),
        true,
    ))
}

/// Positions of the columns that are stored: all but those in which pandas keeps a frame's index, which no dataset
/// could name and no user chose.
pub fn kept(schema: &ArrowSchema) -> Vec<usize> {
    let is_index = |name: &str| {
        let level = name.strip_prefix("__index_level_");
        level
            .and_then(|rest| rest.strip_suffix("__"))
            .is_some_and(|level| level.parse::<u32>().is_ok())
    };
    let fields = schema.fields().iter().enumerate();
    fields
        .filter(|(_, field)| !is_index(field.name()))
        .map(|(position, _)| position)
        .collect()
}

/// Refuses a stream that names another metric than its dataset has.
///
/// # Errors
/// `SCHEMA_MISMATCH`, or `INVALID_VALUE` for a metric that is not known.
pub fn check_metric(stream: &ArrowSchema, dataset: &Schema) -> Result<()> {
    for vector in dataset.vectors() {
        let name = dataset.name_at(vector.position);
        let field = stream.field_with_name(name).ok();
        let of_field = field.and_then(|field| field.metadata().get(METRIC));
        // What the stream says of itself is of the vector that every row has.
        let of_stream = stream
            .metadata()
            .get(METRIC)
            .filter(|_| *vector == dataset.vector());
        let Some(named) = of_field.or(of_stream).filter(|named| !named.is_empty()) else {
            continue;
        };
        if metric(Some(named))? != vector.metric {
            let message =
                format!("the stream names the metric {named:?}, which is not that of the column {name:?}");
            return Err(Error::new(ErrorCode::SchemaMismatch, message)
                .field(METRIC)
                .limit(metric_name(vector.metric)));
        }
    }
    Ok(())
}

/// The Arrow schema of a dataset, with what its metadata says for clients.
pub fn of_dataset(schema: &Schema) -> SchemaRef {
    let fields = schema.arrow().fields().iter().enumerate();
    let fields = fields.map(|(position, field)| {
        let further = schema.further_vectors();
        match further.iter().find(|vector| vector.position == position) {
            Some(vector) => as_sent(field).with_metadata(notes(vector)),
            None => as_sent(field),
        }
    });
    let fields: Vec<Field> = fields.collect();
    Arc::new(ArrowSchema::new(fields).with_metadata(notes(&schema.vector())))
}

/// What the metadata says of a vector column.
fn notes(vector: &VectorColumn) -> HashMap<String, String> {
    let notes = [
        (METRIC, metric_name(vector.metric)),
        (VECTOR_TYPE, vector.element.as_str()),
    ];
    notes
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// A field as Arrow clients make it by default: everything may be null, so that what is fetched has the very types of
/// what was put.
fn as_sent(field: &Field) -> Field {
    let field = field.clone().with_nullable(true);
    match field.data_type() {
        DataType::FixedSizeList(item, size) => {
            let item = Arc::new(item.as_ref().clone().with_nullable(true));
            let data_type = DataType::FixedSizeList(item, *size);
            field.with_data_type(data_type)
        }
        _ => field,
    }
}

/// The rows of a dataset under the schema of [`of_dataset`]. Shares all values.
///
/// # Errors
/// If the columns are not those of the schema.
pub fn shown(batch: &RecordBatch, schema: &SchemaRef) -> std::result::Result<RecordBatch, ArrowError> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            let DataType::FixedSizeList(item, size) = field.data_type() else {
                return Ok(column.clone());
            };
            let list = column.as_fixed_size_list();
            let list = FixedSizeListArray::try_new(
                item.clone(),
                *size,
                list.values().clone(),
                list.nulls().cloned(),
            )?;
            Ok(Arc::new(list) as ArrayRef)
        });
    let columns = columns.collect::<std::result::Result<Vec<_>, ArrowError>>()?;
    RecordBatch::try_new(schema.clone(), columns)
}

/// The column named `vector`, or the only one that could be.
fn vector_field(schema: &ArrowSchema) -> Result<&Field> {
    let could_be = |field: &&Arc<Field>| match field.data_type() {
        DataType::FixedSizeList(..) => true,
        DataType::List(item) | DataType::LargeList(item) => item.data_type().is_numeric(),
        _ => false,
    };
    if let Ok(field) = schema.field_with_name(VECTOR) {
        return Ok(field);
    }
    let mut candidates = schema.fields().iter().filter(could_be);
    match (candidates.next(), candidates.next()) {
        (Some(field), None) => Ok(field),
        _ => Err(Error::new(ErrorCode::InvalidSchema, "there is no column \"vector\"").field(VECTOR)),
    }
}

fn dimension(field: &Field, column: Option<&ArrayRef>) -> Result<Option<usize>> {
    let length = match (field.data_type(), column) {
        (DataType::FixedSizeList(_, size), _) => usize::try_from(*size).ok(),
        (DataType::List(_), Some(column)) if !column.is_empty() => column
            .as_list_opt::<i32>()
            .map(|list| list.value_length(0) as usize),
        (DataType::LargeList(_), Some(column)) if !column.is_empty() => column
            .as_list_opt::<i64>()
            .map(|list| list.value_length(0) as usize),
        (DataType::List(_) | DataType::LargeList(_), _) => return Ok(None),
        (other, _) => {
            let message = format!("vectors cannot be of type {other}");
            return Err(Error::new(ErrorCode::InvalidSchema, message)
                .field(field.name().clone())
                .limit("a list of floats"));
        }
    };
    // `Schema::new` bounds it, but must first be able to make a type of it.
    let length = length.filter(|&length| (1..=longbow_types::limits::DIMENSION_MAX).contains(&length));
    length.map(Some).ok_or_else(|| {
        Error::new(
            ErrorCode::InvalidSchema,
            "the vectors are empty, or longer than supported",
        )
        .field(field.name().clone())
        .limit(format_args!(
            "1 to {} elements",
            longbow_types::limits::DIMENSION_MAX
        ))
    })
}

fn element(named: Option<&str>, field: &Field) -> Result<VectorElement> {
    let sent = match field.data_type() {
        DataType::FixedSizeList(item, _) | DataType::List(item) | DataType::LargeList(item) => {
            item.data_type()
        }
        other => other,
    };
    let by_name = |name: &str| match name {
        "float16" => Some(VectorElement::F16),
        "float32" => Some(VectorElement::F32),
        "float64" => Some(VectorElement::F64),
        _ => None,
    };
    let (known, told) = match (named, sent) {
        (Some(name), _) => (by_name(name), name.to_owned()),
        (None, DataType::Float16) => (Some(VectorElement::F16), String::new()),
        (None, DataType::Float32) => (Some(VectorElement::F32), String::new()),
        (None, DataType::Float64) => (Some(VectorElement::F64), String::new()),
        (None, other) => (None, other.to_string()),
    };
    known.ok_or_else(|| {
        let message = format!("vectors of {told} are not supported by this version");
        Error::new(ErrorCode::Unsupported, message)
            .field(field.name().clone())
            .limit("float16, float32 or float64")
    })
}

fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::Cosine => "cosine",
        Metric::L2 => "euclidean",
        Metric::Dot => "dot_product",
    }
}

/// Clients that say nothing mean the Euclidean distance, as they always did.
fn metric(named: Option<&str>) -> Result<Metric> {
    match named {
        None | Some("" | "euclidean" | "l2") => Ok(Metric::L2),
        Some("cosine") => Ok(Metric::Cosine),
        Some("dot_product" | "dot") => Ok(Metric::Dot),
        Some(other) => Err(Error::new(
            ErrorCode::InvalidValue,
            format!("the metric {other:?} is not known"),
        )
        .field(METRIC)
        .limit("euclidean, cosine or dot_product")),
    }
}

fn id_type(field: &Field) -> Result<DataType> {
    let data_type = match field.data_type() {
        DataType::Dictionary(_, value) => value,
        other => other,
    };
    if data_type.is_unsigned_integer() {
        return Ok(DataType::UInt64);
    }
    if data_type.is_signed_integer() {
        return Ok(DataType::Int64);
    }
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ok(DataType::Utf8),
        other => {
            let message = format!("ids cannot be of type {other}");
            Err(Error::new(ErrorCode::InvalidSchema, message)
                .field(ID)
                .limit("an integer type or utf8"))
        }
    }
}

/// The type in which a column is kept.
fn scalar_type(data_type: &DataType, name: &str) -> Result<DataType> {
    use DataType as T;
    Ok(match data_type {
        T::Utf8 | T::LargeUtf8 | T::Utf8View => T::Utf8,
        // A column of nothing but nulls: what pandas makes of a column of `None`.
        T::Null => T::Utf8,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::Dictionary(_, value) => scalar_type(value, name)?,
        T::Decimal32(precision, scale) | T::Decimal64(precision, scale) | T::Decimal256(precision, scale) => {
            let kept = longbow_types::decimal::data_type(*precision, *scale);
            kept.ok_or_else(|| unsupported(data_type, name))?
        }
        T::List(item) | T::LargeList(item) => {
            let list = T::List(list_item(scalar_type(item.data_type(), name)?));
            if !longbow_types::schema::is_scalar(&list) {
                return Err(unsupported(data_type, name));
            }
            list
        }
        // How deep they go, and how children are named, is for `Schema::new` to judge.
        T::Struct(children) => {
            let children = children.iter().map(|child| {
                let kept = scalar_type(child.data_type(), &path(name, child.name()))?;
                Ok(Field::new(child.name(), kept, true))
            });
            T::Struct(children.collect::<Result<Vec<_>>>()?.into())
        }
        plain if plain.is_primitive() && longbow_types::schema::is_scalar(plain) => plain.clone(),
        T::Boolean => T::Boolean,
        other => return Err(unsupported(other, name)),
    })
}

fn unsupported(data_type: &DataType, name: &str) -> Error {
    let message = format!("columns of type {data_type} are not supported");
    Error::new(ErrorCode::InvalidSchema, message).field(name.to_owned())
}

#[cfg(test)]
mod tests;
