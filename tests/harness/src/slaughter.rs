//! Kill -9 of every process in turn while a load runs.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::{
    check::{self, Verdict},
    cluster::{Cluster, Shape},
    load::{Load, create_dataset},
};

const DATASET: &str = "slaughter";
const WRITERS: u64 = 4;

/// Runs a load of at least `rows` acknowledged rows on three keepers, two shards and two routers, kills and restarts
/// each process once meanwhile, and checks that every acknowledged row is there, once, with the right contents,
/// through every router.
pub async fn run(binary: &Path, rows: u64, seed: u64) -> Result<Verdict> {
    let mut cluster = Cluster::start(
        binary,
        Shape {
            keepers: 3,
            shards: 2,
            routers: 2,
        },
    )?;
    let endpoints = cluster.endpoints();
    create_dataset(&endpoints[0], DATASET).await?;
    let load = Load::start(&endpoints, DATASET, WRITERS, seed)?;

    let mut victims: Vec<String> = cluster.nodes().iter().map(|node| node.id.clone()).collect();
    let turn = seed as usize % victims.len();
    victims.rotate_left(turn);
    let step = rows / (victims.len() as u64 + 1);
    for (ordinal, victim) in victims.iter().enumerate() {
        load.reach(step * (ordinal as u64 + 1)).await?;
        cluster.kill(victim)?;
        // The rest must go on without it before it comes back.
        let seen = load.acked_rows();
        load.reach(seen + 200).await?;
        cluster.restart(victim)?;
        cluster.ready(victim).await?;
    }
    load.reach(rows).await?;
    let model = load.stop().await?;

    let mut verdict = None;
    for endpoint in &endpoints {
        verdict = Some(check::holds(endpoint, DATASET, &model).await?);
    }
    let verdict = verdict.expect("there are routers");
    ensure!(verdict.rows > 0, "the load wrote nothing");
    cluster.down()?;
    Ok(verdict)
}
