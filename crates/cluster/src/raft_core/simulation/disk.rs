//! What is durable at one member of the simulation: the log, perhaps cut, and a checkpoint of the state machine.

use std::sync::{Arc, Mutex};

use longbow_wire::internal::{RaftEntry, RaftEntryType};

use super::super::*;
use crate::keepers::Keepers;

/// The state machine: all it was given, and who is in the group after it.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    pub applied: Vec<RaftEntry>,
    pub keepers: Keepers,
}

/// What is durable at one member.
#[derive(Default, Clone)]
pub struct DiskState {
    /// The log begins behind this.
    pub base: u64,
    pub base_term: u64,
    pub entries: Vec<RaftEntry>,
    pub hard_state: HardState,
    pub checkpoint: Option<State>,
}

impl DiskState {
    /// A write that the power took away after some of its entries.
    pub fn tear(&mut self, persist: &Persist, kept: usize) {
        if persist.snapshot.is_some() {
            // The record that stands for it comes first, and with it nothing or all.
            return;
        }
        self.append(persist, kept);
    }

    fn append(&mut self, persist: &Persist, kept: usize) {
        for entry in persist.entries.iter().take(kept) {
            if let Some(hard_state) = persist.hard_state_before(entry) {
                self.hard_state = hard_state;
            }
            assert!(entry.index > self.base, "an entry that was cut");
            self.entries.truncate((entry.index - self.base) as usize - 1);
            assert_eq!(entry.index, self.last() + 1, "a gap in the log");
            self.entries.push(entry.clone());
        }
    }

    /// `snapshot`: the state machine that the job's snapshot stands for.
    pub fn write(&mut self, persist: &Persist, snapshot: Option<&State>) {
        if let Some(at) = persist.snapshot {
            let state = snapshot.expect("a snapshot comes with its state");
            assert_eq!(state.applied.len() as u64, at.index);
            self.checkpoint = Some(state.clone());
            (self.base, self.base_term) = (at.index, at.term);
            self.entries.clear();
        }
        self.append(persist, persist.entries.len());
        if let Some(hard_state) = persist.hard_state {
            self.hard_state = hard_state;
        }
    }

    /// Changes of the group in the log of which the hard state does not say that they are committed.
    pub fn changes_not_known_committed(&self) -> usize {
        let unknown = self.entries.iter().filter(|entry| {
            entry.index > self.hard_state.commit && entry.entry_type() == RaftEntryType::ConfChangeV2
        });
        unknown.count()
    }

    pub fn last(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    pub fn get(&self, index: u64) -> Option<&RaftEntry> {
        self.entries.get(index.checked_sub(self.base + 1)? as usize)
    }

    /// Cuts the log below an entry, which stays.
    pub fn trim(&mut self, first_kept: u64) {
        let Some(before) = self.get(first_kept - 1) else {
            return;
        };
        (self.base_term, self.base) = (before.term, first_kept - 1);
        let gone = self
            .entries
            .iter()
            .filter(|entry| entry.index < first_kept)
            .count();
        self.entries.drain(..gone);
    }
}

#[derive(Clone)]
pub struct Reader(pub Arc<Mutex<DiskState>>);

impl LogReader for Reader {
    fn first_index(&self) -> u64 {
        self.0.lock().unwrap().base + 1
    }

    fn last_index(&self) -> u64 {
        self.0.lock().unwrap().last()
    }

    fn term(&self, index: u64) -> Option<u64> {
        let disk = self.0.lock().unwrap();
        if index == disk.base && index > 0 {
            return Some(disk.base_term);
        }
        Some(disk.get(index)?.term)
    }

    fn entries(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<RaftEntry>> {
        let disk = self.0.lock().unwrap();
        let mut bytes = 0;
        let mut entries = Vec::new();
        for index in range {
            let entry = disk.get(index).expect("what is read is there");
            bytes += entry.data.len();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }
}
