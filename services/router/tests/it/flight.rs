//! Arrow Flight, as existing clients use it.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Float32Array, Int64Array, ListArray, RecordBatch, StringArray,
        TimestampNanosecondArray, UInt64Array,
        types::{Float64Type, Int64Type, UInt64Type},
    },
    compute::{concat_batches, sort_to_indices, take_record_batch},
    datatypes::Schema,
    ipc::reader::StreamReader,
};
use arrow_flight::{
    Action, FlightData, FlightDescriptor, Ticket, decode::FlightRecordBatchStream,
    encode::FlightDataEncoderBuilder, error::FlightError, utils::batches_to_flight_data,
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use longbow_types::ErrorCode;
use longbow_wire::convert::status::from_status;
use serde_json::{Value, json};
use tonic::Status;

use crate::cluster::{Client, shared};

/// What `pandas` and `pyarrow` make of a frame with a list of Python floats in each row.
pub fn frame(ids: std::ops::Range<i64>) -> RecordBatch {
    let vectors = ids.clone().map(|id| {
        Some(
            (0..4)
                .map(|i| Some(id as f64 + f64::from(i) / 8.0))
                .collect::<Vec<_>>(),
        )
    });
    let texts: StringArray = ids
        .clone()
        .map(|id| (id % 3 != 0).then(|| format!("text {id}")))
        .collect();
    let times = TimestampNanosecondArray::from_iter_values(ids.clone().map(|id| id * 1_000));
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(Int64Array::from_iter_values(ids))),
        (
            "vector",
            Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(vectors)),
        ),
        ("timestamp", Arc::new(times)),
        ("text", Arc::new(texts)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

pub async fn put(
    client: &mut Client,
    dataset: &str,
    schema: &Schema,
    batches: Vec<RecordBatch>,
) -> Result<Value, Status> {
    let mut data = batches_to_flight_data(schema, &batches).unwrap();
    data[0].flight_descriptor = Some(FlightDescriptor::new_path(vec![dataset.to_owned()]));
    let answers = client.flight.do_put(stream::iter(data)).await?.into_inner();
    let answers: Vec<_> = answers.try_collect().await?;
    assert_eq!(answers.len(), 1);
    Ok(serde_json::from_slice(&answers[0].app_metadata).unwrap())
}

pub async fn get(client: &mut Client, ticket: impl Into<Bytes>) -> Result<RecordBatch, Status> {
    let data = client.flight.do_get(Ticket::new(ticket)).await?.into_inner();
    let mut batches =
        FlightRecordBatchStream::new_from_flight_data(data.map_err(|s| FlightError::Tonic(Box::new(s))));
    let mut all = Vec::new();
    while let Some(batch) = batches.next().await {
        all.push(batch.map_err(|error| match error {
            FlightError::Tonic(status) => *status,
            other => panic!("{other}"),
        })?);
    }
    let schema = batches.schema().expect("the schema always comes").clone();
    Ok(concat_batches(&schema, &all).unwrap())
}

pub async fn act(client: &mut Client, name: &str, body: Value) -> Result<Vec<Bytes>, Status> {
    let action = Action {
        r#type: name.into(),
        body: body.to_string().into(),
    };
    let results: Vec<_> = client
        .flight
        .do_action(action)
        .await?
        .into_inner()
        .try_collect()
        .await?;
    Ok(results.into_iter().map(|result| result.body).collect())
}

fn by_id(batch: &RecordBatch) -> RecordBatch {
    let order = sort_to_indices(batch.column_by_name("id").unwrap(), None, None).unwrap();
    take_record_batch(batch, &order).unwrap()
}

#[tokio::test]
async fn what_was_put_is_searched_at_once_and_got_back_equal() {
    let mut client = shared().await;
    let batches: Vec<RecordBatch> = (0..10).map(|i| frame(i * 1_000..(i + 1) * 1_000)).collect();
    let schema = batches[0].schema();
    let told = put(&mut client, "put/frame", &schema, batches.clone())
        .await
        .unwrap();
    assert_eq!(told, json!({"status": "ok", "rows": 10_000}));

    let search = json!({"search": {"dataset": "put/frame", "vector": [5.0, 5.125, 5.25, 5.375], "k": 3}});
    let found = get(&mut client, search.to_string()).await.unwrap();
    let names: Vec<&str> = found
        .schema_ref()
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(names, ["id", "score", "id_str", "timestamp", "text"]);
    assert_eq!(found.column(0).as_primitive::<UInt64Type>().values(), &[5, 4, 6]);
    assert_eq!(
        found
            .column(1)
            .as_any()
            .downcast_ref::<Float32Array>()
            .unwrap()
            .values(),
        &[1.0, 1.0 / 3.0, 1.0 / 3.0]
    );

    let all = by_id(&get(&mut client, "put/frame").await.unwrap());
    let want = concat_batches(&schema, &batches).unwrap();
    assert_eq!(all.num_rows(), 10_000);
    assert_eq!(all.column_by_name("id"), want.column_by_name("id"));
    for name in ["timestamp", "text"] {
        assert_eq!(all.column_by_name(name), want.column_by_name(name));
    }
    let got = all
        .column_by_name("vector")
        .unwrap()
        .as_fixed_size_list()
        .values()
        .clone();
    let sent = want
        .column_by_name("vector")
        .unwrap()
        .as_list::<i32>()
        .values()
        .clone();
    assert_eq!(
        got.as_primitive::<Float64Type>().values(),
        sent.as_primitive::<Float64Type>().values()
    );
}

#[tokio::test]
async fn the_last_row_of_an_id_wins_inside_and_between_batches() {
    let mut client = shared().await;
    let (schema, first) = (frame(0..1).schema(), frame(0..50));
    let mut columns = first.columns().to_vec();
    columns[3] = Arc::new(StringArray::from_iter_values(
        (0..50).map(|id| format!("newer {id}")),
    ));
    let second = RecordBatch::try_new(schema.clone(), columns).unwrap();
    put(
        &mut client,
        "put/twice",
        &schema,
        vec![first.clone(), first, second],
    )
    .await
    .unwrap();
    let all = by_id(&get(&mut client, "put/twice").await.unwrap());
    assert_eq!(all.num_rows(), 50);
    assert_eq!(
        all.column_by_name("text").unwrap().as_string::<i32>().value(7),
        "newer 7"
    );
}

#[tokio::test]
async fn a_schema_without_rows_creates_a_dataset() {
    let mut client = shared().await;
    let vector = longbow_types::schema::vector_type(longbow_types::VectorElement::F32, 3);
    let fields = vec![
        arrow::datatypes::Field::new("id", arrow::datatypes::DataType::Utf8, false),
        arrow::datatypes::Field::new("vector", vector, false),
    ];
    let schema = Schema::new(fields).with_metadata(
        [("longbow.metric".to_owned(), "cosine".to_owned())]
            .into_iter()
            .collect::<std::collections::HashMap<_, _>>(),
    );
    put(&mut client, "put/empty", &schema, vec![]).await.unwrap();
    let nothing = get(&mut client, "put/empty").await.unwrap();
    assert_eq!((nothing.num_rows(), nothing.num_columns()), (0, 2));
    assert_eq!(
        nothing
            .schema_ref()
            .metadata()
            .get("longbow.metric")
            .map(|s| s.as_str()),
        Some("cosine")
    );
    // A list of unknown length tells no dimension.
    let status = put(&mut client, "put/unknown", &frame(0..1).schema(), vec![])
        .await
        .unwrap_err();
    assert_eq!(from_status(&status).code, ErrorCode::InvalidSchema);
}

#[tokio::test]
async fn text_ids_come_as_numbers_where_they_are_and_as_text_always() {
    let mut client = shared().await;
    let vectors = |n: usize| {
        let rows = (0..n).map(|i| Some(vec![Some(i as f64), Some(1.0)]));
        Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(rows)) as ArrayRef
    };
    let ids: ArrayRef = Arc::new(StringArray::from(vec!["17", "dog", "-3"]));
    let batch = RecordBatch::try_from_iter([("id", ids), ("vector", vectors(3))]).unwrap();
    put(&mut client, "put/text", &batch.schema(), vec![batch])
        .await
        .unwrap();
    let search =
        json!({"dataset": "put/text", "vectors": [[0.0, 1.0], [2.0, 1.0]], "k": 3, "include_vectors": true});
    let answers = act(&mut client, "VectorSearch", search).await.unwrap();
    assert_eq!(answers.len(), 2, "one answer for each query vector");
    let read = |body: &Bytes| {
        StreamReader::try_new(&body[..], None)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
    };
    let (first, second) = (read(&answers[0]), read(&answers[1]));
    let numbers = first
        .column_by_name("id")
        .unwrap()
        .as_primitive::<UInt64Type>()
        .clone();
    assert_eq!(numbers, UInt64Array::from(vec![Some(17), None, None]));
    let texts = |batch: &RecordBatch| -> Vec<String> {
        let column = batch.column_by_name("id_str").unwrap().as_string::<i32>().clone();
        column.iter().map(|text| text.unwrap().to_owned()).collect()
    };
    assert_eq!(texts(&first), ["17", "dog", "-3"]);
    assert_eq!(texts(&second), ["-3", "dog", "17"]);
    assert!(first.column_by_name("vector").is_some());
    let near = act(
        &mut client,
        "VectorSearchByID",
        json!({"dataset": "put/text", "id": "dog", "k": 5}),
    )
    .await
    .unwrap();
    let near: Value = serde_json::from_slice(&near[0]).unwrap();
    assert_eq!(near["ids"], json!(["-3", "17"]));
    assert_eq!(near["scores"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn filters_and_limits_hold_for_rows_and_searches() {
    let mut client = shared().await;
    put(
        &mut client,
        "put/filter",
        &frame(0..1).schema(),
        vec![frame(0..100)],
    )
    .await
    .unwrap();
    let rows = |ticket: Value| ticket.to_string();
    let filter =
        json!([{"field": "id", "operator": ">=", "value": "90"}, {"field": "text", "op": "is_not_null"}]);
    let some = get(
        &mut client,
        rows(json!({"name": "put/filter", "filters": filter})),
    )
    .await
    .unwrap();
    let mut ids = some
        .column_by_name("id")
        .unwrap()
        .as_primitive::<Int64Type>()
        .values()
        .to_vec();
    ids.sort_unstable();
    assert_eq!(ids, [91, 92, 94, 95, 97, 98]);
    let few = get(&mut client, rows(json!({"name": "put/filter", "limit": 7})))
        .await
        .unwrap();
    assert_eq!(few.num_rows(), 7);
    let search =
        json!({"search": {"dataset": "put/filter", "vector": [0, 0, 0, 0], "k": 2, "filters": filter}});
    let found = get(&mut client, search.to_string()).await.unwrap();
    assert_eq!(found.column(0).as_primitive::<UInt64Type>().values(), &[91, 92]);
    let mut limited = search.clone();
    limited["limit"] = json!(1);
    let found = get(&mut client, limited.to_string()).await.unwrap();
    assert_eq!(found.column(0).as_primitive::<UInt64Type>().values(), &[91]);
    let several = json!({"search": {"dataset": "put/filter", "vectors": [[0, 0, 0, 0], [1, 0, 0]], "k": 2}});
    let refused = get(&mut client, several.to_string()).await.unwrap_err();
    assert_eq!(
        from_status(&refused).field.as_deref(),
        Some("vectors"),
        "refused before the second, which is too short, is looked at"
    );
    let none = json!({"search": {"dataset": "put/filter", "vector": [0, 0, 0, 0], "k": 2,
        "filters": [{"field": "id", "op": "=", "value": -1}]}});
    let none = get(&mut client, none.to_string()).await.unwrap();
    assert_eq!(
        (none.num_rows(), none.num_columns()),
        (0, 5),
        "the schema comes also without rows"
    );
}

#[tokio::test]
async fn rows_that_do_not_fit_are_refused_by_name() {
    let mut client = shared().await;
    put(&mut client, "put/fit", &frame(0..1).schema(), vec![frame(0..5)])
        .await
        .unwrap();
    let with = |name: &str, column: ArrayRef| {
        let mut columns: Vec<(String, ArrayRef)> = frame(0..2)
            .schema()
            .fields()
            .iter()
            .map(|field| {
                (
                    field.name().clone(),
                    frame(0..2).column_by_name(field.name()).unwrap().clone(),
                )
            })
            .filter(|(have, _)| have != name)
            .collect();
        columns.push((name.to_owned(), column));
        RecordBatch::try_from_iter(columns).unwrap()
    };
    let lists = |lengths: [usize; 2]| {
        let rows = lengths.map(|length| Some(vec![Some(1.0); length]));
        Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(rows)) as ArrayRef
    };
    let cases = [
        (
            with("vector", lists([4, 3])),
            ErrorCode::DimensionMismatch,
            "rows[1].vector",
        ),
        (with("colour", lists([1, 1])), ErrorCode::UnknownColumn, "colour"),
        (
            with("text", Arc::new(Int64Array::from(vec![1, 2]))),
            ErrorCode::TypeMismatch,
            "text",
        ),
    ];
    for (batch, code, field) in cases {
        let error = from_status(
            &put(&mut client, "put/fit", &batch.schema(), vec![batch])
                .await
                .unwrap_err(),
        );
        assert_eq!(
            (error.code, error.field.as_deref()),
            (code, Some(field)),
            "{error}"
        );
    }
    assert_eq!(get(&mut client, "put/fit").await.unwrap().num_rows(), 5);
}

#[tokio::test]
async fn a_frame_with_an_index_is_stored_without_it() {
    let mut client = shared().await;
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    let rows = frame(0..20);
    for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        columns.push((field.name().clone(), column.clone()));
    }
    columns.insert(1, ("__index_level_0__".to_owned(), columns[0].1.clone()));
    let indexed = RecordBatch::try_from_iter(columns).unwrap();
    for _ in 0..2 {
        put(
            &mut client,
            "put/indexed",
            &indexed.schema(),
            vec![indexed.clone()],
        )
        .await
        .unwrap();
    }
    let all = get(&mut client, "put/indexed").await.unwrap();
    assert_eq!((all.num_rows(), all.num_columns()), (20, rows.num_columns()));
}

#[tokio::test]
async fn another_metric_than_the_dataset_has_is_refused() {
    let mut client = shared().await;
    let named = |metric: &str| {
        let notes = std::collections::HashMap::from([("longbow.metric".to_owned(), metric.to_owned())]);
        Schema::new(frame(0..1).schema().fields().clone()).with_metadata(notes)
    };
    let send = |metric: &str| {
        let schema = Arc::new(named(metric));
        let batch = RecordBatch::try_new(schema.clone(), frame(1..5).columns().to_vec()).unwrap();
        (schema, batch)
    };
    let (schema, batch) = send("cosine");
    put(&mut client, "put/metric", &schema, vec![batch])
        .await
        .unwrap();
    for rows in [1, 0] {
        let (schema, batch) = send("euclidean");
        let status = put(&mut client, "put/metric", &schema, vec![batch; rows])
            .await
            .unwrap_err();
        let error = from_status(&status);
        assert_eq!(
            (error.code, error.field.as_deref()),
            (ErrorCode::SchemaMismatch, Some("longbow.metric"))
        );
    }
    put(
        &mut client,
        "put/metric",
        &frame(0..1).schema(),
        vec![frame(5..9)],
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn rows_that_cannot_be_make_no_dataset() {
    let mut client = shared().await;
    let mut columns = frame(0..2).columns().to_vec();
    let zero_and_nan = [[0.0; 4], [f64::NAN; 4]].map(|row| Some(row.map(Some)));
    columns[1] = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(zero_and_nan));
    let batch = RecordBatch::try_new(frame(0..1).schema(), columns).unwrap();
    let status = put(&mut client, "put/never", &batch.schema(), vec![batch])
        .await
        .unwrap_err();
    assert_eq!(from_status(&status).field.as_deref(), Some("rows[1].vector"));
    assert_eq!(
        get(&mut client, "put/never").await.unwrap_err().code(),
        tonic::Code::NotFound
    );
}

#[tokio::test]
async fn a_stream_of_many_small_batches_is_stored_whole() {
    let mut client = shared().await;
    let batches: Vec<RecordBatch> = (0..500).map(|i| frame(i * 10..(i + 1) * 10)).collect();
    let encoder = FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(FlightDescriptor::new_path(vec!["put/small".to_owned()])))
        .build(stream::iter(batches.into_iter().map(Ok)));
    let data: Vec<FlightData> = encoder.try_collect().await.unwrap();
    client
        .flight
        .do_put(stream::iter(data))
        .await
        .unwrap()
        .into_inner()
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    assert_eq!(get(&mut client, "put/small").await.unwrap().num_rows(), 5_000);
}
