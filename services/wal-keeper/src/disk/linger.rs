//! Should a flush wait for more to share its sync?
//!
//! Not while few write: each waits for its own answer, and nothing else comes. With many writers, on a disk that syncs faster
//! than the CPU takes entries in, each sync would serve a handful and cost as much as all of them; there it is worth to
//! wait for those whose entries the last flush had: they were answered just now, and write again.

use std::time::Duration;

/// A flush of so many records waits for no more: an entry is one, and often has a hard state with it.
const RECORDS_ENOUGH: usize = 128;
const BYTES_ENOUGH: usize = 1 << 20;
/// In the last flush and during it: fewer mean that few write.
const RECORDS_BUSY: usize = 16;
/// Longest time that a flush waits, and longest pause between records in it.
pub(super) const WAIT_MAX: Duration = Duration::from_millis(8);
pub(super) const GAP_MAX: Duration = Duration::from_millis(2);

/// What has been flushed, as far as it matters.
#[derive(Debug, Default)]
pub(super) struct Linger {
    last_records: usize,
    /// What was staged when the last flush ended. Whatever came later may be of those that it had.
    came_meanwhile: usize,
}

impl Linger {
    /// How many records a flush of so much should wait for; none if it should not.
    pub fn awaited(&self, records: usize, bytes: usize) -> Option<usize> {
        let all = self.last_records + self.came_meanwhile;
        let waits = all >= RECORDS_BUSY && records < all && !is_enough(records, bytes);
        waits.then_some(all.min(RECORDS_ENOUGH))
    }

    /// A flush of so many records begins.
    pub fn flushes(&mut self, records: usize) {
        self.last_records = records;
        self.came_meanwhile = 0;
    }

    /// A flush has ended, during which so many records came.
    pub fn flushed(&mut self, came_meanwhile: usize) {
        self.came_meanwhile = came_meanwhile;
    }
}

/// Whether a flush of so much is large enough to be worth its sync.
pub(super) fn is_enough(records: usize, bytes: usize) -> bool {
    records >= RECORDS_ENOUGH || bytes >= BYTES_ENOUGH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_small_flushes_of_many_writers_wait_and_for_no_more_than_there_are() {
        let mut linger = Linger::default();
        let awaited = |linger: &Linger, records| linger.awaited(records, 100 * records);
        assert_eq!(awaited(&linger, 1), None, "one writer");
        linger.flushes(1);
        linger.flushed(7);
        assert_eq!(awaited(&linger, 7), None, "a few");
        // Writers of two flushes in turn become those of one,
        linger.flushes(20);
        linger.flushed(11);
        assert_eq!((awaited(&linger, 11), awaited(&linger, 31)), (Some(31), None));
        // and then they are those who are waited for.
        linger.flushes(31);
        linger.flushed(0);
        assert_eq!((awaited(&linger, 1), awaited(&linger, 31)), (Some(31), None));
        linger.flushes(100);
        linger.flushed(90);
        assert_eq!((awaited(&linger, 127), awaited(&linger, 128)), (Some(128), None));
        assert_eq!(linger.awaited(40, BYTES_ENOUGH), None, "large ones");
        // The writers have gone: one flush waits in vain, not the next.
        linger.flushes(1);
        linger.flushed(0);
        assert_eq!(awaited(&linger, 1), None);
    }
}
