//! The one thread that owns raft and the catalogue: it waits in one place and acts in another.
//!
//! A turn: take all mail, feed it to raft, perform raft's effects until there are none, tell the world. Nothing in here
//! blocks on a disk or a socket.

mod append;
mod apply;
mod change;
mod fatal;
mod install;
mod reads;
mod retain;
mod tick;

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use longbow_cluster::credit::Ledger;
use longbow_cluster::raft_core::{CoreConfig, Effects, RaftCore, Restored};
use longbow_node::{gossip::Gossip, http::Readiness};
use longbow_types::{Error, ErrorCode, NodeId, Result};
use longbow_wire::internal::GetKeeperStatusResponse;

use crate::{
    Config,
    committed::Committed,
    disk::{DiskQueue, End},
    group::Group,
    latch::Latch,
    mailbox::{Mail, Mailbox, Refusal, Request, Stop},
    recover::DurableLog,
    roster::{self, Roster},
    state::State,
    status::{Fatal, Shared, View},
    transport::Transport,
};

use append::Pending;
use change::PendingChange;
use install::Installing;
use reads::Reads;
use retain::Retention;
use tick::Ticks;

/// Ticks of one election timeout.
const ELECTION_TICKS: usize = 10;
const HEARTBEAT_TICKS: usize = 2;
/// Who was not heard of for so long is not counted on when the group changes: two heartbeats may be late.
const SILENT_TICKS: u32 = 3 * HEARTBEAT_TICKS as u32;
/// So many election timeouts may one flush take before a leader gives up leading.
const HUNG_ELECTIONS: usize = 4;
/// Raft messages with entries on their way to one member, and their size.
const INFLIGHT_MAX: usize = 32;
const MESSAGE_BYTES_MAX: u64 = 1 << 20;

/// What the engine works with.
pub(crate) struct Parts {
    pub node_id: NodeId,
    pub group: Group,
    /// Everybody else's view of who is in the group; the engine says.
    pub roster: Arc<Roster>,
    /// Which life of this node: a signal about its disk belongs to it.
    pub generation: u64,
    pub restored: Restored,
    pub log: DurableLog,
    pub state: State,
    pub mailbox: Arc<Mailbox>,
    pub disk: Arc<DiskQueue>,
    pub committed: Arc<Committed>,
    pub shared: Arc<Shared>,
    pub latch: Arc<Latch>,
    /// Which shards are there.
    pub gossip: Gossip,
    pub transport: Transport,
    pub readiness: Readiness,
    /// States to write to disk, one at a time.
    pub checkpoints: mpsc::SyncSender<State>,
}

pub(crate) struct Engine {
    core: RaftCore<DurableLog>,
    parts: Parts,
    pending: BTreeMap<u64, Pending>,
    reads: Reads,
    /// When each member was heard of last.
    heard: BTreeMap<u64, Instant>,
    retention: Retention,
    ticks: Ticks,
    credit: Ledger,
    /// A change of the group that somebody waits for.
    change: Option<PendingChange>,
    /// A snapshot that is not part of this keeper's state yet.
    installing: Option<Installing>,
    tick: Duration,
    next_tick: Instant,
    checkpoint_interval: Duration,
    last_checkpoint: Instant,
    /// Entries applied since the last checkpoint.
    uncheckpointed: u64,
    /// The term that this keeper leads.
    led_term: Option<u64>,
    /// Since when.
    led_since: Instant,
    /// What watchers see has changed.
    view_stale: bool,
    fatal: Option<Fatal>,
    /// The engine ends, at the latest then.
    stopping: Option<Instant>,
    /// Somebody was offered leadership.
    hands_over: bool,
    /// When leadership may be offered again because the disk hangs.
    next_offer: Instant,
    /// What must be applied before this keeper is ready: what was committed when it started. Alone, it will commit
    /// everything it has.
    ready_at: u64,
}

/// Runs the thread. It ends when the mailbox says so.
pub(crate) fn spawn(config: &Config, mut parts: Parts) -> Result<thread::JoinHandle<Result<(), String>>> {
    let core_config = CoreConfig {
        election_ticks: ELECTION_TICKS,
        heartbeat_ticks: HEARTBEAT_TICKS,
        message_bytes_max: MESSAGE_BYTES_MAX,
        inflight_max: INFLIGHT_MAX,
        uncommitted_bytes_max: config.queue_bytes as u64,
        cache_bytes_max: config.cache_bytes,
        ..CoreConfig::new(parts.group.raft_id)
    };
    let timeouts = Box::new(|range| rand::Rng::random_range(&mut rand::rng(), range));
    let log = DurableLog(parts.log.0.clone());
    let core = RaftCore::new(&core_config, parts.restored.clone(), log, timeouts)?;
    // What a crash may have left of an installation is finished: the next checkpoint says so.
    let uncheckpointed = u64::from(std::mem::take(&mut parts.state.snapshot_term) > 0);
    let parts_index = parts.state.index();
    let now = Instant::now();
    let tick = config.election_timeout / ELECTION_TICKS as u32;
    let mut engine = Engine {
        ready_at: match is_alone(&parts) {
            true => core.last_index(),
            false => core.commit_index(),
        },
        credit: Ledger::new(config.silent_credit_bytes, core.last_index()),
        core,
        parts,
        pending: BTreeMap::new(),
        reads: Reads::default(),
        retention: Retention::new(config, parts_index),
        ticks: Ticks::new(config.tick_interval),
        heard: BTreeMap::new(),
        change: None,
        installing: None,
        tick,
        next_tick: now + tick,
        checkpoint_interval: config.checkpoint_interval,
        last_checkpoint: now,
        uncheckpointed,
        led_term: None,
        led_since: now,
        view_stale: true,
        fatal: None,
        stopping: None,
        hands_over: false,
        next_offer: now,
    };
    let thread = thread::Builder::new().name("longbow-raft".to_owned());
    let spawned = thread.spawn(move || {
        engine.run();
        Ok(())
    });
    spawned.map_err(|error| Error::new(ErrorCode::Internal, format!("cannot start a thread: {error}")))
}

impl Engine {
    fn run(&mut self) {
        // First what is known to be committed, piece by piece: to campaign, raft reads all of it that is not applied.
        self.perform();
        if is_alone(&self.parts) && self.fatal.is_none() {
            self.core.campaign();
        }
        let end = loop {
            self.perform();
            self.publish();
            let mail = self.parts.mailbox.take(self.next_tick);
            if let Some(end) = self.turn(mail) {
                break end;
            }
        };
        self.refuse_all("the keeper stopped");
        self.parts.mailbox.close(&stopping());
        self.parts.disk.end(end);
        if end == End::Close && self.uncheckpointed > 0 && self.fatal.is_none() && self.installing.is_none() {
            // Waits for one under way; the receiver ends when we drop the sender.
            let _ = self.parts.checkpoints.send(self.parts.state.clone());
        }
    }

    /// One turn; tells how to end when it is time.
    fn turn(&mut self, mail: Mail) -> Option<End> {
        match mail.stop {
            Some(Stop::AtOnce) => return Some(End::Abandon),
            Some(Stop::Gracefully) => self.begin_stop(),
            None => {}
        }
        // One that was offered is not stored: at least its entries are to be offered again.
        self.uncheckpointed = self.uncheckpointed.max(u64::from(mail.checkpoint_missed));
        self.note_checkpoints(&mail);
        if let Some(index) = mail.checkpointed {
            self.retention.checkpointed = self.retention.checkpointed.max(index);
        }
        if let Some(cause) = &mail.disk_failed {
            self.fail_flush(cause);
        }
        if mail.removed {
            self.fail_removed();
        }
        if self.fatal.is_some() {
            self.refuse_mail(mail.requests);
            self.next_tick = Instant::now() + self.tick;
        } else {
            self.feed(mail);
        }
        let until = self.stopping?;
        let waits =
            self.fatal.is_none() && (!self.pending.is_empty() || self.hands_over && !self.has_successor());
        (!waits || Instant::now() >= until).then_some(match self.fatal {
            Some(_) => End::Abandon,
            None => End::Close,
        })
    }

    fn feed(&mut self, mail: Mail) {
        let now = Instant::now();
        if now >= self.next_tick {
            self.core.tick();
            self.leave_hung_disk(now);
            self.next_tick += self.tick;
            if self.next_tick <= now {
                // We were held up (a stopped process, a busy machine). To count all of it would start an election
                // before the messages that wait are even looked at.
                self.next_tick = now + self.tick;
            }
        }
        for message in &mail.messages {
            self.heard.insert(message.from, now);
            match self.core.step(message) {
                Err(error) if error.code == ErrorCode::Corruption => {
                    self.fail((&error).into());
                    return self.refuse_mail(mail.requests);
                }
                Err(error) => tracing::debug!(%error, "a raft message was refused"),
                Ok(()) => {}
            }
        }
        if let Some(number) = mail.flushed
            && let Some(at) = self.core.persisted(number)
        {
            self.finish_install(at);
        }
        for member in mail.unreachable {
            self.core.unreachable(member);
        }
        for (member, arrived) in mail.snapshots_sent {
            self.retention.sending.remove(&member);
            self.core.snapshot_sent(member, arrived);
        }
        for request in mail.requests {
            match request {
                Request::Append(append) => self.append(*append),
                Request::ReadIndex(reply) => self.reads.ask(reply),
                Request::Change(ask, reply) => self.change(&ask, reply),
                Request::Install(install) => self.install(*install),
                Request::Durable(shard, report, reply) => {
                    self.note(&shard, &report, now);
                    let _ = reply.send(Ok(()));
                }
                Request::Catalogue(reply) => drop(reply.send(Ok(self.parts.state.catalogue.clone()))),
            }
        }
        self.begin_reads();
        self.retain(now);
        self.tick_log_time(now);
    }

    /// A leader whose disk does not answer commits on the others' alone, and nothing at all once their copies are slow:
    /// somebody else should lead. What is offered and not taken is offered again after another while.
    fn leave_hung_disk(&mut self, now: Instant) {
        let patience = self.tick * (ELECTION_TICKS * HUNG_ELECTIONS) as u32;
        let hangs = self
            .parts
            .disk
            .flushing_for()
            .is_some_and(|took| took >= patience);
        if !hangs || !self.core.is_leader() || now < self.next_offer {
            return;
        }
        self.next_offer = now + patience;
        if let Some(member) = self.core.transfer_leadership() {
            tracing::warn!(member, "a flush hangs: leadership is offered to another keeper");
        }
    }

    /// Performs raft's effects until there are none.
    fn perform(&mut self) {
        while self.fatal.is_none() {
            let effects = self.core.effects();
            if let Some(error) = self.core.take_read_error() {
                return self.fail((&error).into());
            }
            if effects.is_empty() {
                return;
            }
            self.perform_one(effects);
        }
    }

    fn perform_one(&mut self, effects: Effects) {
        // Followers get their copy while our own disk is still at it.
        for message in effects.send {
            self.parts.transport.send(message);
        }
        for message in effects.send_snapshots {
            self.send_snapshot(message);
        }
        if let Some(persist) = effects.persist {
            self.persist(persist);
        }
        if !effects.committed.is_empty() {
            self.apply(effects.committed);
        }
        for read in effects.reads {
            self.reads.answer(read);
        }
        if effects.role_changed {
            self.view_stale = true;
            let leads = self.core.is_leader().then(|| self.core.term());
            if self.led_term != leads {
                (self.led_term, self.led_since) = (leads, Instant::now());
                self.lose_leadership();
            }
        }
    }

    /// Lets appends under way finish and hands leadership over, so that writes flow on without an election timeout.
    fn begin_stop(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        self.hands_over = self.fatal.is_none() && self.core.transfer_leadership().is_some();
        self.stopping = Some(Instant::now() + self.tick * ELECTION_TICKS as u32);
    }

    /// Whether another keeper leads. Before it does it may need this one's vote.
    fn has_successor(&self) -> bool {
        let leader = self.core.leader();
        leader.is_some_and(|leader| leader != self.parts.group.raft_id)
    }

    fn leader(&self) -> Option<NodeId> {
        if self.fatal.is_some() && self.core.is_leader() {
            return None;
        }
        self.core.leader().and_then(|id| self.parts.roster.node_of(id))
    }

    /// This keeper does not lead: who does?
    fn not_leader(&self) -> Refusal {
        let mut refusal = Refusal::certain(Error::new(ErrorCode::NotLeader, "this keeper does not lead"));
        refusal.leader = self.leader();
        refusal
    }

    /// Tells the RPC, watchers and metrics how things are.
    fn publish(&mut self) {
        let applied = self.parts.state.catalogue.applied_index();
        let leader = self.leader();
        // The view before the status: whoever reads them the other way round knows how far the view is good.
        if self.view_stale && applied >= self.ready_at {
            self.view_stale = false;
            self.parts.shared.set_view(View {
                catalogue: self.parts.state.catalogue.to_proto(false),
                leader: leader.clone(),
            });
        }
        self.parts.shared.set_status(GetKeeperStatusResponse {
            leader: leader.as_ref().map(ToString::to_string).unwrap_or_default(),
            term: self.core.term(),
            commit_index: self.core.commit_index(),
            applied_index: applied,
            last_index: self.core.last_index(),
            fatal: self
                .fatal
                .as_ref()
                .map(|fatal| fatal.cause.clone())
                .unwrap_or_default(),
            checkpointed_index: self.retention.checkpointed,
            flush_failed: self.fatal.as_ref().is_some_and(|fatal| fatal.flush_failed),
            formed: true,
            ..GetKeeperStatusResponse::default()
        });
        let leads = self.core.is_leader() && self.fatal.is_none();
        self.parts.roster.set_leads(leads);
        metrics::gauge!("longbow_wal_commit_index").set(self.core.commit_index() as f64);
        metrics::gauge!("longbow_wal_leader").set(f64::from(u8::from(leads)));
        match (&self.fatal, leader) {
            (Some(fatal), _) => {
                let why = format!("this keeper stopped writing: {}", fatal.cause);
                self.parts.readiness.set(false, why);
            }
            (None, None) => self.parts.readiness.set(false, "no keeper leads"),
            (None, Some(_)) if applied < self.ready_at => {
                self.parts.readiness.set(false, "replaying the log")
            }
            (None, Some(_)) => self.parts.readiness.set(true, ""),
        }
        self.checkpoint();
    }

    /// Offers the state to the checkpoint thread now and then; what does not fit now fits later.
    fn checkpoint(&mut self) {
        let due = self.last_checkpoint.elapsed() >= self.checkpoint_interval;
        if self.uncheckpointed == 0 || !due || self.fatal.is_some() || self.installing.is_some() {
            return;
        }
        self.last_checkpoint = Instant::now();
        if self.parts.checkpoints.try_send(self.parts.state.clone()).is_ok() {
            self.uncheckpointed = 0;
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if thread::panicking() {
            // The others must not wait for a thread that is gone.
            let error = Error::new(ErrorCode::Internal, "the raft thread panicked");
            self.parts.shared.set_fatal((&error).into());
            self.parts.mailbox.close(&stopping());
            self.parts.disk.end(End::Abandon);
        }
    }
}

/// Whether this keeper decides alone.
fn is_alone(parts: &Parts) -> bool {
    let conf = parts.state.keepers.conf_state();
    conf.voters == [parts.group.raft_id] && conf.voters_outgoing.is_empty()
}

fn stopping() -> Error {
    Error::new(ErrorCode::Stopping, "the keeper is stopping")
}
