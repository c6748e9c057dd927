//! Points in time as people type them: `2020-01-02`, `2020-01-02T03:04:05.5Z`, `2020-01-02 03:04:05+01:00`.

use arrow::{array::timezone::Tz, compute::kernels::cast_utils::string_to_datetime};

/// Whether a text is a point in time, in UTC where it names no zone.
pub fn check(text: &str) -> Result<(), String> {
    let wrong = || format!("{text:?} is no time: write 2020-01-02 or 2020-01-02T03:04:05Z");
    // The reader below cuts at bytes.
    if !text.is_ascii() {
        return Err(wrong());
    }
    let utc: Tz = "+00:00".parse().map_err(|_| wrong())?;
    string_to_datetime(&utc, text).map(drop).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use proptest::proptest;

    use super::*;

    #[test]
    fn times_are_read() {
        for text in [
            "1970-01-01",
            "1969-12-31",
            "2020-01-02T03:04:05Z",
            "2020-01-02T03:04:05",
            "2020-01-02 04:04:05+01:00",
            "2020-01-02T03:04:05.000007Z",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
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
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[0-9]{4}-[01][0-9]-[0-3][0-9].{0,20}") {
            let _ = check(&text);
        }
    }
}
