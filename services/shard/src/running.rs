//! How does a shard start, and how does it end?

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use longbow_node::gossip::Gossip;
use longbow_node::http::{self, Readiness};
use longbow_node::identity::{self, Claim};
use longbow_node::keeper_client::KeeperClient;
use longbow_node::rpc::{self, ClusterAuth, MESSAGE_BYTES_MAX, Peers, serve::DRAIN};
use longbow_node::shutdown::Shutdown;
use longbow_node::{advertise, telemetry};
use longbow_types::NodeId;
use longbow_wire::internal::shard_service_server::ShardServiceServer;
use tokio::task::JoinHandle;
use tonic::service::Routes;

use crate::actors::Actors;
use crate::builders::Builders;
use crate::compactor;
use crate::config::Config;
use crate::credit;
use crate::latch::{self, Stored};
use crate::pool::Pool;
use crate::report;
use crate::rpc::Service;
use crate::snapshots::{Store, Taker};
use crate::state::State;
use crate::tail::Tail;
use crate::vouch;

/// A shard that listens. It is ready once it has caught up with the log and is registered.
pub struct Running {
    /// This node.
    pub node_id: NodeId,
    /// Where the RPC listens.
    pub rpc_addr: SocketAddr,
    /// Where metrics and health are served.
    pub http_addr: SocketAddr,
    /// Where gossip listens.
    pub gossip_addr: SocketAddr,
    readiness: Readiness,
    shutdown: Shutdown,
    claim: Claim,
    server: JoinHandle<longbow_types::Result<()>>,
    tail: JoinHandle<longbow_types::Result<()>>,
    tasks: Vec<JoinHandle<()>>,
    actors: Arc<Actors>,
    builders: Builders,
    pool: Arc<Pool>,
    snapshots: Option<Arc<Store>>,
    taker: Option<Taker>,
}

/// Starts a shard: it listens when this returns, and becomes ready by itself.
pub async fn start(config: Config, shutdown: Shutdown) -> anyhow::Result<Running> {
    // One role of a process may end alone.
    let shutdown = shutdown.child();
    telemetry::metrics();
    let claim = identity::claim(&config.node)?;
    let identity = claim.identity.clone();
    let stored = config.node.data_path.as_deref().map(Stored::new);
    let latched = stored.as_ref().map(Stored::read).transpose()?.unwrap_or_default();

    let (listener, rpc_addr) = rpc::bind(config.node.rpc_listen).await?;
    let advertised = advertise::rpc(&config.node, rpc_addr).await?;
    let readiness = Readiness::new();
    let http_addr = http::serve(config.node.http_listen, readiness.clone(), shutdown.clone()).await?;
    let gossip = Gossip::start(
        &config.node,
        identity.clone(),
        advertised,
        Some(http_addr),
        shutdown.clone(),
    )
    .await?;
    gossip.bar_while_superseded(readiness.clone());
    let auth = ClusterAuth::new(&identity, config.node.secret.expose());
    let peers = Peers::new(auth.clone());

    let mut state = State::new(identity.node_id.clone());
    state.memory_budget = config.memory_budget;
    let state = Arc::new(state);
    let actors = Arc::new(Actors::start(
        config.apply_threads,
        config.hnsw,
        Arc::clone(&state),
    )?);
    let builders = Builders::start(config.build_threads, &state).context("starting builder threads")?;
    let pool = Pool::start(config.search_threads, config.search_queue).context("starting search threads")?;
    let pool = Arc::new(pool);
    let data = config.node.data_path.as_deref();
    let snapshots = data.map(|data| Arc::new(Store::new(data, config.snapshots_kept)));
    let (taker, rounds) = match &snapshots {
        Some(store) if config.snapshot_every > 0 => {
            let (store, me, every) = (
                Arc::clone(store),
                identity.node_id.clone(),
                config.snapshot_every as u64,
            );
            let (taker, rounds) = Taker::start(store, me, every, shutdown.clone())
                .context("starting the thread that writes snapshots")?;
            (Some(taker), Some(rounds))
        }
        _ => (None, None),
    };
    let tail = Tail {
        state: Arc::clone(&state),
        actors: Arc::clone(&actors),
        gossip: gossip.clone(),
        peers: peers.clone(),
        keeper: KeeperClient::new(peers.clone(), gossip.clone()),
        readiness: readiness.clone(),
        shutdown: shutdown.clone(),
        snapshots: snapshots.clone(),
        rounds,
    };
    let tail = tokio::spawn(tail.follow());
    let mut tasks = vec![
        tokio::spawn(report::report(Arc::clone(&state), shutdown.clone())),
        tokio::spawn(compactor::compact(
            Arc::clone(&state),
            Arc::clone(&actors),
            config.compact_threads,
            shutdown.clone(),
        )),
        tokio::spawn(latch::keep(stored, latched, gossip.clone(), shutdown.clone())),
    ];
    let (lent, told) = (Arc::clone(&state), gossip.clone());
    tasks.push(tokio::spawn(credit::lend(
        lent,
        told,
        peers.clone(),
        shutdown.clone(),
    )));
    if let Some(store) = &snapshots {
        let (state, store) = (Arc::clone(&state), Arc::clone(store));
        let vouching = vouch::vouch(state, store, gossip.clone(), peers, shutdown.clone());
        tasks.push(tokio::spawn(vouching));
    }
    let service = Service {
        state,
        pool: Arc::clone(&pool),
        gossip: gossip.clone(),
        shutdown: shutdown.clone(),
    };
    let service = ShardServiceServer::new(service)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let routes = Routes::new(service);
    let server = tokio::spawn(rpc::serve(listener, routes, Some(auth), shutdown.clone(), DRAIN));
    tracing::info!(node = %identity.node_id, rpc = %rpc_addr, http = %http_addr, "shard listens");
    Ok(Running {
        node_id: identity.node_id.clone(),
        rpc_addr,
        http_addr,
        gossip_addr: gossip.local_addr(),
        readiness,
        shutdown,
        claim,
        server,
        tail,
        tasks,
        actors,
        builders,
        pool,
        snapshots,
        taker,
    })
}

impl Running {
    /// Whether it may get traffic, and why not.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Returns when it is ready.
    pub async fn ready(&self) {
        self.readiness.ready().await;
    }

    /// Waits until it has drained after the shutdown.
    ///
    /// # Errors
    /// When the server fails, or the log cannot be followed any longer.
    pub async fn wait(mut self) -> anyhow::Result<()> {
        let mut end = Ok(());
        tokio::select! {
            served = &mut self.server => end = of_task(served, "the RPC server"),
            // What it holds gets no newer: whoever asks should ask another.
            followed = &mut self.tail => end = of_task(followed, "following the log"),
            () = self.shutdown.wait() => {}
        }
        self.readiness.set(false, "stopping");
        self.shutdown.trigger();
        if !self.server.is_finished() {
            // Bounded by its own drain.
            end = end.and(of_task((&mut self.server).await, "the RPC server"));
        }
        if !self.tail.is_finished() {
            end = end.and(of_task((&mut self.tail).await, "following the log"));
        }
        for task in self.tasks.drain(..) {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the shard failed");
            }
        }
        let (actors, builders, pool) = (self.actors, self.builders, self.pool);
        let (snapshots, taker) = (self.snapshots, self.taker);
        let stop = move || {
            pool.stop();
            builders.stop();
            if let Some(taker) = taker {
                taker.stop();
            }
            if let Some(snapshots) = snapshots {
                snapshots.set_disowned_aside();
            }
            // Tasks that held it have ended.
            if let Some(actors) = Arc::into_inner(actors) {
                actors.stop();
            }
        };
        tokio::task::spawn_blocking(stop)
            .await
            .context("stopping the shard's threads")?;
        drop(self.claim);
        end
    }
}

/// How a task of the role ended.
fn of_task(
    ended: Result<longbow_types::Result<()>, tokio::task::JoinError>,
    what: &'static str,
) -> anyhow::Result<()> {
    ended.context(what)?.context(what)
}
