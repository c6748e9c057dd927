//! A whole cluster in this process: the same roles, settings, RPC, log and gossip as separate processes.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use longbow_client::Role;
use longbow_node::{
    config::{Loaded, Loader, Settings},
    http::Readiness,
    shutdown::Shutdown,
};
use tokio::task::JoinHandle;

use crate::{role, up::layout::NodePlan};

/// How long a role may take to drain.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// One role that runs in this process.
struct Node {
    plan: NodePlan,
    /// Stops this role alone.
    shutdown: Shutdown,
    readiness: Readiness,
    /// Ends when the role has.
    role: JoinHandle<anyhow::Result<()>>,
}

/// The running cluster.
pub struct Cluster {
    nodes: Vec<Node>,
}

impl Cluster {
    /// Starts all nodes; they listen but may not be ready yet.
    pub async fn start(plans: Vec<NodePlan>) -> anyhow::Result<Self> {
        let mut cluster = Self { nodes: Vec::new() };
        for plan in plans {
            let node_id = plan.node_id.clone();
            match Node::start(plan).await {
                Ok(node) => cluster.nodes.push(node),
                Err(error) => {
                    // What started must not go on writing to the data directory.
                    let _ = cluster.stop().await;
                    return Err(error.context(format!("starting {node_id}")));
                }
            }
        }
        Ok(cluster)
    }

    /// Waits until every node is ready.
    pub async fn ready(&self, patience: Duration) -> anyhow::Result<()> {
        let all = async {
            for node in &self.nodes {
                node.readiness.ready().await;
            }
        };
        if tokio::time::timeout(patience, all).await.is_ok() {
            return Ok(());
        }
        let late = self.nodes.iter().find(|node| !node.readiness.is_ready());
        let late = late.context("a node became ready too late")?;
        let (_, why) = late.readiness.get();
        anyhow::bail!("{} is not ready after {patience:?}: {why}", late.plan.node_id)
    }

    /// Where the router takes requests: its data port, its meta port, its metrics.
    pub fn router(&self) -> anyhow::Result<(SocketAddr, Option<SocketAddr>, SocketAddr)> {
        let node = self.nodes.iter().find(|node| node.plan.role == Role::Router);
        let plan = &node.context("the cluster has no router")?.plan;
        Ok((plan.rpc, plan.meta, plan.http))
    }

    /// The nodes as they were laid out.
    pub fn plans(&self) -> impl Iterator<Item = &NodePlan> {
        self.nodes.iter().map(|node| &node.plan)
    }

    /// Stops routers, then shards, then keepers, each after it has drained. Tells the first failure.
    pub async fn stop(self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        for node in self.nodes.into_iter().rev() {
            node.shutdown.trigger();
            let ended = match tokio::time::timeout(STOP_PATIENCE, node.role).await {
                Ok(joined) => joined.map_err(anyhow::Error::from).and_then(|ended| ended),
                Err(_) => Err(anyhow::anyhow!("did not stop within {STOP_PATIENCE:?}")),
            };
            outcome = outcome.and(ended.context(node.plan.node_id));
        }
        outcome
    }
}

impl Node {
    async fn start(plan: NodePlan) -> anyhow::Result<Self> {
        let shutdown = Shutdown::new();
        let (readiness, role) = match plan.role {
            Role::WalKeeper => {
                let settings = settings(&role::keeper_loader(), &plan)?;
                let config = longbow_wal_keeper::Config::from_settings(&settings)?;
                let running = longbow_wal_keeper::start(config, shutdown.clone()).await?;
                let readiness = running.readiness().clone();
                (readiness, watched(&plan, &shutdown, running.wait()))
            }
            Role::Shard => {
                let settings = settings(&role::shard_loader(), &plan)?;
                let config = longbow_shard::Config::from_settings(&settings)?;
                let running = longbow_shard::start(config, shutdown.clone()).await?;
                let readiness = running.readiness().clone();
                (readiness, watched(&plan, &shutdown, running.wait()))
            }
            Role::Router => {
                let settings = settings(&role::router_loader(), &plan)?;
                let config = longbow_router::Config::from_settings(&settings)?;
                let running = longbow_router::start(config, shutdown.clone()).await?;
                let readiness = running.readiness().clone();
                (readiness, watched(&plan, &shutdown, running.wait()))
            }
        };
        Ok(Self {
            plan,
            shutdown,
            readiness,
            role,
        })
    }
}

/// Waits for the end of a role; tells at once if it ends unasked. The others go on.
fn watched(
    plan: &NodePlan,
    shutdown: &Shutdown,
    end: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) -> JoinHandle<anyhow::Result<()>> {
    let (node_id, shutdown) = (plan.node_id.clone(), shutdown.clone());
    tokio::spawn(async move {
        let outcome = end.await;
        if !shutdown.is_triggered() {
            let how = outcome
                .as_ref()
                .map_or_else(|error| format!("{error:#}"), |()| "no reason given".to_owned());
            eprintln!("{node_id} has ended: {how}; the other nodes go on");
        }
        outcome
    })
}

/// Settings from the plan's arguments alone: the environment is meant for clusters that last.
fn settings(loader: &Loader, plan: &NodePlan) -> anyhow::Result<Settings> {
    let args = std::iter::once("longbow".to_owned()).chain(plan.args.iter().cloned());
    match loader.load_from(args, [])? {
        Loaded::Run(settings) => Ok(settings),
        Loaded::Refused(refused) => Err(refused.error.into()),
        Loaded::Print(_) => anyhow::bail!("the arguments of {} ask for help", plan.node_id),
    }
}
