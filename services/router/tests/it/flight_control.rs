//! What existing clients ask over Flight besides rows: lists, descriptions, actions.

use arrow::datatypes::Schema;
use arrow_flight::{Criteria, FlightDescriptor};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use longbow_types::ErrorCode;
use longbow_wire::convert::status::from_status;
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    cluster::shared,
    flight::{act, frame, get, put},
};

#[tokio::test]
async fn flights_are_listed_and_described() {
    let mut client = shared().await;
    put(
        &mut client,
        "put/listed",
        &frame(0..1).schema(),
        vec![frame(0..25)],
    )
    .await
    .unwrap();
    let path = |parts: &[&str]| FlightDescriptor::new_path(parts.iter().map(|&p| p.to_owned()).collect());
    let info = client
        .flight
        .get_flight_info(path(&["put/listed"]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(info.total_records, 25);
    assert!(info.total_bytes > 0);
    assert_eq!(
        info.endpoint[0].ticket.as_ref().unwrap().ticket,
        "put/listed".as_bytes()
    );
    let described = info.try_decode_schema().unwrap();
    assert_eq!(described.fields().len(), 4);
    let schema = client
        .flight
        .get_schema(path(&["put/listed"]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(Schema::try_from(&schema).unwrap(), described);

    let criteria = json!({"filters": [{"field": "name", "operator": "contains", "value": "listed"},
        {"field": "rows", "operator": ">", "value": "20"}]});
    let list = client
        .flight
        .list_flights(Criteria {
            expression: criteria.to_string().into(),
        })
        .await
        .unwrap();
    let list: Vec<_> = list.into_inner().try_collect().await.unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].flight_descriptor.as_ref().unwrap().path, ["put/listed"]);
    let limited = client
        .flight
        .list_flights(Criteria {
            expression: "{\"limit\": 1}".into(),
        })
        .await
        .unwrap();
    assert_eq!(limited.into_inner().count().await, 1);
    let named = json!({"dataset": "put/listed"}).to_string();
    let named = client
        .flight
        .list_flights(Criteria {
            expression: named.into(),
        })
        .await
        .unwrap();
    assert_eq!(named.into_inner().count().await, 1);

    for (descriptor, code) in [
        (path(&[]), Code::InvalidArgument),
        (path(&["nowhere"]), Code::NotFound),
    ] {
        assert_eq!(
            client
                .flight
                .get_flight_info(descriptor.clone())
                .await
                .unwrap_err()
                .code(),
            code
        );
        assert_eq!(
            client.flight.get_schema(descriptor).await.unwrap_err().code(),
            code
        );
    }
    assert_eq!(
        get(&mut client, "nowhere").await.unwrap_err().code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn actions_delete_tell_and_refuse() {
    let mut client = shared().await;
    put(&mut client, "put/acts", &frame(0..1).schema(), vec![frame(0..10)])
        .await
        .unwrap();
    let told = |bodies: Vec<Bytes>| String::from_utf8(bodies[0].to_vec()).unwrap();
    for body in [
        json!({"dataset": "put/acts", "id": 3}),
        json!({"dataset": "put/acts", "ids": ["4", 5], "filters": []}),
    ] {
        assert_eq!(told(act(&mut client, "delete", body).await.unwrap()), "deleted");
    }
    let gone = act(&mut client, "Delete", json!({"dataset": "put/acts", "id": 3}))
        .await
        .unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    assert!(
        gone.message().contains("id 3 not found in dataset put/acts"),
        "{gone}"
    );
    assert_eq!(get(&mut client, "put/acts").await.unwrap().num_rows(), 7);
    let no_text = json!([{"field": "text", "op": "is_null"}]);
    let both = json!({"dataset": "put/acts", "id": 1, "filters": no_text});
    let refused = act(&mut client, "delete", both).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let filtered = json!({"dataset": "put/acts", "filters": no_text});
    assert_eq!(
        told(act(&mut client, "delete", filtered).await.unwrap()),
        "deleted"
    );
    assert_eq!(get(&mut client, "put/acts").await.unwrap().num_rows(), 4);

    let ready = act(&mut client, "check_readiness", json!({"dataset": "nowhere"}))
        .await
        .unwrap();
    assert!(told(ready).contains("NOT_FOUND"));
    let status: Value = serde_json::from_str(&told(
        act(&mut client, "cluster-status", json!({})).await.unwrap(),
    ))
    .unwrap();
    assert_eq!(status["count"], 4);
    assert_eq!(status["self"]["ID"], "r0");
    for (name, code) in [
        ("Dance", Code::InvalidArgument),
        ("HybridSearch", Code::Unimplemented),
    ] {
        let status = act(&mut client, name, json!({})).await.unwrap_err();
        assert_eq!(status.code(), code);
        assert!(status.message().contains("VectorSearchByID"), "{status}");
    }
    // A query that fails after the first comes as an error behind its answer.
    let second = json!({"dataset": "put/acts", "vectors": [[0, 0, 0, 0], [0, 0, 0]], "k": 1});
    let action = arrow_flight::Action {
        r#type: "VectorSearch".into(),
        body: second.to_string().into(),
    };
    let mut answers = client.flight.do_action(action).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    let error = from_status(&answers.message().await.unwrap_err());
    assert_eq!(error.code, ErrorCode::DimensionMismatch);
    let typo = act(
        &mut client,
        "VectorSearch",
        json!({"dataset": "put/acts", "vectr": [1]}),
    )
    .await
    .unwrap_err();
    assert!(typo.message().contains("vectr"), "{typo}");
    assert_eq!(
        told(
            act(&mut client, "delete-dataset", json!({"dataset": "put/acts"}))
                .await
                .unwrap()
        ),
        "deleted"
    );
    assert_eq!(
        get(&mut client, "put/acts").await.unwrap_err().code(),
        Code::NotFound
    );
}
