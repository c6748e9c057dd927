//! How does a column of one type become a column of another without changing what it says?
//!
//! Encodings are free (large, view and dictionary text, wider integers that fit); floats are rounded to a narrower
//! width, but never to an infinity; integers and floats become each other only where every value stays exactly what
//! it was. Text is never parsed and numbers are never spelt out.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, GenericListArray, ListArray, OffsetSizeTrait, StructArray,
        make_array, new_null_array,
    },
    buffer::{NullBuffer, OffsetBuffer, ScalarBuffer},
    compute::{cast, kernels::nullif::nullif},
    datatypes::{Float16Type, Float32Type, Float64Type},
};
use arrow_schema::{DataType, Field, FieldRef, Fields};
use longbow_types::{Error, ErrorCode, Result, limits::WRITE_BYTES_MAX, schema::path};

use super::size;

/// Turns a column into the type of `field`. `at` names a row for errors.
///
/// # Errors
/// `TYPE_MISMATCH` naming the column where no value could be right, or the row where one is wrong; `TOO_LARGE` where
/// shared values, spelt out, exceed what one write may hold.
pub fn adapt(source: &ArrayRef, field: &Field, at: &dyn Fn(usize) -> String) -> Result<ArrayRef> {
    use DataType as T;
    let target = field.data_type();
    if source.data_type() == target {
        return Ok(source.clone());
    }
    if *source.data_type() == T::Null {
        return Ok(new_null_array(target, source.len()));
    }
    if let T::Dictionary(_, values) = source.data_type() {
        check_expansion(source, field.name())?;
        let plain = cast(source, values).map_err(|error| mismatch(field, error.to_string()))?;
        return adapt(&plain, field, at);
    }
    check_expansion(source, field.name())?;
    match (source.data_type(), target) {
        (T::LargeUtf8 | T::Utf8View, T::Utf8)
        | (T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_), T::Binary) => {
            cast(source, target).map_err(|error| mismatch(field, error.to_string()))
        }
        (T::List(_), T::List(item)) => lists(source.as_list::<i32>(), item, field, at),
        (T::LargeList(_), T::List(item)) => lists(source.as_list::<i64>(), item, field, at),
        (T::Struct(_), T::Struct(children)) => structs(source.as_struct(), children, field, at),
        (T::Timestamp(..) | T::Date32 | T::Date64, T::Timestamp(..)) => timestamps(source, field, at),
        (T::Date32 | T::Date64, T::Date32 | T::Date64)
        | (T::Time32(_) | T::Time64(_), T::Time32(_) | T::Time64(_))
        | (T::Duration(_), T::Duration(_)) => in_unit(source, target, field, at),
        (from, to) if from.is_floating() && to.is_floating() => floats(source, field, at),
        (from, to) if from.is_numeric() && to.is_numeric() => cast_exactly(source, to).map_err(|row| {
            let message = format!("the value cannot be a {to} exactly");
            Error::new(ErrorCode::TypeMismatch, message)
                .field(at(row))
                .limit(to)
        }),
        (from, _) => Err(mismatch(field, format!("a column of type {from}"))),
    }
}

/// Casts numbers that must stay exactly what they are. Fails with the position of the first that would not.
pub fn cast_exactly(source: &ArrayRef, target: &DataType) -> std::result::Result<ArrayRef, usize> {
    // `cast` makes nulls of what does not fit; casting back shows what was rounded.
    let there = cast(source, target).map_err(|_| 0usize)?;
    let back = cast(&there, source.data_type()).map_err(|_| 0usize)?;
    if back.to_data() == source.to_data() {
        return Ok(there);
    }
    let wrong = |row: usize| back.slice(row, 1).to_data() != source.slice(row, 1).to_data();
    match (0..source.len()).find(|&row| wrong(row)) {
        Some(row) => Err(row),
        None => Ok(there),
    }
}

fn floats(source: &ArrayRef, field: &Field, at: &dyn Fn(usize) -> String) -> Result<ArrayRef> {
    let target = field.data_type();
    let there = cast(source, target).map_err(|error| mismatch(field, error.to_string()))?;
    let infinite = |array: &ArrayRef| -> Vec<bool> {
        match array.data_type() {
            DataType::Float16 => array
                .as_primitive::<Float16Type>()
                .values()
                .iter()
                .map(|x| x.is_infinite())
                .collect(),
            DataType::Float32 => array
                .as_primitive::<Float32Type>()
                .values()
                .iter()
                .map(|x| x.is_infinite())
                .collect(),
            _ => array
                .as_primitive::<Float64Type>()
                .values()
                .iter()
                .map(|x| x.is_infinite())
                .collect(),
        }
    };
    let overflowed = infinite(&there)
        .into_iter()
        .zip(infinite(source))
        .position(|(now, before)| now && !before);
    match overflowed.filter(|&row| source.is_valid(row)) {
        Some(row) => Err(Error::new(
            ErrorCode::TypeMismatch,
            format!("the value is too large for a {target}"),
        )
        .field(at(row))
        .limit(target)),
        None => Ok(there),
    }
}

/// Instants in any unit as instants in that of the column. A time without a zone is taken for UTC, and so is a date.
fn timestamps(source: &ArrayRef, field: &Field, at: &dyn Fn(usize) -> String) -> Result<ArrayRef> {
    // Arrow keeps instants as UTC whatever the zone says, so zones are labels and need no arithmetic.
    let unzoned = |data_type: &DataType| match data_type {
        DataType::Timestamp(unit, _) => DataType::Timestamp(*unit, None),
        other => other.clone(),
    };
    let plain = labelled(source, &unzoned(source.data_type()), field)?;
    let there = in_unit(&plain, &unzoned(field.data_type()), field, at)?;
    labelled(&there, field.data_type(), field)
}

/// The same numbers under another type of their width.
fn labelled(source: &ArrayRef, data_type: &DataType, field: &Field) -> Result<ArrayRef> {
    let data = source
        .to_data()
        .into_builder()
        .data_type(data_type.clone())
        .build();
    data.map(make_array)
        .map_err(|error| mismatch(field, error.to_string()))
}

/// Times in another unit, where every one is whole in it.
fn in_unit(
    source: &ArrayRef,
    target: &DataType,
    field: &Field,
    at: &dyn Fn(usize) -> String,
) -> Result<ArrayRef> {
    cast_exactly(source, target).map_err(|row| {
        let message = format!("the time cannot be told in whole units of {}", field.data_type());
        Error::new(ErrorCode::TypeMismatch, message)
            .field(at(row))
            .limit(field.data_type())
    })
}

fn lists<O: OffsetSizeTrait>(
    source: &GenericListArray<O>,
    item: &FieldRef,
    field: &Field,
    at: &dyn Fn(usize) -> String,
) -> Result<ArrayRef> {
    let row_of = |position: usize| {
        let offsets = source.value_offsets();
        at(offsets
            .partition_point(|offset| offset.as_usize() <= position)
            .saturating_sub(1))
    };
    let values = adapt(
        source.values(),
        &item.as_ref().clone().with_name(field.name()),
        &row_of,
    )?;
    let offsets: Option<Vec<i32>> = source
        .value_offsets()
        .iter()
        .map(|offset| i32::try_from(offset.as_usize()).ok())
        .collect();
    let offsets = offsets.ok_or_else(|| mismatch(field, "lists of more than 2^31 values".to_owned()))?;
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    let lists = ListArray::try_new(Arc::clone(item), offsets, values, source.nulls().cloned());
    lists
        .map(|lists| Arc::new(lists) as ArrayRef)
        .map_err(|error| mismatch(field, error.to_string()))
}

/// Children by their names; those that are left out are null.
fn structs(
    source: &StructArray,
    children: &Fields,
    field: &Field,
    at: &dyn Fn(usize) -> String,
) -> Result<ArrayRef> {
    for (position, child) in source.fields().iter().enumerate() {
        let path = path(field.name(), child.name());
        if children.find(child.name()).is_none() {
            let known: Vec<&str> = children.iter().map(|child| child.name().as_str()).collect();
            let message = format!("there is no child {path:?}");
            return Err(Error::new(ErrorCode::UnknownColumn, message)
                .field(path)
                .limit(format_args!("one of {}", known.join(", "))));
        }
        let mut before = source.fields()[..position].iter();
        if before.any(|other| other.name() == child.name()) {
            let message = format!("the child {path:?} is there twice");
            return Err(Error::new(ErrorCode::SchemaMismatch, message).field(path));
        }
    }
    let mut columns = Vec::with_capacity(children.len());
    for child in children {
        let at = |row: usize| path(&at(row), child.name());
        let column = match source.column_by_name(child.name()) {
            None => new_null_array(child.data_type(), source.len()),
            Some(column) => {
                let named = child.as_ref().clone().with_name(path(field.name(), child.name()));
                adapt(&of_rows(column, source.nulls(), field)?, &named, &at)?
            }
        };
        let lacks = |row: &usize| source.is_valid(*row) && column.is_null(*row);
        if !child.is_nullable()
            && column.null_count() > 0
            && let Some(row) = (0..source.len()).find(lacks)
        {
            let message = format!("the child {:?} cannot be null", path(field.name(), child.name()));
            return Err(Error::new(ErrorCode::NullNotAllowed, message).field(at(row)));
        }
        columns.push(column);
    }
    let structs = StructArray::try_new(children.clone(), columns, source.nulls().cloned());
    structs
        .map(|structs| Arc::new(structs) as ArrayRef)
        .map_err(|error| mismatch(field, error.to_string()))
}

/// A child without what stands where its parent is null, which is nobody's.
fn of_rows(child: &ArrayRef, parent: Option<&NullBuffer>, field: &Field) -> Result<ArrayRef> {
    let Some(parent) = parent.filter(|parent| parent.null_count() > 0) else {
        return Ok(child.clone());
    };
    let absent = BooleanArray::new(!parent.inner(), None);
    nullif(child, &absent).map_err(|error| mismatch(field, error.to_string()))
}

/// Refuses shared text that would become far more once every row holds its own: a few bytes could ask for terabytes.
fn check_expansion(source: &ArrayRef, column: &str) -> Result<()> {
    let bytes = match source.data_type() {
        DataType::Utf8View | DataType::BinaryView | DataType::Dictionary(..) => size::text_of(source),
        _ => 0,
    };
    if bytes > WRITE_BYTES_MAX as u64 {
        let message = format!("the column {column:?} spelt out is {bytes} bytes");
        return Err(Error::new(ErrorCode::TooLarge, message)
            .field(column.to_owned())
            .limit(format_args!("{WRITE_BYTES_MAX} bytes")));
    }
    Ok(())
}

fn mismatch(field: &Field, found: String) -> Error {
    let message = format!("{found} where {:?} holds {}", field.name(), field.data_type());
    Error::new(ErrorCode::TypeMismatch, message)
        .field(field.name().clone())
        .limit(field.data_type())
}

#[cfg(test)]
mod tests;
