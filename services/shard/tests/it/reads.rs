//! What routers ask: search, fetch, scan, wait, watch.

use std::time::Duration;

use longbow_storage::batch_to_ipc;
use longbow_types::{ErrorCode, Role};
use longbow_wire::internal::entry_header::Command;
use longbow_wire::internal::*;
use longbow_wire::v1::{self, CompareOp, Filter, filter::Node, value::Kind};
use tonic::Request;

use crate::cluster::{Cluster, SECRET, all, answer, near, soon, timed};
use crate::rows::{columns, distances, id_batch, ids, partition};

fn text_is(text: &str) -> Option<Filter> {
    let compare = v1::Comparison {
        column: "text".into(),
        op: CompareOp::Eq as i32,
        value: Some(v1::Value {
            kind: Some(Kind::Utf8(text.into())),
        }),
    };
    Some(Filter {
        node: Some(Node::Compare(compare)),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_says_is_found() {
    let cluster = Cluster::start(1).await;
    let dataset = cluster.create("d");
    cluster.upsert(dataset, 1..=100, "old");
    cluster.upsert(dataset, 40..=60, "new");
    let last = cluster.delete(dataset, [50, 777]);

    let found = cluster.search(near(dataset, last, 50.2, 4)).await.unwrap();
    assert_eq!(
        ids(&found.arrow_ipc),
        [51, 49, 52, 48],
        "50 is deleted; partitions are merged by distance"
    );
    assert!(distances(&found.arrow_ipc).is_sorted());
    assert_eq!(columns(&found.arrow_ipc), ["id", "_distance", "_row_version"]);
    for state in &found.states {
        assert!(state.applied_index >= last, "{state:?}");
        assert!(
            state.touched_index <= last && state.touched_index > dataset,
            "{state:?}"
        );
    }
    let touched = |ordinal: u32| {
        found
            .states
            .iter()
            .find(|state| state.partition == ordinal)
            .unwrap()
            .touched_index
    };
    assert_eq!(touched(partition(50)), last);

    let request = SearchPartitionsRequest {
        filter: text_is("new"),
        columns: vec!["text".into()],
        include_vector: true,
        exact: true,
        ..near(dataset, last, 0.0, 3)
    };
    let found = cluster.search(request).await.unwrap();
    // 40 and 45 have no text.
    assert_eq!(ids(&found.arrow_ipc), [41, 42, 43]);
    assert_eq!(
        columns(&found.arrow_ipc),
        ["id", "_distance", "_row_version", "text", "vector"]
    );

    // One partition alone.
    let mut one = near(dataset, last, 0.0, 1_000);
    one.target = Some(PartitionSet {
        partitions: vec![1, 1],
        ..all(dataset, last)
    });
    let found = cluster.search(one).await.unwrap();
    let want: Vec<u64> = (1..=100).filter(|&id| id != 50 && partition(id) == 1).collect();
    assert_eq!((ids(&found.arrow_ipc), found.states.len()), (want, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_fetched_by_id_and_scanned_in_pieces() {
    let cluster = Cluster::start(1).await;
    let dataset = cluster.create("d");
    let last = cluster.upsert(dataset, 1..=3_000, &"long text ".repeat(250));

    let request = FetchRowsRequest {
        target: Some(all(dataset, last)),
        ids: batch_to_ipc(&id_batch(&[7, 2_999, 7, 5_000])).unwrap(),
        columns: vec!["*".into()],
        include_vector: false,
    };
    let found = answer(cluster.client().fetch_rows(timed(request)).await).unwrap();
    let mut have = ids(&found.arrow_ipc);
    have.sort_unstable();
    assert_eq!(have, [7, 2_999]);
    assert_eq!(columns(&found.arrow_ipc), ["id", "_row_version", "text"]);

    for (limit, want) in [(0, 3_000), (1, 1), (2_500, 2_500)] {
        let request = ScanPartitionsRequest {
            target: Some(all(dataset, last)),
            columns: vec!["text".into()],
            limit,
            ..ScanPartitionsRequest::default()
        };
        let mut stream = answer(cluster.client().scan_partitions(timed(request)).await).unwrap();
        let (mut rows, mut states, mut pieces) = (Vec::new(), Vec::new(), 0);
        while let Some(piece) = soon("a piece", stream.message()).await.unwrap() {
            rows.extend(ids(&piece.arrow_ipc));
            states.extend(piece.states.iter().map(|state| state.partition));
            pieces += 1;
        }
        rows.sort_unstable();
        rows.dedup();
        assert_eq!((rows.len(), states), (want, vec![0, 1, 2]), "limit {limit}");
        assert!(
            limit != 0 || pieces > 3,
            "7 MB of text come in more than one piece each"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_waits_for_the_index_it_was_given() {
    let cluster = Cluster::start(1).await;
    let dataset = cluster.create("d");
    cluster.upsert(dataset, 1..=10, "x");
    let next = cluster.log.last() + 2;
    // A stalled machine may lose the answer to the connection's own timer, which says nothing; not every time.
    let mut codes = Vec::new();
    while !codes.contains(&ErrorCode::DeadlineExceeded) {
        assert!(codes.len() < 10, "{codes:?}");
        let mut request = Request::new(near(dataset, next, 0.0, 5));
        request.set_timeout(Duration::from_millis(300));
        codes.push(
            answer(cluster.client().search_partitions(request).await)
                .unwrap_err()
                .code,
        );
    }

    let waiting = cluster.search(near(dataset, next, 0.0, 50));
    tokio::pin!(waiting);
    assert!(futures::poll!(&mut waiting).is_pending());
    cluster.upsert(dataset, [11], "x");
    cluster.upsert(dataset, [12], "x");
    let found = soon("the answer", waiting).await.unwrap();
    assert_eq!(ids(&found.arrow_ipc).len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_is_waited_for_until_its_own_index() {
    let cluster = Cluster::start(1).await;
    let coming = cluster.log.last() + 1;
    let waiting = cluster.search(near(coming, 0, 0.0, 5));
    tokio::pin!(waiting);
    assert!(futures::poll!(&mut waiting).is_pending());
    assert_eq!(cluster.create("d"), coming);
    let found = soon("the answer", waiting).await.unwrap();
    assert_eq!(ids(&found.arrow_ipc), Vec::<u64>::new());
    assert_eq!(found.states.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn indexed_means_linked() {
    let cluster = Cluster::start(1).await;
    let dataset = cluster.create("d");
    let last = cluster.upsert(dataset, 1..=2_000, "x");
    let states = cluster.wait(all(dataset, last), true).await.unwrap();
    assert!(states.iter().all(|state| state.applied_index >= last));
    let status = cluster.status().await;
    let rows: u64 = status.replicas.iter().map(|replica| replica.rows).sum();
    let unindexed: u64 = status.replicas.iter().map(|replica| replica.rows_unindexed).sum();
    assert_eq!((rows, unindexed, status.applied_index), (2_000, 0, last));
    assert!(
        status
            .replicas
            .iter()
            .all(|replica| replica.bytes > 0 && replica.stopped.is_empty())
    );
    let found = cluster.search(near(dataset, last, 1_000.1, 3)).await.unwrap();
    assert_eq!(ids(&found.arrow_ipc), [1_000, 1_001, 999]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_partition_advances_with_the_log() {
    let cluster = Cluster::start(1).await;
    let (busy, idle) = (cluster.create("busy"), cluster.create("idle"));
    let last = cluster.upsert(busy, 1..=5, "x");
    let states = cluster.wait(all(idle, last), false).await.unwrap();
    assert!(
        states
            .iter()
            .all(|state| state.applied_index >= last && state.touched_index == idle)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_dataset_is_gone() {
    let cluster = Cluster::start(1).await;
    let dataset = cluster.create("d");
    cluster.upsert(dataset, 1..=5, "x");
    let drop = Command::DropDataset(DropDatasetCommand { dataset_id: dataset });
    let last = cluster.append((drop, bytes::Bytes::new()));
    let again = cluster.create("d");
    let found = cluster.search(near(again, last, 0.0, 5)).await.unwrap();
    assert!(
        ids(&found.arrow_ipc).is_empty(),
        "a dataset of the same name is another"
    );
    let error = cluster.search(near(dataset, last, 0.0, 5)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::DatasetNotFound);
    assert!(
        cluster
            .status()
            .await
            .replicas
            .iter()
            .all(|replica| replica.dataset_id == again)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_is_served_and_followed() {
    let cluster = Cluster::start(1).await;
    cluster.create("one");
    let mut client = cluster.client();
    let asked = client.watch_shard_catalogue(Request::new(WatchShardCatalogueRequest {}));
    let mut stream = answer(asked.await).unwrap();
    let names = |response: &WatchCatalogueResponse| -> Vec<String> {
        response
            .catalogue
            .as_ref()
            .unwrap()
            .datasets
            .iter()
            .map(|dataset| dataset.name.clone())
            .collect()
    };
    let mut created = false;
    loop {
        let response = soon("the catalogue", stream.message()).await.unwrap().unwrap();
        let catalogue = response.catalogue.as_ref().unwrap();
        assert_eq!(
            (response.incarnation, catalogue.shards.as_slice()),
            (1, &["shard-1".to_owned()][..])
        );
        match names(&response).as_slice() {
            [one] if one == "one" && !created => {
                cluster.create("two");
                created = true;
            }
            [one, two] if one == "one" && two == "two" => break,
            _ => {}
        }
    }
    assert_eq!(cluster.log.catalogue().datasets().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_questions_are_refused_by_name() {
    let cluster = Cluster::start(1).await;
    let dataset = cluster.create("d");
    let last = cluster.upsert(dataset, 1..=5, "x");
    let good = || near(dataset, last, 0.0, 5);
    let with = |change: &dyn Fn(&mut SearchPartitionsRequest)| {
        let mut request = good();
        change(&mut request);
        request
    };
    let cases = [
        (with(&|r| r.target = None), ErrorCode::MissingField, "target"),
        (
            with(&|r| r.target.as_mut().unwrap().partitions.clear()),
            ErrorCode::MissingField,
            "target.partitions",
        ),
        (
            with(&|r| r.target.as_mut().unwrap().partitions.push(9)),
            ErrorCode::NoReplica,
            "target.partitions",
        ),
        (
            with(&|r| r.target.as_mut().unwrap().dataset_id = 1),
            ErrorCode::DatasetNotFound,
            "dataset_id",
        ),
        (
            with(&|r| r.vector = r.vector.slice(1..)),
            ErrorCode::InvalidVector,
            "vector",
        ),
        (
            with(&|r| r.vector = r.vector.slice(4..)),
            ErrorCode::DimensionMismatch,
            "vector",
        ),
        (with(&|r| r.k = 0), ErrorCode::InvalidValue, "k"),
        (
            with(&|r| r.columns = vec!["nope".into()]),
            ErrorCode::UnknownColumn,
            "nope",
        ),
        (
            with(&|r| r.filter = Some(Filter { node: None })),
            ErrorCode::MissingField,
            "filter",
        ),
    ];
    for (request, code, field) in cases {
        let error = cluster.search(request).await.unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref()),
            (code, Some(field)),
            "{error}"
        );
    }
    let request = FetchRowsRequest {
        target: Some(all(dataset, last)),
        ids: bytes::Bytes::from_static(b"garbage"),
        ..FetchRowsRequest::default()
    };
    let error = answer(cluster.client().fetch_rows(timed(request)).await).unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::MalformedArrow, Some("ids"))
    );
    assert_eq!(
        cluster.search(good()).await.unwrap().states.len(),
        3,
        "the shard goes on"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_routers_of_this_cluster_may_ask() {
    let cluster = Cluster::start(1).await;
    for (role, secret, code) in [
        (Role::Shard, SECRET, ErrorCode::RoleNotAllowed),
        (Role::WalKeeper, SECRET, ErrorCode::RoleNotAllowed),
        (
            Role::Router,
            "another secret, just as long",
            ErrorCode::Unauthenticated,
        ),
    ] {
        let mut client = cluster.client_as(role, secret);
        let refused = answer(client.get_shard_status(timed(GetShardStatusRequest {})).await).unwrap_err();
        assert_eq!(refused.code, code);
        let refused = answer(client.search_partitions(timed(near(1, 0, 0.0, 1))).await).unwrap_err();
        assert_eq!(refused.code, code);
    }
}
