//! What goes wrong: poisoned entries, keepers that die or are cut off.

use longbow_types::ErrorCode;
use longbow_wire::internal::PartitionSet;

use crate::cluster::{Cluster, all, near, soon, until};
use crate::keeper::Mood;
use crate::rows::{ids, partition, upsert};

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_entry_stops_its_partition_alone() {
    let mut cluster = Cluster::start(1).await;
    let dataset = cluster.create("d");
    cluster.upsert(dataset, 1..=30, "x");
    // An id of each partition; the body of partition 1 is damaged.
    let fresh = |ordinal: u32| (100..).find(|&id| partition(id) == ordinal).unwrap();
    let (command, body) = upsert(dataset, &[fresh(0), fresh(1), fresh(2)], "x");
    let mut body = body.to_vec();
    let third = body.len() / 3;
    body[third..2 * third].fill(0xa5);
    let poison = cluster.append((command, body.into()));
    let last = cluster.upsert(dataset, 200..=230, "x");

    let one = |ordinal: u32, min_index: u64| PartitionSet {
        partitions: vec![ordinal],
        ..all(dataset, min_index)
    };
    for ordinal in [0, 2] {
        cluster.wait(one(ordinal, last), false).await.unwrap();
    }
    let error = cluster.wait(one(1, last), false).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ReplicaStopped);
    assert!(error.message.contains(&format!("entry {poison}")), "{error}");
    // Up to the entry before it is as good as any.
    let states = cluster.wait(one(1, poison - 1), false).await.unwrap();
    assert_eq!(states[0].applied_index, poison - 1);

    let found = cluster.search(near(dataset, 0, 0.0, 1_000)).await.unwrap();
    let mut have = ids(&found.arrow_ipc);
    have.sort_unstable();
    let mut want: Vec<u64> = (1..=30)
        .chain((200..=230).filter(|&id| partition(id) != 1))
        .collect();
    want.extend([fresh(0), fresh(2)]);
    want.sort_unstable();
    assert_eq!(have, want);

    stopped_alone(&cluster, poison, last).await;
    // A start tries again, and comes as far.
    cluster.stop_shard().await;
    cluster.start_shard().await;
    soon("the shard to be ready", cluster.shard().ready()).await;
    stopped_alone(&cluster, poison, last).await;
    cluster.stop_shard().await;
}

/// Partition 1 stopped before an entry, and says so; the others went on.
async fn stopped_alone(cluster: &Cluster, poison: u64, last: u64) {
    let status = cluster.status().await;
    assert_eq!((status.applied_index, status.replicas.len()), (last, 3));
    for replica in status.replicas {
        let state = replica.state.unwrap();
        if state.partition == 1 {
            assert!(
                replica.stopped.contains(&format!("entry {poison}")),
                "{}",
                replica.stopped
            );
        } else {
            assert_eq!((replica.stopped.as_str(), state.applied_index), ("", last));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_goes_on_at_another_keeper() {
    let mut cluster = Cluster::start(2).await;
    let dataset = cluster.create("d");
    let last = cluster.upsert(dataset, 1..=10, "x");
    cluster.wait(all(dataset, last), false).await.unwrap();
    let serving = cluster
        .keepers
        .iter()
        .position(|keeper| *keeper.tails.borrow() > 0)
        .unwrap();
    cluster.keepers.remove(serving).shutdown.trigger();
    let last = cluster.upsert(dataset, 11..=20, "x");
    let found = soon("the other keeper", cluster.search(near(dataset, last, 0.0, 100)))
        .await
        .unwrap();
    assert_eq!(ids(&found.arrow_ipc), (1..=20).collect::<Vec<_>>());
}

/// A keeper that serves falls into a mood after some last index: what is written then comes from the other.
async fn is_left(mood: impl Fn(u64) -> Mood) {
    let cluster = Cluster::start(2).await;
    let dataset = cluster.create("d");
    let last = cluster.upsert(dataset, 1..=10, "x");
    cluster.wait(all(dataset, last), false).await.unwrap();
    let serving = cluster
        .keepers
        .iter()
        .find(|keeper| *keeper.tails.borrow() > 0)
        .unwrap();
    serving.mood.send_replace(mood(last));
    let last = cluster.upsert(dataset, 11..=20, "x");
    let found = soon("the other keeper", cluster.search(near(dataset, last, 0.0, 100)))
        .await
        .unwrap();
    assert_eq!(ids(&found.arrow_ipc).len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_cut_off_from_the_others_is_left() {
    is_left(Mood::CutOffAt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_without_old_entries_is_left_for_one_that_has_them() {
    // A snapshot takes the place of its log while it serves: the next entry that the shard needs is not there.
    is_left(|last| Mood::BeginsAt(last + 20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_what_never_comes_does_not_keep_others_at_a_cut_off_keeper() {
    let cluster = Cluster::start(2).await;
    let dataset = cluster.create("d");
    let mut last = cluster.upsert(dataset, [0], "x");
    cluster.wait(all(dataset, last), false).await.unwrap();
    let bogus = cluster.search(near(dataset, u64::MAX, 0.0, 1));
    tokio::pin!(bogus);
    // Until the shard has begun to wait and has left a keeper for its sake.
    let opened = || {
        cluster
            .keepers
            .iter()
            .map(|keeper| *keeper.tails.borrow())
            .sum::<u64>()
    };
    let before = opened();
    tokio::select! {
        answer = &mut bogus => panic!("nobody has that: {answer:?}"),
        () = until("another keeper", || async { opened() > before }) => {}
    }
    // Each is cut off in turn, while the other has everything.
    for cut in [0, 1, 0, 1] {
        cluster.keepers[1 - cut].mood.send_replace(Mood::Whole);
        cluster.keepers[cut].mood.send_replace(Mood::CutOffAt(last));
        last = cluster.upsert(dataset, [last], "x");
        let asked = cluster.search(near(dataset, last, 0.0, 100));
        tokio::select! {
            answer = &mut bogus => panic!("nobody has that: {answer:?}"),
            found = soon("the other keeper", asked) => { found.unwrap(); }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_log_ends_the_role() {
    let mut cluster = Cluster::start(1).await;
    let dataset = cluster.create("d");
    let last = cluster.upsert(dataset, 1..=10, "x");
    cluster.wait(all(dataset, last), false).await.unwrap();
    cluster.form_anew().await;
    let shard = cluster.shard.take().unwrap();
    let error = soon("the shard to end", shard.wait()).await.unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("formed anew"), "{text}");
    // A start replays the new log, in which there is nothing yet.
    cluster.start_shard().await;
    soon("the shard to be ready", cluster.shard().ready()).await;
    assert_eq!(cluster.status().await.replicas.len(), 0);
    cluster.stop_shard().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_go_on_while_all_keepers_are_gone() {
    let mut cluster = Cluster::start(1).await;
    let dataset = cluster.create("d");
    let last = cluster.upsert(dataset, 1..=10, "x");
    cluster.wait(all(dataset, last), true).await.unwrap();
    cluster.keepers.remove(0).shutdown.trigger();
    for _ in 0..3 {
        let found = cluster.search(near(dataset, 0, 0.0, 100)).await.unwrap();
        assert_eq!(ids(&found.arrow_ipc).len(), 10);
    }
    assert!(
        cluster.shard().readiness().is_ready(),
        "reads are what it is ready for"
    );
    until("the status", || async {
        cluster.status().await.applied_index == last
    })
    .await;
}
