//! The default of a column, as a value and back.

use arrow_schema::DataType;
use longbow_types::{DefaultValue, Error, ErrorCode, Result};

use crate::v1::{self, value::Kind};

/// Largest integer up to which every integer is a double.
const EXACT_F64_MAX: u64 = 1 << 53;

/// The default that a value names. Whether the column can hold it is for [`longbow_types::Schema::with_default`] to say.
///
/// # Errors
/// `INVALID_SCHEMA` naming the column, for a value that is none, a null, or a list.
pub(super) fn from_proto(value: &v1::Value, data_type: &DataType, name: &str) -> Result<DefaultValue> {
    Ok(match &value.kind {
        Some(Kind::Bool(value)) => DefaultValue::Bool(*value),
        Some(Kind::I64(value)) if data_type.is_floating() && value.unsigned_abs() <= EXACT_F64_MAX => {
            DefaultValue::Float(*value as f64)
        }
        Some(Kind::U64(value)) if data_type.is_floating() && *value <= EXACT_F64_MAX => {
            DefaultValue::Float(*value as f64)
        }
        Some(Kind::I64(value)) => DefaultValue::Int((*value).into()),
        Some(Kind::U64(value)) => DefaultValue::Int((*value).into()),
        Some(Kind::F64(value)) => DefaultValue::Float(*value),
        Some(Kind::Utf8(value)) => DefaultValue::Text(value.clone()),
        Some(Kind::Binary(value)) => DefaultValue::Bytes(value.to_vec()),
        Some(_) | None => {
            let message = "a default is a boolean, a number, a text or bytes";
            return Err(Error::new(ErrorCode::InvalidSchema, message)
                .field(name.to_owned())
                .limit("no default, where it is to be null"));
        }
    })
}

/// The value of a default, for columns and for rows.
pub fn to_proto(default: &DefaultValue) -> v1::Value {
    let kind = match default {
        DefaultValue::Bool(value) => Kind::Bool(*value),
        DefaultValue::Int(value) => match i64::try_from(*value) {
            Ok(value) => Kind::I64(value),
            // A default fits its column, and no column is wider than this.
            Err(_) => Kind::U64(u64::try_from(*value).unwrap_or(u64::MAX)),
        },
        DefaultValue::Float(value) => Kind::F64(*value),
        DefaultValue::Text(value) => Kind::Utf8(value.clone()),
        DefaultValue::Bytes(value) => Kind::Binary(value.clone().into()),
    };
    v1::Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_round_trip() {
        for (default, data_type) in [
            (DefaultValue::Bool(false), DataType::Boolean),
            (DefaultValue::Int(-1), DataType::Int8),
            (DefaultValue::Int(u64::MAX.into()), DataType::UInt64),
            (DefaultValue::Float(-0.0), DataType::Float32),
            (DefaultValue::Text(String::new()), DataType::Utf8),
            (DefaultValue::Bytes(vec![0, 255]), DataType::Binary),
        ] {
            let sent = to_proto(&default);
            assert_eq!(from_proto(&sent, &data_type, "c").unwrap(), default);
        }
    }

    #[test]
    fn whole_numbers_are_floats_where_the_column_is() {
        let of = |kind| from_proto(&v1::Value { kind: Some(kind) }, &DataType::Float32, "c");
        assert_eq!(of(Kind::I64(-3)).unwrap(), DefaultValue::Float(-3.0));
        assert_eq!(of(Kind::U64(3)).unwrap(), DefaultValue::Float(3.0));
        // Not a float: the schema says what it may be.
        assert_eq!(of(Kind::U64(1 << 54)).unwrap(), DefaultValue::Int(1 << 54));
    }

    #[test]
    fn what_is_no_default_is_named() {
        for kind in [
            None,
            Some(Kind::Null(0)),
            Some(Kind::Utf8List(v1::Utf8List::default())),
        ] {
            let error = from_proto(&v1::Value { kind }, &DataType::Utf8, "c").unwrap_err();
            assert_eq!(
                (error.code, error.field.as_deref()),
                (ErrorCode::InvalidSchema, Some("c"))
            );
        }
    }
}
