//! When is the time of a row over? By an instant of its own, or by its age.
//!
//! Both are told by log time alone, which moves at ticks, so that every replica comes to the same at the same entry.
//!
//! An instant of a row's own stands in one of its columns. Those of all rows are kept in a heap, the earliest first, so
//! that a tick costs what goes by it, whatever else there is.
//!
//! The age of a row begins with the first tick behind it. Rows are in the order of the log, so those that are too old are
//! the first ones, up to some entry, and of all ages together it is enough to know a few [`Stamp`]s: when which part of
//! the log had been written. There are about as many as [`STEPS`], however long rows live and however many they are: a
//! row's age may begin late by that part of its life, and never early. Rows that were there before ages counted are as
//! old as if they had been written then.
//!
//! Stamps follow from the log alone, and snapshots hold them. The heap follows from the rows.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::Int64Type;
use arrow_schema::{DataType, TimeUnit};
use longbow_types::{Error, ErrorCode, Result};

use crate::located::Located;
use crate::tenants::Key;

/// A row's age may begin late by its life, divided by this.
const STEPS: u64 = 1_024;
/// Most stamps. More than there can be while the length of lives stays what it is.
pub(crate) const STAMPS_MAX: usize = 4_096;
/// So many rows in the heap are not worth a look at which of them are dead.
const HEAP_MIN: usize = 1_024;

/// Rows of entries before this one, and behind the stamp before, had been written at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Index of the tick.
    pub(crate) before: u64,
    /// Log time of the tick.
    pub(crate) time_ms: u64,
}

/// The ages of all rows, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ages(pub(crate) VecDeque<Stamp>);

impl FromIterator<Stamp> for Ages {
    fn from_iter<I: IntoIterator<Item = Stamp>>(stamps: I) -> Self {
        Self(stamps.into_iter().collect())
    }
}

impl Ages {
    /// What becomes of them at a tick, given the last entry that touched the rows: rows of entries before the index
    /// returned, if any, are too old, but for those that have an instant of their own.
    pub(crate) fn tick(&mut self, tick: Stamp, touched: u64, ttl: Duration) -> Option<u64> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let is_due = |last: &Stamp| {
            touched > last.before && tick.time_ms >= last.time_ms.saturating_add(ttl_ms / STEPS)
        };
        let is_full = self.0.len() >= STAMPS_MAX;
        match self.0.back_mut() {
            Some(last) if !is_due(last) => {}
            // The rows of both live a little longer.
            Some(last) if is_full => *last = tick,
            _ => self.0.push_back(tick),
        }
        let mut over = None;
        while let Some(first) = self.0.front()
            && first.time_ms.saturating_add(ttl_ms) <= tick.time_ms
        {
            over = Some(first.before);
            self.0.pop_front();
        }
        over
    }
}

/// Rows with instants of their own.
#[derive(Debug, Default)]
pub(crate) struct Instants(BinaryHeap<Reverse<(i64, Key)>>);

impl Instants {
    /// A row was written.
    pub(crate) fn add(&mut self, instant_ms: i64, key: Key) {
        self.0.push(Reverse((instant_ms, key)));
    }

    /// Takes out the rows whose instant has come.
    pub(crate) fn come(&mut self, now_ms: u64) -> Vec<Key> {
        let now = i64::try_from(now_ms).unwrap_or(i64::MAX);
        let mut come = Vec::new();
        while let Some(&Reverse((instant, key))) = self.0.peek()
            && instant <= now
        {
            come.push(key);
            self.0.pop();
        }
        come
    }

    /// Lets go of rows that are dead, if they may be more than those that live: in all, O(log rows) for each row written.
    pub(crate) fn thin(&mut self, live_rows: usize, located: Located<'_>) {
        if self.0.len() > HEAP_MIN.max(2 * live_rows) {
            self.0.retain(|Reverse((_, key))| located.live(*key).is_some());
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The instants that a column of timestamps holds, in milliseconds since the Unix epoch. What lies between two of them
/// comes with the later one.
pub(crate) fn instants(column: &dyn Array) -> Result<impl Iterator<Item = Option<i64>>> {
    let DataType::Timestamp(unit, _) = column.data_type() else {
        let message = format!("{} is not a column of timestamps", column.data_type());
        return Err(Error::new(ErrorCode::Internal, message));
    };
    let to_ms = match unit {
        TimeUnit::Second => |value: i64| value.saturating_mul(1_000),
        TimeUnit::Millisecond => |value: i64| value,
        TimeUnit::Microsecond => |value: i64| ceiling(value, 1_000),
        TimeUnit::Nanosecond => |value: i64| ceiling(value, 1_000_000),
    };
    let values = cast(column, &DataType::Int64)
        .map_err(|error| Error::new(ErrorCode::Internal, format!("a column of timestamps: {error}")))?;
    let values = values.as_primitive::<Int64Type>().clone();
    Ok((0..values.len()).map(move |row| values.is_valid(row).then(|| to_ms(values.value(row)))))
}

fn ceiling(value: i64, by: i64) -> i64 {
    value.div_euclid(by) + i64::from(value.rem_euclid(by) > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{TimestampMicrosecondArray, TimestampNanosecondArray, TimestampSecondArray};

    fn stamp(before: u64, time_ms: u64) -> Stamp {
        Stamp { before, time_ms }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_row_lives_so_long_after_the_first_tick_behind_it() {
        let mut ages = Ages::default();
        assert_eq!(ages.tick(stamp(10, 5_000), 9, SECOND), None);
        assert_eq!(ages.tick(stamp(20, 5_600), 15, SECOND), None);
        assert_eq!(ages.tick(stamp(30, 5_999), 15, SECOND), None);
        assert_eq!(ages.0.len(), 2, "nothing was written before the last tick");
        assert_eq!(ages.tick(stamp(40, 6_000), 15, SECOND), Some(10));
        assert_eq!(ages.tick(stamp(50, 6_599), 15, SECOND), None);
        assert_eq!(ages.tick(stamp(60, 6_600), 55, SECOND), Some(20));
        // All at once, where log time leaps.
        assert_eq!(ages.tick(stamp(70, 60_000), 65, SECOND), Some(60));
        assert_eq!(ages.0, [stamp(70, 60_000)]);
    }

    #[test]
    fn stamps_are_few_however_long_rows_live() {
        let (mut ages, year) = (Ages::default(), 365 * 24 * 3_600_000);
        let ttl = Duration::from_millis(year);
        for tick in 1..100_000 {
            let now = tick * year / 20_000;
            let over = ages.tick(stamp(2 * tick, now), 2 * tick - 1, ttl);
            assert!(ages.0.len() <= STEPS as usize + 2, "{}", ages.0.len());
            // Written at every tick; none goes early, nor later than it may.
            if let Some(over) = over {
                let newest = (over - 1) / 2 * year / 20_000;
                assert!(newest + year <= now, "{over} at {now}");
            }
            let oldest = ages.0[0].before / 2 * year / 20_000;
            assert!(oldest + year + year / 500 > now);
        }
        // Lives that become longer and longer leave what there was.
        let mut ages = Ages::default();
        for tick in 1..20_000_u64 {
            let ttl = Duration::from_millis(tick * tick);
            ages.tick(stamp(2 * tick, tick * 10), 2 * tick - 1, ttl);
            assert!(ages.0.len() <= STAMPS_MAX);
        }
    }

    #[test]
    fn instants_are_told_in_milliseconds_and_never_early() {
        let of = |column: &dyn Array| instants(column).unwrap().collect::<Vec<_>>();
        let seconds = TimestampSecondArray::from(vec![Some(2), None, Some(i64::MAX), Some(-1)]);
        assert_eq!(of(&seconds), [Some(2_000), None, Some(i64::MAX), Some(-1_000)]);
        let micros = TimestampMicrosecondArray::from(vec![1_000, 1_001, -1_001, -999]).with_timezone("UTC");
        assert_eq!(of(&micros), [Some(1), Some(2), Some(-1), Some(0)]);
        let nanos = TimestampNanosecondArray::from(vec![1_000_000, 1_000_001]);
        assert_eq!(of(&nanos), [Some(1), Some(2)]);
        assert!(instants(&arrow::array::Int64Array::from(vec![1])).is_err());
    }

    #[test]
    fn the_earliest_come_first() {
        let mut rows = Instants::default();
        for (instant, key) in [(30, 1), (10, 2), (20, 3), (-5, 4)] {
            rows.add(instant, key);
        }
        assert_eq!(rows.come(9), [4]);
        assert_eq!(rows.come(20), [2, 3]);
        assert_eq!((rows.come(29), rows.len()), (vec![], 1));
    }
}
