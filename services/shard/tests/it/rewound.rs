//! The end of the log was cut off knowingly: a shard that had applied some of it goes back, and what it cannot go back to is lost.

use std::path::PathBuf;

use longbow_types::ErrorCode;

use crate::cluster::{Cluster, all, near, soon, until};
use crate::cut::{indexes, lost, twice};
use crate::keeper::Mood;
use crate::rows::PARTITIONS;
use crate::snapshots::{cluster, found, restart, snapshots, until_snapshot};

fn rows(ids: impl IntoIterator<Item = u64>) -> Vec<u64> {
    ids.into_iter().collect()
}

/// A cluster with two snapshots of each replica, and the index of the older ones: the first hundred rows are in those.
async fn two_snapshots() -> (Cluster, u64, u64) {
    let (cluster, dataset, _) = twice().await;
    let older = snapshots(&cluster).into_keys().map(|folder: PathBuf| {
        let indexes = indexes(&folder);
        indexes[indexes.len() - 2]
    });
    let older = older.max().unwrap();
    (cluster, dataset, older)
}

/// The shard has gone back: it holds these rows, takes new ones, and does so again after a restart.
async fn goes_on(cluster: &mut Cluster, dataset: u64, kept: std::ops::Range<u64>) {
    let last = cluster.log.last();
    // Whoever waits while it goes back is told that its replica stopped, and asks again.
    until("what was cut off to be gone", || async {
        cluster.search(near(dataset, last, 0.0, 1_000)).await.is_ok()
    })
    .await;
    assert_eq!(found(cluster, dataset, last).await, rows(kept.clone()));
    assert!(lost(cluster).await.is_empty());
    soon("the shard to be ready", cluster.shard().ready()).await;
    let next = cluster.upsert(dataset, 500..600, "y");
    let all_rows = rows(kept.chain(500..600));
    assert_eq!(found(cluster, dataset, next).await, all_rows);
    for _ in 0..2 {
        cluster.stop_shard().await;
        restart(cluster).await;
        assert_eq!(found(cluster, dataset, next).await, all_rows);
        assert!(lost(cluster).await.is_empty());
    }
    // What is told to be durable is of this life: of the other there was more.
    let next = cluster.upsert(dataset, [600], "y");
    cluster.wait(all(dataset, next), true).await.unwrap();
    until_snapshot(cluster, next).await;
    let catalogue = cluster.log.catalogue();
    let mut told = cluster.keepers[0].reports.clone();
    let is_of_this_life = |report: &Option<longbow_wire::internal::ReportDurableRequest>| {
        let report = report
            .as_ref()
            .filter(|report| report.incarnation == catalogue.incarnation());
        report.is_some_and(|report| report.replicas.len() == PARTITIONS as usize)
    };
    soon("a report", told.wait_for(is_of_this_life)).await.unwrap();
    cluster.stop_shard().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_shard_goes_back_to_the_snapshot_before_the_cut() {
    let (mut cluster, dataset, older) = two_snapshots().await;
    assert_eq!(found(&cluster, dataset, 0).await, rows(0..200));
    cluster.log.cut(older);
    goes_on(&mut cluster, dataset, 0..100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_one_that_was_stopped() {
    let (mut cluster, dataset, older) = two_snapshots().await;
    cluster.stop_shard().await;
    cluster.log.cut(older);
    cluster.start_shard().await;
    goes_on(&mut cluster, dataset, 0..100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_snapshot_before_the_cut_the_log_is_replayed() {
    let mut cluster = cluster().await;
    let dataset = cluster.create("d");
    let first = cluster.upsert(dataset, 0..100, "x");
    for from in [100, 200, 300] {
        let last = cluster.upsert(dataset, from..from + 100, "x");
        cluster.wait(all(dataset, last), true).await.unwrap();
        until_snapshot(&cluster, last).await;
    }
    let held: Vec<PathBuf> = snapshots(&cluster).into_keys().collect();
    assert!(
        held.iter()
            .all(|folder| indexes(folder).iter().all(|&index| index > first))
    );
    cluster.log.cut(first);
    goes_on(&mut cluster, dataset, 0..100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_go_back_is_lost_and_says_so() {
    let (mut cluster, dataset, older) = two_snapshots().await;
    // Its beginning is gone from the log as well.
    let began = older;
    cluster.log.cut(older - 1);
    cluster.keepers[0].mood.send_replace(Mood::BeginsAt(began));
    for _ in 0..2 {
        until("the replicas to be lost", || async {
            lost(&cluster).await.len() == PARTITIONS as usize
        })
        .await;
        for why in lost(&cluster).await.values() {
            assert!(why.contains("the log was cut before entry"), "{why}");
        }
        let error = cluster.search(near(dataset, 0, 0.0, 10)).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::ReplicaLost, "{error}");
        cluster.stop_shard().await;
        restart(&mut cluster).await;
    }
    let other = cluster.create("e");
    let last = cluster.upsert(other, 0..50, "x");
    assert_eq!(found(&cluster, other, last).await, rows(0..50));
    cluster.stop_shard().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_had_nothing_of_what_was_cut_stays_as_it_is() {
    let cluster = Cluster::start(1).await;
    let dataset = cluster.create("d");
    let held = cluster.upsert(dataset, 0..100, "x");
    cluster.wait(all(dataset, held), false).await.unwrap();
    cluster.keepers[0].mood.send_replace(Mood::CutOffAt(held));
    let lost_rows = cluster.upsert(dataset, 100..200, "x");
    cluster.upsert(dataset, 200..300, "x");
    cluster.log.cut(lost_rows - 1);
    // Nothing of before is in the log: were it let go of, it would be lost.
    cluster.keepers[0].mood.send_replace(Mood::BeginsAt(held + 1));
    let next = cluster.upsert(dataset, 300..310, "x");
    assert_eq!(
        found(&cluster, dataset, next).await,
        rows((0..100).chain(300..310))
    );
    assert!(lost(&cluster).await.is_empty());
}
