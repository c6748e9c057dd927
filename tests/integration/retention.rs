//! The log is really cut behind what shards have in snapshots, and whoever needs what was cut goes on without a wrong
//! answer: from snapshots, from older ones where the newest are damaged, from a keeper's catalogue with an empty disk; and
//! a replica of which nothing is left is lost, and says so.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use longbow_harness::{
    check,
    cluster::{Cluster, PATIENCE, Shape, http_get},
    load::{Load, Model, channel, create_dataset},
    wait,
};
use longbow_types::{
    Error, ErrorCode,
    partition::{hash_u64, partition_of},
};
use longbow_wire::{
    convert::status::from_status,
    v1::{
        self, cluster_service_client::ClusterServiceClient, dataset_service_client::DatasetServiceClient,
        search_service_client::SearchServiceClient,
    },
};

use crate::shared::binary;

const DATASET: &str = "cut";
const KEEPER: &str = "keeper-0";
const SHARD: &str = "shard-0";
/// Small, so that much is cut of little.
const SETTINGS: [(&str, &str); 5] = [
    ("LONGBOW_KEEPER_SEGMENT_BYTES", "65536"),
    ("LONGBOW_KEEPER_WINDOW_ENTRIES", "0"),
    ("LONGBOW_KEEPER_CHECKPOINT_INTERVAL", "200ms"),
    ("LONGBOW_KEEPER_CACHE_BYTES", "1048576"),
    ("LONGBOW_SHARD_SNAPSHOT_EVERY", "50000"),
];
const FIRST_ROWS: u64 = 4_000;
const PARTITIONS: u32 = 4;

struct Scene {
    cluster: Cluster,
    model: Model,
}

impl Scene {
    fn endpoint(&self) -> String {
        self.cluster.endpoints()[0].clone()
    }

    fn admin(&self) -> ClusterServiceClient<tonic::transport::Channel> {
        ClusterServiceClient::new(channel(&self.endpoint()).unwrap())
    }

    async fn keeper(&self) -> Result<v1::Keeper> {
        keeper(self.admin()).await
    }

    /// Directories of the snapshots of a shard's replicas, in the order of their datasets and partitions.
    fn replicas(&self) -> Result<Vec<PathBuf>> {
        let root = self.cluster.data_dir().join(SHARD).join("snapshots");
        let found: Result<BTreeSet<_>, _> = fs::read_dir(root)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect();
        Ok(found?.into_iter().collect())
    }

    async fn back(&mut self, node: &str) -> Result<()> {
        self.cluster.restart(node)?;
        self.cluster.ready(node).await
    }

    async fn holds(&self) -> Result<()> {
        let verdict = check::holds(&self.endpoint(), DATASET, &self.model).await?;
        ensure!(verdict.rows > 0, "the load wrote nothing");
        Ok(())
    }

    async fn metric(&self, node: &str, name: &str) -> Result<u64> {
        let mut nodes = self.cluster.nodes().iter();
        let node = nodes.find(|one| one.id == node).context("no such node")?;
        let (_, page) = http_get(&node.http_addr, "/metrics").await?;
        let line = page.lines().find(|line| line.starts_with(&format!("{name} ")));
        let value = line.and_then(|line| line.split_whitespace().nth(1));
        let value: f64 = value.with_context(|| format!("no {name}"))?.parse()?;
        Ok(value as u64)
    }

    /// The bytes of the log's files are a small part of what was written to it.
    async fn is_cut(&self) -> Result<()> {
        let written = self.metric(KEEPER, "longbow_wal_bytes_written_total").await?;
        let files = fs::read_dir(self.cluster.data_dir().join(KEEPER).join("wal"))?;
        let mut there = 0;
        for file in files {
            there += file?.metadata()?.len();
        }
        ensure!(there < written, "{there} bytes of {written} are still there");
        Ok(())
    }

    /// Snapshots and log go on, whatever ends.
    async fn killed(&mut self) -> Result<()> {
        for node in [SHARD, KEEPER] {
            self.cluster.kill(node)?;
        }
        // What is cut is not in the keeper's memory either.
        self.back(KEEPER).await?;
        ensure!(self.keeper().await?.first_index > 1, "the log is whole again");
        self.back(SHARD).await?;
        self.holds().await
    }

    async fn newest_damaged(&mut self) -> Result<()> {
        self.cluster.kill(SHARD)?;
        let replicas = self.replicas()?;
        ensure!(replicas.len() == PARTITIONS as usize, "{replicas:?}");
        for replica in &replicas {
            let generations = generations(replica)?;
            ensure!(
                generations.len() > 1,
                "a single snapshot, and the log is cut: {replica:?}"
            );
            let newest = generations.last().context("no snapshot")?;
            damage(replica, &format!("{newest}-live"))?;
        }
        self.back(SHARD).await?;
        ensure!(self.lost().await?.is_empty(), "a replica is lost");
        self.holds().await
    }

    /// An empty disk, behind the cut.
    async fn joined(&mut self) -> Result<()> {
        self.cluster.join(SHARD, "shard-9")?;
        self.cluster.ready("shard-9").await?;
        let endpoint = self.endpoint();
        create_dataset(&endpoint, "later").await?;
        let load = Load::start(&self.cluster.endpoints(), "later", 1, 3)?;
        load.reach(300).await?;
        let model = load.stop().await?;
        check::holds(&endpoint, "later", &model).await?;
        wait::until("the new shard to hold what the other holds", PATIENCE, || async {
            let request = v1::GetClusterStatusRequest {};
            let status = self.admin().get_cluster_status(request).await?.into_inner();
            let later = status.partitions.iter().filter(|one| one.dataset == "later");
            let mut replicas = 0;
            for partition in later {
                let rows: BTreeSet<u64> = partition.replicas.iter().map(|one| one.rows).collect();
                ensure!(rows.len() == 1 && !rows.contains(&0), "{partition:?}");
                replicas += partition
                    .replicas
                    .iter()
                    .filter(|one| one.node_id == "shard-9")
                    .count();
            }
            ensure!(replicas == PARTITIONS as usize, "it has {replicas} replicas");
            Ok(())
        })
        .await?;
        self.holds().await
    }

    async fn all_damaged(&mut self) -> Result<()> {
        self.cluster.kill(SHARD)?;
        damage(&self.replicas()?[0], "")?;
        self.back(SHARD).await?;
        for partition in 0..PARTITIONS {
            let read = self.read(partition).await;
            match (partition, read) {
                (0, Err(error)) => ensure!(error.code == ErrorCode::ReplicaLost, "{error}"),
                (0, Ok(rows)) => anyhow::bail!("{rows} rows of a lost replica"),
                (_, read) => ensure!(read? > 0, "nothing of partition {partition}"),
            }
        }
        let lost = self.lost().await?;
        ensure!(lost == [(DATASET.to_owned(), 0, SHARD.to_owned())], "{lost:?}");
        wait::until("the metric to tell", PATIENCE, || async {
            let lost = self.metric(SHARD, "longbow_replicas_lost").await?;
            ensure!(lost == 1, "it tells of {lost}");
            Ok(())
        })
        .await?;
        // Nobody counts what cannot be seen.
        let request = v1::GetDatasetRequest { name: DATASET.into() };
        let mut datasets = DatasetServiceClient::new(channel(&self.endpoint())?);
        let described = datasets.get_dataset(request).await?.into_inner().dataset;
        let rows = described.context("no dataset")?.rows;
        ensure!(rows.is_none(), "a lost partition was counted: {rows:?}");
        Ok(())
    }

    /// Replicas that are lost: dataset, partition and shard.
    async fn lost(&self) -> Result<Vec<(String, u32, String)>> {
        let request = v1::GetClusterStatusRequest {};
        let status = self.admin().get_cluster_status(request).await?.into_inner();
        let mut all = Vec::new();
        for partition in status.partitions {
            let lost = partition.replicas.into_iter().filter(|one| !one.lost.is_empty());
            all.extend(lost.map(|one| (partition.dataset.clone(), partition.partition, one.node_id)));
        }
        Ok(all)
    }

    /// Reads all rows of one partition and compares them; how many there are.
    async fn read(&self, partition: u32) -> Result<usize, Error> {
        let mine = |id: &&u64| partition_of(hash_u64(**id), PARTITIONS) == partition;
        let ids: Vec<u64> = self.model.keys().filter(mine).copied().take(1_000).collect();
        let id = |&id: &u64| v1::RowId {
            kind: Some(v1::row_id::Kind::U64(id)),
        };
        let request = v1::GetRowsRequest {
            dataset: DATASET.into(),
            ids: ids.iter().map(id).collect(),
            columns: vec!["version".into()],
            ..v1::GetRowsRequest::default()
        };
        let mut client = SearchServiceClient::new(channel(&self.endpoint()).unwrap());
        let answer = client.get_rows(request).await;
        let rows = answer.map_err(|status| from_status(&status))?.into_inner().rows;
        let there: BTreeSet<u64> = rows
            .iter()
            .filter_map(|row| match row.id.as_ref()?.kind.as_ref()? {
                v1::row_id::Kind::U64(id) => Some(*id),
                _ => None,
            })
            .collect();
        for id in ids {
            let is_there = there.contains(&id);
            let may_be = self.model[&id].acked.is_some() || !self.model[&id].maybe.is_empty();
            assert!(!is_there || may_be, "row {id} was deleted");
            assert!(is_there || self.model[&id].permits(None), "row {id} is missing");
        }
        Ok(there.len())
    }
}

async fn keeper(mut admin: ClusterServiceClient<tonic::transport::Channel>) -> Result<v1::Keeper> {
    let all = admin.list_keepers(v1::ListKeepersRequest {}).await?.into_inner();
    all.keepers.into_iter().next().context("no keeper")
}

/// Generations of a replica's snapshots, oldest first.
fn generations(replica: &Path) -> Result<Vec<String>> {
    let mut found = BTreeSet::new();
    for file in fs::read_dir(replica)? {
        let name = file?.file_name().into_string().ok().context("a strange name")?;
        found.extend(name.strip_suffix(".manifest").map(str::to_owned));
    }
    Ok(found.into_iter().collect())
}

/// Flips a bit in the middle of files whose names begin in some way.
fn damage(replica: &Path, prefix: &str) -> Result<()> {
    let mut damaged = 0;
    for file in fs::read_dir(replica)? {
        let path = file?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.starts_with(prefix)) {
            let mut bytes = fs::read(&path)?;
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes)?;
            damaged += 1;
        }
    }
    ensure!(damaged > 0, "there is nothing to damage in {replica:?}");
    Ok(())
}

async fn run() -> Result<()> {
    let env = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let cluster = Cluster::start_with(binary(), Shape::SMALLEST, &env)?;
    let endpoints = cluster.endpoints();
    create_dataset(&endpoints[0], DATASET).await?;
    let load = Load::start(&endpoints, DATASET, 2, 5)?;
    load.reach(FIRST_ROWS).await?;
    let admin = ClusterServiceClient::new(channel(&endpoints[0])?);
    let created = keeper(admin.clone()).await?.last_index;
    // The load goes on: rounds of snapshots come with what is written.
    wait::until("the log to be cut", 2 * PATIENCE, || async {
        let first = keeper(admin.clone()).await?.first_index;
        ensure!(first > created, "it begins at {first}");
        Ok(())
    })
    .await?;
    let model = load.stop().await?;
    let mut scene = Scene { cluster, model };
    scene.holds().await?;
    scene.is_cut().await?;
    scene.killed().await.context("killed")?;
    scene
        .newest_damaged()
        .await
        .context("the newest snapshots are damaged")?;
    scene.joined().await.context("a shard with an empty disk")?;
    scene
        .all_damaged()
        .await
        .context("all snapshots of one replica are damaged")?;
    scene.cluster.down()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_cut_is_missed_by_nobody() {
    run().await.unwrap_or_else(|error| panic!("{error:#}"));
}
