//! Rows that go by themselves: on every replica alike, at the same entries, whoever leads and whatever its clock says.

use std::time::Duration;

use anyhow::ensure;
use arrow_schema::{DataType, TimeUnit};
use longbow_client::{
    Ack, Client, DatasetHandle, IdKind, Metric, Options, Row, Schema, SchemaBuilder, VectorElement,
};
use longbow_harness::{
    cluster::{Cluster, PATIENCE, Shape, leader_but},
    faults::{Fault, Faults},
    wait,
};
use longbow_types::ErrorCode;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    shared::{binary, longbow, small_cluster},
    writes::agree,
};

/// Seconds since the epoch: long gone, and not to be seen by these tests.
const GONE: i64 = 1;
const LATER: i64 = 4_102_444_800;

fn schema(ttl: Option<Duration>) -> Schema {
    let schema = SchemaBuilder::new()
        .id("id", IdKind::U64)
        .vector("vector", 2, VectorElement::F32, Metric::L2)
        .column("until", DataType::Timestamp(TimeUnit::Second, None))
        .build()
        .unwrap();
    schema
        .with_ttl(ttl)
        .and_then(|schema| schema.with_expires_column(Some("until")))
        .unwrap()
}

fn row(id: u64, until: Option<i64>) -> Row {
    let row = Row::new(id).vector(vec![id as f32, 1.0]);
    match until {
        Some(until) => row.column("until", until),
        None => row,
    }
}

async fn connect(cluster: &Cluster) -> Client {
    Client::connect(cluster.endpoints(), Options::default())
        .await
        .unwrap()
}

/// How many rows of the first hundred are there, by id and by searching near one.
async fn rows(dataset: &DatasetHandle) -> anyhow::Result<usize> {
    let found = dataset.get(0..100_u64).await?.rows.len();
    Ok(found)
}

/// Waits until so many rows are left, and looks whether a search says so, too.
async fn left(dataset: &DatasetHandle, count: usize) {
    wait::until(&format!("{count} rows to be left"), PATIENCE, || async {
        let found = rows(dataset).await?;
        ensure!(found == count, "there are {found}");
        Ok(())
    })
    .await
    .unwrap();
    let hits = dataset.search().near(vec![0.0, 1.0]).k(100).await.unwrap().hits;
    assert_eq!(hits.len(), count);
}

/// Waits until all replicas hold the same, and know it.
async fn replicas_agree(client: &Client) {
    wait::until("replicas to agree", PATIENCE, || async {
        let status = client.status().await?;
        ensure!(agree(&status), "{:?}", status.partitions);
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_go_on_every_replica_alike_and_do_not_come_back() {
    let shape = Shape {
        keepers: 3,
        shards: 2,
        routers: 1,
    };
    // A snapshot after nearly every write, so that restarts begin with some, and ticks come behind.
    let env = [
        ("LONGBOW_SHARD_SNAPSHOT_EVERY", "1024"),
        ("LONGBOW_KEEPER_TICK_INTERVAL", "200ms"),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut cluster = Cluster::start_with(binary(), shape, &env).unwrap();
    let client = connect(&cluster).await;
    let dataset = client.dataset("brief");
    dataset
        .create(&schema(Some(Duration::from_secs(1))))
        .await
        .unwrap();
    let aging = (0..20).map(|id| row(id, None));
    let lasting = (20..40).map(|id| row(id, Some(LATER)));
    let over = (40..60).map(|id| row(id, Some(GONE)));
    let all = aging.chain(lasting).chain(over);
    dataset.upsert(all).ack(Ack::Applied).await.unwrap();
    left(&dataset, 20).await;
    replicas_agree(&client).await;
    // What went is not there for conditions either, and its id is free.
    let again = dataset.upsert([row(0, Some(LATER)), row(20, None)]).if_absent();
    let again = again.await.unwrap();
    assert_eq!((again.rows, again.unmatched), (1, vec![1]));

    let leader = leader_but(&cluster.endpoints()[0], "").await.unwrap();
    cluster.kill(&leader).unwrap();
    dataset.upsert([row(1, None)]).await.unwrap();
    left(&dataset, 21).await;
    cluster.restart(&leader).unwrap();
    cluster.ready(&leader).await.unwrap();

    cluster.down().unwrap();
    cluster.up().unwrap();
    let client = connect(&cluster).await;
    let dataset = client.dataset("brief");
    left(&dataset, 21).await;
    dataset.upsert([row(2, None), row(3, Some(GONE))]).await.unwrap();
    left(&dataset, 21).await;
    replicas_agree(&client).await;

    // From now on they tell when they go, or stay.
    let info = dataset.describe().await.unwrap();
    assert_eq!(info.schema.ttl(), Some(Duration::from_secs(1)));
    dataset.alter(&schema(None), info.schema_version).await.unwrap();
    dataset.upsert([row(4, None), row(5, Some(GONE))]).await.unwrap();
    left(&dataset, 22).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_jump_make_no_row_go() {
    let rules = TempDir::new().unwrap();
    let faults = Faults::new(rules.path()).unwrap();
    let shape = Shape {
        keepers: 3,
        shards: 1,
        routers: 1,
    };
    let mut env = faults.env(false);
    env.push(("LONGBOW_KEEPER_TICK_INTERVAL".to_owned(), "200ms".to_owned()));
    let mut cluster = Cluster::start_with(binary(), shape, &env).unwrap();
    let client = connect(&cluster).await;
    let dataset = client.dataset("lasting");
    let day = Duration::from_secs(86_400);
    dataset.create(&schema(Some(day))).await.unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let tomorrow = (now.unwrap() + day).as_secs() as i64;
    dataset
        .upsert((0..10).map(|id| row(id, (id % 2 == 0).then_some(tomorrow))))
        .await
        .unwrap();
    // A row whose time is over goes: there are ticks.
    dataset.upsert([row(50, Some(GONE))]).await.unwrap();
    left(&dataset, 10).await;

    let years = 10 * 365 * 86_400;
    let keepers: Vec<String> = cluster
        .of_role("wal-keeper")
        .map(|node| node.id.clone())
        .collect();
    assert_eq!(keepers.len(), 3);
    let mut jumped = Vec::new();
    for keeper in &keepers {
        jumped.push(faults.inject(keeper, Fault::Clock(years)).unwrap());
    }
    let leader = leader_but(&cluster.endpoints()[0], "").await.unwrap();
    let at = keepers.iter().position(|keeper| *keeper == leader).unwrap();
    jumped[at].has_fired(3).await.unwrap();
    dataset.upsert([row(51, Some(GONE))]).await.unwrap();
    left(&dataset, 10).await;
    // Another leads, by a clock that is as wrong, and knows how long ago the last tick was.
    cluster.kill(&leader).unwrap();
    let next = leader_but(&cluster.endpoints()[0], &leader).await.unwrap();
    assert_ne!(next, leader);
    dataset.upsert([row(52, Some(GONE))]).await.unwrap();
    left(&dataset, 10).await;
}

#[test]
fn the_command_tells_when_rows_go() {
    let cluster = small_cluster();
    let run = |line: &str| longbow(&cluster, &line.split(' ').collect::<Vec<_>>());
    let made = run("dataset create told --dimension 3 --column until:timestamp --expires-at until --ttl 7d");
    let week = 7 * 86_400_000_u64;
    let schema = |json: &serde_json::Value| {
        let schema = &json["schema"];
        (schema["ttl_ms"].clone(), schema["expires_column"].clone())
    };
    assert_eq!(schema(&made["dataset"]), (json!(week), json!("until")));
    let altered = run("dataset alter told --ttl 30d --no-expires-at");
    assert_eq!(altered["changes"].as_array().unwrap().len(), 2);
    let told = run("dataset describe told");
    assert_eq!(schema(&told), (json!(30 * 86_400_000_u64), json!(null)));
    let again = run("dataset alter told --ttl 30d");
    assert_eq!(again["altered"], false);
    let forever = run("dataset alter told --no-ttl");
    assert_eq!(schema(&forever["dataset"]), (json!(null), json!(null)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_meant_is_refused_by_name() {
    let cluster = small_cluster();
    let dataset = connect(&cluster).await.dataset("refused");
    let plain = schema(None).with_expires_column(None).unwrap();
    dataset.create(&plain).await.unwrap();
    // The client refuses these by itself; so does a router.
    let mut sent = longbow_wire::convert::schema::to_proto(&plain);
    let mut datasets = longbow_wire::v1::dataset_service_client::DatasetServiceClient::new(
        longbow_harness::load::channel(&cluster.endpoints()[0]).unwrap(),
    );
    let mut refused = async |ttl_ms: u64, column: &str| {
        (sent.ttl_ms, sent.expires_column) = (ttl_ms, column.to_owned());
        let request = longbow_wire::v1::AlterDatasetRequest {
            name: "refused".into(),
            schema: Some(sent.clone()),
            expected_version: 1,
        };
        let status = datasets.alter_dataset(request).await.unwrap_err();
        let error = longbow_wire::convert::status::from_status(&status);
        (error.code, error.field.unwrap().into_owned())
    };
    assert_eq!(refused(999, "").await, (ErrorCode::InvalidSchema, "ttl".into()));
    assert_eq!(
        refused(u64::MAX, "").await,
        (ErrorCode::InvalidSchema, "ttl".into())
    );
    assert_eq!(refused(0, "id").await, (ErrorCode::InvalidSchema, "id".into()));
    assert_eq!(
        refused(0, "nope").await,
        (ErrorCode::UnknownColumn, "nope".into())
    );
    let found = dataset.describe().await.unwrap();
    assert_eq!((found.schema_version, found.schema), (1, plain));
}
