//! Bad input: a typed error within a second, nothing written, no process dies.

use std::time::{Duration, Instant};

use arrow::{
    array::{ArrayRef, FixedSizeListArray, RecordBatch, StringArray, UInt64Array, types::Float32Type},
    ipc::writer::StreamWriter,
};
use longbow_harness::load::{DIMENSION, channel, create_dataset, vector_of};
use longbow_types::{Error, ErrorCode};
use longbow_wire::{
    convert::status::from_status,
    v1::{
        self, dataset_service_client::DatasetServiceClient, search_service_client::SearchServiceClient,
        upsert_request::Payload, write_service_client::WriteServiceClient,
    },
};
use tonic::{Status, transport::Channel};

use crate::shared::small_cluster;

const SECOND: Duration = Duration::from_secs(1);

/// A dataset of its own on the shared cluster; checks afterwards that nothing was written and that all live.
struct Room {
    cluster: std::sync::Arc<longbow_harness::cluster::Cluster>,
    dataset: String,
    channel: Channel,
}

impl Room {
    async fn new(name: &str) -> Self {
        let cluster = small_cluster();
        let endpoint = cluster.endpoints()[0].clone();
        let dataset = format!("bad-{name}");
        create_dataset(&endpoint, &dataset).await.unwrap();
        Self {
            channel: channel(&endpoint).unwrap(),
            cluster,
            dataset,
        }
    }

    fn row(&self) -> v1::Row {
        let value = |kind| v1::Value { kind: Some(kind) };
        v1::Row {
            id: Some(v1::RowId {
                kind: Some(v1::row_id::Kind::U64(1)),
            }),
            vector: Some(v1::Vector {
                values: vector_of(1, 1),
            }),
            columns: [
                ("version".to_owned(), value(v1::value::Kind::U64(1))),
                ("text".to_owned(), value(v1::value::Kind::Utf8("x".into()))),
            ]
            .into(),
        }
    }

    async fn upsert(&self, payload: Payload) -> Result<(), Status> {
        let request = v1::UpsertRequest {
            dataset: self.dataset.clone(),
            payload: Some(payload),
            ..v1::UpsertRequest::default()
        };
        WriteServiceClient::new(self.channel.clone())
            .upsert(request)
            .await
            .map(drop)
    }

    async fn upsert_rows(&self, rows: Vec<v1::Row>) -> Result<(), Status> {
        self.upsert(Payload::Rows(v1::Rows { rows })).await
    }

    async fn search(&self, change: impl FnOnce(&mut v1::SearchRequest)) -> Result<(), Status> {
        let mut request = v1::SearchRequest {
            dataset: self.dataset.clone(),
            query: Some(v1::search_request::Query::Vector(v1::Vector {
                values: vec![0.5; DIMENSION],
            })),
            k: 10,
            ..Default::default()
        };
        change(&mut request);
        SearchServiceClient::new(self.channel.clone())
            .search(request)
            .await
            .map(drop)
    }

    /// The refusal as a typed error, after checking that it came quickly, wrote nothing and killed nobody.
    async fn refused(self, started: Instant, outcome: Result<(), Status>) -> Error {
        let took = started.elapsed();
        let status = outcome.expect_err("bad input must be refused");
        let error = from_status(&status);
        assert!(took < SECOND, "{error} took {took:?}");

        let request = v1::GetDatasetRequest {
            name: self.dataset.clone(),
        };
        let described = DatasetServiceClient::new(self.channel.clone())
            .get_dataset(request)
            .await
            .unwrap();
        assert_eq!(
            described.into_inner().dataset.unwrap().rows,
            Some(0),
            "something was written"
        );
        for node in self.cluster.nodes() {
            self.cluster.ready(&node.id).await.unwrap();
        }
        error
    }
}

macro_rules! refused {
    ($room:ident, $call:expr) => {{
        let started = Instant::now();
        let outcome = $call.await;
        $room.refused(started, outcome).await
    }};
}

#[tokio::test]
async fn a_wrong_dimension() {
    let room = Room::new("dimension").await;
    let mut row = room.row();
    row.vector = Some(v1::Vector { values: vec![1.0; 3] });
    let good = room.row();
    let error = refused!(room, room.upsert_rows(vec![good, row]));
    assert_eq!(error.code, ErrorCode::DimensionMismatch);
    assert_eq!(error.field.as_deref(), Some("rows[1].vector"));
    assert!(error.limit.unwrap().contains("16"));
}

#[tokio::test]
async fn a_wrong_dimension_in_a_search() {
    let room = Room::new("search-dimension").await;
    let query = v1::search_request::Query::Vector(v1::Vector { values: vec![1.0; 3] });
    let error = refused!(room, room.search(|s| s.query = Some(query)));
    assert_eq!(error.code, ErrorCode::DimensionMismatch);
}

#[tokio::test]
async fn not_a_number() {
    for (name, bad) in [("nan", f32::NAN), ("inf", f32::INFINITY)] {
        let room = Room::new(name).await;
        let mut row = room.row();
        row.vector.as_mut().unwrap().values[7] = bad;
        let error = refused!(room, room.upsert_rows(vec![row]));
        assert_eq!(error.code, ErrorCode::InvalidVector);
        assert!(error.field.unwrap().starts_with("rows[0].vector"));
    }
}

#[tokio::test]
async fn an_unknown_column() {
    let room = Room::new("column").await;
    let mut row = room.row();
    let value = row.columns["text"].clone();
    row.columns.insert("colour".into(), value);
    let error = refused!(room, room.upsert_rows(vec![row]));
    assert_eq!(error.code, ErrorCode::UnknownColumn);
    assert!(error.field.unwrap().contains("colour"));
}

#[tokio::test]
async fn a_filter_on_an_unknown_column() {
    let room = Room::new("filter").await;
    let filter = v1::Filter {
        node: Some(v1::filter::Node::IsNull("colour".into())),
    };
    let error = refused!(room, room.search(|s| s.filter = Some(filter)));
    assert_eq!(error.code, ErrorCode::UnknownColumn);
    assert!(error.field.unwrap().contains("colour"));
}

#[tokio::test]
async fn a_wrong_type() {
    let room = Room::new("type").await;
    let mut row = room.row();
    let text = v1::Value {
        kind: Some(v1::value::Kind::Utf8("three".into())),
    };
    row.columns.insert("version".into(), text);
    let error = refused!(room, room.upsert_rows(vec![row]));
    assert_eq!(error.code, ErrorCode::TypeMismatch);
    assert!(error.field.unwrap().contains("version"));
}

#[tokio::test]
async fn an_id_of_the_wrong_kind() {
    let room = Room::new("id").await;
    let mut row = room.row();
    row.id = Some(v1::RowId {
        kind: Some(v1::row_id::Kind::Utf8("dog".into())),
    });
    let error = refused!(room, room.upsert_rows(vec![row]));
    assert_eq!(error.code, ErrorCode::TypeMismatch);
}

#[tokio::test]
async fn k_out_of_range() {
    for (name, k) in [("k-zero", 0), ("k-billion", 1_000_000_000)] {
        let room = Room::new(name).await;
        let error = refused!(room, room.search(|s| s.k = k));
        assert_eq!(error.code, ErrorCode::InvalidValue);
        assert_eq!(error.field.as_deref(), Some("k"));
        assert!(error.limit.unwrap().contains("10000"));
    }
}

#[tokio::test]
async fn an_unknown_dataset() {
    let room = Room::new("dataset").await;
    let error = refused!(room, room.search(|s| s.dataset = "nowhere".into()));
    assert_eq!(error.code, ErrorCode::DatasetNotFound);
    assert!(error.message.contains("nowhere"));
}

fn ipc_of_one_row() -> Vec<u8> {
    let vector = Some(vector_of(1, 1).into_iter().map(Some).collect::<Vec<_>>());
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", std::sync::Arc::new(UInt64Array::from(vec![1]))),
        (
            "vector",
            std::sync::Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
                [vector],
                DIMENSION as i32,
            )),
        ),
        ("version", std::sync::Arc::new(UInt64Array::from(vec![1]))),
        ("text", std::sync::Arc::new(StringArray::from(vec!["x"]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

#[tokio::test]
async fn malformed_arrow() {
    let good = ipc_of_one_row();
    let mut huge_length = good.clone();
    huge_length[4..8].copy_from_slice(&i32::MAX.to_le_bytes());
    let mut flipped = good.clone();
    for at in (16..flipped.len()).step_by(37) {
        flipped[at] ^= 0xff;
    }
    let cases = [
        ("arrow-garbage", b"this is not arrow at all".to_vec()),
        ("arrow-empty", Vec::new()),
        ("arrow-cut", good[..good.len() / 2].to_vec()),
        ("arrow-length", huge_length),
        ("arrow-flipped", flipped),
    ];
    for (name, bytes) in cases {
        let room = Room::new(name).await;
        let error = refused!(room, room.upsert(Payload::ArrowIpc(bytes.into())));
        assert_eq!(error.code, ErrorCode::MalformedArrow, "{name}: {error}");
        assert_eq!(error.field.as_deref(), Some("arrow_ipc"), "{name}: {error}");
    }
}

#[tokio::test]
async fn an_honest_gibibyte() {
    use longbow_harness::raw;
    let room = Room::new("gibibyte").await;
    let started = Instant::now();
    let outcome = raw::oversized_call(&room.channel, "/longbow.v1.WriteService/Upsert", 1 << 30)
        .await
        .unwrap();
    let error = room.refused(started, Err(outcome)).await;
    assert_eq!(error.code, ErrorCode::TooLarge);
    assert!(error.limit.unwrap().contains("67108864"), "the limit is named");
}
