//! A cluster, clients that remember everything, and the means to hurt it.

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use longbow_harness::{
    cluster::{Cluster, PATIENCE, Shape, http_get, leader_but},
    faults::{Fault, Faults, Injected},
    history::{Operation, acknowledged, in_order, linearizable},
    links::Links,
    load::{channel, create_dataset},
    order::{KeeperLog, one_order, positions, read_log},
    register::{Notary, Registers, read_all},
    wait,
};
use longbow_wire::v1::cluster_service_client::ClusterServiceClient;
use rand::{SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::shared::binary;

pub const KEEPERS: [&str; 3] = ["keeper-0", "keeper-1", "keeper-2"];
const DATASET: &str = "faults";
const CLIENTS: u64 = 4;
/// Writes that must be acknowledged while a fault lasts, and again afterwards.
const STEP: u64 = 25;
/// Small, so that a log has many.
const SEGMENT_BYTES: u64 = 64 << 10;
/// Entries that all logs must have in common: fewer would prove nothing.
const ENTRIES_MIN: usize = 50;

pub struct Scene {
    pub cluster: Cluster,
    pub endpoints: Vec<String>,
    pub faults: Faults,
    pub links: Links,
    pub random: StdRng,
    load: Option<Registers>,
    notary: Notary,
    history: Vec<Operation>,
    /// Holds the rules.
    _rules: TempDir,
}

/// Injects a fault from so many seeds, and checks everything.
pub async fn nothing_is_lost(fault: &str, inject: impl AsyncFn(&mut Scene) -> Result<()>) {
    let mut scene = Scene::start().await.expect("the cluster starts");
    for seed in 1..=seeds() {
        if let Err(error) = scene.round(seed, &inject).await {
            panic!("{fault}, seed {seed}: {error:#}");
        }
    }
    if let Err(error) = scene.finish().await {
        panic!("{fault}: {error:#}");
    }
}

fn seeds() -> u64 {
    let wanted = std::env::var("FAULTS_SEEDS").ok();
    wanted.map_or(2, |wanted| wanted.parse().expect("a number of seeds"))
}

impl Scene {
    pub async fn start() -> Result<Self> {
        let rules = TempDir::new()?;
        let faults = Faults::new(rules.path())?;
        let mut links = Links::start().await?;
        let mut env = faults.env(true);
        env.push(links.env());
        env.push((
            "LONGBOW_KEEPER_SEGMENT_BYTES".to_owned(),
            SEGMENT_BYTES.to_string(),
        ));
        let shape = Shape {
            keepers: 3,
            shards: 1,
            routers: 2,
        };
        let cluster = Cluster::start_with(binary(), shape, &env)?;
        links.know(&cluster)?;
        let endpoints = cluster.endpoints();
        create_dataset(&endpoints[0], DATASET).await?;
        Ok(Self {
            cluster,
            endpoints,
            faults,
            links,
            random: StdRng::seed_from_u64(0),
            load: None,
            notary: Notary::default(),
            history: Vec::new(),
            _rules: rules,
        })
    }

    /// One fault under a load of its own, and what its clients saw.
    async fn round(&mut self, seed: u64, inject: &impl AsyncFn(&mut Scene) -> Result<()>) -> Result<()> {
        let first_key = self.begin(seed)?;
        self.go_on("before the fault").await?;
        inject(self).await?;
        self.go_on("after the fault").await?;
        let history = self.end().await?;
        let mut seen = history.clone();
        for endpoint in &self.endpoints {
            seen.extend(read_all(endpoint, DATASET, first_key, &self.notary).await?);
        }
        linearizable(&seen)
    }

    /// Starts clients on keys of their own.
    pub fn begin(&mut self, seed: u64) -> Result<u64> {
        self.random = StdRng::seed_from_u64(seed);
        let first_key = seed * 1_000;
        let load = Registers::start(&self.endpoints, DATASET, CLIENTS, first_key, &self.notary, seed)?;
        self.load = Some(load);
        Ok(first_key)
    }

    /// Stops the clients: what they saw.
    pub async fn end(&mut self) -> Result<Vec<Operation>> {
        let load = self.load.take().context("no clients")?;
        let failed = load.failed();
        let history = load.stop().await?;
        println!("{} operations, {failed} without an answer", history.len());
        self.history.extend(&history);
        Ok(history)
    }

    /// Writes and reads go on.
    pub async fn go_on(&self, what: &str) -> Result<()> {
        let load = self.load.as_ref().context("no clients")?;
        load.go_on(STEP).await.with_context(|| what.to_owned())
    }

    /// Whoever repeats a write that failed gets it done.
    pub fn one_retry_is_enough(&self) -> Result<()> {
        let failed = self.load.as_ref().context("no clients")?.failed_twice();
        ensure!(failed == 0, "{failed} writes failed again when repeated");
        Ok(())
    }

    /// Stops everything and compares what keepers have with what clients were told.
    async fn finish(mut self) -> Result<()> {
        self.all_have_the_same().await?;
        self.cluster.down()?;
        let logs = self.logs()?;
        one_order(&logs, ENTRIES_MIN)?;
        on_a_quorum(&logs, &self.history)
    }

    /// What the keepers have written. They must not run.
    pub fn logs(&self) -> Result<Vec<KeeperLog>> {
        let read = |keeper: &&str| read_log(&self.log_folder(keeper));
        KEEPERS.iter().map(read).collect()
    }

    pub fn log_folder(&self, keeper: &str) -> PathBuf {
        self.cluster.data_dir().join(keeper).join("wal")
    }

    /// Waits until every keeper has heard of everything.
    async fn all_have_the_same(&self) -> Result<()> {
        wait::until("all keepers to commit the same", PATIENCE, || async {
            let mut commits = BTreeMap::new();
            for node in self.cluster.of_role("wal-keeper") {
                let (_, text) = http_get(&node.http_addr, "/metrics").await?;
                let value = text
                    .lines()
                    .find_map(|line| line.strip_prefix("longbow_wal_commit_index "));
                commits.insert(value.context("no metric")?.to_owned(), &node.id);
            }
            ensure!(commits.len() == 1, "{commits:?}");
            Ok(())
        })
        .await
    }

    pub fn admin(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(channel(&self.endpoints[0]).unwrap())
    }

    pub async fn leader(&self) -> Result<String> {
        self.leader_but("").await
    }

    /// The leader, once it is another than this.
    pub async fn leader_but(&self, last: &str) -> Result<String> {
        leader_but(&self.endpoints[0], last).await
    }

    pub fn any(&mut self) -> &'static str {
        KEEPERS.choose(&mut self.random).expect("there are three")
    }

    pub fn hurt(&self, keeper: &str, fault: Fault) -> Result<Injected> {
        self.faults.inject(keeper, fault)
    }

    /// Starts a keeper again and lets it take part.
    pub async fn back(&mut self, keeper: &str) -> Result<()> {
        self.cluster.restart(keeper)?;
        self.cluster.ready(keeper).await
    }

    /// Starts all keepers again.
    pub async fn all_back(&mut self) -> Result<()> {
        for keeper in KEEPERS {
            self.cluster.restart(keeper)?;
        }
        for keeper in KEEPERS {
            self.cluster.ready(keeper).await?;
        }
        Ok(())
    }

    /// What a person sees of a keeper.
    pub fn command_lists(&self, keeper: &str) -> Result<()> {
        let output = Command::new(binary())
            .args(["keeper", "list", "--json", "--endpoint", &self.endpoints[0]])
            .output()?;
        let listed: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let all = listed["keepers"].as_array().context("no keepers")?;
        let one = all.iter().find(|one| one["node_id"] == keeper);
        let role = one.map(|one| &one["role"]);
        ensure!(
            all.len() == 3 && role == Some(&"voter".into()),
            "listed: {listed}"
        );
        Ok(())
    }
}

/// Fails unless what was acknowledged stands in more than half of the logs, in an order that obeys time.
pub fn on_a_quorum(logs: &[KeeperLog], history: &[Operation]) -> Result<()> {
    let places = logs.iter().map(positions).collect::<Result<Vec<_>>>()?;
    for value in acknowledged(history) {
        let copies = places.iter().filter(|place| place.contains_key(&value)).count();
        ensure!(
            2 * copies > logs.len(),
            "the acknowledged value {value} is in {copies} logs of {}",
            logs.len()
        );
    }
    let mut all = BTreeMap::new();
    for place in places {
        all.extend(place);
    }
    in_order(history, &all)
}
