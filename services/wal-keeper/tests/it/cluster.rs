//! Keepers on loopback and a node that calls them.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use longbow_node::{
    config::{COMMON, Loader},
    gossip::Gossip,
    identity::Identity,
    keeper_client::KeeperClient,
    rpc::{AuthedChannel, ClusterAuth, MESSAGE_BYTES_MAX, Peers},
    shutdown::Shutdown,
};
use longbow_types::{Error, NodeId, Role};
use longbow_wal::Disk;
use longbow_wal_keeper::{Config, Running, SETTINGS, start};
use longbow_wire::internal::{
    AppendResponse, CreateDatasetCommand, EntryHeader, OpenProducerCommand, PartitionRange,
    RegisterShardCommand, WriteCommand, WriteKind, entry_header::Command,
    keeper_service_client::KeeperServiceClient,
};
use prost::Message;

pub const SECRET: &str = "a secret of the tests";
/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn deadline() -> Option<Instant> {
    Some(Instant::now() + PATIENCE)
}

/// Waits until something holds.
pub async fn until<T, Fut: Future<Output = Option<T>>>(what: &str, mut probe: impl FnMut() -> Fut) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A group of keepers, some of them running.
pub struct Keepers {
    dir: tempfile::TempDir,
    count: usize,
    /// What is set otherwise than usual.
    pub change_config: fn(&mut Config),
    /// So many of them form the group; the others may be added.
    initial: usize,
    pub running: Vec<Option<Running>>,
    /// Gossip of everybody who ever ran: where newcomers look.
    seeds: Mutex<Vec<SocketAddr>>,
    pub disks: Vec<Option<Arc<dyn Disk>>>,
}

impl Keepers {
    /// A group of so many, none of them started.
    pub fn new(count: usize) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            count,
            change_config: |_| {},
            initial: count,
            running: (0..count).map(|_| None).collect(),
            seeds: Mutex::default(),
            disks: vec![None; count],
        }
    }

    /// Keepers of which only the first few form the group.
    pub fn formed_by(count: usize, initial: usize) -> Self {
        Self {
            initial,
            ..Self::new(count)
        }
    }

    /// All started and ready.
    pub async fn started(count: usize) -> Self {
        let mut keepers = Self::new(count);
        for at in 0..count {
            keepers.start(at).await;
        }
        keepers.ready().await;
        keepers
    }

    pub fn data_path(&self, at: usize) -> PathBuf {
        self.dir.path().join(format!("k{at}"))
    }

    pub fn config(&self, at: usize) -> Config {
        let mut settings = Loader::new("test", "", &[COMMON, SETTINGS]).defaults();
        let voters: Vec<String> = (0..self.initial).map(|at| format!("k{at}")).collect();
        settings
            .set("cluster.id", "test")
            .set("cluster.secret", SECRET)
            .set("node.id", format!("k{at}"))
            .set("data_path", self.data_path(at).display())
            .set("rpc.listen_addr", "127.0.0.1:0")
            .set("gossip.listen_addr", "127.0.0.1:0")
            .set("http.listen_addr", "127.0.0.1:0")
            .set("gossip.probe_interval", "200ms")
            .set("gossip.suspect_timeout", "500ms")
            .set("gossip.announce_interval", "100ms")
            .set("keeper.initial_voters", voters.join(","))
            .set("keeper.election_timeout", "300ms")
            .set("keeper.segment_bytes", 256 << 10)
            .set("keeper.checkpoint_interval", "50ms")
            .set("keeper.window_entries", 5)
            .set("keeper.fatal_grace", "1s");
        let seeds: Vec<String> = self
            .seeds
            .lock()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        settings.set("gossip.seeds", seeds.join(","));
        let mut config = Config::from_settings(&settings).unwrap();
        config.log_disk = self.disks[at].clone();
        (self.change_config)(&mut config);
        config
    }

    pub async fn start(&mut self, at: usize) {
        self.start_with(at, Shutdown::new()).await;
    }

    pub async fn start_with(&mut self, at: usize, shutdown: Shutdown) {
        let keeper = start(self.config(at), shutdown).await.unwrap();
        self.seeds.lock().unwrap().push(keeper.gossip_addr);
        self.running[at] = Some(keeper);
    }

    pub async fn ready(&self) {
        for keeper in self.running.iter().flatten() {
            tokio::time::timeout(PATIENCE, keeper.ready())
                .await
                .expect("a keeper gets ready");
        }
    }

    /// Ends a keeper as a crash would.
    pub async fn kill(&mut self, at: usize) {
        let keeper = self.running[at].take().expect("it runs");
        keeper.kill().await;
    }

    /// Takes away what a keeper has, as a new disk would. `node.json` stays: of two lives that begin in the same second
    /// without it, gossip cannot tell which is the later.
    pub fn wipe(&self, at: usize) {
        for entry in std::fs::read_dir(self.data_path(at)).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => std::fs::remove_dir_all(path).unwrap(),
                false if path.ends_with("node.json") => {}
                false => std::fs::remove_file(path).unwrap(),
            }
        }
    }

    pub fn addr(&self, at: usize) -> SocketAddr {
        self.running[at].as_ref().expect("it runs").rpc_addr
    }

    /// Which keeper leads, once somebody does.
    pub async fn leader(&self, node: &Node) -> usize {
        until("a leader", || async {
            for at in 0..self.count {
                if self.running[at].is_some()
                    && let Ok(status) = node
                        .keeper(self.addr(at))
                        .get_keeper_status(longbow_wire::internal::GetKeeperStatusRequest {})
                        .await
                    && status.get_ref().leader == format!("k{at}")
                {
                    return Some(at);
                }
            }
            None
        })
        .await
    }
}

/// A node of another role, which knows the keepers by gossip.
pub struct Node {
    pub peers: Peers,
    pub gossip: Gossip,
    pub client: KeeperClient,
    shutdown: Shutdown,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

impl Node {
    pub async fn join(keepers: &Keepers, role: Role, name: &str) -> Self {
        let mut config = keepers.config(0).node;
        config.role = role;
        config.node_id = Some(name.parse().unwrap());
        let identity = Identity {
            cluster_id: config.cluster_id.clone(),
            node_id: name.parse().unwrap(),
            role,
            generation: 1,
        };
        let shutdown = Shutdown::new();
        let peers = Peers::new(ClusterAuth::new(&identity, SECRET.as_bytes()));
        let nowhere = "127.0.0.1:1".parse().unwrap();
        let gossip = Gossip::start(&config, identity, nowhere, None, shutdown.clone())
            .await
            .unwrap();
        keepers.seeds.lock().unwrap().push(gossip.local_addr());
        let client = KeeperClient::new(peers.clone(), gossip.clone());
        Self {
            peers,
            gossip,
            client,
            shutdown,
        }
    }

    pub fn keeper(&self, addr: SocketAddr) -> KeeperServiceClient<AuthedChannel> {
        KeeperServiceClient::new(self.peers.channel(addr)).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub async fn append(&self, header: &EntryHeader, body: &[u8]) -> Result<AppendResponse, Error> {
        let (header, body) = (Bytes::from(header.encode_to_vec()), Bytes::copy_from_slice(body));
        self.client.append(header, body, deadline()).await
    }

    pub async fn open_producer(&self) -> u64 {
        let answer = self.append(&open_producer(), &[]).await.unwrap();
        assert_eq!(answer.verdict.unwrap().code, "");
        answer.index
    }
}

pub fn header(command: Command) -> EntryHeader {
    EntryHeader {
        command: Some(command),
        ..EntryHeader::default()
    }
}

pub fn open_producer() -> EntryHeader {
    header(Command::OpenProducer(OpenProducerCommand {
        client: "test".into(),
    }))
}

pub fn register(shard: &str) -> EntryHeader {
    header(Command::RegisterShard(RegisterShardCommand {
        node_id: shard.into(),
        log_id: 0,
    }))
}

pub fn create(name: &str) -> EntryHeader {
    header(Command::CreateDataset(CreateDatasetCommand {
        name: name.into(),
        schema: Bytes::from_static(b"opaque"),
        partition_count: 2,
        ..CreateDatasetCommand::default()
    }))
}

pub fn write(dataset: u64, producer: u64, sequence: u64, body: &[u8]) -> EntryHeader {
    let range = PartitionRange {
        partition: 0,
        offset: 0,
        length: body.len() as u64,
        rows: 1,
    };
    EntryHeader {
        producer,
        sequence,
        command: Some(Command::Write(WriteCommand {
            dataset_id: dataset,
            schema_version: 1,
            map_epoch: 1,
            kind: WriteKind::Upsert as i32,
            ranges: vec![range],
            filter_semantics: 0,
        })),
    }
}

pub fn node_id(name: &str) -> NodeId {
    name.parse().unwrap()
}

/// A dataset to write to; its id.
pub async fn dataset(router: &Node, name: &str) -> u64 {
    router.append(&register("s1"), &[]).await.unwrap();
    let created = router.append(&create(name), &[]).await.unwrap();
    assert_eq!(created.verdict.unwrap().code, "");
    created.index
}
