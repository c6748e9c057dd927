//! How much memory does this node take, for what, and how much may it?
//!
//! What replicas hold is asked of them; nothing is measured from outside, so it can be told apart, and is known before
//! the allocator has given it back. A test compares the sum with what the kernel says.

mod limit;

use std::sync::atomic::Ordering;

use longbow_storage::Memory;
use longbow_wire::internal::{MemoryPart, ShardMemory};

use crate::state::State;

pub(crate) use limit::limit;

/// Bytes that a shard takes whatever it holds: its threads and their heaps, connections and their windows, the catalogue,
/// metrics. Measured: some 5 MiB before anything was written, some 16 MiB after a load.
pub(crate) const PROCESS_BYTES: u64 = 16 << 20;

/// What a node takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Account {
    /// All replicas.
    pub(crate) replicas: Memory,
    /// Messages of the log on their way into replicas.
    pub(crate) in_flight: u64,
    /// Chunks that are merged and not installed yet.
    pub(crate) merging: u64,
}

impl Account {
    /// What this node takes beside its replicas, which are to be added.
    pub(crate) fn begin(state: &State) -> Self {
        Self {
            replicas: Memory::default(),
            in_flight: state.in_flight.load(Ordering::Relaxed),
            merging: state.merging.load(Ordering::Relaxed),
        }
    }

    /// What this node takes now.
    pub(crate) fn of(state: &State) -> Self {
        let mut account = Self::begin(state);
        for partition in state.partitions().values() {
            account.replicas += partition.reader.memory();
        }
        account
    }

    /// Each part, with its name.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let others = [
            ("in_flight", self.in_flight),
            ("merging", self.merging),
            ("process", PROCESS_BYTES),
        ];
        self.replicas.named().into_iter().chain(others)
    }

    /// All of it.
    pub(crate) fn total(&self) -> u64 {
        self.named().map(|(_, bytes)| bytes).sum()
    }

    /// As a message.
    pub(crate) fn to_proto(self, budget: u64) -> ShardMemory {
        let part = |(name, bytes): (&str, u64)| MemoryPart {
            name: name.to_owned(),
            bytes,
        };
        ShardMemory {
            budget_bytes: budget,
            parts: self.named().map(part).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::{Key, Partition};
    use crate::state::tests::{schema, upsert_body};
    use longbow_storage::{Options, Replica, WriteKind};
    use longbow_types::DatasetId;

    #[test]
    fn all_that_is_held_is_told_apart() {
        let state = State::new("s1".parse().unwrap());
        assert_eq!(Account::of(&state).total(), PROCESS_BYTES);
        let key = Key {
            dataset: DatasetId(3),
            ordinal: 0,
        };
        let mut replica = Replica::new(schema(), &Options::default(), 3);
        let ids: Vec<u64> = (0..1_000).collect();
        replica
            .apply(4, WriteKind::Upsert, &upsert_body(&ids), 1_000)
            .unwrap();
        replica.publish();
        let partition = Partition::new(key, "d".into(), replica.reader().clone());
        state.change_partitions(|all| drop(all.insert(key, partition.into())));
        state.in_flight.store(77, Ordering::Relaxed);
        let account = Account::of(&state);
        for (name, bytes) in account.named() {
            // Nothing was coded, searched or merged.
            let is_there = !matches!(name, "codes" | "caches" | "merging");
            assert_eq!(bytes > 0, is_there, "{name}: {bytes}");
        }
        // Two elements padded to a line, and two columns of eight bytes.
        assert!(account.replicas.vectors >= 64 * 1_000 && account.replicas.columns >= 16 * 1_000);
        let told = account.to_proto(1 << 30);
        assert_eq!(
            told.parts.iter().map(|part| part.bytes).sum::<u64>(),
            account.total()
        );
    }
}
