//! Timers of the core, in the order in which they are due.

use std::cmp::Ordering;

use longbow_cluster::membership::Timer;
use tokio::time::Instant;

/// A timer and when it is due; of two due at once the one set first comes first.
pub(super) struct Alarm {
    pub(super) at: Instant,
    pub(super) number: u64,
    pub(super) timer: Timer,
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Alarm {}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
