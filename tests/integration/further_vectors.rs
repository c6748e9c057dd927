//! A vector column that is added while rows are there: written, changed alone, searched, filtered and started again as a
//! user does it.

use std::collections::BTreeMap;

use longbow_client::{
    Ack, Client, DatasetHandle, IdKind, Metric, Options, Quantization, Row, Schema, SchemaBuilder, Value,
    VectorElement, col,
};
use longbow_types::ErrorCode;
use serde_json::json;

use crate::shared::{longbow, small_cluster, snapshotting_cluster};

const ROWS: u64 = 60;

fn schema() -> Schema {
    SchemaBuilder::new()
        .id("id", IdKind::U64)
        .vector("text", 3, VectorElement::F32, Metric::L2)
        .int32("count")
        .build()
        .unwrap()
}

async fn connect(endpoints: impl IntoIterator<Item = String>) -> Client {
    Client::connect(endpoints, Options::default()).await.unwrap()
}

/// Near each other in one column, and far apart in the other.
fn image(id: u64) -> Vec<f32> {
    vec![1.0, (ROWS * 2 - id) as f32, 0.0, 0.5]
}

fn row(id: u64) -> Row {
    Row::new(id)
        .vector(vec![id as f32, 0.0, 1.0])
        .column("count", id as i64)
}

fn numbers(found: &longbow_client::SearchResults) -> Vec<u64> {
    let ids = found.hits.iter().map(|hit| hit.id.to_string());
    ids.map(|id| id.parse().unwrap()).collect()
}

/// Rows that have an image: some of those from before the column was added, and every third from after.
fn has_image(id: u64) -> bool {
    if id < ROWS { id < 5 } else { id.is_multiple_of(3) }
}

/// That everything is found in both columns, and as it was written.
async fn holds(dataset: &DatasetHandle) {
    let all = 2 * ROWS;
    let mut expected: Vec<u64> = (0..all).filter(|id| has_image(*id)).collect();
    expected.reverse();
    let search = || dataset.search().vector_column("image").near(image(all)).k(1_000);
    for exact in [false, true] {
        let found = if exact {
            search().exact().await
        } else {
            search().await
        }
        .unwrap();
        assert_eq!(numbers(&found), expected, "rows without an image are not found");
        assert_eq!(found.hits[0].distance, (all - expected[0]).pow(2) as f32);
    }
    let filtered = search().filter(col("count").lt(100)).k(4).await.unwrap();
    let below: Vec<u64> = expected.iter().copied().filter(|id| *id < 100).take(4).collect();
    assert_eq!(numbers(&filtered), below);
    // The vectors that every row has are searched as ever, and who has an image can be asked.
    let text = dataset.search().near(vec![0.0, 0.0, 1.0]).k(1_000);
    let bare = text.clone().filter(col("image").is_null()).await.unwrap();
    let without: Vec<u64> = (0..all).filter(|id| !has_image(*id)).collect();
    assert_eq!(numbers(&bare), without);
    assert_eq!(numbers(&text.await.unwrap()), (0..all).collect::<Vec<_>>());
    // Near a row: near what it has in the column searched.
    let near_row = dataset.search().vector_column("image").near_row(2_u64).k(2);
    assert_eq!(numbers(&near_row.await.unwrap()), [1, 3]);
    let near_none = dataset.search().vector_column("image").near_row(7_u64).await;
    let error = near_none.unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::RowNotFound, Some("id"))
    );
    assert!(error.message.contains("no value in \"image\""), "{error}");
    let found = dataset.get([4_u64, 7]).columns(["image", "count"]).await.unwrap();
    let columns: Vec<BTreeMap<String, Value>> = found.rows.into_iter().map(|row| row.columns).collect();
    assert_eq!(columns[0]["image"], Value::Vector(image(4)));
    assert_eq!(columns[1]["image"], Value::Null);
    assert_eq!(
        columns[0]["count"],
        Value::I64(if has_image(4) { 104 } else { 4 })
    );
    let hit = search().k(1).columns(["*"]).await.unwrap().hits.remove(0);
    assert!(!hit.columns.contains_key("image"), "all but vectors");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vector_column_is_added_written_and_searched() {
    let mut cluster = snapshotting_cluster();
    let (one, other) = (
        connect([cluster.endpoints()[0].clone()]).await,
        connect([cluster.endpoints()[1].clone()]).await,
    );
    let dataset = one.dataset("words");
    dataset.create(&schema()).await.unwrap();
    dataset
        .upsert((0..ROWS).map(row))
        .ack(Ack::Applied)
        .await
        .unwrap();

    let told = longbow(
        &cluster,
        &["dataset", "alter", "words", "--add-vector", "image:4:f32:l2:none"],
    );
    assert_eq!(told["changes"], json!([{ "column": "image", "change": "added" }]));
    assert_eq!(told["dataset"]["schema"]["columns"][3]["type"], "float32[4]");
    // Old rows have no value there.
    let dataset = other.dataset("words");
    let none = dataset
        .search()
        .vector_column("image")
        .near(image(0))
        .await
        .unwrap();
    assert!(none.hits.is_empty());

    // Rows with and without a value, in calls that tell the column and in one that does not.
    let fresh = (ROWS..2 * ROWS).map(|id| match id {
        id if has_image(id) => row(id).further_vector("image", image(id)),
        id if id % 3 == 1 => row(id).column("image", Value::Null),
        id => row(id),
    });
    dataset.upsert(fresh).await.unwrap();
    let bare: Vec<u64> = (ROWS..2 * ROWS).filter(|id| id % 3 == 2).collect();
    dataset.upsert(bare.iter().map(|&id| row(id))).await.unwrap();
    // Of rows from before the value alone is told; then another column alone, which leaves the value as it is.
    let changes = (0..5).map(|id| Row::new(id).further_vector("image", image(id)));
    let changed = dataset.update(changes).ack(Ack::Indexed).await.unwrap();
    assert_eq!((changed.rows, changed.ack), (5, Ack::Indexed));
    let counted = (0..5_u64).map(|id| Row::new(id).column("count", 100 + id as i64));
    assert_eq!(dataset.update(counted).await.unwrap().rows, 5);
    holds(&dataset).await;
    holds(&one.dataset("words")).await;

    cluster.down().unwrap();
    cluster.up().unwrap();
    let client = connect(cluster.endpoints()).await;
    let dataset = client.dataset("words");
    holds(&dataset).await;
    // A value goes when a null is told, and with its row.
    let gone = Row::new(4_u64).column("image", Value::Null);
    dataset.update([gone]).await.unwrap();
    dataset.delete([3_u64]).await.unwrap();
    let found = dataset
        .search()
        .vector_column("image")
        .near(image(4))
        .k(1)
        .await
        .unwrap();
    assert_eq!(numbers(&found), [2]);

    let vector = "1,118,0,0.5";
    let shown = longbow(
        &cluster,
        &[
            "search",
            "words",
            "--vector-column",
            "image",
            "--vector",
            vector,
            "-k",
            "1",
            "--explain",
        ],
    );
    assert_eq!(shown["hits"][0]["id"], 2);
    let partitions = shown["explanation"]["partitions"].as_array().unwrap();
    let total = |field: &str| {
        partitions
            .iter()
            .map(|told| told[field].as_u64().unwrap())
            .sum::<u64>()
    };
    let have = (0..2 * ROWS).filter(|id| has_image(*id)).count() as u64 - 2;
    assert_eq!((total("rows"), total("rows_matching")), (2 * ROWS - 1, have));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_further_vectors_is_named() {
    let cluster = small_cluster();
    let dataset = connect(cluster.endpoints()).await.dataset("pictures");
    let schema = SchemaBuilder::new()
        .id("id", IdKind::U64)
        .vector("text", 3, VectorElement::F32, Metric::L2)
        .further_vector(
            "image",
            (2, VectorElement::F16),
            Metric::Cosine,
            Quantization::Sq8,
        )
        .int32("count")
        .build()
        .unwrap();
    let made = dataset.create(&schema).await.unwrap();
    assert_eq!(made.dataset.schema, schema, "created with both");
    let whole = |id: u64| Row::new(id).vector(vec![1.0, 2.0, 3.0]);
    dataset
        .upsert([whole(1).further_vector("image", vec![0.5, 1.0])])
        .await
        .unwrap();
    let cases = [
        (Value::Vector(vec![1.0]), ErrorCode::DimensionMismatch, Some("2")),
        (
            Value::Vector64(vec![1.0, f64::NAN]),
            ErrorCode::InvalidVector,
            Some("finite elements"),
        ),
        (Value::Vector(vec![0.0, 0.0]), ErrorCode::InvalidVector, None),
        (
            Value::from(vec![0.5_f32, 1.0]),
            ErrorCode::TypeMismatch,
            Some("vector or vector64"),
        ),
    ];
    for (value, code, limit) in cases {
        let shown = format!("{value:?}");
        let bad = whole(3).column("image", value);
        let error = dataset.upsert([whole(2), bad]).await.unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref()),
            (code, Some("rows[1].image")),
            "{shown}: {error}"
        );
        if let Some(limit) = limit {
            assert_eq!(error.limit.as_deref(), Some(limit), "{shown}");
        }
    }
    for (column, code) in [
        ("count", ErrorCode::TypeMismatch),
        ("x", ErrorCode::UnknownColumn),
    ] {
        let error = dataset
            .search()
            .vector_column(column)
            .near(vec![1.0, 2.0])
            .await
            .unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref()),
            (code, Some("vector_column")),
            "{error}"
        );
        assert_eq!(error.limit.as_deref(), Some("one of text, image"));
    }
    let error = dataset
        .search()
        .vector_column("image")
        .near(vec![1.0; 3])
        .await
        .unwrap_err();
    assert_eq!(
        (error.code, error.limit.as_deref()),
        (ErrorCode::DimensionMismatch, Some("2"))
    );
    let error = dataset
        .search()
        .near(vec![1.0; 3])
        .filter(col("image").eq(1))
        .await
        .unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::TypeMismatch, Some("image"))
    );
    let wider = SchemaBuilder::new()
        .id("id", IdKind::U64)
        .vector("text", 3, VectorElement::F32, Metric::L2)
        .further_vector(
            "image",
            (4, VectorElement::F16),
            Metric::Cosine,
            Quantization::Sq8,
        )
        .int32("count")
        .build()
        .unwrap();
    let error = dataset.alter(&wider, 1).await.unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::SchemaIncompatible, Some("image"))
    );
    assert!(
        error.message.contains("from dimension 2 to dimension 4"),
        "{error}"
    );
    // Nothing of what was refused was written.
    assert_eq!(dataset.get([1_u64, 2, 3]).await.unwrap().rows.len(), 1);
}
