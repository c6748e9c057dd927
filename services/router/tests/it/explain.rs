//! What a search says of itself, through both doors.

use std::collections::BTreeMap;

use longbow_wire::v1::{self, AckLevel, CompareOp, filter::Node, value::Kind};
use serde_json::{Value, json};

use crate::{
    cluster::{Client, near, row, shared, value},
    flight::{act, get},
};

const ROWS: u64 = 400;

async fn filled(name: &str) -> (Client, String) {
    let mut client = shared().await;
    let dataset = client.create(name).await;
    let rows = (0..ROWS).map(row).collect();
    client.upsert(&dataset, rows, AckLevel::Applied).await.unwrap();
    (client, dataset)
}

/// What a partition's parts took together, none of which overlap.
fn parts(told: &v1::PartitionExplanation) -> u64 {
    told.wait_nanos
        + told.queue_nanos
        + told.filter_nanos
        + told.graph_nanos
        + told.tail_nanos
        + told.refine_nanos
        + told.fetch_nanos
}

#[tokio::test]
async fn an_explanation_tells_what_was_done_and_comes_only_to_those_who_ask() {
    let (mut client, dataset) = filled("explain").await;
    let mut request = near(&dataset, 40, 5);
    assert_eq!(client.search(request.clone()).await.unwrap().explanation, None);

    request.explain = true;
    request.exact = true;
    let found = client.search(request.clone()).await.unwrap();
    let told = found.explanation.unwrap();
    let ordinals: Vec<u32> = told.partitions.iter().map(|told| told.partition).collect();
    assert_eq!(ordinals, [0, 1, 2, 3]);
    let sum = |of: fn(&v1::PartitionExplanation) -> u64| -> u64 { told.partitions.iter().map(of).sum() };
    assert_eq!(
        (sum(|told| told.rows), sum(|told| told.rows_matching)),
        (ROWS, ROWS)
    );
    // Each row was compared once.
    assert_eq!((sum(|told| told.distances), sum(|told| told.hops)), (ROWS, 0));
    let newest = found.hits.iter().map(|hit| hit.row_version).max().unwrap();
    for partition in &told.partitions {
        assert_eq!(partition.planned(), v1::SearchPlan::Scan);
        assert_eq!(partition.taken(), v1::SearchPlan::Scan);
        assert!(partition.exact && !partition.repeated);
        assert_eq!((partition.ef, partition.expected_recall), (0, Some(1.0)));
        assert!(["s0", "s1"].contains(&partition.node_id.as_str()));
        assert!(partition.applied_index >= newest);
        assert!(partition.graph_nanos > 0 && partition.fetch_nanos > 0);
        assert!(parts(partition) <= told.scatter_nanos, "{told:?}");
    }

    // Near a row, and a filter that leaves a tenth.
    request.query = Some(v1::search_request::Query::Id(crate::cluster::id(7)));
    request.exact = false;
    let below = v1::Comparison {
        column: "number".into(),
        op: CompareOp::Lt as i32,
        value: Some(value(Kind::I64(ROWS as i64 / 10))),
    };
    request.filter = Some(v1::Filter {
        node: Some(Node::Compare(below)),
    });
    let told = client.search(request).await.unwrap().explanation.unwrap();
    let matching: u64 = told.partitions.iter().map(|told| told.rows_matching).sum();
    assert_eq!(matching, ROWS / 10);
    assert!(told.near_nanos > 0 && told.merge_nanos > 0);
    assert!(told.partitions.iter().all(|told| told.filter_nanos > 0));
}

#[tokio::test]
async fn flight_tells_it_in_the_schema_and_beside_ids() {
    let (mut client, dataset) = filled("explain/flight").await;
    let search = |explain: Value| {
        json!({"search": {"dataset": dataset, "vector": crate::cluster::vector(9), "k": 3, "explain": explain,
            "filters": [{"field": "number", "op": "<", "value": 100}]}})
    };
    let silent = get(&mut client, search(Value::Null).to_string()).await.unwrap();
    assert!(!silent.schema_ref().metadata().contains_key("longbow.explanation"));

    let batch = get(&mut client, search(json!(true)).to_string()).await.unwrap();
    let told: Value = serde_json::from_str(&batch.schema_ref().metadata()["longbow.explanation"]).unwrap();
    let partitions = told["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 4);
    let matching: u64 = partitions
        .iter()
        .map(|told| told["rows_matching"].as_u64().unwrap())
        .sum();
    assert_eq!(matching, 100);
    assert!(partitions.iter().all(|told| told["planned"] == "scan"), "{told}");

    let body = json!({"dataset": dataset, "id": 9, "k": 3, "explain": true});
    let answer = act(&mut client, "VectorSearchByID", body).await.unwrap();
    let answer: BTreeMap<String, Value> = serde_json::from_slice(&answer[0]).unwrap();
    assert_eq!(answer["ids"].as_array().unwrap().len(), 3);
    assert_eq!(answer["explanation"]["partitions"].as_array().unwrap().len(), 4);
    assert!(answer["explanation"]["near_nanos"].as_u64().unwrap() > 0);
}
