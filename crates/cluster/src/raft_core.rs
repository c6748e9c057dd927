//! One member of one raft group: events in, effects out.
//!
//! A wrapper of raft-rs' `RawNode` that owns the order in which things must happen. The caller feeds ticks, messages,
//! proposals and the news that its disk has finished; after each it takes [`Effects`] and performs them. Messages that
//! may be sent only once something is durable stay in here until the caller says so.
//!
//! Pre-vote and check-quorum are on, reads are ReadIndex. There is no clock and no random source: election timeouts
//! come from the one handed in, so that a seed reproduces a run.

mod change;
mod convert;
mod install;
#[cfg(test)]
mod simulation;
mod storage;
#[cfg(test)]
mod tests;
mod types;

use std::{collections::VecDeque, ops::Range};

use bytes::Bytes;
use longbow_types::{Error, ErrorCode, Result};
use longbow_wire::internal::RaftMessage;
use raft::{
    Config, RawNode, StateRole,
    eraftpb::{EntryType, MessageType},
};
use slog::{Discard, Logger, o};

pub use change::MemberProgress;
pub use convert::is_vote;
pub use storage::LogReader;
pub use types::{
    CoreConfig, ENTRY_BYTES_MAX, Effects, HardState, Persist, Proposed, RaftRole, ReadState, Restored,
    SnapshotAt,
};

use storage::CachedStorage;

/// The random source of election timeouts: a number of the range.
pub type TimeoutSource = Box<dyn FnMut(Range<usize>) -> usize + Send>;

/// Messages that wait for the disk.
struct Waiting {
    number: u64,
    needs_sync: bool,
    /// The term or the vote in it is new.
    is_promise: bool,
    messages: Vec<RaftMessage>,
}

const HEARTBEAT_ANSWER: i32 = MessageType::MsgHeartbeatResponse as i32;

/// raft-rs draws timeouts of its own from this wide a range: none of them falls into ours by chance.
const FOREIGN_TIMEOUTS: usize = 1 << 40;

/// One member of one group.
pub struct RaftCore<R: LogReader> {
    node: RawNode<CachedStorage<R>>,
    timeouts: TimeoutSource,
    election_ticks: usize,
    waiting: VecDeque<Waiting>,
    released: Vec<RaftMessage>,
    /// Leader, role and term, as last told.
    last_soft: (u64, StateRole, u64),
    /// The hard state that was last to be made durable.
    promised: HardState,
    /// The snapshot that is being installed, and the number that it becomes durable with.
    installing: Option<(u64, SnapshotAt)>,
}

impl<R: LogReader> RaftCore<R> {
    /// Starts from what is on disk: `reader` reads the durable log.
    pub fn new(config: &CoreConfig, restored: Restored, reader: R, timeouts: TimeoutSource) -> Result<Self> {
        let last = reader.last_index();
        let mut hard_state = restored.hard_state;
        // The stored commit index is written lazily; what is applied was committed.
        hard_state.commit = hard_state.commit.max(restored.applied);
        let first = reader.first_index();
        if restored.applied + 1 < first {
            let message = format!(
                "the state machine has applied entry {}, the log begins at {first}: the entries between are gone; \
                 remove this keeper from the group, empty its data path and add it again",
                restored.applied
            );
            return Err(Error::new(ErrorCode::Corruption, message));
        }
        if hard_state.commit > last {
            let message = format!(
                "entry {} was committed, the log ends at {last}: the log lost entries",
                hard_state.commit
            );
            return Err(Error::new(ErrorCode::Corruption, message));
        }
        let raft_config = Config {
            id: config.raft_id,
            election_tick: config.election_ticks,
            heartbeat_tick: config.heartbeat_ticks,
            applied: restored.applied,
            max_size_per_msg: config.message_bytes_max,
            max_inflight_msgs: config.inflight_max,
            check_quorum: true,
            pre_vote: true,
            min_election_tick: config.election_ticks,
            max_election_tick: config.election_ticks + FOREIGN_TIMEOUTS,
            max_uncommitted_size: config.uncommitted_bytes_max,
            max_committed_size_per_ready: config.committed_bytes_max,
            ..Config::default()
        };
        let mut storage =
            CachedStorage::new(hard_state, &restored.conf_state, reader, config.cache_bytes_max);
        storage.set_applied(restored.applied);
        let logger = Logger::root(Discard, o!());
        let node = RawNode::new(&raft_config, storage, &logger)
            .map_err(|error| Error::new(ErrorCode::Internal, format!("raft: {error}")))?;
        let last_soft = (node.raft.leader_id, node.raft.state, node.raft.term);
        let mut core = Self {
            node,
            timeouts,
            election_ticks: config.election_ticks,
            waiting: VecDeque::new(),
            released: Vec::new(),
            last_soft,
            promised: hard_state,
            installing: None,
        };
        core.draw_timeout();
        Ok(core)
    }

    /// Time has passed by one tick.
    pub fn tick(&mut self) {
        // To campaign, raft reads what is committed and not applied, which stands in no log while a snapshot is installed.
        if self.installing.is_some() {
            return;
        }
        self.node.tick();
        self.draw_timeout();
    }

    /// A message has come.
    ///
    /// An error with code `CORRUPTION` means that this member's log is shorter than others know it to have been: it
    /// must not vote any more. Other errors concern the message alone.
    pub fn step(&mut self, message: &RaftMessage) -> Result<()> {
        let message = convert::message_from_wire(message)?;
        if message.to != self.node.raft.id {
            return Err(refused(format!(
                "a message to {}, this is {}",
                message.to, self.node.raft.id
            )));
        }
        // Who became a member after the last entry that this one applied may ask it for votes, and lead it.
        if self.node.raft.prs().get(message.from).is_none() && is_answer(message.get_msg_type()) {
            return Err(refused(format!(
                "an answer from {}, who is no member",
                message.from
            )));
        }
        if self.installing.is_some() && message.get_msg_type() == MessageType::MsgTimeoutNow {
            return Err(refused("a snapshot is being installed".to_owned()));
        }
        self.check_step(&message)?;
        let stepped = self.node.step(message);
        self.draw_timeout();
        stepped.map_err(|error| refused(error.to_string()))
    }

    /// Proposes a command. An error means that it was not and never will be in the log.
    pub fn propose(&mut self, data: Bytes) -> Result<Proposed> {
        self.check_leads()?;
        self.propose_entry(EntryType::EntryNormal, data)
    }

    fn propose_entry(&mut self, entry_type: EntryType, data: Bytes) -> Result<Proposed> {
        let mut message = raft::eraftpb::Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.node.raft.id;
        let entry = raft::eraftpb::Entry {
            entry_type,
            data,
            ..Default::default()
        };
        message.set_entries(vec![entry].into());
        match self.node.raft.step(message) {
            Ok(()) => Ok(Proposed {
                index: self.node.raft.raft_log.last_index(),
                term: self.node.raft.term,
            }),
            Err(_) if self.node.raft.lead_transferee.is_some() => Err(Error::new(
                ErrorCode::NotLeader,
                "leadership is being handed over",
            )),
            Err(_) => Err(Error::new(
                ErrorCode::Overloaded,
                "too many bytes wait to be committed",
            )),
        }
    }

    /// Asks what a fresh read must have applied; answered by [`Effects::reads`]. `request` must not be under way already.
    pub fn read_index(&mut self, request: u64) -> Result<()> {
        self.check_leads()?;
        if !self.leads_knowingly() {
            let message = "the leader has not committed an entry of its term yet";
            return Err(Error::new(ErrorCode::NoLeader, message));
        }
        self.node.read_index(request.to_le_bytes().to_vec());
        Ok(())
    }

    /// Everything up to this number, and what came before it, is durable. If that made a snapshot so, tells it: it must
    /// be the state machine's state, and [`applied`](Self::applied), before anything else is asked of this member.
    pub fn persisted(&mut self, number: u64) -> Option<SnapshotAt> {
        let mut done = None;
        while let Some(front) = self.waiting.front() {
            // What needs no sync of its own waits only for those before it.
            if front.number > number && front.needs_sync {
                break;
            }
            done = Some(front.number);
            if let Some(front) = self.waiting.pop_front() {
                self.released.extend(front.messages);
            }
        }
        if let Some(done) = done {
            self.node.on_persist_ready(done);
            let persisted = self.node.raft.raft_log.persisted;
            self.node.mut_store().set_persisted(persisted);
        }
        let (_, at) = self.installing.take_if(|(until, _)| *until <= number)?;
        Some(at)
    }

    /// Everything up to this index is applied.
    pub fn applied(&mut self, index: u64) {
        self.node.advance_apply_to(index);
        self.node.mut_store().set_applied(index);
    }

    /// Offers leadership to the member whose log is most complete among those heard of lately. `None`: there is nobody.
    pub fn transfer_leadership(&mut self) -> Option<u64> {
        if !self.is_leader() {
            return None;
        }
        let raft = &self.node.raft;
        let voters = raft.prs().conf().voters().ids();
        let target = raft
            .prs()
            .iter()
            .filter(|(id, progress)| **id != raft.id && progress.recent_active && voters.contains(**id))
            .max_by_key(|(id, progress)| (progress.matched, **id))
            .map(|(id, _)| *id)?;
        self.node.transfer_leader(target);
        Some(target)
    }

    /// Starts an election now.
    pub fn campaign(&mut self) {
        let _ = self.node.campaign();
        self.draw_timeout();
    }

    /// A member could not be reached: raft probes it before it sends more.
    pub fn unreachable(&mut self, member: u64) {
        self.node.report_unreachable(member);
    }

    /// What is to be done now. Call until it is empty.
    pub fn effects(&mut self) -> Effects {
        let mut effects = Effects {
            send: std::mem::take(&mut self.released),
            ..Effects::default()
        };
        if !self.node.has_ready() {
            effects.part_snapshots();
            return effects;
        }
        let mut ready = self.node.ready();
        effects
            .send
            .extend(convert::messages_to_wire(ready.take_messages()));
        effects.reads = ready
            .take_read_states()
            .into_iter()
            .filter_map(read_state)
            .collect();
        effects.committed = ready
            .take_committed_entries()
            .into_iter()
            .map(convert::entry_to_wire)
            .collect();
        let snapshot = self.take_snapshot(&ready);
        let entries = ready.take_entries();
        let mut held = convert::messages_to_wire(ready.take_persisted_messages());
        let (number, must_sync) = (ready.number(), ready.must_sync());
        let hard_state = ready.hs().map(convert::hard_state);
        let is_promise = hard_state.is_some_and(|new| self.node.store().promises(new));
        self.node.mut_store().append(&entries);
        if let Some(hard_state) = hard_state {
            self.node.mut_store().set_hard_state(hard_state);
        }
        self.node.advance_append_async(ready);
        if must_sync {
            // The commit index with it, whenever it moved: an entry that changes the membership is durable only
            // together with the knowledge that the change before it is committed.
            let current = convert::hard_state(&self.node.raft.hard_state());
            let hard_state = (current != self.promised).then_some(current);
            self.promised = current;
            effects.persist = Some(Persist {
                number,
                snapshot,
                entries: entries.into_iter().map(convert::entry_to_wire).collect(),
                hard_state,
            });
        }
        // Answering a heartbeat says that this member is there and in this term, nothing about its log. So it waits
        // for a new term to be durable, but not for entries: a slow disk must not look like a dead member.
        if !is_promise && !self.waiting.iter().any(|waiting| waiting.is_promise) {
            let is_pulse = |message: &mut RaftMessage| message.msg_type == HEARTBEAT_ANSWER;
            effects.send.extend(held.extract_if(.., is_pulse));
        }
        self.waiting.push_back(Waiting {
            number,
            needs_sync: must_sync,
            is_promise,
            messages: held,
        });
        if self.waiting.len() == 1 && !must_sync {
            self.persisted(number);
            effects.send.append(&mut self.released);
        }
        let soft = (
            self.node.raft.leader_id,
            self.node.raft.state,
            self.node.raft.term,
        );
        effects.role_changed = soft != self.last_soft;
        self.last_soft = soft;
        effects.part_snapshots();
        effects
    }

    /// Whether [`RaftCore::effects`] has something.
    pub fn has_effects(&self) -> bool {
        !self.released.is_empty() || self.node.has_ready()
    }

    /// What this member is.
    pub fn role(&self) -> RaftRole {
        match self.node.raft.state {
            StateRole::Leader => RaftRole::Leader,
            StateRole::Follower => RaftRole::Follower,
            StateRole::Candidate | StateRole::PreCandidate => RaftRole::Candidate,
        }
    }

    /// Whether this member leads.
    pub fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// Whether this member leads and has committed an entry of its term: then it knows all that was ever committed.
    pub fn leads_knowingly(&self) -> bool {
        self.is_leader() && self.node.raft.commit_to_current_term()
    }

    /// Who leads; `None` if unknown.
    pub fn leader(&self) -> Option<u64> {
        Some(self.node.raft.leader_id).filter(|&id| id != raft::INVALID_ID)
    }

    /// Current term.
    pub fn term(&self) -> u64 {
        self.node.raft.term
    }

    /// Last index known to be committed.
    pub fn commit_index(&self) -> u64 {
        self.node.raft.raft_log.committed
    }

    /// Last index in the log, durable or not.
    pub fn last_index(&self) -> u64 {
        self.node.raft.raft_log.last_index()
    }

    /// Why older entries could not be read, if that happened: the log is damaged.
    pub fn take_read_error(&mut self) -> Option<Error> {
        self.node.mut_store().take_read_error()
    }

    fn check_leads(&self) -> Result<()> {
        if self.is_leader() {
            return Ok(());
        }
        Err(Error::new(ErrorCode::NotLeader, "this keeper does not lead"))
    }

    /// What raft-rs would panic on, or take for a message of its own.
    fn check_step(&self, message: &raft::eraftpb::Message) -> Result<()> {
        let last = self.node.raft.raft_log.last_index();
        let is_current = message.term >= self.node.raft.term;
        if message.term == 0 {
            return Err(refused("a message without a term".to_owned()));
        }
        match message.get_msg_type() {
            MessageType::MsgHeartbeat if is_current && message.commit > last => {
                let message = format!(
                    "the leader knows this keeper to have had entry {}, its log ends at {last}: the log lost entries",
                    message.commit
                );
                Err(Error::new(ErrorCode::Corruption, message))
            }
            MessageType::MsgAppend => check_append(message, last),
            MessageType::MsgAppendResponse if !message.reject && message.index > last => Err(refused(
                format!("it has entry {}, the leader's log ends at {last}", message.index),
            )),
            _ => Ok(()),
        }
    }

    /// Replaces a timeout that raft-rs drew by one of ours. Called after everything that may reset it.
    fn draw_timeout(&mut self) {
        let range = self.election_ticks..2 * self.election_ticks;
        if !range.contains(&self.node.raft.randomized_election_timeout()) {
            let ticks = (self.timeouts)(range);
            self.node.raft.set_randomized_election_timeout(ticks);
        }
    }
}

/// Answers concern what this member asked, and so come from those that it knows.
fn is_answer(msg_type: MessageType) -> bool {
    use MessageType as T;
    matches!(
        msg_type,
        T::MsgAppendResponse
            | T::MsgRequestVoteResponse
            | T::MsgRequestPreVoteResponse
            | T::MsgHeartbeatResponse
    )
}

fn check_append(message: &raft::eraftpb::Message, last: u64) -> Result<()> {
    // raft-rs takes term 0 for that of any index it does not have.
    if message.index > last && message.log_term == 0 {
        return Err(refused(format!(
            "entries behind {}, which has no term",
            message.index
        )));
    }
    let mut before = (message.index, message.log_term);
    for entry in message.entries.iter() {
        let follows = before.0.checked_add(1) == Some(entry.index);
        if !follows || entry.term < before.1 || entry.term > message.term {
            return Err(refused("entries out of order".to_owned()));
        }
        before = (entry.index, entry.term);
    }
    Ok(())
}

fn read_state(state: raft::ReadState) -> Option<ReadState> {
    let request = u64::from_le_bytes(state.request_ctx.try_into().ok()?);
    Some(ReadState {
        request,
        index: state.index,
    })
}

fn refused(why: String) -> Error {
    Error::new(ErrorCode::InvalidValue, format!("raft message refused: {why}"))
}
