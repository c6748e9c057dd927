//! Columns of times, timestamps and durations: a kind, a unit and a zone.

use std::sync::Arc;

use arrow_schema::{DataType, TimeUnit};
use longbow_types::{Error, ErrorCode, Result};

use crate::v1::{self, ColumnKind as K};

/// Whether columns of a kind have a unit.
pub(super) fn is_time(kind: K) -> bool {
    matches!(kind, K::Time | K::Timestamp | K::Duration)
}

/// Whether a type is that of the kind for microseconds and UTC, which is older than units are.
pub(super) fn is_micros(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC")
}

/// The type of a kind that [`is_time`].
///
/// # Errors
/// `INVALID_SCHEMA` naming the column.
pub(super) fn from_proto(kind: K, time: Option<&v1::TimeType>, name: &str) -> Result<DataType> {
    let wrong = |message: &'static str, limit: &'static str| {
        Error::new(ErrorCode::InvalidSchema, message)
            .field(name.to_owned())
            .limit(limit)
    };
    let units = "SECOND, MILLISECOND, MICROSECOND or NANOSECOND";
    let time = time.ok_or_else(|| wrong("the column has no unit of time", units))?;
    let unit = match v1::TimeUnit::try_from(time.unit) {
        Ok(v1::TimeUnit::Second) => TimeUnit::Second,
        Ok(v1::TimeUnit::Millisecond) => TimeUnit::Millisecond,
        Ok(v1::TimeUnit::Microsecond) => TimeUnit::Microsecond,
        Ok(v1::TimeUnit::Nanosecond) => TimeUnit::Nanosecond,
        Ok(v1::TimeUnit::Unspecified) | Err(_) => {
            let message = "the unit of time is not set, or is not known to this version";
            return Err(wrong(message, units));
        }
    };
    if kind != K::Timestamp && !time.zone.is_empty() {
        return Err(wrong("only timestamps have a zone", "no zone"));
    }
    Ok(match (kind, unit) {
        (K::Timestamp, unit) => {
            let zone = (!time.zone.is_empty()).then(|| Arc::from(time.zone.as_str()));
            DataType::Timestamp(unit, zone)
        }
        (K::Duration, unit) => DataType::Duration(unit),
        (_, TimeUnit::Second | TimeUnit::Millisecond) => DataType::Time32(unit),
        (_, TimeUnit::Microsecond | TimeUnit::Nanosecond) => DataType::Time64(unit),
    })
}

/// The unit and zone of a type, where its kind does not tell them.
pub(super) fn to_proto(data_type: &DataType) -> Option<v1::TimeType> {
    let (unit, zone) = match data_type {
        micros if is_micros(micros) => return None,
        DataType::Timestamp(unit, zone) => (unit, zone.as_deref()),
        DataType::Time32(unit) | DataType::Time64(unit) | DataType::Duration(unit) => (unit, None),
        _ => return None,
    };
    let unit = match unit {
        TimeUnit::Second => v1::TimeUnit::Second,
        TimeUnit::Millisecond => v1::TimeUnit::Millisecond,
        TimeUnit::Microsecond => v1::TimeUnit::Microsecond,
        TimeUnit::Nanosecond => v1::TimeUnit::Nanosecond,
    };
    Some(v1::TimeType {
        unit: unit as i32,
        zone: zone.unwrap_or_default().to_owned(),
    })
}
