//! Constants of a filter, bound to the type of the column they are compared with.

use arrow_schema::{DataType, Field};
use half::f16;
use longbow_types::decimal::{parse, parse_wide};
use longbow_types::{Error, ErrorCode, Result};
use longbow_wire::v1::{self, value::Kind};

use super::instant;
use super::key::{Key, of_float, of_wide, span};

/// Largest integer up to which every integer is a double.
const EXACT_F64_MAX: u64 = 1 << 53;

/// One constant. Invariant: of the type it was made for; a float is rounded to that type's width.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Constant {
    /// Compares with nothing.
    Null,
    /// Equals nothing, and so differs from every value.
    Nan,
    /// A value that has a place among the others.
    Key(Key),
    /// A list, which has none.
    List(Vec<Key>),
}

impl Constant {
    /// Binds a value to a column, or to the items of one.
    pub(super) fn new(value: &v1::Value, field: &Field) -> Result<Self> {
        use DataType as T;
        let data_type = field.data_type();
        let Some(kind) = &value.kind else {
            let message = format!("a value compared with {:?} is empty", field.name());
            return Err(Error::new(ErrorCode::MissingField, message).field(field.name().clone()));
        };
        let bytes = |bytes: &[u8]| Constant::Key(Key::Bytes(bytes.to_vec()));
        let constant = match (data_type, kind) {
            (_, Kind::Null(_)) if field.is_nullable() => Some(Constant::Null),
            (_, Kind::Null(_)) => {
                let message = format!("the column {:?} has no nulls to compare with", field.name());
                return Err(Error::new(ErrorCode::NullNotAllowed, message).field(field.name().clone()));
            }
            (T::Boolean, Kind::Bool(value)) => Some(Constant::Key(Key::Fixed((*value).into()))),
            (T::Utf8, Kind::Utf8(value)) => Some(bytes(value.as_bytes())),
            (T::Binary, Kind::Binary(value)) => Some(bytes(value)),
            (T::List(item), Kind::Utf8List(list)) if *item.data_type() == T::Utf8 => {
                let items = list.values.iter();
                Some(Constant::List(
                    items.map(|text| Key::Bytes(text.clone().into_bytes())).collect(),
                ))
            }
            (T::List(item), Kind::List(list)) => return items(list, item, field),
            (T::Decimal128(precision, scale), kind) => {
                decimal(kind, |text| parse(text, *precision, *scale).map(Key::Fixed))
            }
            (T::Decimal256(precision, scale), kind) => decimal(kind, |text| {
                let units = parse_wide(text, *precision, *scale)?;
                Some(Key::Bytes(of_wide(units).to_vec()))
            }),
            (T::Float16 | T::Float32 | T::Float64, kind) => float(kind, data_type),
            (data_type, Kind::Utf8(text)) => instant::key(text, data_type)
                .filter(|key| span(data_type).is_some_and(|(low, high)| (low..=high).contains(key)))
                .map(|key| Constant::Key(Key::Fixed(key))),
            (_, Kind::I64(value)) => integer(i128::from(*value), data_type),
            (_, Kind::U64(value)) => integer(i128::from(*value), data_type),
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
                .limit(data_type)
        })
    }
}

/// A list of values of a column of lists. One with an item that equals nothing equals nothing.
fn items(list: &v1::ValueList, item: &Field, field: &Field) -> Result<Constant> {
    let item = item.clone().with_name(field.name());
    let mut keys = Vec::with_capacity(list.values.len());
    let mut equals_nothing = false;
    for value in &list.values {
        match Constant::new(value, &item)? {
            Constant::Key(key) => keys.push(key),
            Constant::Null | Constant::Nan | Constant::List(_) => equals_nothing = true,
        }
    }
    Ok(if equals_nothing {
        Constant::Nan
    } else {
        Constant::List(keys)
    })
}

/// A decimal, every digit of which the column holds. A float is what its shortest spelling says.
fn decimal(kind: &Kind, read: impl Fn(&str) -> Option<Key>) -> Option<Constant> {
    let key = match kind {
        Kind::Utf8(text) => read(text),
        Kind::I64(value) => read(&value.to_string()),
        Kind::U64(value) => read(&value.to_string()),
        Kind::F64(value) if value.is_nan() => return Some(Constant::Nan),
        Kind::F64(value) => read(&value.to_string()),
        _ => None,
    };
    key.map(Constant::Key)
}

fn float(kind: &Kind, data_type: &DataType) -> Option<Constant> {
    let value = match kind {
        Kind::F64(value) => *value,
        Kind::I64(value) if value.unsigned_abs() <= EXACT_F64_MAX => *value as f64,
        Kind::U64(value) if *value <= EXACT_F64_MAX => *value as f64,
        _ => return None,
    };
    if value.is_nan() {
        return Some(Constant::Nan);
    }
    // A finite value beyond the column's width must not compare as an infinity.
    let fits = match data_type {
        DataType::Float16 => f16::from_f64(value).is_finite(),
        DataType::Float32 => (value as f32).is_finite(),
        _ => true,
    };
    (fits || value.is_infinite()).then(|| Constant::Key(Key::Fixed(of_float(value, data_type))))
}

fn integer(value: i128, data_type: &DataType) -> Option<Constant> {
    if *data_type == DataType::Boolean {
        return None;
    }
    let (low, high) = span(data_type)?;
    (low..=high)
        .contains(&value)
        .then_some(Constant::Key(Key::Fixed(value)))
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
        Kind::List(_) => "a list".to_owned(),
        Kind::Structure(_) => "a struct".to_owned(),
        Kind::Vector(_) | Kind::Vector64(_) => "a vector".to_owned(),
    }
}
