//! The membership as a message: what checkpoints and snapshots hold, and what keepers tell.

use std::collections::{BTreeMap, BTreeSet};

use longbow_types::{Error, ErrorCode, Result};
use longbow_wire::internal::{KeeperMember, KeeperMembership, RaftConfState};

use super::{Keepers, Member};

impl Member {
    pub(super) fn to_proto(&self) -> KeeperMember {
        KeeperMember {
            raft_id: self.raft_id,
            node_id: self.node_id.to_string(),
            log_id: self.log_id,
        }
    }

    pub(super) fn from_proto(message: &KeeperMember) -> Result<Self> {
        Ok(Self {
            raft_id: message.raft_id,
            node_id: message.node_id.parse()?,
            log_id: message.log_id,
        })
    }
}

impl Keepers {
    /// The membership as a message.
    pub fn to_proto(&self) -> KeeperMembership {
        KeeperMembership {
            index: self.index,
            members: self.members.values().map(Member::to_proto).collect(),
            next_raft_id: self.next_raft_id,
            conf_state: Some(self.conf.clone()),
        }
    }

    /// Inverse of [`Keepers::to_proto`]. Checks everything that raft and `apply` rely on.
    pub fn from_proto(message: &KeeperMembership) -> Result<Self> {
        let conf = message.conf_state.clone().unwrap_or_default();
        let ids = check(&conf)?;
        let mut members = BTreeMap::new();
        for member in &message.members {
            let member = Member::from_proto(member)?;
            members.insert(member.raft_id, member);
        }
        let same = members.len() == message.members.len() && members.keys().eq(ids.iter());
        let last = members.last_key_value().map_or(0, |(id, _)| *id);
        if !same || last >= message.next_raft_id {
            return Err(corrupt("members and configuration do not fit"));
        }
        Ok(Self {
            index: message.index,
            members,
            next_raft_id: message.next_raft_id,
            conf,
        })
    }
}

/// All ids of a configuration, which must be one that raft-rs takes without a panic.
fn check(conf: &RaftConfState) -> Result<BTreeSet<u64>> {
    let set = |list: &Vec<u64>| -> Result<BTreeSet<u64>> {
        let set: BTreeSet<u64> = list.iter().copied().collect();
        if set.len() != list.len() || set.contains(&0) {
            return Err(corrupt("a raft id twice, or 0"));
        }
        Ok(set)
    };
    let (voters, outgoing) = (set(&conf.voters)?, set(&conf.voters_outgoing)?);
    let (learners, next) = (set(&conf.learners)?, set(&conf.learners_next)?);
    let sound = !voters.is_empty()
        && learners.is_disjoint(&voters)
        && learners.is_disjoint(&outgoing)
        && next.is_subset(&outgoing)
        && next.is_disjoint(&voters)
        && (!outgoing.is_empty() || next.is_empty() && !conf.auto_leave);
    if !sound {
        return Err(corrupt("a configuration that cannot be"));
    }
    Ok([voters, outgoing, learners].into_iter().flatten().collect())
}

fn corrupt(why: &'static str) -> Error {
    Error::new(ErrorCode::Corruption, format!("the stored membership: {why}"))
}
