//! Committed entries, for shards: recent ones from memory, older ones from the log's files.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use bytes::Bytes;
use longbow_cluster::catalogue::Catalogue;
use longbow_types::{Error, ErrorCode, Result};
use longbow_wal::Reader;
use longbow_wire::{entry, internal::TailEntry};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{GROUP, recover};

/// Entries in one message of a tail.
pub(crate) const BATCH_BYTES_MAX: usize = 128 << 10;
/// Small entries: so many in one message.
const BATCH_ENTRIES_MAX: usize = 1_024;

/// What is committed here. Cheap to read beside the engine.
pub(crate) struct Committed {
    recent: Mutex<Recent>,
    commit: watch::Sender<u64>,
    /// Which log this is, as of the commit index; 0 until an entry has told.
    log_id: AtomicU64,
    /// Which life of it, as of the commit index.
    incarnation: AtomicU32,
    reader: Reader,
    bytes_max: usize,
}

#[derive(Default)]
struct Recent {
    /// Consecutive, up to the commit index.
    entries: VecDeque<TailEntry>,
    bytes: usize,
}

/// An entry as shards get it: raft's own are empty.
pub(crate) fn tail_entry(index: u64, data: &Bytes) -> TailEntry {
    // Appends are checked before they are proposed; what cannot be split has no effect anywhere.
    let (header, body) = entry::split(data).unwrap_or_default();
    TailEntry {
        index,
        header,
        body,
        ..TailEntry::default()
    }
}

fn size(entry: &TailEntry) -> usize {
    entry.header.len() + entry.body.len()
}

impl Committed {
    /// `applied`: what the state machine starts with.
    pub fn new(reader: Reader, applied: &Catalogue, bytes_max: usize) -> Self {
        Self {
            recent: Mutex::default(),
            commit: watch::Sender::new(applied.applied_index()),
            log_id: AtomicU64::new(applied.log_id()),
            incarnation: AtomicU32::new(applied.incarnation()),
            reader,
            bytes_max,
        }
    }

    /// Adds entries that were just applied; each follows the one before. `after`: the catalogue after them.
    pub fn push(&self, entries: Vec<TailEntry>, after: &Catalogue) {
        let Some(last) = entries.last().map(|entry| entry.index) else {
            return;
        };
        let mut recent = self.recent.lock();
        for entry in entries {
            recent.bytes += size(&entry);
            recent.entries.push_back(entry);
        }
        while recent.bytes > self.bytes_max
            && let Some(old) = recent.entries.pop_front()
        {
            recent.bytes -= size(&old);
        }
        drop(recent);
        // Known before what it covers can be read.
        self.name(after);
        self.commit.send_replace(last);
    }

    /// A snapshot took the place of the log: everything up to its index is committed and cannot be read here.
    pub fn restart(&self, index: u64, after: &Catalogue) {
        let mut recent = self.recent.lock();
        *recent = Recent::default();
        drop(recent);
        self.name(after);
        self.commit.send_replace(index);
    }

    fn name(&self, after: &Catalogue) {
        self.log_id.store(after.log_id(), Ordering::Release);
        self.incarnation.store(after.incarnation(), Ordering::Release);
    }

    /// First index in the log.
    pub fn first_index(&self) -> u64 {
        self.reader.first_index(GROUP)
    }

    /// Bytes of the log's files.
    pub fn log_bytes(&self) -> u64 {
        self.reader.bytes()
    }

    /// Follows the last committed index.
    pub fn commit(&self) -> watch::Receiver<u64> {
        self.commit.subscribe()
    }

    /// Which log this is; 0 until an entry has told.
    pub fn log_id(&self) -> u64 {
        self.log_id.load(Ordering::Acquire)
    }

    /// Which life of it.
    pub fn incarnation(&self) -> u32 {
        self.incarnation.load(Ordering::Acquire)
    }

    /// Some entries of a range of committed ones: at least one. `None`: they are not in memory, call [`Committed::read`].
    pub fn recent(&self, range: &Range<u64>) -> Option<Vec<TailEntry>> {
        let recent = self.recent.lock();
        let first = recent.entries.front()?.index;
        let start = usize::try_from(range.start.checked_sub(first)?).ok()?;
        let mut bytes = 0;
        let mut batch = Vec::new();
        let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        for entry in recent.entries.range(start..).take(wanted.min(BATCH_ENTRIES_MAX)) {
            bytes += size(entry);
            if bytes > BATCH_BYTES_MAX && !batch.is_empty() {
                break;
            }
            batch.push(entry.clone());
        }
        Some(batch)
    }

    /// The same from the files. Blocks.
    pub fn read(&self, range: Range<u64>) -> Result<Vec<TailEntry>> {
        let end = range.end.min(range.start + BATCH_ENTRIES_MAX as u64);
        let entries = self.reader.read(GROUP, range.start..end, BATCH_BYTES_MAX);
        let entries = entries.map_err(|error| match &error {
            longbow_wal::Error::OutOfRange { first, .. } if range.start < *first => Error::new(
                ErrorCode::LogTruncated,
                format!("entries before {first} are gone from this keeper: ask another"),
            )
            .field("from_index")
            .limit(first),
            _ => recover::error_of(error),
        })?;
        Ok(entries
            .iter()
            .map(|entry| match entry.kind {
                longbow_wal::EntryKind::Normal => tail_entry(entry.index, &entry.data),
                _ => tail_entry(entry.index, &Bytes::new()),
            })
            .collect())
    }
}
