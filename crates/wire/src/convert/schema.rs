//! `longbow.v1.Schema` and [`longbow_types::Schema`].

use std::{sync::Arc, time::Duration};

use arrow_schema::{DataType, Field, TimeUnit};
use longbow_types::{
    Error, ErrorCode, Metric, Quantization, Result, Schema, VectorColumn, VectorElement,
    decimal::{self, PRECISION_MAX},
    limits::DIMENSION_MAX,
    schema::{list_item, path, utf8_item, vector_type},
};

use super::{default_value, times};
use crate::v1;

/// Name of the id column when none is given.
pub const ID_COLUMN_DEFAULT: &str = "id";

/// Checks a schema as sent and turns it into the shared type.
pub fn from_proto(schema: &v1::Schema) -> Result<Schema> {
    let id = if schema.id_column.is_empty() {
        ID_COLUMN_DEFAULT
    } else {
        &schema.id_column
    };
    let mut vectors = Vec::new();
    let mut fields = Vec::with_capacity(schema.columns.len());
    for column in &schema.columns {
        let data_type = match &column.vector {
            Some(vector) if column.kind() == v1::ColumnKind::Vector => {
                let metric = metric_of(vector.metric, &column.name)?;
                let quantization = quantization_of(vector.quantization, &column.name)?;
                vectors.push((&column.name, metric, quantization));
                vector_from_proto(vector, &column.name)?
            }
            _ => type_from_proto(column, &column.name)?,
        };
        fields.push(Field::new(&column.name, data_type, column.nullable));
    }
    let mut built = Schema::new(fields, id, Metric::Cosine)?;
    for (name, metric, quantization) in vectors {
        built = built.with_vector(name, metric, quantization)?;
    }
    for (position, column) in schema.columns.iter().enumerate() {
        if let Some(value) = &column.default {
            let data_type = built.arrow().field(position).data_type();
            let default = default_value::from_proto(value, data_type, &column.name)?;
            built = built.with_default(&column.name, default)?;
        }
    }
    let ttl = (schema.ttl_ms > 0).then(|| Duration::from_millis(schema.ttl_ms));
    let expires = Some(schema.expires_column.as_str()).filter(|name| !name.is_empty());
    built.with_ttl(ttl)?.with_expires_column(expires)
}

/// The type of a column that is no vector, or of a child of one, which errors call `name`.
fn type_from_proto(column: &v1::Column, name: &str) -> Result<DataType> {
    let kind = column.kind();
    let wrong =
        |message: &'static str| Err(Error::new(ErrorCode::InvalidSchema, message).field(name.to_owned()));
    if column.vector.is_some() != (kind == v1::ColumnKind::Vector) {
        return wrong("vector properties are given for COLUMN_KIND_VECTOR and only there");
    }
    if column.time.is_some() && !times::is_time(kind) {
        return wrong("time properties are given for TIME, TIMESTAMP and DURATION and only there");
    }
    if column.list.is_some() != (kind == v1::ColumnKind::List) {
        return wrong("list properties are given for COLUMN_KIND_LIST and only there");
    }
    if column.decimal.is_some() != (kind == v1::ColumnKind::Decimal) {
        return wrong("decimal properties are given for COLUMN_KIND_DECIMAL and only there");
    }
    if column.structure.is_some() != (kind == v1::ColumnKind::Struct) {
        return wrong("struct properties are given for COLUMN_KIND_STRUCT and only there");
    }
    if times::is_time(kind) {
        return times::from_proto(kind, column.time.as_ref(), name);
    }
    match (&column.list, &column.decimal, &column.structure) {
        (Some(list), _, _) => list_from_proto(list, name),
        (_, Some(decimal), _) => decimal_from_proto(decimal, name),
        (_, _, Some(structure)) => struct_from_proto(structure, name),
        _ => scalar_from_proto(kind, name),
    }
}

/// The type of structs with these children. What more they may not be is for [`Schema::new`] to say.
fn struct_from_proto(structure: &v1::StructType, name: &str) -> Result<DataType> {
    let children = structure.children.iter().map(|child| {
        let path = path(name, &child.name);
        if matches!(child.kind(), v1::ColumnKind::Struct | v1::ColumnKind::Vector) {
            let message = "a struct in a struct, or a vector";
            return Err(Error::new(ErrorCode::InvalidSchema, message)
                .field(path)
                .limit("one level: children are neither structs nor vectors"));
        }
        if child.default.is_some() {
            let message = "children of structs have no defaults";
            return Err(Error::new(ErrorCode::InvalidSchema, message).field(path));
        }
        let data_type = type_from_proto(child, &path)?;
        Ok(Field::new(&child.name, data_type, child.nullable))
    });
    Ok(DataType::Struct(children.collect::<Result<Vec<_>>>()?.into()))
}

fn struct_to_proto(data_type: &DataType) -> Option<v1::StructType> {
    let DataType::Struct(children) = data_type else {
        return None;
    };
    Some(v1::StructType {
        children: children.iter().map(|child| column_to_proto(child)).collect(),
    })
}

/// A column that is no vector and has no default, or the child of one.
fn column_to_proto(field: &Field) -> v1::Column {
    v1::Column {
        name: field.name().clone(),
        kind: kind_to_proto(field.data_type()) as i32,
        nullable: field.is_nullable(),
        time: times::to_proto(field.data_type()),
        default: None,
        list: list_to_proto(field.data_type()),
        decimal: decimal_to_proto(field.data_type()),
        structure: struct_to_proto(field.data_type()),
        vector: None,
    }
}

/// Spells a schema out as a message. Inverse of [`from_proto`].
pub fn to_proto(schema: &Schema) -> v1::Schema {
    let columns = schema
        .arrow()
        .fields()
        .iter()
        .enumerate()
        .map(|(position, field)| v1::Column {
            default: schema.default_of(position).map(default_value::to_proto),
            vector: schema.vector_at(position).map(vector_to_proto),
            ..column_to_proto(field)
        });
    v1::Schema {
        columns: columns.collect(),
        id_column: schema.id_name().to_owned(),
        ttl_ms: schema
            .ttl()
            .map_or(0, |ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
        expires_column: schema.expires_column().unwrap_or_default().to_owned(),
    }
}

/// The type of lists of a kind of items. Which kinds those may be is for [`Schema::new`] to say.
fn list_from_proto(list: &v1::ListType, name: &str) -> Result<DataType> {
    let kind = list.item();
    if list.time.is_some() && !times::is_time(kind) {
        let message =
            "time properties are given for items that are TIME, TIMESTAMP or DURATION and only there";
        return Err(Error::new(ErrorCode::InvalidSchema, message).field(name.to_owned()));
    }
    if list.decimal.is_some() != (kind == v1::ColumnKind::Decimal) {
        let message = "decimal properties are given for items that are DECIMAL and only there";
        return Err(Error::new(ErrorCode::InvalidSchema, message).field(name.to_owned()));
    }
    let item = match &list.decimal {
        Some(decimal) => decimal_from_proto(decimal, name)?,
        None if times::is_time(kind) => times::from_proto(kind, list.time.as_ref(), name)?,
        None => scalar_from_proto(kind, name)?,
    };
    Ok(DataType::List(list_item(item)))
}

/// What a list holds, where its kind does not tell it.
fn list_to_proto(data_type: &DataType) -> Option<v1::ListType> {
    match data_type {
        DataType::List(item) if *item.data_type() != DataType::Utf8 => Some(v1::ListType {
            item: kind_to_proto(item.data_type()) as i32,
            time: times::to_proto(item.data_type()),
            decimal: decimal_to_proto(item.data_type()),
        }),
        _ => None,
    }
}

fn decimal_from_proto(wanted: &v1::DecimalType, name: &str) -> Result<DataType> {
    let (precision, scale) = (u8::try_from(wanted.precision), i8::try_from(wanted.scale));
    let data_type = precision.ok().zip(scale.ok());
    let data_type = data_type.and_then(|(precision, scale)| decimal::data_type(precision, scale));
    data_type.ok_or_else(|| {
        let message = format!(
            "a decimal of {} digits, {} of them behind the point",
            wanted.precision, wanted.scale
        );
        Error::new(ErrorCode::InvalidSchema, message)
            .field(name.to_owned())
            .limit(format_args!(
                "1 to {PRECISION_MAX} digits, as many behind the point at most"
            ))
    })
}

fn decimal_to_proto(data_type: &DataType) -> Option<v1::DecimalType> {
    match data_type {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            Some(v1::DecimalType {
                precision: u32::from(*precision),
                // A schema has no negative ones.
                scale: u32::try_from(*scale).unwrap_or(0),
            })
        }
        _ => None,
    }
}

/// The metric of a number. One that this version does not know must not become another.
fn metric_of(number: i32, name: &str) -> Result<Metric> {
    v1::Metric::try_from(number)
        .map(metric_from_proto)
        .map_err(|_| unknown(format!("the metric {number}"), name, "COSINE, L2 or DOT"))
}

/// What a number says that the graph is walked on; unset, as in schemas from before there was a choice, the default.
fn quantization_of(number: i32, name: &str) -> Result<Quantization> {
    use v1::Quantization as Q;
    match Q::try_from(number) {
        Ok(Q::Unspecified) => Ok(Quantization::default()),
        Ok(Q::None) => Ok(Quantization::None),
        Ok(Q::Sq8) => Ok(Quantization::Sq8),
        Ok(Q::Sq4) => Ok(Quantization::Sq4),
        Ok(Q::Bit1) => Ok(Quantization::Bit1),
        Err(_) => {
            let what = format!("the quantization {number}");
            Err(unknown(what, name, "NONE, SQ8, SQ4 or BIT1"))
        }
    }
}

fn quantization_to_proto(quantization: Quantization) -> v1::Quantization {
    match quantization {
        Quantization::None => v1::Quantization::None,
        Quantization::Sq8 => v1::Quantization::Sq8,
        Quantization::Sq4 => v1::Quantization::Sq4,
        Quantization::Bit1 => v1::Quantization::Bit1,
    }
}

fn unknown(what: String, name: &str, limit: &str) -> Error {
    Error::new(
        ErrorCode::InvalidSchema,
        format!("{what} is not known to this version"),
    )
    .field(name.to_owned())
    .limit(limit)
}

/// The metric of a message; unset means cosine.
pub fn metric_from_proto(metric: v1::Metric) -> Metric {
    match metric {
        v1::Metric::Unspecified | v1::Metric::Cosine => Metric::Cosine,
        v1::Metric::L2 => Metric::L2,
        v1::Metric::Dot => Metric::Dot,
    }
}

/// The message of a metric.
pub fn metric_to_proto(metric: Metric) -> v1::Metric {
    match metric {
        Metric::Cosine => v1::Metric::Cosine,
        Metric::L2 => v1::Metric::L2,
        Metric::Dot => v1::Metric::Dot,
    }
}

fn element_to_proto(element: VectorElement) -> v1::VectorElement {
    match element {
        VectorElement::F16 => v1::VectorElement::Float16,
        VectorElement::F32 => v1::VectorElement::Float32,
        VectorElement::F64 => v1::VectorElement::Float64,
    }
}

fn vector_to_proto(vector: VectorColumn) -> v1::VectorType {
    v1::VectorType {
        dimension: u32::try_from(vector.dimension).expect("dimensions are checked to be small"),
        metric: metric_to_proto(vector.metric) as i32,
        element: element_to_proto(vector.element) as i32,
        quantization: quantization_to_proto(vector.quantization) as i32,
    }
}

fn vector_from_proto(vector: &v1::VectorType, name: &str) -> Result<DataType> {
    let element = v1::VectorElement::try_from(vector.element).map_err(|_| {
        let what = format!("the element type {}", vector.element);
        unknown(what, name, "FLOAT32, FLOAT16 or FLOAT64")
    })?;
    let element = match element {
        v1::VectorElement::Unspecified | v1::VectorElement::Float32 => VectorElement::F32,
        v1::VectorElement::Float16 => VectorElement::F16,
        v1::VectorElement::Float64 => VectorElement::F64,
    };
    let dimension = vector.dimension as usize;
    if !(1..=DIMENSION_MAX).contains(&dimension) {
        return Err(Error::new(
            ErrorCode::InvalidSchema,
            format!("a vector of {dimension} elements"),
        )
        .field(name.to_owned())
        .limit(format_args!("1 to {DIMENSION_MAX}")));
    }
    Ok(vector_type(element, dimension))
}

fn scalar_from_proto(kind: v1::ColumnKind, name: &str) -> Result<DataType> {
    use v1::ColumnKind as K;
    Ok(match kind {
        K::Bool => DataType::Boolean,
        K::Int8 => DataType::Int8,
        K::Int16 => DataType::Int16,
        K::Int32 => DataType::Int32,
        K::Int64 => DataType::Int64,
        K::Uint8 => DataType::UInt8,
        K::Uint16 => DataType::UInt16,
        K::Uint32 => DataType::UInt32,
        K::Uint64 => DataType::UInt64,
        K::Float16 => DataType::Float16,
        K::Float32 => DataType::Float32,
        K::Float64 => DataType::Float64,
        K::Utf8 => DataType::Utf8,
        K::Binary => DataType::Binary,
        K::TimestampMicros => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))),
        K::Utf8List => DataType::List(utf8_item()),
        K::Date32 => DataType::Date32,
        K::Date64 => DataType::Date64,
        K::Unspecified
        | K::Vector
        | K::Time
        | K::Timestamp
        | K::Duration
        | K::List
        | K::Decimal
        | K::Struct => {
            let message = "the column's kind is not set, or is not known to this version";
            return Err(Error::new(ErrorCode::InvalidSchema, message).field(name.to_owned()));
        }
    })
}

fn kind_to_proto(data_type: &DataType) -> v1::ColumnKind {
    use v1::ColumnKind as K;
    match data_type {
        DataType::Boolean => K::Bool,
        DataType::Int8 => K::Int8,
        DataType::Int16 => K::Int16,
        DataType::Int32 => K::Int32,
        DataType::Int64 => K::Int64,
        DataType::UInt8 => K::Uint8,
        DataType::UInt16 => K::Uint16,
        DataType::UInt32 => K::Uint32,
        DataType::UInt64 => K::Uint64,
        DataType::Float16 => K::Float16,
        DataType::Float32 => K::Float32,
        DataType::Float64 => K::Float64,
        DataType::Utf8 => K::Utf8,
        DataType::Binary => K::Binary,
        DataType::Date32 => K::Date32,
        DataType::Date64 => K::Date64,
        DataType::Time32(_) | DataType::Time64(_) => K::Time,
        DataType::Duration(_) => K::Duration,
        micros if times::is_micros(micros) => K::TimestampMicros,
        DataType::Timestamp(..) => K::Timestamp,
        DataType::List(item) if *item.data_type() == DataType::Utf8 => K::Utf8List,
        DataType::List(_) => K::List,
        DataType::Struct(_) => K::Struct,
        DataType::FixedSizeList(..) => K::Vector,
        DataType::Decimal128(..) | DataType::Decimal256(..) => K::Decimal,
        // `Schema` holds no other types.
        _ => K::Unspecified,
    }
}

#[cfg(test)]
mod tests;
