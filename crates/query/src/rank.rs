//! How do ranked answers become one?
//!
//! The order of an answer is (distance, id): the nearer row first, of equally near rows the one with the smaller id
//! (numbers by value, text by bytes). So the order of an answer does not depend on how the rows were partitioned.
//! A distance that is not a number ranks behind all that are; `-0.0` and `0.0` are equal.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use arrow::datatypes::Float32Type;
use longbow_types::{Error, ErrorCode, Result};

use crate::ids::Ids;

/// Name of the distance column of a ranked batch.
pub const DISTANCE_COLUMN: &str = "_distance";
/// Name of the row-version column of any answer.
pub const ROW_VERSION_COLUMN: &str = "_row_version";
/// Last column of the body of a conditional write: the version that the row must have which is there, 0 for none.
pub const IF_ROW_VERSION_COLUMN: &str = "_if_row_version";
/// In that column of an update: any row will do, of whatever version.
pub const ANY_ROW_VERSION: u64 = u64::MAX;

/// Orders two distances: smaller first, zeros equal, NaN last.
pub fn by_distance(a: f32, b: f32) -> Ordering {
    // The total order puts -0.0 before 0.0 and a negative NaN before everything.
    let key = |d: f32| if d.is_nan() { f32::NAN.abs() } else { d + 0.0 };
    key(a).total_cmp(&key(b))
}

/// A batch seen as a ranked list.
#[derive(Debug, Clone, Copy)]
pub struct Ranked<'a> {
    ids: Ids<'a>,
    distances: &'a [f32],
}

impl<'a> Ranked<'a> {
    /// Looks at a batch with an id column of that name and a `_distance` column.
    ///
    /// # Errors
    /// `MALFORMED_ARROW` if either is not there or of another type.
    pub fn new(batch: &'a RecordBatch, id_column: &str) -> Result<Self> {
        let missing = |name: &str| {
            Error::new(
                ErrorCode::MalformedArrow,
                format!("a ranked batch has no usable column {name:?}"),
            )
            .field(name.to_owned())
        };
        let ids = batch
            .column_by_name(id_column)
            .ok_or_else(|| missing(id_column))?;
        let distances = batch
            .column_by_name(DISTANCE_COLUMN)
            .and_then(|column| column.as_primitive_opt::<Float32Type>())
            .filter(|column| column.null_count() == 0)
            .ok_or_else(|| missing(DISTANCE_COLUMN))?;
        Ok(Self {
            ids: Ids::new(ids.as_ref()).map_err(|_| missing(id_column))?,
            distances: distances.values(),
        })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.distances.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.distances.is_empty()
    }

    /// Orders a row against a row of another list.
    pub fn compare(&self, row: usize, other: &Ranked<'_>, other_row: usize) -> Ordering {
        by_distance(self.distances[row], other.distances[other_row])
            .then_with(|| self.ids.compare(row, &other.ids, other_row))
    }
}

/// A row of one of several lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// Which list.
    pub list: usize,
    /// Which row of it.
    pub row: usize,
}

/// The head of one list, ordered so that the best is the greatest.
struct Head<'a> {
    pick: Pick,
    lists: &'a [Ranked<'a>],
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.pick, other.pick);
        self.lists[a.list]
            .compare(a.row, &other.lists[b.list], b.row)
            // Rows equal in distance and id, which partitions never hold, keep the order of the lists.
            .then_with(|| a.list.cmp(&b.list))
            .reverse()
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head<'_> {}

/// The best `k` rows of several lists, each sorted by (distance, id), best first. O(k · log lists).
pub fn merge(lists: &[Ranked<'_>], k: usize) -> Vec<Pick> {
    let head = |list: usize, row: usize| {
        (row < lists[list].len()).then_some(Head {
            pick: Pick { list, row },
            lists,
        })
    };
    let mut heads: BinaryHeap<Head<'_>> = (0..lists.len()).filter_map(|list| head(list, 0)).collect();
    let mut picks = Vec::with_capacity(k.min(lists.iter().map(Ranked::len).sum()));
    while picks.len() < k {
        let Some(best) = heads.pop() else { break };
        picks.push(best.pick);
        heads.extend(head(best.pick.list, best.pick.row + 1));
    }
    picks
}

/// The best `k` rows of several ranked batches of one schema, as one batch.
///
/// # Errors
/// `MALFORMED_ARROW` if a batch is not ranked or the schemas differ.
pub fn merge_batches(batches: &[RecordBatch], id_column: &str, k: usize) -> Result<Option<RecordBatch>> {
    let Some(first) = batches.first() else {
        return Ok(None);
    };
    let lists = batches
        .iter()
        .map(|batch| Ranked::new(batch, id_column))
        .collect::<Result<Vec<_>>>()?;
    if batches.len() == 1 {
        return Ok(Some(first.slice(0, k.min(first.num_rows()))));
    }
    if batches
        .iter()
        .any(|batch| batch.schema_ref().fields() != first.schema_ref().fields())
    {
        let message = "ranked batches of different schemas cannot be merged";
        return Err(Error::new(ErrorCode::MalformedArrow, message));
    }
    let picks: Vec<(usize, usize)> = merge(&lists, k)
        .iter()
        .map(|pick| (pick.list, pick.row))
        .collect();
    let batches: Vec<&RecordBatch> = batches.iter().collect();
    interleave_record_batch(&batches, &picks)
        .map(Some)
        .map_err(|error| Error::new(ErrorCode::MalformedArrow, error.to_string()))
}

/// Sorts a ranked batch by (distance, id).
///
/// # Errors
/// `MALFORMED_ARROW` if the batch is not ranked.
pub fn sort_batch(batch: &RecordBatch, id_column: &str) -> Result<RecordBatch> {
    let list = Ranked::new(batch, id_column)?;
    let rows =
        u32::try_from(list.len()).map_err(|_| Error::new(ErrorCode::TooLarge, "too many rows to rank"))?;
    let mut order: Vec<u32> = (0..rows).collect();
    if order.is_sorted_by(|&a, &b| list.compare(a as usize, &list, b as usize).is_le()) {
        return Ok(batch.clone());
    }
    order.sort_by(|&a, &b| list.compare(a as usize, &list, b as usize));
    take_record_batch(batch, &UInt32Array::from(order))
        .map_err(|error| Error::new(ErrorCode::MalformedArrow, error.to_string()))
}

/// What may be expected of an answer put together of several: the least recall among them. `None` if one is unknown.
pub fn least_recall(recalls: impl IntoIterator<Item = Option<f32>>) -> Option<f32> {
    recalls
        .into_iter()
        .try_fold(1.0, |least: f32, recall| Some(least.min(recall?)))
}
