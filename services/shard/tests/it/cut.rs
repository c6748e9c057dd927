//! The log is cut behind what shards have made durable: what a shard tells keepers, and what it makes of a log that begins
//! too late.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use longbow_storage::snapshot::{FsDisk, Snapshots};
use longbow_types::ErrorCode;
use longbow_wire::internal::entry_header::Command;
use longbow_wire::internal::{Catalogue, DropDatasetCommand, PartitionSet, SearchPartitionsRequest};
use prost::Message as _;

use crate::cluster::{Cluster, all, near, soon, until};
use crate::keeper::Mood;
use crate::rows::{PARTITIONS, ids, partition};
use crate::snapshots::{cluster, found, restart, snapshots, until_snapshot};

/// The indexes that a replica's snapshots go on from, oldest first.
pub fn indexes(folder: &Path) -> Vec<u64> {
    let snapshots = Snapshots::new(FsDisk::open(folder).unwrap(), 2);
    let generations = snapshots.generations().unwrap();
    let index = |generation: &u64| {
        let manifest = snapshots.manifest(*generation).unwrap();
        let catalogue = Catalogue::decode(manifest.owner.catalogue.as_slice()).unwrap();
        catalogue.applied_index
    };
    generations.iter().map(index).collect()
}

/// Flips a bit in the middle of files whose names begin in some way.
fn damage(folder: &Path, prefix: &str) {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let ours = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(prefix);
    let mut damaged = 0;
    for path in files.filter(ours) {
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
        damaged += 1;
    }
    assert!(damaged > 0);
}

/// A shard with two snapshots of every replica; gives the dataset and the index that all hold. Rows are 0..200.
pub async fn twice() -> (Cluster, u64, u64) {
    let cluster = cluster().await;
    let dataset = cluster.create("d");
    for from in [0, 100] {
        let last = cluster.upsert(dataset, from..from + 100, "x");
        cluster.wait(all(dataset, last), true).await.unwrap();
        until_snapshot(&cluster, last).await;
    }
    let last = cluster.log.last();
    (cluster, dataset, last)
}

/// Partitions of a dataset but for one.
fn without(dataset: u64, ordinal: u32) -> PartitionSet {
    let mut others = all(dataset, 0);
    others.partitions.retain(|&one| one != ordinal);
    others
}

async fn search(cluster: &Cluster, target: PartitionSet) -> Vec<u64> {
    let request = SearchPartitionsRequest {
        target: Some(target),
        ..near(0, 0, 0.0, 1_000)
    };
    let mut found = ids(&cluster.search(request).await.unwrap().arrow_ipc);
    found.sort_unstable();
    found
}

/// Replicas that say that they are lost, by dataset and partition.
pub async fn lost(cluster: &Cluster) -> BTreeMap<(u64, u32), String> {
    let replicas = cluster.status().await.replicas.into_iter();
    let lost = replicas.filter(|replica| !replica.lost.is_empty());
    lost.map(|replica| {
        (
            (replica.dataset_id, replica.state.unwrap().partition),
            replica.lost,
        )
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keepers_are_told_of_the_snapshot_before_the_newest() {
    let (mut cluster, dataset, _) = twice().await;
    let log_id = cluster.log.catalogue().log_id();
    let mut disk: Vec<Vec<u64>> = snapshots(&cluster).keys().map(|folder| indexes(folder)).collect();
    let mut told = cluster.keepers[0].reports.clone();
    let expected = |disk: &[Vec<u64>]| -> Vec<(u64, u32, u64)> {
        let older = disk.iter().map(|indexes| indexes[indexes.len() - 2]);
        (0..).zip(older).map(|(at, index)| (dataset, at, index)).collect()
    };
    let told_now = |report: &Option<longbow_wire::internal::ReportDurableRequest>| {
        let report = report.as_ref()?;
        assert_eq!(report.log_id, log_id);
        let told = report.replicas.iter();
        Some(
            told.map(|one| (one.dataset_id, one.partition, one.index))
                .collect::<Vec<_>>(),
        )
    };
    let want = expected(&disk);
    let report = told.wait_for(|report| told_now(report).is_some_and(|told| told == want));
    soon("the report", report).await.unwrap();

    // Also by a start, which writes none; and of one whose newest is damaged, nothing is safe any more.
    cluster.stop_shard().await;
    let folder = snapshots(&cluster).pop_first().unwrap().0;
    let newest = disk[0].len() as u64;
    let generations = Snapshots::new(FsDisk::open(&folder).unwrap(), 2)
        .generations()
        .unwrap();
    assert_eq!(generations.len() as u64, newest);
    damage(&folder, &format!("{:020}-live", generations.last().unwrap()));
    disk[0] = vec![0, 0];
    let want = expected(&disk);
    cluster.settings.push(("shard.snapshot_every", "0"));
    restart(&mut cluster).await;
    let report = told.wait_for(|report| told_now(report).is_some_and(|told| told == want));
    soon("the report", report).await.unwrap();
    cluster.stop_shard().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_needs_no_entry_that_was_cut() {
    let (mut cluster, dataset, last) = twice().await;
    cluster.stop_shard().await;
    let folders: Vec<PathBuf> = snapshots(&cluster).into_keys().collect();
    let older = folders.iter().map(|folder| {
        let indexes = indexes(folder);
        indexes[indexes.len() - 2]
    });
    let first = older.min().unwrap() + 1;
    assert!(first <= last, "the last rows are to be replayed");
    for folder in &folders[1..] {
        let generations = Snapshots::new(FsDisk::open(folder).unwrap(), 2)
            .generations()
            .unwrap();
        damage(folder, &format!("{:020}-live", generations.last().unwrap()));
    }
    cluster.keepers[0].mood.send_replace(Mood::BeginsAt(first));
    restart(&mut cluster).await;
    assert_eq!(found(&cluster, dataset, last).await, (0..200).collect::<Vec<_>>());
    assert!(lost(&cluster).await.is_empty());
    cluster.stop_shard().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_neither_disk_nor_log_has_is_lost_and_said_to_be() {
    let (mut cluster, dataset, last) = twice().await;
    cluster.stop_shard().await;
    let folder = snapshots(&cluster).pop_first().unwrap().0;
    damage(&folder, "");
    cluster.keepers[0].mood.send_replace(Mood::BeginsAt(last + 1));
    // And once more: what is lost stays lost.
    for round in 0..2 {
        restart(&mut cluster).await;
        let said = lost(&cluster).await;
        assert_eq!(said.keys().collect::<Vec<_>>(), [&(dataset, 0)]);
        assert!(
            said[&(dataset, 0)].contains("no snapshot of it can be used"),
            "{said:?}"
        );
        for min_index in [0, last] {
            let error = cluster
                .search(near(dataset, min_index, 0.0, 10))
                .await
                .unwrap_err();
            assert_eq!(error.code, ErrorCode::ReplicaLost, "{error}");
            let error = cluster.wait(all(dataset, min_index), false).await.unwrap_err();
            assert_eq!(error.code, ErrorCode::ReplicaLost, "{error}");
        }
        let want: Vec<u64> = (0..200 + round).filter(|&id| partition(id) != 0).collect();
        assert_eq!(search(&cluster, without(dataset, 0)).await, want);
        // The others go on, and so does what is new.
        let next = cluster.upsert(dataset, [200 + round], "x");
        cluster
            .wait(
                PartitionSet {
                    min_index: next,
                    ..without(dataset, 0)
                },
                true,
            )
            .await
            .unwrap();
        let other = cluster.create(&format!("e{round}"));
        let next = cluster.upsert(other, 0..10, "x");
        assert_eq!(found(&cluster, other, next).await, (0..10).collect::<Vec<_>>());
        until("snapshots of the others", || async {
            let held = snapshots(&cluster);
            held.values().filter(|&&at| at >= next).count() == 2 + (round as usize + 1) * PARTITIONS as usize
        })
        .await;
        cluster.stop_shard().await;
        assert!(
            folder.exists(),
            "what is damaged is kept: somebody may want to look at it"
        );
    }
    restart(&mut cluster).await;
    // Nobody misses it any more.
    let drop = Command::DropDataset(DropDatasetCommand { dataset_id: dataset });
    let dropped = cluster.append((drop, bytes::Bytes::new()));
    until("the drop", || async {
        cluster.status().await.applied_index >= dropped
    })
    .await;
    assert!(lost(&cluster).await.is_empty());
    let error = cluster.search(near(dataset, 0, 0.0, 10)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::DatasetNotFound, "{error}");
    cluster.stop_shard().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_with_an_empty_disk_begins_behind_the_cut() {
    let mut cluster = cluster().await;
    let dataset = cluster.create("d");
    let last = cluster.upsert(dataset, 0..100, "x");
    cluster.wait(all(dataset, last), true).await.unwrap();
    until_snapshot(&cluster, last).await;
    cluster.stop_shard().await;
    fs::remove_dir_all(cluster.data.path().join("snapshots")).unwrap();
    cluster.keepers[0].mood.send_replace(Mood::BeginsAt(last + 1));
    restart(&mut cluster).await;
    assert_eq!(lost(&cluster).await.len(), PARTITIONS as usize);
    let error = cluster.search(near(dataset, 0, 0.0, 10)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ReplicaLost, "{error}");
    let other = cluster.create("e");
    let last = cluster.upsert(other, 0..50, "x");
    assert_eq!(found(&cluster, other, last).await, (0..50).collect::<Vec<_>>());
    cluster.stop_shard().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_shard_that_is_overtaken_denies_nothing() {
    let cluster = Cluster::start(1).await;
    let dataset = cluster.create("d");
    let held = cluster.upsert(dataset, 0..100, "x");
    cluster.wait(all(dataset, held), false).await.unwrap();
    cluster.keepers[0].mood.send_replace(Mood::CutOffAt(held));
    let missed = cluster.upsert(dataset, 100..200, "x");
    let last = cluster.upsert(dataset, 200..210, "x");
    // Somebody waits for what will never come.
    let waiting = cluster.search(near(dataset, last, 0.0, 10));
    let cut = async {
        cluster.keepers[0].mood.send_replace(Mood::BeginsAt(missed + 1));
    };
    let (error, ()) = tokio::join!(waiting, cut);
    let code = error.unwrap_err().code;
    assert!(
        [
            ErrorCode::ReplicaLost,
            ErrorCode::ReplicaStopped,
            ErrorCode::NoReplica
        ]
        .contains(&code),
        "{code}"
    );
    until("the replicas to be lost", || async {
        lost(&cluster).await.len() == PARTITIONS as usize
    })
    .await;
    let error = cluster.search(near(dataset, 0, 0.0, 10)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ReplicaLost, "{error}");
    let other = cluster.create("e");
    let last = cluster.upsert(other, 0..50, "x");
    assert_eq!(found(&cluster, other, last).await, (0..50).collect::<Vec<_>>());
    soon("the shard to be ready again", cluster.shard().ready()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_still_has_the_entry_is_found() {
    let mut cluster = Cluster::start(2).await;
    let dataset = cluster.create("d");
    let last = cluster.upsert(dataset, 0..100, "x");
    cluster.wait(all(dataset, last), false).await.unwrap();
    for at in 0..2 {
        cluster.stop_shard().await;
        cluster.keepers[at].mood.send_replace(Mood::BeginsAt(last + 1));
        cluster.keepers[1 - at].mood.send_replace(Mood::Whole);
        restart(&mut cluster).await;
        assert_eq!(found(&cluster, dataset, last).await, (0..100).collect::<Vec<_>>());
        assert!(lost(&cluster).await.is_empty());
    }
    cluster.stop_shard().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_another_log_are_no_place_to_begin_at() {
    let (mut cluster, _, last) = twice().await;
    cluster.form_anew().await;
    let shard = cluster.shard.take().unwrap();
    soon("the shard to end", shard.wait()).await.unwrap_err();
    // As if the process had been killed before they were set aside; what is left is not whole.
    let aside = cluster.data.path().join("snapshots.of-0000000000000001");
    let root = cluster.data.path().join("snapshots");
    fs::rename(&aside, &root).unwrap();
    damage(&snapshots(&cluster).pop_first().unwrap().0, "");
    // The new log was cut, too.
    let first = cluster.create("d") + 1;
    assert!(first < last);
    cluster.keepers[0].mood.send_replace(Mood::BeginsAt(first));
    cluster.start_shard().await;
    let shard = cluster.shard.take().unwrap();
    let error = soon("the shard to end", shard.wait()).await.unwrap_err();
    assert!(format!("{error:#}").contains("formed anew"), "{error:#}");
    assert!(aside.exists() && !root.exists());
    restart(&mut cluster).await;
    cluster.stop_shard().await;
}
