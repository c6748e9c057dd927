//! How much of the log may be cut, and what may still be appended? Plain data in, a verdict out.
//!
//! Wished for, each with a test:
//! - Nothing is cut that a partition may need: an entry goes only when its effect is durable on `min(factor, 2)` of the
//!   replicas assigned to each partition. A partition that nobody vouches for holds everything.
//! - Nothing is cut behind a pin, nor behind the checkpoint of this keeper.
//! - Liveness is no input: who is away neither holds the log for ever nor loses what it needs, for others have it.
//! - More that is durable never means less that is cut.
//! - A log at its limit refuses rows; what frees room again is let in a little longer.

use longbow_wire::internal::{WriteKind, entry_header::Command};

#[cfg(test)]
mod tests;

/// Part of the limit that is kept for what frees room: deletes, drops, and the keepers' own business.
const RESERVE_SHARE: u64 = 16;

/// One partition: what each replica assigned to it has made durable outside the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// By replica assigned: everything up to this index is durable there; 0 if it has not said.
    pub durable: Vec<u64>,
}

/// How things are with one keeper.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// All partitions there are.
    pub partitions: Vec<Coverage>,
    /// First entries that somebody who is under way needs: a copy, a backup, a snapshot being sent.
    pub pins: Vec<u64>,
    /// Everything up to this index is in a durable checkpoint of this keeper.
    pub checkpointed: u64,
    /// So many entries are kept beyond what is needed, for those who lag a little.
    pub window: u64,
}

/// Entries before this one may go.
pub fn first_kept(facts: &Facts) -> u64 {
    // Without partitions nobody vouches for anything: the first shard will ask for all of the log.
    let covered = facts.partitions.iter().map(covered).min().unwrap_or(0);
    let cut = covered.min(facts.checkpointed).saturating_sub(facts.window);
    let pinned = facts.pins.iter().copied().min().unwrap_or(u64::MAX);
    (cut + 1).min(pinned).max(1)
}

/// Everything up to this index is durable on two replicas, or on the only one.
fn covered(partition: &Coverage) -> u64 {
    let mut durable = partition.durable.clone();
    durable.sort_unstable_by(|a, b| b.cmp(a));
    let needed = durable.len().min(2);
    needed.checked_sub(1).map_or(0, |last| durable[last])
}

/// Whether a command, if it is one, may be appended to a log of so many bytes that may have so many: rows and new
/// datasets up to the limit, what frees room and the keepers' own business up to the reserve behind it.
pub fn admits(command: Option<&Command>, log_bytes: u64, log_bytes_max: u64) -> bool {
    let grows = match command {
        Some(Command::Write(write)) => matches!(
            write.kind(),
            WriteKind::Unspecified | WriteKind::Upsert | WriteKind::UpsertIf | WriteKind::Update
        ),
        Some(Command::CreateDataset(_)) => true,
        _ => false,
    };
    let reserve = if grows { 0 } else { log_bytes_max / RESERVE_SHARE };
    log_bytes < log_bytes_max.saturating_add(reserve)
}
