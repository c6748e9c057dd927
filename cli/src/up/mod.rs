//! `longbow up`: a cluster of real processes on this machine, each of them this binary in one role.

mod child;
pub mod identity;
pub mod layout;
pub mod ports;
pub mod probe;
mod report;

use std::{
    net::IpAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Args;
use futures::{StreamExt, stream::FuturesUnordered};
use longbow_client::Role;
use longbow_node::shutdown::Shutdown;

use self::{
    child::{Node, ending},
    identity::DataDir,
    layout::{Common, Shape},
    ports::Ports,
};
use crate::{
    args::{Global, folder},
    output::say,
};

const EXAMPLES: &str = "\
Examples:
  longbow up
  longbow up --keepers 3 --shards 2 --routers 2 --data-dir /var/tmp/longbow
  longbow up --base-port 3000 --json

The cluster's id and secret are made once and kept in DATA-DIR/cluster.toml; the log of each node is in
DATA-DIR/NODE.log. Ctrl-C or SIGTERM stops all nodes cleanly. A node that ends by itself is reported, and the others go
on; the command line printed for it with --json starts it again.";

/// Pause between two looks at a node that is starting.
const PROBE_EVERY: Duration = Duration::from_millis(20);
/// How long a node may take to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// Arguments of `longbow up`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct UpArgs {
    /// Wal-keepers; 3 or 5 survive the loss of 1 or 2, an even number survives no more than one fewer.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=7))]
    pub keepers: u32,
    /// Shards; with 2 or more each row is kept twice.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=32))]
    pub shards: u32,
    /// Routers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub routers: u32,
    /// Where the cluster keeps everything; made if it is not there.
    #[arg(long, default_value = ".longbow/up", value_name = "DIR", value_parser = folder)]
    pub data_dir: PathBuf,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1", value_name = "IP")]
    pub host: IpAddr,
    /// Use ports from this one on, the routers' first, instead of free ones.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub base_port: Option<u16>,
    /// Log level of the nodes.
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    pub log_level: String,
    /// How long to wait until every node is ready.
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = crate::args::duration)]
    pub ready_timeout: Duration,
}

/// Runs the command.
pub async fn run(args: &UpArgs, global: &Global) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    shutdown.on_signals().context("listening for signals")?;
    let started = Instant::now();
    let dir = DataDir::open(&args.data_dir)?;
    if args.keepers.is_multiple_of(2) {
        let (given, fewer) = (args.keepers, args.keepers - 1);
        eprintln!("note: {given} wal-keepers survive the loss of no more than {fewer} do: use an odd number");
    }
    let mut nodes = start_all(args, &dir)?;
    tokio::select! {
        outcome = all_ready(&mut nodes, args.ready_timeout) => {
            if let Err(error) = outcome {
                stop_all(&mut nodes).await?;
                return Err(error);
            }
            let text = if global.json {
                report::json(&dir, &nodes, started.elapsed()).to_string()
            } else {
                report::text(&dir, &nodes, started.elapsed())
            };
            // Whoever started this may have closed the pipe after what it wanted; the cluster goes on.
            let _ = say(&text);
            watch(&mut nodes, &shutdown).await;
        }
        () = shutdown.wait() => {}
    }
    stop_all(&mut nodes).await
}

fn start_all(args: &UpArgs, dir: &DataDir) -> anyhow::Result<Vec<Node>> {
    let shape = Shape {
        keepers: args.keepers,
        shards: args.shards,
        routers: args.routers,
    };
    let mut ports = match args.base_port {
        Some(base) => Ports::from(args.host, base),
        None => Ports::random(args.host),
    };
    let common = Common {
        all: vec!["--log-level".to_owned(), args.log_level.clone()],
        ..Common::default()
    };
    let plans = layout::plan(shape, dir, &mut ports, None, &common)?;
    // From here on the nodes take the ports.
    drop(ports);
    let program = std::env::current_exe().context("finding this program's file")?;
    plans
        .into_iter()
        .map(|plan| Node::start(plan, &program, dir.path()))
        .collect()
}

/// Waits until every node is ready; an error if one ends or takes too long.
async fn all_ready(nodes: &mut [Node], patience: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    for node in nodes {
        let id = &node.plan.node_id.clone();
        loop {
            if let Some(status) = node.ended()? {
                bail!(
                    "{id} {} before it was ready:\n{}",
                    ending(status),
                    node.log_tail()
                );
            }
            let Err(why) = probe::ready(node.plan.http).await else {
                break;
            };
            if Instant::now() >= deadline {
                bail!("{id} is not ready after {patience:?}: {why}\n{}", node.log_tail());
            }
            tokio::time::sleep(PROBE_EVERY).await;
        }
    }
    Ok(())
}

/// Reports nodes that end by themselves, until asked to stop.
async fn watch(nodes: &mut [Node], shutdown: &Shutdown) {
    let mut ends: FuturesUnordered<_> = nodes
        .iter_mut()
        .map(|node| async move {
            let status = node.end().await;
            (node, status)
        })
        .collect();
    loop {
        tokio::select! {
            Some((node, status)) = ends.next() => {
                let how = status.map_or_else(|error| format!("was lost: {error}"), ending);
                eprintln!(
                    "{} {how}; the other nodes go on. Its log ends:\n{}start it again with:\n  {}",
                    node.plan.node_id,
                    node.log_tail(),
                    report::shell(&node.argv),
                );
            }
            () = shutdown.wait() => return,
        }
    }
}

/// Stops routers, then shards, then keepers. Nodes that had ended before do not count; one that fails to stop does.
async fn stop_all(nodes: &mut [Node]) -> anyhow::Result<()> {
    let mut failed = Vec::new();
    for role in [Role::Router, Role::Shard, Role::WalKeeper] {
        let mut stops: FuturesUnordered<_> = nodes
            .iter_mut()
            .filter(|node| node.plan.role == role)
            .map(|node| async move {
                if node.ended()?.is_some() {
                    return Ok(None);
                }
                let status = node.stop(STOP_PATIENCE).await?;
                let complaint = (!status.success())
                    .then(|| format!("{} {}:\n{}", node.plan.node_id, ending(status), node.log_tail()));
                anyhow::Ok(complaint)
            })
            .collect();
        while let Some(outcome) = stops.next().await {
            failed.extend(outcome?);
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("not stopped cleanly: {}", failed.join("\n"))
}
