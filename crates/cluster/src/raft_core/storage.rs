//! What raft-rs reads the log from: recent entries from memory, older ones from a reader of what is durable.
//!
//! Entries stay in memory at least until they are durable and applied; beyond that, as many as fit the budget.

use std::{cell::RefCell, collections::VecDeque, ops::Range};

use longbow_types::{Error, Result};
use longbow_wire::internal::{RaftConfState, RaftEntry};
use raft::{
    GetEntriesContext, RaftState, Storage, StorageError,
    eraftpb::{Entry, Snapshot},
};

use super::{HardState, SnapshotAt, convert};

/// Reads the durable log of one group.
pub trait LogReader: Send {
    /// First index; the one after [`last_index`](Self::last_index) if there are no entries.
    fn first_index(&self) -> u64;
    /// Last durable index; 0 if there never were entries, that of the snapshot if the log begins behind one.
    fn last_index(&self) -> u64;
    /// Term of a durable entry, or of the one that the log begins behind, if it is known.
    fn term(&self, index: u64) -> Option<u64>;
    /// Durable entries: at least one, then as many as `bytes_max` allows.
    fn entries(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<RaftEntry>>;
}

pub(super) struct CachedStorage<R> {
    state: RaftState,
    /// Consecutive entries up to the last one, starting at `cache_first`.
    cache: VecDeque<Entry>,
    cache_first: u64,
    cache_bytes: usize,
    cache_bytes_max: usize,
    persisted: u64,
    applied: u64,
    /// The snapshot that the log begins behind, at the latest when it is durable.
    base: SnapshotAt,
    reader: R,
    read_error: RefCell<Option<Error>>,
}

impl<R: LogReader> CachedStorage<R> {
    pub fn new(hard: HardState, conf: &RaftConfState, reader: R, cache_bytes_max: usize) -> Self {
        let last = reader.last_index();
        let mut hard_state = raft::eraftpb::HardState::default();
        (hard_state.term, hard_state.vote, hard_state.commit) = (hard.term, hard.vote, hard.commit);
        Self {
            state: RaftState::new(hard_state, convert::conf_state_from_wire(conf)),
            cache: VecDeque::new(),
            cache_first: last + 1,
            cache_bytes: 0,
            cache_bytes_max,
            persisted: last,
            applied: 0,
            base: SnapshotAt { index: 0, term: 0 },
            reader,
            read_error: RefCell::new(None),
        }
    }

    /// Appends entries; the first may replace what stands at its index and behind.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else {
            return;
        };
        if first.index < self.cache_first {
            self.cache.clear();
            (self.cache_first, self.cache_bytes) = (first.index, 0);
        }
        while self.cache_first + self.cache.len() as u64 > first.index {
            if let Some(replaced) = self.cache.pop_back() {
                self.cache_bytes -= replaced.data.len();
            }
        }
        self.persisted = self.persisted.min(first.index - 1);
        self.cache_bytes += entries.iter().map(|entry| entry.data.len()).sum::<usize>();
        self.cache.extend(entries.iter().cloned());
    }

    /// Whether a hard state promises more than the last one: a term, or a vote in it.
    pub fn promises(&self, new: HardState) -> bool {
        let old = &self.state.hard_state;
        (new.term, new.vote) != (old.term, old.vote)
    }

    pub fn set_hard_state(&mut self, hard: HardState) {
        let state = &mut self.state.hard_state;
        (state.term, state.vote, state.commit) = (hard.term, hard.vote, hard.commit);
    }

    pub fn set_persisted(&mut self, index: u64) {
        self.persisted = index;
        self.shrink();
    }

    pub fn set_applied(&mut self, index: u64) {
        self.applied = index;
        self.shrink();
    }

    pub fn set_conf_state(&mut self, conf: &RaftConfState) {
        self.state.conf_state = convert::conf_state_from_wire(conf);
    }

    /// The log begins behind this snapshot. What the reader holds is not looked at any more.
    pub fn install(&mut self, base: SnapshotAt) {
        self.cache.clear();
        (self.cache_first, self.cache_bytes) = (base.index + 1, 0);
        self.persisted = self.persisted.min(base.index);
        self.base = base;
    }

    fn term_of(&self, index: u64) -> Option<u64> {
        match self.cached(index) {
            Some(entry) => Some(entry.term),
            None if index == self.base.index => Some(self.base.term),
            None if index < self.base.index => None,
            None => self.reader.term(index),
        }
    }

    pub fn take_read_error(&mut self) -> Option<Error> {
        self.read_error.get_mut().take()
    }

    fn shrink(&mut self) {
        let kept_from = self.persisted.min(self.applied);
        while self.cache_bytes > self.cache_bytes_max && self.cache_first <= kept_from {
            let Some(old) = self.cache.pop_front() else {
                break;
            };
            self.cache_bytes -= old.data.len();
            self.cache_first += 1;
        }
    }

    fn cached(&self, index: u64) -> Option<&Entry> {
        let at = index.checked_sub(self.cache_first)?;
        self.cache.get(usize::try_from(at).ok()?)
    }

    /// Entries below the cache. A failure is kept for the caller of the core. raft-rs gets no entries: told of an error
    /// it would end the thread, and with it what is known of the cause.
    fn read(&self, range: Range<u64>, bytes_max: usize) -> Vec<Entry> {
        let read = self.reader.entries(range, bytes_max);
        let entries = read.and_then(|entries| entries.iter().map(convert::entry_from_wire).collect());
        entries.unwrap_or_else(|error| {
            self.read_error.borrow_mut().get_or_insert(error);
            Vec::new()
        })
    }
}

impl<R: LogReader> Storage for CachedStorage<R> {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.state.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let budget = max_size
            .into()
            .map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let mut entries = Vec::new();
        let mut next = low;
        if low < self.first_index()? {
            return Err(StorageError::Compacted.into());
        }
        if low < self.cache_first {
            let end = high.min(self.cache_first);
            entries = self.read(low..end, budget);
            if entries.is_empty() && low < self.first_index()? {
                // Cut between the look and the read: that is no damage.
                self.read_error.borrow_mut().take();
                return Err(StorageError::Compacted.into());
            }
            next = low + entries.len() as u64;
            if next < end {
                return Ok(entries);
            }
        }
        let mut bytes: usize = entries.iter().map(|entry| entry.data.len()).sum();
        while let Some(entry) = self.cached(next).filter(|_| next < high) {
            bytes += entry.data.len();
            if bytes > budget && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
            next += 1;
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let first = self.first_index()?;
        match self.term_of(index) {
            Some(term) => Ok(term),
            // Of the entry before the first the term may be forgotten. None is like that: whoever asks goes on with a
            // snapshot.
            None if index + 1 == first => Ok(0),
            None if index < first => Err(StorageError::Compacted.into()),
            None => Err(StorageError::Unavailable.into()),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        // Until the snapshot is durable the reader tells of the former log.
        Ok(self.reader.first_index().max(self.base.index + 1))
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.cache_first + self.cache.len() as u64 - 1)
    }

    /// What is applied, now. Its bytes are added by whoever holds the state machine.
    fn snapshot(&self, request_index: u64, _: u64) -> raft::Result<Snapshot> {
        let term = self.term_of(self.applied).filter(|&term| term > 0);
        let (Some(term), true) = (term, self.applied >= request_index) else {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        };
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = (self.applied, term);
        metadata.set_conf_state(self.state.conf_state.clone());
        Ok(snapshot)
    }
}
