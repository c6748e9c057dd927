//! Does the simulation notice when a guard is gone? Each is taken away in turn, and some run must fail.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::Rng;

use super::{World, run_without};

/// What keeps a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// What was reported as durable outlives a power cut.
    Sync,
    /// A vote and a term outlive a power cut.
    HardState,
    /// An answer waits until a quorum has the entry.
    Quorum,
    /// A read waits until the leader knows that it still leads.
    ReadIndex,
}

impl World {
    fn lacks(&self, guard: Guard) -> bool {
        self.broken == Some(guard)
    }

    /// What a disk loses at a crash that lied about its syncs.
    pub(super) fn lose_what_was_not_synced(&mut self, id: u64) {
        let mut disk = self.members[&id].disk.lock().unwrap();
        if self.lacks(Guard::Sync) {
            let kept = self.random.random_range(0..=disk.entries.len());
            disk.entries.truncate(kept);
        }
        if self.lacks(Guard::HardState) {
            disk.hard_state.vote = 0;
            disk.hard_state.term = disk.hard_state.term.saturating_sub(1);
        }
    }

    /// Whoever does not wait for a quorum takes what the leader holds for done.
    pub(super) fn acknowledge_early(&mut self, leader: u64) {
        if self.lacks(Guard::Quorum) {
            let last = self.members[&leader].core.last_index();
            self.acknowledged = self.acknowledged.max(last);
        }
    }

    /// Whoever takes every leader for the one that leads reads what it has.
    pub(super) fn read_unasked(&self) {
        let leaders = self.members.values().filter(|member| member.core.is_leader());
        for leader in leaders.filter(|_| self.lacks(Guard::ReadIndex)) {
            assert!(leader.core.commit_index() >= self.acknowledged, "a stale read");
        }
    }
}

fn is_caught_without(guard: Guard) {
    const SEEDS: u64 = 200;
    let caught = (0..SEEDS).find(|&seed| {
        let run = AssertUnwindSafe(|| run_without(Some(guard), seed, 6_000));
        catch_unwind(run).is_err()
    });
    let seed = caught.unwrap_or_else(|| panic!("{SEEDS} runs without {guard:?} went well"));
    eprintln!("without {guard:?}, seed {seed} fails");
}

#[test]
fn a_disk_that_lies_is_caught() {
    is_caught_without(Guard::Sync);
}

#[test]
fn a_vote_that_is_forgotten_is_caught() {
    is_caught_without(Guard::HardState);
}

#[test]
fn an_answer_before_the_quorum_is_caught() {
    is_caught_without(Guard::Quorum);
}

#[test]
fn a_read_of_a_leader_that_was_replaced_is_caught() {
    is_caught_without(Guard::ReadIndex);
}
