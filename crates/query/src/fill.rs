//! What does a row hold in a column that it does not tell? The column's default, or a null.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Int8Array, Int16Array, Int32Array, Int64Array, PrimitiveArray,
    StringArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array, make_array, new_null_array,
};
use arrow::compute::take;
use arrow::datatypes::{Float16Type, Float32Type, Float64Type};
use arrow_schema::{ArrowError, DataType};
use half::f16;
use longbow_types::{DefaultValue, Error, ErrorCode, Result};

/// The one value of a column that rows hold which do not tell it: an array of length 1.
///
/// # Errors
/// `INTERNAL` for a default that is not of the type; schemas hold none.
pub fn one(default: Option<&DefaultValue>, data_type: &DataType) -> Result<ArrayRef> {
    let other = || {
        let message = format!("a default that is no {data_type}");
        Error::new(ErrorCode::Internal, message)
    };
    let array: ArrayRef = match default {
        None => new_null_array(data_type, 1),
        Some(DefaultValue::Bool(value)) => Arc::new(BooleanArray::from(vec![*value])),
        Some(DefaultValue::Int(value)) => integer(*value, data_type).ok_or_else(other)?,
        Some(DefaultValue::Float(value)) => match data_type {
            DataType::Float16 => Arc::new(PrimitiveArray::<Float16Type>::from_value(
                f16::from_f64(*value),
                1,
            )),
            DataType::Float32 => Arc::new(PrimitiveArray::<Float32Type>::from_value(*value as f32, 1)),
            _ => Arc::new(PrimitiveArray::<Float64Type>::from_value(*value, 1)),
        },
        Some(DefaultValue::Text(value)) => Arc::new(StringArray::from(vec![value.as_str()])),
        Some(DefaultValue::Bytes(value)) => Arc::new(BinaryArray::from(vec![value.as_slice()])),
    };
    if array.data_type() == data_type {
        return Ok(array);
    }
    Err(other())
}

/// An integer in the width of a type, under the type's name.
fn integer(value: i128, data_type: &DataType) -> Option<ArrayRef> {
    use DataType as T;
    macro_rules! plain {
        ($array:ident) => {
            Arc::new($array::from_value(value.try_into().ok()?, 1)) as ArrayRef
        };
    }
    let plain = match data_type {
        T::Int8 => plain!(Int8Array),
        T::Int16 => plain!(Int16Array),
        T::Int32 | T::Date32 | T::Time32(_) => plain!(Int32Array),
        T::UInt8 => plain!(UInt8Array),
        T::UInt16 => plain!(UInt16Array),
        T::UInt32 => plain!(UInt32Array),
        T::UInt64 => plain!(UInt64Array),
        _ => plain!(Int64Array),
    };
    let labelled = plain.to_data().into_builder().data_type(data_type.clone());
    labelled.build().ok().map(make_array)
}

/// So many rows of the value of [`one`]. O(rows).
///
/// # Errors
/// `INTERNAL`, where an array cannot be so long.
pub fn repeated(one: &ArrayRef, rows: usize) -> Result<ArrayRef> {
    if one.null_count() > 0 {
        return Ok(new_null_array(one.data_type(), rows));
    }
    let firsts = UInt32Array::from_value(0, rows);
    take(one.as_ref(), &firsts, None).map_err(|error: ArrowError| {
        let message = format!("a default for {rows} rows: {error}");
        Error::new(ErrorCode::Internal, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;
    use arrow::datatypes::{Date32Type, TimestampNanosecondType, UInt64Type};
    use arrow_schema::TimeUnit;

    fn filled(default: DefaultValue, data_type: DataType) -> ArrayRef {
        repeated(&one(Some(&default), &data_type).unwrap(), 3).unwrap()
    }

    #[test]
    fn rows_hold_the_default_in_the_type_of_the_column() {
        let big = filled(DefaultValue::Int(u64::MAX.into()), DataType::UInt64);
        assert_eq!(big.as_primitive::<UInt64Type>().values()[..], [u64::MAX; 3]);
        let days = filled(DefaultValue::Int(-1), DataType::Date32);
        assert_eq!(days.as_primitive::<Date32Type>().values()[..], [-1; 3]);
        let zoned = DataType::Timestamp(TimeUnit::Nanosecond, Some("+01:00".into()));
        let instants = filled(DefaultValue::Int(5), zoned.clone());
        assert_eq!(
            instants.as_primitive::<TimestampNanosecondType>().values()[..],
            [5; 3]
        );
        assert_eq!(instants.data_type(), &zoned);
        let text = filled(DefaultValue::Text("é".into()), DataType::Utf8);
        assert!(text.as_string::<i32>().iter().all(|text| text == Some("é")));
        let halves = filled(DefaultValue::Float(0.5), DataType::Float16);
        assert_eq!(
            halves.as_primitive::<Float16Type>().values()[..],
            [f16::from_f32(0.5); 3]
        );
    }

    #[test]
    fn without_a_default_they_hold_a_null() {
        let nulls = repeated(&one(None, &DataType::Utf8).unwrap(), 5).unwrap();
        assert_eq!((nulls.len(), nulls.null_count()), (5, 5));
        assert_eq!(repeated(&nulls.slice(0, 1), 0).unwrap().len(), 0);
    }

    #[test]
    fn a_default_of_another_type_is_a_defect() {
        for (default, data_type) in [
            (DefaultValue::Int(300), DataType::Int8),
            (DefaultValue::Bool(true), DataType::Utf8),
            (DefaultValue::Int(1), DataType::Utf8),
        ] {
            let error = one(Some(&default), &data_type).unwrap_err();
            assert_eq!(error.code, ErrorCode::Internal);
        }
    }
}
