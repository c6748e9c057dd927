//! The native API, end to end.

use longbow_types::ErrorCode;
use longbow_wire::v1::{self, AckLevel, CompareOp, consistency, filter::Node, value::Kind};

use crate::cluster::{id, near, number, numbers, refused, row, schema, shared, value, vector};

fn number_is(op: CompareOp, number: i64) -> v1::Filter {
    let comparison = v1::Comparison {
        column: "number".into(),
        op: op as i32,
        value: Some(value(Kind::I64(number))),
    };
    v1::Filter {
        node: Some(Node::Compare(comparison)),
    }
}

#[tokio::test]
async fn datasets_are_made_described_listed_and_dropped() {
    let mut client = shared().await;
    let name = client.create("life").await;
    let create = |if_not_exists, schema| v1::CreateDatasetRequest {
        name: name.clone(),
        schema: Some(schema),
        if_not_exists,
        ..Default::default()
    };
    let again = client
        .datasets
        .create_dataset(create(true, schema()))
        .await
        .unwrap()
        .into_inner();
    assert!(!again.created);
    let error = refused(client.datasets.create_dataset(create(false, schema())).await);
    assert_eq!(error.code, ErrorCode::DatasetExists);
    let mut other = schema();
    other.columns.pop();
    let error = refused(client.datasets.create_dataset(create(true, other)).await);
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::DatasetExists, Some("schema"))
    );
    let mut other = schema();
    let vector = other.columns[1].vector.as_mut().unwrap();
    vector.set_quantization(v1::Quantization::Sq4);
    let error = refused(client.datasets.create_dataset(create(true, other)).await);
    assert_eq!(
        (error.field.as_deref(), error.limit.as_deref()),
        (Some("schema"), Some("quantization sq8"))
    );
    assert!(
        error.message.contains("with quantization sq8, not sq4"),
        "{error}"
    );

    client
        .upsert(&name, (0..100).map(row).collect(), AckLevel::Applied)
        .await
        .unwrap();
    let get = || v1::GetDatasetRequest { name: name.clone() };
    let described = client
        .datasets
        .get_dataset(get())
        .await
        .unwrap()
        .into_inner()
        .dataset
        .unwrap();
    assert_eq!((described.partitions, described.replication_factor), (4, 2));
    let mut chosen = schema();
    let vector = chosen.columns[1].vector.as_mut().unwrap();
    // Named where it was left to the server.
    vector.set_quantization(v1::Quantization::Sq8);
    assert_eq!(described.schema, Some(chosen));
    // Applied on one replica of each partition; the most advanced one is counted.
    assert_eq!(described.rows, Some(100));
    assert!(described.bytes.unwrap() >= 100 * 32);
    let listed = client
        .datasets
        .list_datasets(v1::ListDatasetsRequest { with_counts: false })
        .await
        .unwrap();
    let listed = listed.into_inner().datasets;
    assert!(listed.is_sorted_by_key(|dataset| dataset.name.clone()));
    assert!(
        listed
            .iter()
            .any(|dataset| dataset.name == name && dataset.rows.is_none())
    );

    client
        .datasets
        .drop_dataset(v1::DropDatasetRequest { name: name.clone() })
        .await
        .unwrap();
    assert_eq!(
        refused(client.datasets.get_dataset(get()).await).code,
        ErrorCode::DatasetNotFound
    );
    let error = refused(client.upsert(&name, vec![row(1)], AckLevel::Logged).await);
    assert_eq!(error.code, ErrorCode::DatasetNotFound);
    // The same name may come again, empty.
    client
        .datasets
        .create_dataset(create(false, schema()))
        .await
        .unwrap();
    assert_eq!(client.search(near(&name, 5, 3)).await.unwrap().hits.len(), 0);
}

#[tokio::test]
async fn a_write_is_seen_by_the_next_read_at_every_level() {
    let mut client = shared().await;
    let dataset = client.create("own").await;
    for (at, ack) in [AckLevel::Logged, AckLevel::Applied, AckLevel::Indexed]
        .into_iter()
        .enumerate()
    {
        let first = 1_000 * at as u64;
        let written = client
            .upsert(&dataset, (first..first + 50).map(row).collect(), ack)
            .await
            .unwrap();
        assert_eq!((written.rows, written.ack()), (50, ack));
        let token = consistency::Level::AtLeast(written.token);
        let fresh = consistency::Level::Fresh(v1::Fresh { strict: true });
        for level in [token, fresh] {
            let mut request = near(&dataset, first + 7, 1);
            request.consistency = Some(v1::Consistency { level: Some(level) });
            let found = client.search(request).await.unwrap();
            assert_eq!(numbers(&found.hits), [first + 7]);
            assert!(!found.freshness.unwrap().degraded);
        }
    }
    // An answer's own token can be read back.
    let found = client.search(near(&dataset, 1, 1)).await.unwrap();
    let mut request = near(&dataset, 1, 1);
    let token = found.freshness.unwrap().token;
    request.consistency = Some(v1::Consistency {
        level: Some(consistency::Level::AtLeast(token)),
    });
    client.search(request).await.unwrap();
}

#[tokio::test]
async fn hits_are_ranked_scored_and_hold_what_was_asked_for() {
    let mut client = shared().await;
    let dataset = client.create("rank").await;
    client
        .upsert(&dataset, (0..300).map(row).collect(), AckLevel::Applied)
        .await
        .unwrap();
    let mut request = near(&dataset, 40, 5);
    request.include_vector = true;
    request.exact = true;
    let hits = client.search(request).await.unwrap().hits;
    assert_eq!(numbers(&hits), [40, 39, 41, 38, 42]);
    let best = &hits[0];
    assert_eq!((best.distance, best.score), (0.0, 1.0));
    assert_eq!((hits[3].distance, hits[3].score), (4.0, 1.0 / 3.0));
    assert_eq!(best.vector.as_ref().unwrap().values, vector(40));
    assert_eq!(best.columns["text"], value(Kind::Utf8("row 40".into())));
    assert!(best.row_version > 0);

    let mut request = near(&dataset, 40, 2);
    request.columns = vec!["number".into()];
    let hits = client.search(request).await.unwrap().hits;
    assert_eq!(hits[0].columns.keys().collect::<Vec<_>>(), ["number"]);
    assert_eq!(hits[0].vector, None);
}

#[tokio::test]
async fn never_fewer_than_k_where_k_match() {
    let mut client = shared().await;
    let dataset = client.create("k").await;
    client
        .upsert(&dataset, (0..500).map(row).collect(), AckLevel::Indexed)
        .await
        .unwrap();
    for (k, want) in [(1, 1), (10, 10), (499, 499), (500, 500), (10_000, 500)] {
        assert_eq!(
            client.search(near(&dataset, 250, k)).await.unwrap().hits.len(),
            want
        );
    }
    let mut request = near(&dataset, 0, 10);
    request.filter = Some(number_is(CompareOp::Ge, 490));
    let hits = client.search(request).await.unwrap().hits;
    assert_eq!(numbers(&hits), (490..500).collect::<Vec<_>>());
}

#[tokio::test]
async fn near_a_row_means_all_but_that_row() {
    let mut client = shared().await;
    let dataset = client.create("byid").await;
    client
        .upsert(&dataset, (0..200).map(row).collect(), AckLevel::Applied)
        .await
        .unwrap();
    let mut request = near(&dataset, 0, 4);
    request.query = Some(v1::search_request::Query::Id(id(100)));
    request.exact = true;
    assert_eq!(
        numbers(&client.search(request.clone()).await.unwrap().hits),
        [99, 101, 98, 102]
    );
    // The row that is left out makes no room for itself, be k or the filter ever so large.
    request.k = 10_000;
    let deep = (1..32).fold(number_is(CompareOp::Ge, 0), |part, _| v1::Filter {
        node: Some(v1::filter::Node::And(v1::FilterList { filters: vec![part] })),
    });
    request.filter = Some(deep);
    let hits = client.search(request.clone()).await.unwrap().hits;
    assert_eq!(hits.len(), 199);
    assert!(!numbers(&hits).contains(&100));
    request.query = Some(v1::search_request::Query::Id(id(777)));
    let error = refused(client.search(request).await);
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::RowNotFound, Some("id"))
    );
}

#[tokio::test]
async fn rows_are_replaced_deleted_and_fetched_in_order() {
    let mut client = shared().await;
    let dataset = client.create("rows").await;
    let mut twice: Vec<v1::Row> = (0..20).map(row).collect();
    let mut newer = row(3);
    newer
        .columns
        .insert("text".into(), value(Kind::Utf8("newer".into())));
    newer.columns.remove("number");
    twice.push(newer);
    let written = client.upsert(&dataset, twice, AckLevel::Logged).await.unwrap();
    assert_eq!(written.rows, 20, "of two rows with one id the last is written");

    let found = client.get(&dataset, &[7, 3, 999, 3]).await.unwrap().rows;
    assert_eq!(
        found
            .iter()
            .map(|row| number(row.id.as_ref()))
            .collect::<Vec<_>>(),
        [7, 3]
    );
    assert_eq!(found[1].columns["text"], value(Kind::Utf8("newer".into())));
    assert_eq!(found[1].columns["number"], value(Kind::Null(0)));
    assert_eq!(found[0].vector.as_ref().unwrap().values, vector(7));

    let delete = v1::DeleteRequest {
        dataset: dataset.clone(),
        ids: vec![id(3), id(999)],
        ..v1::DeleteRequest::default()
    };
    client.writes.delete(delete).await.unwrap();
    assert_eq!(client.get(&dataset, &[3, 7]).await.unwrap().rows.len(), 1);
    let mut request = near(&dataset, 3, 3);
    request.exact = true;
    assert_eq!(numbers(&client.search(request).await.unwrap().hits), [2, 4, 1]);
}

#[tokio::test]
async fn a_large_write_is_split_and_whole() {
    let mut client = shared().await;
    let dataset = client.create("large").await;
    let rows = (0..2_000u64).map(|number| {
        let mut row = row(number);
        row.columns
            .insert("text".into(), value(Kind::Utf8("x".repeat(10_000))));
        row
    });
    let written = client
        .upsert(&dataset, rows.collect(), AckLevel::Applied)
        .await
        .unwrap();
    assert_eq!(written.rows, 2_000);
    let request = v1::GetDatasetRequest {
        name: dataset.clone(),
    };
    let described = client
        .datasets
        .get_dataset(request)
        .await
        .unwrap()
        .into_inner()
        .dataset
        .unwrap();
    assert_eq!(described.rows, Some(2_000));
    let found = client.get(&dataset, &[0, 1_999]).await.unwrap().rows;
    assert!(
        found
            .iter()
            .all(|row| row.columns["text"] == value(Kind::Utf8("x".repeat(10_000))))
    );
}

#[tokio::test]
async fn status_tells_nodes_leader_partitions_and_warnings() {
    let mut client = shared().await;
    let dataset = client.create("status").await;
    client
        .upsert(&dataset, vec![row(1)], AckLevel::Applied)
        .await
        .unwrap();
    let status = client
        .cluster
        .get_cluster_status(v1::GetClusterStatusRequest {})
        .await
        .unwrap()
        .into_inner();
    let nodes: Vec<&str> = status.nodes.iter().map(|node| node.node_id.as_str()).collect();
    assert_eq!(nodes, ["r0", "s0", "s1", "k0"]);
    assert_eq!(status.leader, "k0");
    assert!(status.commit_index > 0);
    assert!(!status.latch.unwrap().tripped);
    let own: Vec<_> = status
        .partitions
        .iter()
        .filter(|partition| partition.dataset == dataset)
        .collect();
    assert_eq!(own.len(), 4);
    assert!(own.iter().all(|partition| partition.replicas.len() == 2));
    assert!(
        own.iter()
            .flat_map(|p| &p.replicas)
            .all(|replica| replica.reachable && replica.stopped.is_empty())
    );
    assert!(
        status
            .warnings
            .iter()
            .any(|text| text.contains("single wal-keeper")),
        "{:?}",
        status.warnings
    );
}
