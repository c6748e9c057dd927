//! Constants of a filter, bound to the type of the column they are compared with.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Int8Array, Int16Array, Int32Array, Int64Array, Scalar, StringArray,
    TimestampMicrosecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_schema::{DataType, Field};
use bytes::Bytes;
use half::f16;
use hashbrown::HashSet;
use longbow_types::{Error, ErrorCode, Result};
use longbow_wire::v1::{self, value::Kind};

/// Largest integer up to which every integer is a double.
const EXACT_F64_MAX: u64 = 1 << 53;

/// One constant. Invariant: of the type of the column it was made for; a float is rounded to the column's width.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Constant {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Utf8(String),
    Binary(Bytes),
    List(Vec<String>),
}

impl Constant {
    /// Binds a value to a column.
    pub(super) fn new(value: &v1::Value, field: &Field) -> Result<Self> {
        use DataType as T;
        let Some(kind) = &value.kind else {
            let message = format!("a value compared with {:?} is empty", field.name());
            return Err(Error::new(ErrorCode::MissingField, message).field(field.name().clone()));
        };
        let constant = match (field.data_type(), kind) {
            (_, Kind::Null(_)) if field.is_nullable() => Some(Constant::Null),
            (_, Kind::Null(_)) => {
                let message = format!("the column {:?} has no nulls to compare with", field.name());
                return Err(Error::new(ErrorCode::NullNotAllowed, message).field(field.name().clone()));
            }
            (T::Boolean, Kind::Bool(value)) => Some(Constant::Bool(*value)),
            (T::Utf8, Kind::Utf8(value)) => Some(Constant::Utf8(value.clone())),
            (T::Binary, Kind::Binary(value)) => Some(Constant::Binary(value.clone())),
            (T::List(_), Kind::Utf8List(list)) => Some(Constant::List(list.values.clone())),
            (T::Float16 | T::Float32 | T::Float64, kind) => float(kind)
                .and_then(|value| round(value, field.data_type()))
                .map(Constant::Float),
            (data_type, Kind::I64(value)) => integer(i128::from(*value), data_type),
            (data_type, Kind::U64(value)) => integer(i128::from(*value), data_type),
            _ => None,
        };
        constant.ok_or_else(|| {
            let message = format!(
                "{} cannot be a value of the column {:?}",
                spell(kind),
                field.name()
            );
            Error::new(ErrorCode::TypeMismatch, message)
                .field(field.name().clone())
                .limit(field.data_type())
        })
    }

    /// A one-element array of the column's type, for arrow's comparison kernels.
    pub(super) fn into_scalar(self, data_type: &DataType) -> Result<Scalar<ArrayRef>> {
        use DataType as T;
        macro_rules! one {
            ($array:ty, $value:expr) => {
                Arc::new(<$array>::from_iter_values([$value])) as ArrayRef
            };
        }
        let array = match (data_type, self) {
            (T::Boolean, Constant::Bool(v)) => Arc::new(BooleanArray::from(vec![v])),
            (T::Utf8, Constant::Utf8(v)) => one!(StringArray, v),
            (T::Binary, Constant::Binary(v)) => one!(BinaryArray, v),
            (T::Int8, Constant::Int(v)) => one!(Int8Array, v as i8),
            (T::Int16, Constant::Int(v)) => one!(Int16Array, v as i16),
            (T::Int32, Constant::Int(v)) => one!(Int32Array, v as i32),
            (T::Int64, Constant::Int(v)) => one!(Int64Array, v),
            (T::UInt8, Constant::UInt(v)) => one!(UInt8Array, v as u8),
            (T::UInt16, Constant::UInt(v)) => one!(UInt16Array, v as u16),
            (T::UInt32, Constant::UInt(v)) => one!(UInt32Array, v as u32),
            (T::UInt64, Constant::UInt(v)) => one!(UInt64Array, v),
            (T::Timestamp(_, zone), Constant::Int(v)) => {
                let array = TimestampMicrosecondArray::from_iter_values([v]);
                Arc::new(array.with_timezone_opt(zone.clone()))
            }
            (other, constant) => {
                let message = format!("no scalar of {other} from {constant:?}");
                return Err(Error::new(ErrorCode::Internal, message));
            }
        };
        Ok(Scalar::new(array))
    }
}

fn float(kind: &Kind) -> Option<f64> {
    match kind {
        Kind::F64(value) => Some(*value),
        Kind::I64(value) => (value.unsigned_abs() <= EXACT_F64_MAX).then_some(*value as f64),
        Kind::U64(value) => (*value <= EXACT_F64_MAX).then_some(*value as f64),
        _ => None,
    }
}

/// A value at a column's width; none for a finite one beyond it, which must not compare as an infinity.
fn round(value: f64, data_type: &DataType) -> Option<f64> {
    let rounded = match data_type {
        DataType::Float16 => f16::from_f64(value).to_f64(),
        DataType::Float32 => f64::from(value as f32),
        _ => value,
    };
    (value.is_infinite() || !rounded.is_infinite()).then_some(rounded)
}

fn integer(value: i128, data_type: &DataType) -> Option<Constant> {
    use DataType as T;
    let (low, high) = match data_type {
        T::Int8 => (i128::from(i8::MIN), i128::from(i8::MAX)),
        T::Int16 => (i128::from(i16::MIN), i128::from(i16::MAX)),
        T::Int32 => (i128::from(i32::MIN), i128::from(i32::MAX)),
        T::Int64 | T::Timestamp(..) => (i128::from(i64::MIN), i128::from(i64::MAX)),
        T::UInt8 => (0, i128::from(u8::MAX)),
        T::UInt16 => (0, i128::from(u16::MAX)),
        T::UInt32 => (0, i128::from(u32::MAX)),
        T::UInt64 => (0, i128::from(u64::MAX)),
        _ => return None,
    };
    if !(low..=high).contains(&value) {
        return None;
    }
    if low == 0 {
        u64::try_from(value).ok().map(Constant::UInt)
    } else {
        i64::try_from(value).ok().map(Constant::Int)
    }
}

fn spell(kind: &Kind) -> String {
    match kind {
        Kind::Null(_) => "null".to_owned(),
        Kind::Bool(value) => format!("the boolean {value}"),
        Kind::I64(value) => format!("the integer {value}"),
        Kind::U64(value) => format!("the integer {value}"),
        Kind::F64(value) => format!("the float {value}"),
        Kind::Utf8(_) => "text".to_owned(),
        Kind::Binary(_) => "binary".to_owned(),
        Kind::Utf8List(_) => "a list of text".to_owned(),
    }
}

/// The values of a membership. Nulls and NaNs are left out: they equal nothing.
#[derive(Debug, Clone)]
pub(crate) enum Members {
    Bool {
        yes: bool,
        no: bool,
    },
    Int(HashSet<i64>),
    UInt(HashSet<u64>),
    /// Bits of doubles, with `-0.0` written as `0.0`.
    Float(HashSet<u64>),
    Utf8(HashSet<String>),
    Binary(HashSet<Bytes>),
    List(HashSet<Vec<String>>),
    None,
}

/// The bits under which equal floats are one member.
pub(super) fn float_key(value: f64) -> u64 {
    // -0.0 + 0.0 is 0.0.
    (value + 0.0).to_bits()
}

impl Members {
    /// Gathers constants that were bound to one column.
    pub(super) fn new(constants: Vec<Constant>, lists: bool) -> Self {
        let mut members = if lists {
            Members::List(HashSet::new())
        } else {
            Members::None
        };
        for constant in constants {
            members.add(constant);
        }
        members
    }

    fn add(&mut self, constant: Constant) {
        macro_rules! insert {
            ($kind:ident, $value:expr) => {{
                if let Members::None = self {
                    *self = Members::$kind(HashSet::new());
                }
                if let Members::$kind(set) = self {
                    set.insert($value);
                }
            }};
        }
        match constant {
            Constant::Null => {}
            Constant::Bool(value) => {
                let (mut yes, mut no) = match self {
                    Members::Bool { yes, no } => (*yes, *no),
                    _ => (false, false),
                };
                (yes, no) = (yes | value, no | !value);
                *self = Members::Bool { yes, no };
            }
            Constant::Int(value) => insert!(Int, value),
            Constant::UInt(value) => insert!(UInt, value),
            Constant::Float(value) if value.is_nan() => {}
            Constant::Float(value) => insert!(Float, float_key(value)),
            Constant::Utf8(value) => insert!(Utf8, value),
            Constant::Binary(value) => insert!(Binary, value),
            Constant::List(value) => insert!(List, value),
        }
    }
}
