//! Starting a keeper, and what is there while it runs.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context;
use longbow_cluster::{catalogue::Catalogue, raft_core::Restored};
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
    checkpoint::Checkpoints,
    committed::Committed,
    disk, engine,
    latch::Latch,
    mailbox::Mailbox,
    mailbox::Stop,
    recover,
    recover::{DurableLog, Recovered},
    rpc::Keeper,
    status::Shared,
    transport::Transport,
    watchdog,
};

/// How long calls under way may go on after the engine has ended.
const DRAIN: Duration = Duration::from_secs(2);

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
    fatal: watch::Receiver<Option<String>>,
    fatal_grace: Duration,
    /// Thrown by the operator.
    shutdown: Shutdown,
    /// Ends everything but the engine.
    network: EndOnDrop,
    threads: Vec<JoinHandle<()>>,
    server: Option<tokio::task::JoinHandle<Result<(), Error>>>,
    _claim: Claim,
}

/// Starts a keeper: recovers its log, listens, gossips. It is ready when somebody leads.
pub async fn start(config: Config, shutdown: Shutdown) -> anyhow::Result<Running> {
    let data_path: PathBuf = config.node.data_path.clone().context("data_path is not set")?;
    let claim = identity::claim(&config.node)?;
    let identity = claim.identity.clone();
    // The claim goes along: whoever gives up this start meanwhile must not free the files under the recovery.
    let (claim, found) = {
        let (config, data_path) = (config.clone(), data_path.clone());
        let recovery = move || (claim, recover::recover(&config, &identity, &data_path));
        tokio::task::spawn_blocking(recovery).await?
    };
    let found = found?;
    let latch = Arc::new(Latch::open(&data_path, found.group.voters.clone())?);
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

/// Puts the parts together and starts the threads.
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
    let applied = found.catalogue.applied_index();
    let committed = Arc::new(Committed::new(
        found.reader.clone(),
        applied,
        found.catalogue.log_id(),
        config.cache_bytes,
    ));
    let queue = Arc::new(disk::DiskQueue::new(found.reader.clone()));
    let (checkpoints, catalogues) = mpsc::sync_channel(1);
    watchdog::start(&identity.node_id, &found.group.voters, peers, gossip, &latch, end);
    let parts = engine::Parts {
        group: found.group.clone(),
        generation: identity.generation,
        restored: Restored {
            hard_state: found.hard_state,
            conf_state: found.conf_state,
            applied,
        },
        log: DurableLog(found.reader),
        catalogue: found.catalogue,
        mailbox: mailbox.clone(),
        disk: queue.clone(),
        committed: committed.clone(),
        shared: shared.clone(),
        latch: latch.clone(),
        transport: Transport::start(&found.group, peers, gossip, mailbox.clone(), end),
        readiness: network.readiness.clone(),
        checkpoints,
    };
    let keeper = Keeper::new(
        found.group,
        mailbox.clone(),
        committed,
        shared.clone(),
        latch,
        end.clone(),
    );
    let threads = vec![
        engine::spawn(config, parts)?,
        disk::spawn(found.writer, queue, mailbox.clone())?,
        spawn_checkpoints(found.checkpoints, catalogues, mailbox.clone())?,
    ];
    let routes = keeper.routes();
    let server = tokio::spawn(rpc::serve(
        network.listener,
        routes,
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
        fatal: shared.fatal(),
        fatal_grace: config.fatal_grace,
        shutdown,
        network: network.end,
        threads,
        server: Some(server),
        _claim: claim,
    })
}

/// Writes catalogues until the engine drops its end.
fn spawn_checkpoints(
    mut checkpoints: Checkpoints,
    catalogues: mpsc::Receiver<Catalogue>,
    mailbox: Arc<Mailbox>,
) -> std::io::Result<JoinHandle<()>> {
    let thread = thread::Builder::new().name("longbow-checkpoint".to_owned());
    thread.spawn(move || {
        while let Ok(catalogue) = catalogues.recv() {
            if let Err(error) = checkpoints.store(&catalogue) {
                // A sync that fails here says as much about the disk as one in the log.
                mailbox.disk_failed(error.to_string());
                return;
            }
        }
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
    /// committed was served for a short grace, and the role has ended.
    pub async fn wait(mut self) -> anyhow::Result<()> {
        let mut server = self.server.take().context("the server is gone")?;
        let mut fatal = self.fatal.clone();
        let failed = tokio::select! {
            () = self.shutdown.wait() => None,
            served = &mut server => {
                served??;
                Some("the RPC server ended".to_owned())
            }
            Ok(cause) = fatal.wait_for(Option::is_some) => cause.clone(),
        };
        if failed.is_some() {
            tokio::select! {
                () = self.shutdown.wait() => {}
                () = tokio::time::sleep(self.fatal_grace) => {}
            }
        }
        self.mailbox.stop(Stop::Gracefully);
        let threads = std::mem::take(&mut self.threads);
        tokio::task::spawn_blocking(move || join(threads)).await?;
        self.network.0.trigger();
        if !server.is_finished() {
            server.await??;
        }
        match failed {
            None => Ok(()),
            Some(cause) => {
                let message = format!("the keeper stopped writing: {cause}");
                Err(Error::new(ErrorCode::StorageFailed, message).into())
            }
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
        let threads = std::mem::take(&mut self.threads);
        let _ = tokio::task::spawn_blocking(move || join(threads)).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.mailbox.stop(Stop::AtOnce);
    }
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread of the keeper panicked");
        }
    }
}
