//! The cluster as one router sees it.

use longbow_types::Role;
use longbow_wire::v1;

/// The cluster as one router sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    /// Identity of the cluster.
    pub cluster_id: String,
    /// All nodes known, sorted by role and id.
    pub nodes: Vec<NodeInfo>,
    /// Node id of the keeper that leads.
    pub leader: Option<String>,
    /// Last committed log index known to the leader.
    pub commit_index: u64,
    /// All partitions.
    pub partitions: Vec<PartitionStatus>,
    /// The "stop accepting writes" state.
    pub latch: LatchStatus,
    /// What an operator should know, one sentence each.
    pub warnings: Vec<String>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its id.
    pub node_id: String,
    /// What it is for; `None` if this version does not know the role.
    pub role: Option<Role>,
    /// Whether it answers.
    pub state: NodeState,
    /// Where other nodes reach its RPC.
    pub rpc_addr: String,
    /// Where other nodes reach its gossip.
    pub gossip_addr: String,
    /// Raised at each start of the node.
    pub generation: u64,
    /// Version of its software.
    pub version: String,
    /// The memory that it takes; of shards that answer alone.
    pub memory: Option<NodeMemory>,
}

/// The memory that a shard takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeMemory {
    /// Bytes that it may take: from there on rows are refused.
    pub budget_bytes: u64,
    /// What it takes, by what for, in bytes. The sum is what counts against the budget.
    pub parts: Vec<(String, u64)>,
}

impl NodeMemory {
    /// Bytes that it takes.
    pub fn taken_bytes(&self) -> u64 {
        self.parts.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// Whether a node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// It answers.
    Alive,
    /// It did not answer the last probe.
    Suspect,
    /// It is gone.
    Down,
    /// A state that this version does not know.
    Unknown,
}

impl NodeState {
    /// Stable text of the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            NodeState::Alive => "alive",
            NodeState::Suspect => "suspect",
            NodeState::Down => "down",
            NodeState::Unknown => "unknown",
        }
    }
}

/// The copies of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Name of the dataset.
    pub dataset: String,
    /// Ordinal of the partition in its dataset.
    pub partition: u32,
    /// The copies.
    pub replicas: Vec<ReplicaStatus>,
}

/// One copy of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// The shard that holds it.
    pub node_id: String,
    /// Whether the shard answered; if not, the counts are 0.
    pub reachable: bool,
    /// Last log index applied.
    pub applied_index: u64,
    /// Live rows.
    pub rows: u64,
    /// Rows not yet linked into the graph.
    pub rows_unindexed: u64,
    /// Why it stopped applying, if it did.
    pub stopped: Option<String>,
    /// Why it is lost, if it is: nothing of it is there.
    pub lost: Option<String>,
    /// Last log index that changed the partition.
    pub touched_index: u64,
    /// Digest of its rows, 32 hexadecimal digits. Replicas with the same [`touched_index`](Self::touched_index) hold the
    /// same rows, and have the same.
    pub digest: Option<String>,
    /// Bytes of memory that it takes.
    pub memory_bytes: u64,
}

/// The cluster-wide "stop accepting writes" state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatchStatus {
    /// Whether writes are refused.
    pub tripped: bool,
    /// Raised at each change.
    pub epoch: u64,
    /// What tripped it.
    pub cause: String,
}

impl ClusterStatus {
    pub(crate) fn from_proto(status: v1::GetClusterStatusResponse) -> Self {
        Self {
            cluster_id: status.cluster_id,
            nodes: status.nodes.into_iter().map(NodeInfo::from_proto).collect(),
            leader: non_empty(status.leader),
            commit_index: status.commit_index,
            partitions: status
                .partitions
                .into_iter()
                .map(PartitionStatus::from_proto)
                .collect(),
            latch: LatchStatus::from_proto(status.latch.unwrap_or_default()),
            warnings: status.warnings,
        }
    }
}

impl NodeInfo {
    fn from_proto(node: v1::Node) -> Self {
        let role = match node.role() {
            v1::NodeRole::Unspecified => None,
            v1::NodeRole::Router => Some(Role::Router),
            v1::NodeRole::Shard => Some(Role::Shard),
            v1::NodeRole::WalKeeper => Some(Role::WalKeeper),
        };
        let state = match node.state() {
            v1::NodeState::Unspecified => NodeState::Unknown,
            v1::NodeState::Alive => NodeState::Alive,
            v1::NodeState::Suspect => NodeState::Suspect,
            v1::NodeState::Down => NodeState::Down,
        };
        Self {
            node_id: node.node_id,
            role,
            state,
            rpc_addr: node.rpc_addr,
            gossip_addr: node.gossip_addr,
            generation: node.generation,
            version: node.version,
            memory: node.memory.map(|memory| NodeMemory {
                budget_bytes: memory.budget_bytes,
                parts: memory
                    .parts
                    .into_iter()
                    .map(|part| (part.name, part.bytes))
                    .collect(),
            }),
        }
    }
}

impl PartitionStatus {
    fn from_proto(status: v1::PartitionStatus) -> Self {
        let replica = |replica: v1::ReplicaStatus| ReplicaStatus {
            node_id: replica.node_id,
            reachable: replica.reachable,
            applied_index: replica.applied_index,
            rows: replica.rows,
            rows_unindexed: replica.rows_unindexed,
            stopped: non_empty(replica.stopped),
            lost: non_empty(replica.lost),
            touched_index: replica.touched_index,
            digest: non_empty(replica.digest),
            memory_bytes: replica.memory_bytes,
        };
        Self {
            dataset: status.dataset,
            partition: status.partition,
            replicas: status.replicas.into_iter().map(replica).collect(),
        }
    }
}

impl LatchStatus {
    pub(crate) fn from_proto(latch: v1::LatchStatus) -> Self {
        Self {
            tripped: latch.tripped,
            epoch: latch.epoch,
            cause: latch.cause,
        }
    }
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
