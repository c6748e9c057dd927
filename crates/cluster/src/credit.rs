//! How many bytes of rows may still be logged for a shard that has not applied them? Plain data in, a verdict out.
//!
//! A shard tells what its memory has room for, as of one index; what is logged behind it is charged here until the shard
//! tells of a later index. Rows are refused before they are logged when a shard that must apply them could not hold them:
//! what is logged is always applied.
//!
//! Wished for, each with a test:
//! - What is logged for a shard and not applied there never needs more memory than it told to be free.
//! - Every report counts what was logged before it once: in the shard's memory or among what is charged, never in neither.
//! - A shard that is silent holds nobody up for whom another tells, and is not given more than so many bytes where no other does.
//! - A shard of a version that tells nothing of this is not held to it.
//! - What frees memory is let in when rows are not, up to a reserve.
//! - What is kept here is bounded, whatever is logged: charges are added up, and then stay longer, never shorter.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use longbow_types::{DatasetId, Error, ErrorCode, NodeId};
use longbow_wire::internal::{ShardCredit, WriteCommand, WriteKind};

use crate::catalogue::Catalogue;

#[cfg(test)]
mod tests;

/// A shard that has not told anything for so long is silent.
pub const SILENT_AFTER: Duration = Duration::from_secs(10);
/// When a refused write may be tried again: shards tell every second.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Bytes of deletes that may be logged for a shard and not applied there, whatever it told.
pub const RESERVE_BYTES: u64 = 64 << 20;
/// Memory that rows of a partition take of which the shard has not told yet, in thousandths of their bytes in the log.
const GROWTH_UNKNOWN: u32 = 3_000;
/// Charges of one partition that are kept apart.
const CHARGES_MAX: usize = 256;

/// Which partition.
type Key = (DatasetId, u32);

/// What shards told, and what was logged for them since.
#[derive(Debug, Default)]
pub struct Ledger {
    shards: BTreeMap<NodeId, Shard>,
    /// Bytes that may be logged for a shard that is silent.
    silent_bytes: u64,
    /// Entries up to here are charged, or were before this began.
    charged: u64,
}

#[derive(Debug, Default)]
struct Shard {
    heard: Option<Instant>,
    told: Option<Told>,
    /// By partition, of those for which something is charged.
    charges: BTreeMap<Key, Charges>,
    /// Deletes of all partitions.
    deletes: Charges,
}

#[derive(Debug)]
struct Told {
    free_bytes: u64,
    budget_bytes: u64,
    replicas: BTreeMap<Key, Appetite>,
}

/// What rows of one partition take.
#[derive(Debug, Clone, Copy)]
struct Appetite {
    reusable_bytes: u64,
    reused_growth: u32,
    growth: u32,
}

impl Appetite {
    const UNKNOWN: Self = Self {
        reusable_bytes: 0,
        reused_growth: GROWTH_UNKNOWN,
        growth: GROWTH_UNKNOWN,
    };

    /// Bytes of memory that so many bytes of rows take.
    fn memory(self, logged: u64) -> u64 {
        let reused = logged.min(self.reusable_bytes);
        let of = |bytes: u64, growth: u32| u128::from(bytes) * u128::from(growth) / 1_000;
        let memory = of(reused, self.reused_growth) + of(logged - reused, self.growth);
        u64::try_from(memory).unwrap_or(u64::MAX)
    }
}

/// Bytes logged by index, ascending.
#[derive(Debug, Default)]
struct Charges {
    of: VecDeque<(u64, u64)>,
    sum: u64,
}

impl Charges {
    fn add(&mut self, index: u64, bytes: u64) {
        self.sum = self.sum.saturating_add(bytes);
        let is_full = self.of.len() >= CHARGES_MAX;
        match self.of.back_mut() {
            // Counted as if it were all logged last, so that it is charged for longer.
            Some(last) if is_full => *last = (index, last.1.saturating_add(bytes)),
            _ => self.of.push_back((index, bytes)),
        }
    }

    fn applied(&mut self, index: u64) {
        while let Some(&(first, bytes)) = self.of.front()
            && first <= index
        {
            self.sum = self.sum.saturating_sub(bytes);
            self.of.pop_front();
        }
    }
}

impl Ledger {
    /// Begins behind an index: what was logged up to it is not known here, and shards tell soon what they hold of it.
    pub fn new(silent_bytes: u64, index: u64) -> Self {
        Self {
            shards: BTreeMap::new(),
            silent_bytes,
            charged: index,
        }
    }

    /// A shard tells what it has room for; nothing, if it is of a version that does not know how.
    pub fn report(&mut self, shard: &NodeId, credit: Option<&ShardCredit>, now: Instant) {
        let known = self.shards.entry(shard.clone()).or_default();
        known.heard = Some(now);
        let Some(credit) = credit else {
            return;
        };
        known
            .charges
            .values_mut()
            .for_each(|charges| charges.applied(credit.applied_index));
        known.charges.retain(|_, charges| charges.sum > 0);
        known.deletes.applied(credit.applied_index);
        let replicas = credit.replicas.iter().map(|replica| {
            let appetite = Appetite {
                reusable_bytes: replica.reusable_bytes,
                reused_growth: replica.reused_growth_permille,
                growth: replica.growth_permille,
            };
            ((DatasetId(replica.dataset_id), replica.partition), appetite)
        });
        known.told = Some(Told {
            free_bytes: credit.free_bytes,
            budget_bytes: credit.budget_bytes,
            replicas: replicas.collect(),
        });
    }

    /// An entry is logged: it is charged to the shards that must apply it, once. Entries come in the order of the log.
    pub fn logged(&mut self, index: u64, write: &WriteCommand, catalogue: &Catalogue) {
        if index <= self.charged {
            return;
        }
        self.charged = index;
        let grows = grows(write);
        for_each_replica(write, catalogue, |node, key, bytes| {
            let shard = match self.shards.get_mut(node) {
                Some(shard) => shard,
                None => self.shards.entry(node.clone()).or_default(),
            };
            if grows {
                shard.charges.entry(key).or_default().add(index, bytes);
            } else {
                shard.deletes.add(index, bytes);
            }
        });
    }

    /// Entries behind an index may be others than those charged: they are charged again when they are known.
    pub fn rewind(&mut self, index: u64) {
        self.charged = self.charged.min(index);
    }

    /// Whether a write may be logged.
    ///
    /// # Errors
    /// `MEMORY_FULL`, with the shard and when to try again.
    pub fn admits(&self, write: &WriteCommand, catalogue: &Catalogue, now: Instant) -> Result<(), Error> {
        let mut wanted: BTreeMap<&NodeId, BTreeMap<Key, u64>> = BTreeMap::new();
        for_each_replica(write, catalogue, |node, key, bytes| {
            *wanted.entry(node).or_default().entry(key).or_default() += bytes;
        });
        let is_silent = |node: &NodeId| {
            let heard = self.shards.get(node).and_then(|shard| shard.heard);
            heard.is_none_or(|heard| now.saturating_duration_since(heard) > SILENT_AFTER)
        };
        let grows = grows(write);
        for (&node, more) in wanted.iter().filter(|(node, _)| !is_silent(node)) {
            self.shards
                .get(node)
                .map_or(Ok(()), |shard| shard.admits(node, more, grows))?;
        }
        // Of what no shard speaks for that is heard.
        for range in &write.ranges {
            let nodes = replicas(write, range.partition, catalogue);
            if nodes.is_empty() || nodes.iter().any(|node| !is_silent(node)) {
                continue;
            }
            let logged = |node: &NodeId| self.shards.get(node).map_or(0, |shard| shard.sum(grows));
            let least = nodes.iter().map(logged).min().unwrap_or(0);
            let limit = if grows { self.silent_bytes } else { RESERVE_BYTES };
            if least.saturating_add(range.length) > limit {
                return Err(silent(range.partition, least, limit));
            }
        }
        Ok(())
    }

    /// Forgets shards that are not in the catalogue, and partitions of datasets that are gone.
    pub fn retain(&mut self, catalogue: &Catalogue) {
        self.shards.retain(|node, _| catalogue.shards().contains(node));
        for shard in self.shards.values_mut() {
            shard
                .charges
                .retain(|(dataset, _), _| catalogue.dataset(*dataset).is_some());
        }
    }
}

impl Shard {
    /// Bytes charged.
    fn sum(&self, grows: bool) -> u64 {
        if grows {
            let sums = self.charges.values().map(|charges| charges.sum);
            sums.fold(0, u64::saturating_add)
        } else {
            self.deletes.sum
        }
    }

    fn admits(&self, node: &NodeId, more: &BTreeMap<Key, u64>, grows: bool) -> Result<(), Error> {
        let Some(told) = &self.told else {
            return Ok(());
        };
        if !grows {
            let more = more.values().copied().fold(0, u64::saturating_add);
            let fits = self.deletes.sum.saturating_add(more) <= RESERVE_BYTES;
            return if fits { Ok(()) } else { Err(behind(node)) };
        }
        let charged = |key: &Key| self.charges.get(key).map_or(0, |charges| charges.sum);
        let memory = |key: &Key, bytes: u64| {
            let appetite = told.replicas.get(key).copied().unwrap_or(Appetite::UNKNOWN);
            appetite.memory(bytes)
        };
        let others = self.charges.keys().filter(|key| !more.contains_key(*key));
        let others = others.map(|key| memory(key, charged(key)));
        let these = more
            .iter()
            .map(|(key, bytes)| memory(key, charged(key).saturating_add(*bytes)));
        let needed = others.chain(these).fold(0, u64::saturating_add);
        if needed <= told.free_bytes {
            return Ok(());
        }
        Err(full(node, needed, told))
    }
}

/// Whether a write may add rows.
fn grows(write: &WriteCommand) -> bool {
    match write.kind() {
        WriteKind::Delete | WriteKind::DeleteIf | WriteKind::DeleteWhere => false,
        WriteKind::Unspecified | WriteKind::Upsert | WriteKind::UpsertIf | WriteKind::Update => true,
    }
}

fn replicas<'a>(write: &WriteCommand, partition: u32, catalogue: &'a Catalogue) -> &'a [NodeId] {
    let dataset = catalogue.dataset(DatasetId(write.dataset_id));
    let nodes = dataset.and_then(|dataset| dataset.partitions.get(partition as usize));
    nodes.map_or(&[], |nodes| nodes)
}

fn for_each_replica<'a>(
    write: &WriteCommand,
    catalogue: &'a Catalogue,
    mut visit: impl FnMut(&'a NodeId, Key, u64),
) {
    for range in &write.ranges {
        let key = (DatasetId(write.dataset_id), range.partition);
        for node in replicas(write, range.partition, catalogue) {
            visit(node, key, range.length);
        }
    }
}

fn refusal(message: String, limit: u64) -> Error {
    Error::new(ErrorCode::MemoryFull, message)
        .limit(limit)
        .retry_after(RETRY_AFTER)
}

fn full(node: &NodeId, needed: u64, told: &Told) -> Error {
    let message = format!(
        "the rows, with those that it has not applied yet, would take {needed} bytes of memory on {node}, where {} are free",
        told.free_bytes
    );
    refusal(message, told.budget_bytes).field("shard.memory_budget")
}

fn behind(node: &NodeId) -> Error {
    let message = format!("{node} has too many deletes to apply yet");
    refusal(message, RESERVE_BYTES).field("ranges")
}

fn silent(partition: u32, logged: u64, limit: u64) -> Error {
    let message = format!(
        "no shard that has partition {partition} tells what it has room for, and {logged} bytes are logged for it"
    );
    refusal(message, limit).field("keeper.silent_credit_bytes")
}
