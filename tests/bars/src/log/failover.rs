//! How long writes stand still when the leader goes, by itself or killed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use longbow_harness::{
    cluster::{Cluster, PATIENCE, Shape, leader_but},
    load::{channel, create_dataset},
    process::signal,
    register::{Notary, Registers, write},
};
use rustix::process::Signal;
use tokio::{task::JoinSet, time::MissedTickBehavior};

use super::cluster::binary;

const DATASET: &str = "failover";
const CLIENTS: u64 = 4;
/// Between two writes that look for the end of an outage, and how many may be under way: they shall not be a load.
const PROBES_EVERY: Duration = Duration::from_millis(10);
const PROBES_MAX: usize = 100;
/// Beyond all keys of the load.
const PROBED_KEY: u64 = 1 << 40;
/// The keepers' shortest election timeout: the default, said aloud.
pub(super) const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// How the leader goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Going {
    /// SIGKILL.
    Killed,
    /// SIGTERM.
    Asked,
}

/// What was measured.
pub(super) struct Outages {
    /// From the signal to the first acknowledgement of a write that was sent after it.
    pub each: Vec<Duration>,
    /// Calls of clients that failed, and failed again when they were repeated.
    pub failed_twice: u64,
}

/// Lets the leader of three keepers go under load, so many times.
pub(super) async fn outages(going: Going, trials: usize) -> Result<Outages> {
    let shape = Shape {
        keepers: 3,
        shards: 1,
        routers: 2,
    };
    let millis = ELECTION_TIMEOUT.as_millis();
    let timeout = (
        "LONGBOW_KEEPER_ELECTION_TIMEOUT".to_owned(),
        format!("{millis}ms"),
    );
    let mut cluster = Cluster::start_with(&binary(), shape, &[timeout])?;
    let endpoints = cluster.endpoints();
    create_dataset(&endpoints[0], DATASET).await?;
    let notary = Notary::default();
    let load = Registers::start(&endpoints, DATASET, CLIENTS, 0, &notary, 1)?;
    let mut each = Vec::new();
    for trial in 0..trials {
        load.go_on(50).await?;
        let old = leader_but(&endpoints[0], "").await?;
        let began = Instant::now();
        signal(
            cluster.pid(&old)?,
            match going {
                Going::Killed => Signal::KILL,
                Going::Asked => Signal::TERM,
            },
        )?;
        let outage = first_write(&endpoints, &notary, began).await?;
        eprintln!("  trial {trial}: {outage:?}, {old} {going:?}");
        each.push(outage);
        leader_but(&endpoints[0], &old).await?;
        cluster.ended(&old).await?;
        cluster.restart(&old)?;
        cluster.ready(&old).await?;
    }
    let failed_twice = load.failed_twice();
    ensure!(!load.stop().await?.is_empty(), "the load did nothing");
    cluster.down()?;
    Ok(Outages { each, failed_twice })
}

/// How long after a moment the first write that is sent from now on is acknowledged.
async fn first_write(endpoints: &[String], notary: &Notary, began: Instant) -> Result<Duration> {
    let channels = endpoints.iter().map(|e| channel(e)).collect::<Result<Vec<_>>>()?;
    let mut under_way = JoinSet::new();
    let mut ticks = tokio::time::interval(PROBES_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turns = channels.iter().cycle();
    loop {
        ensure!(began.elapsed() < PATIENCE, "no write went through");
        tokio::select! {
            _ = ticks.tick(), if under_way.len() < PROBES_MAX => {
                let channel = turns.next().context("a router")?.clone();
                let value = notary.value();
                under_way.spawn(async move { write(&channel, DATASET, PROBED_KEY, value).await });
            }
            Some(written) = under_way.join_next() => {
                if written?.is_ok() {
                    return Ok(began.elapsed());
                }
            }
        }
    }
}
