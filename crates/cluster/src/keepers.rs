//! Which keepers are in the raft group, under which raft ids, and which change may follow?
//!
//! Invariants:
//! - A raft id is given once, to one log: who lost its log gets another id, so that a vote or a copy that was lost is
//!   never counted again.
//! - One voter changes at a time. Any majority of the voters before and any of those after then have a member in
//!   common, which is what makes it safe that members switch when they apply a change and not when they append it.
//! - The membership belongs to the state machine: it follows from the entries up to its index, on every keeper alike.

mod change;
mod plan;
mod proto;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use longbow_types::NodeId;
use longbow_wire::internal::{RaftConfChange, RaftConfState};

pub use change::Change;
pub use plan::{Ask, LAG_MAX, MEMBERS_MAX, Plan, Progress, Situation, plan};

/// One keeper of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its raft id: given once, never again.
    pub raft_id: u64,
    /// Its node.
    pub node_id: NodeId,
    /// The log that the raft id was given to; 0 for those that formed the group.
    pub log_id: u64,
}

/// Who is in the group, as of one entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Keepers {
    index: u64,
    /// By raft id; one for each id in `conf`, and no other.
    members: BTreeMap<u64, Member>,
    next_raft_id: u64,
    conf: RaftConfState,
}

impl Keepers {
    /// The group as it was formed: raft ids are positions plus one.
    pub fn formed(voters: &[NodeId]) -> Self {
        let members = (1..).zip(voters).map(|(raft_id, node_id)| {
            let node_id = node_id.clone();
            let member = Member {
                raft_id,
                node_id,
                log_id: 0,
            };
            (raft_id, member)
        });
        Self {
            index: 0,
            members: members.collect(),
            next_raft_id: voters.len() as u64 + 1,
            conf: RaftConfState {
                voters: (1..=voters.len() as u64).collect(),
                ..RaftConfState::default()
            },
        }
    }

    /// Index of the entry that made it so; 0: as it was formed.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The same, as raft has it.
    pub fn conf_state(&self) -> &RaftConfState {
        &self.conf
    }

    /// Everybody: voters, those whose vote ends with the change under way, learners. By raft id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// A member.
    pub fn member(&self, raft_id: u64) -> Option<&Member> {
        self.members.get(&raft_id)
    }

    /// The member that a node is.
    pub fn member_at(&self, node: &NodeId) -> Option<&Member> {
        self.members.values().find(|member| member.node_id == *node)
    }

    /// The node behind a raft id.
    pub fn node_of(&self, raft_id: u64) -> Option<&NodeId> {
        self.members.get(&raft_id).map(|member| &member.node_id)
    }

    /// Whether this raft id was ever given. One that was and has no member is of a keeper that was removed.
    pub fn was_given(&self, raft_id: u64) -> bool {
        raft_id < self.next_raft_id
    }

    /// Whether a member votes, in the present or, while a change is under way, the coming configuration.
    pub fn is_voter(&self, raft_id: u64) -> bool {
        self.conf.voters.contains(&raft_id)
    }

    /// Nodes that vote, as [`Keepers::is_voter`] says.
    pub fn voters(&self) -> Vec<NodeId> {
        let voters = self.members.values().filter(|m| self.is_voter(m.raft_id));
        voters.map(|member| member.node_id.clone()).collect()
    }

    /// Whether a change is half done.
    pub fn is_joint(&self) -> bool {
        !self.conf.voters_outgoing.is_empty()
    }

    /// The member that `node` would become, with this log.
    pub fn next_member(&self, node_id: NodeId, log_id: u64) -> Member {
        Member {
            raft_id: self.next_raft_id,
            node_id,
            log_id,
        }
    }

    /// Takes in the change that the entry at `index` made, and what it made of raft's configuration.
    pub fn apply(&mut self, index: u64, change: &RaftConfChange, conf: RaftConfState) {
        if let Some(member) = Change::added(change) {
            self.next_raft_id = self.next_raft_id.max(member.raft_id + 1);
            self.members.insert(member.raft_id, member);
        }
        let lists = [
            &conf.voters,
            &conf.voters_outgoing,
            &conf.learners,
            &conf.learners_next,
        ];
        self.members
            .retain(|id, _| lists.iter().any(|list| list.contains(id)));
        (self.index, self.conf) = (index, conf);
    }
}
