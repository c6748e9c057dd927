//! The network between keepers, in the hands of a test: any direction can be cut and mended, without being root.
//!
//! Connections of keepers come here first (see `shim/faults.c`) and are passed on. What travels in a direction that is cut
//! waits, as it would for an answer that never comes; a connection is not made while either direction is cut. Gossip's
//! packets are lost at the sender.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, Result};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
};

use crate::{
    cluster::Cluster,
    faults::{Fault, Faults, Injected},
};

const PREAMBLE_BYTES: usize = 32;
const BUFFER_BYTES: usize = 64 << 10;

/// From a node to a node.
type Direction = (String, String);

/// All links between keepers. They are gone with it.
pub struct Links {
    shared: Arc<Shared>,
    address: SocketAddr,
    gossip_ports: BTreeMap<String, u16>,
    packets: Vec<Injected>,
    accepting: tokio::task::JoinHandle<()>,
}

struct Shared {
    cuts: watch::Sender<BTreeSet<Direction>>,
    /// Which node listens at which port.
    names: Mutex<BTreeMap<u16, String>>,
    /// Pieces of data and new connections that had to wait.
    held: AtomicU64,
}

impl Links {
    /// Waits for connections.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            cuts: watch::Sender::default(),
            names: Mutex::default(),
            held: AtomicU64::new(0),
        });
        let theirs = shared.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(theirs.clone().pass(stream));
            }
        });
        Ok(Self {
            shared,
            address,
            gossip_ports: BTreeMap::new(),
            packets: Vec::new(),
            accepting,
        })
    }

    /// What keepers must find in their environment, beside that of [`Faults`].
    pub fn env(&self) -> (String, String) {
        ("FAULTS_SWITCH".to_owned(), self.address.port().to_string())
    }

    /// Learns who listens where.
    pub fn know(&mut self, cluster: &Cluster) -> Result<()> {
        let port = |address: &str| -> Result<u16> { Ok(address.parse::<SocketAddr>()?.port()) };
        for node in cluster.nodes() {
            self.shared
                .names
                .lock()
                .insert(port(&node.rpc_addr)?, node.id.clone());
            self.gossip_ports
                .insert(node.id.clone(), port(&node.gossip_addr)?);
        }
        Ok(())
    }

    /// From now on nothing that the one sends arrives at the other.
    pub fn cut(&mut self, faults: &Faults, from: &str, to: &str) -> Result<()> {
        let port = *self.gossip_ports.get(to).context("no such node")?;
        self.packets.push(faults.inject(from, Fault::Cut(port))?);
        let direction = (from.to_owned(), to.to_owned());
        self.shared.cuts.send_if_modified(|cuts| cuts.insert(direction));
        Ok(())
    }

    /// Everything arrives again: what was held up, or lost, since it was cut.
    pub fn mend(&mut self) -> HeldUp {
        self.shared.cuts.send_modify(BTreeSet::clear);
        HeldUp {
            data: self.shared.held.swap(0, Ordering::Relaxed),
            packets: self.packets.drain(..).map(|rule| rule.fired()).sum(),
        }
    }
}

/// What a cut has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldUp {
    /// Pieces of data, and new connections, that had to wait.
    pub data: u64,
    /// Packets of gossip that were lost.
    pub packets: u64,
}

impl Drop for Links {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    /// Passes one connection on, until either side ends it.
    async fn pass(self: Arc<Self>, mut near: TcpStream) {
        let mut preamble = [0; PREAMBLE_BYTES];
        if near.read_exact(&mut preamble).await.is_err() {
            return;
        }
        let Some((caller, port)) = parse(&preamble) else {
            return;
        };
        self.passable(|shared, cuts| {
            let called = shared.name(port);
            cuts.contains(&(caller.clone(), called.clone())) || cuts.contains(&(called, caller.clone()))
        })
        .await;
        let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else {
            return;
        };
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        let there = self.pump(near_in, far_out, |shared| (caller.clone(), shared.name(port)));
        let back = self.pump(far_in, near_out, |shared| (shared.name(port), caller.clone()));
        tokio::join!(there, back);
    }

    /// One direction of a connection.
    async fn pump(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        direction: impl Fn(&Self) -> Direction,
    ) {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let read = from.read(&mut buffer).await.unwrap_or(0);
            self.passable(|shared, cuts| cuts.contains(&direction(shared)))
                .await;
            if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
                // Also the end of a connection takes the way of its data.
                return;
            }
        }
    }

    /// Waits until something is not cut.
    async fn passable(&self, is_cut: impl Fn(&Self, &BTreeSet<Direction>) -> bool) {
        let mut cuts = self.cuts.subscribe();
        if is_cut(self, &cuts.borrow_and_update()) {
            self.held.fetch_add(1, Ordering::Relaxed);
        }
        // The sender lives as long as we do.
        let _ = cuts.wait_for(|cuts| !is_cut(self, cuts)).await;
    }

    fn name(&self, port: u16) -> String {
        self.names.lock().get(&port).cloned().unwrap_or_default()
    }
}

/// Who calls, and which port.
fn parse(preamble: &[u8; PREAMBLE_BYTES]) -> Option<(String, u16)> {
    let text = std::str::from_utf8(preamble).ok()?.trim_end_matches('\0');
    let (node, port) = text.split_once(' ')?;
    Some((node.to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::PATIENCE;

    /// Sends back what it gets.
    async fn echo(listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut input, mut output) = stream.into_split();
                tokio::io::copy(&mut input, &mut output).await
            });
        }
    }

    async fn call(links: &Links, port: u16) -> TcpStream {
        let mut preamble = [0; PREAMBLE_BYTES];
        let text = format!("one {port}");
        preamble[..text.len()].copy_from_slice(text.as_bytes());
        let mut stream = TcpStream::connect(links.address).await.unwrap();
        stream.write_all(&preamble).await.unwrap();
        stream
    }

    async fn held(links: &Links, pieces: u64) {
        crate::wait::until("something to wait", PATIENCE, || async {
            let held = links.shared.held.load(Ordering::Relaxed);
            anyhow::ensure!(held == pieces, "{held} wait");
            Ok(())
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn what_is_cut_waits_until_it_is_mended() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(echo(listener));
        let mut links = Links::start().await.unwrap();
        links.shared.names.lock().insert(port, "other".to_owned());
        let mut byte = [0];
        let mut stream = call(&links, port).await;
        stream.write_all(b"a").await.unwrap();
        stream.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, *b"a");

        // The end of a connection waits as data does, so none ends meanwhile.
        let mut open = Vec::new();
        for (from, to) in [("one", "other"), ("other", "one")] {
            let cut = (from.to_owned(), to.to_owned());
            links.shared.cuts.send_if_modified(|cuts| cuts.insert(cut));
            stream.write_all(b"b").await.unwrap();
            held(&links, 1).await;
            // No new connection either.
            let mut second = call(&links, port).await;
            second.write_all(b"c").await.unwrap();
            held(&links, 2).await;
            assert!(stream.try_read(&mut byte).is_err() && second.try_read(&mut byte).is_err());
            assert_eq!(links.mend().data, 2);
            stream.read_exact(&mut byte).await.unwrap();
            assert_eq!(byte, *b"b");
            second.read_exact(&mut byte).await.unwrap();
            assert_eq!(byte, *b"c");
            open.push(second);
        }
    }
}
