//! How does a column of one type become a column of another without changing what it says?
//!
//! Encodings are free (large, view and dictionary text, wider integers that fit); floats are rounded to a narrower
//! width, but never to an infinity; integers and floats become each other only where every value stays exactly what
//! it was. Text is never parsed and numbers are never spelt out.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, GenericListArray, ListArray, OffsetSizeTrait, make_array, new_null_array,
    },
    buffer::{OffsetBuffer, ScalarBuffer},
    compute::cast,
    datatypes::{Float16Type, Float32Type, Float64Type},
};
use arrow_schema::{DataType, Field, FieldRef};
use longbow_types::{Error, ErrorCode, Result, limits::WRITE_BYTES_MAX};

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
mod tests {
    use super::*;
    use arrow::array::*;
    use arrow::datatypes::Int8Type;
    use arrow_schema::TimeUnit;
    use longbow_types::schema::utf8_item;

    fn to(source: ArrayRef, target: DataType) -> Result<ArrayRef> {
        adapt(&source, &Field::new("c", target, true), &|row| {
            format!("rows[{row}].c")
        })
    }

    #[test]
    fn encodings_of_text_are_free() {
        let want: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("a")]));
        let dictionary: DictionaryArray<Int8Type> = vec![Some("a"), None, Some("a")].into_iter().collect();
        let same: [ArrayRef; 3] = [
            Arc::new(LargeStringArray::from(vec![Some("a"), None, Some("a")])),
            Arc::new(StringViewArray::from(vec![Some("a"), None, Some("a")])),
            Arc::new(dictionary),
        ];
        for source in same {
            assert_eq!(&to(source, DataType::Utf8).unwrap(), &want);
        }
        let list = |strings: [Option<&str>; 2]| {
            let mut builder = LargeListBuilder::new(StringViewBuilder::new());
            strings.iter().for_each(|s| builder.values().append_option(*s));
            builder.append(true);
            builder.append_null();
            Arc::new(builder.finish()) as ArrayRef
        };
        let lists = to(list([Some("x"), None]), DataType::List(utf8_item())).unwrap();
        assert_eq!(*lists.data_type(), DataType::List(utf8_item()));
        assert!(lists.is_null(1) && lists.as_list::<i32>().value(0).len() == 2);
    }

    #[test]
    fn items_of_lists_are_adapted_as_columns_are() {
        use longbow_types::schema::list_item;
        let mut builder = LargeListBuilder::new(Int64Builder::new());
        builder.values().append_value(-3);
        builder.values().append_null();
        builder.append(true);
        builder.append_null();
        builder.values().append_value(300);
        builder.append(true);
        let source: ArrayRef = Arc::new(builder.finish());
        let narrow = to(source.clone(), DataType::List(list_item(DataType::Int16))).unwrap();
        let first = narrow.as_list::<i32>().value(0);
        let items: &Int16Array = first.as_primitive();
        assert_eq!(items.iter().collect::<Vec<_>>(), [Some(-3), None]);
        assert!(narrow.is_null(1));
        let error = to(source.clone(), DataType::List(list_item(DataType::Int8))).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("rows[2].c"));
        assert!(to(source, DataType::List(list_item(DataType::Utf8))).is_err());
    }

    #[test]
    fn numbers_stay_what_they_are_or_are_refused() {
        use DataType as T;
        let ints: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(300)]));
        assert_eq!(to(ints.clone(), T::Int16).unwrap().data_type(), &T::Int16);
        let cases: [(ArrayRef, T, &str); 6] = [
            (ints.clone(), T::UInt8, "rows[2].c"),
            (Arc::new(Int32Array::from(vec![0, -1])), T::UInt64, "rows[1].c"),
            (
                Arc::new(Float64Array::from(vec![1.0, 1.5])),
                T::Int32,
                "rows[1].c",
            ),
            (
                Arc::new(Float64Array::from(vec![f64::NAN])),
                T::Int32,
                "rows[0].c",
            ),
            (
                Arc::new(Int64Array::from(vec![(1 << 53) + 1])),
                T::Float64,
                "rows[0].c",
            ),
            (
                Arc::new(Float64Array::from(vec![0.1, 1e300])),
                T::Float32,
                "rows[1].c",
            ),
        ];
        for (source, target, field) in cases {
            let error = to(source, target).unwrap_err();
            assert_eq!(
                (error.code, error.field.as_deref()),
                (ErrorCode::TypeMismatch, Some(field))
            );
        }
        // What pandas makes of integers with a gap.
        let gap: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None]));
        assert_eq!(
            to(gap, T::Int32).unwrap().as_ref(),
            &Int32Array::from(vec![Some(1), None])
        );
        let rounded = to(Arc::new(Float64Array::from(vec![0.1, f64::INFINITY])), T::Float32).unwrap();
        assert_eq!(rounded.as_ref(), &Float32Array::from(vec![0.1, f32::INFINITY]));
        assert_eq!(to(ints, T::Utf8).unwrap_err().field.as_deref(), Some("c"));
    }

    #[test]
    fn instants_keep_their_moment() {
        let target = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let want = TimestampMicrosecondArray::from(vec![Some(2_000_000), None]).with_timezone("UTC");
        let same: [ArrayRef; 3] = [
            Arc::new(TimestampSecondArray::from(vec![Some(2), None])),
            Arc::new(
                TimestampNanosecondArray::from(vec![Some(2_000_000_000), None]).with_timezone("Asia/Tokyo"),
            ),
            Arc::new(TimestampMicrosecondArray::from(vec![Some(2_000_000), None]).with_timezone("+00:00")),
        ];
        for source in same {
            assert_eq!(to(source, target.clone()).unwrap().as_ref(), &want);
        }
        for odd in [
            Arc::new(TimestampNanosecondArray::from(vec![1])) as ArrayRef,
            Arc::new(TimestampSecondArray::from(vec![i64::MAX])),
        ] {
            assert_eq!(
                to(odd, target.clone()).unwrap_err().field.as_deref(),
                Some("rows[0].c")
            );
        }
    }

    #[test]
    fn times_change_their_unit_only_exactly() {
        use DataType as T;
        use TimeUnit as U;
        let days: ArrayRef = Arc::new(Date32Array::from(vec![Some(2), None]));
        assert_eq!(
            to(days.clone(), T::Date64).unwrap().as_ref(),
            &Date64Array::from(vec![Some(172_800_000), None])
        );
        let zoned = T::Timestamp(U::Second, Some("+01:00".into()));
        let instants = TimestampSecondArray::from(vec![Some(172_800), None]).with_timezone("+01:00");
        assert_eq!(to(days.clone(), zoned).unwrap().as_ref(), &instants);
        let unzoned = to(Arc::new(instants), T::Timestamp(U::Millisecond, None)).unwrap();
        assert_eq!(
            unzoned.as_ref(),
            &TimestampMillisecondArray::from(vec![Some(172_800_000), None])
        );
        let times: ArrayRef = Arc::new(Time32SecondArray::from(vec![62]));
        assert_eq!(
            to(times, T::Time64(U::Microsecond)).unwrap().as_ref(),
            &Time64MicrosecondArray::from(vec![62_000_000])
        );
        let durations: ArrayRef = Arc::new(DurationMillisecondArray::from(vec![5_000]));
        assert_eq!(
            to(durations, T::Duration(U::Second)).unwrap().as_ref(),
            &DurationSecondArray::from(vec![5])
        );
        let inexact: [(ArrayRef, T); 4] = [
            (Arc::new(Date64Array::from(vec![1])), T::Date32),
            (
                Arc::new(Time64NanosecondArray::from(vec![1])),
                T::Time32(U::Second),
            ),
            (
                Arc::new(DurationMillisecondArray::from(vec![1])),
                T::Duration(U::Second),
            ),
            (
                Arc::new(Date32Array::from(vec![i32::MAX])),
                T::Timestamp(U::Nanosecond, None),
            ),
        ];
        for (source, target) in inexact {
            assert_eq!(
                to(source, target).unwrap_err().field.as_deref(),
                Some("rows[0].c")
            );
        }
        assert_eq!(to(days, T::Int32).unwrap_err().field.as_deref(), Some("c"));
    }

    #[test]
    fn a_few_bytes_cannot_ask_for_gigabytes() {
        let keys = Int32Array::from(vec![0; 2_000]);
        let values = StringArray::from(vec!["x".repeat(1 << 20)]);
        let bomb: ArrayRef = Arc::new(DictionaryArray::new(keys, Arc::new(values)));
        assert_eq!(to(bomb, DataType::Utf8).unwrap_err().code, ErrorCode::TooLarge);
        let nulls = to(Arc::new(NullArray::new(3)), DataType::Utf8).unwrap();
        assert_eq!(nulls.null_count(), 3);
    }
}
