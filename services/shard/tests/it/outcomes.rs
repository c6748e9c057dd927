//! What became of the rows of conditional writes, and what is left of that when a shard starts again.

use std::collections::BTreeMap;

use longbow_types::ErrorCode;
use longbow_wire::internal::{PartitionOutcome, PartitionSet};

use crate::cluster::{Cluster, all};
use crate::rows::{delete_if, partition};
use crate::snapshots::{cluster, found, restart, until_snapshot};

/// Whether the condition of each id held, of ids in the order in which they were written.
fn matched(outcomes: &[PartitionOutcome], ids: &[u64]) -> BTreeMap<u64, bool> {
    let mut matched = BTreeMap::new();
    for outcome in outcomes {
        let mine: Vec<u64> = ids
            .iter()
            .copied()
            .filter(|&id| partition(id) == outcome.partition)
            .collect();
        assert_eq!(mine.len(), outcome.rows as usize);
        let holds = |at: usize| outcome.matched[at / 8] & (1 << (at % 8)) != 0;
        matched.extend(mine.iter().enumerate().map(|(at, &id)| (id, holds(at))));
    }
    matched
}

/// The digest of each partition.
async fn digests(cluster: &Cluster) -> BTreeMap<u32, String> {
    let replicas = cluster.status().await.replicas.into_iter();
    replicas
        .map(|replica| (replica.state.unwrap().partition, replica.digest))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_are_told_until_they_are_forgotten_and_digests_stay() {
    let mut cluster = cluster().await;
    let dataset = cluster.create("d");
    let old = cluster.upsert(dataset, 0..60, "x");
    let new = cluster.upsert(dataset, 30..60, "y");
    let asked: Vec<(u64, u64)> = (0..70)
        .map(|id: u64| (id, if id.is_multiple_of(2) { old } else { new }))
        .collect();
    let first = cluster.append(delete_if(dataset, &asked));
    let ids: Vec<u64> = (0..70).collect();
    let deleted = |id: u64| {
        if id < 30 {
            id.is_multiple_of(2)
        } else {
            id < 60 && id % 2 == 1
        }
    };
    let want: BTreeMap<u64, bool> = ids.iter().map(|&id| (id, deleted(id))).collect();
    let told = cluster.outcomes(all(dataset, first)).await.unwrap();
    assert_eq!(matched(&told, &ids), want);
    let left: Vec<u64> = (0..60).filter(|&id| !deleted(id)).collect();
    assert_eq!(found(&cluster, dataset, first).await, left);
    let error = cluster.outcomes(all(dataset, new)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidValue, "it had no conditions");

    let before = digests(&cluster).await;
    assert!(before.values().all(|digest| digest.len() == 32), "{before:?}");
    until_snapshot(&cluster, first).await;
    cluster.stop_shard().await;
    // What the snapshot holds is forgotten, what is replayed is found out again.
    let second = cluster.append(delete_if(dataset, &[(1, old), (3, new), (5, old)]));
    restart(&mut cluster).await;
    let told = cluster.outcomes(all(dataset, first)).await.unwrap();
    assert!(told.is_empty(), "{told:?}");
    let touched = PartitionSet {
        partitions: [1, 3, 5].map(partition).into(),
        ..all(dataset, second)
    };
    let told = cluster.outcomes(touched).await.unwrap();
    assert_eq!(
        matched(&told, &[1, 3, 5]),
        BTreeMap::from([(1, true), (3, false), (5, true)])
    );
    let after = digests(&cluster).await;
    for (ordinal, digest) in &after {
        let is_touched = [1, 5].map(partition).contains(ordinal);
        assert_eq!(digest != &before[ordinal], is_touched, "{ordinal}");
    }
    cluster.stop_shard().await;
}
