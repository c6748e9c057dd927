//! A shard knows what it takes, refuses rows before it takes more than it may, and never what it needs to get out of that;
//! a long log is replayed without taking much more.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use anyhow::{Context, Result, ensure};
use longbow_client::{
    Ack, Client, DatasetHandle, IdKind, IntoRowId, Metric, NodeMemory, Options, RetryPolicy, Row,
    SchemaBuilder, VectorElement,
};
use longbow_harness::{
    cluster::{Cluster, PATIENCE, Shape, http_get},
    process::anonymous_bytes,
    wait,
};
use longbow_types::{Error, ErrorCode};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::shared::{binary, longbow};

const SHARD: &str = "shard-0";
const DIMENSION: usize = 1_024;
/// Rows of one call.
const BATCH: u64 = 500;

/// What a shard takes that holds nothing, as docs/operations/memory.md has it.
const PROCESS: &str = "process";

fn start(settings: &[(&str, &str)]) -> Cluster {
    // Graphs are not what this is about; nor is what glibc keeps for threads that have freed it.
    let always = [
        ("LONGBOW_HNSW_EF_CONSTRUCTION", "8"),
        ("MALLOC_ARENA_MAX", "2"),
        ("MALLOC_MMAP_THRESHOLD_", "131072"),
        ("MALLOC_TRIM_THRESHOLD_", "131072"),
    ];
    let env = [&always[..], settings].concat();
    let env: Vec<_> = env
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    Cluster::start_with(binary(), Shape::SMALLEST, &env).unwrap()
}

async fn connect(cluster: &Cluster) -> Client {
    let mut options = Options::default().timeout(PATIENCE);
    // The router waits for memory; what it says then is what is looked at.
    options.retry = RetryPolicy::none();
    Client::connect(cluster.endpoints(), options).await.unwrap()
}

async fn create(client: &Client, name: &str, element: VectorElement) -> DatasetHandle {
    let schema = SchemaBuilder::new()
        .id("id", IdKind::Utf8)
        .vector("vector", DIMENSION, element, Metric::Cosine)
        .utf8("text")
        .build()
        .unwrap();
    let dataset = client.dataset(name);
    dataset.create(&schema).await.unwrap();
    dataset
}

fn id(row: u64) -> String {
    format!("row number {row}")
}

/// The vector and the text of a version of a row.
fn contents(row: u64, version: u64) -> (Vec<f32>, String) {
    let mut rng = SmallRng::seed_from_u64(row << 8 | version);
    let vector = (0..DIMENSION).map(|_| rng.random_range(-1.0..1.0)).collect();
    let words = rng.random_range(5..40);
    (vector, format!("version {version} ").repeat(words))
}

fn row(row: u64, version: u64) -> Row {
    let (vector, text) = contents(row, version);
    Row::new(id(row)).vector(vector).column("text", text)
}

async fn upsert(dataset: &DatasetHandle, rows: Range<u64>, version: u64) -> Result<(), Error> {
    for first in rows.clone().step_by(BATCH as usize) {
        let batch = first..rows.end.min(first + BATCH);
        let written = dataset.upsert(batch.map(|at| row(at, version)));
        written.ack(Ack::Applied).await?;
    }
    Ok(())
}

async fn delete(dataset: &DatasetHandle, rows: Range<u64>) -> Result<(), Error> {
    for first in rows.clone().step_by(BATCH as usize) {
        let batch = first..rows.end.min(first + BATCH);
        dataset.delete(batch.map(id)).ack(Ack::Applied).await?;
    }
    Ok(())
}

/// What the shard says it takes, once it links nothing any more and its rows stand in full chunks without dead ones.
async fn settled(cluster: &Cluster, client: &Client) -> Result<NodeMemory> {
    wait::until("rows to be linked and merged", 3 * PATIENCE, || async {
        let status = client.status().await?;
        let mut replicas = status.partitions.iter().flat_map(|partition| &partition.replicas);
        ensure!(replicas.all(|replica| replica.rows_unindexed == 0), "not linked");
        let dead = metrics(cluster, "longbow_tombstones").await?;
        let stored = metrics(cluster, "longbow_vector_index_size").await?;
        let (dead, live): (f64, f64) = (dead.values().sum(), stored.values().sum());
        ensure!(dead <= live / 4.0, "{dead} dead rows among {live}");
        let node = status.nodes.into_iter().find(|node| node.node_id == SHARD);
        node.and_then(|node| node.memory)
            .context("the shard did not tell")
    })
    .await
}

/// A metric of the shard, by its labels.
async fn metrics(cluster: &Cluster, name: &str) -> Result<BTreeMap<String, f64>> {
    let shard = cluster.of_role("shard").next().context("no shard")?;
    let (_, page) = http_get(&shard.http_addr, "/metrics").await?;
    let of = |line: &str| {
        let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
        (labels.is_empty() || labels.starts_with('{')).then_some((labels.to_owned(), value.parse().ok()?))
    };
    Ok(page.lines().filter_map(of).collect())
}

/// That what the shard says is what the kernel says, but for what it takes whatever it holds: `idle` bytes before the first
/// rows came, and at most what it says itself.
async fn is_true(cluster: &Cluster, client: &Client, idle: u64, what: &str) {
    let told = settled(cluster, client).await.unwrap();
    let process = told.parts.iter().find(|(name, _)| name == PROCESS).unwrap().1;
    let accounted = told.taken_bytes() - process;
    let pid = cluster.pid(SHARD).unwrap();
    let true_within = |share: f64| {
        let anonymous = anonymous_bytes(pid)?;
        let off = |fixed| accounted as f64 / anonymous.saturating_sub(fixed) as f64 - 1.0;
        let (least, most) = (off(idle.min(process)), off(process));
        eprintln!("{what}: {accounted} accounted, {anonymous} taken, {least:+.3} to {most:+.3}: {told:?}");
        ensure!(
            least <= share && most >= -share,
            "{what}: {accounted} bytes are accounted and {anonymous} are taken: {told:?}"
        );
        Ok(())
    };
    // What was freed last is on its way.
    wait::until("memory to be given back", PATIENCE, || async {
        true_within(0.15)
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_accounted_is_what_is_taken() {
    let mut cluster = start(&[("LONGBOW_SHARD_SNAPSHOT_EVERY", "33554432")]);
    let client = connect(&cluster).await;
    const ROWS: u64 = 14_000;
    let idle = anonymous_bytes(cluster.pid(SHARD).unwrap()).unwrap();
    let mut datasets = Vec::new();
    for (name, element) in [("halves", VectorElement::F16), ("singles", VectorElement::F32)] {
        let dataset = create(&client, name, element).await;
        upsert(&dataset, 0..ROWS, 0).await.unwrap();
        is_true(&cluster, &client, idle, name).await;
        datasets.push(dataset);
    }
    for round in 1..4 {
        for dataset in &datasets {
            let first = round * ROWS / 5;
            upsert(dataset, first..first + ROWS / 5, round).await.unwrap();
            delete(dataset, 0..round * ROWS / 50).await.unwrap();
        }
    }
    is_true(&cluster, &client, idle, "after churn").await;
    // The parts are those of the metric, and the replicas' sum is most of it.
    let parts = metrics(&cluster, "longbow_shard_memory_bytes").await.unwrap();
    let told = settled(&cluster, &client).await.unwrap();
    for (name, bytes) in &told.parts {
        let label = format!("{{component=\"{name}\"}}");
        let metric = parts[&label];
        assert!(
            (metric - *bytes as f64).abs() <= 1e6 + metric / 10.0,
            "{name}: {metric}"
        );
    }
    let of_replicas = metrics(&cluster, "longbow_partition_memory_bytes").await.unwrap();
    let of_replicas: f64 = of_replicas.values().sum();
    let others: u64 = told
        .parts
        .iter()
        .filter(|(name, _)| name == PROCESS)
        .map(|part| part.1)
        .sum();
    assert!((of_replicas / (told.taken_bytes() - others) as f64 - 1.0).abs() < 0.1);

    // From snapshots: vectors and graph lie in mapped files, and only what is written to is copied.
    cluster.kill(SHARD).unwrap();
    cluster.restart(SHARD).unwrap();
    cluster.ready(SHARD).await.unwrap();
    for dataset in &datasets {
        upsert(dataset, ROWS..ROWS + ROWS / 5, 0).await.unwrap();
    }
    is_true(&cluster, &client, idle, "from snapshots").await;
}

/// Writes new rows, batch by batch from one on, until the shard has no memory for one; gives how many there are then.
async fn fill(dataset: &DatasetHandle, mut rows: u64, budget: u64) -> u64 {
    loop {
        let error = match upsert(dataset, rows..rows + BATCH, 0).await {
            Ok(()) => {
                rows += BATCH;
                assert!(rows < 100_000, "everything is let in");
                continue;
            }
            Err(error) => error,
        };
        assert_eq!(error.code, ErrorCode::MemoryFull, "{error}");
        assert!(error.retry_after.is_some_and(|after| !after.is_zero()));
        // On a busy machine it may not have been heard for a while.
        if error.field.as_deref() == Some("keeper.silent_credit_bytes") {
            continue;
        }
        assert_eq!(error.field.as_deref(), Some("shard.memory_budget"));
        assert_eq!(error.limit.as_deref(), Some(&*budget.to_string()));
        return rows;
    }
}

/// That these rows are there, and no others.
async fn holds(dataset: &DatasetHandle, rows: Range<u64>) {
    let info = dataset.describe().await.unwrap();
    assert_eq!(info.rows, Some(rows.end - rows.start));
    let (near, _) = contents(rows.start, 0);
    let some: Vec<u64> = rows.step_by(37).collect();
    let found = dataset.get(some.iter().copied().map(id)).await.unwrap();
    assert_eq!(found.rows.len(), some.len());
    for (row, found) in some.into_iter().zip(found.rows) {
        assert_eq!(found.id, id(row).into_row_id());
        assert_eq!(found.columns["text"], contents(row, 0).1.into(), "row {row}");
    }
    let found = dataset.search().near(near).k(10).await.unwrap();
    assert_eq!(found.hits.len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_shard_refuses_rows_and_nothing_else_until_it_has_room() {
    let budget = 72_u64 << 20;
    let mut cluster = start(&[
        ("LONGBOW_SHARD_MEMORY_BUDGET", &budget.to_string()),
        // Nothing is let in that the shard has not told to have room for.
        ("LONGBOW_KEEPER_SILENT_CREDIT_BYTES", "0"),
    ]);
    let client = connect(&cluster).await;
    let dataset = create(&client, "full", VectorElement::F32).await;
    let rows = fill(&dataset, 0, budget).await;
    // The budget holds some 50 MiB of rows. Huge pages are taken whole, so the last one may be too much.
    let most = budget + budget / 8;
    assert!((5_000..12_000).contains(&rows), "{rows} rows were let in");
    let told = settled(&cluster, &client).await.unwrap();
    assert!(
        told.budget_bytes == budget && told.taken_bytes() <= most,
        "{told:?}"
    );
    // Of so little, what is not accounted for is a larger part.
    let taken = anonymous_bytes(cluster.pid(SHARD).unwrap()).unwrap();
    assert!(taken < budget + budget / 4, "{taken} bytes are taken");
    let status = longbow(&cluster, &["status"]);
    let warning = status["warnings"].as_array().unwrap().iter().any(|text| {
        let text = text.as_str().unwrap();
        text.contains(SHARD) && text.contains("rows are refused")
    });
    assert!(warning, "{}", status["warnings"]);

    // It goes on to answer, and after a start it has all that was acknowledged, and no more room.
    holds(&dataset, 0..rows).await;
    cluster.kill(SHARD).unwrap();
    cluster.restart(SHARD).unwrap();
    cluster.ready(SHARD).await.unwrap();
    holds(&dataset, 0..rows).await;
    let full = fill(&dataset, rows, budget).await;
    assert!(full <= rows + rows / 10, "{full} rows where there were {rows}");

    // Deletes are let in, and a larger budget has room.
    let gone = full / 2;
    delete(&dataset, 0..gone).await.unwrap();
    holds(&dataset, gone..full).await;
    cluster.kill(SHARD).unwrap();
    cluster.set_env("LONGBOW_SHARD_MEMORY_BUDGET", &(2 * budget).to_string());
    cluster.restart(SHARD).unwrap();
    cluster.ready(SHARD).await.unwrap();
    holds(&dataset, gone..full).await;
    let more = fill(&dataset, full, 2 * budget).await;
    assert!(more >= full + rows / 2, "{more} rows where there were {full}");
    holds(&dataset, gone..more).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_log_is_replayed_in_little_memory() {
    let budget = 64_u64 << 20;
    // No snapshots: a start has nothing but the log. Little of it is in the keeper's memory.
    let mut cluster = start(&[
        ("LONGBOW_SHARD_SNAPSHOT_EVERY", "0"),
        ("LONGBOW_KEEPER_CACHE_BYTES", "1048576"),
        ("LONGBOW_SHARD_MEMORY_BUDGET", &budget.to_string()),
    ]);
    let client = connect(&cluster).await;
    let dataset = create(&client, "long", VectorElement::F32).await;
    const ROWS: u64 = 2_000;
    const ROUNDS: u64 = 16;
    for version in 0..ROUNDS {
        upsert(&dataset, 0..ROWS, version).await.unwrap();
    }
    let logged = ROWS * ROUNDS * DIMENSION as u64 * 4;
    cluster.kill(SHARD).unwrap();
    cluster.restart(SHARD).unwrap();
    let pid = cluster.pid(SHARD).unwrap();
    let (mut taken, mut in_flight, mut ready) = (0, 0.0_f64, false);
    while !ready {
        taken = taken.max(anonymous_bytes(pid).unwrap());
        if let Ok(parts) = metrics(&cluster, "longbow_shard_memory_bytes").await {
            let now = parts.get("{component=\"in_flight\"}").copied().unwrap_or(0.0);
            in_flight = in_flight.max(now);
        }
        let shard = cluster.of_role("shard").next().unwrap();
        let answer = http_get(&shard.http_addr, "/readyz").await;
        ready = answer.is_ok_and(|(status, _)| status == 200);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    eprintln!("of {logged} bytes at most {taken} were taken, {in_flight} in flight");
    // One message of the log, which is one entry if that is large.
    let bound = longbow_types::limits::COMMAND_BYTES_MAX as f64;
    assert!(in_flight <= bound, "{in_flight} bytes were in flight");
    // Most of it is of rows that were replaced since: what they held is given back before more is applied.
    assert!(
        taken < budget + budget / 4,
        "{taken} bytes were taken of a log of {logged}"
    );
    assert_eq!(dataset.describe().await.unwrap().rows, Some(ROWS));
}
