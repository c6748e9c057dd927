//! What goes into a raft core and what comes out.

use longbow_wire::internal::{RaftConfState, RaftEntry, RaftEntryType, RaftMessage};

use super::install::SNAPSHOT;

/// Bytes of one entry's data, at most: a command with its framing. What a log can hold must be more.
pub const ENTRY_BYTES_MAX: usize = 12 << 20;

/// What a member is told at its start and never changes.
#[derive(Debug, Clone)]
pub struct CoreConfig {
    /// This member.
    pub raft_id: u64,
    /// Ticks without a leader after which an election starts, at least; at most twice that.
    pub election_ticks: usize,
    /// Ticks between heartbeats.
    pub heartbeat_ticks: usize,
    /// Bytes of entries in one message.
    pub message_bytes_max: u64,
    /// Messages with entries on their way to one member.
    pub inflight_max: usize,
    /// Bytes of entries proposed and not yet committed; beyond, proposals are refused.
    pub uncommitted_bytes_max: u64,
    /// Bytes of committed entries in one [`Effects`].
    pub committed_bytes_max: u64,
    /// Bytes of durable and applied entries kept in memory for followers.
    pub cache_bytes_max: usize,
}

impl CoreConfig {
    /// Usual sizes.
    pub fn new(raft_id: u64) -> Self {
        Self {
            raft_id,
            election_ticks: 10,
            heartbeat_ticks: 2,
            message_bytes_max: 2 << 20,
            inflight_max: 64,
            uncommitted_bytes_max: 64 << 20,
            committed_bytes_max: 16 << 20,
            cache_bytes_max: 32 << 20,
        }
    }
}

/// What raft must remember beside its log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HardState {
    /// Current term.
    pub term: u64,
    /// Who got this member's vote in that term; 0 for nobody.
    pub vote: u64,
    /// An index known to be committed.
    pub commit: u64,
}

/// What was found on disk.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    /// Hard state. Its commit index may lag behind the applied one.
    pub hard_state: HardState,
    /// Membership.
    pub conf_state: RaftConfState,
    /// Last entry whose effect is already in the state machine.
    pub applied: u64,
}

/// What this member is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RaftRole {
    /// It follows, or looks for somebody to follow.
    Follower,
    /// It asks for votes.
    Candidate,
    /// It leads.
    Leader,
}

/// Where a snapshot stands: it is the state machine after this entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotAt {
    /// Index of the last entry in it.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
}

/// What must be durable, in this order: snapshot, entries, then hard state. Nobody acts on it before all of it is; a
/// power cut may keep a prefix.
#[derive(Debug, Clone, PartialEq)]
pub struct Persist {
    /// To be told to [`RaftCore::persisted`](super::RaftCore::persisted) afterwards.
    pub number: u64,
    /// The state machine after this entry takes the place of the whole log, which then begins behind it.
    pub snapshot: Option<SnapshotAt>,
    /// Entries to append; the first may replace what stands at its index and behind.
    pub entries: Vec<RaftEntry>,
    /// New hard state.
    pub hard_state: Option<HardState>,
}

impl Persist {
    /// What of the hard state is to be written before an entry of it. Whoever keeps a change of the group must know that
    /// the one before is committed, also where the power took the rest of the write away.
    pub fn hard_state_before(&self, entry: &RaftEntry) -> Option<HardState> {
        let is_change = entry.entry_type() != RaftEntryType::Unspecified;
        self.hard_state.filter(|_| is_change).map(|state| HardState {
            commit: state.commit.min(entry.index - 1),
            ..state
        })
    }
}

/// The answer to [`RaftCore::read_index`](super::RaftCore::read_index).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadState {
    /// What the caller named the request.
    pub request: u64,
    /// A fresh read must have applied this.
    pub index: u64,
}

/// What to do. Sending may overlap persisting; committed entries may be applied at once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Effects {
    /// Messages to send.
    pub send: Vec<RaftMessage>,
    /// Messages to send with the state machine at the index that their snapshot names. What becomes of each is told to
    /// [`RaftCore::snapshot_sent`](super::RaftCore::snapshot_sent).
    pub send_snapshots: Vec<RaftMessage>,
    /// What to make durable; finished in the order given.
    pub persist: Option<Persist>,
    /// Entries to apply, in order. They are durable here and on a quorum.
    pub committed: Vec<RaftEntry>,
    /// Reads that may be answered once their index is applied.
    pub reads: Vec<ReadState>,
    /// Role, leader or term changed.
    pub role_changed: bool,
}

impl Effects {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Snapshots go another way than other messages.
    pub(super) fn part_snapshots(&mut self) {
        let is_snapshot = |message: &mut RaftMessage| message.msg_type == SNAPSHOT;
        self.send_snapshots.extend(self.send.extract_if(.., is_snapshot));
    }
}

/// Where a proposal stands in the log, if it gets committed there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposed {
    /// Its index.
    pub index: u64,
    /// Its term; an entry of another term at this index is another entry.
    pub term: u64,
}
