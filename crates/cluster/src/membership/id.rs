//! Identity of a member: which node, which life of it, and where it is reached.

use std::{
    cmp::Ordering,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use longbow_types::{NodeId, Role};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest version text accepted.
const VERSION_BYTES_MAX: usize = 32;

/// What a node says about itself.
#[derive(Debug, Clone)]
pub struct Describe {
    /// Its id.
    pub node_id: NodeId,
    /// What it is for.
    pub role: Role,
    /// Which life of the node; higher replaces lower.
    pub generation: u64,
    /// A random number of this process, which tells two lives of one generation apart.
    pub process: u64,
    /// Where others reach its gossip.
    pub gossip_addr: SocketAddr,
    /// Where others reach its RPC.
    pub rpc_addr: SocketAddr,
    /// Where others reach its metrics and health.
    pub http_addr: Option<SocketAddr>,
    /// Version of its software; cut to 32 bytes.
    pub version: String,
}

/// Identity of a member. Cheap to clone. Equal if node, life and renewal are.
#[derive(Clone)]
pub struct MemberId(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    /// None: whoever is at the address, known only as somebody to call.
    node_id: Option<NodeId>,
    role: Role,
    generation: u64,
    process: u64,
    /// Raised when the life goes on after it was declared down.
    renewal: u32,
    gossip_addr: SocketAddr,
    rpc_addr: SocketAddr,
    http_addr: Option<SocketAddr>,
    version: Box<str>,
}

impl MemberId {
    /// The identity of a node that starts.
    pub fn new(node: Describe) -> Self {
        let mut version = node.version;
        version.retain(|c| c.is_ascii_graphic());
        version.truncate(VERSION_BYTES_MAX);
        Self(Arc::new(Inner {
            node_id: Some(node.node_id),
            role: node.role,
            generation: node.generation,
            process: node.process,
            renewal: 0,
            gossip_addr: node.gossip_addr,
            rpc_addr: node.rpc_addr,
            http_addr: node.http_addr,
            version: version.into(),
        }))
    }

    /// Whoever is at an address.
    pub(super) fn somebody_at(gossip_addr: SocketAddr) -> Self {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Self(Arc::new(Inner {
            node_id: None,
            role: Role::Router,
            generation: 0,
            process: 0,
            renewal: 0,
            gossip_addr,
            rpc_addr: nowhere,
            http_addr: None,
            version: "".into(),
        }))
    }

    /// The node; none for somebody to call.
    pub fn node_id(&self) -> Option<NodeId> {
        self.0.node_id.clone()
    }

    /// What it is for.
    pub fn role(&self) -> Role {
        self.0.role
    }

    /// Which life of the node.
    pub fn generation(&self) -> u64 {
        self.0.generation
    }

    /// Where others reach its gossip.
    pub fn gossip_addr(&self) -> SocketAddr {
        self.0.gossip_addr
    }

    /// Where others reach its RPC.
    pub fn rpc_addr(&self) -> SocketAddr {
        self.0.rpc_addr
    }

    /// Where others reach its metrics and health.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.0.http_addr
    }

    /// Version of its software.
    pub fn version(&self) -> &str {
        &self.0.version
    }

    pub(super) fn is_somebody(&self) -> bool {
        self.0.node_id.is_none()
    }

    pub(super) fn same_node(&self, other: &Self) -> bool {
        self.0.node_id.is_some() && self.0.node_id == other.0.node_id
    }

    /// Whether it is the same process of the same node.
    pub(super) fn same_life(&self, other: &Self) -> bool {
        self.same_node(other) && self.0.process == other.0.process
    }

    /// Whether it is a later life of the same node.
    pub(super) fn supersedes(&self, other: &Self) -> bool {
        self.same_node(other) && !self.same_life(other) && self.rank() > other.rank()
    }

    /// The same life, back after it was declared down.
    pub(super) fn renewed(&self) -> Self {
        self.changed(|inner| inner.renewal = inner.renewal.wrapping_add(1))
    }

    /// The same life, with a higher generation.
    pub(super) fn raised(&self, generation: u64) -> Self {
        self.changed(|inner| inner.generation = generation)
    }

    pub(super) fn cmp_by_name(&self, other: &Self) -> Ordering {
        (self.0.role, &self.0.node_id).cmp(&(other.0.role, &other.0.node_id))
    }

    fn changed(&self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Inner::clone(&self.0);
        change(&mut inner);
        Self(Arc::new(inner))
    }

    fn rank(&self) -> (u64, u64, u32) {
        (self.0.generation, self.0.process, self.0.renewal)
    }
}

impl PartialEq for MemberId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || self.rank() == other.rank() && self.0.node_id == other.0.node_id
                // Nobody in particular is told apart by address alone.
                && (!self.is_somebody() || self.0.gossip_addr == other.0.gossip_addr)
    }
}

impl Eq for MemberId {}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.node_id {
            Some(id) => write!(
                f,
                "{id}/{}.{} at {}",
                self.0.generation, self.0.renewal, self.0.gossip_addr
            ),
            None => write!(f, "somebody at {}", self.0.gossip_addr),
        }
    }
}

/// A node as foca's unit of conflict: two identities of one node compete.
#[derive(Clone)]
pub struct NodeKey(MemberId);

impl PartialEq for NodeKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.same_node(&other.0) || self.0.is_somebody() && self.0 == other.0
    }
}

impl foca::Identity for MemberId {
    type Addr = NodeKey;

    /// Never by itself: the core brings it back after a delay, or not at all.
    fn renew(&self) -> Option<Self> {
        None
    }

    fn addr(&self) -> NodeKey {
        NodeKey(self.clone())
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.rank() > adversary.rank()
    }
}

/// What travels.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    node_id: &'a str,
    role: u8,
    generation: u64,
    process: u64,
    renewal: u32,
    gossip_addr: SocketAddr,
    rpc_addr: SocketAddr,
    http_addr: Option<SocketAddr>,
    version: &'a str,
}

impl Serialize for MemberId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Inner {
            role,
            generation,
            process,
            renewal,
            gossip_addr,
            rpc_addr,
            http_addr,
            ..
        } = *self.0;
        let role = match role {
            Role::Router => 1,
            Role::Shard => 2,
            Role::WalKeeper => 3,
        };
        let node_id = self.0.node_id.as_ref().map_or("", |id| id.as_str());
        let version = &self.0.version;
        Wire {
            node_id,
            role,
            generation,
            process,
            renewal,
            gossip_addr,
            rpc_addr,
            http_addr,
            version,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for MemberId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let role = match wire.role {
            1 => Role::Router,
            2 => Role::Shard,
            3 => Role::WalKeeper,
            _ => return Err(de::Error::custom("unknown role")),
        };
        if wire.version.len() > VERSION_BYTES_MAX || !wire.version.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(de::Error::custom("invalid version"));
        }
        let node_id = match wire.node_id {
            "" => None,
            text => Some(text.parse().map_err(de::Error::custom)?),
        };
        Ok(Self(Arc::new(Inner {
            node_id,
            role,
            generation: wire.generation,
            process: wire.process,
            renewal: wire.renewal,
            gossip_addr: wire.gossip_addr,
            rpc_addr: wire.rpc_addr,
            http_addr: wire.http_addr,
            version: wire.version.into(),
        })))
    }
}
