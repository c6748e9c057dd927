//! How does a router start, and how does it end?

use std::net::SocketAddr;

use anyhow::Context as _;
use longbow_node::{
    advertise,
    catalogue_watch::CatalogueWatch,
    gossip::Gossip,
    http::{self, Readiness},
    identity::{self, Claim},
    rpc::{self, ClusterAuth, Peers, serve::DRAIN},
    shutdown::Shutdown,
    telemetry,
};
use longbow_types::NodeId;
use tokio::task::JoinHandle;
use tonic_health::server::HealthReporter;

use crate::{Config, doors, ops::Core};

/// A router that listens. It is ready once it knows the catalogue.
pub struct Running {
    /// This node.
    pub node_id: NodeId,
    /// Data port: where clients, and `cluster-status`, find it.
    pub rpc_addr: SocketAddr,
    /// Meta port.
    pub meta_addr: SocketAddr,
    /// Where metrics and health are served.
    pub http_addr: SocketAddr,
    /// Where gossip listens.
    pub gossip_addr: SocketAddr,
    readiness: Readiness,
    shutdown: Shutdown,
    servers: Vec<JoinHandle<longbow_types::Result<()>>>,
    tasks: Vec<JoinHandle<()>>,
    _claim: Claim,
}

/// Starts a router: it listens when this returns, and becomes ready by itself.
///
/// # Errors
/// When an address cannot be listened on, or the node's identity is taken.
pub async fn start(config: Config, shutdown: Shutdown) -> anyhow::Result<Running> {
    // One role of a process may end alone.
    let shutdown = shutdown.child();
    telemetry::metrics();
    let claim = identity::claim(&config.node)?;
    let identity = claim.identity.clone();
    let (data, rpc_addr) = rpc::bind(config.listen).await?;
    let (meta, meta_addr) = rpc::bind(config.meta).await?;
    let advertised = advertise::rpc(&config.node, rpc_addr).await?;
    let readiness = Readiness::new();
    let http_addr = http::serve(config.node.http_listen, readiness.clone(), shutdown.clone()).await?;
    let http_advertised = SocketAddr::new(advertised.ip(), http_addr.port());
    let gossip = Gossip::start(
        &config.node,
        identity.clone(),
        advertised,
        Some(http_advertised),
        shutdown.clone(),
    )
    .await?;
    gossip.bar_while_superseded(readiness.clone());
    let peers = Peers::new(ClusterAuth::new(&identity, config.node.secret.expose()));
    let catalogue = CatalogueWatch::start(peers.clone(), gossip.clone(), shutdown.clone());
    let core = Core::new(identity.clone(), gossip.clone(), peers, catalogue);

    let meta_advertised = SocketAddr::new(advertised.ip(), meta_addr.port());
    let (routes, health) = doors::routes(&core, meta_advertised, config.api_key)?;
    let readying = tokio::spawn(follow(core, readiness.clone(), health, shutdown.clone()));
    let servers = [data, meta]
        .into_iter()
        .map(|listener| {
            tokio::spawn(rpc::serve(
                listener,
                routes.clone(),
                None,
                shutdown.clone(),
                DRAIN,
            ))
        })
        .collect();
    tracing::info!(node = %identity.node_id, data = %rpc_addr, meta = %meta_addr, http = %http_addr, "router listens");
    Ok(Running {
        node_id: identity.node_id,
        rpc_addr,
        meta_addr,
        http_addr,
        gossip_addr: gossip.local_addr(),
        readiness,
        shutdown,
        servers,
        tasks: vec![readying],
        _claim: claim,
    })
}

/// Keeps readiness and health as the catalogue, the latch and the node's name say, and passes a latch heard by the catalogue's stream on
/// to gossip.
async fn follow(core: Core, readiness: Readiness, health: HealthReporter, shutdown: Shutdown) {
    readiness.set(false, "the catalogue is not known yet");
    doors::set_health(&health, false, false).await;
    let mut views = core.watch().changed();
    let mut gossiped = core.gossip().latch();
    let mut superseded = core.gossip().superseded();
    let known = async {
        // Serving, and whether writes are, as last told.
        let mut told = None;
        loop {
            let view = views.borrow_and_update().clone();
            let alone = superseded.borrow_and_update().is_none();
            if let Some(view) = view {
                core.gossip().announce_latch(view.latch.clone());
                let tell = (alone, alone && !core.latch().tripped);
                if told != Some(tell) {
                    doors::set_health(&health, tell.0, tell.1).await;
                }
                if told.replace(tell).is_none() {
                    readiness.set(true, "the catalogue is known");
                }
            }
            let changed = tokio::select! {
                changed = views.changed() => changed,
                changed = gossiped.changed() => changed,
                changed = superseded.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = known => {}
        () = shutdown.wait() => {}
    }
    shutdown.wait().await;
    readiness.set(false, "stopping");
    doors::set_health(&health, false, false).await;
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
    /// When a server fails.
    pub async fn wait(mut self) -> anyhow::Result<()> {
        let mut end = Ok(());
        {
            let ended = futures::future::select_all(self.servers.iter_mut());
            tokio::select! {
                (served, ..) = ended => {
                    end = served.context("a server's task").and_then(|served| Ok(served?));
                }
                () = self.shutdown.wait() => {}
            }
        }
        self.shutdown.trigger();
        for server in self.servers.drain(..).filter(|server| !server.is_finished()) {
            // Bounded by its own drain.
            let served = server
                .await
                .context("a server's task")
                .and_then(|served| Ok(served?));
            end = end.and(served);
        }
        for task in self.tasks.drain(..) {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the router failed");
            }
        }
        end
    }
}
