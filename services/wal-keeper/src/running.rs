//! Starting a keeper, and what is there while it runs.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use longbow_node::{
    advertise,
    gossip::Gossip,
    http::{self, Readiness},
    identity::{self, Claim, Identity},
    rpc::{self, ClusterAuth, Peers},
    shutdown::Shutdown,
};
use longbow_types::{Error, ErrorCode, NodeId};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    Config,
    committed::Committed,
    latch::Latch,
    launch::{self, Launch, Threads},
    mailbox::{Mailbox, Stop},
    recover,
    recover::Recovered,
    roster::Roster,
    rpc::Keeper,
    status::{Fatal, Shared},
    watchdog::{self, Watch},
};

/// How long calls under way may go on after the engine has ended.
const DRAIN: Duration = Duration::from_secs(2);
/// How long the others are given to hear of a failed flush, at least, where the grace allows.
const ANNOUNCE: Duration = Duration::from_secs(1);

/// A keeper that runs. Dropping it ends it at once, as a crash would: nothing is lost, nothing is closed.
pub struct Running {
    /// Its id.
    pub node_id: NodeId,
    /// Where other nodes reach it.
    pub rpc_addr: SocketAddr,
    /// Where metrics and health are served.
    pub http_addr: SocketAddr,
    /// Where its gossip is bound.
    pub gossip_addr: SocketAddr,
    readiness: Readiness,
    mailbox: Arc<Mailbox>,
    shared: Arc<Shared>,
    latch: Arc<Latch>,
    /// Another live node that has taken this node's id.
    superseded: watch::Receiver<Option<String>>,
    fatal_grace: Duration,
    /// Thrown by the operator.
    shutdown: Shutdown,
    stop_forming: EndOnDrop,
    /// Ends everything but the engine.
    network: EndOnDrop,
    engine: Option<Engine>,
    server: Option<tokio::task::JoinHandle<Result<(), Error>>>,
    claim: Claim,
}

/// The threads, or who starts them when the group is formed.
enum Engine {
    Forming(tokio::task::JoinHandle<Threads>),
    Started(Threads),
}

/// Why a keeper ends before it is told to.
enum End {
    Fatal(Fatal),
    /// The RPC server ended.
    Server,
    /// Another live node has this node's id.
    Superseded(String),
}

/// Starts a keeper: recovers its log, listens, gossips. It is ready when somebody leads.
pub async fn start(config: Config, shutdown: Shutdown) -> anyhow::Result<Running> {
    let data_path: PathBuf = config.node.data_path.clone().context("data_path is not set")?;
    let claim = identity::claim(&config.node)?;
    let identity = claim.identity.clone();
    // The claim goes along: whoever gives up this start meanwhile must not free the files under the recovery.
    let (claim, found) = {
        let (config, data_path) = (config.clone(), data_path.clone());
        let recovery = move || {
            let found = recover::recover(&config, &identity, &data_path);
            let found = found.map_err(|failure| launch::told(failure, &identity, &data_path));
            (claim, found)
        };
        tokio::task::spawn_blocking(recovery).await?
    };
    let found = found?;
    let latch = Arc::new(Latch::open(&data_path, found.state.keepers.voters())?);
    let network = Network::open(&config, &claim.identity).await?;
    assemble(&config, claim, found, latch, network, shutdown)
}

/// Sockets, and what talks over them. Closed on drop unless a keeper took them over.
struct Network {
    listener: TcpListener,
    rpc_addr: SocketAddr,
    http_addr: SocketAddr,
    gossip: Gossip,
    auth: ClusterAuth,
    peers: Peers,
    readiness: Readiness,
    end: EndOnDrop,
}

struct EndOnDrop(Shutdown);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.trigger();
    }
}

impl Network {
    async fn open(config: &Config, identity: &Identity) -> anyhow::Result<Self> {
        let end = EndOnDrop(Shutdown::new());
        let readiness = Readiness::new();
        let auth = ClusterAuth::new(identity, config.node.secret.expose());
        let (listener, bound) = rpc::bind(config.node.rpc_listen).await?;
        let rpc_addr = advertise::rpc(&config.node, bound).await?;
        let http_addr = http::serve(config.node.http_listen, readiness.clone(), end.0.clone()).await?;
        let http_advertise = SocketAddr::new(rpc_addr.ip(), http_addr.port());
        let gossip = Gossip::start(
            &config.node,
            identity.clone(),
            rpc_addr,
            Some(http_advertise),
            end.0.clone(),
        )
        .await?;
        gossip.bar_while_superseded(readiness.clone());
        Ok(Self {
            listener,
            rpc_addr,
            http_addr,
            gossip,
            peers: Peers::new(auth.clone()),
            auth,
            readiness,
            end,
        })
    }
}

/// Puts the parts together. A group that is still to be formed is waited for beside what is served already.
fn assemble(
    config: &Config,
    claim: Claim,
    found: Recovered,
    latch: Arc<Latch>,
    network: Network,
    shutdown: Shutdown,
) -> anyhow::Result<Running> {
    let identity = &claim.identity;
    let (peers, gossip, end) = (&network.peers, &network.gossip, &network.end.0);
    let mailbox = Arc::new(Mailbox::new(config.queue_bytes));
    let shared = Arc::new(Shared::new());
    shared.set_status(launch::first_status(&found));
    // One that has not formed may be a former life's place: whether it is gone is no news of this one.
    let raft_id = if found.group.formed {
        found.group.raft_id
    } else {
        0
    };
    let roster = Arc::new(Roster::new(raft_id, found.state.keepers.clone()));
    let committed = Arc::new(Committed::new(
        found.reader.clone(),
        &found.state.catalogue,
        config.cache_bytes,
    ));
    let watch = Watch {
        me: identity.node_id.clone(),
        roster: roster.clone(),
        peers: peers.clone(),
        gossip: gossip.clone(),
        latch: latch.clone(),
        mailbox: mailbox.clone(),
    };
    watchdog::start(watch, end);
    let keeper = Keeper::new(
        found.group.clone(),
        roster.clone(),
        mailbox.clone(),
        committed.clone(),
        shared.clone(),
        latch.clone(),
        end.clone(),
    );
    let launch = Launch {
        config: config.clone(),
        identity: identity.clone(),
        found,
        mailbox: mailbox.clone(),
        committed,
        shared: shared.clone(),
        latch: latch.clone(),
        roster,
        peers: peers.clone(),
        gossip: gossip.clone(),
        readiness: network.readiness.clone(),
        end: end.clone(),
    };
    let stop_forming = Shutdown::new();
    let engine = if launch.must_ask() {
        Engine::Forming(tokio::spawn(launch.when_formed(stop_forming.clone())))
    } else {
        Engine::Started(launch.start()?)
    };
    let server = tokio::spawn(rpc::serve(
        network.listener,
        keeper.routes(),
        Some(network.auth),
        end.clone(),
        DRAIN,
    ));
    tracing::info!(node = %identity.node_id, rpc = %network.rpc_addr, gossip = %gossip.local_addr(), "the keeper listens");
    Ok(Running {
        node_id: identity.node_id.clone(),
        rpc_addr: network.rpc_addr,
        http_addr: network.http_addr,
        gossip_addr: gossip.local_addr(),
        readiness: network.readiness,
        mailbox,
        shared,
        latch,
        superseded: gossip.superseded(),
        fatal_grace: config.fatal_grace,
        shutdown,
        stop_forming: EndOnDrop(stop_forming),
        network: network.end,
        engine: Some(engine),
        server: Some(server),
        claim,
    })
}

impl Running {
    /// Whether it may get traffic.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Returns when somebody leads and the log is replayed.
    pub async fn ready(&self) {
        self.readiness.ready().await;
    }

    /// Runs until the shutdown, then hands leadership over and closes the log. An error if the disk failed: what is
    /// committed was served for a short grace, and the role has ended. An error, too, if another live node has taken
    /// this node's id: then it ends at once.
    pub async fn wait(mut self) -> anyhow::Result<()> {
        let mut server = self.server.take().context("the server is gone")?;
        let end = self.ends(&mut server).await;
        match &end {
            Some(End::Fatal(fatal)) => self.grace(fatal.flush_failed).await,
            Some(End::Superseded(other)) => {
                tracing::error!(other, "another live node has taken this node's id: this one ends");
            }
            Some(End::Server) | None => {}
        }
        self.mailbox.stop(match end {
            // The other one writes now, or soon.
            Some(End::Superseded(_)) => Stop::AtOnce,
            _ => Stop::Gracefully,
        });
        let joined = self.join().await;
        if let Err(fatal) = &joined
            && fatal.flush_failed
            && !matches!(end, Some(End::Fatal(_)))
        {
            self.latch
                .observe(&self.node_id, self.claim.identity.generation, Some(&fatal.cause));
            self.shared.set_fatal(fatal.clone());
            self.grace(true).await;
        }
        self.network.0.trigger();
        if !server.is_finished() {
            server.await??;
        }
        match (end, joined) {
            (Some(End::Superseded(other)), _) => {
                Err(anyhow::anyhow!("another live node is {}: {other}", self.node_id))
            }
            (Some(End::Fatal(fatal)), _) | (_, Err(fatal)) => {
                let message = format!("the keeper stopped writing: {}", fatal.cause);
                Err(Error::new(fatal.code, message).into())
            }
            (Some(End::Server), Ok(())) => {
                let message = "the keeper stopped writing: the RPC server ended";
                Err(Error::new(ErrorCode::Internal, message).into())
            }
            (None, Ok(())) => Ok(()),
        }
    }

    /// Waits for whatever ends this keeper; `None` for the shutdown.
    async fn ends(&mut self, server: &mut tokio::task::JoinHandle<Result<(), Error>>) -> Option<End> {
        let mut fatal = self.shared.fatal();
        tokio::select! {
            () = self.shutdown.wait() => None,
            served = server => Some(match served {
                Ok(Ok(())) => End::Server,
                Ok(Err(error)) => End::Fatal((&error).into()),
                Err(error) => End::Fatal((&Error::new(ErrorCode::Internal, error.to_string())).into()),
            }),
            Ok(fatal) = fatal.wait_for(Option::is_some) => fatal.clone().map(End::Fatal),
            Ok(other) = self.superseded.wait_for(Option::is_some) => other.clone().map(End::Superseded),
        }
    }

    /// Serves what is committed a while longer, and lets the others hear of a failed flush; so long it takes in any case.
    async fn grace(&self, flush_failed: bool) {
        if flush_failed {
            tokio::time::sleep(ANNOUNCE.min(self.fatal_grace)).await;
            let latch = self.latch.clone();
            let _ = tokio::task::spawn_blocking(move || latch.settle(ANNOUNCE)).await;
        }
        tokio::select! {
            () = self.shutdown.wait() => {}
            () = tokio::time::sleep(self.fatal_grace) => {}
        }
    }

    /// Ends at once, as a crash would, and returns when its files are free again.
    pub async fn kill(mut self) {
        self.mailbox.stop(Stop::AtOnce);
        self.network.0.trigger();
        if let Some(server) = self.server.take() {
            server.abort();
            let _ = server.await;
        }
        let _ = self.join().await;
    }

    async fn join(&mut self) -> Result<(), Fatal> {
        self.stop_forming.0.trigger();
        let threads = match self.engine.take() {
            None => return Ok(()),
            Some(Engine::Started(threads)) => threads,
            Some(Engine::Forming(task)) => task.await.unwrap_or_default(),
        };
        threads.join().await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.mailbox.stop(Stop::AtOnce);
    }
}
