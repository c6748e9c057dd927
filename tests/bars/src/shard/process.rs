//! What a shard's process takes to come back, and how soon it has what is logged: a whole cluster, asked from outside.

use std::{
    fs,
    io::{BufWriter, Write},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use half::f16;
use longbow_harness::{
    cluster::{Cluster, PATIENCE, Shape, http_get},
    load::{channel, create_dataset, upsert_of},
    process::anonymous_bytes,
    wait,
};
use longbow_wire::v1::{
    AckLevel, SearchRequest, Vector, search_request::Query, search_service_client::SearchServiceClient,
    write_service_client::WriteServiceClient,
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::runtime::Runtime;

use super::median;
use crate::{
    ShardArgs,
    report::{Report, Required::AtMost},
    run::{root, run},
};

const ROWS: usize = 116_659;
const DIMENSION: usize = 384;
const STARTS: usize = 3;
const WRITES: u64 = 2_000;
const SAMPLES: usize = 15;
const BETWEEN_SAMPLES: Duration = Duration::from_secs(1);
/// Time between two writes.
const EVERY: Duration = Duration::from_millis(2);

pub(super) fn bars(report: &mut Report, _: &ShardArgs) {
    report.bar("shard-logged-to-applied-p99-ms", AtMost(10.0), || {
        Runtime::new()?.block_on(logged_to_applied())
    });
    report.bar("shard-restart-116659-rows-seconds", AtMost(1.0), || {
        Runtime::new()?.block_on(restart())
    });
    report.bar("shard-rss-over-accounted", AtMost(1.15), || {
        Runtime::new()?.block_on(accounted())
    });
}

fn start(env: &[(&str, &str)]) -> Result<Cluster> {
    run("cargo", &["build", "--release", "-p", "longbow"])?;
    let shape = Shape {
        keepers: 1,
        shards: 1,
        routers: 1,
    };
    let env: Vec<_> = env.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    Cluster::start_with(&root().join("target/release/longbow"), shape, &env)
}

fn endpoint(cluster: &Cluster) -> Result<String> {
    cluster.endpoints().into_iter().next().context("no router")
}

/// Milliseconds by which the slowest hundredth of answers to applied writes lies behind the median one to logged writes, in
/// turn.
async fn logged_to_applied() -> Result<f64> {
    let cluster = start(&[])?;
    let endpoint = endpoint(&cluster)?;
    create_dataset(&endpoint, "bars").await?;
    let mut writes = WriteServiceClient::new(channel(&endpoint)?);
    let mut took = [Vec::new(), Vec::new()];
    for id in 0..WRITES {
        for (ack, took) in [AckLevel::Logged, AckLevel::Applied].into_iter().zip(&mut took) {
            let mut request = upsert_of("bars", &[id], 1);
            request.ack = ack as i32;
            let began = Instant::now();
            writes.upsert(request).await?;
            took.push(began.elapsed().as_secs_f64() * 1e3);
            tokio::time::sleep(EVERY).await;
        }
    }
    let [logged, mut applied] = took;
    applied.sort_unstable_by(f64::total_cmp);
    Ok(applied[applied.len() * 99 / 100] - median(logged))
}

/// Seconds from the start of a shard that was killed until a search has its answer from it.
async fn restart() -> Result<f64> {
    // A snapshot as soon as there is anything.
    let mut cluster = start(&[("LONGBOW_SHARD_SNAPSHOT_EVERY", "1048576")])?;
    let endpoint = endpoint(&cluster)?;
    import(&cluster, &endpoint)?;
    let shard = cluster.of_role("shard").next().context("no shard")?.clone();
    // The next start goes on from it.
    wait::until("a snapshot", PATIENCE, || async {
        let (_, metrics) = http_get(&shard.http_addr, "/metrics").await?;
        ensure!(sum_of(&metrics, "longbow_snapshot_index") > 0.0, "none yet");
        Ok(())
    })
    .await?;
    let mut rng = SmallRng::seed_from_u64(5);
    let mut times = Vec::new();
    for _ in 0..STARTS {
        cluster.kill(&shard.id)?;
        let began = Instant::now();
        cluster.restart(&shard.id)?;
        let query = SearchRequest {
            dataset: "bars".to_owned(),
            query: Some(Query::Vector(Vector {
                values: (0..DIMENSION).map(|_| rng.random_range(-1.0..1.0)).collect(),
            })),
            k: 10,
            ..SearchRequest::default()
        };
        let mut searches = SearchServiceClient::new(channel(&endpoint)?);
        while let Err(error) = searches.search(query.clone()).await {
            ensure!(began.elapsed() < PATIENCE, "no answer: {error}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        times.push(began.elapsed().as_secs_f64());
    }
    eprintln!("  {times:?} s");
    Ok(median(times))
}

/// Anonymous memory of a shard's process by what it says it takes, or the other way round, whichever is more: with all rows
/// linked, and the system's allocator as it is.
async fn accounted() -> Result<f64> {
    let cluster = start(&[])?;
    let endpoint = endpoint(&cluster)?;
    import(&cluster, &endpoint)?;
    let shard = cluster.of_role("shard").next().context("no shard")?.clone();
    let pid = cluster.pid(&shard.id)?;
    let mut ratios = Vec::new();
    for _ in 0..SAMPLES {
        tokio::time::sleep(BETWEEN_SAMPLES).await;
        let (_, metrics) = http_get(&shard.http_addr, "/metrics").await?;
        let (taken, told) = (
            anonymous_bytes(pid)? as f64,
            sum_of(&metrics, "longbow_shard_memory_bytes{"),
        );
        ensure!(told > 0.0, "the shard does not tell");
        ratios.push(taken / told);
    }
    eprintln!("  {ratios:.3?} of what the shard says");
    let ratio = median(ratios);
    Ok(ratio.max(1.0 / ratio))
}

/// The sum of the values of a metric.
fn sum_of(metrics: &str, name: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with(name));
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// Makes a dataset of generated rows, and waits until all of them are linked.
fn import(cluster: &Cluster, endpoint: &str) -> Result<()> {
    let file = cluster.data_dir().join("rows.npy");
    write_rows(&file)?;
    let binary = root().join("target/release/longbow").display().to_string();
    let file = file.display().to_string();
    let words = [
        "import",
        &file,
        "--dataset",
        "bars",
        "--create",
        "--ack",
        "indexed",
        "--endpoint",
        endpoint,
    ];
    run(&binary, &words).map(drop)
}

/// A matrix of 16-bit floats, as NumPy writes them.
fn write_rows(path: &Path) -> Result<()> {
    let mut file = BufWriter::new(fs::File::create(path)?);
    let header = format!("{{'descr': '<f2', 'fortran_order': False, 'shape': ({ROWS}, {DIMENSION}), }}");
    let header = format!("{header:<117}\n");
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&(header.len() as u16).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let mut rng = SmallRng::seed_from_u64(1);
    for _ in 0..ROWS {
        let mut centre = SmallRng::seed_from_u64(rng.random_range(0..500));
        for _ in 0..DIMENSION {
            let number = centre.random_range(-1.0f32..1.0) + rng.random_range(-0.6..0.6);
            file.write_all(&f16::from_f32(number).to_le_bytes())?;
        }
    }
    Ok(file.flush()?)
}
