//! Everything a keeper finds on its disk when it starts, or makes there the first time.

use std::{ops::Range, path::Path, sync::Arc};

use longbow_cluster::raft_core::{HardState, LogReader};
use longbow_node::identity::Identity;
use longbow_types::{Error, ErrorCode, NodeId, Result};
use longbow_wal::{Disk, EntryKind, FsDisk, Log, Options, Reader, Writer};
use longbow_wire::internal::{RaftEntry, RaftEntryType};
use prost::Message;

use crate::{Config, GROUP, checkpoint::Checkpoints, group::Group, state::State};

/// Why nothing could be found.
#[derive(Debug)]
pub(crate) struct Failure {
    pub error: Error,
    /// Voters of the group, where the disk or the settings tell; a failed flush is a signal of one of them.
    pub flush_failed_of: Option<Vec<NodeId>>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            error,
            flush_failed_of: None,
        }
    }
}

/// What was found.
pub(crate) struct Recovered {
    pub group: Group,
    pub writer: Writer,
    pub reader: Reader,
    pub hard_state: HardState,
    pub state: State,
    pub checkpoints: Checkpoints,
}

/// Opens the log and the checkpoint, or makes them. Blocks.
///
/// A group of one is formed here. Any other is formed by [`Recovered::form`], when the others have been asked.
pub(crate) fn recover(config: &Config, identity: &Identity, data_path: &Path) -> Result<Recovered, Failure> {
    let voters = &config.initial_voters;
    let group = match Group::load(data_path, identity, voters)? {
        Some(group) => group,
        None => Group::new(identity, voters, rand::random()),
    };
    let disk: Arc<dyn Disk> = match &config.log_disk {
        Some(disk) => disk.clone(),
        None => Arc::new(FsDisk::open(data_path.join("wal")).map_err(|error| {
            Error::new(ErrorCode::StorageFailed, format!("the log's folder: {error}")).field("data_path")
        })?),
    };
    let options = Options {
        segment_bytes: config.segment_bytes,
        spares: config.spare_segments,
    };
    // Who votes now stands in the log, which may be what failed: those that formed the group are the best guess.
    let voters = group.initial_voters.clone();
    let (group, mut log) = open_log(group, disk, options, identity, data_path).map_err(|mut failure| {
        let is_alone = voters == [identity.node_id.clone()];
        if is_alone && failure.error.code == ErrorCode::Corruption {
            let path = data_path.display();
            let way_out = format!(
                "; with no other keeper to repair it from, put a copy of {path} back or, to go on without what was \
                 acknowledged behind the damage, see what `longbow wal cut {path}` would lose"
            );
            failure.error.message = format!("{}{way_out}", failure.error.message).into();
        }
        if let Some(of) = &mut failure.flush_failed_of {
            *of = voters;
        }
        failure
    })?;
    let found = log.recovered.groups.get(&GROUP);
    let hard_state = found.map(|found| found.hard_state).unwrap_or_default();
    let (checkpoints, state) = Checkpoints::open(&data_path.join("catalogue"), &group.as_formed())?;
    finish_snapshot(&mut log, &state).map_err(failure_of)?;
    let last = log.reader.last_index(GROUP);
    if state.index() > last {
        let message = format!(
            "the catalogue has applied entry {}, the log ends at {last}: the log lost entries",
            state.index()
        );
        return Err(Error::new(ErrorCode::Corruption, message).into());
    }
    tracing::info!(
        raft_id = group.raft_id,
        last_index = last,
        checkpoint = state.index(),
        rewritten = log.recovered.rewritten,
        torn = ?log.recovered.torn,
        "the log is open"
    );
    Ok(Recovered {
        group,
        writer: log.writer,
        reader: log.reader,
        hard_state: HardState {
            term: hard_state.term,
            vote: hard_state.vote,
            commit: hard_state.commit,
        },
        state,
        checkpoints,
    })
}

/// A snapshot is installed in two steps: the state is made durable, then the log begins behind it. Does the second where
/// a crash came between. A log that has the snapshot's last entry needs nothing.
fn finish_snapshot(log: &mut Log, state: &State) -> Result<(), longbow_wal::Error> {
    let (index, term) = (state.index(), state.snapshot_term);
    let begins_behind = log.reader.first_index(GROUP) > index;
    if term == 0 || begins_behind || log.reader.term(GROUP, index) == Some(term) {
        return Ok(());
    }
    tracing::info!(index, "finishing the installation of a snapshot");
    log.writer.start(GROUP, term, index);
    log.writer.flush().map(drop)
}

impl Recovered {
    /// Writes the first membership, then that the group is formed. Both are durable afterwards. Blocks.
    pub fn form(&mut self, identity: &Identity, data_path: &Path) -> Result<(), Failure> {
        form(&mut self.writer, &self.group)?;
        self.group.formed = true;
        self.group.store(data_path, identity)?;
        Ok(())
    }

    /// Writes the raft id that this keeper was given when it was added. The rest of the membership comes with the log,
    /// from its first entry on, or with a snapshot. Blocks.
    pub fn join(&mut self, raft_id: u64, identity: &Identity, data_path: &Path) -> Result<(), Failure> {
        self.group.raft_id = raft_id;
        self.form(identity, data_path)
    }

    /// Whether this keeper has never voted nor appended.
    pub fn is_untouched(&self) -> bool {
        self.hard_state.term == 0 && self.reader.last_index(GROUP) == 0
    }
}

/// Opens this keeper's log, or makes it if it was never formed.
fn open_log(
    mut group: Group,
    disk: Arc<dyn Disk>,
    options: Options,
    identity: &Identity,
    data_path: &Path,
) -> Result<(Group, Log), Failure> {
    let exists = Log::exists(&*disk).map_err(failure_of)?;
    if group.formed && !exists {
        let message = format!(
            "the log of keeper {} is gone; it must not vote under its raft id {} again: put the log back, or give \
             the group a new keeper",
            identity.node_id, group.raft_id
        );
        return Err(Error::new(ErrorCode::Corruption, message)
            .field("data_path")
            .into());
    }
    let mut log = if exists {
        Log::open(disk, options).map_err(failure_of)?
    } else {
        group.store(data_path, identity)?;
        Log::create(disk, options, group.log_id).map_err(failure_of)?
    };
    if log.recovered.log_id != group.log_id {
        let message = "the log is not the one that keeper.json was written for";
        return Err(Error::new(ErrorCode::Corruption, message)
            .field("data_path")
            .into());
    }
    if !group.formed && group.raft_id != 0 && group.initial_voters.len() == 1 {
        // Nobody else could know of entries that this disk has lost. Also after a crash between making the log and
        // saying so.
        form(&mut log.writer, &group)?;
        group.formed = true;
        group.store(data_path, identity)?;
    }
    Ok((group, log))
}

/// Writes the first membership, for whoever reads the log alone.
fn form(writer: &mut Writer, group: &Group) -> Result<(), Failure> {
    let payload = group.as_formed().conf_state().encode_to_vec();
    writer.conf_state(GROUP, &payload).map_err(failure_of)?;
    writer.flush().map_err(failure_of)?;
    Ok(())
}

/// The same, and whether a flush failed.
fn failure_of(error: longbow_wal::Error) -> Failure {
    let flush_failed = matches!(error, longbow_wal::Error::Failed { .. });
    Failure {
        error: error_of(error),
        flush_failed_of: flush_failed.then(Vec::new),
    }
}

/// A log error as callers are told.
pub(crate) fn error_of(error: longbow_wal::Error) -> Error {
    use longbow_wal::Error as W;
    let code = match &error {
        W::Corruption { .. } => ErrorCode::Corruption,
        W::Invalid(_) | W::OutOfRange { .. } => ErrorCode::Internal,
        W::Full { .. } | W::Failed { .. } | W::Io { .. } => ErrorCode::StorageFailed,
    };
    Error::new(code, error.to_string())
}

/// The durable log as raft reads it.
pub(crate) struct DurableLog(pub Reader);

impl LogReader for DurableLog {
    fn first_index(&self) -> u64 {
        self.0.first_index(GROUP)
    }

    fn last_index(&self) -> u64 {
        self.0.last_index(GROUP)
    }

    fn term(&self, index: u64) -> Option<u64> {
        self.0.term(GROUP, index)
    }

    fn entries(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<RaftEntry>> {
        let entries = self.0.read(GROUP, range, bytes_max).map_err(error_of)?;
        let entry = |entry: longbow_wal::Entry| RaftEntry {
            entry_type: match entry.kind {
                EntryKind::Normal => RaftEntryType::Unspecified,
                EntryKind::ConfChange => RaftEntryType::ConfChange,
                EntryKind::ConfChangeV2 => RaftEntryType::ConfChangeV2,
            } as i32,
            term: entry.term,
            index: entry.index,
            data: entry.data,
            ..RaftEntry::default()
        };
        Ok(entries.into_iter().map(entry).collect())
    }
}

#[cfg(test)]
mod tests;
