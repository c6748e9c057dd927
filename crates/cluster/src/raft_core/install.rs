//! Snapshots: ordered among entries by raft, their bytes carried outside.

use longbow_types::{Error, ErrorCode, Result};
use longbow_wire::internal::RaftMessage;
use raft::{Ready, SnapshotStatus, eraftpb::MessageType};

use super::{LogReader, RaftCore, SnapshotAt, convert, refused};

pub(super) const SNAPSHOT: i32 = MessageType::MsgSnapshot as i32;

impl<R: LogReader> RaftCore<R> {
    /// A snapshot has come, whole and checked: its configuration is one that raft can have, and names this member.
    ///
    /// If raft wants it, [`Persist::snapshot`](super::Persist::snapshot) says so; it may not need it any more.
    pub fn install(&mut self, message: &RaftMessage) -> Result<()> {
        if self.installing.is_some() {
            return Err(Error::new(ErrorCode::Overloaded, "a snapshot is being installed"));
        }
        let message = convert::snapshot_from_wire(message)?;
        if message.to != self.node.raft.id {
            return Err(refused(format!("a snapshot for {}", message.to)));
        }
        let stepped = self.node.step(message);
        self.draw_timeout();
        stepped.map_err(|error| refused(error.to_string()))
    }

    /// Whether a snapshot is on its way to the disk.
    #[cfg(test)]
    pub fn is_installing(&self) -> bool {
        self.installing.is_some()
    }

    /// A snapshot for a member has been sent, or could not be: raft goes on from there, or tries again.
    pub fn snapshot_sent(&mut self, member: u64, arrived: bool) {
        let status = match arrived {
            true => SnapshotStatus::Finish,
            false => SnapshotStatus::Failure,
        };
        self.node.report_snapshot(member, status);
    }

    /// The snapshot that raft accepted, if it did.
    pub(super) fn take_snapshot(&mut self, ready: &Ready) -> Option<SnapshotAt> {
        let metadata = Some(ready.snapshot())
            .filter(|snapshot| !snapshot.is_empty())?
            .get_metadata();
        let at = SnapshotAt {
            index: metadata.index,
            term: metadata.term,
        };
        let conf = convert::conf_state_to_wire(metadata.get_conf_state().clone());
        let number = ready.number();
        let store = self.node.mut_store();
        store.install(at);
        store.set_conf_state(&conf);
        self.installing = Some((number, at));
        Some(at)
    }
}
