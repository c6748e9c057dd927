//! A whole cluster of real processes, as `longbow up` starts it.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use longbow_wire::v1::{self, cluster_service_client::ClusterServiceClient};

use crate::{
    load::channel,
    process::{Process, has_ended, is_there, signal, wait_for_end},
    wait,
};

/// How long anything that ought to be quick may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How many processes of each role.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Wal-keepers.
    pub keepers: u32,
    /// Shards.
    pub shards: u32,
    /// Routers.
    pub routers: u32,
}

impl Shape {
    /// One of each.
    pub const SMALLEST: Self = Self {
        keepers: 1,
        shards: 1,
        routers: 1,
    };
}

/// One process of the cluster, as `longbow up --json` describes it.
#[derive(Debug, Clone)]
pub struct Node {
    /// Node id.
    pub id: String,
    /// Role.
    pub role: String,
    /// Process id at the last start.
    pub pid: u32,
    /// Where its RPC listens (a router's data port).
    pub rpc_addr: String,
    /// Where its metrics and probes listen.
    pub http_addr: String,
    /// Where its gossip listens.
    pub gossip_addr: String,
    /// Command line that starts it again.
    pub argv: Vec<String>,
}

/// A running cluster. Everything ends and is removed when it is dropped.
pub struct Cluster {
    dir: TempDir,
    binary: PathBuf,
    shape: Shape,
    env: Vec<(String, String)>,
    up: Option<Process>,
    nodes: Vec<Node>,
    restarted: HashMap<String, Process>,
}

impl Cluster {
    /// Starts a cluster in a fresh directory and waits until it is ready.
    pub fn start(binary: &Path, shape: Shape) -> Result<Self> {
        Self::start_with(binary, shape, &[])
    }

    /// Like [`Cluster::start`], with variables in the environment of every process.
    pub fn start_with(binary: &Path, shape: Shape, env: &[(String, String)]) -> Result<Self> {
        let mut cluster = Self {
            dir: tempfile::Builder::new().prefix("longbow-test-").tempdir()?,
            binary: binary.to_owned(),
            shape,
            env: env.to_vec(),
            up: None,
            nodes: Vec::new(),
            restarted: HashMap::new(),
        };
        cluster.up()?;
        Ok(cluster)
    }

    /// Starts all processes on the cluster's directory.
    pub fn up(&mut self) -> Result<()> {
        ensure!(self.up.is_none(), "the cluster is already up");
        let Shape {
            keepers,
            shards,
            routers,
        } = self.shape;
        let mut argv = vec![self.binary.display().to_string(), "up".into(), "--json".into()];
        argv.extend(["--data-dir".into(), self.data_dir().display().to_string()]);
        argv.extend([
            format!("--keepers={keepers}"),
            format!("--shards={shards}"),
            format!("--routers={routers}"),
        ]);
        let mut up = Process::start(&argv, &self.env, &self.dir.path().join("up.log"))?;
        let stdout = up.stdout().context("standard output is piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.is_empty() {
            bail!("longbow up ended before it was ready:\n{}", up.log());
        }
        self.nodes = parse_nodes(&line).with_context(|| format!("reading {line:?}"))?;
        self.up = Some(up);
        Ok(())
    }

    /// Stops all processes with SIGTERM; they must end cleanly.
    pub fn down(&mut self) -> Result<()> {
        for (id, mut process) in self.restarted.drain() {
            let status = process.terminate(PATIENCE)?;
            ensure!(
                status.success(),
                "{id} ended with {status} after SIGTERM:\n{}",
                process.log()
            );
        }
        if let Some(mut up) = self.up.take() {
            let status = up.terminate(PATIENCE)?;
            ensure!(
                status.success(),
                "longbow up ended with {status} after SIGTERM:\n{}",
                up.log()
            );
        }
        Ok(())
    }

    /// Directory that holds the data of all nodes.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The nodes of a role.
    pub fn of_role<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a Node> {
        self.nodes.iter().filter(move |node| node.role == role)
    }

    /// URLs of all routers.
    pub fn endpoints(&self) -> Vec<String> {
        self.of_role("router")
            .map(|node| format!("http://{}", node.rpc_addr))
            .collect()
    }

    /// Kills one process with SIGKILL and waits for the end.
    pub fn kill(&mut self, id: &str) -> Result<()> {
        match self.restarted.remove(id) {
            Some(mut process) => process.kill(),
            None => {
                // A child of `longbow up`, which is told of its end: what it had locked is free then.
                let pid = self.node(id)?.pid;
                signal(pid, Signal::KILL)?;
                wait_for_end(pid)
            }
        }
    }

    /// Stops one process with SIGSTOP: it neither runs nor ends until [`Cluster::resume`].
    pub fn pause(&self, id: &str) -> Result<()> {
        signal(self.node(id)?.pid, Signal::STOP)
    }

    /// Lets a stopped process go on.
    pub fn resume(&self, id: &str) -> Result<()> {
        signal(self.node(id)?.pid, Signal::CONT)
    }

    /// Process id of a node's last start.
    pub fn pid(&self, id: &str) -> Result<u32> {
        Ok(self.node(id)?.pid)
    }

    /// Waits until a process has ended, by itself or because it was killed, and what it had locked is free.
    pub async fn ended(&mut self, id: &str) -> Result<()> {
        let pid = self.node(id)?.pid;
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let has_ended = match self.restarted.get_mut(id) {
                Some(process) => !process.is_running(),
                // A child of `longbow up`, which is told of its end.
                None => !is_there(pid),
            };
            if has_ended {
                return Ok(());
            }
            ensure!(tokio::time::Instant::now() < until, "{id} does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Takes away all that a node has on disk, which must not run.
    pub fn wipe(&self, id: &str) -> Result<()> {
        let path = self.data_dir().join(id);
        std::fs::remove_dir_all(&path).with_context(|| format!("removing {}", path.display()))
    }

    /// Sets a variable of the environment in which processes are started from now on.
    pub fn set_env(&mut self, key: &str, value: &str) {
        self.env.retain(|(present, _)| present != key);
        self.env.push((key.to_owned(), value.to_owned()));
    }

    /// Starts a killed process again with the command line it had.
    pub fn restart(&mut self, id: &str) -> Result<()> {
        let log = self.dir.path().join(format!("{id}.restarted.log"));
        let process = Process::start(&self.node(id)?.argv, &self.env, &log)?;
        let pid = process.pid();
        self.restarted.insert(id.to_owned(), process);
        let node = self
            .nodes
            .iter_mut()
            .find(|node| node.id == id)
            .context("no such node")?;
        node.pid = pid;
        Ok(())
    }

    /// Starts one more node, like one there is but for its name, its addresses and its empty disk.
    pub fn join(&mut self, like: &str, id: &str) -> Result<()> {
        let mut node = self.node(like)?.clone();
        node.id = id.to_owned();
        for addr in [&mut node.rpc_addr, &mut node.http_addr, &mut node.gossip_addr] {
            // Free now, and nobody else asks for it within moments.
            *addr = std::net::TcpListener::bind("127.0.0.1:0")?
                .local_addr()?
                .to_string();
        }
        let data_path = self.data_dir().join(id).display().to_string();
        for at in 1..node.argv.len() {
            let value = match node.argv[at - 1].as_str() {
                "--node-id" => id,
                "--data-path" => &data_path,
                "--rpc-listen-addr" | "--rpc-advertise-addr" => &node.rpc_addr,
                "--gossip-listen-addr" | "--gossip-advertise-addr" => &node.gossip_addr,
                "--http-listen-addr" => &node.http_addr,
                _ => continue,
            };
            node.argv[at] = value.to_owned();
        }
        self.nodes.push(node);
        self.restart(id)
    }

    /// Waits until a node answers `/readyz` with 200. Fails at once if it ends.
    pub async fn ready(&self, id: &str) -> Result<()> {
        let (pid, addr) = (self.pid(id)?, self.node(id)?.http_addr.clone());
        wait::until(&format!("{id} to be ready"), PATIENCE, || async {
            if has_ended(pid) {
                let log = self.restarted_log(id).or_else(|_| self.log(id))?;
                return Ok(Err(anyhow!("{id} has ended:\n{log}")));
            }
            let (status, body) = http_get(&addr, "/readyz").await?;
            ensure!(status == 200, "/readyz answered {status}: {body}");
            Ok(Ok(()))
        })
        .await?
    }

    /// What a node has written to its log since the cluster came up.
    pub fn log(&self, id: &str) -> Result<String> {
        let path = self.data_dir().join(format!("{id}.log"));
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// What a node has written to its log since it was started again.
    pub fn restarted_log(&self, id: &str) -> Result<String> {
        let path = self.dir.path().join(format!("{id}.restarted.log"));
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    fn node(&self, id: &str) -> Result<&Node> {
        self.nodes
            .iter()
            .find(|node| node.id == id)
            .with_context(|| format!("no node {id}"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if let Err(error) = self.down() {
            eprintln!("stopping the cluster: {error:#}");
        }
        if failed {
            let kept = std::mem::replace(&mut self.dir, TempDir::new().expect("a temporary directory"));
            eprintln!("logs and data are kept in {}", kept.keep().display());
        }
    }
}

fn parse_nodes(line: &str) -> Result<Vec<Node>> {
    let report: Value = serde_json::from_str(line)?;
    let nodes = report["nodes"].as_array().context("no nodes")?;
    nodes
        .iter()
        .map(|node| {
            let text = |key: &str| -> Result<String> {
                Ok(node[key]
                    .as_str()
                    .with_context(|| format!("no {key} in {node}"))?
                    .to_owned())
            };
            let argv = node["argv"].as_array().context("no argv")?;
            Ok(Node {
                id: text("node_id")?,
                role: text("role")?,
                pid: u32::try_from(node["pid"].as_u64().context("no pid")?)?,
                rpc_addr: text("rpc_addr")?,
                http_addr: text("http_addr")?,
                gossip_addr: text("gossip_addr")?,
                argv: argv
                    .iter()
                    .map(|arg| Ok(arg.as_str().context("a word")?.to_owned()))
                    .collect::<Result<_>>()?,
            })
        })
        .collect()
}

/// How the cluster is, as a router tells.
pub async fn status_of(endpoint: &str) -> Result<v1::GetClusterStatusResponse> {
    let mut admin = ClusterServiceClient::new(channel(endpoint)?);
    let answer = admin.get_cluster_status(v1::GetClusterStatusRequest {}).await?;
    Ok(answer.into_inner())
}

/// The leader of the keepers, once it is known and another than this.
pub async fn leader_but(endpoint: &str, last: &str) -> Result<String> {
    wait::until("a leader", PATIENCE, || async {
        let leader = status_of(endpoint).await?.leader;
        ensure!(!leader.is_empty() && leader != last, "it is {leader:?}");
        Ok(leader)
    })
    .await
}

/// Waits until a router says this among what an operator should know.
pub async fn warned(endpoint: &str, of: &str) -> Result<()> {
    wait::until(&format!("a warning of {of}"), PATIENCE, || async {
        let warnings = status_of(endpoint).await?.warnings;
        ensure!(
            warnings.iter().any(|text| text.contains(of)),
            "warned is of {warnings:?}"
        );
        Ok(())
    })
    .await
}

/// A plain HTTP GET: status and body.
pub async fn http_get(addr: &str, path: &str) -> Result<(u16, String)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(addr).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer
        .split_whitespace()
        .nth(1)
        .context("no status line")?
        .parse()?;
    let body = answer
        .split_once("\r\n\r\n")
        .map_or("", |(_, body)| body)
        .to_owned();
    Ok((status, body))
}
