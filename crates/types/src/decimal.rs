//! Decimals as text: whole numbers of a unit of 10 to the minus scale, spelt out.
//!
//! Those of up to 38 digits are kept in 128 bits, those of more in 256.

use arrow_buffer::i256;
use arrow_schema::DataType;

/// Most digits of a decimal.
pub const PRECISION_MAX: u8 = 76;
/// Most digits of a decimal that is kept in 128 bits.
pub const NARROW_PRECISION_MAX: u8 = 38;

/// Whether there are decimals of so many digits, so many of them behind the point.
pub fn is_valid(precision: u8, scale: i8) -> bool {
    (1..=PRECISION_MAX).contains(&precision) && u8::try_from(scale).is_ok_and(|scale| scale <= precision)
}

/// The one type of decimals of so many digits, so many of them behind the point.
pub fn data_type(precision: u8, scale: i8) -> Option<DataType> {
    let narrow = precision <= NARROW_PRECISION_MAX;
    is_valid(precision, scale).then_some(if narrow {
        DataType::Decimal128(precision, scale)
    } else {
        DataType::Decimal256(precision, scale)
    })
}

/// The greatest number of units that so many digits spell, up to [`NARROW_PRECISION_MAX`].
pub fn max_units(precision: u8) -> i128 {
    10_i128.pow(u32::from(precision.min(NARROW_PRECISION_MAX))) - 1
}

/// The same, up to [`PRECISION_MAX`].
pub fn max_wide_units(precision: u8) -> i256 {
    let digits = u32::from(precision.min(PRECISION_MAX));
    i256::from_i128(10).wrapping_pow(digits).wrapping_sub(i256::ONE)
}

/// Reads `-12.34`: a sign, digits and a point. Nothing where that is not what stands there, or where not every digit fits.
/// Zeros behind the last digit that the scale holds do.
pub fn parse(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let units = read(text, scale, 0_i128, |units, digit| {
        units.checked_mul(10)?.checked_add(digit.into())
    })?;
    (units.value <= max_units(precision)).then_some(if units.negative { -units.value } else { units.value })
}

/// As [`parse`], of a decimal that is kept in 256 bits.
pub fn parse_wide(text: &str, precision: u8, scale: i8) -> Option<i256> {
    let ten = i256::from_i128(10);
    let units = read(text, scale, i256::ZERO, |units, digit| {
        units.checked_mul(ten)?.checked_add(i256::from_i128(digit.into()))
    })?;
    let signed = if units.negative {
        units.value.wrapping_neg()
    } else {
        units.value
    };
    (units.value <= max_wide_units(precision)).then_some(signed)
}

/// What a text spells, its sign aside.
struct Units<T> {
    negative: bool,
    value: T,
}

/// Adds up the digits of a text, `zero` and `next` being those of the number it becomes.
fn read<T>(text: &str, scale: i8, zero: T, next: impl FnMut(T, u8) -> Option<T>) -> Option<Units<T>> {
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
    let digits = whole.bytes().chain(kept.bytes()).chain(zeros);
    let value = digits.map(|digit| digit - b'0').try_fold(zero, next)?;
    Some(Units { negative, value })
}

/// Spells units of a scale out; all digits of the scale are told.
pub fn spell(units: i128, scale: i8) -> String {
    pointed(units < 0, &units.unsigned_abs().to_string(), scale)
}

/// As [`spell`], of a decimal that is kept in 256 bits.
pub fn spell_wide(units: i256, scale: i8) -> String {
    let spelt = units.to_string();
    let digits = spelt.strip_prefix('-');
    pointed(digits.is_some(), digits.unwrap_or(&spelt), scale)
}

/// Digits with a point before the last `scale` of them.
fn pointed(negative: bool, digits: &str, scale: i8) -> String {
    let scale = usize::try_from(scale).unwrap_or(0);
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    let sign = if negative { "-" } else { "" };
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
        let nines = "9".repeat(76);
        assert_eq!(parse_wide(&nines, 76, 0), Some(max_wide_units(76)));
        assert_eq!(
            parse_wide(&format!("-{nines}"), 76, 0),
            Some(max_wide_units(76).wrapping_neg())
        );
        assert_eq!(parse_wide(&format!("{nines}9"), 76, 0), None);
        assert_eq!(parse_wide(&nines, 75, 0), None);
        assert_eq!(parse_wide(&"9".repeat(400), 76, 0), None);
        assert_eq!(parse_wide("-0.05", 40, 2), Some(i256::from_i128(-5)));
        assert_eq!(parse_wide("0.005", 40, 2), None);
    }

    #[test]
    fn only_so_many_digits_are_there() {
        assert!(is_valid(1, 0) && is_valid(38, 38) && is_valid(76, 76));
        for (precision, scale) in [(0, 0), (77, 0), (3, 4), (3, -1)] {
            assert!(!is_valid(precision, scale), "{precision} {scale}");
            assert_eq!(data_type(precision, scale), None);
        }
        assert_eq!(data_type(38, 2), Some(DataType::Decimal128(38, 2)));
        assert_eq!(data_type(39, 2), Some(DataType::Decimal256(39, 2)));
    }

    proptest! {
        #[test]
        fn what_is_spelt_is_read_back(units in any::<i128>(), precision in 1..=38_u8, share in 0..=100_u8) {
            let units = units % (max_units(precision) + 1);
            let scale = (u32::from(precision) * u32::from(share) / 100) as i8;
            prop_assert_eq!(parse(&spell(units, scale), precision, scale), Some(units));
        }

        #[test]
        fn wide_ones_are_read_back_and_narrow_ones_are_among_them(
            high in any::<i128>(), low in any::<u128>(), narrow in any::<i128>(), precision in 39..=76_u8, share in 0..=100_u8,
        ) {
            let most = max_wide_units(precision).wrapping_add(i256::ONE);
            let units = i256::from_parts(low, high).wrapping_rem(most);
            let scale = (u32::from(precision) * u32::from(share) / 100) as i8;
            prop_assert_eq!(parse_wide(&spell_wide(units, scale), precision, scale), Some(units));
            let narrow = narrow % (max_units(38) + 1);
            prop_assert_eq!(spell_wide(i256::from_i128(narrow), scale), spell(narrow, scale));
        }
    }
}
