//! Is more applied before what dead rows hold is given back? Not while that would take more memory than this node may.
//!
//! What is logged is applied, whatever the budget. But a log that is replayed comes faster than it once was written, and
//! rows that are replaced again and again leave dead ones behind faster than the builders and the compactor take them
//! away: so the tail gives these some time.

use std::time::Duration;

use longbow_storage::View;
use tokio::time::{Instant, sleep};

use crate::memory::Account;
use crate::partition::Partition;
use crate::state::State;

/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a message waits at most.
const WAIT_MAX: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);
/// One in so many rows that is dead is taken away without more to come.
const DEAD_SHARE: usize = 3;
/// The same of slots.
const GONE_SHARE: usize = 16;

/// When memory was looked at last.
pub(super) struct Breath {
    next_look: Instant,
}

impl Breath {
    pub(super) fn new() -> Self {
        Self {
            next_look: Instant::now(),
        }
    }

    /// Waits while this node takes more than it may and could give some of it back; for a moment, not for ever.
    pub(super) async fn take(&mut self, state: &State) {
        let now = Instant::now();
        if now < self.next_look {
            return;
        }
        while now.elapsed() < WAIT_MAX && is_over(state) && may_shrink(state) {
            state.builders.wake();
            state.compactor.notify_one();
            sleep(PAUSE).await;
        }
        self.next_look = Instant::now() + LOOK_EVERY;
    }
}

fn is_over(state: &State) -> bool {
    Account::of(state).total() > state.memory_budget
}

fn may_shrink(state: &State) -> bool {
    state.partitions().values().any(|partition| has_dead(partition))
}

/// Whether a replica holds so much of dead rows that it is about to be taken away.
fn has_dead(partition: &Partition) -> bool {
    let view = partition.reader.view();
    let (live, stored) = (view.rows(), view.rows_stored());
    let is_worth = |dead: usize, all: usize, share: usize| dead > 0 && dead * share >= all;
    is_worth(stored - live, stored, DEAD_SHARE) || is_worth(gone(partition, &view), live, GONE_SHARE)
}

/// Slots that hold nothing and are not free yet.
fn gone(partition: &Partition, view: &View) -> usize {
    let held = view.rows() + partition.reader.free();
    (view.slots() as usize).saturating_sub(held)
}
