//! Imports into a whole cluster in this process.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use arrow::{
    array::{
        ArrayRef, FixedSizeListArray, Float64Array, TimestampMicrosecondArray, TimestampNanosecondArray,
        UInt64Array,
    },
    datatypes::Float32Type,
    record_batch::RecordBatch,
};
use clap::Parser;
use longbow_client::{Metric, RowId, VectorElement, col};

use super::*;
use crate::{
    args::{Cli, Command},
    demo::cluster::Cluster,
    filter_text,
    up::{
        identity::DataDir,
        layout::{self, Common, Shape},
        ports::Ports,
    },
};

async fn cluster(dir: &Path) -> (Cluster, String) {
    let shape = Shape {
        keepers: 1,
        shards: 1,
        routers: 1,
    };
    let mut ports = Ports::random(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let dir = DataDir::open(dir).unwrap();
    let plans = layout::plan(shape, &dir, &mut ports, None, &Common::default()).unwrap();
    drop(ports);
    let cluster = Cluster::start(plans).await.unwrap();
    cluster.ready(Duration::from_secs(60)).await.unwrap();
    let endpoint = format!("http://{}", cluster.router().unwrap().0);
    (cluster, endpoint)
}

/// Writes a file with one row for each vector, a day apart from the first of January 1970.
fn write(path: &Path, vectors: &[[f32; 2]]) {
    const DAY: i64 = 86_400_000_000;
    let days = (0..vectors.len() as i64).map(|row| row * DAY);
    let lists = vectors.iter().map(|vector| Some(vector.map(Some)));
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "id",
            Arc::new(UInt64Array::from_iter_values(0..vectors.len() as u64)),
        ),
        (
            "vector",
            Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
                lists, 2,
            )),
        ),
        (
            "at",
            Arc::new(TimestampMicrosecondArray::from_iter_values(days).with_timezone("UTC")),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ::parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

async fn import(endpoint: &str, path: &Path, more: &[&str]) -> anyhow::Result<()> {
    let path = path.display().to_string();
    let line = [
        "longbow",
        "import",
        &path,
        "--json",
        "--endpoint",
        endpoint,
        "-d",
        "words",
    ];
    let cli = Cli::try_parse_from([&line, more].concat()).unwrap();
    let Command::Import(args) = cli.command else {
        panic!("not an import")
    };
    run(&args, &cli.global).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_cannot_be_written_leave_no_empty_dataset_and_no_false_hope() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, endpoint) = cluster(&dir.path().join("data")).await;
    let client = Client::lazy(
        std::slice::from_ref(&endpoint),
        longbow_client::Options::default(),
    )
    .unwrap();
    let file = dir.path().join("rows.parquet");

    // Zero has no direction, and what is not a number has no distance.
    for bad in [[0.0, 0.0], [f32::NAN, 1.0]] {
        write(&file, &[[1.0, 0.0], bad]);
        let told = format!("{:#}", import(&endpoint, &file, &["--create"]).await.unwrap_err());
        assert!(
            told.contains("dropped again") && !told.contains("go on"),
            "{told}"
        );
        assert!(client.list_datasets(true).await.unwrap().is_empty());
    }

    // What an earlier batch brought stays, and so does its dataset.
    write(&file, &[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]);
    let more = ["--create", "--batch-rows=2", "--ack=applied"];
    let told = format!("{:#}", import(&endpoint, &file, &more).await.unwrap_err());
    assert!(told.contains("after 2 rows") && !told.contains("go on"), "{told}");
    assert_eq!(client.list_datasets(true).await.unwrap()[0].rows, Some(2));

    // A dataset that was there before is not this import's to drop.
    client
        .dataset("words")
        .delete(&[RowId::U64(0), RowId::U64(1)])
        .await
        .unwrap();
    write(&file, &[[0.0, 0.0]]);
    let told = format!("{:#}", import(&endpoint, &file, &["--create"]).await.unwrap_err());
    assert!(!told.contains("dropped"), "{told}");
    assert_eq!(client.list_datasets(false).await.unwrap().len(), 1);

    // Times can be asked for as people write them.
    write(&file, &[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]);
    import(&endpoint, &file, &[]).await.unwrap();
    let filter = filter_text::parse("at >= timestamp '1970-01-02' and at < timestamp '1970-01-03T00:00:00Z'");
    let found = client
        .dataset("words")
        .search()
        .near([1.0_f32, 0.0])
        .filter(filter.unwrap())
        .await
        .unwrap();
    let ids: Vec<_> = found.hits.iter().map(|hit| hit.id.clone()).collect();
    assert_eq!(ids, [RowId::U64(1)]);
    let text = client.dataset("words").search().near([1.0_f32, 0.0]);
    let error = text.filter(col("at").lt("tomorrow")).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::TypeMismatch);

    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_arrive_as_they_are_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (cluster, endpoint) = cluster(&dir.path().join("data")).await;
    let client = Client::lazy(
        std::slice::from_ref(&endpoint),
        longbow_client::Options::default(),
    )
    .unwrap();
    let schema = longbow_client::SchemaBuilder::new()
        .id("id", longbow_client::IdKind::U64)
        .vector("vector", 2, VectorElement::F32, Metric::L2)
        .int32("count")
        .float32("weight")
        .timestamp_micros("at")
        .build()
        .unwrap();
    client.dataset("words").create(&schema).await.unwrap();
    let file = dir.path().join("rows.parquet");
    let rows = |name: &str, column: ArrayRef| {
        let ids: ArrayRef = match name {
            "id" => Arc::clone(&column),
            _ => Arc::new(UInt64Array::from_iter_values(0..column.len() as u64)),
        };
        let lists = (0..column.len()).map(|row| Some([Some(row as f32), Some(1.0)]));
        let vectors = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(lists, 2);
        let mut columns: Vec<(&str, ArrayRef)> = vec![("id", ids), ("vector", Arc::new(vectors))];
        if name != "id" {
            columns.push((name, column));
        }
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let out = std::fs::File::create(&file).unwrap();
        let mut writer = ::parquet::arrow::ArrowWriter::try_new(out, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    };
    let floats = |values: [f64; 3]| Arc::new(Float64Array::from(values.to_vec())) as ArrayRef;
    let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_000, 2_000, 2_001]));
    for (name, column, value) in [
        ("count", floats([1.0, 2.0, 2.7]), "2.7"),
        ("count", floats([1.0, 2.0, 3e9]), "3000000000.0"),
        ("id", floats([0.0, 1.0, 1.7]), "1.7"),
        ("weight", floats([1.0, 2.0, 1e39]), "1e39"),
        ("at", nanos, "1970-01-01T00:00:00.000002001"),
    ] {
        rows(name, column);
        // The row is counted over the file, not over what was sent at once.
        let error = import(&endpoint, &file, &["--batch-rows=2"]).await.unwrap_err();
        let told = format!("{error:#}");
        assert!(
            told.contains("row 2 of the file") && told.contains(&format!("{name} is {value:?}")),
            "{told}"
        );
        assert_eq!(
            error::find(&error).unwrap().code,
            ErrorCode::TypeMismatch,
            "{told}"
        );
    }
    rows("count", floats([4.0, 5.0, 6.0]));
    import(&endpoint, &file, &["--ack=applied"]).await.unwrap();
    let found = client.dataset("words").get([2_u64]).await.unwrap();
    assert_eq!(found.rows[0].columns["count"], longbow_client::Value::I64(6));
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_file_at_fault_has_a_code() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("x.csv", Some(&b"1"[..])),
        ("none.npy", None),
        ("x.npy", Some(b"no")),
        ("x.parquet", Some(b"PAR1")),
    ] {
        let file = dir.path().join(name);
        if let Some(bytes) = bytes {
            std::fs::write(&file, bytes).unwrap();
        }
        let error = import("http://127.0.0.1:1", &file, &[]).await.unwrap_err();
        let ours = error::find(&error).unwrap();
        assert_eq!(
            (ours.code, ours.field.as_deref()),
            (ErrorCode::InvalidValue, Some("file")),
            "{error:#}"
        );
        let is_missing = ours.message == "there is no such file" && ours.limit.is_some();
        assert_eq!(is_missing, bytes.is_none(), "{error:#}");
    }
}

#[test]
fn only_what_may_pass_is_worth_another_try() {
    let again = |code| may_pass(&anyhow::Error::from(Error::new(code, "x")).context("y"));
    for code in [
        ErrorCode::NoLeader,
        ErrorCode::Unreachable,
        ErrorCode::DeadlineExceeded,
        ErrorCode::Overloaded,
        ErrorCode::SchemaVersionStale,
        ErrorCode::LatchTripped,
    ] {
        assert!(again(code), "{code}");
    }
    for code in [
        ErrorCode::InvalidVector,
        ErrorCode::NullNotAllowed,
        ErrorCode::DimensionMismatch,
        ErrorCode::TypeMismatch,
        ErrorCode::TooLarge,
        ErrorCode::Unauthenticated,
    ] {
        assert!(!again(code), "{code}");
    }
    assert!(!may_pass(&anyhow::anyhow!("the file ends early")));
}
