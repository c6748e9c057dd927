//! Who is in the group right now, for everybody beside the engine: the members as applied here, and newer ones that
//! have made themselves heard.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use longbow_cluster::keepers::Keepers;
use longbow_types::{Error, ErrorCode, NodeId, Result};
use parking_lot::Mutex;
use tokio::sync::watch;

/// Most newcomers remembered; those with the highest raft ids are.
const HEARD_MAX: usize = 16;

/// Shared by the engine, which says who is a member, and whoever talks to members.
pub(crate) struct Roster {
    /// This keeper's raft id; 0 while it is no member.
    me: AtomicU64,
    /// This keeper leads: nobody has been given a raft id that it does not know.
    leads: AtomicBool,
    keepers: watch::Sender<Arc<Keepers>>,
    heard: Mutex<BTreeMap<u64, NodeId>>,
    /// First index in the log of each member that told.
    firsts: Mutex<BTreeMap<u64, u64>>,
}

impl Roster {
    pub fn new(me: u64, keepers: Keepers) -> Self {
        Self {
            me: AtomicU64::new(me),
            leads: AtomicBool::new(false),
            keepers: watch::Sender::new(Arc::new(keepers)),
            heard: Mutex::default(),
            firsts: Mutex::default(),
        }
    }

    pub fn me(&self) -> u64 {
        self.me.load(Ordering::Acquire)
    }

    pub fn set_me(&self, raft_id: u64) {
        self.me.store(raft_id, Ordering::Release);
    }

    pub fn set_leads(&self, leads: bool) {
        self.leads.store(leads, Ordering::Release);
    }

    /// Members, as of the last entry applied here.
    pub fn current(&self) -> Arc<Keepers> {
        self.keepers.borrow().clone()
    }

    pub fn set(&self, keepers: Keepers) {
        self.heard
            .lock()
            .retain(|raft_id, _| !keepers.was_given(*raft_id));
        self.firsts
            .lock()
            .retain(|raft_id, _| keepers.member(*raft_id).is_some());
        self.keepers.send_replace(Arc::new(keepers));
    }

    /// The node behind a raft id.
    pub fn node_of(&self, raft_id: u64) -> Option<NodeId> {
        let known = self.keepers.borrow().node_of(raft_id).cloned();
        known.or_else(|| self.heard.lock().get(&raft_id).cloned())
    }

    /// Checks that a node may speak as a member. One with a raft id that was given after the last entry applied here is
    /// believed, and remembered: its cluster's secret proved that it is that node.
    ///
    /// # Errors
    /// `KEEPER_REMOVED` if the raft id is of a keeper that was removed, `INVALID_VALUE` if it is another node's,
    /// `ROLE_NOT_ALLOWED` if nobody was given it.
    pub fn admit(&self, node: &NodeId, raft_id: u64) -> Result<()> {
        let keepers = self.keepers.borrow();
        let another = |owner: &NodeId| {
            let message = format!("the raft id {raft_id} is that of {owner}, not of {node}");
            Error::new(ErrorCode::InvalidValue, message).field("from")
        };
        match keepers.node_of(raft_id) {
            Some(owner) if owner == node => return Ok(()),
            Some(owner) => return Err(another(owner)),
            None if keepers.was_given(raft_id) => return Err(removed(node, raft_id)),
            None if self.leads.load(Ordering::Acquire) || raft_id == 0 => {
                let message = format!("the keeper {node} is no member of this group");
                return Err(Error::new(ErrorCode::RoleNotAllowed, message).field("from"));
            }
            None => {}
        }
        drop(keepers);
        let mut heard = self.heard.lock();
        let owner = heard.entry(raft_id).or_insert_with(|| node.clone());
        if owner != node {
            return Err(another(owner));
        }
        if heard.len() > HEARD_MAX {
            heard.pop_first();
        }
        Ok(())
    }

    /// What a member told of where its log begins.
    pub fn note_first_index(&self, raft_id: u64, first_index: u64) {
        self.firsts.lock().insert(raft_id, first_index);
    }

    pub fn first_index_of(&self, raft_id: u64) -> Option<u64> {
        self.firsts.lock().get(&raft_id).copied()
    }
}

/// The error of a keeper that was removed.
pub(crate) fn removed(node: &NodeId, raft_id: u64) -> Error {
    let message = format!(
        "{node} was removed from the keepers' group (its raft id was {raft_id}); to let the node be a keeper again, start \
         it with an empty data path and add it: longbow keeper add {node}"
    );
    Error::new(ErrorCode::KeeperRemoved, message)
}

#[cfg(test)]
mod tests {
    use longbow_cluster::keepers::Change;
    use longbow_wire::internal::{RaftConfChange, RaftConfState};

    use super::*;

    fn node(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn code(admitted: Result<()>) -> ErrorCode {
        admitted.unwrap_err().code
    }

    #[test]
    fn members_and_newcomers_are_heard_and_the_removed_are_not() {
        let mut keepers = Keepers::formed(&["k1", "k2", "k3"].map(node));
        let roster = Roster::new(1, keepers.clone());
        roster.admit(&node("k2"), 2).unwrap();
        assert_eq!(code(roster.admit(&node("k3"), 2)), ErrorCode::InvalidValue);
        // A former life of k2 was removed, and k2 added again: this keeper has not applied that yet.
        assert_eq!(roster.node_of(4), None);
        roster.admit(&node("k2"), 4).unwrap();
        assert_eq!(roster.node_of(4), Some(node("k2")));
        assert_eq!(code(roster.admit(&node("k9"), 4)), ErrorCode::InvalidValue);
        let remove: RaftConfChange = Change::Remove(2).to_entry(&keepers);
        let conf = RaftConfState {
            voters: vec![1, 3],
            ..RaftConfState::default()
        };
        keepers.apply(7, &remove, conf);
        roster.set(keepers);
        assert_eq!(code(roster.admit(&node("k2"), 2)), ErrorCode::KeeperRemoved);
        roster.admit(&node("k2"), 4).unwrap();
        for raft_id in 5..5 + 3 * HEARD_MAX as u64 {
            roster.admit(&node("k7"), raft_id).unwrap();
        }
        assert!(roster.heard.lock().len() <= HEARD_MAX);
        // Who leads knows everybody.
        roster.set_leads(true);
        assert_eq!(code(roster.admit(&node("k8"), 99)), ErrorCode::RoleNotAllowed);
    }
}
