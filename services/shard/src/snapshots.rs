//! What of this node's replicas is there when the process starts again?
//!
//! One directory for each replica, below the node's own; what is in them is for `longbow_storage::snapshot` to say.
//! The snapshots of a [`Round`] are taken together, of the views that show every entry up to one index, and each carries
//! the catalogue of that index, producers and all, as an `internal.Catalogue` message: from there the log is judged and
//! applied as if it had been replayed.
//!
//! ```text
//! <data_path>/snapshots/<dataset>-<partition>/      numbers of 20 and 10 digits
//! <data_path>/snapshots.of-<log>                    set aside, because the keepers have another log now
//! ```

mod durable;
mod reach;
mod restore;
mod taker;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use longbow_cluster::catalogue::Catalogue;
use longbow_storage::View;
use longbow_storage::snapshot::{FsDisk, Snapshots};
use longbow_types::DatasetId;
use parking_lot::Mutex;

use crate::partition::Key;

pub(crate) use reach::{Base, Reached, reach};
pub(crate) use restore::{Restored, restore};
pub(crate) use taker::{Rounds, Taker};

const FOLDER: &str = "snapshots";

/// The node's replicas at one index.
pub(crate) struct Round {
    /// The catalogue, with producers, as of that index.
    pub(crate) catalogue: Catalogue,
    /// Views that show every entry up to it.
    pub(crate) views: Vec<(Key, Arc<View>)>,
}

/// The directories of snapshots.
pub(crate) struct Store {
    data: PathBuf,
    /// Snapshots kept of each replica.
    keep: usize,
    /// Those that were opened or written since the start.
    open: Mutex<BTreeMap<Key, Snapshots>>,
    /// What of them keepers may be told.
    pub(crate) durable: durable::Durable,
    /// The log that the snapshots are of, if the keepers have another; else 0.
    foreign: AtomicU64,
}

impl Store {
    /// Snapshots below a node's directory.
    pub(crate) fn new(data: &Path, keep: usize) -> Self {
        Self {
            data: data.to_owned(),
            keep,
            open: Mutex::new(BTreeMap::new()),
            durable: durable::Durable::default(),
            foreign: AtomicU64::new(0),
        }
    }

    /// The keepers have another log than this one, whose snapshots are of no use any more.
    pub(crate) fn disown(&self, log_id: u64) {
        self.foreign.store(log_id, Ordering::Relaxed);
    }

    /// Sets aside what was disowned, so that the next start replays the new log. Nothing is deleted: it may be all
    /// that is left of the old one.
    pub(crate) fn set_disowned_aside(&self) {
        let log_id = self.foreign.load(Ordering::Relaxed);
        if log_id == 0 || !self.root().exists() {
            return;
        }
        let free = (0_u32..)
            .map(|times| match times {
                0 => format!("{FOLDER}.of-{log_id:016x}"),
                times => format!("{FOLDER}.of-{log_id:016x}-{times}"),
            })
            .map(|name| self.data.join(name))
            .find(|path| !path.exists())
            .expect("a directory holds fewer names than there are numbers");
        match fs::rename(self.root(), &free) {
            Ok(()) => tracing::warn!(to = %free.display(), "set aside the snapshots of another log"),
            Err(error) => tracing::error!(%error, "the snapshots of another log could not be set aside"),
        }
    }

    fn root(&self) -> PathBuf {
        self.data.join(FOLDER)
    }

    fn folder(&self, key: Key) -> PathBuf {
        self.root()
            .join(format!("{:020}-{:010}", key.dataset.0, key.ordinal))
    }

    /// Replicas that have a directory.
    fn keys(&self) -> io::Result<Vec<Key>> {
        let entries = match fs::read_dir(self.root()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut keys = Vec::new();
        for entry in entries {
            keys.extend(entry?.file_name().to_str().and_then(key_of));
        }
        keys.sort_unstable();
        Ok(keys)
    }

    /// The snapshots of a replica.
    fn snapshots(&self, key: Key) -> io::Result<Snapshots> {
        Ok(Snapshots::new(FsDisk::open(self.folder(key))?, self.keep))
    }
}

/// Undoes [`Store::folder`]; nothing for what is not ours.
fn key_of(name: &str) -> Option<Key> {
    let (dataset, ordinal) = name.split_once('-')?;
    let are_digits = |text: &str, len| text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
    (are_digits(dataset, 20) && are_digits(ordinal, 10)).then_some(())?;
    Some(Key {
        dataset: DatasetId(dataset.parse().ok()?),
        ordinal: ordinal.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_those_of_replicas() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path(), 2);
        assert!(store.keys().unwrap().is_empty());
        let key = |dataset, ordinal| Key {
            dataset: DatasetId(dataset),
            ordinal,
        };
        let keys = [key(3, 1), key(u64::MAX, u32::MAX)];
        for key in keys {
            store.snapshots(key).unwrap();
        }
        fs::create_dir(store.root().join("1-1")).unwrap();
        fs::create_dir(store.root().join("lost+found")).unwrap();
        assert_eq!(store.keys().unwrap(), keys);
    }

    #[test]
    fn what_is_disowned_is_set_aside_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path(), 2);
        store.set_disowned_aside();
        for name in ["snapshots.of-00000000000000ab", "snapshots.of-00000000000000ab-1"] {
            fs::create_dir(store.root()).unwrap();
            store.set_disowned_aside();
            assert!(store.root().exists(), "nobody disowned it");
            store.disown(0xab);
            store.set_disowned_aside();
            assert!(folder.path().join(name).exists() && !store.root().exists());
            store.disown(0);
        }
    }
}
