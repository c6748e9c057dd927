//! What every node knows about datasets, and what the log's commands do to it.
//!
//! One pure state machine, applied by keepers and by shards to the same entries: verdicts are equal everywhere.
//! A refused entry changes nothing but the memory of its own answer.

mod alter_dataset;
mod begin_incarnation;
mod create_dataset;
mod drop_dataset;
mod open_producer;
mod producers;
mod proto;
mod register_shard;
#[cfg(test)]
mod tests;
mod tick;
mod verdict;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use longbow_types::{DatasetId, ErrorCode, NodeId};
use longbow_wire::internal::{EntryHeader, Verdict, entry_header::Command};

pub use alter_dataset::conflict;
pub use begin_incarnation::incarnation_of;
pub use producers::{ANSWERS_MAX, PRODUCERS_MAX};
pub use verdict::{error_of, is_accepted, verdict_of};
pub use write::FILTER_SEMANTICS;

use producers::{Known, Producers};

/// One dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Identity: the index of the entry that created it.
    pub id: DatasetId,
    /// Name, unique among the datasets there are.
    pub name: String,
    /// Version of the schema, starting at 1.
    pub schema_version: u32,
    /// Encoded `longbow.v1.Schema`; opaque here.
    pub schema: Bytes,
    /// Shards that hold each partition, by ordinal.
    pub partitions: Vec<Vec<NodeId>>,
    /// Whether its rows go by themselves: the schema tells when.
    pub rows_expire: bool,
}

/// What became of one entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The answer. For a retry: the first one.
    pub verdict: Verdict,
    /// Index of the entry that was judged: this entry's own or, for a retry, that of the first one.
    pub index: u64,
    /// The entry repeats one that was already judged. It must have no effect.
    pub duplicate: bool,
}

impl Applied {
    /// Whether the entry does what it says. Shards write the rows of no other entry.
    pub fn takes_effect(&self) -> bool {
        !self.duplicate && is_accepted(&self.verdict)
    }
}

/// The replicated catalogue at one index of the log.
///
/// Cloning is cheap in datasets (shared), linear in their number and in the remembered answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalogue {
    applied_index: u64,
    /// Which log this is; 0 until an entry has told.
    log_id: u64,
    /// Lives of the log after the first: the index of the entry that began each.
    incarnations: BTreeMap<u32, u64>,
    /// As of the last tick.
    log_time_ms: u64,
    map_epoch: u64,
    datasets: BTreeMap<DatasetId, Arc<Dataset>>,
    by_name: BTreeMap<String, DatasetId>,
    shards: BTreeSet<NodeId>,
    producers: Producers,
}

impl Default for Catalogue {
    fn default() -> Self {
        Self::new()
    }
}

impl Catalogue {
    /// The catalogue before the first entry.
    pub fn new() -> Self {
        Self {
            applied_index: 0,
            log_id: 0,
            incarnations: BTreeMap::new(),
            log_time_ms: 0,
            map_epoch: 1,
            datasets: BTreeMap::new(),
            by_name: BTreeMap::new(),
            shards: BTreeSet::new(),
            producers: Producers::default(),
        }
    }

    /// Judges the entry at `index` and, if it is accepted, does what it says.
    ///
    /// Entries are applied in order, each once; raft's own entries too (with a default header).
    pub fn apply(&mut self, index: u64, header: &EntryHeader) -> Applied {
        if index <= self.applied_index {
            let message = format!("entry {index} after entry {} was applied", self.applied_index);
            return Applied::first(index, verdict_of(ErrorCode::Internal, message, ""));
        }
        self.applied_index = index;
        match self.producers.check(header.producer, header.sequence) {
            Known::New => {
                let verdict = self.judge(index, header);
                self.producers
                    .remember(header.producer, header.sequence, index, &verdict);
                Applied::first(index, verdict)
            }
            Known::Answered { index, verdict } => Applied {
                verdict,
                index,
                duplicate: true,
            },
            Known::Refused(verdict) => Applied::first(index, verdict),
        }
    }

    /// Passes over the entry at `index`, whose header cannot be read: it changes nothing, and is refused.
    pub fn refuse_unreadable(&mut self, index: u64) -> Applied {
        self.applied_index = self.applied_index.max(index);
        let message = "the entry's header cannot be read";
        Applied::first(index, verdict_of(ErrorCode::Unsupported, message, "header"))
    }

    fn judge(&mut self, index: u64, header: &EntryHeader) -> Verdict {
        let judged = match &header.command {
            Some(Command::Write(command)) => self.apply_write(command),
            Some(Command::CreateDataset(command)) => self.apply_create_dataset(index, command),
            Some(Command::AlterDataset(command)) => self.apply_alter_dataset(command),
            Some(Command::DropDataset(command)) => self.apply_drop_dataset(command),
            Some(Command::RegisterShard(command)) => self.apply_register_shard(command),
            Some(Command::OpenProducer(_)) => self.apply_open_producer(index),
            Some(Command::Tick(command)) => self.apply_tick(command),
            Some(Command::BeginIncarnation(command)) => self.apply_begin_incarnation(index, command),
            // Raft's own entries have no header at all.
            None if *header == EntryHeader::default() => Ok(()),
            None => Err(verdict_of(
                ErrorCode::Unsupported,
                "the command is not known to this version",
                "command",
            )),
        };
        judged.err().unwrap_or_default()
    }

    /// Index of the last entry applied; 0 before the first.
    pub fn applied_index(&self) -> u64 {
        self.applied_index
    }

    /// Which log this is the state of; 0 until a shard has registered. No two logs have the same.
    pub fn log_id(&self) -> u64 {
        self.log_id
    }

    /// Raised whenever the replicas of an existing partition change. Starts at 1.
    pub fn map_epoch(&self) -> u64 {
        self.map_epoch
    }

    /// A dataset by identity.
    pub fn dataset(&self, id: DatasetId) -> Option<&Arc<Dataset>> {
        self.datasets.get(&id)
    }

    /// A dataset by name.
    pub fn dataset_by_name(&self, name: &str) -> Option<&Arc<Dataset>> {
        self.by_name.get(name).and_then(|id| self.datasets.get(id))
    }

    /// All datasets, by name.
    pub fn datasets(&self) -> impl Iterator<Item = &Arc<Dataset>> {
        self.by_name.values().filter_map(|id| self.datasets.get(id))
    }

    /// Registered shards.
    pub fn shards(&self) -> &BTreeSet<NodeId> {
        &self.shards
    }

    /// Replicas that a shard holds: dataset and ordinal of the partition.
    pub fn replicas_on(&self, node: &NodeId) -> impl Iterator<Item = (DatasetId, u32)> {
        self.datasets.values().flat_map(move |dataset| {
            let ordinals = (0u32..).zip(&dataset.partitions);
            ordinals
                .filter(move |(_, replicas)| replicas.contains(node))
                .map(move |(ordinal, _)| (dataset.id, ordinal))
        })
    }

    /// Replicas on each registered shard: the load that placement balances.
    pub fn load(&self) -> BTreeMap<NodeId, u64> {
        let mut load: BTreeMap<NodeId, u64> = self.shards.iter().map(|node| (node.clone(), 0)).collect();
        for node in self.datasets.values().flat_map(|d| d.partitions.iter().flatten()) {
            *load.entry(node.clone()).or_default() += 1;
        }
        load
    }

    /// Whether a producer is open.
    pub fn has_producer(&self, producer: u64) -> bool {
        self.producers.contains(producer)
    }

    /// The remembered answer to `(producer, sequence)`, if it was given.
    pub fn answer(&self, producer: u64, sequence: u64) -> Option<Applied> {
        match self.producers.check(producer, sequence) {
            Known::Answered { index, verdict } => Some(Applied {
                verdict,
                index,
                duplicate: true,
            }),
            _ => None,
        }
    }
}

impl Applied {
    fn first(index: u64, verdict: Verdict) -> Self {
        Self {
            verdict,
            index,
            duplicate: false,
        }
    }
}
