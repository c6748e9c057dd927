//! Which lists of a column hold some items? Items are looked at flat, as the one array that they are.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::buffer::BooleanBuffer;
use arrow_schema::DataType;
use longbow_types::Result;

use super::evaluate::{other_type, probe_values};
use super::key::Key;
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
    use DataType as T;
    let lists = Lists::new(array)?;
    let items = &lists.items;
    Ok(match items.data_type() {
        T::Utf8 => {
            let values = items.as_string::<i32>();
            holding_all(&lists, wanted.len(), |at| {
                let value = values.value(at).as_bytes();
                wanted
                    .bytes
                    .binary_search_by(|item| item.as_slice().cmp(value))
                    .ok()
            })
        }
        _ => return Err(other_type(array)),
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

/// Rows that are one of some lists of text, which ascend; bits of null rows mean nothing.
pub(super) fn equal(array: &ArrayRef, members: &[Vec<Key>]) -> Result<BooleanBuffer> {
    let lists = Lists::new(array)?;
    let texts = lists
        .items
        .as_string_opt::<i32>()
        .ok_or_else(|| other_type(array))?;
    Ok(lists.rows(|items| {
        if items.clone().any(|at| texts.is_null(at)) {
            return false;
        }
        let order = |member: &Vec<Key>| -> Ordering {
            let have = items.clone().map(|at| texts.value(at).as_bytes());
            member.iter().map(text_of).cmp(have)
        };
        members.binary_search_by(order).is_ok()
    }))
}

/// The bytes of an item of a list of text.
fn text_of(key: &Key) -> &[u8] {
    match key {
        Key::Bytes(bytes) => bytes,
        Key::Fixed(_) => &[],
    }
}
