//! What a row holds in a column that it does not tell: rows of a write that leaves the column out, and rows written
//! before the column was added.

use std::fmt;

use arrow_schema::DataType;

use crate::{Error, ErrorCode, limits::DEFAULT_BYTES_MAX};

/// The value of rows that do not tell their own.
///
/// Equality is that of the bits, so that it is one also for floats.
#[derive(Debug, Clone)]
pub enum DefaultValue {
    /// Of a column of booleans.
    Bool(bool),
    /// Of a column of integers; of dates, times, timestamps and durations in the column's unit.
    Int(i128),
    /// Of a column of floats; rounded to the column's width.
    Float(f64),
    /// Of a column of text; at most 4,096 bytes.
    Text(String),
    /// Of a column of bytes; at most 4,096.
    Bytes(Vec<u8>),
}

impl PartialEq for DefaultValue {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for DefaultValue {}

impl fmt::Display for DefaultValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => write!(f, "{value:?}"),
            Self::Bytes(value) => write!(f, "{} bytes", value.len()),
        }
    }
}

impl DefaultValue {
    /// The value as a column of a type holds it.
    ///
    /// # Errors
    /// `INVALID_SCHEMA` naming the column, where it cannot be a value of the type, or is too long.
    pub fn fit(self, column: &str, data_type: &DataType) -> Result<Self, Error> {
        let refuse = |message: String, limit: String| {
            Err(Error::new(ErrorCode::InvalidSchema, message)
                .field(column.to_owned())
                .limit(limit))
        };
        let fits = match (&self, data_type) {
            (Self::Bool(_), DataType::Boolean)
            | (Self::Text(_), DataType::Utf8)
            | (Self::Bytes(_), DataType::Binary) => true,
            (Self::Int(value), data_type) => {
                integers(data_type).is_some_and(|(low, high)| (low..=high).contains(value))
            }
            (Self::Float(value), DataType::Float64) => value.is_finite(),
            (Self::Float(value), DataType::Float32) => (*value as f32).is_finite(),
            (Self::Float(value), DataType::Float16) => half(*value).is_some(),
            _ => false,
        };
        if !fits {
            let message = format!("{self} cannot be the default of a column of type {data_type}");
            return refuse(
                message,
                format!("a value of {data_type}, not a NaN nor an infinity"),
            );
        }
        let bytes = match &self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        if bytes > DEFAULT_BYTES_MAX {
            return refuse(
                format!("a default of {bytes} bytes"),
                format!("{DEFAULT_BYTES_MAX} bytes"),
            );
        }
        Ok(match (self, data_type) {
            (Self::Float(value), DataType::Float32) => Self::Float(f64::from(value as f32)),
            (Self::Float(value), DataType::Float16) => Self::Float(half(value).unwrap_or(value)),
            (other, _) => other,
        })
    }
}

/// The lowest and the highest value of a type that is kept as an integer.
fn integers(data_type: &DataType) -> Option<(i128, i128)> {
    use DataType as T;
    let range = |low: i64, high: i64| Some((low.into(), high.into()));
    match data_type {
        T::Int8 => range(i8::MIN.into(), i8::MAX.into()),
        T::Int16 => range(i16::MIN.into(), i16::MAX.into()),
        T::Int32 | T::Date32 | T::Time32(_) => range(i32::MIN.into(), i32::MAX.into()),
        T::Int64 | T::Date64 | T::Time64(_) | T::Timestamp(..) | T::Duration(_) => range(i64::MIN, i64::MAX),
        T::UInt8 => range(0, u8::MAX.into()),
        T::UInt16 => range(0, u16::MAX.into()),
        T::UInt32 => range(0, u32::MAX.into()),
        T::UInt64 => Some((0, u64::MAX.into())),
        _ => None,
    }
}

/// A double rounded to the nearest half, ties to even, as a double again; none beyond the halves.
fn half(value: f64) -> Option<f64> {
    if !value.is_finite() {
        return None;
    }
    // Halves have 11 binary digits, and none below 2^-24.
    let exponent = value.abs().log2().floor().max(-14.0);
    let unit = 2f64.powi(exponent as i32 - 10);
    let rounded = (value / unit).round_ties_even() * unit;
    (rounded.abs() <= HALF_MAX).then_some(rounded)
}

const HALF_MAX: f64 = 65_504.0;

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::TimeUnit;

    fn fit(value: DefaultValue, data_type: DataType) -> Option<DefaultValue> {
        value.fit("c", &data_type).ok()
    }

    #[test]
    fn defaults_are_values_of_their_column() {
        use DefaultValue as D;
        let fitting = [
            (D::Bool(true), DataType::Boolean),
            (D::Int(-128), DataType::Int8),
            (D::Int(255), DataType::UInt8),
            (D::Int(u64::MAX.into()), DataType::UInt64),
            (D::Int(5), DataType::Timestamp(TimeUnit::Second, None)),
            (D::Text("a".into()), DataType::Utf8),
            (D::Bytes(vec![1]), DataType::Binary),
            (D::Float(0.5), DataType::Float16),
        ];
        for (value, data_type) in fitting {
            assert_eq!(fit(value.clone(), data_type.clone()), Some(value), "{data_type}");
        }
        let refused = [
            (D::Bool(true), DataType::Int8),
            (D::Int(128), DataType::Int8),
            (D::Int(-1), DataType::UInt64),
            (D::Int(1), DataType::Float32),
            (D::Int(1), DataType::Boolean),
            (D::Float(1.0), DataType::Int32),
            (D::Float(f64::NAN), DataType::Float64),
            (D::Float(f64::INFINITY), DataType::Float64),
            (D::Float(1e300), DataType::Float32),
            (D::Float(65_520.0), DataType::Float16),
            (D::Text("a".into()), DataType::Binary),
            (D::Text("a".repeat(DEFAULT_BYTES_MAX + 1)), DataType::Utf8),
        ];
        for (value, data_type) in refused {
            let error = value.fit("c", &data_type).unwrap_err();
            assert_eq!(
                (error.code, error.field.as_deref(), error.limit.is_some()),
                (ErrorCode::InvalidSchema, Some("c"), true),
                "{error}"
            );
        }
    }

    #[test]
    fn floats_are_rounded_to_their_column() {
        let rounded = |value, data_type| match fit(DefaultValue::Float(value), data_type) {
            Some(DefaultValue::Float(value)) => value,
            other => panic!("{other:?}"),
        };
        assert_eq!(rounded(0.1, DataType::Float64), 0.1);
        assert_eq!(rounded(0.1, DataType::Float32), f64::from(0.1f32));
        // As IEEE 754 tables have it: 0.1 is 0x2e66.
        assert_eq!(rounded(0.1, DataType::Float16), 0.099_975_585_937_5);
        assert_eq!(rounded(2049.0, DataType::Float16), 2048.0);
        assert_eq!(rounded(65_519.0, DataType::Float16), 65_504.0);
        assert_eq!(rounded(2f64.powi(-24), DataType::Float16), 2f64.powi(-24));
        assert_eq!(rounded(1e-9, DataType::Float16), 0.0);
        assert_eq!(rounded(0.0, DataType::Float16), 0.0);
    }
}
