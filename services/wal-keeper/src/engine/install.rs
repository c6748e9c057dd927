//! Snapshots: sent to members that the log does not reach any more, and installed by them.
//!
//! Installing takes two steps that are durable one after the other: the state as a checkpoint, marked as one whose log
//! begins behind it, then the log's start record. A crash before the first leaves the old state and log; one between
//! is finished by the next start; what raft hands over meanwhile waits for the first.

use longbow_cluster::raft_core::{Persist, SnapshotAt};
use longbow_types::{Error, ErrorCode};
use longbow_wire::internal::RaftMessage;

use super::Engine;
use crate::{
    mailbox::{Install, Mail, Refusal},
    state::State,
};

/// A snapshot that is not part of this keeper's state yet.
pub(super) struct Installing {
    state: State,
    /// Raft has taken it, and it is to be made durable.
    at: Option<SnapshotAt>,
    /// The checkpoint thread has it.
    offered: bool,
    /// It is durable as a checkpoint.
    stored: bool,
    /// What the log may hold only after that.
    jobs: Vec<Persist>,
}

impl Engine {
    /// Sends a member the state that raft says it needs.
    pub(super) fn send_snapshot(&mut self, message: RaftMessage) {
        let state = &self.parts.state;
        let wanted = message.snapshot.as_ref();
        let fits = wanted.is_some_and(|at| {
            at.index == state.index() && at.conf_state.as_ref() == Some(state.keepers.conf_state())
        });
        if !fits {
            // More was applied since raft wrote the message: it writes another.
            return self.core.snapshot_sent(message.to, false);
        }
        self.retention.sending.insert(message.to, state.index());
        let mut state = state.clone();
        state.snapshot_term = wanted.map_or(0, |at| at.term);
        self.parts.transport.send_snapshot(message, state);
    }

    /// A snapshot has come. Raft says whether it is needed.
    pub(super) fn install(&mut self, install: Install) {
        let Install {
            message,
            state,
            reply,
        } = install;
        let busy = || Error::new(ErrorCode::Overloaded, "another snapshot is being installed");
        let is_busy = self
            .installing
            .as_ref()
            .is_some_and(|installing| installing.at.is_some());
        let taken = match is_busy || self.stopping.is_some() {
            true => Err(busy()),
            false => self.core.install(&message),
        };
        if taken.is_ok() {
            // Until raft takes it, the next one may replace it.
            self.installing = Some(Installing {
                state,
                at: None,
                offered: false,
                stored: false,
                jobs: Vec::new(),
            });
            self.perform();
            self.installing.take_if(|installing| installing.at.is_none());
        }
        let _ = reply.send(taken.map_err(Refusal::certain));
    }

    /// Hands a job to the disk, in order; while a snapshot is not durable as a checkpoint, the job waits.
    pub(super) fn persist(&mut self, job: Persist) {
        if let (Some(at), Some(installing)) = (job.snapshot, &mut self.installing)
            && installing.at.is_none()
        {
            installing.at = Some(at);
            tracing::info!(index = at.index, "installing a snapshot");
        }
        match &mut self.installing {
            Some(installing) if installing.at.is_some() && !installing.stored => installing.jobs.push(job),
            _ => self.parts.disk.push(job),
        }
        self.offer_snapshot();
    }

    /// Offers the snapshot to the checkpoint thread, which may be busy with another state.
    fn offer_snapshot(&mut self) {
        let Some(installing) = &mut self.installing else {
            return;
        };
        if installing.at.is_some() && !installing.offered {
            installing.offered = self.parts.checkpoints.try_send(installing.state.clone()).is_ok();
        }
    }

    /// What the checkpoint thread tells.
    pub(super) fn note_checkpoints(&mut self, mail: &Mail) {
        if let Some(installing) = &mut self.installing
            && let Some(at) = installing.at
        {
            if mail.checkpointed == Some(at.index) && !installing.stored {
                installing.stored = true;
                for job in std::mem::take(&mut installing.jobs) {
                    self.parts.disk.push(job);
                }
            } else if mail.checkpoint_missed && !installing.stored {
                installing.offered = false;
            }
            self.offer_snapshot();
        }
    }

    /// The log begins behind the snapshot: it is the state now.
    pub(super) fn finish_install(&mut self, at: SnapshotAt) {
        let Some(installing) = self.installing.take() else {
            let error = Error::new(ErrorCode::Internal, "a snapshot without its state was installed");
            return self.fail((&error).into());
        };
        self.parts.state = State {
            snapshot_term: 0,
            ..installing.state
        };
        self.parts
            .committed
            .restart(at.index, &self.parts.state.catalogue);
        self.core.applied(at.index);
        // Not marked any more: the log begins behind it.
        self.uncheckpointed = self.uncheckpointed.max(1);
        self.forget_pending(at.index);
        self.tell_group();
        metrics::counter!("longbow_wal_snapshots_installed_total").increment(1);
        tracing::info!(index = at.index, "a snapshot is installed");
    }
}
