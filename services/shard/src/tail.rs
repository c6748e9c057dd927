//! How does the log come here? From any live keeper, in order, starting again elsewhere when a keeper fails.

mod anew;
mod breathe;
mod cut;
mod goal;
mod identity;
mod patience;
mod register;
mod route;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use longbow_node::gossip::{Gossip, Member};
use longbow_node::http::Readiness;
use longbow_node::keeper_client::KeeperClient;
use longbow_node::rpc::{AuthedChannel, MESSAGE_BYTES_MAX, Peers};
use longbow_node::shutdown::Shutdown;
use longbow_types::{Error, ErrorCode, Result, Role};
use longbow_wire::convert::status::from_status;
use longbow_wire::internal::keeper_service_client::KeeperServiceClient;
use longbow_wire::internal::{LatchRegister, TailEntry, TailPartitions, TailRequest, TailResponse};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tonic::Streaming;

use crate::actors::Actors;
use crate::apply::{Op, Work};
use crate::partition::Key;
use crate::snapshots::{Restored, Round, Rounds, Store, restore};
use crate::state::State;
use breathe::Breath;
use cut::Cut;
use patience::Patience;
use route::{Route, Step};

pub(crate) use route::schema_of;

/// Pause after a keeper failed, doubled with each failure in a row.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often to ask whether somebody waits for what this keeper does not have.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A keeper that says nothing for so long is left; keepers send heartbeats far more often.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// An entry is no less to follow than so many bytes, when it is asked whether a snapshot is due: a log of nothing but ticks
/// has an end, too.
const ENTRY_BYTES_MIN: usize = 256;
/// The log group of this version.
const GROUP: u32 = 0;

/// Follows the log.
pub(crate) struct Tail {
    pub(crate) state: Arc<State>,
    pub(crate) actors: Arc<Actors>,
    pub(crate) gossip: Gossip,
    pub(crate) peers: Peers,
    pub(crate) keeper: KeeperClient,
    pub(crate) readiness: Readiness,
    pub(crate) shutdown: Shutdown,
    /// Where snapshots are, if this node has a directory.
    pub(crate) snapshots: Option<Arc<Store>>,
    /// Asks for snapshots, if any are to be written.
    pub(crate) rounds: Option<Rounds>,
}

/// Where the follower stands.
struct Follower {
    tail: Tail,
    route: Route,
    /// Where the log stood when this node started; none until a leader has told.
    goal: watch::Receiver<Option<u64>>,
    /// The registration under way, or the last one.
    registering: Option<JoinHandle<()>>,
    patience: Patience,
    breath: Breath,
    /// Keepers that have not got the next entry any more.
    cut: Cut,
    /// A later life of the log than what is here is of, of which it is known that it has all of that.
    admitted: u32,
    /// Whether writes have stopped.
    latch: watch::Receiver<LatchRegister>,
}

/// Why a keeper is not followed any further.
enum Stop {
    /// It failed, or another may do better.
    Keeper(anyhow::Error),
    /// The log has begun another life, and may not have all any more that is here.
    Rewound,
    /// What this node holds is of no use, or cannot be kept up to date: the role ends, and a start replays the log that there is.
    Node(Error),
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Keeper(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Keeper(error.into())
    }
}

/// Entries on their way.
#[derive(Default)]
struct Chunk {
    pending: BTreeMap<Key, Vec<Op>>,
    /// Index of the last one.
    last: u64,
    /// Whether the catalogue that others see has changed.
    changed: bool,
}

impl Tail {
    /// Follows the log until the shutdown.
    ///
    /// # Errors
    /// When this node can follow it no longer, though others may: the log is another one, or the actors are gone.
    pub(crate) async fn follow(self) -> Result<()> {
        let shutdown = self.shutdown.clone();
        let route = self.restored().await?;
        let (tell, goal) = watch::channel(None);
        tokio::spawn(goal::ask(self.keeper.clone(), tell, shutdown.clone()));
        let mut follower = Follower {
            latch: self.gossip.latch(),
            tail: self,
            route,
            goal,
            registering: None,
            patience: Patience::new(),
            breath: Breath::new(),
            cut: Cut::default(),
            admitted: 0,
        };
        tokio::select! {
            end = follower.run() => end,
            () = shutdown.wait() => Ok(()),
        }
    }
}

impl Tail {
    /// Where to begin: after what snapshots hold, or before the first entry.
    async fn restored(&self) -> Result<Route> {
        let me = self.state.me.clone();
        let Some(store) = self.snapshots.clone() else {
            return Ok(Route::new(me));
        };
        self.readiness.set(false, "opening snapshots");
        let shutdown = self.shutdown.clone();
        let open = move || restore(&store, &me, &|| shutdown.is_triggered());
        // A panic is a defect in reading them: the log still has everything.
        let restored = tokio::task::spawn_blocking(open).await.unwrap_or_else(|error| {
            tracing::error!(%error, "opening snapshots failed");
            None
        });
        let me = self.state.me.clone();
        let Some(Restored { catalogue, replicas }) = restored else {
            return Ok(Route::new(me));
        };
        let index = catalogue.applied_index();
        let route = Route::restored(me, catalogue);
        self.actors.adopt(replicas).await?;
        self.state.set_catalogue(route.published());
        self.state.set_routed(index);
        Ok(route)
    }
}

impl Follower {
    async fn run(&mut self) -> Result<()> {
        let (mut turn, mut pause) = (0, PAUSE_MIN);
        let mut members = self.tail.gossip.watch();
        loop {
            // A fresh receiver counts what is there as news; only what comes after this look is.
            members.mark_unchanged();
            let keepers = self.tail.gossip.live(Role::WalKeeper);
            self.heed_latch();
            let Some(keeper) = keepers.get(turn % keepers.len().max(1)) else {
                self.not_ready("no wal-keeper is known yet");
                let news = tokio::select! {
                    news = members.changed() => news,
                    news = self.latch.changed() => news,
                };
                if news.is_err() {
                    return Ok(()); // gossip ends with the shutdown
                }
                continue;
            };
            turn += 1;
            let before = self.tail.state.routed();
            let Err(stop) = self.follow(keeper).await;
            let stop = match stop {
                Stop::Rewound => match self.go_back(keeper).await {
                    Ok(()) => continue,
                    Err(stop) => stop,
                },
                other => other,
            };
            let error = match self.behind_the_cut(stop, keeper, &keepers).await {
                Err(Stop::Keeper(error)) => error,
                Err(Stop::Node(error)) => return Err(error),
                Ok(()) | Err(Stop::Rewound) => continue,
            };
            tracing::warn!(keeper = %keeper.node_id, next = self.next(), "the log's tail broke: {error:#}");
            pause = if self.tail.state.routed() > before {
                PAUSE_MIN
            } else {
                (pause * 2).min(PAUSE_MAX)
            };
            tokio::time::sleep(pause).await;
        }
    }

    fn next(&self) -> u64 {
        self.tail.state.routed() + 1
    }

    /// Follows one keeper until it fails.
    async fn follow(&mut self, keeper: &Member) -> std::result::Result<Infallible, Stop> {
        let mut client = KeeperServiceClient::new(self.tail.peers.channel(keeper.rpc_addr))
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut wanted = self.route.wanted();
        let mut stream = self.open(&mut client, &wanted).await?;
        tracing::info!(keeper = %keeper.node_id, from = self.next(), "following the log");
        self.patience.turn();
        let (mut heard, mut commit) = (Instant::now(), 0);
        loop {
            tokio::select! {
                message = timeout(LOOK_EVERY, stream.message()) => match message {
                    Ok(message) => {
                        let message = message.map_err(|status| from_status(&status))?;
                        let message = message.context("it ended the stream")?;
                        heard = Instant::now();
                        commit = message.commit_index;
                        if self.take(message).await? && wanted != self.route.wanted() {
                            wanted = self.route.wanted();
                            stream = self.open(&mut client, &wanted).await?;
                        }
                    }
                    Err(_) if heard.elapsed() > SILENCE_MAX => return Err(anyhow!("it fell silent").into()),
                    Err(_) => {}
                },
                Ok(()) = self.goal.changed() => self.settle(),
                Ok(()) = self.latch.changed() => self.heed_latch(),
            }
            let wanted = self.tail.state.wants.highest().max(self.goal_ahead());
            let others = self.tail.gossip.live(Role::WalKeeper).len() > 1;
            if others && self.patience.is_over(Instant::now(), commit, wanted) {
                return Err(anyhow!("readers wait for an index that it does not have").into());
            }
        }
    }

    /// Asks a keeper for what comes next.
    async fn open(
        &self,
        client: &mut KeeperServiceClient<AuthedChannel>,
        wanted: &[TailPartitions],
    ) -> std::result::Result<Streaming<TailResponse>, Stop> {
        let asked = client.tail(TailRequest {
            from_index: self.next(),
            partitions: wanted.to_vec(),
        });
        match timeout(SILENCE_MAX, asked).await {
            Ok(answer) => Ok(answer.map_err(|status| from_status(&status))?.into_inner()),
            Err(_) => Err(anyhow!("it did not answer").into()),
        }
    }

    /// Takes a message in: every entry that is next, then the state reached. Tells whether the catalogue has changed.
    async fn take(&mut self, message: TailResponse) -> std::result::Result<bool, Stop> {
        let state = Arc::clone(&self.tail.state);
        self.check_log(&message)?;
        state.committed.fetch_max(message.commit_index, Ordering::Relaxed);

        let mut chunk = Chunk {
            last: state.routed(),
            ..Chunk::default()
        };
        self.breath.take(&state).await;
        let bytes = |entry: &TailEntry| (entry.header.len() + entry.body.len()) as u64;
        let bytes: u64 = message.entries.iter().map(bytes).sum();
        // The next message is asked for when this one is applied, so there is never more than one, and a window of it.
        state.in_flight.store(bytes, Ordering::Relaxed);
        let taken = self.entries(message.entries, &mut chunk).await;
        // Whatever was wrong with a later entry, those before it have passed through the catalogue.
        let delivered = self.tail.actors.deliver(chunk.pending).await;
        state.in_flight.store(0, Ordering::Relaxed);
        delivered.map_err(Stop::Node)?;
        if chunk.changed {
            state.set_catalogue(self.route.published());
        }
        if chunk.last > state.routed() {
            state.set_routed(chunk.last);
        }
        self.snapshot();
        self.settle();
        taken.map(|()| chunk.changed)
    }

    /// The latch has tripped, or was reset. While it is tripped there are no more writes, and keepers' disks fail: what is
    /// applied shall stand on this node's.
    fn heed_latch(&mut self) {
        let is_tripped = self.latch.borrow_and_update().tripped;
        if let Some(rounds) = &mut self.tail.rounds {
            rounds.urge(is_tripped);
        }
        self.snapshot();
    }

    /// Asks for snapshots if it is time. Every replica has applied, and shows, what was routed so far.
    fn snapshot(&mut self) {
        let state = &self.tail.state;
        let caught_up = state.routed() >= state.committed.load(Ordering::Relaxed);
        let Some(rounds) = self
            .tail
            .rounds
            .as_mut()
            .filter(|rounds| rounds.is_due(caught_up))
        else {
            return;
        };
        let partitions = self.tail.state.partitions();
        let views = partitions
            .iter()
            .filter(|(_, partition)| partition.stopped().is_none())
            .map(|(&key, partition)| (key, partition.reader.view()));
        rounds.ask(Round {
            catalogue: self.route.catalogue().clone(),
            views: views.collect(),
        });
    }

    async fn entries(&mut self, entries: Vec<TailEntry>, chunk: &mut Chunk) -> std::result::Result<(), Stop> {
        for entry in entries {
            if entry.index <= chunk.last {
                continue; // sent twice
            }
            if entry.index != chunk.last + 1 {
                let message = format!("entry {} came after entry {}", entry.index, chunk.last);
                return Err(Error::new(ErrorCode::Corruption, message).into());
            }
            if let Some(rounds) = &mut self.tail.rounds {
                let left_out = usize::try_from(entry.left_out_bytes).unwrap_or(usize::MAX);
                rounds.followed(entry.body.len().saturating_add(left_out).max(ENTRY_BYTES_MIN));
            }
            let step = self.route.entry(&entry);
            chunk.last = entry.index;
            if let Some(step) = step {
                self.step(step, chunk).await.map_err(Stop::Node)?;
            }
        }
        Ok(())
    }

    /// Does what an entry means. Fails only when the actors are gone.
    async fn step(&mut self, step: Step, chunk: &mut Chunk) -> Result<()> {
        match step {
            Step::Write(ops) => {
                for (key, op) in ops {
                    if let (Some(rounds), Work::Write(write)) = (&mut self.tail.rounds, &op.work) {
                        rounds.applied(write.body.as_ref().map_or(0, bytes::Bytes::len));
                    }
                    chunk.pending.entry(key).or_default().push(op);
                }
                return Ok(());
            }
            Step::Tick(ops) => {
                for (key, op) in ops {
                    chunk.pending.entry(key).or_default().push(op);
                }
                // What others see of the catalogue is as it was.
                return Ok(());
            }
            Step::Alter(ops) => {
                for (key, op) in ops {
                    chunk.pending.entry(key).or_default().push(op);
                }
            }
            Step::Place(place) => self.tail.actors.place(place).await?,
            Step::Evict(dataset) => {
                chunk.pending.retain(|key, _| key.dataset != dataset);
                self.tail.state.forget_lost(dataset);
                self.tail.actors.evict(dataset).await?;
            }
            Step::Changed => {}
        }
        chunk.changed = true;
        Ok(())
    }

    /// What this node itself waits for, while it catches up.
    fn goal_ahead(&self) -> u64 {
        let goal = *self.goal.borrow();
        goal.filter(|_| !self.tail.state.is_caught_up()).unwrap_or(0)
    }

    /// Catches up, registers, becomes ready: in this order, each once.
    fn settle(&mut self) {
        let state = &self.tail.state;
        if !state.is_caught_up() {
            let (routed, goal) = (state.routed(), *self.goal.borrow());
            let Some(goal) = goal else {
                self.not_ready("no keeper that leads has told yet how far the log is");
                return;
            };
            state.committed.fetch_max(goal, Ordering::Relaxed);
            if routed < goal {
                self.not_ready(&format!("replaying the log: entry {routed} of {goal}"));
                return;
            }
            tracing::info!(index = routed, "caught up with the log");
            state.set_caught_up();
        }
        if self.tail.readiness.is_ready() {
            return;
        }
        if self.route.is_registered() {
            self.tail.readiness.set(true, "");
        } else if self.registering.is_none() {
            self.not_ready("registering with the keepers");
            self.register();
        }
    }

    /// Registers, unless that is under way.
    fn register(&mut self) {
        if self.registering.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let (keeper, shutdown) = (self.tail.keeper.clone(), self.tail.shutdown.clone());
        let me = self.tail.state.me.clone();
        self.registering = Some(tokio::spawn(register::register(keeper, me, shutdown)));
    }

    fn not_ready(&self, why: &str) {
        if !self.tail.readiness.is_ready() {
            self.tail.readiness.set(false, why);
        }
    }
}
