//! Starting, stopping, starting again.

use longbow_types::ErrorCode;
use longbow_wire::internal::LatchRegister;

use crate::cluster::{Cluster, all, near, soon, until};
use crate::keeper::Mood;
use crate::rows::ids;

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_is_ready_before_there_is_any_dataset() {
    let mut cluster = Cluster::start(1).await;
    assert!(
        cluster
            .log
            .catalogue()
            .shards()
            .contains(&"shard-1".parse().unwrap()),
        "ready means registered"
    );
    let registered = cluster.log.last();
    cluster.stop_shard().await;
    cluster.start_shard().await;
    soon("the shard to be ready again", cluster.shard().ready()).await;
    assert_eq!(
        cluster.log.last(),
        registered,
        "who is registered does not register again"
    );
    cluster.stop_shard().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_keeper_it_says_what_it_waits_for() {
    let mut cluster = Cluster::with_keepers(0).await;
    cluster.start_shard().await;
    until("the reason", || async {
        cluster.shard().readiness().get().1.contains("no wal-keeper")
    })
    .await;
    assert!(!cluster.shard().readiness().is_ready());
    cluster.stop_shard().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_replays_the_log_and_answers_only_then() {
    let mut cluster = Cluster::start(1).await;
    let dataset = cluster.create("d");
    for at in 0..30 {
        cluster.upsert(dataset, at * 10..at * 10 + 10, "x");
    }
    let last = cluster.delete(dataset, 0..5);
    cluster.wait(all(dataset, last), false).await.unwrap();
    cluster.stop_shard().await;

    cluster.start_shard().await;
    soon("the shard to be ready", cluster.shard().ready()).await;
    let found = cluster.search(near(dataset, 0, 0.0, 1_000)).await.unwrap();
    let mut have = ids(&found.arrow_ipc);
    have.sort_unstable();
    assert_eq!(have, (5..300).collect::<Vec<_>>());
    assert_eq!(cluster.status().await.applied_index, last);
    cluster.stop_shard().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_leader_says_how_far_the_log_is() {
    let mut cluster = Cluster::start(1).await;
    let dataset = cluster.create("d");
    let part = cluster.upsert(dataset, 1..=5, "x");
    let last = cluster.upsert(dataset, 6..=9, "x");
    cluster.wait(all(dataset, last), false).await.unwrap();
    // A keeper that started a moment ago knows of part of its log; and then of all, but nobody leads.
    for (mood, applied) in [(Mood::CutOffAt(part), part), (Mood::Leaderless, last)] {
        cluster.stop_shard().await;
        cluster.keepers[0].mood.send_replace(mood);
        cluster.start_shard().await;
        until("what the keeper has", || async {
            cluster.status().await.applied_index == applied
        })
        .await;
        assert!(!cluster.shard().readiness().is_ready());
        let error = cluster.search(near(dataset, 0, 0.0, 5)).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::NoReplica, "{mood:?}");
        // Who says what to wait for is answered.
        let found = cluster.search(near(dataset, part, 0.0, 5)).await.unwrap();
        assert_eq!(ids(&found.arrow_ipc), [1, 2, 3, 4, 5]);
    }
    cluster.keepers[0].mood.send_replace(Mood::Whole);
    soon("the shard to be ready", cluster.shard().ready()).await;
    let found = cluster.search(near(dataset, 0, 0.0, 100)).await.unwrap();
    assert_eq!(ids(&found.arrow_ipc).len(), 9);
    cluster.stop_shard().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_knows_nothing_yet_sends_readers_elsewhere() {
    let mut cluster = Cluster::start(1).await;
    let dataset = cluster.create("d");
    let last = cluster.upsert(dataset, 1..=5, "x");
    cluster.wait(all(dataset, last), false).await.unwrap();
    cluster.stop_shard().await;
    // No keeper to replay from.
    let keeper = cluster.keepers.remove(0);
    keeper.shutdown.trigger();
    cluster.start_shard().await;
    let error = cluster.search(near(dataset, 0, 0.0, 5)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NoReplica);
    assert!(error.retry_after.is_some());
    cluster.stop_shard().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latch_is_remembered() {
    let mut cluster = Cluster::start(1).await;
    let tripped = LatchRegister {
        epoch: 4,
        tripped: true,
        cause: "keeper-0: EIO".into(),
    };
    cluster.keepers[0].gossip.announce_latch(tripped.clone());
    let path = cluster.data.path().join("latch");
    until("the register on disk", || async { path.exists() }).await;
    cluster.stop_shard().await;

    // Every keeper forgets; the shard tells them.
    cluster.keepers.remove(0).shutdown.trigger();
    let fresh = Cluster::with_keepers(1).await;
    cluster.keepers = fresh.keepers;
    cluster.start_shard().await;
    let mut heard = cluster.keepers[0].gossip.latch();
    let told = heard.wait_for(|register| *register == tripped);
    assert!(soon("the keeper to hear of the latch", told).await.is_ok());
    cluster.stop_shard().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_what_it_holds() {
    let cluster = Cluster::start(1).await;
    // Names of datasets of other tests in this process are others.
    let dataset = cluster.create("measured");
    let last = cluster.upsert(dataset, 1..=77, "x");
    cluster.wait(all(dataset, last), true).await.unwrap();
    cluster.search(near(dataset, last, 0.0, 1)).await.unwrap();
    let has = |line: &'static str| async move {
        longbow_node::telemetry::metrics()
            .render()
            .lines()
            .any(|have| have.starts_with(line))
    };
    for line in [
        "longbow_vector_index_size{dataset=\"measured\"} 77",
        "longbow_index_queue_depth{dataset=\"measured\"} 0",
        "longbow_vector_search_latency_seconds_count{dataset=\"measured\"} 1",
        "longbow_apply_rows_total{kind=\"upsert\"}",
        "longbow_apply_lag_entries",
    ] {
        until(line, || has(line)).await;
    }
}
