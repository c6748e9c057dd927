//! From which index can the log be followed, given the snapshots that can be opened?

use std::collections::BTreeMap;
use std::sync::Arc;

use longbow_cluster::catalogue::Catalogue;
use longbow_storage::Replica;
use longbow_storage::snapshot::{Manifest, Open, Verify};
use longbow_types::{Error, ErrorCode, NodeId, Result};
use longbow_wire::internal;
use prost::Message as _;

use super::Store;
use crate::partition::Key;
use crate::tail::schema_of;

/// A node's state at an index of the log, or its replicas' after it.
pub(crate) struct Restored {
    /// The catalogue, with producers, as of the index.
    pub(crate) catalogue: Catalogue,
    /// Every replica that this node has by that catalogue, with the name of its dataset. Some may be further: entries
    /// that they hold must not be applied to them again.
    pub(crate) replicas: Vec<(Key, String, Replica)>,
}

/// A replica as its newest usable snapshot has it.
pub(super) struct Found {
    pub(super) replica: Replica,
    pub(super) catalogue: Arc<Catalogue>,
}

/// All replicas that are on the disk.
#[derive(Default)]
pub(super) struct OnDisk {
    pub(super) found: BTreeMap<Key, Found>,
    /// Why no snapshot of the others can be used.
    pub(super) failed: BTreeMap<Key, Error>,
}

/// Opens what is there. `None`: nothing usable is, and the log is to be replayed from its beginning.
pub(crate) fn restore(store: &Store, me: &NodeId, cancel: &dyn Fn() -> bool) -> Option<Restored> {
    let mut found = open_all(store, &|_| true, cancel)?.found;
    let held = found.iter().map(|(&key, found)| {
        let required = found
            .catalogue
            .replicas_on(me)
            .map(|(dataset, ordinal)| Key { dataset, ordinal });
        (key, (found.catalogue.applied_index(), required.collect()))
    });
    let (index, at) = newest_whole(&held.collect())?;
    let catalogue = Arc::clone(&found[&at].catalogue);
    let replicas = catalogue.replicas_on(me).filter_map(|(dataset, ordinal)| {
        let key = Key { dataset, ordinal };
        let name = catalogue.dataset(dataset)?.name.clone();
        Some((key, name, found.remove(&key)?.replica))
    });
    let replicas = replicas.collect::<Vec<_>>();
    tracing::info!(index, replicas = replicas.len(), "opened snapshots");
    Some(Restored {
        catalogue: Catalogue::clone(&catalogue),
        replicas,
    })
}

/// Opens the newest usable snapshot of each replica that has any. Of use is one whose catalogue is `admitted`: its log still
/// has what it was made of. `None`: it was cancelled.
pub(super) fn open_all(
    store: &Store,
    admitted: &dyn Fn(&Catalogue) -> bool,
    cancel: &dyn Fn() -> bool,
) -> Option<OnDisk> {
    let keys = store.keys().unwrap_or_else(|error| {
        tracing::error!(%error, "the directory of snapshots cannot be read");
        Vec::new()
    });
    let mut all = OnDisk::default();
    for key in keys {
        match open(store, key, admitted, cancel) {
            Ok(Some(opened)) => drop(all.found.insert(key, opened)),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(partition = %key, %error, "no snapshot can be used");
                all.failed.insert(key, error);
            }
        }
        if cancel() {
            return None;
        }
    }
    Some(all)
}

/// The highest index at which every replica that is required there is held as of that index or a later one; and a
/// replica whose snapshot has the catalogue of it. Held are, for each replica, an index and the replicas required then.
fn newest_whole(held: &BTreeMap<Key, (u64, Vec<Key>)>) -> Option<(u64, Key)> {
    let is_whole = |(index, required): &(u64, Vec<Key>)| {
        required
            .iter()
            .all(|key| held.get(key).is_some_and(|(later, _)| later >= index))
    };
    held.iter()
        .filter(|(_, at)| is_whole(at))
        .map(|(&key, &(index, _))| (index, key))
        .max()
}

fn open(
    store: &Store,
    key: Key,
    admitted: &dyn Fn(&Catalogue) -> bool,
    cancel: &dyn Fn() -> bool,
) -> Result<Option<Found>> {
    let failed = |error: std::io::Error| Error::new(ErrorCode::StorageFailed, error.to_string());
    // Held until the files are open: nobody writes or removes any meanwhile.
    let mut known = store.open.lock();
    let mut snapshots = store.snapshots(key).map_err(failed)?;
    let how = Open {
        verify: Verify::Everything,
        fall_back: true,
    };
    let mut given_up = Vec::new();
    let mut schema = |manifest: &Manifest| {
        let catalogue = catalogue_of(key, manifest)?;
        if !admitted(&catalogue) {
            given_up.push(manifest.generation);
            let index = catalogue.applied_index();
            return Err(corrupt(&format!(
                "the log was cut before entry {index}, which it holds"
            )));
        }
        let dataset = catalogue.dataset(key.dataset);
        schema_of(dataset.ok_or_else(|| corrupt("its catalogue has not got its dataset"))?)
    };
    let opened = snapshots.open(how, &mut schema, cancel);
    for generation in given_up {
        snapshots.give_up(generation);
    }
    store.durable.look(key, &snapshots, store.keep);
    // Also if none can be opened: it knows which are damaged.
    known.insert(key, snapshots);
    drop(known);
    let opened = opened.map_err(|error| Error::new(error.code(), error.to_string()))?;
    let Some(mut opened) = opened else {
        return Ok(None);
    };
    for (generation, error) in &opened.passed_over {
        tracing::warn!(partition = %key, generation, %error, "passed over a snapshot");
    }
    let catalogue = catalogue_of(key, &opened.manifest)?;
    // Nothing between the replica's index and the catalogue's touched it.
    opened.replica.advance(catalogue.applied_index());
    opened.replica.publish();
    Ok(Some(Found {
        replica: opened.replica,
        catalogue: Arc::new(catalogue),
    }))
}

pub(super) fn catalogue_of(key: Key, manifest: &Manifest) -> Result<Catalogue> {
    let owner = &manifest.owner;
    if (owner.dataset, owner.partition) != (key.dataset, key.ordinal) {
        return Err(corrupt("it is the snapshot of another replica"));
    }
    let message = internal::Catalogue::decode(owner.catalogue.as_slice())
        .map_err(|error| corrupt(&format!("its catalogue cannot be read: {error}")))?;
    let catalogue = Catalogue::from_proto(&message)?;
    if catalogue.applied_index() < manifest.applied_index {
        return Err(corrupt("its catalogue is older than its rows"));
    }
    Ok(catalogue)
}

fn corrupt(why: &str) -> Error {
    Error::new(ErrorCode::Corruption, why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use longbow_types::DatasetId;

    /// A replica's ordinal, its index, and the ordinals required there.
    type Held<'a> = (u32, u64, &'a [u32]);

    fn newest(held: &[Held<'_>]) -> Option<u64> {
        let key = |ordinal| Key {
            dataset: DatasetId(3),
            ordinal,
        };
        let held = held.iter().map(|&(ordinal, index, required)| {
            let required = required.iter().map(|&ordinal| key(ordinal)).collect();
            (key(ordinal), (index, required))
        });
        newest_whole(&held.collect()).map(|(index, _)| index)
    }

    #[test]
    fn the_log_is_followed_from_where_no_replica_lacks_an_entry() {
        let cases: [(&[Held<'_>], Option<u64>); 7] = [
            (&[], None),
            (&[(0, 9, &[0, 1]), (1, 9, &[0, 1])], Some(9)),
            // A round that was cut short, and a replica that fell back.
            (&[(0, 9, &[0, 1]), (1, 5, &[0, 1])], Some(5)),
            // One that has none.
            (&[(0, 9, &[0, 1])], None),
            // One of a dataset that was dropped since.
            (&[(0, 9, &[0]), (1, 5, &[0, 1])], Some(9)),
            // One of a dataset that was made after the other's snapshot: it is made again.
            (&[(0, 5, &[0]), (1, 9, &[0, 1])], Some(5)),
            (&[(0, 5, &[0, 2]), (1, 9, &[0, 1])], None),
        ];
        for (held, expected) in cases {
            assert_eq!(newest(held), expected, "{held:?}");
        }
    }
}
