//! Ports that are free now: for TCP and UDP alike, and outside the range from which the system picks ports of
//! outgoing connections, so that a node which is restarted finds its port free.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
};

use anyhow::bail;
use rand::Rng;

/// Below the ephemeral range of Linux (32,768), macOS and Windows (49,152).
const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;

/// Picks ports on one address. What was picked stays bound until this is dropped, so that no two picks collide.
pub struct Ports {
    host: IpAddr,
    next: u16,
    fixed: bool,
    held: Vec<(TcpListener, UdpSocket)>,
    taken: BTreeSet<u16>,
}

impl Ports {
    /// Free ports from a random place on.
    pub fn random(host: IpAddr) -> Self {
        Self::starting(host, rand::rng().random_range(FIRST..LAST), false)
    }

    /// Ports from `base` on, one after the other; each must be free.
    pub fn from(host: IpAddr, base: u16) -> Self {
        Self::starting(host, base, true)
    }

    fn starting(host: IpAddr, next: u16, fixed: bool) -> Self {
        Self {
            host,
            next,
            fixed,
            held: Vec::new(),
            taken: BTreeSet::new(),
        }
    }

    /// The next port.
    pub fn pick(&mut self) -> anyhow::Result<SocketAddr> {
        for _ in FIRST..LAST {
            let port = self.next;
            self.next = match port.checked_add(1) {
                Some(next) if self.fixed || next < LAST => next,
                Some(_) => FIRST,
                None => bail!("there are no ports above 65535; choose a smaller --base-port"),
            };
            if self.hold(port) {
                return Ok(SocketAddr::new(self.host, port));
            }
            if self.fixed {
                bail!(
                    "port {port} of {} is in use; choose another --base-port",
                    self.host
                );
            }
        }
        bail!("no free port on {}", self.host)
    }

    /// This port if it is free, else the next.
    pub fn prefer(&mut self, port: u16) -> anyhow::Result<SocketAddr> {
        if self.hold(port) {
            return Ok(SocketAddr::new(self.host, port));
        }
        self.pick()
    }

    fn hold(&mut self, port: u16) -> bool {
        if port == 0 || self.taken.contains(&port) {
            return false;
        }
        let address = (self.host, port);
        let Ok(tcp) = TcpListener::bind(address) else {
            return false;
        };
        let Ok(udp) = UdpSocket::bind(address) else {
            return false;
        };
        self.held.push((tcp, udp));
        self.taken.insert(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn picks_differ_and_are_outside_the_ephemeral_range() {
        let mut ports = Ports::random(HOST);
        let picked: BTreeSet<u16> = (0..40).map(|_| ports.pick().unwrap().port()).collect();
        assert_eq!(picked.len(), 40);
        assert!(picked.iter().all(|port| (FIRST..LAST).contains(port)));
    }

    #[test]
    fn a_preferred_port_that_is_taken_gives_another() {
        let mut ports = Ports::random(HOST);
        let mine = ports.pick().unwrap();
        let mut others = Ports::random(HOST);
        assert_ne!(others.prefer(mine.port()).unwrap(), mine);
        drop(ports);
        assert_eq!(Ports::random(HOST).prefer(mine.port()).unwrap(), mine);
    }

    #[test]
    fn a_fixed_base_is_kept_or_refused() {
        let mut random = Ports::random(HOST);
        let taken = random.pick().unwrap().port();
        assert!(
            Ports::from(HOST, taken)
                .pick()
                .unwrap_err()
                .to_string()
                .contains("in use")
        );
        assert!(Ports::from(HOST, u16::MAX).pick().is_err());
    }
}
