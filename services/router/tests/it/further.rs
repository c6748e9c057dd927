//! Further vector columns over both protocols: a column that is added, put as lists with nulls among them, found and got
//! back.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, UInt64Array, types::Float64Type};
use arrow::datatypes::{Float32Type, UInt64Type};
use longbow_types::ErrorCode;
use longbow_wire::v1::{self, search_request::Query, value::Kind};
use serde_json::json;

use crate::cluster::{Client, id, numbers, refused, row, schema, shared, value, vector};
use crate::flight::{act, get, put};

fn image(number: u64) -> Vec<f32> {
    vec![number as f32, 1.0]
}

/// A dataset that gets a column of images when it has a row.
async fn dataset(client: &mut Client, name: &str) {
    let create = v1::CreateDatasetRequest {
        name: name.into(),
        schema: Some(schema()),
        ..Default::default()
    };
    client.datasets.create_dataset(create).await.unwrap();
    let mut next = schema();
    let image = v1::VectorType {
        dimension: 2,
        metric: v1::Metric::L2 as i32,
        element: v1::VectorElement::Float64 as i32,
        quantization: v1::Quantization::None as i32,
    };
    next.columns.push(v1::Column {
        name: "image".into(),
        nullable: true,
        vector: Some(image),
        ..next.columns[1].clone()
    });
    let alter = v1::AlterDatasetRequest {
        name: name.into(),
        schema: Some(next),
        expected_version: 1,
    };
    let altered = client.datasets.alter_dataset(alter).await.unwrap().into_inner();
    assert!(altered.altered);
}

fn near(dataset: &str, query: Query, k: u32) -> v1::SearchRequest {
    v1::SearchRequest {
        dataset: dataset.into(),
        query: Some(query),
        k,
        columns: vec!["image".into()],
        vector_column: "image".into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn values_are_written_and_found_by_the_native_protocol() {
    let mut client = shared().await;
    dataset(&mut client, "further/native").await;
    let with = |number: u64, kind: Kind| {
        let mut row = row(number);
        row.columns.insert("image".into(), value(kind));
        row
    };
    let precise = vec![1e9 + 0.25, 1.0];
    let rows = vec![
        with(1, Kind::Vector(v1::Vector { values: image(10) })),
        with(2, Kind::Null(0)),
        row(3),
        with(
            4,
            Kind::Vector64(v1::Vector64 {
                values: precise.clone(),
            }),
        ),
    ];
    let upsert = v1::UpsertRequest {
        dataset: "further/native".into(),
        payload: Some(v1::upsert_request::Payload::Rows(v1::Rows { rows })),
        ..Default::default()
    };
    client.writes.upsert(upsert).await.unwrap();
    let query = Query::Vector64(v1::Vector64 {
        values: vec![1e9, 1.0],
    });
    let search = near("further/native", query, 10);
    let found = client.searches.search(search).await.unwrap().into_inner();
    assert_eq!(numbers(&found.hits), [4, 1]);
    // Compared and answered with all the digits that are kept, under the metric of the column.
    assert_eq!(found.hits[0].distance, 0.0625);
    assert_eq!(found.hits[0].score, 0.8);
    let told = value(Kind::Vector64(v1::Vector64 { values: precise }));
    assert_eq!(found.hits[0].columns["image"], told);
    let by_row = near("further/native", Query::Id(id(4)), 10);
    let found = client.searches.search(by_row).await.unwrap().into_inner();
    assert_eq!(numbers(&found.hits), [1]);
    let none = near("further/native", Query::Id(id(3)), 10);
    let error = refused(client.searches.search(none).await);
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::RowNotFound, Some("id"))
    );
}

/// Rows as clients of Flight have them, some of them without an image.
fn frame(numbers: std::ops::Range<u64>) -> RecordBatch {
    let lists = |of: &dyn Fn(u64) -> Option<Vec<f32>>| -> ArrayRef {
        let spelt = |values: Vec<f32>| values.into_iter().map(|x| Some(f64::from(x))).collect::<Vec<_>>();
        let rows = numbers.clone().map(|number| of(number).map(spelt));
        Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(rows))
    };
    let ids: ArrayRef = Arc::new(UInt64Array::from_iter_values(numbers.clone()));
    let columns = [
        ("id", ids),
        ("vector", lists(&|number| Some(vector(number)))),
        ("image", lists(&|number| (number % 2 == 0).then(|| image(number)))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

#[tokio::test]
async fn values_are_put_and_found_over_flight() {
    let mut client = shared().await;
    dataset(&mut client, "further/flight").await;
    let sent = frame(0..20);
    put(&mut client, "further/flight", &sent.schema(), vec![sent.clone()])
        .await
        .unwrap();
    // Whoever knows of no images writes rows without.
    let bare = sent.project(&[0, 1]).unwrap().slice(19, 1);
    put(&mut client, "further/flight", &bare.schema(), vec![bare])
        .await
        .unwrap();
    let search = json!({"search": {
        "dataset": "further/flight", "vector": image(7), "vector_column": "image", "k": 3,
    }});
    let found = get(&mut client, search.to_string()).await.unwrap();
    let ids = found.column_by_name("id").unwrap().as_primitive::<UInt64Type>();
    assert_eq!(ids.values()[..], [6, 8, 4]);
    let scores = found
        .column_by_name("score")
        .unwrap()
        .as_primitive::<Float32Type>();
    assert_eq!(scores.values()[..], [0.5, 0.5, 0.25]);
    assert!(
        found.column_by_name("image").is_none(),
        "vectors come if they are asked for"
    );
    let by_row = json!({"dataset": "further/flight", "id": 6, "vector_column": "image", "k": 1});
    let answers = act(&mut client, "VectorSearchByID", by_row).await.unwrap();
    let told: serde_json::Value = serde_json::from_slice(&answers[0]).unwrap();
    assert!([4, 8].contains(&told["ids"][0].as_u64().unwrap()), "{told}");
    let wrong = json!({"search": {"dataset": "further/flight", "vector": image(7), "vector_column": "text"}});
    let error = refused(get(&mut client, wrong.to_string()).await);
    let expected = (ErrorCode::TypeMismatch, Some("vector_column"));
    assert_eq!((error.code, error.field.as_deref()), expected);
    // All rows with all columns, as they were sent.
    let all = get(&mut client, "further/flight").await.unwrap();
    assert_eq!(all.num_rows(), 20);
    let ids = all.column_by_name("id").unwrap().as_primitive::<UInt64Type>();
    let images = all.column_by_name("image").unwrap().as_fixed_size_list();
    for (at, number) in ids.values().iter().enumerate() {
        assert_eq!(images.is_valid(at), number % 2 == 0, "row {number}");
        if images.is_valid(at) {
            let values = images.value(at);
            let values = values.as_primitive::<Float64Type>().values();
            assert_eq!(values[..], [*number as f64, 1.0]);
        }
    }
}
