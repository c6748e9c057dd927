//! One change of the membership as an entry of the log.

use longbow_types::{Error, ErrorCode, Result};
use longbow_wire::internal::{
    KeeperMember, RaftConfChange, RaftConfChangeSingle, RaftConfChangeType, RaftConfTransition,
};
use prost::Message;

use super::{Keepers, Member};

/// Longest data of an entry that changes the membership.
const DATA_BYTES_MAX: usize = 4 << 10;

/// What is to become of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It joins, as a learner.
    Add(Member),
    /// It gets a vote.
    Promote(u64),
    /// It leaves.
    Remove(u64),
}

impl Change {
    /// The data of the entry. Who votes changes through a joint configuration, which raft leaves by itself.
    pub fn to_entry(&self, keepers: &Keepers) -> RaftConfChange {
        use RaftConfChangeType as T;
        let (kind, raft_id, context) = match self {
            Self::Add(member) => (T::AddLearner, member.raft_id, member.to_proto().encode_to_vec()),
            Self::Promote(raft_id) => (T::Unspecified, *raft_id, Vec::new()),
            Self::Remove(raft_id) => (T::Remove, *raft_id, Vec::new()),
        };
        let moves_votes = match self {
            Self::Add(_) => false,
            Self::Promote(_) => true,
            Self::Remove(raft_id) => keepers.is_voter(*raft_id),
        };
        let transition = match moves_votes {
            true => RaftConfTransition::Implicit,
            false => RaftConfTransition::Unspecified,
        };
        RaftConfChange {
            transition: transition as i32,
            changes: vec![RaftConfChangeSingle {
                change_type: kind as i32,
                raft_id,
            }],
            context: context.into(),
        }
    }

    /// Reads the data of an entry. Checks what applying it relies on; a change that keepers do not make is an error.
    pub fn decode(data: &[u8]) -> Result<RaftConfChange> {
        let refused =
            |why: &str| Error::new(ErrorCode::InvalidValue, format!("a change of membership: {why}"));
        if data.len() > DATA_BYTES_MAX {
            return Err(refused("it is too long").limit(DATA_BYTES_MAX));
        }
        let change = RaftConfChange::decode(data).map_err(|error| refused(&error.to_string()))?;
        let known = RaftConfTransition::try_from(change.transition).is_ok()
            && change.changes.iter().all(|single| {
                single.raft_id != 0 && RaftConfChangeType::try_from(single.change_type).is_ok()
            });
        if !known || change.changes.len() > 1 {
            return Err(refused("it is not of a kind known here"));
        }
        let adds = change
            .changes
            .iter()
            .any(|s| s.change_type() == RaftConfChangeType::AddLearner);
        match (adds, Self::added(&change)) {
            (true, Some(member)) if change.changes[0].raft_id == member.raft_id => Ok(change),
            (false, _) if change.context.is_empty() => Ok(change),
            _ => Err(refused("it does not name the member that it adds")),
        }
    }

    /// The member that an entry adds.
    pub(super) fn added(change: &RaftConfChange) -> Option<Member> {
        let message = KeeperMember::decode(change.context.clone()).ok()?;
        Member::from_proto(&message)
            .ok()
            .filter(|member| member.raft_id != 0)
    }
}
