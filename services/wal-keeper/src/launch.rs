//! Starting the threads that write, once this keeper may.

use std::{
    path::Path,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use longbow_cluster::raft_core::Restored;
use longbow_node::{gossip::Gossip, http::Readiness, identity::Identity, rpc::Peers, shutdown::Shutdown};
use longbow_types::{Error, ErrorCode, Result};
use longbow_wal::Spares;
use longbow_wire::internal::GetKeeperStatusResponse;
use tokio::time::Instant;

use crate::{
    Config, GROUP,
    checkpoint::{Checkpoints, Stored},
    committed::Committed,
    disk, engine,
    forming::{self, Own, Step},
    latch::Latch,
    mailbox::Mailbox,
    recover::{self, DurableLog, Recovered},
    roster::Roster,
    state::State,
    status::{Fatal, Shared},
    transport::Transport,
};

/// How often a keeper that waits to be added asks the others: it may wait for days.
const WAITING: Duration = Duration::from_secs(1);
/// How long the threads may take to end; a disk that hangs must not keep the process.
const JOIN_PATIENCE: Duration = Duration::from_secs(15);
const JOIN_PAUSE: Duration = Duration::from_millis(5);
/// How long the latch may take to be stored when the start failed.
const LATCH_PATIENCE: Duration = Duration::from_secs(5);

/// Everything that the threads need.
pub(crate) struct Launch {
    pub config: Config,
    pub identity: Identity,
    pub found: Recovered,
    pub mailbox: Arc<Mailbox>,
    pub committed: Arc<Committed>,
    pub shared: Arc<Shared>,
    pub latch: Arc<Latch>,
    pub roster: Arc<Roster>,
    pub peers: Peers,
    pub gossip: Gossip,
    pub readiness: Readiness,
    pub end: Shutdown,
}

/// What a keeper says of itself before its engine runs: what its disk says.
pub(crate) fn first_status(found: &Recovered) -> GetKeeperStatusResponse {
    GetKeeperStatusResponse {
        term: found.hard_state.term,
        applied_index: found.state.index(),
        last_index: found.reader.last_index(GROUP),
        formed: found.group.formed,
        ..GetKeeperStatusResponse::default()
    }
}

/// A start that failed. A failed flush counts although nothing runs yet: the latch is tripped before the error is told.
pub(crate) fn told(failure: recover::Failure, identity: &Identity, data_path: &Path) -> Error {
    if let Some(voters) = failure.flush_failed_of {
        match Latch::open(data_path, voters) {
            Ok(latch) => {
                let cause = failure.error.message.to_string();
                latch.observe(&identity.node_id, identity.generation, Some(&cause));
                latch.settle(LATCH_PATIENCE);
            }
            Err(error) => tracing::error!(%error, "the latch could not be opened"),
        }
    }
    failure.error
}

impl Launch {
    /// Whether the others must be asked before this keeper may vote.
    pub fn must_ask(&self) -> bool {
        let group = &self.found.group;
        let is_initial = group.initial_voters.contains(&self.identity.node_id);
        // One that was added has had its answer: the others knew its log.
        let may_be_early = is_initial && group.initial_voters.len() > 1 && self.found.is_untouched();
        !group.formed || may_be_early && group.raft_id <= group.initial_voters.len() as u64
    }

    /// Asks the others until the group is formed, and starts the threads. None are started when it is stopped, or when
    /// this keeper must not take part.
    pub async fn when_formed(self, stop: Shutdown) -> Threads {
        let (shared, mailbox) = (self.shared.clone(), self.mailbox.clone());
        let message = "the keepers have not formed their group yet";
        mailbox.close(&Error::new(ErrorCode::NoLeader, message).retry_after(forming::INTERVAL));
        let started = tokio::select! {
            formed = self.formed() => formed.and_then(|this| {
                this.mailbox.open();
                Ok(this.start()?)
            }),
            () = stop.wait() => Ok(Threads::default()),
        };
        started.unwrap_or_else(|failure| {
            let fatal = Fatal {
                flush_failed: failure.flush_failed_of.is_some(),
                ..Fatal::from(&failure.error)
            };
            tracing::error!(cause = fatal.cause, "this keeper takes no part");
            mailbox.close(&failure.error);
            shared.set_fatal(fatal);
            Threads::default()
        })
    }

    async fn formed(mut self) -> Result<Self, recover::Failure> {
        let me = self.identity.node_id.clone();
        loop {
            let own = Own {
                node_id: &me,
                group: &self.found.group,
            };
            let answers = forming::ask(&own, &self.gossip, &self.peers).await;
            match forming::step(&own, &answers) {
                Step::Start => return Ok(self),
                Step::Refuse(error) => {
                    self.readiness.set(false, error.to_string());
                    return Err(error.into());
                }
                Step::Wait(why) => {
                    tracing::debug!(why, "the group is not formed yet");
                    self.readiness.set(false, why);
                    tokio::time::sleep(forming::INTERVAL).await;
                }
                Step::WaitToBeAdded => {
                    let why = format!("this keeper is in no group: longbow keeper add {me}");
                    self.readiness.set(false, why);
                    self.shared.set_waiting();
                    tokio::time::sleep(WAITING).await;
                }
                Step::Form => {
                    self = self.form(None).await?;
                    tracing::info!(raft_id = self.found.group.raft_id, "the group is formed");
                }
                Step::Join(raft_id) => {
                    self = self.form(Some(raft_id)).await?;
                    tracing::info!(raft_id, "this keeper was added to the group");
                    return Ok(self);
                }
            }
        }
    }

    /// Forms the group, or takes the raft id that this keeper's log was given.
    async fn form(mut self, given: Option<u64>) -> Result<Self, recover::Failure> {
        let formed = tokio::task::spawn_blocking(move || {
            let path = self.config.node.data_path.clone().unwrap_or_default();
            let formed = match given {
                None => self.found.form(&self.identity, &path),
                Some(raft_id) => self.found.join(raft_id, &self.identity, &path),
            };
            formed.map(|()| self)
        });
        let formed = formed
            .await
            .map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))?;
        let this = formed?;
        this.roster.set_me(this.found.group.raft_id);
        this.shared.set_formed();
        Ok(this)
    }

    /// Starts the threads.
    pub fn start(self) -> Result<Threads> {
        let found = self.found;
        let spares = found.writer.spares();
        let queue = Arc::new(disk::DiskQueue::new(found.reader.clone()));
        let (checkpoints, states) = mpsc::sync_channel(1);
        let parts = engine::Parts {
            transport: Transport::new(
                self.roster.clone(),
                &self.peers,
                &self.gossip,
                self.mailbox.clone(),
                &self.end,
            ),
            node_id: self.identity.node_id.clone(),
            group: found.group,
            roster: self.roster,
            generation: self.identity.generation,
            restored: Restored {
                hard_state: found.hard_state,
                conf_state: found.state.keepers.conf_state().clone(),
                applied: found.state.index(),
            },
            log: DurableLog(found.reader),
            state: found.state,
            mailbox: self.mailbox.clone(),
            disk: queue.clone(),
            committed: self.committed,
            shared: self.shared,
            latch: self.latch,
            gossip: self.gossip,
            readiness: self.readiness,
            checkpoints,
        };
        let failed = |error: std::io::Error| {
            Error::new(ErrorCode::Internal, format!("cannot start a thread: {error}"))
        };
        Ok(Threads(vec![
            engine::spawn(&self.config, parts)?,
            disk::spawn(found.writer, queue, self.mailbox.clone()).map_err(failed)?,
            spawn_checkpoints(found.checkpoints, states, spares, self.mailbox).map_err(failed)?,
        ]))
    }
}

/// Writes states until the engine drops its end.
fn spawn_checkpoints(
    mut checkpoints: Checkpoints,
    states: mpsc::Receiver<State>,
    spares: Spares,
    mailbox: Arc<Mailbox>,
) -> std::io::Result<JoinHandle<Result<(), String>>> {
    let thread = thread::Builder::new().name("longbow-checkpoint".to_owned());
    thread.spawn(move || {
        let _guard = disk::PanicGuard(mailbox.clone(), "the checkpoints' thread panicked");
        while let Ok(state) = states.recv() {
            match checkpoints.store(&state) {
                Ok(Stored::Durable) => mailbox.checkpointed(state.index()),
                Ok(Stored::Missed) => {
                    // On a full disk the log cannot be cut before a checkpoint fits: a spare segment is held for that.
                    if let Err(error) = spares.release() {
                        tracing::warn!(%error, "no spare segment could be given up for a checkpoint");
                    }
                    mailbox.checkpoint_missed();
                }
                Err(error) => {
                    // A sync that fails here says as much about the disk as one in the log.
                    mailbox.disk_failed(error.to_string());
                    return Err(error.to_string());
                }
            }
        }
        checkpoints.close().map_err(|error| error.to_string())
    })
}

/// The threads that write. Each returns why it could not make something durable, if so.
#[derive(Default)]
pub(crate) struct Threads(Vec<JoinHandle<Result<(), String>>>);

impl Threads {
    /// Waits for their end, for a bounded time: no thread can be freed from a disk that hangs. An error is the first
    /// that one of them tells.
    pub async fn join(self) -> Result<(), Fatal> {
        let until = Instant::now() + JOIN_PATIENCE;
        while self.0.iter().any(|thread| !thread.is_finished()) {
            if Instant::now() >= until {
                let message = format!("the disk has not answered for {}s", JOIN_PATIENCE.as_secs());
                tracing::error!("a thread of the keeper does not end: {message}");
                return Err((&Error::new(ErrorCode::StorageFailed, message)).into());
            }
            tokio::time::sleep(JOIN_PAUSE).await;
        }
        let mut ended = Ok(());
        for thread in self.0 {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(cause)) => ended = ended.and(Err(Fatal::flush(cause))),
                Err(_) => {
                    let error = Error::new(ErrorCode::Internal, "a thread of the keeper panicked");
                    ended = ended.and(Err((&error).into()));
                }
            }
        }
        ended
    }
}
