//! Everything a keeper finds on its disk when it starts, or makes there the first time.

use std::{ops::Range, path::Path, sync::Arc};

use longbow_cluster::{
    catalogue::Catalogue,
    raft_core::{HardState, LogReader},
};
use longbow_node::identity::Identity;
use longbow_types::{Error, ErrorCode, NodeId, Result};
use longbow_wal::{Disk, EntryKind, FsDisk, Log, Options, Reader, Writer};
use longbow_wire::internal::{RaftConfState, RaftEntry, RaftEntryType};
use prost::Message;

use crate::{Config, GROUP, checkpoint::Checkpoints, group::Group};

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
    pub conf_state: RaftConfState,
    pub catalogue: Catalogue,
    pub checkpoints: Checkpoints,
}

/// Opens the log and the checkpoint, or makes them. Blocks.
///
/// A group of one is formed here. Any other is formed by [`Recovered::form`], when the others have been asked.
pub(crate) fn recover(config: &Config, identity: &Identity, data_path: &Path) -> Result<Recovered, Failure> {
    let voters = &config.initial_voters;
    let group = match Group::load(data_path, identity, voters)? {
        Some(group) => group,
        None => Group::new(identity, voters, rand::random())?,
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
    let voters = group.voters.clone();
    let (group, log) = open_log(group, disk, options, identity, data_path).map_err(|mut failure| {
        if let Some(of) = &mut failure.flush_failed_of {
            *of = voters;
        }
        failure
    })?;
    let found = log.recovered.groups.get(&GROUP);
    let conf_state = found
        .and_then(|found| found.conf_state.clone())
        .unwrap_or_default();
    let conf_state = RaftConfState::decode(conf_state)
        .map_err(|error| Error::new(ErrorCode::Corruption, format!("the stored membership: {error}")))?;
    let hard_state = found.map(|found| found.hard_state).unwrap_or_default();
    let (checkpoints, catalogue) = Checkpoints::open(&data_path.join("catalogue"))?;
    let last = log.reader.last_index(GROUP);
    if catalogue.applied_index() > last {
        let message = format!(
            "the catalogue has applied entry {}, the log ends at {last}: the log lost entries",
            catalogue.applied_index()
        );
        return Err(Error::new(ErrorCode::Corruption, message).into());
    }
    tracing::info!(
        raft_id = group.raft_id,
        last_index = last,
        checkpoint = catalogue.applied_index(),
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
        conf_state,
        catalogue,
        checkpoints,
    })
}

impl Recovered {
    /// Writes the first membership, then that the group is formed. Both are durable afterwards. Blocks.
    pub fn form(&mut self, identity: &Identity, data_path: &Path) -> Result<(), Failure> {
        self.conf_state = self.group.conf_state();
        form(&mut self.writer, &self.group)?;
        self.group.formed = true;
        self.group.store(data_path, identity)?;
        Ok(())
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
    if !group.formed && group.voters.len() == 1 {
        // Nobody else could know of entries that this disk has lost. Also after a crash between making the log and
        // saying so.
        let payload = form(&mut log.writer, &group)?;
        let found = longbow_wal::RecoveredGroup {
            hard_state: longbow_wal::HardState::default(),
            conf_state: None,
            first_index: 1,
            last_index: 0,
        };
        let found = log.recovered.groups.entry(GROUP).or_insert(found);
        found.conf_state = Some(payload.into());
        group.formed = true;
        group.store(data_path, identity)?;
    }
    Ok((group, log))
}

/// Writes the first membership.
fn form(writer: &mut Writer, group: &Group) -> Result<Vec<u8>, Failure> {
    let payload = group.conf_state().encode_to_vec();
    writer.conf_state(GROUP, &payload).map_err(failure_of)?;
    writer.flush().map_err(failure_of)?;
    Ok(payload)
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
