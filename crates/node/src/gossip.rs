//! Who is there, and how do they fare? A UDP socket and a clock round the pure core of [`longbow_cluster::membership`].
//!
//! Gossip says who is alive and where; it never decides who owns what. Packets carry a MAC that covers the cluster id
//! ([`seal`]); what does not carry one is dropped and counted.

mod alarm;
mod seal;
mod seeds;
mod shell;

use std::{net::SocketAddr, sync::Arc};

use longbow_cluster::latch::LatchState;
use longbow_types::{Error, NodeId, Role};
use longbow_wire::internal::LatchRegister;
use tokio::sync::watch;

use crate::{config::NodeConfig, http::Readiness, identity::Identity, shutdown::Shutdown};

/// Whether a member answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberState {
    /// It answers.
    Alive,
    /// It did not answer the last probe and may still object.
    Suspect,
    /// It left or did not object in time.
    Down,
}

impl MemberState {
    /// Stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            MemberState::Alive => "alive",
            MemberState::Suspect => "suspect",
            MemberState::Down => "down",
        }
    }
}

/// One node as gossip knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub node_id: NodeId,
    /// What it is for.
    pub role: Role,
    /// Which life of it.
    pub generation: u64,
    /// Where its RPC is reached; a router's is its data port.
    pub rpc_addr: SocketAddr,
    /// Where its gossip is reached.
    pub gossip_addr: SocketAddr,
    /// Where its metrics and health are served, if anywhere.
    pub http_addr: Option<SocketAddr>,
    /// Whether it answers.
    pub state: MemberState,
    /// Version of its software.
    pub version: String,
}

impl Member {
    /// Whether it is worth calling: alive, or suspected and not yet given up.
    pub fn is_live(&self) -> bool {
        self.state != MemberState::Down
    }
}

/// A running gossip. Clones are the same one; it leaves the cluster when its [`Shutdown`] is triggered.
#[derive(Debug, Clone)]
pub struct Gossip {
    members: watch::Receiver<Arc<[Member]>>,
    latch: watch::Receiver<LatchRegister>,
    superseded: watch::Receiver<Option<String>>,
    announce: Arc<watch::Sender<LatchState>>,
    local: SocketAddr,
    node_id: NodeId,
}

impl Gossip {
    /// Binds the socket and starts talking. `rpc_advertise` is where others reach our RPC, `http_addr` our metrics.
    pub async fn start(
        config: &NodeConfig,
        identity: Identity,
        rpc_advertise: SocketAddr,
        http_addr: Option<SocketAddr>,
        shutdown: Shutdown,
    ) -> Result<Self, Error> {
        shell::start(config, identity, rpc_advertise, http_addr, shutdown).await
    }

    /// Everybody known, this node included, sorted by role and id.
    pub fn members(&self) -> Arc<[Member]> {
        self.members.borrow().clone()
    }

    /// Follows [`Gossip::members`].
    pub fn watch(&self) -> watch::Receiver<Arc<[Member]>> {
        self.members.clone()
    }

    /// One member by id.
    pub fn member(&self, node_id: &NodeId) -> Option<Member> {
        self.members
            .borrow()
            .iter()
            .find(|member| member.node_id == *node_id)
            .cloned()
    }

    /// The members of a role that are worth calling.
    pub fn live(&self, role: Role) -> Vec<Member> {
        self.members
            .borrow()
            .iter()
            .filter(|member| member.role == role && member.is_live())
            .cloned()
            .collect()
    }

    /// This node's id.
    pub fn node_id(&self) -> &NodeId {
        &self.node_id
    }

    /// Where the socket is bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Follows the latch register: the highest that this node announced or heard of.
    pub fn latch(&self) -> watch::Receiver<LatchRegister> {
        self.latch.clone()
    }

    /// Tells everybody about a latch register. Lower ones than known are ignored. Cheap; may be repeated.
    pub fn announce_latch(&self, register: LatchRegister) {
        // One place and no queue: what waits for the shell is the highest, however many come at once.
        self.announce.send_if_modified(|highest| highest.merge(&register));
    }

    /// Follows whether another live node took our id: who it is. While it is set this node is not in the cluster.
    pub fn superseded(&self) -> watch::Receiver<Option<String>> {
        self.superseded.clone()
    }

    /// Keeps a role from traffic while another live node has our id. The process stays: one that ended would be started
    /// again as the newer of the two, and they would put each other out for ever.
    pub fn bar_while_superseded(&self, readiness: Readiness) {
        let mut superseded = self.superseded();
        let node_id = self.node_id.clone();
        tokio::spawn(async move {
            loop {
                let other = superseded.borrow_and_update().clone();
                readiness.bar(other.map(|other| format!("another live node is {node_id}, too: {other}")));
                if superseded.changed().await.is_err() {
                    return; // gossip has ended
                }
            }
        });
    }
}
