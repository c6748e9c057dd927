//! The caller's deadline holds end to end: a shard that does not answer costs the caller its deadline, no more.

use std::time::{Duration, Instant};

use anyhow::Context;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use longbow_harness::{
    cluster::{Cluster, PATIENCE, Shape},
    load::{Load, create_dataset, vector_of},
    process::signal,
    wait,
};
use longbow_types::ErrorCode;
use longbow_wire::{
    convert::status::from_status,
    v1::{self, search_service_client::SearchServiceClient},
};
use rustix::process::Signal;
use tonic::{Request, Status};

use crate::shared::binary;

const DATASET: &str = "deadline";

async fn search(endpoint: &str, limit: Duration) -> Result<v1::SearchResponse, Status> {
    let mut request = Request::new(v1::SearchRequest {
        dataset: DATASET.into(),
        query: Some(v1::search_request::Query::Vector(v1::Vector {
            values: vector_of(0, 1),
        })),
        k: 5,
        ..Default::default()
    });
    request.set_timeout(limit);
    // tonic's channel would stop the call itself: this one has no limit, so what ends it is the server's respect for
    // grpc-timeout.
    let patient = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<tonic::body::Body>();
    let origin = endpoint.parse().expect("a valid endpoint");
    Ok(SearchServiceClient::with_origin(patient, origin)
        .search(request)
        .await?
        .into_inner())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_shard_costs_the_deadline_and_no_more() {
    let cluster = Cluster::start(binary(), Shape::SMALLEST).unwrap();
    let endpoint = cluster.endpoints()[0].clone();
    create_dataset(&endpoint, DATASET).await.unwrap();
    let load = Load::start(&cluster.endpoints(), DATASET, 1, 11).unwrap();
    load.reach(200).await.unwrap();
    load.stop().await.unwrap();
    assert_eq!(search(&endpoint, PATIENCE).await.unwrap().hits.len(), 5);

    let shard = cluster.of_role("shard").next().unwrap().pid;
    signal(shard, Signal::STOP).unwrap();
    let (limit, started) = (Duration::from_millis(300), Instant::now());
    let error = from_status(&search(&endpoint, limit).await.unwrap_err());
    let took = started.elapsed();
    signal(shard, Signal::CONT).unwrap();
    assert_eq!(error.code, ErrorCode::DeadlineExceeded, "{error}");
    assert!(
        took >= Duration::from_millis(250),
        "the deadline was not waited for: {took:?}"
    );

    wait::until("the shard to answer again", PATIENCE, || async {
        search(&endpoint, Duration::from_secs(5))
            .await
            .context("still frozen")
    })
    .await
    .unwrap();
}
