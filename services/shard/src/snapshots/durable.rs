//! Up to which index of the log is a replica safe outside of it?
//!
//! Wished for, each with a test:
//! - whichever of its snapshots turns out to be damaged, another goes on from what is told or later, where more than one
//!   is to be kept;
//! - what is told never names an index that no snapshot has;
//! - of a log that the newest snapshot is not of, nothing counts.
//!
//! Files that two snapshots share, of rows that did not change, are not looked at here: both are lost with one of those.

use std::collections::BTreeMap;

use longbow_storage::snapshot::{Manifest, Snapshots};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::Notify;

use crate::partition::Key;

/// What is known of all replicas that have snapshots.
#[derive(Default)]
pub(crate) struct Durable {
    of: Mutex<BTreeMap<Key, Point>>,
    /// Told when a round was written.
    pub(super) news: Notify,
}

/// An index of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) log_id: u64,
    pub(super) index: u64,
}

/// The first fields of an `internal.Catalogue`, which may be large.
#[derive(Clone, PartialEq, prost::Message)]
struct Head {
    #[prost(uint64, tag = "1")]
    applied_index: u64,
    #[prost(uint64, tag = "6")]
    log_id: u64,
}

impl Durable {
    /// Looks at a replica's snapshots again.
    pub(super) fn look(&self, key: Key, snapshots: &Snapshots, keep: usize) {
        let manifests = snapshots.sound().unwrap_or_else(|error| {
            tracing::debug!(partition = %key, %error, "it is not known which snapshots are there");
            Vec::new()
        });
        let points: Vec<Point> = manifests.iter().filter_map(point_of).collect();
        let mut of = self.of.lock();
        match safe(&points, keep) {
            Some(point) => drop(of.insert(key, point)),
            None => drop(of.remove(&key)),
        }
    }

    /// Replicas that are not in a list have no snapshots any more.
    pub(super) fn retain(&self, is_here: impl Fn(&Key) -> bool) {
        self.of.lock().retain(|key, _| is_here(key));
    }

    /// Everything of a replica up to this index of a log is durable; 0: nothing is.
    pub(crate) fn index(&self, key: &Key, log_id: u64) -> u64 {
        let of = self.of.lock();
        let point = of.get(key).filter(|point| point.log_id == log_id);
        point.map_or(0, |point| point.index)
    }

    /// Waits until a round was written.
    pub(crate) async fn changed(&self) {
        self.news.notified().await;
    }
}

/// Where a snapshot goes on from.
pub(super) fn point_of(manifest: &Manifest) -> Option<Point> {
    let head = Head::decode(manifest.owner.catalogue.as_slice()).ok()?;
    Some(Point {
        log_id: head.log_id,
        index: head.applied_index,
    })
}

/// What to count on, of snapshots that seem usable, oldest first: the newest but one, where more than one is to be kept.
fn safe(points: &[Point], keep: usize) -> Option<Point> {
    let log_id = points.last()?.log_id;
    let same_log = points.iter().filter(|point| point.log_id == log_id);
    let mut indexes: Vec<u64> = same_log.map(|point| point.index).collect();
    indexes.sort_unstable();
    let spare = usize::from(keep > 1);
    let index = *indexes.iter().rev().nth(spare)?;
    Some(Point { log_id, index })
}

#[cfg(test)]
mod tests {
    use super::*;
    use longbow_cluster::catalogue::Catalogue;
    use longbow_wire::internal;

    fn points(indexes: &[u64]) -> Vec<Point> {
        let point = |&index| Point { log_id: 7, index };
        indexes.iter().map(point).collect()
    }

    #[test]
    fn one_damaged_snapshot_needs_no_entry_before_what_is_told() {
        for count in 0..5_u64 {
            let indexes: Vec<u64> = (1..=count).map(|at| at * 10).collect();
            for keep in 1..4 {
                let Some(told) = safe(&points(&indexes), keep) else {
                    assert!(
                        count <= u64::from(keep > 1),
                        "{count} snapshots, {keep} to be kept"
                    );
                    continue;
                };
                assert!(indexes.contains(&told.index));
                if keep == 1 {
                    assert_eq!(Some(&told.index), indexes.last());
                    continue;
                }
                for damaged in &indexes {
                    let mut left = indexes.iter().filter(|&index| index != damaged);
                    assert!(
                        left.any(|&index| index >= told.index),
                        "{indexes:?} without {damaged}"
                    );
                }
                // And not more is held back than that asks for.
                assert_eq!(indexes.iter().filter(|&&index| index > told.index).count(), 1);
            }
        }
    }

    #[test]
    fn another_log_does_not_count() {
        let mut both = points(&[10, 20]);
        both.push(Point { log_id: 8, index: 5 });
        assert_eq!(safe(&both, 2), None);
        assert_eq!(safe(&both, 1), Some(Point { log_id: 8, index: 5 }));
        both.push(Point { log_id: 8, index: 6 });
        assert_eq!(safe(&both, 2), Some(Point { log_id: 8, index: 5 }));
        let durable = Durable::default();
        let key = Key {
            dataset: longbow_types::DatasetId(3),
            ordinal: 1,
        };
        durable.of.lock().insert(key, Point { log_id: 8, index: 5 });
        assert_eq!((durable.index(&key, 8), durable.index(&key, 7)), (5, 0));
        durable.retain(|_| false);
        assert_eq!(durable.index(&key, 8), 0);
    }

    #[test]
    fn the_head_of_a_catalogue_is_read_without_the_rest() {
        let message = internal::Catalogue {
            applied_index: 1 << 40,
            log_id: 77,
            shards: vec!["s".to_owned()],
            ..Catalogue::new().to_proto(true)
        };
        let head = Head::decode(message.encode_to_vec().as_slice()).unwrap();
        assert_eq!((head.applied_index, head.log_id), (1 << 40, 77));
    }
}
