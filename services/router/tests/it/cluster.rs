//! A cluster in one process: one keeper, some shards, one router, on free loopback ports.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arrow_flight::flight_service_client::FlightServiceClient;
use longbow_node::{
    config::{COMMON, Setting, Settings},
    shutdown::Shutdown,
};
use longbow_types::Error;
use longbow_wire::{
    convert::status::from_status,
    internal::LatchRegister,
    v1::{
        self, cluster_service_client::ClusterServiceClient, dataset_service_client::DatasetServiceClient,
        row_id, search_service_client::SearchServiceClient, value::Kind,
        write_service_client::WriteServiceClient,
    },
};
use prost::Message;
use tempfile::TempDir;
use tokio::{runtime::Runtime, task::JoinHandle};
use tonic::{Response, Status, transport::Channel};

pub const DIMENSION: usize = 8;
/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One role that runs, and the switch that stops it.
struct Role {
    stop: Shutdown,
    done: JoinHandle<anyhow::Result<()>>,
}

/// A running cluster. Everything stops with it.
pub struct Cluster {
    dir: TempDir,
    /// Where newcomers look: everybody who ever ran.
    seeds: Vec<SocketAddr>,
    roles: BTreeMap<String, Role>,
    pub data: SocketAddr,
    pub meta: SocketAddr,
    pub http: SocketAddr,
}

impl Cluster {
    /// Starts a keeper, so many shards and a router, and waits until all are ready.
    pub async fn start(shards: usize, api_key: Option<&str>) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let mut cluster = Self {
            dir,
            seeds: Vec::new(),
            roles: BTreeMap::new(),
            data: any,
            meta: any,
            http: any,
        };
        cluster.start_keeper().await;
        for at in 0..shards {
            cluster.start_shard(&format!("s{at}")).await;
        }
        let mut settings = cluster.settings("r0", longbow_router::SETTINGS);
        settings
            .set("router.listen_addr", "127.0.0.1:0")
            .set("router.meta_addr", "127.0.0.1:0");
        if let Some(key) = api_key {
            settings.set("router.api_key", key);
        }
        let stop = Shutdown::new();
        let config = longbow_router::Config::from_settings(&settings).unwrap();
        let router = longbow_router::start(config, stop.clone()).await.unwrap();
        (cluster.data, cluster.meta, cluster.http) = (router.rpc_addr, router.meta_addr, router.http_addr);
        tokio::time::timeout(PATIENCE, router.ready())
            .await
            .expect("the router becomes ready");
        cluster.roles.insert(
            "r0".to_owned(),
            Role {
                stop,
                done: tokio::spawn(router.wait()),
            },
        );
        cluster
    }

    fn settings(&self, id: &str, own: &'static [Setting]) -> Settings {
        let seeds: Vec<String> = self.seeds.iter().map(ToString::to_string).collect();
        let mut settings = Settings::defaults(&[COMMON, own]);
        settings
            .set("cluster.secret", "a secret of the tests")
            .set("node.id", id)
            .set("data_path", self.dir.path().join(id).display())
            .set("gossip.listen_addr", "127.0.0.1:0")
            .set("http.listen_addr", "127.0.0.1:0")
            .set("gossip.seeds", seeds.join(","))
            .set("gossip.probe_interval", "200ms")
            .set("gossip.suspect_timeout", "600ms")
            .set("gossip.announce_interval", "100ms");
        settings
    }

    pub async fn start_keeper(&mut self) {
        let mut settings = self.settings("k0", longbow_wal_keeper::SETTINGS);
        settings
            .set("rpc.listen_addr", "127.0.0.1:0")
            .set("keeper.initial_voters", "k0")
            .set("keeper.election_timeout", "300ms")
            .set("keeper.segment_bytes", 1 << 20);
        let stop = Shutdown::new();
        let config = longbow_wal_keeper::Config::from_settings(&settings).unwrap();
        let keeper = longbow_wal_keeper::start(config, stop.clone()).await.unwrap();
        self.seeds.push(keeper.gossip_addr);
        tokio::time::timeout(PATIENCE, keeper.ready())
            .await
            .expect("the keeper becomes ready");
        let done = tokio::spawn(keeper.wait());
        self.roles.insert("k0".to_owned(), Role { stop, done });
    }

    /// Leaves the latch tripped on the disk of the keeper, which must not run.
    pub fn trip_latch(&self, epoch: u64, cause: &str) {
        let register = LatchRegister {
            epoch,
            tripped: true,
            cause: cause.to_owned(),
        }
        .encode_to_vec();
        let checksum = crc32c::crc32c(&register).to_le_bytes();
        let stored = [&b"LBLATCH1"[..], &checksum, &register].concat();
        std::fs::write(self.dir.path().join("k0/latch"), stored).unwrap();
    }

    pub async fn start_shard(&mut self, id: &str) {
        let mut settings = self.settings(id, longbow_shard::SETTINGS);
        settings.set("rpc.listen_addr", "127.0.0.1:0");
        let stop = Shutdown::new();
        let config = longbow_shard::Config::from_settings(&settings).unwrap();
        let shard = longbow_shard::start(config, stop.clone()).await.unwrap();
        self.seeds.push(shard.gossip_addr);
        tokio::time::timeout(PATIENCE, shard.ready())
            .await
            .expect("the shard becomes ready");
        self.roles.insert(
            id.to_owned(),
            Role {
                stop,
                done: tokio::spawn(shard.wait()),
            },
        );
    }

    /// Stops a role and waits until it has ended.
    pub async fn stop(&mut self, id: &str) {
        let role = self.roles.remove(id).expect("the role runs");
        role.stop.trigger();
        tokio::time::timeout(PATIENCE, role.done)
            .await
            .expect("the role ends")
            .unwrap()
            .unwrap();
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.data).await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.roles.values().for_each(|role| role.stop.trigger());
    }
}

/// A cluster that tests share; each works in a dataset of its own.
pub async fn shared() -> Client {
    static SHARED: OnceLock<(Runtime, Cluster)> = OnceLock::new();
    let start = || {
        std::thread::spawn(|| {
            let runtime = Runtime::new().unwrap();
            let cluster = runtime.block_on(Cluster::start(2, None));
            (runtime, cluster)
        })
    };
    let cluster = tokio::task::spawn_blocking(move || &SHARED.get_or_init(|| start().join().unwrap()).1);
    let cluster = cluster.await.unwrap();
    let mut client = cluster.client().await;
    client.meta = cluster.meta;
    client.http = cluster.http;
    client
}

/// The public APIs, seen by a client.
#[derive(Clone)]
pub struct Client {
    pub addr: SocketAddr,
    pub meta: SocketAddr,
    pub http: SocketAddr,
    pub channel: Channel,
    pub datasets: DatasetServiceClient<Channel>,
    pub writes: WriteServiceClient<Channel>,
    pub searches: SearchServiceClient<Channel>,
    pub cluster: ClusterServiceClient<Channel>,
    pub flight: FlightServiceClient<Channel>,
}

impl Client {
    pub async fn connect(addr: SocketAddr) -> Self {
        let channel = Channel::from_shared(format!("http://{addr}"))
            .unwrap()
            .connect()
            .await
            .unwrap();
        Self {
            addr,
            meta: addr,
            http: addr,
            datasets: DatasetServiceClient::new(channel.clone()),
            writes: WriteServiceClient::new(channel.clone()),
            searches: SearchServiceClient::new(channel.clone()).max_decoding_message_size(256 << 20),
            cluster: ClusterServiceClient::new(channel.clone()),
            flight: FlightServiceClient::new(channel.clone()).max_decoding_message_size(256 << 20),
            channel,
        }
    }

    /// Creates a dataset of numbered rows with a text and a number, and gives its name.
    pub async fn create(&mut self, name: &str) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let request = v1::CreateDatasetRequest {
            name: name.clone(),
            schema: Some(schema()),
            ..Default::default()
        };
        self.datasets.create_dataset(request).await.unwrap();
        name
    }

    pub async fn upsert(
        &mut self,
        dataset: &str,
        rows: Vec<v1::Row>,
        ack: v1::AckLevel,
    ) -> Result<v1::UpsertResponse, Status> {
        let request = v1::UpsertRequest {
            dataset: dataset.to_owned(),
            payload: Some(v1::upsert_request::Payload::Rows(v1::Rows { rows })),
            ack: ack as i32,
            ..v1::UpsertRequest::default()
        };
        self.writes.upsert(request).await.map(Response::into_inner)
    }

    pub async fn search(&mut self, request: v1::SearchRequest) -> Result<v1::SearchResponse, Status> {
        self.searches.search(request).await.map(Response::into_inner)
    }

    pub async fn get(&mut self, dataset: &str, ids: &[u64]) -> Result<v1::GetRowsResponse, Status> {
        let request = v1::GetRowsRequest {
            dataset: dataset.to_owned(),
            ids: ids.iter().copied().map(id).collect(),
            columns: vec!["*".to_owned()],
            include_vector: true,
            ..Default::default()
        };
        self.searches.get_rows(request).await.map(Response::into_inner)
    }
}

/// Id, vector (L2), `text` and `number`.
pub fn schema() -> v1::Schema {
    let column = |name: &str, kind: v1::ColumnKind, nullable| v1::Column {
        name: name.into(),
        kind: kind as i32,
        nullable,
        vector: None,
        time: None,
        default: None,
        list: None,
        decimal: None,
        structure: None,
    };
    let vector = v1::VectorType {
        dimension: DIMENSION as u32,
        metric: v1::Metric::L2 as i32,
        element: v1::VectorElement::Float32 as i32,
        quantization: v1::Quantization::Unspecified as i32,
    };
    let vector = v1::Column {
        vector: Some(vector),
        ..column("vector", v1::ColumnKind::Vector, false)
    };
    v1::Schema {
        columns: vec![
            column("id", v1::ColumnKind::Uint64, false),
            vector,
            column("text", v1::ColumnKind::Utf8, true),
            column("number", v1::ColumnKind::Int64, true),
        ],
        id_column: "id".into(),
        ..v1::Schema::default()
    }
}

/// A vector that tells its number: no two are alike, and near numbers are near.
pub fn vector(number: u64) -> Vec<f32> {
    let mut vector = vec![0.5; DIMENSION];
    vector[0] = number as f32;
    vector
}

pub fn id(number: u64) -> v1::RowId {
    v1::RowId {
        kind: Some(row_id::Kind::U64(number)),
    }
}

pub fn value(kind: Kind) -> v1::Value {
    v1::Value { kind: Some(kind) }
}

pub fn row(number: u64) -> v1::Row {
    v1::Row {
        id: Some(id(number)),
        vector: Some(v1::Vector {
            values: vector(number),
        }),
        columns: BTreeMap::from([
            ("text".to_owned(), value(Kind::Utf8(format!("row {number}")))),
            ("number".to_owned(), value(Kind::I64(number as i64))),
        ]),
    }
}

pub fn near(dataset: &str, number: u64, k: u32) -> v1::SearchRequest {
    v1::SearchRequest {
        dataset: dataset.to_owned(),
        query: Some(v1::search_request::Query::Vector(v1::Vector {
            values: vector(number),
        })),
        k,
        columns: vec!["*".to_owned()],
        ..Default::default()
    }
}

pub fn numbers(hits: &[v1::Hit]) -> Vec<u64> {
    hits.iter().map(|hit| number(hit.id.as_ref())).collect()
}

pub fn number(id: Option<&v1::RowId>) -> u64 {
    match id.and_then(|id| id.kind.as_ref()) {
        Some(row_id::Kind::U64(number)) => *number,
        other => panic!("{other:?} is no number"),
    }
}

/// The typed error of a call that must be refused.
pub fn refused<T: std::fmt::Debug>(outcome: Result<T, Status>) -> Error {
    from_status(&outcome.expect_err("the call must be refused"))
}

/// Waits until something holds.
pub async fn until<T, Fut: Future<Output = Option<T>>>(what: &str, mut probe: impl FnMut() -> Fut) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
