//! Shards and keepers that go away and come back.

use longbow_types::ErrorCode;
use longbow_wire::v1::{self, AckLevel, consistency};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::cluster::{Client, Cluster, id, near, numbers, refused, row, until, vector};

#[tokio::test(flavor = "multi_thread")]
async fn reads_and_writes_go_on_without_a_shard() {
    let mut cluster = Cluster::start(2, None).await;
    let mut client = cluster.client().await;
    let dataset = client.create("one-shard").await;
    client
        .upsert(&dataset, (0..100).map(row).collect(), AckLevel::Applied)
        .await
        .unwrap();
    cluster.stop("s0").await;
    // At once, before gossip knows: the first calls find a closed door and go elsewhere.
    for number in 0..20 {
        assert_eq!(
            numbers(&client.search(near(&dataset, number, 1)).await.unwrap().hits),
            [number]
        );
    }
    client
        .upsert(&dataset, (100..200).map(row).collect(), AckLevel::Applied)
        .await
        .unwrap();
    assert_eq!(
        client
            .search(near(&dataset, 150, 1_000))
            .await
            .unwrap()
            .hits
            .len(),
        200
    );
    cluster.start_shard("s0").await;
    cluster.stop("s1").await;
    // The shard that was away has caught up, or is waited for.
    let hits = client.search(near(&dataset, 150, 1_000)).await.unwrap().hits;
    assert_eq!(hits.len(), 200);
    assert_eq!(client.get(&dataset, &[5, 105]).await.unwrap().rows.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_go_on_without_keepers_and_say_so() {
    let mut cluster = Cluster::start(1, None).await;
    let mut client = cluster.client().await;
    let dataset = client.create("no-keeper").await;
    let written = client
        .upsert(&dataset, (0..50).map(row).collect(), AckLevel::Applied)
        .await
        .unwrap();
    cluster.stop("k0").await;

    let found = client.search(near(&dataset, 7, 1)).await.unwrap();
    assert_eq!(numbers(&found.hits), [7]);
    assert!(found.freshness.unwrap().degraded);
    let mut by_id = near(&dataset, 0, 1);
    by_id.query = Some(v1::search_request::Query::Id(id(7)));
    assert!(client.search(by_id).await.unwrap().freshness.unwrap().degraded);
    let ticket = serde_json::json!({"search": {"dataset": dataset, "vector": vector(7), "k": 1}});
    let ticket = arrow_flight::Ticket::new(ticket.to_string());
    let told = client.flight.do_get(ticket).await.unwrap();
    assert_eq!(told.metadata().get("x-longbow-degraded").unwrap(), "true");
    assert!(told.metadata().get("x-longbow-token").is_some());
    let at = |level| {
        let mut request = near(&dataset, 7, 1);
        request.consistency = Some(v1::Consistency { level: Some(level) });
        request
    };
    let found = client
        .search(at(consistency::Level::AtLeast(written.token)))
        .await
        .unwrap();
    assert!(!found.freshness.unwrap().degraded, "a token needs no keeper");
    client
        .search(at(consistency::Level::Any(v1::Any {})))
        .await
        .unwrap();
    let strict = consistency::Level::Fresh(v1::Fresh { strict: true });
    assert_eq!(refused(client.search(at(strict)).await).code, ErrorCode::NoLeader);

    cluster.start_keeper().await;
    until("writes to work again", || {
        let mut client = client.clone();
        let dataset = dataset.clone();
        async move {
            client
                .upsert(&dataset, vec![row(1_000)], AckLevel::Applied)
                .await
                .ok()
        }
    })
    .await;
    let found = client.search(near(&dataset, 1_000, 1)).await.unwrap();
    assert_eq!(numbers(&found.hits), [1_000]);
}

async fn health(client: &Client, service: &str) -> ServingStatus {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(client.channel.clone()).check(request).await;
    answer.unwrap().into_inner().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_of_writes_follows_the_latch_until_it_is_reset() {
    const WRITES: &str = "longbow.v1.WriteService";
    let mut cluster = Cluster::start(1, None).await;
    let mut client = cluster.client().await;
    let dataset = client.create("latch").await;
    client
        .upsert(&dataset, vec![row(1)], AckLevel::Applied)
        .await
        .unwrap();
    assert_eq!(health(&client, WRITES).await, ServingStatus::Serving);

    cluster.stop("k0").await;
    cluster.trip_latch(1, "a test");
    cluster.start_keeper().await;
    until("the router to hear of the latch", || async {
        (health(&client, WRITES).await == ServingStatus::NotServing).then_some(())
    })
    .await;
    for service in ["", "longbow.v1.SearchService", "longbow.v1.DatasetService"] {
        assert_eq!(
            health(&client, service).await,
            ServingStatus::Serving,
            "{service}"
        );
    }
    let error = refused(client.upsert(&dataset, vec![row(2)], AckLevel::Logged).await);
    assert_eq!(error.code, ErrorCode::LatchTripped);
    assert_eq!(client.search(near(&dataset, 1, 1)).await.unwrap().hits.len(), 1);

    let reset = until("the keeper to be asked", || {
        let mut client = client.clone();
        async move {
            client
                .cluster
                .reset_latch(v1::ResetLatchRequest::default())
                .await
                .ok()
        }
    })
    .await;
    let latch = reset.into_inner().latch.unwrap();
    assert_eq!((latch.tripped, latch.epoch), (false, 2));
    until("the router to follow the reset", || async {
        (health(&client, WRITES).await == ServingStatus::Serving).then_some(())
    })
    .await;
    client
        .upsert(&dataset, vec![row(2)], AckLevel::Applied)
        .await
        .unwrap();
}
