//! One value of a column: message to Arrow and back.

use std::{borrow::Cow, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, FixedSizeListArray, ListArray,
        NullBufferBuilder, PrimitiveBuilder, StringBuilder, StructArray,
    },
    buffer::{NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{
        ArrowPrimitiveType, Date32Type, Date64Type, Decimal128Type, Decimal256Type, DurationMicrosecondType,
        DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float16Type, Float32Type,
        Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType,
        Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
        TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_schema::{DataType, Field, FieldRef, Fields, TimeUnit};
use half::f16;
use longbow_types::{Error, ErrorCode, Result, decimal, schema::path};
use longbow_wire::v1::{self, value::Kind};

use crate::ingest::vectors;

/// Largest integer up to which every integer is a double.
const EXACT_F64_MAX: u64 = 1 << 53;

/// Values of one column, `None` where a row has none, as an array. `at` names a row for errors.
///
/// # Errors
/// `NULL_NOT_ALLOWED`, `TYPE_MISMATCH` or `MISSING_FIELD`, naming the row's column.
pub fn column(
    values: &[Option<&v1::Value>],
    field: &Field,
    at: &dyn Fn(usize) -> String,
) -> Result<ArrayRef> {
    use DataType as T;
    use TimeUnit as U;
    let cells = Cells { values, field, at };
    Ok(match field.data_type() {
        T::Int8 => cells.integers::<Int8Type>()?,
        T::Int16 => cells.integers::<Int16Type>()?,
        T::Int32 => cells.integers::<Int32Type>()?,
        T::Int64 => cells.integers::<Int64Type>()?,
        T::UInt8 => cells.integers::<UInt8Type>()?,
        T::UInt16 => cells.integers::<UInt16Type>()?,
        T::UInt32 => cells.integers::<UInt32Type>()?,
        T::UInt64 => cells.integers::<UInt64Type>()?,
        T::Date32 => cells.integers::<Date32Type>()?,
        T::Date64 => cells.integers::<Date64Type>()?,
        T::Time32(U::Second) => cells.integers::<Time32SecondType>()?,
        T::Time32(U::Millisecond) => cells.integers::<Time32MillisecondType>()?,
        T::Time64(U::Microsecond) => cells.integers::<Time64MicrosecondType>()?,
        T::Time64(U::Nanosecond) => cells.integers::<Time64NanosecondType>()?,
        T::Timestamp(U::Second, _) => cells.integers::<TimestampSecondType>()?,
        T::Timestamp(U::Millisecond, _) => cells.integers::<TimestampMillisecondType>()?,
        T::Timestamp(U::Microsecond, _) => cells.integers::<TimestampMicrosecondType>()?,
        T::Timestamp(U::Nanosecond, _) => cells.integers::<TimestampNanosecondType>()?,
        T::Duration(U::Second) => cells.integers::<DurationSecondType>()?,
        T::Duration(U::Millisecond) => cells.integers::<DurationMillisecondType>()?,
        T::Duration(U::Microsecond) => cells.integers::<DurationMicrosecondType>()?,
        T::Duration(U::Nanosecond) => cells.integers::<DurationNanosecondType>()?,
        T::Decimal128(precision, scale) => {
            cells.decimals::<Decimal128Type>(|text| decimal::parse(text, *precision, *scale))?
        }
        T::Decimal256(precision, scale) => {
            cells.decimals::<Decimal256Type>(|text| decimal::parse_wide(text, *precision, *scale))?
        }
        T::Float16 => cells.floats::<Float16Type>(f16::from_f64, f16::to_f64)?,
        T::Float32 => cells.floats::<Float32Type>(|x| x as f32, f64::from)?,
        T::Float64 => cells.floats::<Float64Type>(|x| x, |x| x)?,
        T::Boolean => {
            let mut builder = BooleanBuilder::with_capacity(values.len());
            cells.each(|kind| {
                match kind {
                    None => builder.append_null(),
                    Some(Kind::Bool(value)) => builder.append_value(*value),
                    Some(_) => return None,
                }
                Some(())
            })?;
            Arc::new(builder.finish())
        }
        T::Utf8 => {
            let mut builder = StringBuilder::new();
            cells.each(|kind| {
                match kind {
                    None => builder.append_null(),
                    Some(Kind::Utf8(value)) => builder.append_value(value),
                    Some(_) => return None,
                }
                Some(())
            })?;
            Arc::new(builder.finish())
        }
        T::Binary => {
            let mut builder = BinaryBuilder::new();
            cells.each(|kind| {
                match kind {
                    None => builder.append_null(),
                    Some(Kind::Binary(value)) => builder.append_value(value),
                    Some(_) => return None,
                }
                Some(())
            })?;
            Arc::new(builder.finish())
        }
        T::List(item) => cells.lists(item)?,
        T::Struct(children) => cells.structs(children)?,
        other => {
            let message = format!("values of {other} cannot be spelt out");
            return Err(Error::new(ErrorCode::Internal, message).field(field.name().clone()));
        }
    })
}

/// The cells of one column.
struct Cells<'a> {
    values: &'a [Option<&'a v1::Value>],
    field: &'a Field,
    at: &'a dyn Fn(usize) -> String,
}

impl<'a> Cells<'a> {
    /// Hands every value on, `None` for a null; `None` back means that the value is of a wrong type.
    fn each(&self, mut append: impl FnMut(Option<&'a Kind>) -> Option<()>) -> Result<()> {
        for (row, value) in self.values.iter().enumerate() {
            let kind = match value {
                None => None,
                Some(v1::Value {
                    kind: Some(Kind::Null(_)),
                }) => None,
                Some(v1::Value { kind: Some(kind) }) => Some(kind),
                Some(v1::Value { kind: None }) => {
                    let message = "the value is empty: set one of its kinds, `null` for a null";
                    return Err(Error::new(ErrorCode::MissingField, message).field((self.at)(row)));
                }
            };
            if kind.is_none() && !self.field.is_nullable() {
                let message = format!("the column {:?} cannot be null", self.field.name());
                return Err(Error::new(ErrorCode::NullNotAllowed, message).field((self.at)(row)));
            }
            append(kind).ok_or_else(|| {
                let message = match kind {
                    Some(kind) => format!("{} is not a {}", spell(kind), self.field.data_type()),
                    None => "a null".to_owned(),
                };
                Error::new(ErrorCode::TypeMismatch, message)
                    .field((self.at)(row))
                    .limit(self.field.data_type())
            })?;
        }
        Ok(())
    }

    fn integers<T: ArrowPrimitiveType>(&self) -> Result<ArrayRef>
    where
        T::Native: TryFrom<i128>,
    {
        let mut builder = self.builder::<T>();
        self.each(|kind| {
            match kind {
                None => builder.append_null(),
                Some(Kind::I64(value)) => builder.append_value(T::Native::try_from(i128::from(*value)).ok()?),
                Some(Kind::U64(value)) => builder.append_value(T::Native::try_from(i128::from(*value)).ok()?),
                Some(_) => return None,
            }
            Some(())
        })?;
        Ok(Arc::new(builder.finish()))
    }

    fn floats<T: ArrowPrimitiveType>(
        &self,
        narrow: impl Fn(f64) -> T::Native,
        widen: impl Fn(T::Native) -> f64,
    ) -> Result<ArrayRef> {
        let mut builder = self.builder::<T>();
        self.each(|kind| {
            let value = match kind {
                None => {
                    builder.append_null();
                    return Some(());
                }
                Some(Kind::F64(value)) => *value,
                Some(Kind::I64(value)) if value.unsigned_abs() <= EXACT_F64_MAX => *value as f64,
                Some(Kind::U64(value)) if *value <= EXACT_F64_MAX => *value as f64,
                Some(_) => return None,
            };
            let kept = narrow(value);
            // Rounding is fine; becoming infinite is not.
            (!value.is_finite() || widen(kept).is_finite()).then(|| builder.append_value(kept))
        })?;
        Ok(Arc::new(builder.finish()))
    }

    fn decimals<T: ArrowPrimitiveType>(&self, read: impl Fn(&str) -> Option<T::Native>) -> Result<ArrayRef> {
        let mut builder = self.builder::<T>();
        self.each(|kind| {
            match kind {
                None => builder.append_null(),
                Some(Kind::Utf8(text)) => builder.append_value(read(text)?),
                Some(Kind::I64(value)) => builder.append_value(read(&value.to_string())?),
                Some(Kind::U64(value)) => builder.append_value(read(&value.to_string())?),
                // What its shortest spelling says, all of it.
                Some(Kind::F64(value)) => builder.append_value(read(&value.to_string())?),
                Some(_) => return None,
            }
            Some(())
        })?;
        Ok(Arc::new(builder.finish()))
    }

    /// Lists of items that are values of a column themselves.
    fn lists(&self, item: &FieldRef) -> Result<ArrayRef> {
        let (mut items, mut rows) = (Vec::new(), Vec::new());
        let (mut offsets, mut valid) = (vec![0_i32], NullBufferBuilder::new(self.values.len()));
        let mut row = 0;
        self.each(|kind| {
            match kind {
                None => {}
                Some(Kind::List(list)) => items.extend(list.values.iter().map(Cow::Borrowed)),
                Some(Kind::Utf8List(list)) if *item.data_type() == DataType::Utf8 => {
                    let texts = list.values.iter().map(|text| v1::Value {
                        kind: Some(Kind::Utf8(text.clone())),
                    });
                    items.extend(texts.map(Cow::Owned));
                }
                Some(_) => return None,
            }
            rows.resize(items.len(), row);
            row += 1;
            // A message is far shorter than 2^31 values.
            offsets.push(i32::try_from(items.len()).ok()?);
            valid.append(kind.is_some());
            Some(())
        })?;
        let cells: Vec<Option<&v1::Value>> = items
            .iter()
            .map(|item: &Cow<'_, v1::Value>| Some(item.as_ref()))
            .collect();
        let at = |position: usize| (self.at)(rows[position]);
        let values = column(&cells, item, &at)?;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let lists = ListArray::try_new(Arc::clone(item), offsets, values, valid.finish());
        lists.map(|lists| Arc::new(lists) as ArrayRef).map_err(|error| {
            Error::new(ErrorCode::Internal, error.to_string()).field(self.field.name().clone())
        })
    }

    /// Structs, whose children are values of columns themselves.
    fn structs(&self, children: &Fields) -> Result<ArrayRef> {
        let mut rows: Vec<Option<&v1::StructValue>> = Vec::with_capacity(self.values.len());
        self.each(|kind| {
            rows.push(match kind {
                None => None,
                Some(Kind::Structure(value)) => Some(value),
                Some(_) => return None,
            });
            Some(())
        })?;
        let told = rows
            .iter()
            .enumerate()
            .filter_map(|(row, value)| Some((row, (*value)?)));
        for (row, value) in told {
            if let Some(name) = value.children.keys().find(|name| children.find(name).is_none()) {
                let known: Vec<&str> = children.iter().map(|child| child.name().as_str()).collect();
                let message = format!("there is no child {:?}", path(self.field.name(), name));
                return Err(Error::new(ErrorCode::UnknownColumn, message)
                    .field(path(&(self.at)(row), name))
                    .limit(format_args!("one of {}", known.join(", "))));
            }
        }
        let columns = children.iter().map(|child| {
            let at = |row: usize| path(&(self.at)(row), child.name());
            let cells: Vec<Option<&v1::Value>> = rows
                .iter()
                .map(|value| value.and_then(|value| value.children.get(child.name())))
                .collect();
            // Where there is no parent there is no child.
            let named = child
                .as_ref()
                .clone()
                .with_name(path(self.field.name(), child.name()));
            let values = column(&cells, &named.with_nullable(true), &at)?;
            let lacks = |row: &usize| rows[*row].is_some() && values.is_null(*row);
            match (0..rows.len()).find(lacks).filter(|_| !child.is_nullable()) {
                Some(row) => {
                    let message = format!(
                        "the child {:?} cannot be null",
                        path(self.field.name(), child.name())
                    );
                    Err(Error::new(ErrorCode::NullNotAllowed, message).field(at(row)))
                }
                None => Ok(values),
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let valid: NullBuffer = rows.iter().map(Option::is_some).collect();
        let structs = StructArray::try_new(children.clone(), columns, Some(valid));
        structs
            .map(|structs| Arc::new(structs) as ArrayRef)
            .map_err(|error| {
                Error::new(ErrorCode::Internal, error.to_string()).field(self.field.name().clone())
            })
    }

    fn builder<T: ArrowPrimitiveType>(&self) -> PrimitiveBuilder<T> {
        PrimitiveBuilder::<T>::with_capacity(self.values.len()).with_data_type(self.field.data_type().clone())
    }
}

/// The value of one cell as a message.
///
/// # Errors
/// `MALFORMED_ARROW` for a type that no column has.
pub fn value(array: &dyn Array, row: usize) -> Result<v1::Value> {
    use DataType as T;
    use TimeUnit as U;
    macro_rules! number {
        ($type:ty, $kind:ident) => {
            Kind::$kind(array.as_primitive::<$type>().value(row).into())
        };
    }
    if array.is_null(row) {
        return Ok(v1::Value {
            kind: Some(Kind::Null(v1::NullValue::Unspecified as i32)),
        });
    }
    let kind = match array.data_type() {
        T::Boolean => Kind::Bool(array.as_boolean().value(row)),
        T::Int8 => number!(Int8Type, I64),
        T::Int16 => number!(Int16Type, I64),
        T::Int32 => number!(Int32Type, I64),
        T::Int64 => number!(Int64Type, I64),
        T::UInt8 => number!(UInt8Type, U64),
        T::UInt16 => number!(UInt16Type, U64),
        T::UInt32 => number!(UInt32Type, U64),
        T::UInt64 => number!(UInt64Type, U64),
        T::Float16 => number!(Float16Type, F64),
        T::Float32 => number!(Float32Type, F64),
        T::Float64 => number!(Float64Type, F64),
        T::Date32 => number!(Date32Type, I64),
        T::Date64 => number!(Date64Type, I64),
        T::Time32(U::Second) => number!(Time32SecondType, I64),
        T::Time32(U::Millisecond) => number!(Time32MillisecondType, I64),
        T::Time64(U::Microsecond) => number!(Time64MicrosecondType, I64),
        T::Time64(U::Nanosecond) => number!(Time64NanosecondType, I64),
        T::Timestamp(U::Second, _) => number!(TimestampSecondType, I64),
        T::Timestamp(U::Millisecond, _) => number!(TimestampMillisecondType, I64),
        T::Timestamp(U::Microsecond, _) => number!(TimestampMicrosecondType, I64),
        T::Timestamp(U::Nanosecond, _) => number!(TimestampNanosecondType, I64),
        T::Duration(U::Second) => number!(DurationSecondType, I64),
        T::Duration(U::Millisecond) => number!(DurationMillisecondType, I64),
        T::Duration(U::Microsecond) => number!(DurationMicrosecondType, I64),
        T::Duration(U::Nanosecond) => number!(DurationNanosecondType, I64),
        T::Decimal128(_, scale) => {
            let units = array.as_primitive::<Decimal128Type>().value(row);
            Kind::Utf8(decimal::spell(units, *scale))
        }
        T::Decimal256(_, scale) => {
            let units = array.as_primitive::<Decimal256Type>().value(row);
            Kind::Utf8(decimal::spell_wide(units, *scale))
        }
        T::Utf8 => Kind::Utf8(array.as_string::<i32>().value(row).to_owned()),
        T::Binary => Kind::Binary(array.as_binary::<i32>().value(row).to_vec().into()),
        T::List(item) if *item.data_type() == T::Utf8 => {
            let list = array.as_list::<i32>().value(row);
            // A null inside a list has no spelling in the message; it reads as the empty text.
            let values = list
                .as_string::<i32>()
                .iter()
                .map(|text| text.unwrap_or_default().to_owned());
            Kind::Utf8List(v1::Utf8List {
                values: values.collect(),
            })
        }
        T::List(_) => {
            let list = array.as_list::<i32>().value(row);
            let values = (0..list.len()).map(|at| value(list.as_ref(), at));
            Kind::List(v1::ValueList {
                values: values.collect::<Result<_>>()?,
            })
        }
        T::Struct(children) => {
            let structs = array.as_struct();
            let children = children
                .iter()
                .zip(structs.columns())
                .map(|(child, column)| Ok((child.name().clone(), value(column.as_ref(), row)?)));
            Kind::Structure(v1::StructValue {
                children: children.collect::<Result<_>>()?,
            })
        }
        T::FixedSizeList(..) => vector(array.as_fixed_size_list(), row)?,
        other => {
            let message = format!("a column of type {other}");
            return Err(Error::new(ErrorCode::MalformedArrow, message));
        }
    };
    Ok(v1::Value { kind: Some(kind) })
}

/// One of a column of vectors, in 64 bits if it has as many.
fn vector(lists: &FixedSizeListArray, row: usize) -> Result<Kind> {
    if let Some(values) = vectors::to_f64(lists, row) {
        return Ok(Kind::Vector64(v1::Vector64 { values }));
    }
    let values = vectors::to_f32(lists, row).ok_or_else(|| {
        let message = format!("a column of type {}", lists.data_type());
        Error::new(ErrorCode::MalformedArrow, message)
    })?;
    Ok(Kind::Vector(v1::Vector { values }))
}

/// A value, for people.
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
