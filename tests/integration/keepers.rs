//! Three keepers under faults and a load that remembers every answer: killed, stopped, with failing and full disks, with
//! a disk lost and the keeper added anew, and all restarted at once. What was acknowledged is there, through every
//! router, and every keeper holds the same log.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use longbow_harness::{
    check,
    cluster::{Cluster, PATIENCE, Shape},
    load::{Load, channel, create_dataset},
    wait,
};
use longbow_types::ErrorCode;
use longbow_wal::{
    FsDisk,
    inspect::{Content, dump},
};
use longbow_wire::{
    convert::status::from_status,
    v1::{self, cluster_service_client::ClusterServiceClient},
};
use rand::{SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::shared::{binary, shim};

const DATASET: &str = "faults";
const KEEPERS: [&str; 3] = ["keeper-0", "keeper-1", "keeper-2"];
/// Rows that must be acknowledged while a fault lasts, and again afterwards.
const STEP: u64 = 150;
/// Longer than the keepers' election timeout, twice.
const STOPPED: Duration = Duration::from_secs(4);

/// A cluster, its load, and the folder that the shim looks into.
struct Scene {
    cluster: Cluster,
    endpoints: Vec<String>,
    load: Load,
    faults: PathBuf,
    random: StdRng,
}

impl Scene {
    fn admin(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(channel(&self.endpoints[0]).unwrap())
    }

    /// Writes go on.
    async fn progress(&self, what: &str) -> Result<()> {
        let seen = self.load.acked_rows();
        self.load
            .reach(seen + STEP)
            .await
            .with_context(|| what.to_owned())
    }

    async fn leader(&self) -> Result<String> {
        wait::until("a leader", PATIENCE, || async {
            let status = self
                .admin()
                .get_cluster_status(v1::GetClusterStatusRequest {})
                .await?;
            let leader = status.into_inner().leader;
            ensure!(!leader.is_empty(), "none is known");
            Ok(leader)
        })
        .await
    }

    fn any(&mut self) -> &'static str {
        KEEPERS.choose(&mut self.random).expect("there are three")
    }

    async fn back(&mut self, keeper: &str) -> Result<()> {
        self.cluster.restart(keeper)?;
        self.cluster.ready(keeper).await?;
        self.progress("after the fault").await
    }

    /// Makes a keeper's disk fail in one way.
    fn hurt(&self, keeper: &str, how: &str) -> Result<PathBuf> {
        let rule = self.faults.join(format!("{keeper}.{how}"));
        fs::write(&rule, "")?;
        Ok(rule)
    }

    async fn killed(&mut self) -> Result<()> {
        let leader = self.leader().await?;
        self.cluster.kill(&leader)?;
        self.cluster.ended(&leader).await?;
        self.progress("without the leader").await?;
        self.back(&leader).await
    }

    async fn stopped(&mut self) -> Result<()> {
        let leader = self.leader().await?;
        self.cluster.pause(&leader)?;
        self.progress("while the leader is stopped").await?;
        tokio::time::sleep(STOPPED).await;
        ensure!(self.leader().await? != leader, "a stopped keeper leads on");
        self.cluster.resume(&leader)?;
        self.cluster.ready(&leader).await?;
        self.progress("after it was stopped").await
    }

    async fn failing_sync(&mut self) -> Result<()> {
        let victim = self.any();
        let rule = self.hurt(victim, "eio")?;
        self.cluster.ended(victim).await?;
        ensure!(!fs::read(&rule)?.is_empty(), "no sync has failed");
        self.progress("without the keeper whose disk failed").await?;
        fs::remove_file(&rule)?;
        self.back(victim).await
    }

    async fn full_disk(&mut self) -> Result<()> {
        let victim = self.any();
        let rule = self.hurt(victim, "full")?;
        wait::until("writes to find no room", PATIENCE, || async {
            ensure!(fs::read(&rule)?.len() > 2, "none has");
            Ok(())
        })
        .await?;
        fs::remove_file(&rule)?;
        self.progress("after there was no room").await?;
        // It went on by itself.
        self.cluster.ready(victim).await
    }

    /// A disk is lost: the keeper is removed, and added under another raft id.
    async fn wiped(&mut self) -> Result<()> {
        let victim = self.any();
        self.cluster.kill(victim)?;
        self.cluster.ended(victim).await?;
        self.cluster.wipe(victim)?;
        self.cluster.restart(victim)?;
        self.cluster.ended(victim).await?;
        self.progress("without the keeper that lost its disk").await?;
        let before = self.raft_id(victim).await?;
        let request = v1::RemoveKeeperRequest {
            node_id: victim.to_owned(),
            force: false,
        };
        self.ask(|mut admin| {
            let request = request.clone();
            async move { admin.remove_keeper(request).await }
        })
        .await?;
        self.cluster.restart(victim)?;
        let request = v1::AddKeeperRequest {
            node_id: victim.to_owned(),
        };
        self.ask(|mut admin| {
            let request = request.clone();
            async move { admin.add_keeper(request).await }
        })
        .await?;
        let request = v1::PromoteKeeperRequest {
            node_id: victim.to_owned(),
            force: false,
        };
        self.ask(|mut admin| {
            let request = request.clone();
            async move { admin.promote_keeper(request).await }
        })
        .await?;
        self.cluster.ready(victim).await?;
        ensure!(self.raft_id(victim).await? > before, "a raft id was given twice");
        self.command_lists(victim)?;
        self.progress("after the keeper was added").await
    }

    /// Asks for a change until it is made: the group needs moments to see who is there.
    async fn ask<T, Fut>(&self, call: impl Fn(ClusterServiceClient<Channel>) -> Fut) -> Result<()>
    where
        Fut: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        wait::until("a change of the group", PATIENCE, || async {
            match call(self.admin()).await {
                Ok(_) => Ok(()),
                // An attempt whose answer was lost has done it.
                Err(status)
                    if from_status(&status).code == ErrorCode::KeeperNotFound && is_removed(&status) =>
                {
                    Ok(())
                }
                Err(status) => Err(from_status(&status).into()),
            }
        })
        .await
    }

    async fn raft_id(&self, keeper: &str) -> Result<u64> {
        let all = self.admin().list_keepers(v1::ListKeepersRequest {}).await?;
        let all = all.into_inner().keepers;
        let found = all.iter().find(|one| one.node_id == keeper && one.raft_id != 0);
        found.map(|one| one.raft_id).context("it is no member")
    }

    /// What a person sees.
    fn command_lists(&self, keeper: &str) -> Result<()> {
        let output = Command::new(binary())
            .args(["keeper", "list", "--json", "--endpoint", &self.endpoints[0]])
            .output()?;
        let listed: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let all = listed["keepers"].as_array().context("no keepers")?;
        let role = all
            .iter()
            .find(|one| one["node_id"] == keeper)
            .map(|one| &one["role"]);
        ensure!(
            all.len() == 3 && role == Some(&"voter".into()),
            "listed: {listed}"
        );
        Ok(())
    }

    async fn all_restarted(&mut self) -> Result<()> {
        for keeper in KEEPERS {
            self.cluster.kill(keeper)?;
        }
        for keeper in KEEPERS {
            self.cluster.restart(keeper)?;
        }
        for keeper in KEEPERS {
            self.cluster.ready(keeper).await?;
        }
        self.progress("after all were restarted").await
    }
}

/// Whether the leader itself says that the keeper is not in the group.
fn is_removed(status: &tonic::Status) -> bool {
    status.message().contains("is not in the keepers' group")
}

/// The entries of a stopped keeper's log: those that were replaced do not count.
fn log_of(path: &Path) -> Result<BTreeMap<u64, (u64, Vec<u8>)>> {
    let disk = FsDisk::open_to_read(path)?;
    let mut entries = BTreeMap::new();
    dump(&disk, |record| {
        if let Content::Entry {
            term, index, data, ..
        } = record.content
        {
            entries.split_off(&index);
            entries.insert(index, (term, data));
        }
        Ok::<_, longbow_wal::Error>(())
    })?;
    Ok(entries)
}

async fn run(seed: u64) -> Result<()> {
    println!("seed {seed}");
    let dir = TempDir::new()?;
    let env = [
        (
            "LD_PRELOAD".to_owned(),
            shim(&dir, "faults").display().to_string(),
        ),
        ("FAULTS_DIR".to_owned(), dir.path().display().to_string()),
    ];
    let shape = Shape {
        keepers: 3,
        shards: 1,
        routers: 2,
    };
    let cluster = Cluster::start_with(binary(), shape, &env)?;
    let endpoints = cluster.endpoints();
    create_dataset(&endpoints[0], DATASET).await?;
    let load = Load::start(&endpoints, DATASET, 2, seed)?;
    load.reach(STEP).await?;
    let mut scene = Scene {
        cluster,
        endpoints,
        load,
        faults: dir.path().to_owned(),
        random: StdRng::seed_from_u64(seed),
    };
    scene.killed().await.context("kill -9 of the leader")?;
    scene.stopped().await.context("SIGSTOP of the leader")?;
    scene.failing_sync().await.context("EIO on a sync")?;
    scene.full_disk().await.context("ENOSPC on writes")?;
    scene.wiped().await.context("a lost disk")?;
    scene.all_restarted().await.context("all restarted")?;

    let Scene {
        mut cluster,
        endpoints,
        load,
        ..
    } = scene;
    let model = load.stop().await?;
    for endpoint in &endpoints {
        let verdict = check::holds(endpoint, DATASET, &model).await?;
        ensure!(verdict.rows > 0, "the load wrote nothing");
    }
    cluster.down()?;
    let logs: Vec<_> = KEEPERS
        .iter()
        .map(|keeper| log_of(&cluster.data_dir().join(keeper).join("wal")))
        .collect::<Result<_>>()?;
    // Behind what all have, there can only be what nobody was told of.
    let common = logs.iter().filter_map(|log| Some(*log.last_key_value()?.0)).min();
    let common = common.context("an empty log")?;
    ensure!(common > 20, "only {common} entries");
    for log in &logs[1..] {
        ensure!(log.range(..=common).eq(logs[0].range(..=common)), "two orders");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_keepers_keep_their_word_under_faults() {
    for seed in [1, 2] {
        run(seed)
            .await
            .unwrap_or_else(|error| panic!("seed {seed}: {error:#}"));
    }
}
