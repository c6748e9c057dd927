//! Under which address do others reach what we bind?
//!
//! Explicit setting → the address bound, if it names one → the pod's address → the local address on the route to the
//! first seed → loopback.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use longbow_types::{Error, ErrorCode};
use tokio::net::{UdpSocket, lookup_host};

use crate::config::{NodeConfig, Seed};

/// Where others reach the RPC that is bound to `bound`.
pub async fn rpc(config: &NodeConfig, bound: SocketAddr) -> Result<SocketAddr, Error> {
    resolve("rpc.advertise_addr", config.rpc_advertise.as_ref(), bound, config).await
}

/// Where others reach the gossip that is bound to `bound`. Falls back to the host of `rpc.advertise_addr`.
pub async fn gossip(config: &NodeConfig, bound: SocketAddr) -> Result<SocketAddr, Error> {
    let by_rpc = config.rpc_advertise.as_ref().map(|(host, _)| (host.clone(), 0));
    match &config.gossip_advertise {
        None if bound.ip().is_unspecified() => {
            resolve("rpc.advertise_addr", by_rpc.as_ref(), bound, config).await
        }
        explicit => resolve("gossip.advertise_addr", explicit.as_ref(), bound, config).await,
    }
}

async fn resolve(
    key: &'static str,
    explicit: Option<&(String, u16)>,
    bound: SocketAddr,
    config: &NodeConfig,
) -> Result<SocketAddr, Error> {
    if let Some((host, port)) = explicit {
        let port = if *port == 0 { bound.port() } else { *port };
        return lookup(key, host, port, bound).await;
    }
    if !bound.ip().is_unspecified() {
        return Ok(bound);
    }
    let ip = match config.pod_ip {
        Some(ip) => ip,
        None => route_to(config.seeds.first(), bound)
            .await
            .unwrap_or_else(|| loopback(bound)),
    };
    Ok(SocketAddr::new(ip, bound.port()))
}

async fn lookup(key: &'static str, host: &str, port: u16, bound: SocketAddr) -> Result<SocketAddr, Error> {
    let failed =
        |why: String| Error::new(ErrorCode::InvalidValue, format!("{key}: {host}: {why}")).field(key);
    let found = lookup_host((host, port))
        .await
        .map_err(|error| failed(error.to_string()))?;
    let found: Vec<_> = found.filter(|addr| !addr.ip().is_unspecified()).collect();
    // Of several prefer one of the family that we listen on.
    let fitting = found
        .iter()
        .find(|addr| addr.is_ipv4() == bound.is_ipv4())
        .or(found.first());
    fitting
        .copied()
        .ok_or_else(|| failed("names no address that others could reach".to_owned()))
}

/// The local address that packets to a seed would leave from. Sends nothing: connecting a UDP socket only looks the
/// route up.
async fn route_to(seed: Option<&Seed>, bound: SocketAddr) -> Option<IpAddr> {
    let seed = seed?;
    let any = loopback(bound);
    let any: IpAddr = if any.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    for target in lookup_host((seed.host.as_str(), seed.port)).await.ok()? {
        let Ok(socket) = UdpSocket::bind((any, 0)).await else {
            continue;
        };
        if socket.connect(target).await.is_ok()
            && let Ok(local) = socket.local_addr()
            && !local.ip().is_unspecified()
        {
            return Some(local.ip());
        }
    }
    None
}

fn loopback(bound: SocketAddr) -> IpAddr {
    match bound {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}
