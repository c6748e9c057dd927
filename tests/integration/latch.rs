//! A failed fdatasync on the only keeper: every router refuses writes and says why; reads go on.

use std::time::Duration;

use anyhow::{Context, ensure};
use longbow_harness::{
    check,
    cluster::{Cluster, PATIENCE, Shape, http_get},
    faults::{Fault, Faults},
    load::{Load, Model, channel, create_dataset, vector_of},
    wait,
};
use longbow_types::ErrorCode;
use longbow_wire::{
    convert::status::from_status,
    v1::{
        self, search_service_client::SearchServiceClient, upsert_request::Payload,
        write_service_client::WriteServiceClient,
    },
};
use tempfile::TempDir;

use crate::shared::binary;

async fn write_one(endpoint: &str, dataset: &str) -> Result<(), tonic::Status> {
    let value = |kind| v1::Value { kind: Some(kind) };
    let row = v1::Row {
        id: Some(v1::RowId {
            kind: Some(v1::row_id::Kind::U64(u64::MAX)),
        }),
        vector: Some(v1::Vector {
            values: vector_of(0, 0),
        }),
        columns: [
            ("version".to_owned(), value(v1::value::Kind::U64(0))),
            ("text".to_owned(), value(v1::value::Kind::Utf8(String::new()))),
        ]
        .into(),
    };
    let request = v1::UpsertRequest {
        dataset: dataset.into(),
        payload: Some(Payload::Rows(v1::Rows { rows: vec![row] })),
        ..v1::UpsertRequest::default()
    };
    let channel = channel(endpoint).expect("a valid endpoint");
    WriteServiceClient::new(channel).upsert(request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_trips_the_latch_and_reads_go_on() {
    let dir = TempDir::new().unwrap();
    let faults = Faults::new(dir.path()).unwrap();
    let shape = Shape {
        keepers: 1,
        shards: 1,
        routers: 2,
    };
    let mut cluster = Cluster::start_with(binary(), shape, &faults.env(false)).unwrap();
    let endpoints = cluster.endpoints();
    create_dataset(&endpoints[0], "latched").await.unwrap();
    let load = Load::start(&endpoints, "latched", 1, 3).unwrap();
    load.reach(300).await.unwrap();
    let model: Model = load.stop().await.unwrap();

    let keeper = cluster.of_role("wal-keeper").next().unwrap().id.clone();
    let failing = faults.inject(&keeper, Fault::SyncError).unwrap();
    for endpoint in &endpoints {
        // The first write meets the failing disk; its outcome is unknown. Soon all are refused for the right reason.
        let error = wait::until("writes to be refused", PATIENCE, || async {
            let status = write_one(endpoint, "latched")
                .await
                .err()
                .context("the write was accepted")?;
            let error = from_status(&status);
            ensure!(error.code == ErrorCode::LatchTripped, "refused with {error}");
            Ok(error)
        })
        .await
        .unwrap();
        assert!(
            error.message.contains("keeper"),
            "the cause names the keeper: {error}"
        );
    }
    assert!(failing.fired() > 0, "the fault was injected");

    for endpoint in &endpoints {
        check_reads(endpoint).await;
    }
    // Far less was written than what a shard writes a snapshot for, but who knows what becomes of the keeper's disk.
    let shard = cluster.of_role("shard").next().unwrap().clone();
    wait::until("the shard to write snapshots", PATIENCE, || async {
        let (_, text) = http_get(&shard.http_addr, "/metrics").await?;
        let index = text
            .lines()
            .find_map(|line| line.strip_prefix("longbow_snapshot_index "));
        ensure!(
            index.is_some_and(|index| index != "0"),
            "the last one is of {index:?}"
        );
        Ok(())
    })
    .await
    .unwrap();

    // Still refused when the only keeper is started again on a healthy disk: an operator decides.
    failing.end().unwrap();
    let _ = cluster.kill(&keeper);
    cluster.restart(&keeper).unwrap();
    cluster.ready(&keeper).await.unwrap();
    let status = write_one(&endpoints[0], "latched").await.unwrap_err();
    assert_eq!(from_status(&status).code, ErrorCode::LatchTripped);

    let mut admin = v1::cluster_service_client::ClusterServiceClient::new(channel(&endpoints[0]).unwrap());
    let latch = admin
        .reset_latch(v1::ResetLatchRequest {
            reason: "the cable was loose".into(),
        })
        .await
        .unwrap()
        .into_inner()
        .latch
        .unwrap();
    assert!(!latch.tripped);
    assert_eq!(latch.cause, "the cable was loose");
    for endpoint in &endpoints {
        wait::until("writes to be accepted again", Duration::from_secs(30), || async {
            write_one(endpoint, "latched").await.context("still refused")
        })
        .await
        .unwrap();
    }
    check_all(&endpoints[0], &model).await;
}

/// Reads go on, and say that nobody proves them to be fresh.
async fn check_reads(endpoint: &str) {
    let request = v1::SearchRequest {
        dataset: "latched".into(),
        query: Some(v1::search_request::Query::Vector(v1::Vector {
            values: vector_of(0, 1),
        })),
        k: 10,
        ..Default::default()
    };
    let mut client = SearchServiceClient::new(channel(endpoint).unwrap());
    let answer = client.search(request).await.unwrap().into_inner();
    assert_eq!(answer.hits.len(), 10);
    assert!(
        answer.freshness.unwrap().degraded,
        "no keeper leads, so freshness cannot be proved"
    );
}

/// Everything that was acknowledged before the failure is there.
async fn check_all(endpoint: &str, model: &Model) {
    // The row of `write_one` is none of the load's.
    let request = v1::DeleteRequest {
        dataset: "latched".into(),
        ids: vec![v1::RowId {
            kind: Some(v1::row_id::Kind::U64(u64::MAX)),
        }],
        ..v1::DeleteRequest::default()
    };
    WriteServiceClient::new(channel(endpoint).unwrap())
        .delete(request)
        .await
        .unwrap();
    check::holds(endpoint, "latched", model).await.unwrap();
}
