//! Dates, times and instants as people spell them, in the unit of a column.

use arrow::array::timezone::Tz;
use arrow::compute::kernels::cast_utils::{string_to_datetime, string_to_time_nanoseconds};
use arrow_schema::{DataType, TimeUnit};

const NANOS_OF_SECOND: i128 = 1_000_000_000;
const SECONDS_OF_DAY: i128 = 86_400;

/// The number that a text is in a column of dates, times or timestamps; none where it is not one exactly.
pub(super) fn key(text: &str, data_type: &DataType) -> Option<i128> {
    // The readers cut at bytes.
    if !text.is_ascii() {
        return None;
    }
    match data_type {
        DataType::Date32 => exactly(nanos(text)?, SECONDS_OF_DAY * NANOS_OF_SECOND),
        DataType::Date64 => {
            let days = exactly(nanos(text)?, SECONDS_OF_DAY * NANOS_OF_SECOND)?;
            Some(days * SECONDS_OF_DAY * 1_000)
        }
        DataType::Time32(unit) | DataType::Time64(unit) => {
            exactly(string_to_time_nanoseconds(text).ok()?.into(), nanos_of(*unit))
        }
        DataType::Timestamp(unit, _) => exactly(nanos(text)?, nanos_of(*unit)),
        _ => None,
    }
}

/// Nanoseconds since 1970 in UTC, which a time without a zone is taken for.
fn nanos(text: &str) -> Option<i128> {
    let utc: Tz = "+00:00".parse().ok()?;
    let at = string_to_datetime(&utc, text).ok()?;
    Some(i128::from(at.timestamp()) * NANOS_OF_SECOND + i128::from(at.timestamp_subsec_nanos()))
}

fn nanos_of(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => NANOS_OF_SECOND,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

fn exactly(nanos: i128, unit: i128) -> Option<i128> {
    (nanos % unit == 0).then_some(nanos / unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_read_in_the_unit_of_the_column() {
        use DataType as T;
        use TimeUnit as U;
        let zone = || Some("Europe/Berlin".into());
        let cases = [
            (T::Date32, "1970-01-03", Some(2)),
            (T::Date32, "1969-12-31", Some(-1)),
            (T::Date32, "1970-01-03T01:00:00", None),
            (T::Date64, "1970-01-03", Some(172_800_000)),
            (T::Date64, "1970-01-03T01:00:00", None),
            (T::Time32(U::Second), "00:01:02", Some(62)),
            (T::Time32(U::Second), "00:01:02.5", None),
            (T::Time64(U::Microsecond), "00:00:00.5", Some(500_000)),
            (
                T::Timestamp(U::Second, None),
                "1970-01-01T01:00:00+01:00",
                Some(0),
            ),
            (T::Timestamp(U::Second, None), "1970-01-01T00:00:00.25Z", None),
            (
                T::Timestamp(U::Millisecond, zone()),
                "1970-01-01T00:00:00.25",
                Some(250),
            ),
            (
                T::Timestamp(U::Nanosecond, None),
                "1970-01-01T00:00:00.000000001Z",
                Some(1),
            ),
            (T::Timestamp(U::Second, None), "soon", None),
            (T::Duration(U::Second), "00:01:02", None),
            (T::Int64, "1970-01-03", None),
        ];
        for (data_type, text, want) in cases {
            assert_eq!(key(text, &data_type), want, "{text} as {data_type}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[0-9]{4}-[01][0-9]-[0-3][0-9].{0,20}|[0-9:. ]{0,12}|.{0,12}") {
            for unit in [TimeUnit::Second, TimeUnit::Nanosecond] {
                let _ = key(&text, &DataType::Timestamp(unit, None));
                let _ = key(&text, &DataType::Time64(unit));
            }
            let _ = key(&text, &DataType::Date32);
        }
    }
}
