//! From which index can a log be followed whose beginning was cut off, and what is lost by that?
//!
//! Every snapshot carries the catalogue of its index, and so does a keeper: each is a place to begin at, if the log still
//! has what comes behind it. A replica is there if a snapshot of it is as new as that place, or newer; or if the log
//! makes it later. Any other that the catalogue assigns to this node is lost.
//!
//! Of a log whose end was cut off, knowingly, a snapshot of what is gone is none.
//!
//! Wished for, each with a test:
//! - what is neither there nor lost is nothing: nobody answers from less than everything;
//! - as few replicas as can be are lost, of those that there still are at the end of the log;
//! - of places that are equal in this, the one with the least left to replay.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use longbow_cluster::catalogue::Catalogue;
use longbow_types::NodeId;

use super::Store;
use super::durable::point_of;
use super::restore::{OnDisk, Restored, catalogue_of, open_all};
use crate::lost::{AllLost, Lost};
use crate::partition::Key;

/// What a keeper has.
pub(crate) struct Base {
    /// First entry of its log.
    pub(crate) first: u64,
    /// Its catalogue, with producers.
    pub(crate) catalogue: Catalogue,
}

/// Where to begin.
pub(crate) enum Reached {
    /// With these replicas, and without those that are lost.
    At(Restored, AllLost),
    /// Nowhere: the snapshots are of this log, and the keeper has another.
    Foreign(u64),
    /// Nowhere: it was cancelled.
    Cancelled,
}

/// Opens what is there and picks where to begin. Without a store nothing is there.
pub(crate) fn reach(store: Option<&Store>, me: &NodeId, base: Base, cancel: &dyn Fn() -> bool) -> Reached {
    let mut disk = OnDisk::default();
    let mut places = BTreeMap::new();
    if let Some(store) = store {
        let log_id = base.catalogue.log_id();
        let admitted = |held: &Catalogue| {
            base.catalogue.admits(held.incarnation(), held.applied_index()) || held.log_id() != log_id
        };
        disk = match open_all(store, &admitted, cancel) {
            Some(disk) => disk,
            None => return Reached::Cancelled,
        };
        let foreign = |id: &u64| *id != 0 && *id != log_id;
        let ids = disk.found.values().map(|found| found.catalogue.log_id());
        if let Some(foreign) = ids.into_iter().find(foreign) {
            return Reached::Foreign(foreign);
        }
        places = catalogues(store, base.first, &base.catalogue);
    }
    if base.first <= 1 {
        // Everything can be made again.
        places.insert(0, Catalogue::new());
    }
    places.insert(base.catalogue.applied_index(), base.catalogue);
    let held: BTreeMap<Key, u64> = disk
        .found
        .iter()
        .map(|(&key, found)| (key, found.catalogue.applied_index()))
        .collect();
    let required = places
        .iter()
        .map(|(&index, catalogue)| (index, required(catalogue, me)))
        .collect();
    let index = best(&required, &held).expect("a keeper's catalogue is a place to begin at");
    let catalogue = places.remove(&index).expect("it is one of the places");
    split(catalogue, me, disk, base.first)
}

/// What of the replicas that a catalogue assigns to this node is there.
fn split(catalogue: Catalogue, me: &NodeId, mut disk: OnDisk, first: u64) -> Reached {
    let index = catalogue.applied_index();
    let (mut replicas, mut lost) = (Vec::new(), AllLost::new());
    for key in required(&catalogue, me) {
        let Some(dataset) = catalogue.dataset(key.dataset).map(|dataset| dataset.name.clone()) else {
            continue;
        };
        let why = match (disk.found.remove(&key), disk.failed.get(&key)) {
            (Some(found), _) if found.catalogue.applied_index() >= index => {
                replicas.push((key, dataset, found.replica));
                continue;
            }
            (Some(found), _) => {
                let held = found.catalogue.applied_index();
                format!("its newest snapshot ends at entry {held}, and the log begins at entry {first}")
            }
            (None, Some(error)) => {
                format!("no snapshot of it can be used ({error}), and the log begins at entry {first}")
            }
            (None, None) => format!("there is no snapshot of it, and the log begins at entry {first}"),
        };
        tracing::error!(partition = %key, %dataset, "the replica is lost: {why}");
        lost.insert(key, Arc::new(Lost { dataset, why }));
    }
    Reached::At(Restored { catalogue, replicas }, lost)
}

/// The catalogues of all snapshots, behind which the log has every entry. Also of those whose rows are damaged: manifests
/// have a sum of their own.
fn catalogues(store: &Store, first: u64, log: &Catalogue) -> BTreeMap<u64, Catalogue> {
    let mut places = BTreeMap::new();
    for key in store.keys().unwrap_or_default() {
        let known = store.open.lock();
        let Some(snapshots) = known.get(&key) else {
            continue;
        };
        for generation in snapshots.generations().unwrap_or_default() {
            let Ok(manifest) = snapshots.manifest(generation) else {
                continue; // opening it has said so
            };
            let is_place = |index: u64| index.saturating_add(1) >= first && !places.contains_key(&index);
            let point = point_of(&manifest).filter(|point| point.is_of(log) && is_place(point.index));
            if point.is_some()
                && let Ok(catalogue) = catalogue_of(key, &manifest)
            {
                places.insert(catalogue.applied_index(), catalogue);
            }
        }
    }
    places
}

fn required(catalogue: &Catalogue, me: &NodeId) -> BTreeSet<Key> {
    let keys = catalogue.replicas_on(me);
    keys.map(|(dataset, ordinal)| Key { dataset, ordinal }).collect()
}

/// Picks one of the places to begin at, each an index with the replicas required there. Of each replica it is known how
/// far its newest snapshot goes. What the newest of the places does not require any more is no loss.
fn best(places: &BTreeMap<u64, BTreeSet<Key>>, held: &BTreeMap<Key, u64>) -> Option<u64> {
    let (_, wanted) = places.last_key_value()?;
    let is_lost = |index: u64, key: &&Key| held.get(*key).is_none_or(|&held| held < index);
    let loss = |index: u64, required: &BTreeSet<Key>| {
        let wanted = required.intersection(wanted);
        wanted.filter(|key| is_lost(index, key)).count()
    };
    let ranked = places
        .iter()
        .map(|(&index, required)| (loss(index, required), std::cmp::Reverse(index)));
    ranked.min().map(|(_, index)| index.0)
}

#[cfg(test)]
mod tests;
