//! One value of a column.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use longbow_types::DefaultValue;
use longbow_wire::{
    convert::default_value,
    v1::{self, value::Kind},
};

/// One value of a column. Numbers must fit the column's width.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// A boolean.
    Bool(bool),
    /// A signed integer. Timestamps are microseconds since the Unix epoch.
    I64(i64),
    /// An unsigned integer.
    U64(u64),
    /// A floating-point number.
    F64(f64),
    /// Text.
    Utf8(String),
    /// Raw bytes.
    Binary(Bytes),
    /// A list of text.
    Utf8List(Vec<String>),
    /// A list of other values.
    List(Vec<Value>),
    /// The children of a struct, by their names.
    Struct(BTreeMap<String, Value>),
    /// A vector of a further vector column.
    Vector(Vec<f32>),
    /// The same of 64-bit floats: what comes of a column of those.
    Vector64(Vec<f64>),
}

impl Value {
    /// The text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Utf8(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn into_proto(self) -> v1::Value {
        let kind = match self {
            Value::Null => Kind::Null(v1::NullValue::Unspecified as i32),
            Value::Bool(value) => Kind::Bool(value),
            Value::I64(value) => Kind::I64(value),
            Value::U64(value) => Kind::U64(value),
            Value::F64(value) => Kind::F64(value),
            Value::Utf8(value) => Kind::Utf8(value),
            Value::Binary(value) => Kind::Binary(value),
            Value::Utf8List(values) => Kind::Utf8List(v1::Utf8List { values }),
            Value::List(values) => Kind::List(v1::ValueList {
                values: values.into_iter().map(Value::into_proto).collect(),
            }),
            Value::Struct(children) => {
                let children = children
                    .into_iter()
                    .map(|(name, value)| (name, value.into_proto()));
                Kind::Structure(v1::StructValue {
                    children: children.collect(),
                })
            }
            Value::Vector(values) => Kind::Vector(v1::Vector { values }),
            Value::Vector64(values) => Kind::Vector64(v1::Vector64 { values }),
        };
        v1::Value { kind: Some(kind) }
    }

    pub(crate) fn from_proto(value: v1::Value) -> Self {
        match value.kind {
            None | Some(Kind::Null(_)) => Value::Null,
            Some(Kind::Bool(value)) => Value::Bool(value),
            Some(Kind::I64(value)) => Value::I64(value),
            Some(Kind::U64(value)) => Value::U64(value),
            Some(Kind::F64(value)) => Value::F64(value),
            Some(Kind::Utf8(value)) => Value::Utf8(value),
            Some(Kind::Binary(value)) => Value::Binary(value),
            Some(Kind::Utf8List(list)) => Value::Utf8List(list.values),
            Some(Kind::List(list)) => Value::List(list.values.into_iter().map(Value::from_proto).collect()),
            Some(Kind::Structure(value)) => {
                let children = value.children.into_iter();
                Value::Struct(
                    children
                        .map(|(name, value)| (name, Value::from_proto(value)))
                        .collect(),
                )
            }
            Some(Kind::Vector(vector)) => Value::Vector(vector.values),
            Some(Kind::Vector64(vector)) => Value::Vector64(vector.values),
        }
    }
}

impl From<&DefaultValue> for Value {
    fn from(default: &DefaultValue) -> Self {
        Value::from_proto(default_value::to_proto(default))
    }
}

/// As a person would write it; lists are joined by commas, bytes are hexadecimal.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => value.fmt(f),
            Value::I64(value) => value.fmt(f),
            Value::U64(value) => value.fmt(f),
            Value::F64(value) => value.fmt(f),
            Value::Utf8(value) => f.write_str(value),
            Value::Binary(value) => value.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Value::Utf8List(values) => f.write_str(&values.join(", ")),
            Value::List(values) => joined(f, values),
            Value::Vector(values) => joined(f, values),
            Value::Vector64(values) => joined(f, values),
            Value::Struct(children) => {
                f.write_str("{")?;
                for (at, (name, value)) in children.iter().enumerate() {
                    let separator = if at == 0 { "" } else { ", " };
                    write!(f, "{separator}{name}: {value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

/// Values one after the other, commas between them.
fn joined(f: &mut fmt::Formatter<'_>, values: &[impl fmt::Display]) -> fmt::Result {
    values.iter().enumerate().try_for_each(|(at, value)| {
        let separator = if at == 0 { "" } else { ", " };
        write!(f, "{separator}{value}")
    })
}

macro_rules! from {
    ($($source:ty => |$value:ident| $make:expr;)*) => {
        $(impl From<$source> for Value {
            fn from($value: $source) -> Self {
                $make
            }
        })*
    };
}

from! {
    bool => |v| Value::Bool(v);
    i8 => |v| Value::I64(v.into());
    i16 => |v| Value::I64(v.into());
    i32 => |v| Value::I64(v.into());
    i64 => |v| Value::I64(v);
    u8 => |v| Value::U64(v.into());
    u16 => |v| Value::U64(v.into());
    u32 => |v| Value::U64(v.into());
    u64 => |v| Value::U64(v);
    f32 => |v| Value::F64(v.into());
    f64 => |v| Value::F64(v);
    &str => |v| Value::Utf8(v.to_owned());
    String => |v| Value::Utf8(v);
    Bytes => |v| Value::Binary(v);
    Vec<u8> => |v| Value::Binary(v.into());
    Vec<String> => |v| Value::Utf8List(v);
    Vec<Value> => |v| Value::List(v);
    BTreeMap<String, Value> => |v| Value::Struct(v);
    Vec<i32> => |v| Value::List(v.into_iter().map(Value::from).collect());
    Vec<i64> => |v| Value::List(v.into_iter().map(Value::from).collect());
    Vec<u64> => |v| Value::List(v.into_iter().map(Value::from).collect());
    Vec<f32> => |v| Value::List(v.into_iter().map(Value::from).collect());
    Vec<f64> => |v| Value::List(v.into_iter().map(Value::from).collect());
    Vec<&str> => |v| Value::Utf8List(v.into_iter().map(str::to_owned).collect());
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_wire() {
        for value in [
            Value::Null,
            Value::from(true),
            Value::from(-3_i8),
            Value::from(3_u32),
            Value::from(0.5_f32),
            Value::from("x"),
            Value::from(vec![0_u8, 255]),
            Value::from(vec!["a", "b"]),
            Value::from(vec![1_i64, -2]),
            Value::from(vec![Value::Null, Value::from(0.5)]),
            Value::from(None::<i32>),
            Value::Vector(vec![0.5, -1.0]),
            Value::Vector64(vec![0.1]),
        ] {
            assert_eq!(Value::from_proto(value.clone().into_proto()), value);
        }
    }

    #[test]
    fn values_read_as_written_by_people() {
        assert_eq!(Value::from(vec!["dog", "hound"]).to_string(), "dog, hound");
        assert_eq!(Value::from(vec![1_u8, 171]).to_string(), "01ab");
        assert_eq!(Value::Vector(vec![0.5, -1.0]).to_string(), "0.5, -1");
    }
}
