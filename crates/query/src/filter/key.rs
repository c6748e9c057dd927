//! Under which keys do the values of a type order as filters compare them?
//!
//! Every type of a fixed width has keys that are integers without gaps: integers, instants and the like are their own
//! keys, `false` is 0 and `true` is 1, and floats are numbered from the least to the greatest, with one key for both
//! zeros, and above infinity one for all that is not a number. Text and bytes are their own keys, and decimals of more than
//! 38 digits are bytes that order as they do: 32 of them, the highest first, the sign turned.

use arrow::datatypes::i256;
use arrow_schema::DataType;
use half::f16;
use longbow_types::decimal::{max_units, max_wide_units};

use super::ranges::Ranges;

/// A native value with a key.
pub(super) trait Keyed: Copy {
    /// The narrowest integer that holds the keys.
    type Key: Copy + Ord + Into<i128> + TryFrom<i128>;

    /// No key is lower.
    const LOW: Self::Key;
    /// No key is higher.
    const HIGH: Self::Key;

    /// The value's key.
    fn key(self) -> Self::Key;
}

macro_rules! own_key {
    ($($native:ty)*) => {
        $(impl Keyed for $native {
            type Key = $native;
            const LOW: $native = <$native>::MIN;
            const HIGH: $native = <$native>::MAX;

            #[inline(always)]
            fn key(self) -> $native {
                self
            }
        })*
    };
}

own_key! { i8 i16 i32 i64 u8 u16 u32 u64 i128 }

macro_rules! float_key {
    ($($native:ty, $key:ty, $infinity:expr;)*) => {
        $(impl Keyed for $native {
            type Key = $key;
            const LOW: $key = <$key>::MIN;
            const HIGH: $key = <$key>::MAX;

            #[inline(always)]
            fn key(self) -> $key {
                let bits = self.to_bits().cast_signed();
                // Negative floats ascend as their magnitude falls; -0.0 becomes 0.
                let key = if bits < 0 { <$key>::MIN.wrapping_sub(bits) } else { bits };
                let magnitude = bits & <$key>::MAX;
                if magnitude > $infinity { $infinity + 1 } else { key }
            }
        })*
    };
}

float_key! {
    f16, i16, 0x7c00;
    f32, i32, 0x7f80_0000;
    f64, i64, 0x7ff0_0000_0000_0000;
}

/// The lowest and the highest key of a type of fixed width; none for other types.
pub(super) fn span(data_type: &DataType) -> Option<(i128, i128)> {
    use DataType as T;
    macro_rules! of {
        ($native:ty) => {
            (i128::from(<$native>::MIN), i128::from(<$native>::MAX))
        };
    }
    macro_rules! floats {
        ($native:ty) => {
            (
                <$native>::NEG_INFINITY.key().into(),
                <$native>::NAN.key().into(),
            )
        };
    }
    Some(match data_type {
        T::Boolean => (0, 1),
        T::Int8 => of!(i8),
        T::Int16 => of!(i16),
        T::Int32 | T::Date32 | T::Time32(_) => of!(i32),
        T::Int64 | T::Date64 | T::Time64(_) | T::Timestamp(..) | T::Duration(_) => of!(i64),
        T::UInt8 => of!(u8),
        T::UInt16 => of!(u16),
        T::UInt32 => of!(u32),
        T::UInt64 => of!(u64),
        T::Decimal128(precision, _) => (-max_units(*precision), max_units(*precision)),
        T::Float16 => floats!(f16),
        T::Float32 => floats!(f32),
        T::Float64 => floats!(f64),
        _ => return None,
    })
}

/// Whether the keys of a type are bytes.
pub(super) fn is_bytes(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::Binary | DataType::Decimal256(..)
    )
}

/// The key of a decimal of more than 38 digits.
#[inline]
pub(super) fn of_wide(units: i256) -> [u8; 32] {
    let mut key = units.to_be_bytes();
    key[0] ^= 0x80;
    key
}

/// The greatest key that is greater than others, where it is not the highest: nothing compares with what is no number.
pub(super) fn greatest(data_type: &DataType) -> Option<Key> {
    let floating = data_type.is_floating();
    floating.then(|| Key::Fixed(of_float(f64::INFINITY, data_type)))
}

/// The key of a float, rounded to the width of the type.
pub(super) fn of_float(value: f64, data_type: &DataType) -> i128 {
    match data_type {
        DataType::Float16 => f16::from_f64(value).key().into(),
        DataType::Float32 => (value as f32).key().into(),
        _ => value.key().into(),
    }
}

/// One value, or where it would stand among the others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    /// Of a type of fixed width.
    Fixed(i128),
    /// Of text or bytes, or of a wide decimal.
    Bytes(Vec<u8>),
}

/// A set of values of one type. Lists and other types without keys have only the empty set and the full one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Set {
    /// Of a type of fixed width. Invariant: no turn lies outside its span, and its lowest key stands as `i128::MIN`.
    Fixed(Ranges<i128>),
    /// Of text or bytes. Of wide decimals as `Fixed`, the lowest key standing as no bytes.
    Bytes(Ranges<Vec<u8>>),
}

impl Set {
    /// No value of a type.
    pub(super) fn none(data_type: &DataType) -> Self {
        if is_bytes(data_type) {
            Set::Bytes(Ranges::none())
        } else {
            Set::Fixed(Ranges::none())
        }
    }

    /// Every value of a type.
    pub(super) fn all(data_type: &DataType) -> Self {
        Self::none(data_type).complement()
    }

    /// The values from `low` to `high`, both included, an open end where there is none.
    pub(super) fn between(low: Option<Key>, high: Option<Key>, data_type: &DataType) -> Self {
        let fixed = |(start, end)| Set::Fixed(Ranges::between(start, end));
        match (low, high) {
            (None, None) => Self::all(data_type),
            (low, high) if is_bytes(data_type) => {
                let start = low.map_or_else(Vec::new, |low| begin(bytes_of(low), data_type));
                let end = high.and_then(|high| after(bytes_of(high), data_type));
                Set::Bytes(Ranges::between(start, end))
            }
            (low, high) => {
                let span = span(data_type).unwrap_or((i128::MIN, i128::MAX));
                let key = |bound, open| match bound {
                    Some(Key::Fixed(key)) => key,
                    _ => open,
                };
                fixed(turns(key(low, span.0), key(high, span.1), span))
            }
        }
    }

    /// Some values of one type.
    pub(super) fn of(mut keys: Vec<Key>, data_type: &DataType) -> Self {
        keys.sort_unstable();
        keys.dedup();
        let (mut fixed, mut bytes) = (Vec::new(), Vec::new());
        let span = span(data_type).unwrap_or((i128::MIN, i128::MAX));
        for key in keys {
            match key {
                Key::Fixed(key) => fixed.push(turns(key, key, span)),
                Key::Bytes(key) => bytes.push((begin(key.clone(), data_type), after(key, data_type))),
            }
        }
        if is_bytes(data_type) {
            Set::Bytes(Ranges::ascending(bytes))
        } else {
            Set::Fixed(Ranges::ascending(fixed))
        }
    }

    /// All bytes that begin with a prefix.
    pub(super) fn prefix(prefix: Vec<u8>) -> Self {
        // The first that does not: the last byte that can be raised is, and what follows it is cut.
        let mut end = prefix.clone();
        while end.pop_if(|last| *last == u8::MAX).is_some() {}
        let end = match end.last_mut() {
            Some(last) => {
                *last += 1;
                Some(end)
            }
            None => None,
        };
        Set::Bytes(Ranges::between(prefix, end))
    }

    pub(super) fn is_none(&self) -> bool {
        match self {
            Set::Fixed(set) => set.is_none(),
            Set::Bytes(set) => set.is_none(),
        }
    }

    pub(super) fn is_all(&self) -> bool {
        match self {
            Set::Fixed(set) => set.is_all(),
            Set::Bytes(set) => set.is_all(),
        }
    }

    /// Whether all values are in another set of the same type too.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (Set::Fixed(a), Set::Fixed(b)) => a.is_within(b),
            (Set::Bytes(a), Set::Bytes(b)) => a.is_within(b),
            _ => false,
        }
    }

    pub(super) fn complement(self) -> Self {
        match self {
            Set::Fixed(set) => Set::Fixed(set.complement()),
            Set::Bytes(set) => Set::Bytes(set.complement()),
        }
    }

    /// The values that all of some sets of one type share. There is at least one set.
    pub(super) fn intersection_of(sets: Vec<Self>) -> Self {
        Self::union_of(sets.into_iter().map(Self::complement).collect()).complement()
    }

    /// The values in any of some sets of one type. There is at least one set.
    pub(super) fn union_of(sets: Vec<Self>) -> Self {
        let (mut fixed, mut bytes) = (Vec::new(), Vec::new());
        for set in sets {
            match set {
                Set::Fixed(set) => fixed.push(set),
                Set::Bytes(set) => bytes.push(set),
            }
        }
        if bytes.is_empty() {
            Set::Fixed(Ranges::union_of(fixed))
        } else {
            Set::Bytes(Ranges::union_of(bytes))
        }
    }
}

/// Where the values from `low` to `high` begin, and where they have ended.
fn turns(low: i128, high: i128, (lowest, highest): (i128, i128)) -> (i128, Option<i128>) {
    let start = if low <= lowest { i128::MIN } else { low };
    (start, (high < highest).then(|| high + 1))
}

/// The bytes of a key of a type whose keys are bytes.
fn bytes_of(key: Key) -> Vec<u8> {
    match key {
        Key::Bytes(bytes) => bytes,
        Key::Fixed(_) => Vec::new(),
    }
}

/// Where the values from some bytes on begin: with no bytes, where there are none below.
fn begin(bytes: Vec<u8>, data_type: &DataType) -> Vec<u8> {
    match data_type {
        DataType::Decimal256(precision, _)
            if bytes.as_slice() <= of_wide(max_wide_units(*precision).wrapping_neg()).as_slice() =>
        {
            Vec::new()
        }
        _ => bytes,
    }
}

/// The bytes that come next: of a decimal the next one, if there is one, else the same with a zero behind.
fn after(mut bytes: Vec<u8>, data_type: &DataType) -> Option<Vec<u8>> {
    let DataType::Decimal256(precision, _) = data_type else {
        bytes.push(0);
        return Some(bytes);
    };
    if bytes.as_slice() >= of_wide(max_wide_units(*precision)).as_slice() {
        return None;
    }
    for byte in bytes.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_order_by_their_keys() {
        let ascending = [
            f64::NEG_INFINITY,
            f64::MIN,
            -1.0,
            -f64::from_bits(1),
            0.0,
            f64::from_bits(1),
            0.1,
            1e300,
            f64::INFINITY,
            f64::NAN,
        ];
        for pair in ascending.windows(2) {
            assert!(pair[0].key() < pair[1].key(), "{pair:?}");
        }
        assert_eq!((-0.0_f64).key(), 0.0_f64.key());
        assert_eq!((-f64::NAN).key(), f64::NAN.key());
        assert_eq!((-f64::from_bits(1)).key() + 1, 0.0_f64.key(), "there are no gaps");
        assert_eq!(f64::INFINITY.key() + 1, f64::NAN.key());
    }

    #[test]
    fn all_halves_order_by_their_keys() {
        for bits in 0..=u16::MAX {
            let (half, next) = (f16::from_bits(bits), f16::from_bits(bits.wrapping_add(1)));
            let order = half.partial_cmp(&next);
            if let Some(order) = order {
                assert_eq!(half.key().cmp(&next.key()), order, "{half} {next}");
            }
            assert_eq!(half.is_nan(), half.key() == f16::NAN.key());
        }
    }

    #[test]
    fn wide_decimals_order_by_their_keys_and_have_no_gaps() {
        let data_type = DataType::Decimal256(40, 2);
        let max = max_wide_units(40);
        let one = i256::ONE;
        let units = [
            max.wrapping_neg(),
            i256::from_i128(-256),
            one.wrapping_neg(),
            i256::ZERO,
            one,
            i256::from_i128(255),
            i256::from_i128(i128::MAX),
            max,
        ];
        for pair in units.windows(2) {
            assert!(of_wide(pair[0]) < of_wide(pair[1]), "{pair:?}");
        }
        let key = |units: i256| Key::Bytes(of_wide(units).to_vec());
        for (at, next) in units[..7].iter().map(|&at| (at, at.wrapping_add(one))) {
            let up_to = Set::between(None, Some(key(at)), &data_type);
            let from = Set::between(Some(key(next)), None, &data_type);
            assert_eq!(up_to.complement(), from, "{at}");
        }
        let all = Set::between(Some(key(units[0])), Some(key(max)), &data_type);
        assert!(all.is_all());
        assert!(Set::between(None, Some(key(max)), &data_type).is_all());
    }

    #[test]
    fn prefixes_end_where_the_next_begins() {
        let turns = |prefix: &[u8]| match Set::prefix(prefix.to_vec()) {
            Set::Bytes(set) => set.turns().to_vec(),
            Set::Fixed(_) => panic!("not bytes"),
        };
        assert_eq!(turns(b"ab"), [b"ab".to_vec(), b"ac".to_vec()]);
        assert_eq!(turns(b"a\xff"), [b"a\xff".to_vec(), b"b".to_vec()]);
        assert_eq!(turns(b"\xff"), [b"\xff".to_vec()]);
        assert!(Set::prefix(Vec::new()).is_all());
    }
}
