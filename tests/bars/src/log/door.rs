//! A client at the keepers' door: it appends entries as routers do, and speaks for the only shard, which is not there.

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use longbow_harness::{
    cluster::{Cluster, Node, PATIENCE, Shape, http_get},
    load::schema,
};
use longbow_node::{
    identity::Identity,
    rpc::{AuthedChannel, ClusterAuth, Peers},
};
use longbow_types::Role;
use longbow_wire::internal::{
    AppendRequest, CreateDatasetCommand, DurableReplica, EntryHeader, GetKeeperStatusRequest,
    OpenProducerCommand, PartitionRange, ReportDurableRequest, ShardCredit, TailRequest, TailResponse,
    WatchCatalogueRequest, WatchCatalogueResponse, WriteCommand, WriteKind, entry_header::Command,
    keeper_service_client::KeeperServiceClient,
};
use prost::Message;
use serde::Deserialize;
use tokio::task::JoinSet;
use tonic::Streaming;

use super::cluster::binary;

type Keeper = KeeperServiceClient<AuthedChannel>;

/// One of those that append, each one entry at a time.
struct Writer {
    producer: u64,
    sequence: u64,
}

/// Keepers with a dataset, and clients of theirs.
pub(super) struct Door {
    pub cluster: Cluster,
    leader: Node,
    /// Calls the leader as a router does.
    router: Keeper,
    /// Calls every keeper as the shard does.
    shard: Vec<Keeper>,
    /// The shard's proof, for more connections of its.
    shard_auth: ClusterAuth,
    dataset_id: u64,
    map_epoch: u64,
    log_id: u64,
    writers: Vec<Writer>,
    last: u64,
}

#[derive(Deserialize)]
struct ClusterFile {
    cluster: Secret,
}

#[derive(Deserialize)]
struct Secret {
    id: String,
    secret: String,
}

impl Door {
    /// Starts keepers, and a dataset whose shard ends before it is told anything.
    pub async fn open(keepers: u32, writers: usize, env: &[(&str, &str)]) -> Result<Self> {
        let shape = Shape {
            keepers,
            shards: 1,
            routers: 1,
        };
        // The shard is silent from the beginning, and writers are not to be held up for it.
        let env = [env, &[("LONGBOW_KEEPER_SILENT_CREDIT_BYTES", "1099511627776")]].concat();
        let env: Vec<_> = env.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        let mut cluster = Cluster::start_with(&binary(), shape, &env)?;
        let shard_id = cluster.of_role("shard").next().context("no shard")?.id.clone();
        let file = fs::read_to_string(cluster.data_dir().join("cluster.toml"))?;
        let Secret { id, secret } = toml::from_str::<ClusterFile>(&file)?.cluster;
        let auth = |role, node_id: &str| -> Result<ClusterAuth> {
            let identity = Identity {
                cluster_id: id.parse()?,
                node_id: node_id.parse()?,
                role,
                generation: 0,
            };
            Ok(ClusterAuth::new(&identity, secret.as_bytes()))
        };
        let router = Peers::new(auth(Role::Router, "bars")?);
        let shard_auth = auth(Role::Shard, &shard_id)?;
        let shard = Peers::new(shard_auth.clone());
        let nodes: Vec<Node> = cluster.of_role("wal-keeper").cloned().collect();
        ensure!(nodes.len() == keepers as usize, "not all keepers are there");
        let mut first = client(&router, &nodes[0])?;
        // Its registration is what the shard is needed for.
        let catalogue = catalogue_when(&mut first, |it| {
            !shards_of(it).is_empty() && !it.leader.is_empty()
        })
        .await?;
        cluster.kill(&shard_id)?;
        let leader = nodes.iter().find(|node| node.id == catalogue.leader);
        let leader = leader.context("the leader is nobody")?.clone();
        let shard = nodes
            .iter()
            .map(|node| client(&shard, node))
            .collect::<Result<_>>()?;
        let mut door = Self {
            cluster,
            router: client(&router, &leader)?,
            leader,
            shard,
            shard_auth,
            dataset_id: 0,
            map_epoch: 0,
            log_id: 0,
            writers: Vec::new(),
            last: 0,
        };
        let create = Command::CreateDataset(CreateDatasetCommand {
            name: "bars".to_owned(),
            schema: schema().encode_to_vec().into(),
            partition_count: 1,
            replication_factor: 1,
            ..Default::default()
        });
        door.dataset_id = append(&mut door.router, header(0, 0, create), Bytes::new()).await?;
        for _ in 0..writers {
            let open = Command::OpenProducer(OpenProducerCommand {
                client: "bars".to_owned(),
            });
            let producer = append(&mut door.router, header(0, 0, open), Bytes::new()).await?;
            door.writers.push(Writer {
                producer,
                sequence: 0,
            });
        }
        let known = |it: &WatchCatalogueResponse| {
            let catalogue = it.catalogue.as_ref();
            catalogue.is_some_and(|catalogue| !catalogue.datasets.is_empty())
        };
        let now = catalogue_when(&mut door.router, known).await?;
        let now = now.catalogue.context("no catalogue")?;
        (door.map_epoch, door.log_id) = (now.map_epoch, now.log_id);
        Ok(door)
    }

    /// The leader's process.
    pub fn leader(&self) -> &Node {
        &self.leader
    }

    /// Lets the first `writers` writers append `each` entries with this body each, one after the other. How long it takes
    /// until all are committed.
    pub async fn write(&mut self, writers: usize, each: u64, body: &Bytes) -> Result<Duration> {
        let mut tasks = JoinSet::new();
        let rest = self.writers.split_off(writers);
        let began = Instant::now();
        for mut writer in self.writers.drain(..) {
            let (mut router, body) = (self.router.clone(), body.clone());
            let write = WriteCommand {
                dataset_id: self.dataset_id,
                schema_version: 1,
                map_epoch: self.map_epoch,
                kind: WriteKind::Upsert as i32,
                ranges: vec![PartitionRange {
                    partition: 0,
                    offset: 0,
                    length: body.len() as u64,
                    rows: 1,
                }],
                filter_semantics: 0,
            };
            tasks.spawn(async move {
                let mut last = 0;
                for _ in 0..each {
                    writer.sequence += 1;
                    let command = Command::Write(write.clone());
                    let header = header(writer.producer, writer.sequence, command);
                    last = append(&mut router, header, body.clone()).await?;
                }
                anyhow::Ok((writer, last))
            });
        }
        while let Some(done) = tasks.join_next().await {
            let (writer, last) = done??;
            self.last = self.last.max(last);
            self.writers.push(writer);
        }
        let took = began.elapsed();
        self.writers.extend(rest);
        Ok(took)
    }

    /// Tells all keepers that go that the shard has all that was written in a snapshot, so that the log may be cut.
    pub async fn report(&mut self) {
        let replicas = vec![DurableReplica {
            dataset_id: self.dataset_id,
            partition: 0,
            index: self.last,
        }];
        for keeper in &mut self.shard {
            let report = ReportDurableRequest {
                replicas: replicas.clone(),
                log_id: self.log_id,
                incarnation: 0,
                credit: Some(ShardCredit {
                    applied_index: self.last,
                    free_bytes: u64::MAX,
                    budget_bytes: u64::MAX,
                    replicas: Vec::new(),
                }),
            };
            // One that is down is told when it is back.
            let _ = keeper.report_durable(report).await;
        }
    }

    /// A call to the leader that writes nothing.
    pub async fn call(&mut self) -> Result<()> {
        self.router.get_keeper_status(GetKeeperStatusRequest {}).await?;
        Ok(())
    }

    /// A reader of the leader's log from what was written last on. It has a connection of its own, as each shard has: what
    /// it does not read must hold up nobody else.
    pub async fn tail(&mut self) -> Result<Streaming<TailResponse>> {
        let mut shard = client(&Peers::new(self.shard_auth.clone()), &self.leader)?;
        let from_index = self.last.max(1);
        Ok(shard
            .tail(TailRequest {
                from_index,
                ..Default::default()
            })
            .await?
            .into_inner())
    }

    /// How many fdatasyncs the leader has counted.
    pub async fn syncs(&self) -> Result<f64> {
        let (status, text) = http_get(&self.leader.http_addr, "/metrics").await?;
        ensure!(status == 200, "/metrics answers {status}");
        let lines = text.lines().filter(|line| {
            line.starts_with("longbow_wal_fsync_duration_seconds_count") && line.contains("status=\"ok\"")
        });
        let counts = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        counts.reduce(|a, b| a + b).context("no fdatasyncs in /metrics")
    }
}

fn client(peers: &Peers, node: &Node) -> Result<Keeper> {
    let address: SocketAddr = node.rpc_addr.parse()?;
    Ok(KeeperServiceClient::new(peers.channel(address)).max_decoding_message_size(64 << 20))
}

fn header(producer: u64, sequence: u64, command: Command) -> Bytes {
    let header = EntryHeader {
        producer,
        sequence,
        command: Some(command),
    };
    header.encode_to_vec().into()
}

/// Appends an entry, which must be accepted; its index.
async fn append(keeper: &mut Keeper, header: Bytes, body: Bytes) -> Result<u64> {
    let answer = keeper.append(AppendRequest { header, body }).await?.into_inner();
    let verdict = answer.verdict.unwrap_or_default();
    ensure!(
        verdict.code.is_empty(),
        "refused: {} {}",
        verdict.code,
        verdict.message
    );
    Ok(answer.index)
}

/// The catalogue as soon as it is as wished.
async fn catalogue_when(
    keeper: &mut Keeper,
    wished: impl Fn(&WatchCatalogueResponse) -> bool,
) -> Result<WatchCatalogueResponse> {
    let watched = async {
        let mut stream = keeper
            .watch_catalogue(WatchCatalogueRequest {})
            .await?
            .into_inner();
        while let Some(next) = stream.message().await? {
            if wished(&next) {
                return Ok(next);
            }
        }
        anyhow::bail!("the keeper stopped telling")
    };
    tokio::time::timeout(PATIENCE, watched).await?
}

fn shards_of(response: &WatchCatalogueResponse) -> &[String] {
    response
        .catalogue
        .as_ref()
        .map_or(&[], |catalogue| &catalogue.shards)
}
