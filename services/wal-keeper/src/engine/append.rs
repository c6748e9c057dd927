//! Appending: proposed now, answered when the entry is applied.

use bytes::Bytes;
use longbow_types::{Error, ErrorCode, Role};
use longbow_wire::{
    entry::{self, HEADER_BYTES_MAX},
    internal::{AppendResponse, entry_header::Command},
};
use prost::Message;
use tokio::sync::oneshot;

use longbow_cluster::catalogue::Applied;

use super::Engine;
use crate::{
    GROUP,
    mailbox::{Append, Refusal},
};

type Reply = oneshot::Sender<Result<AppendResponse, Refusal>>;

/// An append that is proposed and not applied yet.
pub(super) struct Pending {
    term: u64,
    reply: Reply,
    /// The caller can ask again without harm, so it need not wait for certainty when leadership is lost.
    may_repeat: bool,
}

impl Engine {
    pub(super) fn append(&mut self, append: Append) {
        let Append {
            mut header,
            encoded,
            body,
            reply,
        } = append;
        if let Some(first) = self
            .parts
            .state
            .catalogue
            .answer(header.producer, header.sequence)
        {
            answer(reply, &first, self.incarnation());
            return;
        }
        if !self.core.is_leader() || self.stopping.is_some() {
            let _ = reply.send(Err(self.not_leader()));
            return;
        }
        if let Some(error) = self.parts.latch.refusal() {
            count("refused");
            let _ = reply.send(Err(Refusal::certain(error)));
            return;
        }
        if let Some(error) = self.no_room(&header).or_else(|| self.no_credit(&header)) {
            count("refused");
            let _ = reply.send(Err(Refusal::certain(error)));
            return;
        }
        let encoded = match &mut header.command {
            Some(Command::CreateDataset(_)) if !self.core.leads_knowingly() => {
                // Placement needs the newest catalogue; it is moments away.
                let message = "the leader has not caught up with its log yet";
                let _ = reply.send(Err(Refusal::certain(Error::new(ErrorCode::NoLeader, message))));
                return;
            }
            Some(Command::CreateDataset(command)) => {
                let live = self.parts.gossip.live(Role::Shard);
                let live = live.into_iter().map(|shard| shard.node_id).collect();
                self.parts.state.catalogue.place(command, &live);
                let encoded = Bytes::from(header.encode_to_vec());
                // Placing made it longer. In the log it could not be read any more.
                if encoded.len() > HEADER_BYTES_MAX {
                    count("refused");
                    let message = format!("a header of {} bytes, with its partitions placed", encoded.len());
                    let error = Error::new(ErrorCode::TooLarge, message).field("header");
                    let _ = reply.send(Err(Refusal::certain(error.limit(HEADER_BYTES_MAX))));
                    return;
                }
                encoded
            }
            Some(Command::RegisterShard(command)) => {
                // The first one names the log. 0 is no name.
                command.log_id = self.parts.group.log_id.max(1);
                Bytes::from(header.encode_to_vec())
            }
            _ => encoded,
        };
        let may_repeat = header.producer != 0
            || matches!(
                header.command,
                Some(Command::RegisterShard(_) | Command::OpenProducer(_))
            );
        self.retention.appended += (encoded.len() + body.len()) as u64;
        match self.core.propose(entry::join(&encoded, &body)) {
            Ok(proposed) => {
                if let Some(Command::Write(write)) = &header.command {
                    let catalogue = &self.parts.state.catalogue;
                    self.credit.logged(proposed.index, write, catalogue);
                }
                let pending = Pending {
                    term: proposed.term,
                    reply,
                    may_repeat,
                };
                self.pending.insert(proposed.index, pending);
            }
            Err(error) if error.code == ErrorCode::NotLeader => {
                let _ = reply.send(Err(self.not_leader()));
            }
            Err(error) => {
                count("refused");
                let _ = reply.send(Err(Refusal::certain(error)));
            }
        }
    }

    /// The entry at this index is applied: whoever proposed one there learns what became of it.
    pub(super) fn resolve(&mut self, index: u64, term: u64, applied: &Applied) {
        let Some(pending) = self.pending.remove(&index) else {
            return;
        };
        if pending.term == term {
            answer(pending.reply, applied, self.incarnation());
        } else {
            // Another leader's entry took the place: this one is in no log and never will be.
            let _ = pending.reply.send(Err(self.not_leader()));
        }
    }

    fn incarnation(&self) -> u32 {
        self.parts.state.catalogue.incarnation()
    }

    /// Leadership of a term has ended or begun. Appends of the former may still be committed by the next leader: those
    /// who can ask again are told so at once, the others when it is certain.
    pub(super) fn lose_leadership(&mut self) {
        self.reads.refuse(&self.not_leader());
        self.lose_change();
        self.credit.rewind(self.parts.state.catalogue.applied_index());
        let (repeat, wait) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|(_, pending)| pending.may_repeat);
        self.pending = wait;
        let leader = self.leader();
        refuse(
            repeat,
            "leadership was lost before the entry was committed",
            leader,
        );
    }

    /// A snapshot covers everything up to an index: what became of appends there is not told.
    pub(super) fn forget_pending(&mut self, index: u64) {
        let later = self.pending.split_off(&(index + 1));
        let covered = std::mem::replace(&mut self.pending, later);
        let leader = self.leader();
        refuse(covered, "a snapshot took the place of the log", leader);
    }

    /// Nobody here will learn any more what became of the appends under way.
    pub(super) fn refuse_all(&mut self, why: &str) {
        self.reads.refuse(&self.not_leader());
        self.lose_change();
        let pending = std::mem::take(&mut self.pending);
        refuse(pending, why, None);
    }
}

fn refuse(
    pending: std::collections::BTreeMap<u64, Pending>,
    why: &str,
    leader: Option<longbow_types::NodeId>,
) {
    for pending in pending.into_values() {
        count("unknown");
        let _ = pending.reply.send(Err(Refusal {
            error: Error::new(ErrorCode::NotLeader, format!("{why}; it may have been written")),
            leader: leader.clone(),
            outcome_unknown: true,
        }));
    }
}

fn answer(reply: Reply, applied: &Applied, incarnation: u32) {
    let accepted = applied.verdict.code.is_empty();
    count(if accepted { "ok" } else { "refused" });
    // A caller that went away asks again if it cares.
    let _ = reply.send(Ok(AppendResponse {
        group: GROUP,
        incarnation,
        index: applied.index,
        verdict: Some(applied.verdict.clone()),
    }));
}

fn count(status: &'static str) {
    metrics::counter!("longbow_wal_writes_total", "status" => status).increment(1);
}
