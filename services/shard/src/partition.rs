//! What do readers, builders and waiters share of one replica?

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use longbow_storage::{Reader, View};
use longbow_types::{DatasetId, Error, ErrorCode};
use longbow_wire::internal::PartitionState;
use tokio::sync::watch;

/// Which partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Dataset.
    pub(crate) dataset: DatasetId,
    /// Ordinal of the partition in its dataset.
    pub(crate) ordinal: u32,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.dataset, self.ordinal)
    }
}

/// One replica on this node, but for its writer.
pub(crate) struct Partition {
    /// Which one.
    pub(crate) key: Key,
    /// Name of the dataset.
    pub(crate) dataset: String,
    /// Views and graph.
    pub(crate) reader: Reader,
    /// Why it stopped applying. Set once, before the index that it stopped at counts as routed.
    stopped: OnceLock<String>,
    /// Why its graph is not built any further.
    unbuildable: OnceLock<String>,
    /// Whether its dataset is gone.
    evicted: AtomicBool,
    /// Whether anybody has asked for a recall: measuring it takes long, and most never do.
    recall_wanted: AtomicBool,
    /// Told about each view published and each batch linked.
    progress: watch::Sender<()>,
}

impl Partition {
    /// A replica that has just been made.
    pub(crate) fn new(key: Key, dataset: String, reader: Reader) -> Self {
        Self {
            key,
            dataset,
            reader,
            stopped: OnceLock::new(),
            unbuildable: OnceLock::new(),
            evicted: AtomicBool::new(false),
            recall_wanted: AtomicBool::new(false),
            progress: watch::Sender::new(()),
        }
    }

    /// Wakes those who wait for progress.
    pub(crate) fn progressed(&self) {
        self.progress.send_replace(());
    }

    /// Follows progress.
    pub(crate) fn progress(&self) -> watch::Receiver<()> {
        self.progress.subscribe()
    }

    /// Stops it for good; the first reason stays.
    pub(crate) fn stop(&self, why: String) {
        if self.stopped.set(why).is_ok() {
            self.progressed();
        }
    }

    /// Why it stopped applying, if it did.
    pub(crate) fn stopped(&self) -> Option<&str> {
        self.stopped.get().map(String::as_str)
    }

    /// Its dataset is gone: nothing happens to it any more.
    pub(crate) fn evict(&self) {
        self.evicted.store(true, Ordering::Release);
        self.progressed();
    }

    /// Whether its dataset is gone.
    pub(crate) fn is_evicted(&self) -> bool {
        self.evicted.load(Ordering::Acquire)
    }

    /// Somebody asks for a recall: builders are to measure it from now on. Whether nobody had before.
    pub(crate) fn want_recall(&self) -> bool {
        // Looked at first: nearly always somebody had, and a write would be every searcher's to wait for.
        !self.is_recall_wanted() && !self.recall_wanted.swap(true, Ordering::Relaxed)
    }

    /// Whether builders are to measure its recall.
    pub(crate) fn is_recall_wanted(&self) -> bool {
        self.recall_wanted.load(Ordering::Relaxed)
    }

    /// Gives its graph up; its rows are still found, by comparing with each.
    pub(crate) fn give_up_building(&self, why: String) {
        if self.unbuildable.set(why).is_ok() {
            self.progressed();
        }
    }

    /// Why builders leave it alone, if they do.
    pub(crate) fn unbuildable(&self) -> Option<&str> {
        self.unbuildable.get().map(String::as_str)
    }

    /// The error for those who wait for rows to be linked into a graph that is given up.
    pub(crate) fn unbuildable_error(&self, why: &str) -> Error {
        let message = format!(
            "the graph of partition {} is not built any further: {why}",
            self.key
        );
        Error::new(ErrorCode::ReplicaStopped, message).field("partition")
    }

    /// The error for those who wait for what a stopped replica will never apply.
    pub(crate) fn stopped_error(&self, why: &str) -> Error {
        let message = format!("the replica of partition {} stopped: {why}", self.key);
        Error::new(ErrorCode::ReplicaStopped, message).field("partition")
    }

    /// The newest view and how far it has come, given that every entry up to `routed` has been applied where it
    /// belongs. `routed` must have been read before this is called.
    pub(crate) fn read(&self, routed: u64) -> Read {
        // A replica stops before the entry it stops at counts as routed, so this order never misses it.
        let stopped = self.stopped().is_some();
        let view = self.reader.view();
        // An entry that did not touch this partition was never sent to it.
        let floor = if stopped { 0 } else { routed };
        let state = PartitionState {
            partition: self.key.ordinal,
            applied_index: view.applied_index().max(floor),
            touched_index: view.touched_index(),
        };
        Read { view, state }
    }
}

/// A view and how far it has come.
pub(crate) struct Read {
    /// The view.
    pub(crate) view: Arc<View>,
    /// How far it has come.
    pub(crate) state: PartitionState,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::schema;
    use longbow_storage::{Options, Replica};

    #[test]
    fn who_waits_for_a_graph_that_is_given_up_is_told() {
        let key = Key {
            dataset: DatasetId(3),
            ordinal: 1,
        };
        let replica = Replica::new(schema(), &Options::default(), 3);
        let partition = Partition::new(key, "d".into(), replica.reader().clone());
        let waiting = partition.progress();
        partition.give_up_building("boom".into());
        assert!(waiting.has_changed().unwrap());
        let error = partition.unbuildable_error(partition.unbuildable().unwrap());
        assert_eq!(error.code, ErrorCode::ReplicaStopped);
        assert!(error.message.contains("boom"), "{error}");
    }
}
