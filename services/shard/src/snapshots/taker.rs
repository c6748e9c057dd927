//! Who writes snapshots? One thread, behind everything else; while it writes, no other round begins.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use longbow_node::shutdown::Shutdown;
use longbow_storage::snapshot::{Error, Owner, Written};
use longbow_types::NodeId;
use prost::Message as _;

use super::{Round, Store};
use crate::partition::Key;

/// Snapshots of replicas, by whether they were written.
const SNAPSHOTS: &str = "longbow_snapshots_total";
/// Index of the last round of which every snapshot was written.
const SNAPSHOT_INDEX: &str = "longbow_snapshot_index";

/// A round is not begun before half as many bytes were applied as the last one wrote, so that no more is written for
/// snapshots than twice what is applied; but then at the latest after so many times the bytes asked for.
const STRETCH_MAX: u64 = 64;

/// A node to which little is written snapshots nevertheless, when so many times the bytes went through the whole log:
/// keepers keep it from the last but one of its snapshots on.
const OTHERS_SHARE: u64 = 4;

/// The running thread.
pub(crate) struct Taker {
    thread: JoinHandle<()>,
}

/// Asks the thread for rounds. The thread ends when this is gone.
pub(crate) struct Rounds {
    ask: SyncSender<Round>,
    progress: Arc<Progress>,
    /// Bytes applied between rounds, at least.
    every: u64,
    applied: u64,
    /// Bytes of the log that went by since, whoever they were for.
    followed: u64,
    /// Writes have stopped: whatever is applied is to be on this disk, too.
    is_urgent: bool,
}

/// What the thread tells.
struct Progress {
    /// It waits for a round.
    is_idle: AtomicBool,
    /// Bytes that the last round wrote.
    written: AtomicU64,
}

impl Rounds {
    /// So many bytes of writes were applied.
    pub(crate) fn applied(&mut self, bytes: usize) {
        self.applied = self.applied.saturating_add(bytes as u64);
    }

    /// So many bytes of the log went by, for this node or others.
    pub(crate) fn followed(&mut self, bytes: usize) {
        self.followed = self.followed.saturating_add(bytes as u64);
    }

    /// Whether what is applied is worth a round of its own, however little it is.
    pub(crate) fn urge(&mut self, is_urgent: bool) {
        self.is_urgent = is_urgent;
    }

    /// Whether it is time for a round, and nothing is being written. `caught_up`: all is applied that is known to be committed.
    pub(crate) fn is_due(&self, caught_up: bool) -> bool {
        let written = self.progress.written.load(Ordering::Relaxed);
        let wanted = (written / 2).min(self.every.saturating_mul(STRETCH_MAX));
        let wanted = wanted.max(self.every);
        let enough = self.applied >= wanted || self.followed / OTHERS_SHARE >= wanted;
        let urgent = self.is_urgent && caught_up && self.applied > 0;
        (enough || urgent) && self.progress.is_idle.load(Ordering::Acquire)
    }

    /// Asks for a round that is due.
    pub(crate) fn ask(&mut self, round: Round) {
        (self.applied, self.followed) = (0, 0);
        self.progress.is_idle.store(false, Ordering::Release);
        // The thread lives as long as this; if it panicked, that was printed, and there are no snapshots any more.
        let _ = self.ask.try_send(round);
    }
}

impl Taker {
    /// Starts the thread, which writes a round for every so many bytes applied, until the shutdown.
    pub(crate) fn start(
        store: Arc<Store>,
        me: NodeId,
        every: u64,
        shutdown: Shutdown,
    ) -> io::Result<(Self, Rounds)> {
        let (ask, asked) = sync_channel(1);
        let progress = Arc::new(Progress {
            is_idle: AtomicBool::new(true),
            written: AtomicU64::new(0),
        });
        let rounds = Rounds {
            ask,
            progress: Arc::clone(&progress),
            every,
            applied: 0,
            followed: 0,
            is_urgent: false,
        };
        let thread = thread::Builder::new()
            .name("snapshots".to_owned())
            .spawn(move || take_all(&store, &me, &asked, &progress, &shutdown))?;
        Ok((Self { thread }, rounds))
    }

    /// Waits for the thread's end: after the shutdown, a MiB or so of a file that is given up, and what the disk has not
    /// taken yet of it.
    pub(crate) fn stop(self) {
        // Its panics were printed; there is nothing to hear from it.
        let _ = self.thread.join();
    }
}

fn take_all(store: &Store, me: &NodeId, asked: &Receiver<Round>, progress: &Progress, shutdown: &Shutdown) {
    let cancel = || shutdown.is_triggered();
    while let Ok(round) = asked.recv() {
        let written = take(store, round, &cancel, me);
        store.durable.news.notify_one();
        progress.written.store(written, Ordering::Relaxed);
        progress.is_idle.store(true, Ordering::Release);
    }
}

/// Writes the snapshots of a round, and removes those of replicas that are not here any more. Returns the bytes written.
fn take(store: &Store, round: Round, cancel: &dyn Fn() -> bool, me: &NodeId) -> u64 {
    let index = round.catalogue.applied_index();
    let catalogue = round.catalogue.to_proto(true).encode_to_vec();
    let (mut replicas, mut failed, mut bytes) = (0, 0, 0);
    for (key, view) in round.views {
        let Some(dataset) = round.catalogue.dataset(key.dataset) else {
            continue;
        };
        let owner = Owner {
            dataset: key.dataset,
            partition: key.ordinal,
            schema_version: dataset.schema_version,
            catalogue: catalogue.clone(),
        };
        match write(store, key, &view, owner, cancel) {
            Ok(written) => {
                metrics::counter!(SNAPSHOTS, "status" => "ok").increment(1);
                (replicas, bytes) = (replicas + 1, bytes + written.bytes);
                if let Some(error) = written.unswept {
                    tracing::warn!(partition = %key, %error, "old snapshots were left");
                }
            }
            Err(Error::Cancelled) => return bytes,
            Err(error) => {
                tracing::error!(partition = %key, %error, "no snapshot was written");
                metrics::counter!(SNAPSHOTS, "status" => "failed").increment(1);
                failed += 1;
            }
        }
    }
    tracing::info!(index, replicas, failed, bytes, "wrote snapshots");
    if failed == 0 {
        metrics::gauge!(SNAPSHOT_INDEX).set(index as f64);
    }
    let here = round.catalogue.replicas_on(me);
    let here = here.map(|(dataset, ordinal)| Key { dataset, ordinal }).collect();
    if let Err(error) = forget_others(store, &here) {
        tracing::warn!(%error, "the snapshots of replicas that are gone were left");
    }
    bytes
}

fn write(
    store: &Store,
    key: Key,
    view: &Arc<longbow_storage::View>,
    owner: Owner,
    cancel: &dyn Fn() -> bool,
) -> Result<Written, Error> {
    let mut open = store.open.lock();
    let snapshots = match open.entry(key) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(new) => new.insert(store.snapshots(key).map_err(|source| Error::Io {
            operation: "create",
            file: store.folder(key).display().to_string(),
            source,
        })?),
    };
    let written = snapshots.write(view, owner, cancel);
    // Also after a failure, which may have published it.
    store.durable.look(key, snapshots, store.keep);
    written
}

/// Removes the directories of all other replicas.
fn forget_others(store: &Store, here: &BTreeSet<Key>) -> io::Result<()> {
    store.open.lock().retain(|key, _| here.contains(key));
    store.durable.retain(|key| here.contains(key));
    for key in store.keys()?.into_iter().filter(|key| !here.contains(key)) {
        fs::remove_dir_all(store.folder(key))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_due_when_enough_was_applied_and_nothing_is_being_written() {
        let (ask, asked) = sync_channel(1);
        let progress = Arc::new(Progress {
            is_idle: AtomicBool::new(true),
            written: AtomicU64::new(0),
        });
        let mut rounds = Rounds {
            ask,
            progress: Arc::clone(&progress),
            every: 100,
            applied: 0,
            followed: 0,
            is_urgent: false,
        };
        let round = || Round {
            catalogue: longbow_cluster::catalogue::Catalogue::new(),
            views: Vec::new(),
        };
        rounds.applied(99);
        assert!(!rounds.is_due(true));
        rounds.applied(1);
        assert!(rounds.is_due(true));
        rounds.ask(round());
        assert!(asked.try_recv().is_ok());
        rounds.applied(1_000);
        assert!(!rounds.is_due(true), "it is being written");
        // More than half of what was applied since; then so much that the interval's limit counts.
        for (written, missing) in [(2_400, 200), (u64::MAX, 64 * 100 - 1_200)] {
            progress.written.store(written, Ordering::Relaxed);
            progress.is_idle.store(true, Ordering::Release);
            assert!(!rounds.is_due(true));
            rounds.applied(missing);
            assert!(rounds.is_due(true));
        }
        rounds.ask(round());
        progress.written.store(0, Ordering::Relaxed);
        progress.is_idle.store(true, Ordering::Release);
        // What is written to others holds the log, too.
        rounds.followed(399);
        assert!(!rounds.is_due(true));
        rounds.followed(1);
        assert!(rounds.is_due(true));
        // Once writes have stopped, whatever there is.
        rounds.ask(round());
        progress.is_idle.store(true, Ordering::Release);
        rounds.urge(true);
        assert!(!rounds.is_due(true), "there is nothing");
        rounds.applied(1);
        assert!(rounds.is_due(true) && !rounds.is_due(false));
        rounds.urge(false);
        assert!(!rounds.is_due(true));
    }
}
