//! What the tests share: settings of a test node, waiting with a deadline.

use std::{net::SocketAddr, time::Duration};

use longbow_node::{
    config::{COMMON, NodeConfig, Settings},
    gossip::{Gossip, Member, MemberState},
    identity::Identity,
    shutdown::Shutdown,
};
use longbow_types::Role;
use tokio::time::timeout;

pub const SECRET: &str = "0123456789abcdef";
/// Far longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Settings of a node on loopback that finds things out fast.
pub fn settings() -> Settings {
    let mut settings = Settings::defaults(&[COMMON]);
    settings
        .set("cluster.id", "test")
        .set("cluster.secret", SECRET)
        .set("rpc.listen_addr", "127.0.0.1:0")
        .set("http.listen_addr", "127.0.0.1:0")
        .set("gossip.listen_addr", "127.0.0.1:0")
        .set("gossip.probe_interval", "100ms")
        .set("gossip.suspect_timeout", "300ms")
        .set("gossip.announce_interval", "50ms");
    settings
}

pub fn identity(name: &str, role: Role, generation: u64) -> Identity {
    Identity {
        cluster_id: "test".parse().unwrap(),
        node_id: name.parse().unwrap(),
        role,
        generation,
    }
}

/// A gossiping node and the switch that stops it.
pub struct Node {
    pub gossip: Gossip,
    pub shutdown: Shutdown,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

/// Starts a shard's gossip.
pub async fn node(settings: &Settings, name: &str, generation: u64) -> Node {
    start(
        settings,
        identity(name, Role::Shard, generation),
        "127.0.0.1:3100".parse().unwrap(),
    )
    .await
}

pub async fn start(settings: &Settings, identity: Identity, rpc: SocketAddr) -> Node {
    let config = NodeConfig::from_settings(settings, identity.role).unwrap();
    let shutdown = Shutdown::new();
    let gossip = Gossip::start(&config, identity, rpc, None, shutdown.clone())
        .await
        .unwrap();
    Node { gossip, shutdown }
}

/// Waits until the members are so.
#[track_caller]
pub fn until(gossip: &Gossip, so: impl Fn(&[Member]) -> bool) -> impl Future<Output = ()> {
    let mut members = gossip.watch();
    let caller = std::panic::Location::caller();
    async move {
        let reached = timeout(PATIENCE, members.wait_for(|members| so(members)))
            .await
            .is_ok();
        assert!(reached, "{caller}: not in time: {:#?}", members.borrow());
    }
}

/// Whether a member is in a state, in any life.
pub fn is(members: &[Member], name: &str, state: MemberState) -> bool {
    members
        .iter()
        .any(|member| member.node_id.as_str() == name && member.state == state)
}

pub fn alive(members: &[Member]) -> usize {
    members
        .iter()
        .filter(|member| member.state == MemberState::Alive)
        .count()
}
