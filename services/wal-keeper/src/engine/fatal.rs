//! The disk failed, or the log is damaged: nothing is acknowledged, voted or synced any more. What is committed is still served.

use std::collections::VecDeque;

use longbow_types::{Error, ErrorCode};

use super::{Engine, roster};
use crate::{
    mailbox::{Refusal, Request},
    status::Fatal,
};

impl Engine {
    /// A flush failed: stops writing for good, and raises this keeper's signal.
    pub(super) fn fail_flush(&mut self, cause: &str) {
        if self.fatal.is_none() {
            metrics::counter!("longbow_wal_fatal_total").increment(1);
        }
        // The signal first: it waits for nothing.
        let me = &self.parts.node_id;
        self.parts.latch.observe(me, self.parts.generation, Some(cause));
        self.fail(Fatal::flush(cause));
    }

    /// This keeper was taken out of the group.
    pub(super) fn fail_removed(&mut self) {
        let error = roster::removed(&self.parts.node_id, self.parts.group.raft_id);
        self.fail((&error).into());
    }

    /// Stops writing for good.
    pub(super) fn fail(&mut self, fatal: Fatal) {
        if self.fatal.is_some() {
            return;
        }
        tracing::error!(cause = fatal.cause, "this keeper stops writing");
        // If a follower has everything it may take over at once; nothing of this needs our disk.
        if self.core.transfer_leadership().is_some() {
            for message in self.core.effects().send {
                self.parts.transport.send(message);
            }
        }
        self.fatal = Some(fatal.clone());
        self.view_stale = true;
        self.refuse_all("the keeper failed");
        self.parts.shared.set_fatal(fatal);
    }

    /// Whoever asks something of a keeper that has failed.
    pub(super) fn refuse_mail(&mut self, requests: VecDeque<Request>) {
        for request in requests {
            let tripped = self.parts.latch.refusal();
            let refusal = match (&request, tripped) {
                (Request::Append(_), Some(error)) => Refusal::certain(error),
                _ => self.failed(),
            };
            request.refuse(refusal);
        }
    }

    fn failed(&self) -> Refusal {
        let cause = self.fatal.as_ref().map_or("unknown", |fatal| &fatal.cause);
        let message = format!("this keeper stopped writing: {cause}");
        let mut refusal = Refusal::certain(Error::new(ErrorCode::NotLeader, message));
        refusal.leader = self.leader();
        refusal
    }
}
