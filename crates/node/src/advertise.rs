//! Under which address do others reach what we bind?
//!
//! Explicit setting → the address bound, if it names one → the pod's address → the local address on the route to a seed
//! → with seeds of which none can be used yet, that on the default route → loopback.
//!
//! Loopback is of no use to other hosts, and what is advertised holds for the node's life. So it is taken only where
//! nobody but this host is named; a name of the node itself that stands for 127.0.1.1 does not decide.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use longbow_types::{Error, ErrorCode};
use tokio::{
    net::{UdpSocket, lookup_host},
    time::{Instant, timeout_at},
};

use crate::config::{NodeConfig, Seed};

/// How long names of seeds may take to be known: a container may start before its peers have names.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(250);
/// Addresses that no host has (RFC 5737, RFC 3849): the way to them is the default route.
const ANYWHERE_V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);
const ANYWHERE_V6: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9);

/// Where others reach the RPC that is bound to `bound`.
pub async fn rpc(config: &NodeConfig, bound: SocketAddr) -> Result<SocketAddr, Error> {
    resolve("rpc.advertise_addr", config.rpc_advertise.as_ref(), bound, config).await
}

/// Where others reach the gossip that is bound to `bound`: by default under the host of `rpc`, the RPC's own answer.
pub async fn gossip(config: &NodeConfig, bound: SocketAddr, rpc: SocketAddr) -> Result<SocketAddr, Error> {
    let explicit = config.gossip_advertise.as_ref();
    if explicit.is_none() && bound.ip().is_unspecified() && bound.is_ipv4() == rpc.is_ipv4() {
        return Ok(SocketAddr::new(rpc.ip(), bound.port()));
    }
    resolve("gossip.advertise_addr", explicit, bound, config).await
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
        None if config.seeds.is_empty() => loopback(bound),
        None => on_the_way_to(&config.seeds, key, bound).await,
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

/// The local address on the route to seeds, once one of them is known.
async fn on_the_way_to(seeds: &[Seed], key: &'static str, bound: SocketAddr) -> IpAddr {
    let end = Instant::now() + PATIENCE;
    loop {
        let mut routes = Vec::new();
        for seed in seeds {
            routes.extend(routes_to(seed, bound, end).await);
        }
        if let Some(ip) = best(&routes) {
            return ip;
        }
        if Instant::now() + PAUSE >= end {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    let anywhere = if bound.is_ipv4() { ANYWHERE_V4 } else { ANYWHERE_V6 };
    let ip = route_to(anywhere, bound).await.unwrap_or_else(|| loopback(bound));
    tracing::warn!(
        %ip,
        "no seed names another host that can be looked up and routed to: this node tells others to reach it at this \
         address, which may be wrong; set {key}"
    );
    ip
}

/// The address to advertise, of those on the routes to all that the seeds stand for; none where a seed is not known
/// and the others do not decide.
fn best(routes: &[Option<IpAddr>]) -> Option<IpAddr> {
    let known = || routes.iter().flatten();
    let outward = known().find(|ip| !ip.is_loopback());
    let only_here = || known().next().filter(|_| routes.iter().all(Option::is_some));
    outward.or_else(only_here).copied()
}

/// The local addresses on the routes to all that a seed stands for; one that is none where it is not known.
async fn routes_to(seed: &Seed, bound: SocketAddr, end: Instant) -> Vec<Option<IpAddr>> {
    let lookup = timeout_at(end, lookup_host((seed.host.as_str(), seed.port))).await;
    let targets: Vec<_> = match lookup {
        Ok(Ok(targets)) => targets.filter(|to| to.is_ipv4() == bound.is_ipv4()).collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    let mut routes = Vec::new();
    for target in targets {
        routes.push(route_to(target, bound).await);
    }
    if routes.is_empty() { vec![None] } else { routes }
}

/// The local address that packets to a target would leave from. Sends nothing: connecting a UDP socket only looks the
/// route up.
async fn route_to(target: SocketAddr, bound: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match bound {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await.ok()?;
    socket.connect(target).await.ok()?;
    let local = socket.local_addr().ok()?.ip();
    (!local.is_unspecified()).then_some(local)
}

fn loopback(bound: SocketAddr) -> IpAddr {
    match bound {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_taken_only_where_nobody_else_is_named() {
        let ip = |text: &str| Some(text.parse().unwrap());
        let here = ip("127.0.0.1");
        for (routes, want) in [
            (vec![], None),
            (vec![None], None),
            (vec![here], here),
            (vec![here, here], here),
            // Debian's 127.0.1.1 for the host's own name, beside a name that is not known yet.
            (vec![here, None], None),
            (vec![here, ip("10.0.0.2")], ip("10.0.0.2")),
            (vec![None, ip("10.0.0.2")], ip("10.0.0.2")),
            (vec![ip("fd00::1"), here], ip("fd00::1")),
        ] {
            assert_eq!(best(&routes), want, "{routes:?}");
        }
    }

    #[tokio::test]
    async fn a_seed_that_is_not_known_says_so() {
        let seed = |host: &str| Seed {
            host: host.to_owned(),
            port: 7946,
        };
        let end = Instant::now() + Duration::from_secs(30);
        let bound = "0.0.0.0:0".parse().unwrap();
        let routes = async |host| routes_to(&seed(host), bound, end).await;
        assert_eq!(routes("no-such-host.invalid").await, [None]);
        assert_eq!(routes("127.0.1.1").await, [Some(loopback(bound))]);
        // Nothing there that a socket of our family could reach.
        assert_eq!(routes("::1").await, [None]);
    }
}
