//! Malformed input: a typed error, nothing written, the router lives.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, FixedSizeListArray, RecordBatch, UInt64Array, types::Float32Type},
    ipc::writer::StreamWriter,
};
use longbow_types::ErrorCode;
use longbow_wire::v1::{self, AckLevel, consistency, upsert_request::Payload};
use tonic::Code;

use crate::cluster::{Client, DIMENSION, id, near, refused, row, shared, vector};

/// One good row as an Arrow IPC stream.
fn stream(rows: u64) -> Vec<u8> {
    let vectors = (0..rows).map(|number| Some(vector(number).into_iter().map(Some).collect::<Vec<_>>()));
    let vectors = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, DIMENSION as i32);
    let columns: [(&str, ArrayRef); 2] = [
        ("vector", Arc::new(vectors)),
        ("id", Arc::new(UInt64Array::from_iter_values(0..rows))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

async fn upsert_ipc(client: &mut Client, dataset: &str, bytes: Vec<u8>) -> Result<u64, tonic::Status> {
    let request = v1::UpsertRequest {
        dataset: dataset.to_owned(),
        payload: Some(Payload::ArrowIpc(bytes.into())),
        ack: AckLevel::Applied as i32,
        ..v1::UpsertRequest::default()
    };
    client
        .writes
        .upsert(request)
        .await
        .map(|answer| answer.into_inner().rows)
}

async fn rows(client: &mut Client, dataset: &str) -> Option<u64> {
    let request = v1::GetDatasetRequest {
        name: dataset.to_owned(),
    };
    client
        .datasets
        .get_dataset(request)
        .await
        .unwrap()
        .into_inner()
        .dataset
        .unwrap()
        .rows
}

#[tokio::test]
async fn arrow_that_is_damaged_is_refused_and_arrow_that_is_whole_is_not() {
    let mut client = shared().await;
    let dataset = client.create("arrow").await;
    let good = stream(3);
    for cut in (0..good.len()).step_by(41) {
        let error = refused(upsert_ipc(&mut client, &dataset, good[..cut].to_vec()).await);
        assert_eq!(error.code, ErrorCode::MalformedArrow, "cut at {cut}: {error}");
        assert_eq!(error.field.as_deref(), Some("arrow_ipc"));
    }
    let mut huge = good.clone();
    huge[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(
        refused(upsert_ipc(&mut client, &dataset, huge).await).code,
        ErrorCode::MalformedArrow
    );
    assert_eq!(rows(&mut client, &dataset).await, Some(0));
    assert_eq!(upsert_ipc(&mut client, &dataset, good).await.unwrap(), 3);
    let empty = refused(upsert_ipc(&mut client, &dataset, stream(0)).await);
    assert_eq!(empty.code, ErrorCode::MissingField);
}

#[tokio::test]
async fn flipped_bits_never_kill() {
    let mut client = shared().await;
    let dataset = client.create("flips").await;
    let good = stream(2);
    for at in (0..good.len() * 8).step_by(211) {
        let mut flipped = good.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        // A flip inside a value makes another valid value; all else is refused by name.
        if let Err(status) = upsert_ipc(&mut client, &dataset, flipped).await {
            assert_eq!(status.code(), Code::InvalidArgument, "bit {at}: {status}");
        }
    }
    client.search(near(&dataset, 1, 1)).await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_is_named_and_nothing_is_written() {
    let mut client = shared().await;
    let dataset = client.create("named").await;
    let mut short = row(2);
    short.vector.as_mut().unwrap().values.pop();
    let error = refused(
        client
            .upsert(&dataset, vec![row(1), short], AckLevel::Logged)
            .await,
    );
    assert_eq!(error.code, ErrorCode::DimensionMismatch);
    assert_eq!(
        (error.field.as_deref(), error.limit.as_deref()),
        (Some("rows[1].vector"), Some("8"))
    );
    let mut nan = row(3);
    nan.vector.as_mut().unwrap().values[5] = f32::NAN;
    let error = refused(client.upsert(&dataset, vec![nan], AckLevel::Logged).await);
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::InvalidVector, Some("rows[0].vector"))
    );
    let error = refused(client.upsert(&dataset, vec![], AckLevel::Logged).await);
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::MissingField, Some("rows"))
    );
    let unknown = v1::UpsertRequest {
        dataset: dataset.clone(),
        payload: Some(Payload::ArrowIpc(stream(1).into())),
        ack: 9,
        ..v1::UpsertRequest::default()
    };
    let error = refused(client.writes.upsert(unknown).await);
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::InvalidValue, Some("ack"))
    );
    assert_eq!(rows(&mut client, &dataset).await, Some(0));
}

#[tokio::test]
async fn searches_out_of_bounds_are_refused() {
    let mut client = shared().await;
    let dataset = client.create("bounds").await;
    type Spoil = fn(&mut v1::SearchRequest);
    let cases: [(Spoil, ErrorCode, &str); 9] = [
        (|s| s.k = 0, ErrorCode::InvalidValue, "k"),
        (|s| s.k = 1_000_000_000, ErrorCode::InvalidValue, "k"),
        (|s| s.ef = 100_001, ErrorCode::InvalidValue, "ef"),
        (|s| s.query = None, ErrorCode::MissingField, "query"),
        (
            |s| s.columns = vec!["colour".into()],
            ErrorCode::UnknownColumn,
            "colour",
        ),
        (
            |s| {
                s.query = Some(v1::search_request::Query::Vector(v1::Vector {
                    values: vec![1.0],
                }))
            },
            ErrorCode::DimensionMismatch,
            "vector",
        ),
        (
            |s| {
                s.query = Some(v1::search_request::Query::Vector(v1::Vector {
                    values: vec![f32::INFINITY; 8],
                }))
            },
            ErrorCode::InvalidVector,
            "vector",
        ),
        (
            |s| {
                s.consistency = Some(v1::Consistency {
                    level: Some(consistency::Level::AtLeast("nonsense".into())),
                })
            },
            ErrorCode::InvalidToken,
            "consistency.at_least",
        ),
        (
            |s| s.dataset = "no such".into(),
            ErrorCode::InvalidName,
            "dataset",
        ),
    ];
    for (spoil, code, field) in cases {
        let mut request = near(&dataset, 1, 1);
        spoil(&mut request);
        let error = refused(client.search(request).await);
        assert_eq!(
            (error.code, error.field.as_deref()),
            (code, Some(field)),
            "{error}"
        );
    }
    let error = refused(client.search(near("nowhere", 1, 1)).await);
    assert_eq!(error.code, ErrorCode::DatasetNotFound);
    assert!(error.message.contains("nowhere"));
    let many = v1::GetRowsRequest {
        dataset: dataset.clone(),
        ids: vec![id(1); 10_001],
        ..Default::default()
    };
    let error = refused(client.searches.get_rows(many).await);
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::TooLarge, Some("ids"))
    );
}

#[tokio::test]
async fn a_token_beyond_the_end_of_the_log_is_refused_and_not_waited_for() {
    let mut client = shared().await;
    let dataset = client.create("future").await;
    let written = client
        .upsert(&dataset, vec![row(1)], AckLevel::Logged)
        .await
        .unwrap();
    let mut lsn = written
        .token
        .parse::<longbow_types::Token>()
        .unwrap()
        .in_group(0)
        .unwrap();
    lsn.index += 1_000_000;
    let mut search = near(&dataset, 1, 1);
    let at_least = |token: String| {
        Some(v1::Consistency {
            level: Some(consistency::Level::AtLeast(token)),
        })
    };
    search.consistency = at_least(longbow_types::Token::of(lsn).to_string());
    let error = refused(client.search(search.clone()).await);
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::InvalidToken, Some("consistency.at_least")),
        "{error}"
    );
    search.consistency = at_least(written.token);
    assert_eq!(client.search(search).await.unwrap().hits.len(), 1);
}
