//! Calls to whichever keeper leads.

use std::time::Instant;

use bytes::Bytes;
use longbow_types::{Error, Lsn};
use longbow_wire::internal;

use crate::{gossip::Gossip, rpc::Peers};

mod call;

/// A client of the log. Clones share what is known about the leader.
#[derive(Debug, Clone)]
pub struct KeeperClient {
    leader: call::Leader,
}

impl KeeperClient {
    /// Finds keepers by gossip and calls them over the pool.
    pub fn new(peers: Peers, gossip: Gossip) -> Self {
        Self {
            leader: call::Leader::new(peers, gossip),
        }
    }

    /// Appends one entry and answers when it is committed and judged. `header` is an encoded `EntryHeader`.
    ///
    /// Finds the leader by its hint and by asking around, until the deadline (10 s without one). Tries again after a
    /// lost answer only where that is harmless: the header names producer and sequence, or the command is one that may
    /// be repeated (a shard registering, a producer opened). Else a lost answer is an error that says that the outcome
    /// is unknown; so is a refusal that follows a lost answer, for it speaks of the second attempt alone.
    pub async fn append(
        &self,
        header: Bytes,
        body: Bytes,
        deadline: Option<Instant>,
    ) -> Result<internal::AppendResponse, Error> {
        self.leader.append(header, body, deadline).await
    }

    /// Changes who is in the keepers' group, and answers when that is done. An answer that was lost is an error that says
    /// that the outcome is unknown.
    pub async fn change_keepers(
        &self,
        request: internal::ChangeKeepersRequest,
        deadline: Option<Instant>,
    ) -> Result<internal::KeeperMembership, Error> {
        self.leader.change_keepers(request, deadline).await
    }

    /// The position that a fresh read must have applied.
    pub async fn read_index(&self, deadline: Option<Instant>) -> Result<Lsn, Error> {
        self.leader.read_index(deadline).await
    }
}
