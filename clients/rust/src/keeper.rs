//! The wal-keepers: who votes, who learns, who waits to be added.

use longbow_wire::v1;

/// What a wal-keeper is in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeeperRole {
    /// It votes, and its copy of an entry counts.
    Voter,
    /// It gets all entries and has no vote.
    Learner,
    /// It is no member and waits to be added.
    Waiting,
    /// A role that this version does not know.
    Unknown,
}

impl KeeperRole {
    /// Stable text of the role.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeeperRole::Voter => "voter",
            KeeperRole::Learner => "learner",
            KeeperRole::Waiting => "waiting",
            KeeperRole::Unknown => "unknown",
        }
    }
}

/// One wal-keeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeeperInfo {
    /// Its node id.
    pub node_id: String,
    /// Its number in the group, never given to another log; `None` if it is no member.
    pub raft_id: Option<u64>,
    /// What it is.
    pub role: KeeperRole,
    /// Whether it leads.
    pub is_leader: bool,
    /// Whether it answered; if not, the numbers below are 0.
    pub reachable: bool,
    /// First log index that it holds.
    pub first_index: u64,
    /// Last log index that it holds.
    pub last_index: u64,
    /// Last log index that it has applied.
    pub applied_index: u64,
    /// Bytes of its log's files.
    pub log_bytes: u64,
    /// Why it stopped writing, if it did.
    pub fatal: Option<String>,
}

impl KeeperInfo {
    pub(crate) fn from_proto(keeper: v1::Keeper) -> Self {
        let role = match keeper.role() {
            v1::KeeperRole::Unspecified => KeeperRole::Unknown,
            v1::KeeperRole::Voter => KeeperRole::Voter,
            v1::KeeperRole::Learner => KeeperRole::Learner,
            v1::KeeperRole::Waiting => KeeperRole::Waiting,
        };
        Self {
            node_id: keeper.node_id,
            raft_id: Some(keeper.raft_id).filter(|&id| id != 0),
            role,
            is_leader: keeper.is_leader,
            reachable: keeper.reachable,
            first_index: keeper.first_index,
            last_index: keeper.last_index,
            applied_index: keeper.applied_index,
            log_bytes: keeper.log_bytes,
            fatal: Some(keeper.fatal).filter(|text| !text.is_empty()),
        }
    }
}
