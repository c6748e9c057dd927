//! A start goes on from snapshots: it asks for no entry that they hold, and answers as if it had replayed them all.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use longbow_storage::snapshot::{FsDisk, Snapshots};
use longbow_wire::internal::Catalogue;
use longbow_wire::internal::DropDatasetCommand;
use longbow_wire::internal::entry_header::Command;
use prost::Message as _;

use crate::cluster::{Cluster, all, near, soon, until};
use crate::keeper::Mood;
use crate::rows::{PARTITIONS, ids};

pub async fn cluster() -> Cluster {
    let mut cluster = Cluster::with_keepers(1).await;
    // As often as anything is applied.
    cluster.settings = vec![("shard.snapshot_every", "1")];
    restart(&mut cluster).await;
    cluster
}

pub async fn restart(cluster: &mut Cluster) {
    cluster.start_shard().await;
    soon("the shard to be ready", cluster.shard().ready()).await;
}

/// The directories of replicas, each with the index that its newest snapshot goes on from.
pub fn snapshots(cluster: &Cluster) -> BTreeMap<PathBuf, u64> {
    let Ok(folders) = fs::read_dir(cluster.data.path().join("snapshots")) else {
        return BTreeMap::new();
    };
    let newest = |path: &PathBuf| {
        let snapshots = Snapshots::new(FsDisk::open(path).ok()?, 1);
        let newest = *snapshots.generations().ok()?.last()?;
        let manifest = snapshots.manifest(newest).ok()?;
        let catalogue = Catalogue::decode(manifest.owner.catalogue.as_slice()).ok()?;
        Some(catalogue.applied_index)
    };
    folders
        .map(|folder| folder.unwrap().path())
        .filter_map(|path| newest(&path).map(|index| (path, index)))
        .collect()
}

pub async fn until_snapshot(cluster: &Cluster, index: u64) {
    until("snapshots of every replica", || async {
        let found = snapshots(cluster);
        found.len() == PARTITIONS as usize && found.values().all(|&at| at >= index)
    })
    .await;
}

pub async fn found(cluster: &Cluster, dataset: u64, min_index: u64) -> Vec<u64> {
    let found = cluster
        .search(near(dataset, min_index, 0.0, 1_000))
        .await
        .unwrap();
    let mut found = ids(&found.arrow_ipc);
    found.sort_unstable();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_needs_no_entry_that_snapshots_hold() {
    let mut cluster = cluster().await;
    let dataset = cluster.create("d");
    for at in 0..20 {
        cluster.upsert(dataset, at * 10..at * 10 + 10, "x");
    }
    let covered = cluster.delete(dataset, 0..5);
    cluster.wait(all(dataset, covered), true).await.unwrap();
    until_snapshot(&cluster, covered).await;
    cluster.stop_shard().await;

    // Of what follows some is in the log alone, and what was before is gone from it.
    let first = cluster.upsert(dataset, 190..210, "y");
    assert_eq!(first, covered + 1);
    cluster.keepers[0].mood.send_replace(Mood::BeginsAt(first));
    restart(&mut cluster).await;
    assert_eq!(
        found(&cluster, dataset, first).await,
        (5..210).collect::<Vec<_>>()
    );
    let last = cluster.delete(dataset, [7, 200]);
    cluster.wait(all(dataset, last), true).await.unwrap();
    let want: Vec<u64> = (5..210).filter(|id| ![7, 200].contains(id)).collect();
    assert_eq!(found(&cluster, dataset, last).await, want);

    // And once more, from snapshots that a restored replica wrote.
    until_snapshot(&cluster, last).await;
    cluster.stop_shard().await;
    cluster.keepers[0].mood.send_replace(Mood::BeginsAt(last + 1));
    restart(&mut cluster).await;
    assert_eq!(found(&cluster, dataset, last).await, want);
    cluster.stop_shard().await;
}

/// All files of a directory.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    paths
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_whose_snapshots_are_of_different_ages_meet() {
    let mut cluster = cluster().await;
    let dataset = cluster.create("d");
    let early = cluster.upsert(dataset, 0..100, "x");
    until_snapshot(&cluster, early).await;
    cluster.stop_shard().await;
    let (behind, at) = snapshots(&cluster).pop_last().unwrap();
    let old = files(&behind);

    restart(&mut cluster).await;
    cluster.delete(dataset, 0..50);
    cluster.upsert(dataset, 40..60, "y");
    let last = cluster.delete(dataset, 55..60);
    cluster.wait(all(dataset, last), true).await.unwrap();
    until_snapshot(&cluster, last).await;
    cluster.stop_shard().await;
    // As if the process had ended while the last ones were written.
    fs::remove_dir_all(&behind).unwrap();
    fs::create_dir(&behind).unwrap();
    for (path, bytes) in old {
        fs::write(path, bytes).unwrap();
    }
    cluster.keepers[0].mood.send_replace(Mood::BeginsAt(at + 1));
    restart(&mut cluster).await;
    let want: Vec<u64> = (40..55).chain(60..100).collect();
    assert_eq!(found(&cluster, dataset, last).await, want);
    assert_eq!(cluster.status().await.applied_index, last);
    cluster.stop_shard().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_replayed() {
    let mut cluster = cluster().await;
    let dataset = cluster.create("d");
    let last = cluster.upsert(dataset, 0..100, "x");
    until_snapshot(&cluster, last).await;
    cluster.stop_shard().await;
    // Every snapshot of one replica: what the others hold is not enough.
    let (folder, _) = snapshots(&cluster).pop_first().unwrap();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    restart(&mut cluster).await;
    assert_eq!(found(&cluster, dataset, last).await, (0..100).collect::<Vec<_>>());
    let last = cluster.upsert(dataset, 100..120, "x");
    cluster.wait(all(dataset, last), false).await.unwrap();
    until_snapshot(&cluster, last).await;
    cluster.stop_shard().await;
    cluster.keepers[0].mood.send_replace(Mood::BeginsAt(last + 1));
    restart(&mut cluster).await;
    assert_eq!(found(&cluster, dataset, last).await, (0..120).collect::<Vec<_>>());
    cluster.stop_shard().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_what_is_gone_go_too() {
    let mut cluster = cluster().await;
    let gone = cluster.create("gone");
    let last = cluster.upsert(gone, 0..50, "x");
    until_snapshot(&cluster, last).await;
    cluster.append((
        Command::DropDataset(DropDatasetCommand { dataset_id: gone }),
        bytes::Bytes::new(),
    ));
    let dataset = cluster.create("d");
    let last = cluster.upsert(dataset, 0..50, "x");
    cluster.wait(all(dataset, last), false).await.unwrap();
    until_snapshot(&cluster, last).await;
    cluster.stop_shard().await;
    restart(&mut cluster).await;
    assert_eq!(found(&cluster, dataset, last).await, (0..50).collect::<Vec<_>>());
    cluster.stop_shard().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_another_log_are_set_aside() {
    let mut cluster = cluster().await;
    let dataset = cluster.create("d");
    let last = cluster.upsert(dataset, 0..50, "x");
    until_snapshot(&cluster, last).await;
    cluster.form_anew().await;
    let shard = cluster.shard.take().unwrap();
    let error = soon("the shard to end", shard.wait()).await.unwrap_err();
    assert!(format!("{error:#}").contains("formed anew"), "{error:#}");
    restart(&mut cluster).await;
    assert_eq!(cluster.status().await.replicas.len(), 0);
    let aside = cluster.data.path().join("snapshots.of-0000000000000001");
    assert!(fs::read_dir(aside).unwrap().count() > 0, "they are not deleted");
    cluster.stop_shard().await;
}
