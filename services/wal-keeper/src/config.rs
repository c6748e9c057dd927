//! What a keeper is told.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use longbow_cluster::keepers::MEMBERS_MAX;
use longbow_node::config::{NodeConfig, Setting, Settings};
use longbow_types::{Error, ErrorCode, NodeId, Result, Role};
use longbow_wal::Disk;

/// Settings of a keeper, beside those of every node.
pub const SETTINGS: &[Setting] = &[
    Setting::new(
        "keeper.initial_voters",
        "Node ids of the keepers that form the group, at most 9, the same list in the same order on each [default: this \
         node alone]",
    )
    .list(),
    Setting::new(
        "keeper.election_timeout",
        "How long keepers wait without a leader before they elect one; up to twice that",
    )
    .default("1s"),
    Setting::new("keeper.segment_bytes", "Bytes reserved for one file of the log").default("67108864"),
    Setting::new(
        "keeper.spare_segments",
        "Files of the log made ahead or kept to be used again",
    )
    .default("1"),
    Setting::new(
        "keeper.log_bytes_max",
        "Bytes of the log's files at which rows are refused, well below what the disk holds; the log is cut below what \
         shards have made durable",
    )
    .default("17179869184"),
    Setting::new(
        "keeper.window_entries",
        "Entries kept beyond what is needed, for shards and keepers that lag a little",
    )
    .default("100000"),
    Setting::new(
        "keeper.cache_bytes",
        "Bytes of recent entries kept in memory for shards and other keepers",
    )
    .default("33554432"),
    Setting::new(
        "keeper.queue_bytes",
        "Bytes of appends that may wait for the log; beyond, they are refused",
    )
    .default("67108864"),
    Setting::new(
        "keeper.silent_credit_bytes",
        "Bytes of rows logged for a partition while none of its shards tells what its memory has room for; beyond, they \
         are refused as MEMORY_FULL",
    )
    .default("268435456"),
    Setting::new(
        "keeper.checkpoint_interval",
        "How often the catalogue is written to disk while it changes; bounds the log replayed on start",
    )
    .default("10s"),
    Setting::new(
        "keeper.tick_interval",
        "How often the leader says what time it is, while there are rows that go by it: they go late by up to that; 100ms to \
         1h",
    )
    .default("1s"),
    Setting::new(
        "keeper.fatal_grace",
        "How long to serve what is committed after the disk failed, before the role ends",
    )
    .default("5s"),
];

/// What a keeper is told.
#[derive(Clone)]
pub struct Config {
    /// What every node is told.
    pub node: NodeConfig,
    /// Voters of the group, in the order of their raft ids; empty: this node alone.
    pub initial_voters: Vec<NodeId>,
    /// Time without a leader before an election.
    pub election_timeout: Duration,
    /// Bytes reserved for a segment.
    pub segment_bytes: u64,
    /// Segments made ahead or kept to be used again.
    pub spare_segments: usize,
    /// Bytes of the log's files at which rows are refused.
    pub log_bytes_max: u64,
    /// Entries kept beyond what is needed.
    pub window_entries: u64,
    /// Bytes of recent entries in memory.
    pub cache_bytes: usize,
    /// Bytes of appends that may wait.
    pub queue_bytes: usize,
    /// Bytes of rows logged for shards that are silent.
    pub silent_credit_bytes: u64,
    /// How often the catalogue is written.
    pub checkpoint_interval: Duration,
    /// How often log time goes on.
    pub tick_interval: Duration,
    /// How long to serve after the disk failed.
    pub fatal_grace: Duration,
    /// Where the log is kept, in place of a folder in the data path. For tests of faults.
    pub log_disk: Option<Arc<dyn Disk>>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("node", &self.node)
            .field("initial_voters", &self.initial_voters)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Reads and checks the settings.
    pub fn from_settings(settings: &Settings) -> Result<Self> {
        let node = NodeConfig::from_settings(settings, Role::WalKeeper)?;
        if node.data_path.is_none() {
            return Err(settings.missing("data_path"));
        }
        let voters: Result<Vec<NodeId>> = settings
            .list("keeper.initial_voters")
            .iter()
            .map(|id| {
                id.parse()
                    .map_err(|error: Error| error.field("keeper.initial_voters"))
            })
            .collect();
        let initial_voters = voters?;
        if initial_voters.len() > MEMBERS_MAX {
            let form = format!("a list of at most {MEMBERS_MAX} node ids");
            return Err(settings.bad("keeper.initial_voters", &form));
        }
        let distinct: BTreeSet<&NodeId> = initial_voters.iter().collect();
        if distinct.len() != initial_voters.len() {
            return Err(
                Error::new(ErrorCode::InvalidValue, "a keeper is named twice").field("keeper.initial_voters")
            );
        }
        let election_timeout = settings.duration("keeper.election_timeout")?;
        if election_timeout < Duration::from_millis(50) {
            return Err(settings.bad("keeper.election_timeout", "at least 50ms"));
        }
        let tick_interval = settings.duration("keeper.tick_interval")?;
        if !(Duration::from_millis(100)..=Duration::from_secs(3_600)).contains(&tick_interval) {
            return Err(settings.bad("keeper.tick_interval", "100ms to 1h"));
        }
        Ok(Self {
            node,
            initial_voters,
            election_timeout,
            segment_bytes: settings.u64("keeper.segment_bytes", 64 << 10..=1 << 30)?,
            spare_segments: settings.usize("keeper.spare_segments", 0..=64)?,
            log_bytes_max: settings.u64("keeper.log_bytes_max", 1 << 20..=u64::MAX >> 1)?,
            window_entries: settings.u64("keeper.window_entries", 0..=u64::MAX >> 1)?,
            cache_bytes: settings.usize("keeper.cache_bytes", 1 << 20..=64 << 30)?,
            queue_bytes: settings.usize("keeper.queue_bytes", 16 << 20..=64 << 30)?,
            silent_credit_bytes: settings.u64("keeper.silent_credit_bytes", 0..=u64::MAX >> 1)?,
            checkpoint_interval: settings.duration("keeper.checkpoint_interval")?,
            tick_interval,
            fatal_grace: settings.duration("keeper.fatal_grace")?,
            log_disk: None,
        })
    }
}
