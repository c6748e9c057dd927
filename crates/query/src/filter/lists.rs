//! Which lists of a column hold some items? Items are looked at flat, as the one array that they are.

use std::borrow::Cow;
use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes as t;
use arrow_schema::{DataType, TimeUnit};
use longbow_types::Result;

use super::evaluate::{other_type, probe_values};
use super::key::{Key, Keyed, of_wide};
use super::probe::{Items, Probe};

/// A list column, and the items that its rows hold.
struct Lists<'a> {
    lists: &'a ListArray,
    items: ArrayRef,
    /// Where `items` begins among all items that the column's memory holds.
    first: i32,
}

impl<'a> Lists<'a> {
    fn new(array: &'a ArrayRef) -> Result<Self> {
        let lists = array.as_list_opt::<i32>().ok_or_else(|| other_type(array))?;
        let offsets = lists.value_offsets();
        let (first, end) = (offsets[0], offsets[lists.len()]);
        let items = lists.values().slice(first as usize, (end - first) as usize);
        Ok(Self { lists, items, first })
    }

    /// One bit per row, from the positions of its items.
    fn rows(&self, test: impl FnMut(std::ops::Range<usize>) -> bool) -> BooleanBuffer {
        let offsets = self.lists.value_offsets();
        let mut test = test;
        BooleanBuffer::collect_bool(self.lists.len(), |row| {
            let at = |offset: i32| (offset - self.first) as usize;
            test(at(offsets[row])..at(offsets[row + 1]))
        })
    }
}

/// Rows with an item in the probe's set; bits of null rows mean nothing.
pub(super) fn any(array: &ArrayRef, probe: &Probe) -> Result<BooleanBuffer> {
    let lists = Lists::new(array)?;
    let bits = probe_values(&lists.items, probe)?;
    let bits = match lists.items.nulls() {
        None => bits,
        Some(valid) => &bits & valid.inner(),
    };
    Ok(lists.rows(|mut items| items.any(|at| bits.value(at))))
}

/// Rows with every one of some items; bits of null rows mean nothing.
pub(super) fn all(array: &ArrayRef, wanted: &Items) -> Result<BooleanBuffer> {
    let lists = Lists::new(array)?;
    if let Some(keys) = keys(&lists.items) {
        return Ok(holding_all(&lists, wanted.len(), |at| {
            wanted.fixed.binary_search(&keys[at]).ok()
        }));
    }
    let bytes = Bytes::new(&lists.items).ok_or_else(|| other_type(array))?;
    Ok(holding_all(&lists, wanted.len(), |at| {
        let value = bytes.value(at);
        wanted
            .bytes
            .binary_search_by(|item| item.as_slice().cmp(value))
            .ok()
    }))
}

/// Items whose keys are bytes.
struct Bytes<'a> {
    offsets: Cow<'a, [i32]>,
    values: Cow<'a, [u8]>,
}

impl<'a> Bytes<'a> {
    fn new(items: &'a ArrayRef) -> Option<Self> {
        let (offsets, values) = match items.data_type() {
            DataType::Utf8 => {
                let texts = items.as_string::<i32>();
                (texts.value_offsets().into(), texts.value_data().into())
            }
            DataType::Binary => {
                let bytes = items.as_binary::<i32>();
                (bytes.value_offsets().into(), bytes.value_data().into())
            }
            DataType::Decimal256(..) => wide(items.as_primitive::<t::Decimal256Type>().values()),
            _ => return None,
        };
        Some(Self { offsets, values })
    }

    fn value(&self, at: usize) -> &[u8] {
        &self.values[self.offsets[at] as usize..self.offsets[at + 1] as usize]
    }
}

/// Keys one after the other, and where each begins. A column's items are far fewer than 2^26.
fn wide<'a>(values: &[t::i256]) -> (Cow<'a, [i32]>, Cow<'a, [u8]>) {
    let keys: Vec<u8> = values.iter().flat_map(|&units| of_wide(units)).collect();
    let offsets: Vec<i32> = (0..=values.len()).map(|at| at as i32 * 32).collect();
    (offsets.into(), keys.into())
}

/// The keys of items of a fixed width, those of nulls too, which mean nothing; none of other items.
fn keys(items: &ArrayRef) -> Option<Vec<i128>> {
    use DataType as T;
    use TimeUnit as U;
    fn of<N: Keyed>(values: &[N]) -> Vec<i128> {
        values.iter().map(|value| value.key().into()).collect()
    }
    macro_rules! primitive {
        ($type:ty) => {
            of(items.as_primitive::<$type>().values())
        };
    }
    Some(match items.data_type() {
        T::Boolean => items.as_boolean().values().iter().map(i128::from).collect(),
        T::Int8 => primitive!(t::Int8Type),
        T::Int16 => primitive!(t::Int16Type),
        T::Int32 => primitive!(t::Int32Type),
        T::Int64 => primitive!(t::Int64Type),
        T::UInt8 => primitive!(t::UInt8Type),
        T::UInt16 => primitive!(t::UInt16Type),
        T::UInt32 => primitive!(t::UInt32Type),
        T::UInt64 => primitive!(t::UInt64Type),
        T::Decimal128(..) => primitive!(t::Decimal128Type),
        T::Float16 => primitive!(t::Float16Type),
        T::Float32 => primitive!(t::Float32Type),
        T::Float64 => primitive!(t::Float64Type),
        T::Date32 => primitive!(t::Date32Type),
        T::Date64 => primitive!(t::Date64Type),
        T::Time32(U::Second) => primitive!(t::Time32SecondType),
        T::Time32(U::Millisecond) => primitive!(t::Time32MillisecondType),
        T::Time64(U::Microsecond) => primitive!(t::Time64MicrosecondType),
        T::Time64(U::Nanosecond) => primitive!(t::Time64NanosecondType),
        T::Timestamp(U::Second, _) => primitive!(t::TimestampSecondType),
        T::Timestamp(U::Millisecond, _) => primitive!(t::TimestampMillisecondType),
        T::Timestamp(U::Microsecond, _) => primitive!(t::TimestampMicrosecondType),
        T::Timestamp(U::Nanosecond, _) => primitive!(t::TimestampNanosecondType),
        T::Duration(U::Second) => primitive!(t::DurationSecondType),
        T::Duration(U::Millisecond) => primitive!(t::DurationMillisecondType),
        T::Duration(U::Microsecond) => primitive!(t::DurationMicrosecondType),
        T::Duration(U::Nanosecond) => primitive!(t::DurationNanosecondType),
        _ => return None,
    })
}

/// `number` tells which of the wanted items stands at a position.
fn holding_all(lists: &Lists<'_>, wanted: usize, number: impl Fn(usize) -> Option<usize>) -> BooleanBuffer {
    // The row in which an item was last seen, counted from 1.
    let mut seen = vec![0_usize; wanted];
    let mut row = 0;
    lists.rows(|items| {
        row += 1;
        if items.len() < wanted {
            return false;
        }
        let found = items
            .filter(|&at| lists.items.is_valid(at))
            .filter_map(&number)
            .filter(|&number| std::mem::replace(&mut seen[number], row) != row)
            .count();
        found == wanted
    })
}

/// Rows that are one of some lists, which ascend; bits of null rows mean nothing.
pub(super) fn equal(array: &ArrayRef, members: &[Vec<Key>]) -> Result<BooleanBuffer> {
    let lists = Lists::new(array)?;
    let has_null = |mut items: std::ops::Range<usize>| items.any(|at| lists.items.is_null(at));
    if let Some(keys) = keys(&lists.items) {
        return Ok(lists.rows(|items| {
            let order = |member: &Vec<Key>| {
                member
                    .iter()
                    .map(fixed_of)
                    .cmp(keys[items.clone()].iter().copied())
            };
            !has_null(items.clone()) && members.binary_search_by(order).is_ok()
        }));
    }
    let bytes = Bytes::new(&lists.items).ok_or_else(|| other_type(array))?;
    Ok(lists.rows(|items| {
        let order = |member: &Vec<Key>| -> Ordering {
            let have = items.clone().map(|at| bytes.value(at));
            member.iter().map(bytes_of).cmp(have)
        };
        !has_null(items.clone()) && members.binary_search_by(order).is_ok()
    }))
}

/// The bytes of an item of a list of text or bytes.
fn bytes_of(key: &Key) -> &[u8] {
    match key {
        Key::Bytes(bytes) => bytes,
        Key::Fixed(_) => &[],
    }
}

/// The key of an item of another list.
fn fixed_of(key: &Key) -> i128 {
    match key {
        Key::Fixed(key) => *key,
        Key::Bytes(_) => i128::MIN,
    }
}
