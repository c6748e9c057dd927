//! Should a flush wait for more to share its sync?
//!
//! Not while few write: each waits for its own answer, and nothing else comes. With many writers, on a disk that syncs faster
//! than the CPU takes entries in, each sync would serve a handful and cost as much as all of them; there it is worth to
//! wait as long as entries keep coming.

use std::time::Duration;

/// A flush of so many records waits for no more: an entry is one, and often has a hard state with it.
const RECORDS_ENOUGH: usize = 128;
const BYTES_ENOUGH: usize = 1 << 20;
/// In the last flush and since: fewer mean that few write.
const RECORDS_BUSY: usize = 32;
/// Longest time that a flush waits, and longest pause between records in it.
const WAIT_MAX: Duration = Duration::from_millis(4);
pub(super) const GAP_MAX: Duration = Duration::from_micros(200);

/// What has been flushed, as far as it matters.
#[derive(Debug, Default)]
pub(super) struct Linger {
    last_records: usize,
}

impl Linger {
    /// Whether a flush of so much should wait for more, after it has waited so long.
    pub fn is_worth_it(&self, records: usize, bytes: usize, waited: Duration) -> bool {
        let is_busy = self.last_records + records >= RECORDS_BUSY;
        is_busy && !is_enough(records, bytes) && waited < WAIT_MAX
    }

    /// A flush of so many records begins.
    pub fn flushes(&mut self, records: usize) {
        self.last_records = records;
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
    fn only_small_flushes_of_many_writers_wait_and_not_for_long() {
        let mut linger = Linger::default();
        let worth = |linger: &Linger, records| linger.is_worth_it(records, 100 * records, Duration::ZERO);
        assert!(!worth(&linger, 1), "one writer");
        linger.flushes(1);
        assert!(!worth(&linger, 7), "a few");
        linger.flushes(20);
        assert!(!worth(&linger, 11) && worth(&linger, 12));
        linger.flushes(128);
        assert!(worth(&linger, 1) && worth(&linger, 127) && !worth(&linger, 128));
        assert!(
            !linger.is_worth_it(40, BYTES_ENOUGH, Duration::ZERO),
            "large ones"
        );
        assert!(!linger.is_worth_it(40, 4_000, WAIT_MAX));
        // The writers have gone: one flush waits in vain, not the next.
        linger.flushes(1);
        assert!(!worth(&linger, 1));
    }
}
