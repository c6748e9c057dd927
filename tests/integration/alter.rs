//! Schemas that change under load: what was written before is there, what comes after may be wider, and of two changes at
//! once one wins.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arrow_schema::{DataType, Field};
use longbow_client::{
    Ack, Client, DatasetHandle, DefaultValue, IdKind, Metric, Options, Row, Schema, SchemaBuilder, Value,
    VectorElement, col,
};
use longbow_harness::cluster::{Cluster, Shape};
use longbow_types::ErrorCode;
use serde_json::Value as Json;

use crate::shared::{binary, small_cluster, snapshotting_cluster};

const DIMENSION: usize = 3;
const ROWS: u64 = 40;
/// More than 32 bits hold.
const LARGE: i64 = 1 << 40;

fn schema() -> Schema {
    SchemaBuilder::new()
        .id("id", IdKind::U64)
        .vector("vector", DIMENSION, VectorElement::F32, Metric::L2)
        .int32("count")
        .column("weight", DataType::Float16)
        .build()
        .unwrap()
}

/// Two columns wider and two more.
fn next(schema: &Schema) -> Schema {
    schema
        .with_type("count", DataType::Int64)
        .and_then(|schema| schema.with_type("weight", DataType::Float64))
        .and_then(|schema| schema.with_column(Field::new("note", DataType::Utf8, true), None))
        .and_then(|schema| {
            let rank = Field::new("rank", DataType::Int32, false);
            schema.with_column(rank, Some(DefaultValue::Int(7)))
        })
        .unwrap()
}

fn row(id: u64) -> Row {
    Row::new(id).vector(vec![id as f32, 0.0, 1.0])
}

async fn connect(endpoints: impl IntoIterator<Item = String>) -> Client {
    Client::connect(endpoints, Options::default()).await.unwrap()
}

/// All rows of some ids, by id, each with its columns.
async fn rows(dataset: &DatasetHandle, ids: std::ops::Range<u64>) -> BTreeMap<u64, BTreeMap<String, Value>> {
    let found = dataset.get(ids).await.unwrap();
    let by_id = |row: longbow_client::Found| (row.id.to_string().parse().unwrap(), row.columns);
    found.rows.into_iter().map(by_id).collect()
}

/// That rows from before read as rows of the new schema, and so do those that came after.
async fn holds(dataset: &DatasetHandle) {
    let found = rows(dataset, 0..2 * ROWS).await;
    assert_eq!(found.len() as u64, 2 * ROWS);
    for (id, columns) in &found {
        let is_old = *id < ROWS;
        let count = if is_old { *id as i64 } else { LARGE + *id as i64 };
        let note = if is_old { Value::Null } else { Value::from("new") };
        let rank = if *id % 2 == 0 || is_old { 7 } else { 8 };
        let expected = BTreeMap::from([
            ("count".to_owned(), Value::I64(count)),
            ("weight".to_owned(), Value::F64(*id as f64 / 2.0)),
            ("note".to_owned(), note),
            ("rank".to_owned(), Value::I64(rank)),
        ]);
        assert_eq!(columns, &expected, "row {id}");
    }
    for (filter, expected) in [
        (col("count").ge(LARGE), ROWS),
        (col("count").lt(10), 10),
        (col("weight").lt(5.0), 10),
        (col("note").is_null(), ROWS),
        (col("note").eq("new"), ROWS),
        (col("rank").eq(7), ROWS + ROWS / 2),
        (col("rank").gt(7), ROWS / 2),
    ] {
        let shown = format!("{filter:?}");
        let search = dataset
            .search()
            .near(vec![0.0; DIMENSION])
            .k(1_000)
            .filter(filter);
        let hits = search.columns(["count"]).await.unwrap().hits;
        assert_eq!(hits.len() as u64, expected, "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_from_before_are_rows_of_the_new_schema() {
    let mut cluster = snapshotting_cluster();
    let (one, other) = (
        connect([cluster.endpoints()[0].clone()]).await,
        connect([cluster.endpoints()[1].clone()]).await,
    );
    let dataset = one.dataset("words");
    dataset.create(&schema()).await.unwrap();
    let weighed = |row: Row, id: u64| row.column("weight", id as f64 / 2.0);
    let old = (0..ROWS).map(|id| weighed(row(id), id).column("count", id as i64));
    dataset.upsert(old).ack(Ack::Applied).await.unwrap();
    // What the narrow column cannot hold is refused, not cut.
    let large = weighed(row(ROWS), ROWS).column("count", LARGE);
    let refused = dataset.upsert([large]).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::TypeMismatch);

    let altered = dataset.alter(&next(&schema()), 1).await.unwrap();
    assert!(altered.altered);
    assert_eq!(altered.dataset.schema_version, 2);
    assert_eq!(altered.dataset.schema, next(&schema()));

    // Through the other router at once, and with rows of the new version beside the old ones.
    let dataset = other.dataset("words");
    let new = (ROWS..2 * ROWS).map(|id| {
        let row = weighed(row(id), id)
            .column("count", LARGE + id as i64)
            .column("note", "new");
        // Half of them leave it to the default.
        if id % 2 == 0 { row } else { row.column("rank", 8) }
    });
    dataset.upsert(new).await.unwrap();
    holds(&dataset).await;
    holds(&one.dataset("words")).await;
    // The same once more changes nothing; from the old version it comes too late.
    let again = dataset.alter(&next(&schema()), 2).await.unwrap();
    assert_eq!((again.altered, again.dataset.schema_version), (false, 2));
    let late = dataset.alter(&next(&schema()), 1).await.unwrap_err();
    assert_eq!(
        (late.code, late.limit.as_deref()),
        (ErrorCode::SchemaConflict, Some("2"))
    );

    cluster.down().unwrap();
    cluster.up().unwrap();
    let client = connect(cluster.endpoints()).await;
    let dataset = client.dataset("words");
    assert_eq!(dataset.describe().await.unwrap().schema, next(&schema()));
    holds(&dataset).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_change_is_refused_before_anything_is_written() {
    let cluster = small_cluster();
    let dataset = connect(cluster.endpoints()).await.dataset("firm");
    let base = schema();
    dataset.create(&base).await.unwrap();
    let fields = |schema: &Schema| -> Vec<Field> {
        schema
            .arrow()
            .fields()
            .iter()
            .map(|field| Field::clone(field))
            .collect()
    };
    let made = |change: &dyn Fn(&mut Vec<Field>)| {
        let mut columns = fields(&base);
        change(&mut columns);
        Schema::new(columns, "id", Metric::L2).unwrap()
    };
    let vector = longbow_types::schema::vector_type(VectorElement::F32, DIMENSION + 1);
    let cases: [(Schema, &str, &str); 6] = [
        (made(&|c| drop(c.pop())), "weight", "not dropped"),
        (
            made(&|c| c[2] = Field::new("counts", DataType::Int32, true)),
            "count",
            "not renamed",
        ),
        (
            made(&|c| c[2] = Field::new("count", DataType::Int16, true)),
            "count",
            "from Int32 to Int16",
        ),
        (
            made(&|c| c[1] = Field::new("vector", vector.clone(), false)),
            "vector",
            "from dimension 3 to dimension 4",
        ),
        (
            made(&|c| c[0] = Field::new("id", DataType::Int64, false)),
            "id",
            "from UInt64 to Int64",
        ),
        (
            made(&|c| c.push(Field::new("must", DataType::Utf8, false))),
            "must",
            "nullable or has a default",
        ),
    ];
    for (wanted, column, why) in cases {
        let error = dataset.alter(&wanted, 1).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::SchemaIncompatible, "{error}");
        assert_eq!(error.field.as_deref(), Some(column), "{error}");
        assert!(error.message.contains(why), "{error}");
    }
    let unversioned = dataset.alter(&base, 0).await.unwrap_err();
    assert_eq!(unversioned.field.as_deref(), Some("expected_version"));
    let info = dataset.describe().await.unwrap();
    assert_eq!((info.schema_version, &info.schema), (1, &base));
    let nowhere = connect(cluster.endpoints()).await.dataset("nowhere");
    let error = nowhere.alter(&base, 1).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::DatasetNotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_changes_at_once_one_wins_and_no_write_is_lost() {
    const CHANGES: u32 = 8;
    let shape = Shape {
        keepers: 1,
        shards: 2,
        routers: 2,
    };
    let cluster = Cluster::start(binary(), shape).unwrap();
    let clients = [
        connect([cluster.endpoints()[0].clone()]).await,
        connect([cluster.endpoints()[1].clone()]).await,
    ];
    clients[0].dataset("busy").create(&schema()).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    // Each router has a writer and a reader, which know of no change.
    let writers: Vec<_> = clients
        .iter()
        .enumerate()
        .map(|(at, client)| {
            let (dataset, done) = (client.dataset("busy"), Arc::clone(&done));
            tokio::spawn(async move {
                let mut written = Vec::new();
                let mut id = at as u64;
                while !done.load(Ordering::Relaxed) {
                    let row = row(id).column("count", id as i64).column("weight", 0.5);
                    dataset.upsert([row]).ack(Ack::Applied).await.unwrap();
                    written.push(id);
                    let search = dataset.search().near(vec![id as f32, 0.0, 1.0]).k(1);
                    let hits = search.columns(["*"]).await.unwrap().hits;
                    assert_eq!(hits[0].columns["count"], Value::I64(id as i64));
                    id += 2;
                }
                written
            })
        })
        .collect();
    for version in 1..=CHANGES {
        let base = clients[0].dataset("busy").describe().await.unwrap();
        assert_eq!(base.schema_version, version);
        let change = |name: &str| {
            let column = Field::new(format!("{name}_{version}"), DataType::Utf8, true);
            base.schema.with_column(column, None).unwrap()
        };
        let (left, right) = (change("left"), change("right"));
        let handles = clients.each_ref().map(|client| client.dataset("busy"));
        let (left, right) = tokio::join!(
            handles[0].alter(&left, version),
            handles[1].alter(&right, version)
        );
        let (won, lost) = match (left, right) {
            (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
            both => panic!("one wins and one loses: {both:?}"),
        };
        assert_eq!(won.dataset.schema_version, version + 1);
        assert_eq!(lost.code, ErrorCode::SchemaConflict, "{lost}");
        let now = (version + 1).to_string();
        assert_eq!(lost.limit.as_deref(), Some(now.as_str()), "{lost}");
    }
    done.store(true, Ordering::Relaxed);
    for writer in writers {
        let written = writer.await.unwrap();
        assert!(!written.is_empty());
        for ids in written.chunks(1_000) {
            let found = clients[0].dataset("busy").get(ids.iter().copied()).await.unwrap();
            assert_eq!(found.rows.len(), ids.len());
            let columns = &found.rows[0].columns;
            assert_eq!(columns.len() as u32, 2 + CHANGES);
        }
    }
}

#[test]
fn the_command_changes_a_schema() {
    let cluster = small_cluster();
    let longbow = |line: &str| {
        let output = Command::new(binary())
            .args(line.split(' '))
            .args(["--json", "--endpoint"])
            .args(cluster.endpoints())
            .output()
            .unwrap();
        let read = |bytes: &[u8]| serde_json::from_slice::<Json>(bytes).unwrap_or_default();
        let json = if output.status.success() {
            read(&output.stdout)
        } else {
            read(&output.stderr)
        };
        (
            output.status.success(),
            json,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (made, json, _) =
        longbow("dataset create typed --dimension 3 --column n:int32 --column lang:utf8=en");
    assert!(made);
    assert_eq!(json["dataset"]["schema"]["columns"][3]["default"], "en");
    let alter = "dataset alter typed --widen n:int64 --add note:utf8 --add rank:int32!=7";
    let (planned, json, _) = longbow(&format!("{alter} --dry-run"));
    assert!(planned && json["altered"] == false && json["changes"].as_array().unwrap().len() == 3);
    let (altered, json, _) = longbow(&format!("{alter} --expected-version 1"));
    assert!(altered && json["altered"] == true);
    assert_eq!(json["dataset"]["schema_version"], 2);
    let (described, json, _) = longbow("dataset describe typed");
    assert!(described);
    let columns = json["schema"]["columns"].as_array().unwrap();
    assert_eq!(columns[2]["type"], "int64");
    assert_eq!(
        (&columns[5]["name"], &columns[5]["default"]),
        (&"rank".into(), &7.into())
    );
    let (again, _, told) = longbow(&format!("{alter} --expected-version 1"));
    assert!(!again && told.contains("SCHEMA_CONFLICT"), "{told}");
    let (narrowed, _, told) = longbow("dataset alter typed --widen n:int8");
    assert!(!narrowed && told.contains("SCHEMA_INCOMPATIBLE"), "{told}");
}
