//! Decimals as text: whole numbers of a unit of 10 to the minus scale, spelt out.

/// Most digits of a decimal.
pub const PRECISION_MAX: u8 = 38;

/// Whether there are decimals of so many digits, so many of them behind the point.
pub fn is_valid(precision: u8, scale: i8) -> bool {
    (1..=PRECISION_MAX).contains(&precision) && u8::try_from(scale).is_ok_and(|scale| scale <= precision)
}

/// The greatest number of units that so many digits spell.
pub fn max_units(precision: u8) -> i128 {
    10_i128.pow(u32::from(precision.min(PRECISION_MAX))) - 1
}

/// Reads `-12.34`: a sign, digits and a point. Nothing where that is not what stands there, or where not every digit fits.
/// Zeros behind the last digit that the scale holds do.
pub fn parse(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !are_digits(whole) || !are_digits(part) {
        return None;
    }
    let scale = usize::try_from(scale).ok()?;
    let (kept, dropped) = part.split_at_checked(scale).unwrap_or((part, ""));
    if dropped.bytes().any(|byte| byte != b'0') {
        return None;
    }
    let zeros = std::iter::repeat_n(b'0', scale - kept.len());
    let units = whole
        .bytes()
        .chain(kept.bytes())
        .chain(zeros)
        .try_fold(0_i128, |units, digit| {
            units.checked_mul(10)?.checked_add(i128::from(digit - b'0'))
        })?;
    (units <= max_units(precision)).then_some(if negative { -units } else { units })
}

/// Spells units of a scale out; all digits of the scale are told.
pub fn spell(units: i128, scale: i8) -> String {
    let scale = usize::try_from(scale).unwrap_or(0);
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    let sign = if units < 0 { "-" } else { "" };
    if part.is_empty() {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{part}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_read_as_people_write_them() {
        for (text, precision, scale, units) in [
            ("12.34", 10, 2, Some(1_234)),
            ("-12.3", 10, 2, Some(-1_230)),
            ("+.5", 2, 1, Some(5)),
            ("7", 10, 2, Some(700)),
            ("7.", 1, 0, Some(7)),
            ("0.5000", 3, 1, Some(5)),
            ("-0", 3, 1, Some(0)),
            ("007", 1, 0, Some(7)),
            ("0.05", 3, 1, None),
            ("10", 1, 0, None),
            ("", 3, 1, None),
            ("-", 3, 1, None),
            (".", 3, 1, None),
            ("1e2", 3, 0, None),
            ("1_0", 3, 0, None),
            (" 1", 3, 0, None),
            ("1.2.3", 5, 2, None),
            ("é", 5, 2, None),
        ] {
            assert_eq!(parse(text, precision, scale), units, "{text:?}");
        }
        let nines = "9".repeat(38);
        assert_eq!(parse(&nines, 38, 0), Some(max_units(38)));
        assert_eq!(parse(&format!("{nines}9"), 38, 0), None);
        assert_eq!(parse(&"9".repeat(400), 38, 0), None);
    }

    #[test]
    fn only_so_many_digits_are_there() {
        assert!(is_valid(1, 0) && is_valid(38, 38));
        for (precision, scale) in [(0, 0), (39, 0), (3, 4), (3, -1)] {
            assert!(!is_valid(precision, scale), "{precision} {scale}");
        }
    }

    proptest! {
        #[test]
        fn what_is_spelt_is_read_back(units in any::<i128>(), precision in 1..=38_u8, share in 0..=100_u8) {
            let units = units % (max_units(precision) + 1);
            let scale = (u32::from(precision) * u32::from(share) / 100) as i8;
            prop_assert_eq!(parse(&spell(units, scale), precision, scale), Some(units));
        }
    }
}
