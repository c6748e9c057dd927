//! Datasets for each quantization, created, searched and started again as a user does it.

use anyhow::Context;
use longbow_client::{
    Ack, Client, DatasetHandle, IdKind, Metric, Options, Quantization, Row, Schema, SchemaBuilder, Search,
    SearchResults, VectorElement,
};
use longbow_harness::{
    cluster::{Cluster, PATIENCE, Shape},
    load::{channel, schema},
    wait,
};
use longbow_types::{Error, ErrorCode};
use longbow_wire::{
    convert::status::from_status,
    v1::{self, dataset_service_client::DatasetServiceClient, search_service_client::SearchServiceClient},
};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::shared::{binary, longbow, small_cluster};

const DIMENSION: usize = 96;
/// So many in one partition that its graph is walked.
const ROWS: u64 = 6_000;
const QUERIES: u64 = 30;
const K: u32 = 10;

/// A row near one of some centres; those from [`ROWS`] on are queries.
fn vector(row: u64) -> Vec<f32> {
    let (mut centre, mut own) = (
        SmallRng::seed_from_u64(row % 60),
        SmallRng::seed_from_u64(1_000 + row),
    );
    let element = |_| centre.random_range(-1.0f32..1.0) + 0.6 * own.random_range(-1.0f32..1.0);
    (0..DIMENSION).map(element).collect()
}

fn schema_with(quantization: Quantization) -> Schema {
    SchemaBuilder::new()
        .id("id", IdKind::U64)
        .vector("vector", DIMENSION, VectorElement::F32, Metric::Cosine)
        .quantization(quantization)
        .build()
        .unwrap()
}

async fn connect(cluster: &Cluster) -> Client {
    Client::connect(cluster.endpoints(), Options::default())
        .await
        .unwrap()
}

fn name_of(quantization: Quantization) -> String {
    format!("codes-{quantization}")
}

fn ids(found: &SearchResults) -> Vec<String> {
    found.hits.iter().map(|hit| hit.id.to_string()).collect()
}

/// The mean share of the rows of exact answers that those of some searches have.
async fn recall(dataset: &DatasetHandle, change: impl Fn(Search) -> Search) -> f64 {
    let mut hits = 0;
    for query in ROWS..ROWS + QUERIES {
        let search = || dataset.search().near(vector(query)).k(K);
        let exact = ids(&search().exact().await.unwrap());
        let found = ids(&change(search()).await.unwrap());
        assert_eq!((exact.len(), found.len()), (K as usize, K as usize));
        hits += found.iter().filter(|id| exact.contains(id)).count();
    }
    hits as f64 / (QUERIES * u64::from(K)) as f64
}

/// That a dataset is what it was created as, and is searched as well as that.
async fn holds(cluster: &Cluster, client: &Client, quantization: Quantization) {
    let name = name_of(quantization);
    let dataset = client.dataset(&name);
    let info = dataset.describe().await.unwrap();
    assert_eq!(info.schema.vector().quantization, quantization);
    assert_eq!(info.rows, Some(ROWS));
    let described = longbow(cluster, &["dataset", "describe", &name]);
    assert_eq!(
        described["schema"]["columns"][1]["quantization"],
        quantization.as_str()
    );

    for (what, found) in [
        ("by default", recall(&dataset, |search| search).await),
        (
            "at full precision",
            recall(&dataset, Search::full_precision).await,
        ),
        (
            "for a recall",
            recall(&dataset, |search| search.recall_target(0.95)).await,
        ),
    ] {
        assert!(found >= 0.9, "{quantization} {what}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_choice_is_searched_well_and_lasts() {
    let mut cluster = Cluster::start(binary(), Shape::SMALLEST).unwrap();
    let client = connect(&cluster).await;
    for quantization in Quantization::ALL {
        let name = name_of(quantization);
        let line = [
            "dataset",
            "create",
            &name,
            "--dimension",
            "96",
            "--partitions",
            "1",
        ];
        let chosen = ["--quantization", quantization.as_str()];
        let made = longbow(&cluster, &[line.as_slice(), &chosen].concat());
        assert_eq!(made["created"], true);
        let rows = (0..ROWS).map(|id| Row::new(id).vector(vector(id)));
        client
            .dataset(&name)
            .upsert(rows)
            .ack(Ack::Indexed)
            .await
            .unwrap();
    }

    for quantization in Quantization::ALL {
        holds(&cluster, &client, quantization).await;
        // The first search for a recall had it measured.
        let dataset = client.dataset(name_of(quantization));
        let measured = wait::until("a recall to be measured", PATIENCE, || async {
            let found = dataset.search().near(vector(ROWS)).recall_target(0.9).await?;
            found.expected_recall.context("nothing is known of it")
        });
        let measured = measured.await.unwrap();
        assert!((0.9..=1.0).contains(&measured), "{quantization}: {measured}");
    }

    cluster.down().unwrap();
    cluster.up().unwrap();
    let client = connect(&cluster).await;
    for quantization in Quantization::ALL {
        holds(&cluster, &client, quantization).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quantization_is_part_of_the_schema() {
    let cluster = small_cluster();
    let client = connect(&cluster).await;
    let dataset = client.dataset("part-of-the-schema");
    let create = |quantization| dataset.create(&schema_with(quantization)).if_not_exists();
    assert!(create(Quantization::Sq4).await.unwrap().created);
    assert!(!create(Quantization::Sq4).await.unwrap().created);
    let error = create(Quantization::Sq8).await.unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::DatasetExists, Some("schema"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_quantization_is_refused_and_nothing_is_created() {
    let cluster = small_cluster();
    let endpoint = cluster.endpoints()[0].clone();
    let datasets = DatasetServiceClient::new(channel(&endpoint).unwrap());
    let name = "unknown-codes";
    let create = |quantization: i32| {
        let mut schema = schema();
        let columns = schema.columns.iter_mut();
        let vector = columns
            .filter_map(|column| column.vector.as_mut())
            .next()
            .unwrap();
        vector.quantization = quantization;
        let request = v1::CreateDatasetRequest {
            name: name.into(),
            schema: Some(schema),
            ..Default::default()
        };
        let mut datasets = datasets.clone();
        async move { datasets.create_dataset(request).await }
    };
    for number in [-1, 5, i32::MAX] {
        let error = from_status(&create(number).await.unwrap_err());
        assert_eq!(error.code, ErrorCode::InvalidSchema);
        assert_eq!(error.field.as_deref(), Some("vector"));
        assert_eq!(error.limit.as_deref(), Some("NONE, SQ8, SQ4 or BIT1"));
    }
    let request = v1::GetDatasetRequest { name: name.into() };
    let error = from_status(&datasets.clone().get_dataset(request).await.unwrap_err());
    assert_eq!(error.code, ErrorCode::DatasetNotFound);
    // None is named, and the answer says what that means.
    let made = create(0).await.unwrap().into_inner().dataset.unwrap();
    let vector = made.schema.unwrap().columns[1].vector.unwrap();
    assert_eq!(vector.quantization(), v1::Quantization::Sq8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recall_target_that_is_none_is_refused() {
    let cluster = small_cluster();
    let client = connect(&cluster).await;
    let name = "no-recall";
    let create = client.dataset(name).create(&schema_with(Quantization::Sq8));
    create.await.unwrap();
    let searches = SearchServiceClient::new(channel(&cluster.endpoints()[0]).unwrap());
    let search = |recall_target: f32, ef: u32, exact: bool| {
        let request = v1::SearchRequest {
            dataset: name.into(),
            query: Some(v1::search_request::Query::Vector(v1::Vector {
                values: vector(0),
            })),
            k: K,
            ef,
            exact,
            recall_target: Some(recall_target),
            ..Default::default()
        };
        let mut searches = searches.clone();
        async move {
            let answer = searches.search(request).await;
            answer.map_err(|status| from_status(&status))
        }
    };
    let refused = |error: Error, limit: &str| {
        assert_eq!(error.code, ErrorCode::InvalidValue);
        assert_eq!(error.field.as_deref(), Some("recall_target"));
        assert_eq!(error.limit.as_deref(), Some(limit), "{error}");
    };
    for target in [0.0, -1.0, 1.0, f32::NAN, f32::INFINITY] {
        refused(search(target, 0, false).await.unwrap_err(), "above 0 and below 1");
    }
    refused(search(0.9, 64, false).await.unwrap_err(), "recall_target or ef");
    refused(search(0.9, 0, true).await.unwrap_err(), "recall_target or exact");
    // Nothing is missed where nothing is.
    let found = search(0.9, 0, false).await.unwrap().into_inner();
    assert_eq!((found.hits.len(), found.expected_recall), (0, Some(1.0)));
}
