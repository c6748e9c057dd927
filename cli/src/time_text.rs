//! Points in time as people type them: `2020-01-02`, `2020-01-02T03:04:05.5Z`, `2020-01-02 03:04:05+01:00`.

use arrow::{array::timezone::Tz, compute::kernels::cast_utils::string_to_datetime};

/// Microseconds since 1970 in UTC, which a time without a zone is taken for.
pub fn micros(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no time: write 2020-01-02 or 2020-01-02T03:04:05Z");
    // The reader below cuts at bytes.
    if !text.is_ascii() {
        return Err(wrong());
    }
    let utc: Tz = "+00:00".parse().map_err(|_| wrong())?;
    let at = string_to_datetime(&utc, text).map_err(|_| wrong())?;
    Ok(at.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use proptest::proptest;

    use super::*;

    #[test]
    fn times_are_read() {
        const DAY: i64 = 86_400_000_000;
        for (text, want) in [
            ("1970-01-01", 0),
            ("1970-01-02T00:00:00Z", DAY),
            ("1969-12-31", -DAY),
            ("2000-03-01", 11_017 * DAY),
            ("2020-01-02T03:04:05Z", 1_577_934_245_000_000),
            ("2020-01-02T03:04:05", 1_577_934_245_000_000),
            ("2020-01-02 04:04:05+01:00", 1_577_934_245_000_000),
            ("2020-01-02T03:04:05.000007Z", 1_577_934_245_000_007),
        ] {
            assert_eq!(micros(text), Ok(want), "{text}");
        }
        for bad in [
            "",
            "2020",
            "2020-13-01",
            "2021-02-29",
            "2020-01-02T25:00:00Z",
            "2020-01-02x",
            "2020-01-02T03:04:05 nowhere",
            "2020-01-02T03:04:05é",
        ] {
            assert!(micros(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[0-9]{4}-[01][0-9]-[0-3][0-9].{0,20}") {
            let _ = micros(&text);
        }
    }
}
