//! Up to which index of the log is a replica safe outside of it?
//!
//! Wished for, each with a test:
//! - whichever of its snapshots turns out to be damaged, another goes on from what is told or later, where more than one
//!   is to be kept;
//! - what is told never names an index that no snapshot has;
//! - of a log that the newest snapshot is not of, nothing counts;
//! - nor does what was cut off the log since.
//!
//! Files that two snapshots share, of rows that did not change, are not looked at here: both are lost with one of those.

use std::collections::BTreeMap;

use longbow_cluster::catalogue::Catalogue;
use longbow_storage::snapshot::{Manifest, Snapshots};
use longbow_wire::internal::CatalogueIncarnation;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::Notify;

use crate::partition::Key;

/// What is known of all replicas that have snapshots.
#[derive(Default)]
pub(crate) struct Durable {
    of: Mutex<BTreeMap<Key, Known>>,
    /// Told when a round was written.
    pub(super) news: Notify,
}

/// What is known of one replica: where snapshots that seem usable go on from, oldest first.
struct Known {
    points: Vec<Point>,
    /// How many are to be kept.
    keep: usize,
}

/// An index of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) log_id: u64,
    /// The life of the log that it was an index of.
    pub(super) incarnation: u32,
    pub(super) index: u64,
}

impl Point {
    /// Whether a log has what stood there, as far as its catalogue knows.
    pub(super) fn is_of(&self, log: &Catalogue) -> bool {
        self.log_id == log.log_id() && log.admits(self.incarnation, self.index)
    }
}

/// The first fields of an `internal.Catalogue`, which may be large.
#[derive(Clone, PartialEq, prost::Message)]
struct Head {
    #[prost(uint64, tag = "1")]
    applied_index: u64,
    #[prost(uint64, tag = "6")]
    log_id: u64,
    #[prost(message, repeated, tag = "8")]
    incarnations: Vec<CatalogueIncarnation>,
}

impl Durable {
    /// Looks at a replica's snapshots again.
    pub(super) fn look(&self, key: Key, snapshots: &Snapshots, keep: usize) {
        let manifests = snapshots.sound().unwrap_or_else(|error| {
            tracing::debug!(partition = %key, %error, "it is not known which snapshots are there");
            Vec::new()
        });
        let points: Vec<Point> = manifests.iter().filter_map(point_of).collect();
        self.of.lock().insert(key, Known { points, keep });
    }

    /// Replicas that are not in a list have no snapshots any more.
    pub(super) fn retain(&self, is_here: impl Fn(&Key) -> bool) {
        self.of.lock().retain(|key, _| is_here(key));
    }

    /// Everything of a replica up to this index of a log is durable; 0: nothing is. `log`: the log's catalogue.
    pub(crate) fn index(&self, key: &Key, log: &Catalogue) -> u64 {
        let of = self.of.lock();
        let known = of.get(key);
        known
            .and_then(|known| safe(&known.points, known.keep, log))
            .unwrap_or(0)
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
        incarnation: head.incarnations.last().map_or(1, |life| life.incarnation),
        index: head.applied_index,
    })
}

/// What to count on, of snapshots that seem usable, oldest first: the newest but one, where more than one is to be kept.
fn safe(points: &[Point], keep: usize, log: &Catalogue) -> Option<u64> {
    if points.last()?.log_id != log.log_id() {
        return None;
    }
    let same_log = points.iter().filter(|point| point.is_of(log));
    let mut indexes: Vec<u64> = same_log.map(|point| point.index).collect();
    indexes.sort_unstable();
    let spare = usize::from(keep > 1);
    indexes.iter().rev().nth(spare).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use longbow_wire::internal;

    fn points(indexes: &[u64]) -> Vec<Point> {
        indexes.iter().map(|&index| at(7, 1, index)).collect()
    }

    fn at(log_id: u64, incarnation: u32, index: u64) -> Point {
        Point {
            log_id,
            incarnation,
            index,
        }
    }

    /// A log, and the lives it has had since its first.
    fn log(log_id: u64, lives: &[(u32, u64)]) -> Catalogue {
        let life = |&(incarnation, began)| CatalogueIncarnation { incarnation, began };
        let message = internal::Catalogue {
            applied_index: 1_000,
            log_id,
            incarnations: lives.iter().map(life).collect(),
            ..internal::Catalogue::default()
        };
        Catalogue::from_proto(&message).unwrap()
    }

    #[test]
    fn one_damaged_snapshot_needs_no_entry_before_what_is_told() {
        for count in 0..5_u64 {
            let indexes: Vec<u64> = (1..=count).map(|at| at * 10).collect();
            for keep in 1..4 {
                let Some(told) = safe(&points(&indexes), keep, &log(7, &[])) else {
                    assert!(
                        count <= u64::from(keep > 1),
                        "{count} snapshots, {keep} to be kept"
                    );
                    continue;
                };
                assert!(indexes.contains(&told));
                if keep == 1 {
                    assert_eq!(Some(&told), indexes.last());
                    continue;
                }
                for damaged in &indexes {
                    let mut left = indexes.iter().filter(|&index| index != damaged);
                    assert!(left.any(|&index| index >= told), "{indexes:?} without {damaged}");
                }
                // And not more is held back than that asks for.
                assert_eq!(indexes.iter().filter(|&&index| index > told).count(), 1);
            }
        }
    }

    #[test]
    fn another_log_does_not_count() {
        let mut both = points(&[10, 20]);
        both.push(at(8, 1, 5));
        let (old, new) = (log(7, &[]), log(8, &[]));
        assert_eq!((safe(&both, 2, &new), safe(&both, 2, &old)), (None, None));
        assert_eq!(safe(&both, 1, &new), Some(5));
        both.push(at(8, 1, 6));
        assert_eq!(safe(&both, 2, &new), Some(5));
        let durable = Durable::default();
        let key = Key {
            dataset: longbow_types::DatasetId(3),
            ordinal: 1,
        };
        let points = vec![at(8, 1, 5)];
        durable.of.lock().insert(key, Known { points, keep: 1 });
        assert_eq!((durable.index(&key, &new), durable.index(&key, &old)), (5, 0));
        durable.retain(|_| false);
        assert_eq!(durable.index(&key, &new), 0);
    }

    #[test]
    fn what_was_cut_off_does_not_count() {
        let cut = log(7, &[(2, 21)]);
        let mut all = points(&[10, 20, 30]);
        assert_eq!((safe(&all, 2, &cut), safe(&all, 1, &cut)), (Some(10), Some(20)));
        assert_eq!(safe(&all, 2, &log(7, &[(2, 5)])), None);
        // Written after the cut, and one that was under way while it was.
        all.push(at(7, 2, 40));
        all.push(at(7, 1, 31));
        assert_eq!((safe(&all, 2, &cut), safe(&all, 1, &cut)), (Some(20), Some(40)));
        assert_eq!(safe(&all, 1, &log(7, &[])), Some(31), "what it has not heard of");
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
        assert!(head.incarnations.is_empty());
    }
}
