//! A cluster stopped and started again has everything, without being loaded again.

use anyhow::ensure;
use longbow_harness::{
    check,
    cluster::{Cluster, PATIENCE, Shape},
    load::{Load, channel, create_dataset},
    wait,
};
use longbow_types::{Error, ErrorCode};
use longbow_wire::{
    convert::status::from_status,
    v1::{self, dataset_service_client::DatasetServiceClient},
};

use crate::shared::binary;

const DATASET: &str = "lasting";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_start_recovers_everything() {
    let mut cluster = Cluster::start(
        binary(),
        Shape {
            keepers: 1,
            shards: 2,
            routers: 1,
        },
    )
    .unwrap();
    let endpoint = cluster.endpoints()[0].clone();
    create_dataset(&endpoint, DATASET).await.unwrap();
    let load = Load::start(&cluster.endpoints(), DATASET, 2, 7).unwrap();
    load.reach(1_000).await.unwrap();
    let model = load.stop().await.unwrap();
    check::holds(&endpoint, DATASET, &model).await.unwrap();

    cluster.down().unwrap();
    cluster.up().unwrap();
    let endpoint = cluster.endpoints()[0].clone();
    let verdict = check::holds(&endpoint, DATASET, &model).await.unwrap();
    assert!(verdict.rows > 0);
}

/// Describes the dataset: its rows, or the error.
async fn described(endpoint: &str) -> Result<Option<u64>, Error> {
    let request = v1::GetDatasetRequest { name: DATASET.into() };
    let answer = DatasetServiceClient::new(channel(endpoint).unwrap())
        .get_dataset(request)
        .await;
    let dataset = answer
        .map_err(|status| from_status(&status))?
        .into_inner()
        .dataset;
    Ok(dataset.and_then(|dataset| dataset.rows))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_start_never_denies_what_is_there() {
    let mut cluster = Cluster::start(binary(), Shape::SMALLEST).unwrap();
    let endpoint = cluster.endpoints()[0].clone();
    create_dataset(&endpoint, DATASET).await.unwrap();
    let load = Load::start(&cluster.endpoints(), DATASET, 2, 8).unwrap();
    load.reach(1_000).await.unwrap();
    let model = load.stop().await.unwrap();

    // Shard and router come back while the only keeper is gone: nobody can tell what there is.
    let ids: Vec<String> = cluster.nodes().iter().map(|node| node.id.clone()).collect();
    for id in &ids {
        cluster.kill(id).unwrap();
    }
    let (keepers, others): (Vec<_>, Vec<_>) = ids.iter().partition(|id| id.starts_with("keeper"));
    for id in others {
        cluster.restart(id).unwrap();
    }
    wait::until("the router to say that nobody can tell", PATIENCE, || async {
        let error = described(&endpoint)
            .await
            .expect_err("nobody can know what there is");
        assert_ne!(
            error.code,
            ErrorCode::DatasetNotFound,
            "an existing dataset was denied"
        );
        ensure!(error.code == ErrorCode::NoLeader, "{error}");
        Ok(())
    })
    .await
    .unwrap();
    for id in keepers {
        cluster.restart(id).unwrap();
    }
    wait::until("the dataset to be known again", PATIENCE, || async {
        let told = described(&endpoint).await;
        let denied = told
            .as_ref()
            .is_err_and(|error| error.code == ErrorCode::DatasetNotFound);
        assert!(!denied, "an existing dataset was denied");
        Ok(told.map(drop)?)
    })
    .await
    .unwrap();
    check::holds(&endpoint, DATASET, &model).await.unwrap();
}
