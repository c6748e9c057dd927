//! The settings every role has, as types.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use longbow_types::{ClusterId, Error, ErrorCode, NodeId, Role};

use super::{Secret, Settings};
use crate::telemetry::{self, LogFormat};

/// Port of gossip where a seed names none.
const GOSSIP_PORT: u16 = 7946;
/// Shorter secrets are refused: they can be guessed from one captured packet.
const SECRET_BYTES_MIN: usize = 16;

/// A node to join by: a host name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// Address or name; a name may stand for many nodes.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// How patient gossip is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GossipTiming {
    /// How often one other node is probed.
    pub probe_interval: Duration,
    /// How long a silent node may take to object before it is down.
    pub suspect_timeout: Duration,
    /// How often seeds are called while no other node is known.
    pub announce_interval: Duration,
}

/// What every role needs to know about itself.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// What the node is for.
    pub role: Role,
    /// The cluster.
    pub cluster_id: ClusterId,
    /// The cluster's secret.
    pub secret: Secret,
    /// The node's id, if given.
    pub node_id: Option<NodeId>,
    /// Where the node keeps things, if anywhere.
    pub data_path: Option<PathBuf>,
    /// Address of the pod, if given.
    pub pod_ip: Option<IpAddr>,
    /// Where to listen for other nodes.
    pub rpc_listen: SocketAddr,
    /// Host and port (0: the one listened on) where other nodes reach the RPC, if given.
    pub rpc_advertise: Option<(String, u16)>,
    /// Where to listen for gossip.
    pub gossip_listen: SocketAddr,
    /// Host and port (0: the one listened on) where other nodes reach the gossip, if given.
    pub gossip_advertise: Option<(String, u16)>,
    /// Nodes to join by.
    pub seeds: Vec<Seed>,
    /// How patient gossip is.
    pub gossip: GossipTiming,
    /// Where to serve metrics and health.
    pub http_listen: SocketAddr,
}

impl NodeConfig {
    /// Reads and checks them.
    pub fn from_settings(settings: &Settings, role: Role) -> Result<Self, Error> {
        let rpc_default = match role {
            Role::Router => 3000,
            Role::Shard => 3100,
            Role::WalKeeper => 3200,
        };
        let rpc_default = SocketAddr::from(([0, 0, 0, 0], rpc_default));
        let seeds = settings.host_ports("gossip.seeds", GOSSIP_PORT)?;
        check_log(settings)?;
        Ok(Self {
            role,
            cluster_id: settings.parsed("cluster.id", "1 to 63 letters, digits, '-', '_' or '.'")?,
            secret: secret(settings)?,
            node_id: optional(settings, "node.id", |s, key| {
                s.parsed(key, "1 to 63 letters, digits, '-', '_' or '.'")
            })?,
            data_path: settings.opt_path("data_path"),
            pod_ip: optional(settings, "node.pod_ip", |s, key| s.parsed(key, "an IP address"))?,
            rpc_listen: settings
                .opt_socket_addr("rpc.listen_addr")?
                .unwrap_or(rpc_default),
            rpc_advertise: settings.opt_host_port("rpc.advertise_addr", 0)?,
            gossip_listen: settings.socket_addr("gossip.listen_addr")?,
            gossip_advertise: settings.opt_host_port("gossip.advertise_addr", 0)?,
            seeds: seeds
                .into_iter()
                .map(|(host, port)| Seed { host, port })
                .collect(),
            gossip: GossipTiming {
                probe_interval: settings.duration("gossip.probe_interval")?,
                suspect_timeout: settings.duration("gossip.suspect_timeout")?,
                announce_interval: settings.duration("gossip.announce_interval")?,
            },
            http_listen: settings.socket_addr("http.listen_addr")?,
        })
    }
}

/// The process reads them, not the node; but a node is refused with them if they cannot be used.
fn check_log(settings: &Settings) -> Result<(), Error> {
    telemetry::filter(settings.str("log.level")?)?;
    settings
        .parsed::<LogFormat>("log.format", "text or json")
        .map(drop)
}

fn secret(settings: &Settings) -> Result<Secret, Error> {
    let secret = settings.secret("cluster.secret", "cluster.secret_file")?;
    let secret = secret.ok_or_else(|| settings.missing("cluster.secret"))?;
    if secret.expose().len() < SECRET_BYTES_MIN {
        let message = format!("the cluster secret has {} bytes", secret.expose().len());
        return Err(Error::new(ErrorCode::InvalidValue, message)
            .field("cluster.secret")
            .limit(format_args!("at least {SECRET_BYTES_MIN} bytes")));
    }
    Ok(secret)
}

fn optional<T>(
    settings: &Settings,
    key: &str,
    read: impl Fn(&Settings, &str) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    settings.opt_str(key).map(|_| read(settings, key)).transpose()
}
