//! How fast a failed fdatasync is known everywhere, and that one of three is no harm.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use longbow_harness::{
    cluster::{Cluster, PATIENCE, Shape, leader_but, warned},
    faults::{Fault, Faults},
    load::{channel, code_of, create_dataset},
    register::{Notary, Registers, write},
};
use tempfile::TempDir;
use tokio::{task::JoinSet, time::MissedTickBehavior};

use super::cluster::binary;

const DATASET: &str = "latch";
const CLIENTS: u64 = 4;
/// Between two writes that look for the refusal, and how many may be under way: they shall not be a load.
const PROBES_EVERY: Duration = Duration::from_millis(5);
const PROBES_MAX: usize = 100;
const PROBED_KEY: u64 = 1 << 40;

/// From the moment that the only keeper's disk is made to fail until both routers refuse writes for the latch's sake.
pub(super) async fn eio_to_refusal() -> Result<Duration> {
    let rules = TempDir::new()?;
    let faults = Faults::new(rules.path())?;
    let shape = Shape {
        keepers: 1,
        shards: 1,
        routers: 2,
    };
    let mut cluster = Cluster::start_with(&binary(), shape, &faults.env(false))?;
    let endpoints = cluster.endpoints();
    create_dataset(&endpoints[0], DATASET).await?;
    let notary = Notary::default();
    let load = Registers::start(&endpoints, DATASET, CLIENTS, 0, &notary, 1)?;
    load.go_on(50).await?;
    let began = Instant::now();
    let failing = faults.inject("keeper-0", Fault::SyncError)?;
    let mut routers = JoinSet::new();
    for endpoint in &endpoints {
        routers.spawn(refused(endpoint.clone(), notary.clone(), began));
    }
    let mut slowest = Duration::ZERO;
    while let Some(refused) = routers.join_next().await {
        slowest = slowest.max(refused??);
    }
    failing.end()?;
    load.stop().await?;
    cluster.ended("keeper-0").await?;
    cluster.down()?;
    Ok(slowest)
}

/// How long after a moment a router refuses a write because the latch is tripped.
async fn refused(endpoint: String, notary: Notary, began: Instant) -> Result<Duration> {
    let channel = channel(&endpoint)?;
    let mut under_way = JoinSet::new();
    let mut ticks = tokio::time::interval(PROBES_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ensure!(began.elapsed() < PATIENCE, "{endpoint} does not refuse writes");
        tokio::select! {
            _ = ticks.tick(), if under_way.len() < PROBES_MAX => {
                let (channel, value) = (channel.clone(), notary.value());
                under_way.spawn(async move { write(&channel, DATASET, PROBED_KEY, value).await });
            }
            Some(written) = under_way.join_next() => {
                if let Err(status) = written?
                    && code_of(&status) == "LATCH_TRIPPED"
                {
                    return Ok(began.elapsed());
                }
            }
        }
    }
}

/// A failed fdatasync on the leader, then on a follower, of three keepers: calls that failed twice running.
pub(super) async fn one_of_three() -> Result<u64> {
    let rules = TempDir::new()?;
    let faults = Faults::new(rules.path())?;
    let shape = Shape {
        keepers: 3,
        shards: 1,
        routers: 2,
    };
    let mut cluster = Cluster::start_with(&binary(), shape, &faults.env(false))?;
    let endpoints = cluster.endpoints();
    create_dataset(&endpoints[0], DATASET).await?;
    let load = Registers::start(&endpoints, DATASET, CLIENTS, 0, &Notary::default(), 1)?;
    for hurts_leader in [true, false] {
        load.go_on(50).await?;
        let leading = leader_but(&endpoints[0], "").await?;
        let keepers: Vec<String> = cluster
            .of_role("wal-keeper")
            .map(|node| node.id.clone())
            .collect();
        let victim = keepers.iter().find(|id| (**id == leading) == hurts_leader);
        let victim = victim.expect("there are three");
        let failing = faults.inject(victim, Fault::SyncError)?;
        failing.has_fired(1).await?;
        // The cluster says that redundancy is reduced: first that the keeper has failed, then that it is gone.
        warned(&endpoints[0], victim).await?;
        load.go_on(50).await?;
        cluster.ended(victim).await?;
        warned(&endpoints[0], &format!("The wal-keeper {victim} is down")).await?;
        failing.end()?;
        cluster.restart(victim)?;
        cluster.ready(victim).await?;
    }
    let failed_twice = load.failed_twice();
    eprintln!(
        "  {} calls failed, {failed_twice} again when repeated",
        load.failed()
    );
    load.stop().await?;
    cluster.down()?;
    Ok(failed_twice)
}
