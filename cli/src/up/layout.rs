//! Which nodes a local cluster has, where they listen and the arguments that say so. Plain data.

use std::{net::SocketAddr, path::PathBuf};

use longbow_client::Role;
use serde_json::{Value as Json, json};

use super::{identity::DataDir, ports::Ports};

/// How many nodes of each role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Wal-keepers.
    pub keepers: u32,
    /// Shards.
    pub shards: u32,
    /// Routers.
    pub routers: u32,
}

/// Where one node listens and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// Its id.
    pub node_id: String,
    /// Its role.
    pub role: Role,
    /// Where other nodes reach it; a router's data port.
    pub rpc: SocketAddr,
    /// A router's second port.
    pub meta: Option<SocketAddr>,
    /// Where it gossips.
    pub gossip: SocketAddr,
    /// Where it serves metrics and probes.
    pub http: SocketAddr,
    /// Where it keeps things.
    pub data_path: PathBuf,
    /// Arguments of `longbow role ROLE`.
    pub args: Vec<String>,
}

impl NodePlan {
    /// Where the node is, for machines.
    pub fn json(&self) -> Json {
        json!({
            "node_id": self.node_id,
            "role": self.role.as_str(),
            "rpc_addr": self.rpc.to_string(),
            "meta_addr": self.meta.map(|meta| meta.to_string()),
            "gossip_addr": self.gossip.to_string(),
            "http_addr": self.http.to_string(),
            "data_path": self.data_path.display().to_string(),
        })
    }
}

/// What every node is told besides its addresses.
#[derive(Debug, Clone, Default)]
pub struct Common {
    /// Arguments for all roles.
    pub all: Vec<String>,
    /// Arguments for shards.
    pub shards: Vec<String>,
    /// Arguments for routers.
    pub routers: Vec<String>,
}

/// Ports that the first router would like to have.
#[derive(Debug, Clone, Copy)]
pub struct Preferred {
    /// Data.
    pub data: u16,
    /// Meta.
    pub meta: u16,
    /// Metrics and probes.
    pub http: u16,
}

/// Addresses of one node before its arguments are known.
struct Place {
    node_id: String,
    role: Role,
    rpc: SocketAddr,
    meta: Option<SocketAddr>,
    gossip: SocketAddr,
    http: SocketAddr,
}

/// Lays out a cluster: keepers, shards, routers, in the order in which they start. Ports go to routers first.
pub fn plan(
    shape: Shape,
    dir: &DataDir,
    ports: &mut Ports,
    preferred: Option<Preferred>,
    common: &Common,
) -> anyhow::Result<Vec<NodePlan>> {
    let mut routers = Vec::new();
    for number in 0..shape.routers {
        routers.push(router(number, ports, preferred.filter(|_| number == 0))?);
    }
    let mut places = Vec::new();
    for number in 0..shape.keepers {
        places.push(inner("keeper", number, Role::WalKeeper, ports)?);
    }
    for number in 0..shape.shards {
        places.push(inner("shard", number, Role::Shard, ports)?);
    }
    places.append(&mut routers);
    let seeds = joined(places.iter().map(|place| place.gossip.to_string()));
    let voters = joined(
        places
            .iter()
            .filter(|place| place.role == Role::WalKeeper)
            .map(|place| place.node_id.clone()),
    );
    let finish = |place: Place| finish(place, dir, &seeds, &voters, common);
    Ok(places.into_iter().map(finish).collect())
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

fn router(number: u32, ports: &mut Ports, preferred: Option<Preferred>) -> anyhow::Result<Place> {
    let mut pick = |wish: Option<u16>| match wish {
        Some(port) => ports.prefer(port),
        None => ports.pick(),
    };
    Ok(Place {
        node_id: format!("router-{number}"),
        role: Role::Router,
        rpc: pick(preferred.map(|wish| wish.data))?,
        meta: Some(pick(preferred.map(|wish| wish.meta))?),
        http: pick(preferred.map(|wish| wish.http))?,
        gossip: pick(None)?,
    })
}

fn inner(name: &str, number: u32, role: Role, ports: &mut Ports) -> anyhow::Result<Place> {
    Ok(Place {
        node_id: format!("{name}-{number}"),
        role,
        rpc: ports.pick()?,
        meta: None,
        gossip: ports.pick()?,
        http: ports.pick()?,
    })
}

fn finish(place: Place, dir: &DataDir, seeds: &str, voters: &str, common: &Common) -> NodePlan {
    let data_path = dir.path().join(&place.node_id);
    let mut args = vec![
        "--config".to_owned(),
        dir.cluster_file().display().to_string(),
        "--node-id".to_owned(),
        place.node_id.clone(),
        "--data-path".to_owned(),
        data_path.display().to_string(),
        "--gossip-listen-addr".to_owned(),
        place.gossip.to_string(),
        "--gossip-advertise-addr".to_owned(),
        place.gossip.to_string(),
        "--gossip-seeds".to_owned(),
        seeds.to_owned(),
        "--http-listen-addr".to_owned(),
        place.http.to_string(),
        "--rpc-advertise-addr".to_owned(),
        place.rpc.to_string(),
    ];
    let mut add = |name: &str, value: &str| args.extend([name.to_owned(), value.to_owned()]);
    match place.role {
        Role::WalKeeper => {
            add("--rpc-listen-addr", &place.rpc.to_string());
            add("--keeper-initial-voters", voters);
        }
        Role::Shard => {
            add("--rpc-listen-addr", &place.rpc.to_string());
            args.extend(common.shards.iter().cloned());
        }
        Role::Router => {
            add("--router-listen-addr", &place.rpc.to_string());
            if let Some(meta) = place.meta {
                add("--router-meta-addr", &meta.to_string());
            }
            args.extend(common.routers.iter().cloned());
        }
    }
    args.extend(common.all.iter().cloned());
    NodePlan {
        node_id: place.node_id,
        role: place.role,
        rpc: place.rpc,
        meta: place.meta,
        gossip: place.gossip,
        http: place.http,
        data_path,
        args,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, net::Ipv4Addr};

    const SHAPE: Shape = Shape {
        keepers: 3,
        shards: 2,
        routers: 2,
    };

    fn value<'a>(plan: &'a NodePlan, flag: &str) -> Option<&'a str> {
        let at = plan.args.iter().position(|arg| arg == flag)?;
        plan.args.get(at + 1).map(String::as_str)
    }

    #[test]
    fn every_node_has_its_own_addresses_and_knows_all_seeds() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::open(temp.path()).unwrap();
        let mut ports = Ports::random(Ipv4Addr::LOCALHOST.into());
        let nodes = plan(SHAPE, &dir, &mut ports, None, &Common::default()).unwrap();
        let ids: Vec<&str> = nodes.iter().map(|node| node.node_id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "keeper-0", "keeper-1", "keeper-2", "shard-0", "shard-1", "router-0", "router-1"
            ]
        );
        let addresses: BTreeSet<SocketAddr> = nodes
            .iter()
            .flat_map(|node| [Some(node.rpc), node.meta, Some(node.gossip), Some(node.http)])
            .flatten()
            .collect();
        assert_eq!(addresses.len(), 7 * 3 + 2);
        for node in &nodes {
            assert_eq!(value(node, "--gossip-seeds").unwrap().split(',').count(), 7);
        }
        assert_eq!(
            value(&nodes[0], "--keeper-initial-voters"),
            Some("keeper-0,keeper-1,keeper-2")
        );
        assert_eq!(
            value(&nodes[5], "--router-listen-addr"),
            Some(nodes[5].rpc.to_string().as_str())
        );
        assert_eq!(value(&nodes[5], "--rpc-listen-addr"), None);
    }

    #[test]
    fn the_secret_is_in_no_argument() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::open(temp.path()).unwrap();
        let text = std::fs::read_to_string(dir.cluster_file()).unwrap();
        let secret = text
            .split("secret = \"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        let mut ports = Ports::random(Ipv4Addr::LOCALHOST.into());
        let nodes = plan(SHAPE, &dir, &mut ports, None, &Common::default()).unwrap();
        assert!(
            nodes
                .iter()
                .flat_map(|node| &node.args)
                .all(|arg| !arg.contains(secret))
        );
    }
}
