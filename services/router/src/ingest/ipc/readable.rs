//! Which types may a stream from outside have at all?

use arrow_schema::{DataType, TimeUnit};
use longbow_types::decimal::{NARROW_PRECISION_MAX, is_valid};

use super::TYPE_DEPTH_MAX;

/// Whether some column could take this type. Everything else is refused before a body is looked at.
pub(super) fn is_readable(data_type: &DataType, depth: usize) -> bool {
    use DataType as T;
    match data_type {
        T::Null | T::Boolean | T::Utf8 | T::LargeUtf8 | T::Utf8View => true,
        T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => true,
        T::Float16 | T::Float32 | T::Float64 => true,
        T::Decimal32(precision, scale) => *precision <= 9 && is_valid(*precision, *scale),
        T::Decimal64(precision, scale) => *precision <= 18 && is_valid(*precision, *scale),
        T::Decimal128(precision, scale) => *precision <= NARROW_PRECISION_MAX && is_valid(*precision, *scale),
        T::Decimal256(precision, scale) => is_valid(*precision, *scale),
        T::Binary | T::LargeBinary | T::BinaryView => true,
        T::FixedSizeBinary(width) => *width > 0,
        T::Timestamp(
            TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond,
            _,
        ) => true,
        T::Date32 | T::Date64 | T::Duration(_) => true,
        T::Time32(TimeUnit::Second | TimeUnit::Millisecond) => true,
        T::Time64(TimeUnit::Microsecond | TimeUnit::Nanosecond) => true,
        T::List(item) | T::LargeList(item) => {
            depth < TYPE_DEPTH_MAX && is_readable(item.data_type(), depth + 1)
        }
        // Of columns alone, and each with children of its own.
        T::Struct(children) => {
            let are_readable = || {
                children
                    .iter()
                    .all(|child| is_readable(child.data_type(), depth + 1))
            };
            depth == 0 && !children.is_empty() && are_readable()
        }
        T::FixedSizeList(item, size) => {
            *size > 0 && depth < TYPE_DEPTH_MAX && is_readable(item.data_type(), depth + 1)
        }
        T::Dictionary(key, value) => {
            key.is_dictionary_key_type()
                && !value.is_nested()
                && !matches!(**value, T::Dictionary(..))
                && is_readable(value, depth + 1)
        }
        _ => false,
    }
}
