//! Changing the group: asked by an operator, planned by the leader, made by an entry of the log.

use std::{collections::BTreeMap, time::Instant};

use longbow_cluster::keepers::{Ask, Change, Plan, Progress, Situation, plan};
use longbow_types::{Error, ErrorCode};
use longbow_wire::internal::{ChangeKeepersResponse, RaftEntry, RaftEntryType};
use tokio::sync::oneshot;

use super::{Engine, SILENT_TICKS};
use crate::mailbox::Refusal;

type Reply = oneshot::Sender<Result<ChangeKeepersResponse, Refusal>>;

/// A change that is proposed and not done yet.
pub(super) struct PendingChange {
    index: u64,
    term: u64,
    reply: Reply,
}

impl Engine {
    /// Plans what an operator asks for, and proposes it. Answered when it is done.
    pub(super) fn change(&mut self, ask: &Ask, reply: Reply) {
        if !self.core.is_leader() || self.stopping.is_some() {
            let _ = reply.send(Err(self.not_leader()));
            return;
        }
        match self.plan_change(ask) {
            Ok(Plan::Propose(change)) => self.propose_change(&change, reply),
            Ok(Plan::Done) => {
                let _ = reply.send(Ok(self.group_now()));
            }
            Ok(Plan::HandOver) => {
                // The next leader is asked again, by whoever asked.
                self.core.transfer_leadership();
                let message = "the leader hands over before it is removed";
                let _ = reply.send(Err(Refusal::certain(Error::new(ErrorCode::NotLeader, message))));
            }
            Err(error) => {
                let _ = reply.send(Err(Refusal::certain(error)));
            }
        }
    }

    fn plan_change(&self, ask: &Ask) -> Result<Plan, Error> {
        if !self.core.leads_knowingly() {
            let message = "the leader has not caught up with its log yet";
            return Err(Error::new(ErrorCode::NoLeader, message));
        }
        if self.led_since.elapsed() < self.tick * SILENT_TICKS {
            let message = "the leader has just begun to lead, and does not know yet who is there";
            return Err(Error::new(ErrorCode::NoLeader, message));
        }
        let me = self.parts.group.raft_id;
        // raft itself only looks back over a whole election timeout.
        let now = Instant::now();
        let is_heard = |id: u64| {
            let heard = self.heard.get(&id);
            id == me || heard.is_some_and(|at| now.duration_since(*at) < self.tick * SILENT_TICKS)
        };
        let progress: BTreeMap<u64, Progress> = self
            .core
            .progress()
            .into_iter()
            .map(|(id, progress)| {
                let first_index = match id == me {
                    true => Some(self.parts.committed.first_index()),
                    false => self.parts.roster.first_index_of(id),
                };
                let progress = Progress {
                    matched: progress.matched,
                    is_active: progress.is_active && is_heard(id),
                    first_index,
                };
                (id, progress)
            })
            .collect();
        let situation = Situation {
            keepers: &self.parts.state.keepers,
            me,
            last_index: self.core.last_index(),
            is_changing: self.core.is_changing(),
            needed_from: self.retention.let_go,
            progress: &progress,
        };
        plan(&situation, ask)
    }

    fn propose_change(&mut self, change: &Change, reply: Reply) {
        let entry = change.to_entry(&self.parts.state.keepers);
        match self.core.propose_change(&entry) {
            Ok(proposed) => {
                tracing::info!(?change, index = proposed.index, "the group is to change");
                self.change = Some(PendingChange {
                    index: proposed.index,
                    term: proposed.term,
                    reply,
                });
            }
            Err(error) => {
                let _ = reply.send(Err(Refusal::certain(error)));
            }
        }
    }

    /// An entry that changes the group is applied.
    pub(super) fn apply_change(&mut self, entry: &RaftEntry) {
        let applied = Change::decode(&entry.data).and_then(|change| {
            let conf = self.core.apply_change(&change)?;
            Ok((change, conf))
        });
        let (change, conf) = match applied {
            Ok(applied) => applied,
            // Checked before it was proposed; what cannot be read has no effect, here and everywhere.
            Err(error) => {
                tracing::error!(index = entry.index, %error, "a change of the group has no effect");
                return;
            }
        };
        self.parts.state.keepers.apply(entry.index, &change, conf);
        self.tell_group();
        let keepers = &self.parts.state.keepers;
        tracing::info!(index = entry.index, conf = ?keepers.conf_state(), "the group has changed");
        if keepers.member(self.parts.group.raft_id).is_none() && keepers.was_given(self.parts.group.raft_id) {
            self.fail_removed();
        }
    }

    /// Tells everybody beside the engine who is in the group.
    pub(super) fn tell_group(&mut self) {
        let keepers = &self.parts.state.keepers;
        self.parts.roster.set(keepers.clone());
        self.parts.latch.set_voters(keepers.voters());
        self.parts.transport.keep(keepers);
        self.heard.retain(|id, _| keepers.member(*id).is_some());
        self.view_stale = true;
    }

    /// Answers whoever waits for a change, if it is done or certainly never will be.
    pub(super) fn resolve_change(&mut self) {
        let Some(change) = self.change.take() else {
            return;
        };
        let keepers = &self.parts.state.keepers;
        if self.parts.state.index() < change.index || keepers.is_joint() {
            self.change = Some(change);
        } else if keepers.index() >= change.index {
            let _ = change.reply.send(Ok(self.group_now()));
        } else {
            // raft found another change under way and let it come to nothing.
            tracing::warn!(
                index = change.index,
                term = change.term,
                "a change of the group came to nothing"
            );
            let message = "another change of the keepers' group was under way";
            let error = Error::new(ErrorCode::MembershipChanging, message);
            let _ = change.reply.send(Err(Refusal::certain(error)));
        }
    }

    /// Nobody here will learn any more what becomes of a change under way.
    pub(super) fn lose_change(&mut self) {
        if let Some(change) = self.change.take() {
            let message = "leadership was lost before the change was done; it may still be";
            let _ = change.reply.send(Err(Refusal {
                error: Error::new(ErrorCode::NotLeader, message),
                leader: self.leader(),
                outcome_unknown: true,
            }));
        }
    }

    fn group_now(&self) -> ChangeKeepersResponse {
        ChangeKeepersResponse {
            membership: Some(self.parts.state.keepers.to_proto()),
        }
    }
}

/// Whether an entry changes the group.
pub(super) fn is_change(entry: &RaftEntry) -> bool {
    entry.entry_type() == RaftEntryType::ConfChangeV2
}
