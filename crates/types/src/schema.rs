//! The schema of a dataset: an Arrow schema with one id column and its vector columns picked out and checked.

mod altered;
mod default;
mod expiry;
mod nested;
mod vectors;

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema as ArrowSchema, SchemaRef, TimeUnit};

use crate::{
    Error, ErrorCode, IdKind, decimal,
    limits::{COLUMNS_MAX, NAME_BYTES_MAX, ZONE_BYTES_MAX},
};

pub use default::DefaultValue;
pub use nested::{path, splits};
pub use vectors::{Metric, VectorColumn, VectorElement, vector_type};

/// A checked schema.
///
/// Invariants: names are unique and valid; exactly one id column (UInt64, Int64 or Utf8, not nullable) and one
/// vector column (FixedSizeList of a float) that is not nullable; further vector columns are; every other column is of
/// a [supported](is_scalar) type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    arrow: SchemaRef,
    id: usize,
    id_kind: IdKind,
    /// The one that is never null, then the others.
    vectors: Vec<VectorColumn>,
    /// By position; of the id and of vectors none.
    defaults: Vec<Option<DefaultValue>>,
    /// When rows go by themselves.
    expiry: expiry::Expiry,
}

/// Whether a column that is neither id nor vector may have this type.
pub fn is_scalar(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(children) => nested::is_struct(children),
        other => is_childless(other),
    }
}

/// Whether a type may be that of a struct's child.
fn is_childless(data_type: &DataType) -> bool {
    match data_type {
        // The one item field, so that equal types are equal.
        DataType::List(item) => is_flat(item.data_type()) && *item == list_item(item.data_type().clone()),
        flat => is_flat(flat),
    }
}

/// Whether a type holds one value, so that it may be that of a list's items.
fn is_flat(data_type: &DataType) -> bool {
    use DataType as T;
    match data_type {
        T::Boolean
        | T::Int8
        | T::Int16
        | T::Int32
        | T::Int64
        | T::UInt8
        | T::UInt16
        | T::UInt32
        | T::UInt64 => true,
        T::Float16 | T::Float32 | T::Float64 | T::Utf8 | T::Binary => true,
        T::Date32 | T::Date64 | T::Duration(_) => true,
        T::Time32(unit) => matches!(unit, TimeUnit::Second | TimeUnit::Millisecond),
        T::Time64(unit) => matches!(unit, TimeUnit::Microsecond | TimeUnit::Nanosecond),
        T::Decimal128(precision, scale) | T::Decimal256(precision, scale) => {
            // Each has one width.
            decimal::data_type(*precision, *scale).as_ref() == Some(data_type)
        }
        T::Timestamp(_, None) => true,
        T::Timestamp(_, Some(zone)) => is_zone(zone),
        _ => false,
    }
}

/// Whether a text may be the zone of a timestamp. Zones are labels: instants are kept and compared in UTC whatever they
/// say, so they are not looked up.
fn is_zone(zone: &str) -> bool {
    (1..=ZONE_BYTES_MAX).contains(&zone.len()) && zone.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The one item field of lists of a type.
pub fn list_item(data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new("item", data_type, true))
}

/// The one item field of text lists.
pub fn utf8_item() -> Arc<Field> {
    list_item(DataType::Utf8)
}

/// Checks a column name.
pub fn check_column_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.starts_with('_') {
        return Err(Error::new(
            ErrorCode::InvalidName,
            format!("{name:?} is not a valid column name"),
        )
        .field(name.to_owned())
        .limit(format_args!("1 to {NAME_BYTES_MAX} bytes, not starting with '_'")));
    }
    Ok(())
}

/// Checks a dataset name.
pub fn check_dataset_name(name: &str) -> Result<(), Error> {
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if name.len() > NAME_BYTES_MAX || !starts_well || !name.chars().all(valid) {
        return Err(Error::new(
            ErrorCode::InvalidName,
            format!("{name:?} is not a valid dataset name"),
        )
        .field("name")
        .limit(format_args!(
            "1 to {NAME_BYTES_MAX} letters, digits, '_', '-', '.' or '/', starting with a letter or digit"
        )));
    }
    Ok(())
}

impl Schema {
    /// Checks columns and picks out the id and the vectors.
    ///
    /// Vectors must already be a `FixedSizeList` as made by [`vector_type`]. All get the metric and the default
    /// [`Quantization`](crate::Quantization); see [`Schema::with_vector`].
    pub fn new(columns: Vec<Field>, id_column: &str, metric: Metric) -> Result<Self, Error> {
        let wrong = |field: &str, message: String| {
            Err(Error::new(ErrorCode::InvalidSchema, message).field(field.to_owned()))
        };
        if columns.len() > COLUMNS_MAX {
            return Err(
                Error::new(ErrorCode::InvalidSchema, format!("{} columns", columns.len()))
                    .field("columns")
                    .limit(COLUMNS_MAX),
            );
        }
        let mut id = None;
        for (position, field) in columns.iter().enumerate() {
            let name = field.name();
            check_column_name(name)?;
            if columns[..position].iter().any(|other| other.name() == name) {
                return wrong(name, format!("the column {name:?} is there twice"));
            }
            if name == id_column {
                let kind = match field.data_type() {
                    DataType::UInt64 => IdKind::U64,
                    DataType::Int64 => IdKind::I64,
                    DataType::Utf8 => IdKind::Utf8,
                    other => {
                        return wrong(name, format!("the id must be uint64, int64 or utf8, not {other}"));
                    }
                };
                id = Some((position, kind));
            } else if matches!(field.data_type(), DataType::FixedSizeList(..)) {
                // Looked at below, with the others.
            } else if let DataType::Struct(children) = field.data_type() {
                nested::check(name, children)?;
            } else if !is_scalar(field.data_type()) {
                return wrong(
                    name,
                    format!("columns of type {} are not supported", field.data_type()),
                );
            }
        }
        nested::check_paths(&columns)?;
        let Some((id, id_kind)) = id else {
            return wrong(id_column, format!("there is no id column {id_column:?}"));
        };
        let vectors = vectors::pick(&columns, metric)?;
        if columns[id].is_nullable() {
            return wrong(
                columns[id].name(),
                "the id and the vector cannot be nullable".to_owned(),
            );
        }
        Ok(Self {
            defaults: vec![None; columns.len()],
            expiry: expiry::Expiry::default(),
            arrow: Arc::new(ArrowSchema::new(columns)),
            id,
            id_kind,
            vectors,
        })
    }

    /// The same schema, whose rows hold a value in a column that they do not tell.
    ///
    /// # Errors
    /// `UNKNOWN_COLUMN`; `INVALID_SCHEMA` for the id, the vector, and a value that the column cannot hold.
    pub fn with_default(mut self, column: &str, value: DefaultValue) -> Result<Self, Error> {
        let (position, field) = self.column(column)?;
        if position == self.id || self.vector_at(position).is_some() {
            let message = "the id and vectors have no default: every row tells its own";
            return Err(Error::new(ErrorCode::InvalidSchema, message).field(column.to_owned()));
        }
        self.defaults[position] = Some(value.fit(column, field.data_type())?);
        Ok(self)
    }

    /// What rows that do not tell it hold in the column at a position; if nothing, a null where the column has nulls.
    pub fn default_of(&self, position: usize) -> Option<&DefaultValue> {
        self.defaults.get(position).and_then(Option::as_ref)
    }

    /// The columns as an Arrow schema, in order.
    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    /// Position of the id column.
    pub fn id_position(&self) -> usize {
        self.id
    }

    /// Name of the id column.
    pub fn id_name(&self) -> &str {
        self.arrow.field(self.id).name()
    }

    /// Kind of the ids.
    pub fn id_kind(&self) -> IdKind {
        self.id_kind
    }

    /// The column of a name, or an error naming it.
    pub fn column(&self, name: &str) -> Result<(usize, &Field), Error> {
        self.arrow.column_with_name(name).ok_or_else(|| {
            let known: Vec<&str> = self.arrow.fields().iter().map(|f| f.name().as_str()).collect();
            Error::new(ErrorCode::UnknownColumn, format!("there is no column {name:?}"))
                .field(name.to_owned())
                .limit(format_args!("one of {}", known.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Field> {
        vec![
            Field::new("id", DataType::UInt64, false),
            Field::new("vector", vector_type(VectorElement::F16, 4), false),
            Field::new("pos", DataType::Utf8, true),
        ]
    }

    #[test]
    fn picks_out_id_and_vector() {
        let schema = Schema::new(columns(), "id", Metric::Cosine).unwrap();
        assert_eq!((schema.id_name(), schema.id_kind()), ("id", IdKind::U64));
        assert_eq!(schema.vector().dimension, 4);
        assert_eq!(schema.column("nope").unwrap_err().code, ErrorCode::UnknownColumn);
    }

    #[test]
    fn refuses_what_cannot_be_a_dataset() {
        type Spoil = fn(&mut Vec<Field>);
        let cases: [(Spoil, &str); 8] = [
            (|c| c.push(Field::new("pos", DataType::Int8, true)), "pos"),
            (|c| drop(c.remove(0)), "id"),
            (|c| drop(c.remove(1)), "columns"),
            (|c| c[0] = Field::new("id", DataType::Float32, false), "id"),
            (|c| c[0] = Field::new("id", DataType::UInt64, true), "id"),
            (
                |c| c[1] = Field::new("vector", DataType::FixedSizeList(utf8_item(), 3), false),
                "vector",
            ),
            (|c| c.push(Field::new("_secret", DataType::Int8, true)), "_secret"),
            (
                |c| c.push(Field::new("d", DataType::Decimal128(9, 10), true)),
                "d",
            ),
        ];
        for (spoil, field) in cases {
            let mut columns = columns();
            spoil(&mut columns);
            let error = Schema::new(columns, "id", Metric::L2).unwrap_err();
            assert_eq!(error.field.as_deref(), Some(field), "{error}");
        }
    }

    #[test]
    fn lists_hold_values_and_no_lists() {
        let list = |item: DataType| DataType::List(list_item(item));
        for item in [
            DataType::Int8,
            DataType::Float64,
            DataType::Boolean,
            DataType::Date32,
        ] {
            assert!(is_scalar(&list(item)));
        }
        assert!(!is_scalar(&list(list(DataType::Int8))));
        assert!(!is_scalar(&list(DataType::Null)));
        let other = Arc::new(Field::new("element", DataType::Int8, true));
        assert!(!is_scalar(&DataType::List(other)));
    }

    #[test]
    fn zones_are_short_labels() {
        let timestamp = |zone: &str| DataType::Timestamp(TimeUnit::Nanosecond, Some(zone.into()));
        for zone in ["UTC", "+01:00", "Europe/Berlin"] {
            assert!(is_scalar(&timestamp(zone)), "{zone}");
        }
        for zone in ["", "a b", "é", &"x".repeat(65)] {
            assert!(!is_scalar(&timestamp(zone)), "{zone}");
        }
        assert!(is_scalar(&DataType::Time64(TimeUnit::Nanosecond)));
        assert!(!is_scalar(&DataType::Time64(TimeUnit::Second)));
        assert!(!is_scalar(&DataType::Time32(TimeUnit::Nanosecond)));
    }
}
