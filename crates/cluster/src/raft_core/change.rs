//! Who is in the group, and changing it.

use std::collections::BTreeMap;

use bytes::Bytes;
use longbow_types::{Error, ErrorCode, Result};
use longbow_wire::internal::{RaftConfChange, RaftConfChangeType, RaftConfState, RaftConfTransition};
use prost::Message as _;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, EntryType};

use super::{LogReader, Proposed, RaftCore, convert};

/// What a leader knows of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberProgress {
    /// Last entry known to be in its log.
    pub matched: u64,
    /// Whether it was heard of within an election timeout.
    pub is_active: bool,
}

impl<R: LogReader> RaftCore<R> {
    /// Proposes a change of membership. An error means that it was not and never will be in the log.
    pub fn propose_change(&mut self, change: &RaftConfChange) -> Result<Proposed> {
        self.check_leads()?;
        if self.is_changing() {
            return Err(Error::new(
                ErrorCode::MembershipChanging,
                "a change of membership is not applied yet",
            ));
        }
        self.propose_entry(EntryType::EntryConfChangeV2, Bytes::from(change.encode_to_vec()))
    }

    /// A change of membership is being applied: what it makes of the configuration. An error means that it has no
    /// effect, here and everywhere.
    ///
    /// Called while its entry is applied, before [`applied`](Self::applied) is.
    pub fn apply_change(&mut self, change: &RaftConfChange) -> Result<RaftConfState> {
        let conf = self.node.apply_conf_change(&to_raft(change));
        let conf = conf.map_err(|error| Error::new(ErrorCode::InvalidValue, format!("raft: {error}")))?;
        let conf = convert::conf_state_to_wire(conf);
        self.node.mut_store().set_conf_state(&conf);
        let leads = self.is_leader();
        let raft = &mut self.node.raft;
        if leads && raft.prs().get(raft.id).is_none() {
            // Removed by the leader before, whose change it was left to finish. raft-rs would go on leading, and panic.
            raft.become_follower(raft.term, raft::INVALID_ID);
            self.draw_timeout();
        }
        Ok(conf)
    }

    /// Whether a change may be under way: proposed and not applied, or half done.
    pub fn is_changing(&self) -> bool {
        let raft = &self.node.raft;
        raft.has_pending_conf() || !raft.prs().conf().to_conf_state().voters_outgoing.is_empty()
    }

    /// What this member, which leads, knows of each, by id.
    pub fn progress(&self) -> BTreeMap<u64, MemberProgress> {
        let me = self.node.raft.id;
        let of = |(id, progress): (&u64, &raft::Progress)| {
            let progress = MemberProgress {
                matched: progress.matched,
                is_active: progress.recent_active || *id == me,
            };
            (*id, progress)
        };
        self.node.raft.prs().iter().map(of).collect()
    }
}

/// Field by field: no byte that came from a peer is parsed by protobuf 2.
fn to_raft(change: &RaftConfChange) -> ConfChangeV2 {
    let mut out = ConfChangeV2::default();
    out.set_transition(match change.transition() {
        RaftConfTransition::Unspecified => ConfChangeTransition::Auto,
        RaftConfTransition::Implicit => ConfChangeTransition::Implicit,
        RaftConfTransition::Explicit => ConfChangeTransition::Explicit,
    });
    let singles = change.changes.iter().map(|single| {
        let mut out = ConfChangeSingle::default();
        out.set_change_type(match single.change_type() {
            RaftConfChangeType::Unspecified => ConfChangeType::AddNode,
            RaftConfChangeType::Remove => ConfChangeType::RemoveNode,
            RaftConfChangeType::AddLearner => ConfChangeType::AddLearnerNode,
        });
        out.node_id = single.raft_id;
        out
    });
    out.set_changes(singles.collect::<Vec<_>>().into());
    out
}
