//! Keepers, a shard, and a router's client, in this process.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use longbow_node::config::{Loader, Settings};
use longbow_node::identity::Identity;
use longbow_node::rpc::{AuthedChannel, ClusterAuth, Peers};
use longbow_node::shutdown::Shutdown;
use longbow_shard::{Config, Running, SETTINGS};
use longbow_types::{Error, Role};
use longbow_wire::convert::status::from_status;
use longbow_wire::internal::entry_header::Command;
use longbow_wire::internal::shard_service_client::ShardServiceClient;
use longbow_wire::internal::*;
use tempfile::TempDir;
use tonic::{Request, Response, Status};

use crate::keeper::{Keeper, Log};
use crate::rows::{PARTITIONS, create, delete, query, upsert};

pub const SECRET: &str = "a secret of the tests";
/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something that must come.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Asks again and again until the answer is yes.
pub async fn until<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let asking = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(what, asking).await;
}

fn settings(node: &str, seeds: &[SocketAddr]) -> Settings {
    let mut settings = Loader::new("test", "a test", &[SETTINGS]).defaults();
    let seeds: Vec<String> = seeds.iter().map(ToString::to_string).collect();
    settings
        .set("cluster.id", "tests")
        .set("cluster.secret", SECRET)
        .set("node.id", node)
        .set("rpc.listen_addr", "127.0.0.1:0")
        .set("gossip.listen_addr", "127.0.0.1:0")
        .set("http.listen_addr", "127.0.0.1:0")
        .set("gossip.seeds", seeds.join(","))
        .set("gossip.probe_interval", "200ms")
        .set("gossip.suspect_timeout", "500ms");
    settings
}

pub struct Cluster {
    pub log: Arc<Log>,
    pub keepers: Vec<Keeper>,
    pub shard: Option<Running>,
    pub data: TempDir,
    /// Settings of the shard that are not the defaults.
    pub settings: Vec<(&'static str, &'static str)>,
    shutdown: Shutdown,
}

impl Cluster {
    /// Keepers alone.
    pub async fn with_keepers(count: usize) -> Self {
        let log = Log::new();
        let mut keepers: Vec<Keeper> = Vec::new();
        for at in 0..count {
            let seeds: Vec<SocketAddr> = keepers.iter().map(|keeper| keeper.gossip.local_addr()).collect();
            let settings = settings(&format!("keeper-{at}"), &seeds);
            keepers.push(Keeper::start(Arc::clone(&log), &settings, SECRET.as_bytes()).await);
        }
        let data = tempfile::tempdir().unwrap();
        Self {
            log,
            keepers,
            shard: None,
            data,
            settings: Vec::new(),
            shutdown: Shutdown::new(),
        }
    }

    /// Keepers and a shard that is ready.
    pub async fn start(keepers: usize) -> Self {
        let mut cluster = Self::with_keepers(keepers).await;
        cluster.start_shard().await;
        soon("the shard to be ready", cluster.shard().ready()).await;
        cluster
    }

    /// The keepers lose everything and form another group, which the running shard finds by gossip.
    pub async fn form_anew(&mut self) {
        for keeper in self.keepers.drain(..) {
            keeper.shutdown.trigger();
        }
        self.log = Log::with_id(2);
        let settings = settings("keeper-9", &[self.shard().gossip_addr]);
        let keeper = Keeper::start(Arc::clone(&self.log), &settings, SECRET.as_bytes()).await;
        self.keepers.push(keeper);
    }

    /// Starts the shard, or starts it again.
    pub async fn start_shard(&mut self) {
        let seeds: Vec<SocketAddr> = self
            .keepers
            .iter()
            .map(|keeper| keeper.gossip.local_addr())
            .collect();
        let mut settings = settings("shard-1", &seeds);
        settings.set("data_path", self.data.path().display());
        for (key, value) in &self.settings {
            settings.set(key, value);
        }
        self.shutdown = Shutdown::new();
        let config = Config::from_settings(&settings).unwrap();
        self.shard = Some(longbow_shard::start(config, self.shutdown.clone()).await.unwrap());
    }

    /// Stops the shard as SIGTERM does.
    pub async fn stop_shard(&mut self) {
        self.shutdown.trigger();
        let shard = self.shard.take().unwrap();
        soon("the shard to end", shard.wait()).await.unwrap();
    }

    pub fn shard(&self) -> &Running {
        self.shard.as_ref().unwrap()
    }

    /// A client that proves to be of a role, with some secret.
    pub fn client_as(&self, role: Role, secret: &str) -> ShardServiceClient<AuthedChannel> {
        let identity = Identity {
            cluster_id: "tests".parse().unwrap(),
            node_id: "router-1".parse().unwrap(),
            role,
            generation: 1,
        };
        let peers = Peers::new(ClusterAuth::new(&identity, secret.as_bytes()));
        ShardServiceClient::new(peers.channel(self.shard().rpc_addr)).max_decoding_message_size(usize::MAX)
    }

    pub fn client(&self) -> ShardServiceClient<AuthedChannel> {
        self.client_as(Role::Router, SECRET)
    }

    /// Commits an entry that must be accepted.
    pub fn append(&self, (command, body): (Command, bytes::Bytes)) -> u64 {
        let (index, verdict) = self.log.append(command, body);
        assert_eq!(verdict.code, "", "{verdict:?}");
        index
    }

    pub fn create(&self, name: &str) -> u64 {
        self.append((create(name), bytes::Bytes::new()))
    }

    pub fn upsert(&self, dataset: u64, ids: impl IntoIterator<Item = u64>, text: &str) -> u64 {
        self.append(upsert(dataset, &ids.into_iter().collect::<Vec<_>>(), text))
    }

    pub fn delete(&self, dataset: u64, ids: impl IntoIterator<Item = u64>) -> u64 {
        self.append(delete(dataset, &ids.into_iter().collect::<Vec<_>>()))
    }

    pub async fn search(&self, request: SearchPartitionsRequest) -> Result<SearchPartitionsResponse, Error> {
        answer(self.client().search_partitions(timed(request)).await)
    }

    pub async fn wait(&self, target: PartitionSet, indexed: bool) -> Result<Vec<PartitionState>, Error> {
        let request = WaitAppliedRequest {
            target: Some(target),
            indexed,
            outcome: false,
        };
        answer(self.client().wait_applied(timed(request)).await).map(|response| response.states)
    }

    /// What became of the rows of a conditional write.
    pub async fn outcomes(&self, target: PartitionSet) -> Result<Vec<PartitionOutcome>, Error> {
        let request = WaitAppliedRequest {
            target: Some(target),
            indexed: false,
            outcome: true,
        };
        answer(self.client().wait_applied(timed(request)).await).map(|response| response.outcomes)
    }

    pub async fn status(&self) -> GetShardStatusResponse {
        answer(
            self.client()
                .get_shard_status(timed(GetShardStatusRequest {}))
                .await,
        )
        .unwrap()
    }
}

pub fn answer<T>(answer: Result<Response<T>, Status>) -> Result<T, Error> {
    answer
        .map(Response::into_inner)
        .map_err(|status| from_status(&status))
}

/// A request that waits as long as a test is patient.
pub fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(PATIENCE);
    request
}

/// All partitions of a dataset, at an index.
pub fn all(dataset: u64, min_index: u64) -> PartitionSet {
    PartitionSet {
        dataset_id: dataset,
        partitions: (0..PARTITIONS).collect(),
        min_index,
        schema_version: 0,
    }
}

/// The nearest rows to a point, from all partitions.
pub fn near(dataset: u64, min_index: u64, x: f32, k: u32) -> SearchPartitionsRequest {
    SearchPartitionsRequest {
        target: Some(all(dataset, min_index)),
        vector: query(x),
        k,
        ..SearchPartitionsRequest::default()
    }
}
